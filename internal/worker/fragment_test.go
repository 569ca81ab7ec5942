package worker_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/port/pipe"
	"weir/internal/spec"
	"weir/internal/testkit/words"
	"weir/internal/wire"
)

const link = wire.EthernetLen

// everyMode adds a service of each other mode to the world's.
func everyMode(s *spec.Spec) {
	for i, mode := range []spec.Forward{spec.DirectRoute, spec.Tunnel, spec.Masq} {
		vip := netip.AddrFrom4([4]byte{10, 0, 0, byte(101 + i)})
		k := spec.ServiceKey{Proto: spec.UDP, Virtual: netip.AddrPortFrom(vip, 53)}
		for _, err := range []error{
			s.AddAddress(spec.Address{Port: "wan", Prefix: netip.PrefixFrom(vip, 32)}, false),
			s.AddService(spec.Service{ServiceKey: k, Scheduler: "rr"}),
			s.AddDest(k, spec.Dest{Addr: netip.MustParseAddrPort("192.168.1.2:53"), Forward: mode, Weight: 1}),
		} {
			if err != nil {
				panic(err)
			}
		}
	}
}

// cut makes fragments of a frame that holds a whole IPv4 packet, at these offsets
// of its payload. It is the model's: nothing of package ip is in it.
func cutFrame(frame []byte, at []int) (out [][]byte) {
	head := link + int(frame[link]&15)*4
	payload := frame[head:]
	for i, from := range at {
		to := len(payload)
		word := uint16(from / 8)
		if i+1 < len(at) {
			to = at[i+1]
			word |= 0x2000
		}
		f := append(bytes.Clone(frame[:head]), payload[from:to]...)
		ip := wire.IPv4(f[link:])
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
		binary.BigEndian.PutUint16(ip[6:], word)
		ip.ComputeChecksum()
		out = append(out, f)
	}
	return out
}

// offsets chooses where to cut n bytes.
func offsets(rnd *rand.Rand, n int) []int {
	at := map[int]bool{0: true}
	for range rnd.IntN(20) {
		at[rnd.IntN(n)&^7] = true
	}
	for from := 1480; from < n; from += 1480 {
		at[from] = true
	}
	return slices.Sorted(maps.Keys(at))
}

// joined puts what left together again, packet by packet, with identification and
// checksum of the IP header blanked, and says in words what does not fit.
func joined(t *testing.T, frames [][]byte, mtu int) (out []string) {
	t.Helper()
	type parts struct {
		head []byte
		at   map[int][]byte
		all  int
	}
	grams := map[string]*parts{}
	for _, f := range frames {
		if len(f) > link+mtu {
			t.Fatalf("a frame of %d bytes", len(f))
		}
		outer := ""
		ip := wire.IPv4(f[link:])
		if !ip.ChecksumOK() || int(ip.TotalLength()) != len(ip) {
			t.Fatalf("a wrong header: %x", f)
		}
		if ip.Protocol() == 4 {
			outer = fmt.Sprintf("%x", ip[12:20])
			ip = ip[20:]
			if !ip.ChecksumOK() || int(ip.TotalLength()) != len(ip) {
				t.Fatalf("a wrong inner header: %x", f)
			}
		}
		if ip.Protocol() == 6 {
			binary.BigEndian.PutUint16(ip[10:], 0)
		}
		key := fmt.Sprintf("%s %x %x %d", outer, ip[12:20], ip[4:6], ip[9])
		if !ip.IsFragment() {
			key = fmt.Sprintf("%s %x", outer, []byte(ip)) // whole: its own
		}
		g := grams[key]
		if g == nil {
			g = &parts{at: map[int][]byte{}}
			grams[key] = g
		}
		off := ip.FragmentOffset()
		if _, twice := g.at[off]; twice {
			t.Fatalf("offset %d twice", off)
		}
		g.at[off] = ip[ip.HeaderLength():]
		if off == 0 {
			g.head = append([]byte(outer), ip[:ip.HeaderLength()]...)
		}
		if ip.FlagsFragment()&0x2000 == 0 {
			g.all = off + len(g.at[off])
		}
	}
	for key, g := range grams {
		payload := []byte{}
		for _, off := range slices.Sorted(maps.Keys(g.at)) {
			if off != len(payload) {
				t.Fatalf("%s: offset %d follows %d bytes", key, off, len(payload))
			}
			payload = append(payload, g.at[off]...)
		}
		if len(payload) != g.all || g.head == nil {
			t.Fatalf("%s: %d of %d bytes", key, len(payload), g.all)
		}
		ip := wire.IPv4(append(bytes.Clone(g.head), payload...)[len(g.head)%20:])
		ip.SetTotalLength(uint16(len(ip)))
		ip.SetFlagsFragment(0)
		ip.SetID(0)
		ip.ComputeChecksum()
		if ip.Protocol() != 1 && !wire.L4ChecksumOK(ip) || ip.Protocol() == 1 && wire.Checksum(ip[20:], 0) != 0 {
			t.Fatalf("%s: a wrong checksum", key)
		}
		out = append(out, fmt.Sprintf("%x %x", g.head[:len(g.head)%20], []byte(ip)))
	}
	slices.Sort(out)
	return out
}

// TestFragmentsAgainstWhole sends random datagrams in random pieces, among one
// another, in any order and some twice, and compares what leaves, put together, with
// what becomes of the whole datagrams where no link is too narrow.
func TestFragmentsAgainstWhole(t *testing.T) {
	for _, workers := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d workers", workers), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(1, uint64(workers)))
			wide := newWorldOf(t, 65535, 1, 256, 1000, everyMode)
			narrow := newWorld(t, workers, 256, 1000, everyMode)
			both := func(lan bool, line string) []byte {
				f := frame(t, line, lan)
				for _, w := range []*world{wide, narrow} {
					w.send(lan, 0, words.Frame{Data: f})
					w.breathe()
				}
				return f
			}
			// The connections, in the same order.
			both(false, "ip 1.2.3.4 > 10.0.0.100 / udp 5353 > 53 data=1")
			both(false, "ip 1.2.3.4 > 10.0.0.101 / udp 5353 > 53 data=1")
			both(false, "ip 1.2.3.4 > 10.0.0.102 / udp 5353 > 53 data=1")
			both(false, "ip 1.2.3.4 > 10.0.0.103 / udp 5353 > 53 data=1")
			both(false, "ip 1.2.3.4 > 10.0.0.100 / tcp 40000 > 80 S seq=1000 <mss 1460>")
			both(true, "ip 192.168.1.2 > 192.168.1.200 / tcp 80 > 1025 SA seq=5000 ack=1001 <mss 1460>")
			lines := []struct {
				lan  bool
				line string
			}{
				{false, "ip 1.2.3.4 > 10.0.0.100 id=%d / udp 5353 > 53 data=%d@%d"},
				{true, "ip 192.168.1.2 > 192.168.1.200 id=%d / udp 53 > 1025 data=%d@%d"},
				{false, "ip 1.2.3.4 > 10.0.0.101 id=%d / udp 5353 > 53 data=%d@%d"},
				{false, "ip 1.2.3.4 > 10.0.0.102 id=%d / udp 5353 > 53 data=%d@%d"},
				{false, "ip 1.2.3.4 > 10.0.0.103 id=%d / udp 5353 > 53 data=%d@%d"},
				{true, "ip 192.168.1.2 > 1.2.3.4 id=%d / udp 53 > 5353 data=%d@%d"},
				{false, "ip 1.2.3.4 > 10.0.0.1 id=%d / icmp echo id=1 seq=1 data=%d@%d"},
				{false, "ip 1.2.3.4 > 10.0.0.100 id=%d / tcp 40000 > 80 PA seq=1001 ack=5001 data=%d@%d"},
			}
			narrow.drain(narrow.lan, nil)
			narrow.drain(narrow.wan, nil)
			wide.drain(wide.lan, nil)
			wide.drain(wide.wan, nil)
			id := 0
			left := func(w *world) (out [][]byte) {
				keep := func(d []byte) { out = append(out, bytes.Clone(d)) }
				w.drainAll(keep)
				return out
			}
			for round := range 300 {
				type sent struct {
					lan  bool
					data []byte
				}
				var pieces []sent
				for range 1 + rnd.IntN(6) {
					l := lines[rnd.IntN(len(lines))]
					id++
					n := 20 + rnd.IntN(8000)
					if round%50 == 0 {
						n = 60000 + rnd.IntN(5000)
					}
					f := frame(t, fmt.Sprintf(l.line, id, n, rnd.IntN(26)), l.lan)
					wide.send(l.lan, 0, words.Frame{Data: f})
					at := offsets(rnd, len(f)-link-20)
					for len(at) > 1 && at[1] < 24 {
						at = slices.Delete(at, 1, 2) // a TCP header has to be whole
					}
					parts := cutFrame(f, at)
					for i, p := range parts {
						pieces = append(pieces, sent{l.lan, p})
						if rnd.IntN(20) == 0 && i > 0 {
							pieces = append(pieces, sent{l.lan, parts[rnd.IntN(i)]})
						}
					}
					if round%50 == 0 {
						break
					}
				}
				rnd.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
				wide.breathe()
				for _, p := range pieces {
					narrow.send(p.lan, rnd.IntN(2), words.Frame{Data: p.data})
					if rnd.IntN(4) == 0 {
						narrow.breathe()
					}
				}
				narrow.breathe()
				want, got := joined(t, left(wide), 65535), joined(t, left(narrow), 1500)
				if !slices.Equal(want, got) {
					t.Fatalf("round %d: %d datagrams left, %d as whole ones:\n%.300s\n%.300s", round, len(got), len(want), got, want)
				}
				narrow.nanos += 2e9 // for what was sent twice
				narrow.breathe()
				narrow.check()
				left(narrow) // who sent it is told that not all of it came
			}
			sum := narrow.Lanes()[0].Stats()
			if sum.Reassembled < 100 || sum.Drops[packet.IPFragDuplicate] == 0 {
				t.Errorf("%d datagrams, %d duplicates", sum.Reassembled, sum.Drops[packet.IPFragDuplicate])
			}
		})
	}
}

// drainAll takes what left by any queue.
func (w *world) drainAll(f func([]byte)) {
	var burst [port.Burst]*packet.Packet
	for _, p := range []*pipe.Port{w.lan, w.wan} {
		for q := range p.Facts().TxQueues {
			for n := p.TakeInto(q, burst[:], w.outside); n > 0; n = p.TakeInto(q, burst[:], w.outside) {
				for _, pkt := range burst[:n] {
					f(pkt.Data)
					w.outside.Put(pkt)
				}
			}
		}
	}
}

// TestFragmentFlood: whatever fragments come, what they hold is bounded, no packet
// memory stays away, nothing is allocated, and a datagram whose pieces come together
// gets through.
func TestFragmentFlood(t *testing.T) {
	for _, row := range []struct {
		name string
		at   func(i int) (id, off int)
	}{
		{"first fragments", func(i int) (int, int) { return i, 0 }},
		{"later fragments", func(i int) (int, int) { return i, 1480 }},
		{"many of few", func(i int) (int, int) { return i / 40, i % 40 * 1480 }},
		{"the far end", func(i int) (int, int) { return i, 64000 }},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, 1, 256, 100, nil)
			bad := frame(t, "ip 6.6.6.6 > 10.0.0.100 mf / udp 5353 > 53 data=1472", false)
			good := cutFrame(frame(t, "ip 1.2.3.4 > 10.0.0.100 id=1 / udp 5353 > 53 data=2000", false), []int{0, 1480})
			i, through, datagrams, most := 0, 0, 0, 0
			l := w.Lanes()[0]
			run := func() {
				for range port.Burst - 2 {
					id, off := row.at(i)
					i++
					ip := wire.IPv4(bad[link:])
					ip.SetID(uint16(id))
					ip.SetFlagsFragment(0x2000 | uint16(off/8))
					ip.ComputeChecksum()
					w.wan.Inject(bad)
				}
				ip := wire.IPv4(good[0][link:])
				id := ip.ID() + 1
				for _, g := range good {
					ip := wire.IPv4(g[link:])
					ip.SetID(id)
					ip.ComputeChecksum()
					w.wan.Inject(g)
				}
				l.Breathe()
				datagrams++
				through += w.drain(w.lan, nil)
				w.drain(w.wan, nil)
				most = max(most, l.HeldFragments())
			}
			for range pipe.Room {
				run() // until every place of the wires has memory
			}
			if n := testing.AllocsPerRun(50, run); n != 0 {
				t.Errorf("%v allocations a run", n)
			}
			w.check()
			if through != 2*datagrams {
				t.Errorf("%d fragments of %d datagrams came through", through, datagrams)
			}
			if n := l.Pool().InUse(); n != 0 || most > 256 {
				t.Errorf("%d packets are out of the pool, up to %d fragments were held", n, most)
			}
			if l.Stats().Drops[packet.IPFragFull] == 0 {
				t.Error("the bound was not reached")
			}
			for range 40 {
				w.nanos += 50e6
				w.breathe()
			}
			if n := l.HeldFragments(); n != 0 {
				t.Errorf("%d fragments are held for ever", n)
			}
			w.check()
		})
	}
}

// FuzzFragments lets fragments of four datagrams come as they like. A record is
// five bytes: which datagram, offset and length in units of 8 bytes, flags (1: more,
// 2: another content, 4: a byte more, 8: TCP, 16: from the real server), and the time that passes.
func FuzzFragments(f *testing.F) {
	f.Add([]byte{0, 0, 10, 1, 0, 0, 10, 10, 0, 0}, false)
	f.Add([]byte{0, 10, 10, 0, 0, 0, 0, 10, 1, 0, 1, 0, 2, 9, 0}, true)
	f.Add([]byte{0, 0, 200, 1, 0, 0, 100, 10, 1, 0, 0, 200, 255, 0, 30, 0, 0, 200, 3, 0}, false)
	f.Add([]byte{2, 0, 100, 17, 0, 2, 100, 3, 16, 0, 2, 100, 3, 20, 0}, true)
	f.Fuzz(func(t *testing.T, script []byte, twoWorkers bool) {
		workers := 1
		if twoWorkers {
			workers = 2
		}
		w := newWorld(t, workers, 64, 100, nil)
		w.send(false, 0, words.Frame{Data: frame(t, "ip 1.2.3.4 > 10.0.0.100 / udp 5353 > 53 data=1", false)})
		w.breathe()
		for n := 0; len(script) >= 5 && n < 300; n++ {
			id, off, size, flags, pause := script[0]%4, int(script[1])*8, int(script[2])*8, script[3], script[4]
			script = script[5:]
			lan := flags&16 != 0
			line := "ip 1.2.3.4 > 10.0.0.100 / udp 5353 > 53 data=8000"
			if lan {
				line = "ip 192.168.1.2 > 192.168.1.200 / udp 53 > 1025 data=8000"
			}
			whole := frame(t, line, lan)
			payload := whole[link+20:]
			if flags&2 != 0 {
				payload[len(payload)/2] ^= 1
				payload[100] ^= 1
			}
			size += int(flags >> 2 & 1)
			d := append(bytes.Clone(whole[:link+20]), payload[min(off, len(payload)):min(off+size, len(payload))]...)
			ip := wire.IPv4(d[link:])
			ip.SetTotalLength(uint16(len(ip)))
			ip.SetID(uint16(id))
			if flags&8 != 0 {
				ip.SetProtocol(6)
			}
			ip.SetFlagsFragment(uint16(flags&1)<<13 | uint16(off/8))
			ip.ComputeChecksum()
			w.send(lan, int(pause), words.Frame{Data: d})
			w.nanos += uint64(pause%32) * 50e6
			w.breathe()
			w.check()
			w.drainAll(func(d []byte) {
				if ip := wire.IPv4(d[link:]); len(ip) > 1500 || !ip.ChecksumOK() || int(ip.TotalLength()) != len(ip) {
					t.Fatalf("left: %x", d)
				}
			})
		}
	})
}
