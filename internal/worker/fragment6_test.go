package worker_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/port/pipe"
	"weir/internal/testkit/words"
	"weir/internal/wire"
)

// cutFrame6 is cutFrame for a whole IPv6 packet without extension headers.
func cutFrame6(frame []byte, id uint32, at []int) (out [][]byte) {
	payload := frame[link+40:]
	for i, from := range at {
		to := len(payload)
		if i+1 < len(at) {
			to = at[i+1]
		}
		f := append(bytes.Clone(frame[:link+40]), make([]byte, 8)...)
		wire.IPv6Fragment(f[link+40:]).Put(frame[link+6], uint16(from), i+1 < len(at), id)
		f[link+6] = 44
		f = append(f, payload[from:to]...)
		wire.IPv6(f[link:]).SetPayloadLength(uint16(len(f) - link - 40))
		out = append(out, f)
	}
	return out
}

// joined6 puts what left together again, and says in words what does not fit.
func joined6(t *testing.T, frames [][]byte, mtu int) (out []string) {
	t.Helper()
	type parts struct {
		head []byte
		at   map[int][]byte
		all  int
	}
	grams := map[string]*parts{}
	for _, f := range frames {
		ip := wire.IPv6(f[link:])
		if len(ip) > mtu || ip.TotalLength() != len(ip) {
			t.Fatalf("a frame of %d bytes: %x", len(f), f)
		}
		if ip.NextHeader() != 44 {
			out = append(out, fmt.Sprintf("%x", []byte(ip)))
			continue
		}
		h := wire.IPv6Fragment(ip[40:])
		key := fmt.Sprintf("%x %x", ip[8:40], h.ID())
		g := grams[key]
		if g == nil {
			g = &parts{at: map[int][]byte{}}
			grams[key] = g
		}
		if _, twice := g.at[h.Offset()]; twice {
			t.Fatalf("offset %d twice", h.Offset())
		}
		g.at[h.Offset()] = h[8:]
		if h.Offset() == 0 {
			g.head = bytes.Clone(ip[:40])
			g.head[6] = h.NextHeader()
		}
		if !h.MoreFragments() {
			g.all = h.Offset() + len(h) - 8
		}
	}
	for key, g := range grams {
		whole := wire.IPv6(g.head)
		for _, off := range slices.Sorted(maps.Keys(g.at)) {
			if off != len(whole)-40 {
				t.Fatalf("%s: offset %d follows %d bytes", key, off, len(whole)-40)
			}
			whole = append(whole, g.at[off]...)
		}
		if len(whole)-40 != g.all {
			t.Fatalf("%s: %d of %d bytes", key, len(whole)-40, g.all)
		}
		whole.SetPayloadLength(uint16(g.all))
		out = append(out, fmt.Sprintf("%x", []byte(whole)))
	}
	slices.Sort(out)
	return out
}

// TestFragments6AgainstWhole is TestFragmentsAgainstWhole for IPv6.
func TestFragments6AgainstWhole(t *testing.T) {
	for _, workers := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d workers", workers), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(6, uint64(workers)))
			wide := newWorldOf(t, 65535, 1, 256, 1000, nil)
			narrow := newWorld(t, workers, 256, 1000, nil)
			lines := []struct {
				lan  bool
				line string
			}{
				{false, "ip6 2001:db8:f::9 > 2001:db8::1 / icmp6 echo id=1 seq=1 data=%d@%d"},
				{true, "ip6 2001:db8:1::2 > 2001:db8:f::9 tc=4 flow=9 / udp 53 > 5353 data=%d@%d"},
				{false, "ip6 2001:db8:f::9 > 2001:db8:1::2 / tcp 40000 > 80 PA seq=1001 ack=5001 data=%d@%d"},
			}
			left := func(w *world) (out [][]byte) {
				w.drainAll(func(d []byte) { out = append(out, bytes.Clone(d)) })
				return out
			}
			id := uint32(0)
			for round := range 200 {
				type sent struct {
					lan  bool
					data []byte
				}
				var pieces []sent
				for range 1 + rnd.IntN(5) {
					l := lines[rnd.IntN(len(lines))]
					id++
					n := 20 + rnd.IntN(8000)
					if round%50 == 0 {
						n = 60000 + rnd.IntN(5000)
					}
					f := frame(t, fmt.Sprintf(l.line, n, rnd.IntN(26)), l.lan)
					wide.send(l.lan, 0, words.Frame{Data: f})
					at := offsets(rnd, len(f)-link-40)
					for i, from := range at {
						at[i] = from / 1480 * 1440 // room for the fragment header
						at[i] += from % 1480 * 1440 / 1480 &^ 7
					}
					at = slices.Compact(at)
					for last := at[len(at)-1]; len(f)-link-40-last > 1440; last += 1440 {
						at = append(at, last+1440)
					}
					for len(at) > 1 && at[1] < 24 {
						at = slices.Delete(at, 1, 2) // a TCP header has to be whole
					}
					parts := cutFrame6(f, id, at)
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
				want, got := joined6(t, left(wide), 65535), joined6(t, left(narrow), 1500)
				if !slices.Equal(want, got) {
					t.Fatalf("round %d: %d datagrams left, %d as whole ones:\n%.300s\n%.300s", round, len(got), len(want), got, want)
				}
				narrow.nanos += 2e9 // for what was sent twice
				narrow.breathe()
				narrow.check()
				left(narrow) // who sent it is told that not all of it came
			}
			sum := narrow.Lanes()[0].Stats()
			if sum.Reassembled < 50 || sum.Drops[packet.IPFragDuplicate] == 0 {
				t.Errorf("%d datagrams, %d duplicates", sum.Reassembled, sum.Drops[packet.IPFragDuplicate])
			}
		})
	}
}

// TestFragmentFlood6 is TestFragmentFlood for IPv6: the bounds are those of both
// families together.
func TestFragmentFlood6(t *testing.T) {
	w := newWorld(t, 1, 256, 100, nil)
	bad := cutFrame6(frame(t, "ip6 2001:db8:f::6 > 2001:db8:1::2 / udp 5353 > 53 data=2000", false), 0, []int{0, 1440})
	bad4 := cutFrame(frame(t, "ip 6.6.6.6 > 10.0.0.100 / udp 5353 > 53 data=2000", false), []int{0, 1480})
	good := cutFrame6(frame(t, "ip6 2001:db8:f::9 > 2001:db8:1::2 / udp 5353 > 53 data=2000", false), 1, []int{0, 1440})
	i, through, datagrams, most := uint32(0), 0, 0, 0
	l := w.Lanes()[0]
	run := func() {
		for range port.Burst - 2 {
			i++
			b := bad[i%2]
			b[link+47], b[link+46], b[link+45] = byte(i), byte(i>>8), byte(i>>16)
			if i%4 == 3 {
				b = bad4[0]
				ip := wire.IPv4(b[link:])
				ip.SetID(uint16(i))
				ip.ComputeChecksum()
			}
			w.wan.Inject(b)
		}
		for _, g := range good {
			g[link+47], g[link+46] = byte(datagrams), byte(datagrams>>8)
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
	if l.Stats().Drops[packet.IPFragTimeout] == 0 || l.Stats().Answered == 0 {
		t.Error("nobody was told that fragments are missing")
	}
	w.check()
}

// FuzzFragments6 lets fragments of four IPv6 datagrams come as they like, with
// records as FuzzFragments has them; 8 puts an extension header in front.
func FuzzFragments6(f *testing.F) {
	f.Add([]byte{0, 0, 10, 1, 0, 0, 10, 10, 0, 0}, false)
	f.Add([]byte{0, 10, 10, 0, 0, 0, 0, 10, 1, 0, 1, 0, 2, 9, 0}, true)
	f.Add([]byte{0, 0, 150, 9, 0, 0, 150, 150, 9, 0, 0, 44, 255, 8, 30, 0, 0, 200, 3, 0}, false)
	f.Add([]byte{2, 0, 100, 17, 0, 2, 100, 3, 16, 0, 2, 100, 3, 20, 0}, true)
	f.Fuzz(func(t *testing.T, script []byte, twoWorkers bool) {
		workers := 1
		if twoWorkers {
			workers = 2
		}
		w := newWorld(t, workers, 64, 100, nil)
		for n := 0; len(script) >= 5 && n < 300; n++ {
			id, off, size, flags, pause := script[0]%4, int(script[1])*8, int(script[2])*8, script[3], script[4]
			script = script[5:]
			lan := flags&16 != 0
			line := "ip6 2001:db8:f::9 > 2001:db8::1 / icmp6 echo id=1 seq=1 data=8000"
			if lan {
				line = "ip6 2001:db8:1::2 > 2001:db8:f::9 / udp 53 > 1025 data=8000"
			}
			if flags&8 != 0 {
				line = "ip6 2001:db8:f::9 > 2001:db8:1::2 / dst / udp 53 > 1025 data=8000"
			}
			whole := frame(t, line, lan)
			payload := whole[link+40:]
			if flags&2 != 0 {
				payload[len(payload)/2] ^= 1
				payload[100] ^= 1
			}
			size += int(flags >> 2 & 1)
			d := append(bytes.Clone(whole[:link+40]), make([]byte, 8)...)
			wire.IPv6Fragment(d[link+40:]).Put(whole[link+6], uint16(off), flags&1 != 0, uint32(id))
			d[link+6] = 44
			d = append(d, payload[min(off, len(payload)):min(off+size, len(payload))]...)
			wire.IPv6(d[link:]).SetPayloadLength(uint16(len(d) - link - 40))
			w.send(lan, int(pause), words.Frame{Data: d})
			w.nanos += uint64(pause%32) * 50e6
			w.breathe()
			w.check()
			w.drainAll(func(d []byte) {
				if ip := wire.IPv6(d[link:]); len(ip) > 1500 || ip.TotalLength() != len(ip) {
					t.Fatalf("left: %x", d)
				}
			})
		}
	})
}
