package ip

import (
	"bytes"
	"testing"

	"weir/internal/packet"
	"weir/internal/wire"
)

func TestFinishChecksum6(t *testing.T) {
	const dpdk0, dpdk1 = 0, 1 // completes nothing; completes and segments
	for _, row := range []struct {
		name      string
		m         made6
		open      bool // CsumPartial is set
		out       int
		ok        bool
		right     bool // the field is a complete checksum afterwards
		still     bool // CsumPartial is set afterwards
		completed uint64
	}{
		{"complete, port without offload", made6{src: near6, dst: vip6, proto: 6, l4: tcp(16, nil, "abc")}, false, dpdk0, true, true, false, 0},
		{"complete, port with offload", made6{src: near6, dst: vip6, proto: 6, l4: tcp(16, nil, "abc")}, false, dpdk1, true, true, false, 0},
		{"open TCP, port without offload", made6{src: near6, dst: vip6, proto: 6, l4: tcp(16, nil, "abc"), partial: true}, true, dpdk0, true, true, false, 1},
		{"open UDP behind extensions", made6{src: near6, dst: vip6, ext: []ext6{hop6, dest6}, proto: 17, l4: udp("abcd"), partial: true}, true, dpdk0, true, true, false, 1},
		{"open TCP, port with offload", made6{src: near6, dst: vip6, proto: 6, l4: tcp(16, nil, "abc"), partial: true}, true, dpdk1, true, false, true, 0},
		{"open, but of no protocol we know", made6{src: near6, dst: vip6, proto: 89, l4: tcp(16, nil, "abc")}, true, dpdk0, false, false, true, 0},
		{"open, but a fragment", made6{src: near6, dst: vip6, ext: []ext6{frag6(0, true, 7)}, proto: 17, l4: udp("abc")}, true, dpdk1, false, false, true, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t, 4)
			p := b.packet6(row.m)
			defer b.pool.Put(p)
			ip := wire.IPv6(p.Data[14:])
			if row.open {
				p.Flags |= packet.CsumPartial
				ip.SetSrc(own61.As16()) // rewritten since: the open sum is of other addresses
			}
			if ok := b.FinishChecksum(p, &facts[row.out]); ok != row.ok {
				t.Fatalf("FinishChecksum = %v", ok)
			}
			if row.ok && (wire.L4ChecksumOKOver6(ip) != row.right || wire.IsPartialL4Over6(ip) != row.still) {
				t.Errorf("checksum right: %v, partial: %v", wire.L4ChecksumOKOver6(ip), wire.IsPartialL4Over6(ip))
			}
			if p.Is(packet.CsumPartial) != row.still || b.stats.CsumCompleted != row.completed {
				t.Errorf("flags %b, %d completed", p.Flags, b.stats.CsumCompleted)
			}
		})
	}
}

// No device finds a checksum in a tunnel.
func TestFinishChecksumInTunnel(t *testing.T) {
	for _, outer := range []int{20, 40} {
		b := newBed(t, 4)
		p := b.packet6(made6{src: near6, dst: vip6, proto: 17, l4: udp("abc"), partial: true})
		defer b.pool.Put(p)
		p.L4 = 54
		p.Flags |= packet.CsumPartial
		putOuter(t, p, outer)
		if !b.FinishChecksum(p, &facts[1]) || !wire.L4ChecksumOKOver6(wire.IPv6(p.Data[14+outer:])) || p.Is(packet.CsumPartial) {
			t.Errorf("outer header of %d bytes: %x flags %b", outer, p.Data, p.Flags)
		}
	}
}

// TestSegmentFamilies cuts super-frames of both families, in tunnels of both.
func TestSegmentFamilies(t *testing.T) {
	data := random(4000)
	timestamp := []byte{1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8}
	seg := tcp(wire.TCPAck|wire.TCPPsh|wire.TCPFin|wire.TCPCwr, timestamp, data)
	four := made{src: near, dst: vip, proto: 6, l4: seg, gsoType: packet.GSOTCPv4, gsoSize: 1400, partial: true}
	six := func(ext ...ext6) made6 {
		return made6{src: near6, dst: vip6, ext: ext, proto: 6, l4: seg, gsoType: packet.GSOTCPv6 | packet.GSOECN, gsoSize: 1400, partial: true}
	}
	datagrams := made6{src: near6, dst: vip6, ext: []ext6{dest6}, proto: 17, l4: udp(data), gsoType: packet.GSOUDPL4, gsoSize: 1400, partial: true}
	for _, row := range []struct {
		name  string
		four  *made
		six   made6
		outer int
	}{
		{"IPv4 in IPv4", &four, made6{}, 20},
		{"IPv4 in IPv6", &four, made6{}, 40},
		{"IPv6", nil, six(), 0},
		{"IPv6 with extensions", nil, six(hop6, dest6), 0},
		{"IPv6 in IPv4", nil, six(), 20},
		{"IPv6 in IPv6", nil, six(), 40},
		{"datagrams", nil, datagrams, 0},
		{"datagrams in IPv4", nil, datagrams, 20},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t, 64)
			var p *packet.Packet
			if row.four != nil {
				p = b.packet(*row.four)
			} else {
				p = b.packet6(row.six)
			}
			defer b.pool.Put(p)
			if v := b.Input(p); v != packet.Continue {
				t.Fatal(v, p.Reason)
			}
			p.Flags |= packet.CsumPartial
			putOuter(t, p, row.outer)
			p.In, p.Out, p.NextHop, p.Key0, p.Hash = 1, 3, 99, 5, 6
			var out [MaxSegments]*packet.Packet
			n, ok := b.Segment(p, b.pool, out[:])
			if !ok || n != 3 {
				t.Fatalf("%d pieces, %v (%v)", n, ok, p.Reason)
			}
			var whole []byte
			for i, g := range out[:n] {
				checkOuter(t, g, p, row.outer)
				if outer := wire.IPv4(g.Data[14:]); row.outer == 20 && outer.ID() != 500+uint16(i) {
					t.Errorf("piece %d: identification %d", i, outer.ID())
				}
				inner := g.Data[14+row.outer:]
				right := row.four != nil && wire.L4ChecksumOK(inner) && int(wire.IPv4(inner).TotalLength()) == len(inner)
				right = right || row.four == nil && wire.L4ChecksumOKOver6(inner) && wire.IPv6(inner).TotalLength() == len(inner)
				if !right || g.L4 != p.L4 || g.L3 != 14 || g.Out != 3 || g.NextHop != 99 || g.Key0 != 5 || g.Hash != 6 || g.EtherType != p.EtherType || g.Is(packet.GSO) || g.Is(packet.CsumPartial) {
					t.Errorf("piece %d: checksum and length right: %v, %+v", i, right, g)
				}
				head := wire.UDPLen
				if p.Proto == wire.ProtoTCP {
					s := wire.TCP(g.Data[g.L4:])
					flags := []uint8{wire.TCPAck | wire.TCPCwr, wire.TCPAck, wire.TCPAck | wire.TCPPsh | wire.TCPFin}[i]
					if head = s.DataOffset(); s.Seq() != 1000+uint32(i*1400) || s.Flags() != flags || g.TCPFlags != flags || !bytes.Equal(s[20:32], timestamp) {
						t.Errorf("piece %d: TCP %x", i, []byte(s[:32]))
					}
				} else if u := wire.UDP(g.Data[g.L4:]); int(u.Length()) != len(u) {
					t.Errorf("piece %d: UDP %x", i, []byte(u[:8]))
				}
				whole = append(whole, g.Data[int(g.L4)+head:]...)
				b.pool.Put(g)
			}
			if string(whole) != data {
				t.Error("the pieces are not the whole")
			}
		})
	}
}

func TestSegment6Refuses(t *testing.T) {
	base := made6{src: near6, dst: vip6, proto: 6, l4: tcp(16, nil, random(4000)), gsoType: packet.GSOTCPv6, gsoSize: 1400}
	with := func(f func(m *made6)) made6 { m := base; f(&m); return m }
	for _, row := range []struct {
		name string
		m    made6
		room int
	}{
		{"no size", with(func(m *made6) { m.gsoSize = 0 }), MaxSegments},
		{"TCP over IPv4", with(func(m *made6) { m.gsoType = packet.GSOTCPv4 }), MaxSegments},
		{"TCP that says it is UDP", with(func(m *made6) { m.gsoType = packet.GSOUDPL4 }), MaxSegments},
		{"more pieces than room", base, 2},
		{"no payload", with(func(m *made6) { m.l4 = tcp(16, nil, "") }), MaxSegments},
		{"a fragment", with(func(m *made6) { m.ext = []ext6{frag6(0, true, 7)} }), MaxSegments},
		{"segments left", with(func(m *made6) { m.ext = []ext6{routing6(4, 1)} }), MaxSegments},
		{"headers in disorder", with(func(m *made6) { m.ext = []ext6{dest6, hop6} }), MaxSegments},
		{"data offset that lies", with(func(m *made6) { m.spoil = func(ip wire.IPv6) { wire.TCP(ip[40:]).SetDataOffset(4) } }), MaxSegments},
		{"length that lies", with(func(m *made6) { m.spoil = func(ip wire.IPv6) { ip.SetPayloadLength(9999) } }), MaxSegments},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t, 64)
			p := b.packet6(row.m)
			defer b.pool.Put(p)
			used := b.pool.InUse()
			n, ok := b.Segment(p, b.pool, make([]*packet.Packet, row.room))
			if ok || n != 0 || p.Reason != packet.IPGSONoOffload || b.pool.InUse() != used || b.stats.GSOSegmented != 0 {
				t.Errorf("%d pieces, %v, %v, %d packets more in use", n, ok, p.Reason, b.pool.InUse()-used)
			}
		})
	}
}

func TestSegment6DoesNotAllocate(t *testing.T) {
	b := newBed(t, 64)
	p := b.packet6(made6{src: near6, dst: vip6, ext: []ext6{hop6}, proto: 6, l4: tcp(16, nil, random(4000)), gsoType: packet.GSOTCPv6, gsoSize: 1400})
	defer b.pool.Put(p)
	var out [MaxSegments]*packet.Packet
	if n := testing.AllocsPerRun(50, func() {
		n, ok := b.Segment(p, b.pool, out[:])
		if !ok {
			t.Fatal(p.Reason)
		}
		for _, g := range out[:n] {
			b.pool.Put(g)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzSegment6(f *testing.F) {
	f.Add([]byte(bytes6(made6{src: near6, dst: vip6, proto: 6, l4: tcp(16, nil, "12345678901234567890")})), uint16(7), uint8(packet.GSOTCPv6), uint8(0))
	f.Add([]byte(bytes6(made6{src: near6, dst: vip6, ext: []ext6{dest6}, proto: 17, l4: udp("12345678901234567890")})), uint16(7), uint8(packet.GSOUDPL4), uint8(1))
	f.Add([]byte(bytes6(made6{src: near6, dst: vip6, proto: 17, l4: udp("12345678901234567890")})), uint16(7), uint8(packet.GSOUDPL4), uint8(2))
	b := newBed(f, 64)
	f.Fuzz(func(t *testing.T, data []byte, size uint16, kind, tunnel uint8) {
		if len(data) > packet.SmallFrame-packet.Headroom-14 {
			return
		}
		defer b.empty(t)
		p := b.pool.Get()
		defer b.pool.Put(p)
		p.Resize(14 + len(data))
		clear(p.Data)
		copy(p.Data[14:], data)
		p.L3, p.GSOSize, p.GSOType = 14, size, kind
		p.Flags = packet.GSO | packet.CsumPartial
		outer := []int{0, 20, 40}[tunnel%3]
		if len(data) > 0 {
			putOuter(t, p, outer)
		} else {
			outer = 0
		}
		before := bytes.Clone(p.Data)
		var out [32]*packet.Packet
		n, ok := b.Segment(p, b.pool, out[:])
		if !bytes.Equal(before, p.Data) {
			t.Error("the frame was changed")
		}
		if ok == (n == 0) || !ok && p.Reason == packet.NoReason {
			t.Errorf("%d pieces, %v, %v", n, ok, p.Reason)
		}
		for _, g := range out[:n] {
			checkOuter(t, g, p, outer)
			d := g.Data[14+outer:]
			if d[0]>>4 == 6 && (!wire.L4ChecksumOKOver6(d) || wire.IPv6(d).TotalLength() != len(d)) || d[0]>>4 == 4 && !wire.L4ChecksumOK(d) {
				t.Errorf("piece %x", g.Data)
			}
			b.pool.Put(g)
		}
		b.FinishChecksum(p, &facts[0])
	})
}
