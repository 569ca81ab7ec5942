package ip

import (
	"bytes"
	"fmt"
	"testing"

	"weir/internal/clock"
	"weir/internal/packet"
	"weir/internal/spec"
	"weir/internal/wire"
)

var smallFragments = spec.Fragments{Buckets: 8, BucketEntries: 4, Entries: 16, TTL: 1}

// fragmentBed can put together and cut.
func fragmentBed(t testing.TB) *bed {
	b := newBed(t, 200)
	b.SetFragments(smallFragments, new(IDs))
	t.Cleanup(b.DropFragments)
	return b
}

// split6 cuts a whole packet at these offsets of what is fragmented, behind the
// first n extension headers. It is the test's: nothing of package ip is in it.
func split6(m made6, n int, id uint32, at ...int) (out []wire.IPv6) {
	whole := bytes6(m)
	front, nextAt := wire.IPv6Len, 6
	for _, e := range m.ext[:n] {
		nextAt = front
		front += len(e.body)
	}
	data := whole[front:]
	at = append(at, len(data))
	for i, from := range at[:len(at)-1] {
		f := append(wire.IPv6{}, whole[:front]...)
		next := f[nextAt]
		f[nextAt] = wire.NextFragment
		h := make(wire.IPv6Fragment, wire.IPv6FragmentLen)
		h.Put(next, uint16(from), i+2 < len(at), id)
		f = append(append(f, h...), data[from:at[i+1]]...)
		f.SetPayloadLength(uint16(len(f) - wire.IPv6Len))
		out = append(out, f)
	}
	return out
}

// give lets a piece come in, and returns the datagram if it is whole.
func (b *bed) give(ip []byte) (whole *packet.Packet, why packet.Reason) {
	b.t.Helper()
	p := b.room(wire.EthernetLen + len(ip))
	defer b.pool.Put(p)
	e := wire.Ethernet(p.Data)
	e.SetDestination(mac0)
	e.SetSource(macX)
	e.SetEtherType(wire.EtherTypeIPv6)
	copy(p.Data[14:], ip)
	p.L3, p.EtherType = 14, wire.EtherTypeIPv6
	if v := b.Input(p); v != packet.Fragment {
		b.t.Fatalf("Input: %v %v", v, p.Reason)
	}
	return b.Join(p)
}

func TestJoin6(t *testing.T) {
	data := random(3000)
	for _, row := range []struct {
		name  string
		m     made6
		n     int // extension headers in front of the fragment header
		at    []int
		order []int
		flags packet.Flags
	}{
		{"in order", made6{proto: 17, l4: udp(data)}, 0, []int{0, 1000, 2000}, []int{0, 1, 2}, packet.Keyed | packet.Plain},
		{"last first", made6{proto: 17, l4: udp(data)}, 0, []int{0, 1000, 2000}, []int{2, 1, 0}, packet.Keyed | packet.Plain},
		{"TCP", made6{proto: 6, l4: tcp(16, nil, data)}, 0, []int{0, 24, 2000}, []int{1, 0, 2}, packet.Keyed | packet.Plain},
		{"extensions in front", made6{ext: []ext6{hop6, routing6(4, 0)}, proto: 17, l4: udp(data)}, 2, []int{0, 1480}, []int{0, 1}, packet.Keyed},
		{"extensions behind", made6{ext: []ext6{hop6, dest6}, proto: 17, l4: udp(data)}, 1, []int{0, 16, 24}, []int{2, 0, 1}, packet.Keyed},
		{"echo", made6{proto: 58, l4: icmp6(128, 0, data)}, 0, []int{0, 1000}, []int{0, 1}, packet.Keyed},
		{"open checksum", made6{proto: 17, l4: udp(data), partial: true}, 0, []int{0, 1000}, []int{1, 0}, packet.Keyed | packet.Plain | packet.CsumPartial},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := fragmentBed(t)
			row.m.src, row.m.dst = near6, vip6
			pieces := split6(row.m, row.n, 7, row.at...)
			longest := 1280
			for i, k := range row.order {
				longest = max(longest, len(pieces[k]))
				whole, why := b.give(pieces[k])
				if why != packet.NoReason || (whole != nil) != (i+1 == len(row.order)) {
					t.Fatalf("piece %d: %v %v", k, whole, why)
				}
				if whole == nil {
					continue
				}
				if whole.Verdict != packet.Continue || whole.Flags != row.flags|packet.Cut || int(whole.MTU) != longest {
					t.Errorf("%v %v flags %b, pieces of %d", whole.Verdict, whole.Reason, whole.Flags, whole.MTU)
				}
				checkParsed6(t, whole, row.m)
				b.pool.Put(whole)
			}
			if b.HeldFragments() != 0 || b.stats.Reassembled != 1 || b.stats.FragmentsJoined != uint64(len(pieces)) {
				t.Errorf("%d held, %d joined", b.HeldFragments(), b.stats.FragmentsJoined)
			}
		})
	}
}

func TestJoin6Refuses(t *testing.T) {
	m := made6{src: near6, dst: vip6, proto: 17, l4: udp(random(3000))}
	seg := made6{src: near6, dst: vip6, proto: 6, l4: tcp(16, []byte{1, 1, 1, 1}, random(200))}
	long := made6{src: near6, dst: vip6, ext: []ext6{{wire.NextDestination, append([]byte{0, 9}, make([]byte, 78)...)}}, proto: 17, l4: udp("abcdefgh")}
	change := func(ip wire.IPv6, f func(wire.IPv6)) wire.IPv6 {
		ip = bytes.Clone(ip)
		f(ip)
		return ip
	}
	cutTo := func(n int) func(wire.IPv6) wire.IPv6 {
		return func(ip wire.IPv6) wire.IPv6 {
			ip = bytes.Clone(ip[:n])
			ip.SetPayloadLength(uint16(n - 40))
			return ip
		}
	}
	whole := split6(m, 0, 7, 0, 1000, 2000)
	for _, row := range []struct {
		name   string
		pieces []wire.IPv6
		why    packet.Reason // of the last one
	}{
		{"empty", []wire.IPv6{cutTo(48)(whole[0])}, packet.IPFragment},
		{"no multiple of 8", []wire.IPv6{cutTo(55)(whole[0])}, packet.IPFragment},
		{"beyond 64 KiB", []wire.IPv6{change(whole[2], func(ip wire.IPv6) { wire.IPv6Fragment(ip[40:]).Put(17, 65528, false, 7) })}, packet.IPFragment},
		{"long headers in front", split6(long, 1, 7, 0, 8)[:1], packet.IPFragment},
		{"TCP header not whole", split6(seg, 0, 7, 0, 16)[:1], packet.IPFragTiny},
		{"TCP options not whole", split6(seg, 0, 7, 0, 16, 24)[:1], packet.IPFragTiny},
		{"no UDP header", split6(made6{src: near6, dst: vip6, ext: []ext6{dest6}, proto: 17, l4: udp("abcdefgh")}, 0, 7, 0, 8)[:1], packet.IPFragTiny},
		{"no ICMPv6 header", split6(made6{src: near6, dst: vip6, ext: []ext6{dest6}, proto: 58, l4: icmp6(128, 0, "abcdefgh")}, 0, 7, 0, 8)[:1], packet.IPFragTiny},
		{"again", []wire.IPv6{whole[0], whole[0]}, packet.IPFragDuplicate},
		{"overlap", []wire.IPv6{whole[0], split6(m, 0, 7, 0, 992, 2000)[1]}, packet.IPFragOverlap},
		{"what comes behind an overlap", []wire.IPv6{whole[0], split6(m, 0, 7, 0, 992, 2000)[1], whole[2]}, packet.IPFragOverlap},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := fragmentBed(t)
			for i, p := range row.pieces {
				got, why := b.give(p)
				if last := i+1 == len(row.pieces); got != nil || last && why != row.why {
					t.Fatalf("piece %d: %v %v, want %v", i, got, why, row.why)
				}
			}
		})
	}
	t.Run("another identification, another datagram", func(t *testing.T) {
		b := fragmentBed(t)
		_, _ = b.give(split6(m, 0, 7, 0, 1000)[0])
		if got, why := b.give(split6(m, 0, 8, 0, 1000)[1]); got != nil || why != packet.NoReason {
			t.Errorf("%v %v", got, why)
		}
	})
	t.Run("neighbour discovery", func(t *testing.T) {
		b := fragmentBed(t)
		ns := split6(made6{src: near6, dst: vip6, proto: 58, l4: nd6(135), hops: 255}, 0, 7, 0, 16)
		_, _ = b.give(ns[0])
		p, why := b.give(ns[1])
		if why != packet.NoReason || p == nil || p.Verdict != packet.Drop || p.Reason != packet.ICMPUnwanted {
			t.Fatalf("%+v %v", p, why)
		}
		b.pool.Put(p)
	})
	t.Run("no memory", func(t *testing.T) {
		b := fragmentBed(t)
		_, _ = b.give(whole[0])
		_, _ = b.give(whole[1])
		var all []*packet.Packet
		for p := b.pool.GetBig(); p != nil; p = b.pool.GetBig() {
			all = append(all, p)
		}
		if got, why := b.give(whole[2]); got != nil || why != packet.NoReason || b.stats.Drops[packet.PoolEmpty] != 3 {
			t.Errorf("%v %v, %d counted", got, why, b.stats.Drops[packet.PoolEmpty])
		}
		for _, p := range all {
			b.pool.Put(p)
		}
	})
}

// The worker that gathers a datagram does not depend on the piece.
func TestGatherer6(t *testing.T) {
	b := fragmentBed(t)
	seen := map[int]bool{}
	for id := range uint32(64) {
		got := -1
		for _, ip := range split6(made6{src: near6, dst: vip6, ext: []ext6{hop6}, proto: 17, l4: udp(random(100))}, 1, id, 0, 16, 32) {
			p := b.room(14 + len(ip))
			copy(p.Data[14:], ip)
			p.L3, p.EtherType = 14, wire.EtherTypeIPv6
			w := b.Gatherer(p, 4)
			b.pool.Put(p)
			if got >= 0 && w != got {
				t.Fatalf("identification %d: workers %d and %d", id, got, w)
			}
			got = w
		}
		seen[got] = true
	}
	if len(seen) != 4 {
		t.Errorf("workers %v of 4", seen)
	}
}

// Who sent a datagram that does not become whole is told if the first fragment came.
func TestTimeoutIsTold(t *testing.T) {
	four := func(off int, more bool) []byte {
		b := newBed(t, 4)
		p := b.packet(made{src: near, dst: vip, proto: 17, l4: udp(random(992)), change: func(ip wire.IPv4) {
			word := uint16(off / 8)
			if more {
				word |= wire.IPv4MoreFragments
			}
			ip.SetFlagsFragment(word)
		}})
		defer b.pool.Put(p)
		return bytes.Clone(p.Data[14:])
	}
	six := split6(made6{src: near6, dst: vip6, proto: 17, l4: udp(random(3000))}, 0, 7, 0, 1600, 2000)
	overlap := split6(made6{src: near6, dst: vip6, proto: 17, l4: udp(random(3000))}, 0, 7, 0, 1592, 2000)
	for _, row := range []struct {
		name   string
		kind   uint16
		pieces [][]byte
		lost   uint64
		quote  int // bytes; 0: nothing is told
	}{
		{"IPv4, first", wire.EtherTypeIPv4, [][]byte{four(0, true)}, 1, 548},
		{"IPv4, later", wire.EtherTypeIPv4, [][]byte{four(1000, false)}, 1, 0},
		{"IPv6, first and last", wire.EtherTypeIPv6, [][]byte{six[2], six[0]}, 2, 1232},
		{"IPv6, later", wire.EtherTypeIPv6, [][]byte{six[1]}, 1, 0},
		{"IPv6, overlap", wire.EtherTypeIPv6, [][]byte{six[0], overlap[1]}, 0, 0},
		{"IPv6, for another machine", wire.EtherTypeIPv6, [][]byte{split6(made6{src: near6, dst: far6, proto: 17, l4: udp(random(3000))}, 0, 7, 0, 1600)[0]}, 1, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := fragmentBed(t)
			for _, d := range row.pieces {
				p := b.room(14 + len(d))
				copy(p.Data, make([]byte, 14))
				copy(p.Data[14:], d)
				p.L3, p.EtherType = 14, row.kind
				if v := b.Input(p); v != packet.Fragment {
					t.Fatal(v, p.Reason)
				}
				_, _ = b.Join(p)
				b.pool.Put(p)
			}
			b.Tick(clock.Tick(1<<20) + 2*clock.PerSecond)
			e := b.pop()
			if (e != nil) != (row.quote != 0) || b.stats.Drops[packet.IPFragTimeout] != row.lost {
				t.Fatalf("told: %v, %d lost", e != nil, b.stats.Drops[packet.IPFragTimeout])
			}
			if e == nil {
				return
			}
			defer b.pool.Put(e)
			kind, code, quote := e.Data[e.L4], e.Data[e.L4+1], e.Data[e.L4+8:]
			want := row.pieces[len(row.pieces)-1]
			if row.kind == wire.EtherTypeIPv4 && kind != 11 || row.kind == wire.EtherTypeIPv6 && kind != 3 || code != 1 ||
				!bytes.Equal(quote, want[:row.quote]) || e.EtherType != row.kind {
				t.Errorf("type %d code %d, quote of %d bytes:\n%x\n%x", kind, code, len(quote), quote[:60], want[:60])
			}
		})
	}
}

// TestCut cuts packets of both families, in tunnels of both, and puts the pieces
// together by the test's own rules.
func TestCut(t *testing.T) {
	data := random(4000)
	four := made{src: near, dst: vip, proto: 17, l4: udp(data)}
	six := func(ext ...ext6) made6 { return made6{src: near6, dst: vip6, ext: ext, proto: 17, l4: udp(data)} }
	for _, row := range []struct {
		name  string
		four  *made
		six   made6
		outer int // length of a tunnel's header; 0: none
		mtu   uint16
		n     int
	}{
		{"IPv4", &four, made6{}, 0, 1500, 3},
		{"IPv4 in IPv4", &four, made6{}, 20, 1480, 3},
		{"IPv4 in IPv6", &four, made6{}, 40, 1460, 3},
		{"IPv6", nil, six(), 0, 1500, 3},
		{"IPv6, just fits in three", nil, six(), 0, 1384, 3},
		{"IPv6, one byte less", nil, six(), 0, 1383, 4},
		{"IPv6 with extensions", nil, six(hop6, routing6(4, 0), dest6), 0, 1280, 4},
		{"IPv6 in IPv4", nil, six(), 20, 1480, 3},
		{"IPv6 in IPv6", nil, six(dest6), 40, 1460, 3},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := fragmentBed(t)
			var p *packet.Packet
			if row.four != nil {
				p = b.packet(*row.four)
			} else {
				p = b.packet6(row.six)
			}
			defer b.pool.Put(p)
			whole := bytes.Clone(p.Data[14:])
			putOuter(t, p, row.outer)
			p.Flags |= packet.Cut
			p.MTU, p.In, p.Out, p.NextHop = row.mtu, 1, 3, 99
			if !b.Long(p) {
				t.Fatal("not too long")
			}
			var out [MaxSegments]*packet.Packet
			n, ok := b.Cut(p, out[:])
			if !ok || n != row.n {
				t.Fatalf("%d pieces, %v (%v)", n, ok, p.Reason)
			}
			var got []byte
			var id uint32
			for i, g := range out[:n] {
				inner := g.Data[14+row.outer:]
				if len(inner) > int(row.mtu) || g.NextHop != 99 || g.Out != 3 || g.Is(packet.Cut) || g.L3 != 14 || g.EtherType != p.EtherType {
					t.Errorf("piece %d: %d bytes, %+v", i, len(inner), g)
				}
				checkOuter(t, g, p, row.outer)
				if row.four != nil {
					got = append(got, piece4(t, inner, len(got), i+1 == n)...)
				} else {
					part, this := piece6(t, inner, len(got), i+1 == n)
					if i > 0 && this != id {
						t.Errorf("piece %d has another identification", i)
					}
					id = this
					got = append(got, part...)
				}
				b.pool.Put(g)
			}
			if start := len(whole) - len(got); start < 20 || !bytes.Equal(got, whole[start:]) {
				t.Error("the pieces are not the whole")
			}
			if b.stats.Fragmented != 1 || int(b.stats.FragmentsMade) != n {
				t.Errorf("%d datagrams, %d fragments counted", b.stats.Fragmented, b.stats.FragmentsMade)
			}
		})
	}
}

// putOuter puts a tunnel's header of 20 or 40 bytes in front, as the balancer does.
func putOuter(t *testing.T, p *packet.Packet, outer int) {
	t.Helper()
	if outer == 0 {
		return
	}
	if !p.Prepend(outer) {
		t.Fatal("no headroom")
	}
	copy(p.Data, p.Data[outer:outer+14])
	p.L4 += uint16(outer)
	p.Flags |= packet.Encapsulated
	inner := len(p.Data) - 14 - outer
	if outer == 20 {
		ip := wire.IPv4(p.Data[14:])
		clear(ip[:20])
		ip.SetVersionIHL(20)
		ip.SetTotalLength(uint16(20 + inner))
		ip.SetID(500)
		ip.SetTTL(9)
		ip.SetProtocol(map[uint8]uint8{4: 4, 6: 41}[p.Data[34]>>4])
		ip.SetSrc(own1.As4())
		ip.SetDst(far.As4())
		ip.ComputeChecksum()
		p.EtherType = wire.EtherTypeIPv4
		return
	}
	ip := wire.IPv6(p.Data[14:])
	ip.SetVersionClassFlow(0, 5)
	ip.SetPayloadLength(uint16(inner))
	ip.SetNextHeader(map[uint8]uint8{4: 4, 6: 41}[p.Data[54]>>4])
	ip.SetHopLimit(9)
	ip.SetSrc(own61.As16())
	ip.SetDst(far6.As16())
	p.EtherType = wire.EtherTypeIPv6
}

// checkOuter compares a piece's outer header with the whole's.
func checkOuter(t *testing.T, g, p *packet.Packet, outer int) {
	t.Helper()
	d := g.Data[14:]
	switch outer {
	case 20:
		if ip := wire.IPv4(d); int(ip.TotalLength()) != len(d) || !ip.ChecksumOK() || !bytes.Equal(ip[12:20], p.Data[26:34]) || ip.TTL() != 9 {
			t.Errorf("outer header %x", d[:20])
		}
	case 40:
		if ip := wire.IPv6(d); ip.TotalLength() != len(d) || !bytes.Equal(ip[:4], p.Data[14:18]) || !bytes.Equal(ip[6:40], p.Data[20:54]) {
			t.Errorf("outer header %x", d[:40])
		}
	}
}

func piece4(t *testing.T, d []byte, off int, last bool) []byte {
	t.Helper()
	ip := wire.IPv4(d)
	if int(ip.TotalLength()) != len(d) || !ip.ChecksumOK() || ip.FragmentOffset() != off || ip.FlagsFragment()&wire.IPv4MoreFragments == 0 != last {
		t.Fatalf("piece at %d: %x", off, d[:20])
	}
	return d[20:]
}

// piece6 returns a piece's content: of the first one with the extension headers
// that were cut off with it.
func piece6(t *testing.T, d []byte, off int, last bool) (data []byte, id uint32) {
	t.Helper()
	ip := wire.IPv6(d)
	at, next := 40, d[6]
	for next != wire.NextFragment {
		if at+8 > len(d) {
			t.Fatalf("no fragment header: %x", d[:60])
		}
		next, at = d[at], at+8+int(d[at+1])*8
	}
	f := wire.IPv6Fragment(d[at:])
	if ip.TotalLength() != len(d) || f.Offset() != off || f.MoreFragments() == last {
		t.Fatalf("piece at %d: %x", off, d[:at+8])
	}
	return d[at+8:], f.ID()
}

func TestCut6Refuses(t *testing.T) {
	big := ext6{wire.NextDestination, append([]byte{0, 60}, make([]byte, 486)...)}
	for _, row := range []struct {
		name string
		ext  []ext6
		data int
		mtu  uint16
		room int
		used bool // no packet memory is left
		why  packet.Reason
	}{
		{"more pieces than room", nil, 4000, 1280, 3, false, packet.IPFragTooMany},
		{"headers that don't fit the first", []ext6{big}, 4000, 500, 128, false, packet.IPExtension},
		{"room for no content", nil, 100, 55, 128, false, packet.IPExtension},
		{"a fragment already", []ext6{frag6(0, true, 1)}, 1600, 1280, 128, false, packet.IPExtension},
		{"no memory", nil, 4000, 1280, 128, true, packet.PoolEmpty},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := fragmentBed(t)
			p := b.packet6(made6{src: near6, dst: vip6, ext: row.ext, proto: 17, l4: udp(random(row.data))})
			defer b.pool.Put(p)
			p.MTU = row.mtu
			if row.used {
				for b.pool.FreeFrames() > 2 {
					q := b.pool.Get()
					defer b.pool.Put(q)
				}
				for q := b.pool.GetBig(); q != nil; q = b.pool.GetBig() {
					defer b.pool.Put(q)
				}
			}
			used := b.pool.InUse()
			n, ok := b.Cut(p, make([]*packet.Packet, row.room))
			if ok || n != 0 || p.Reason != row.why || b.stats.Fragmented != 0 {
				t.Errorf("%d pieces, %v, %v", n, ok, p.Reason)
			}
			if !row.used && b.pool.InUse() != used {
				t.Errorf("%d packets leaked", b.pool.InUse()-used)
			}
		})
	}
}

// What was cut can be joined: pieces leave as they came.
func TestCutAndJoin6(t *testing.T) {
	b := fragmentBed(t)
	for n := 1300; n < 9000; n += 391 {
		m := made6{src: near6, dst: vip6, ext: []ext6{hop6, dest6}, proto: 17, l4: udp(random(n))}
		p := b.packet6(m)
		p.MTU = 1280
		var out [MaxSegments]*packet.Packet
		k, ok := b.Cut(p, out[:])
		b.pool.Put(p)
		if !ok {
			t.Fatal(p.Reason)
		}
		var whole *packet.Packet
		for i := k - 1; i >= 0; i-- {
			var why packet.Reason
			if whole, why = b.give(out[i].Data[14:]); why != packet.NoReason {
				t.Fatal(why)
			}
			b.pool.Put(out[i])
		}
		if whole == nil {
			t.Fatalf("%d bytes: not whole", n)
		}
		checkParsed6(t, whole, m)
		b.pool.Put(whole)
	}
}

func TestFragments6DoNotAllocate(t *testing.T) {
	b := fragmentBed(t)
	pieces := split6(made6{src: near6, dst: vip6, proto: 17, l4: udp(random(3000))}, 0, 7, 0, 1440)
	var out [MaxSegments]*packet.Packet
	if n := testing.AllocsPerRun(50, func() {
		_, _ = b.give(pieces[1])
		whole, _ := b.give(pieces[0])
		n, ok := b.Cut(whole, out[:])
		if !ok {
			t.Fatal(whole.Reason)
		}
		for _, g := range out[:n] {
			b.pool.Put(g)
		}
		b.pool.Put(whole)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Both families' identifications: those of one pair of addresses follow one
// another, and those of others begin elsewhere.
func TestIDs(t *testing.T) {
	ids := new(IDs)
	first := ids.take(seed, 1)
	if next := ids.take(seed, 1); next != first+1 {
		t.Errorf("%d follows %d", next, first)
	}
	starts := map[string]bool{}
	for a := range uint64(100) {
		starts[fmt.Sprint(ids.take(seed, a+2)>>16)] = true
	}
	if len(starts) < 50 {
		t.Errorf("only %d starts", len(starts))
	}
}
