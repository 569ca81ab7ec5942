package ip

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/wire"
)

func TestInput6(t *testing.T) {
	a := netip.MustParseAddr
	any6, allNodes, solicited := a("::"), a("ff02::1"), a("ff02::1:ff00:5")
	timestamp := []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}
	const group = packet.Multicast
	udp6 := made6{src: near6, dst: vip6, proto: 17, l4: udp("a")}
	with := func(f func(m *made6)) made6 { m := udp6; f(&m); return m }
	ext := func(e ...ext6) made6 { return with(func(m *made6) { m.ext = e }) }
	ns := func(src, dst netip.Addr) made6 {
		return made6{src: src, dst: dst, proto: 58, l4: nd6(135), hops: 255, flags: group}
	}
	var nine []ext6
	for range 9 {
		nine = append(nine, dest6)
	}
	for _, row := range []struct {
		name    string
		m       made6
		verdict packet.Verdict
		reason  packet.Reason
		flags   packet.Flags
	}{
		{"TCP", made6{src: near6, dst: vip6, proto: 6, l4: tcp(wire.TCPSyn, nil, "")}, packet.Continue, 0, packet.Keyed | packet.Plain},
		{"SYN of Linux", made6{src: near6, dst: vip6, proto: 6, l4: tcp(wire.TCPSyn, []byte("\x02\x04\x05\xb4\x04\x02\x08\x0aaaaa\x00\x00\x00\x00\x01\x03\x03\x07"), "")}, packet.Continue, 0, packet.Keyed | packet.Plain},
		{"SYN without timestamps, ended by padding", made6{src: near6, dst: vip6, proto: 6, l4: tcp(wire.TCPSyn, []byte("\x02\x04\x05\xb4\x03\x03\x08\x04\x02\x00\x00\x00"), "")}, packet.Continue, 0, packet.Keyed | packet.Plain},
		{"SYN with a segment size of three bytes", made6{src: near6, dst: vip6, proto: 6, l4: tcp(wire.TCPSyn, []byte("\x02\x03\x05\x01"), "")}, packet.Continue, 0, packet.Keyed},
		{"SYN with an option of no bytes", made6{src: near6, dst: vip6, proto: 6, l4: tcp(wire.TCPSyn, []byte("\x02\x04\x05\xb4\x05\x00\x01\x01"), "")}, packet.Continue, 0, packet.Keyed},
		{"SYN whose last option goes on beyond the header", made6{src: near6, dst: vip6, proto: 6, l4: tcp(wire.TCPSyn, []byte("\x01\x01\x02\x04"), "")}, packet.Continue, 0, packet.Keyed},
		{"SYN with Fast Open", made6{src: near6, dst: vip6, proto: 6, l4: tcp(wire.TCPSyn, []byte("\x02\x04\x05\xb4\x22\x02\x01\x01"), "")}, packet.Continue, 0, packet.Keyed},
		{"SYN with TOA", made6{src: near6, dst: vip6, proto: 6, l4: tcp(wire.TCPSyn, []byte("\x02\x04\x05\xb4\xfe\x08aabbbb"), "")}, packet.Continue, 0, packet.Keyed},
		{"SYN with a kind that counts as one of them modulo 16", made6{src: near6, dst: vip6, proto: 6, l4: tcp(wire.TCPSyn, []byte("\x12\x04\x05\xb4"), "")}, packet.Continue, 0, packet.Keyed},
		{"TCP with timestamp", made6{src: near6, dst: vip6, proto: 6, l4: tcp(wire.TCPAck, timestamp, "x")}, packet.Continue, 0, packet.Keyed | packet.Plain},
		{"TCP with unusual options", made6{src: near6, dst: vip6, proto: 6, l4: tcp(wire.TCPAck, []byte{1, 1, 1, 1}, "x")}, packet.Continue, 0, packet.Keyed},
		{"UDP", udp6, packet.Continue, 0, packet.Keyed | packet.Plain},
		{"padded", with(func(m *made6) { m.padding = 6 }), packet.Continue, 0, packet.Keyed | packet.Plain},
		{"partial checksum", with(func(m *made6) { m.partial = true }), packet.Continue, 0, packet.Keyed | packet.Plain | packet.CsumPartial},
		{"partial TCP checksum", made6{src: near6, dst: vip6, proto: 6, l4: tcp(16, timestamp, "abc"), partial: true, padding: 3}, packet.Continue, 0, packet.Keyed | packet.Plain | packet.CsumPartial},
		{"partial behind an extension", with(func(m *made6) { m.partial, m.ext = true, []ext6{hop6} }), packet.Continue, 0, packet.Keyed | packet.CsumPartial},
		{"UDP shorter than its packet", with(func(m *made6) { m.l4, m.spoil = udp("abcd"), func(ip wire.IPv6) { wire.UDP(ip[40:]).SetLength(10) } }), packet.Continue, 0, packet.Keyed | packet.Plain},
		{"echo", made6{src: near6, dst: vip6, proto: 58, l4: icmp6(128, 0, "")}, packet.Continue, 0, packet.Keyed},
		{"echo reply", made6{src: near6, dst: vip6, proto: 58, l4: icmp6(129, 0, "")}, packet.Continue, 0, packet.Keyed},
		{"echo with a code", made6{src: near6, dst: vip6, proto: 58, l4: icmp6(128, 1, "")}, packet.Continue, 0, 0},
		{"an ICMPv6 error", made6{src: near6, dst: vip6, proto: 58, l4: icmp6(1, 0, "")}, packet.Continue, 0, 0},
		{"ICMPv6 cut short", made6{src: near6, dst: vip6, proto: 58, l4: icmp6(128, 0, "")[:7]}, packet.Continue, 0, 0},
		{"another protocol", made6{src: near6, dst: vip6, proto: 89, l4: []byte{1}}, packet.Continue, 0, 0},
		{"no next header", made6{src: near6, dst: vip6, proto: 59}, packet.Continue, 0, 0},
		{"link-local source", with(func(m *made6) { m.src = link6 }), packet.Continue, 0, packet.Keyed | packet.Plain},
		{"hop-by-hop", ext(hop6), packet.Continue, 0, packet.Keyed},
		{"hop-by-hop, destination, routing at its end", ext(hop6, dest6, routing6(4, 0)), packet.Continue, 0, packet.Keyed},
		{"routing with segments left has another destination", ext(routing6(4, 1)), packet.Continue, 0, 0},
		{"atomic fragment", ext(atomic6), packet.Continue, 0, packet.Keyed},
		{"atomic fragment among others", ext(hop6, dest6, atomic6, dest6), packet.Continue, 0, packet.Keyed},
		{"echo behind an extension", made6{src: near6, dst: vip6, ext: []ext6{dest6}, proto: 58, l4: icmp6(128, 0, "")}, packet.Continue, 0, packet.Keyed},

		{"no header", with(func(m *made6) { m.beyond = 39 }), packet.Drop, packet.IPHeader, 0},
		{"version 4", with(func(m *made6) { m.spoil = func(ip wire.IPv6) { ip[0] = 0x45 } }), packet.Drop, packet.IPVersion, 0},
		{"length beyond the frame", with(func(m *made6) { m.spoil = func(ip wire.IPv6) { ip.SetPayloadLength(ip.PayloadLength() + 1) } }), packet.Drop, packet.IPHeader, 0},
		{"jumbogram", with(func(m *made6) {
			m.ext = []ext6{{wire.NextHopByHop, []byte{0, 0, 0xc2, 4, 0, 1, 0, 0}}}
			m.spoil = func(ip wire.IPv6) { ip.SetPayloadLength(0) }
		}), packet.Drop, packet.IPExtension, 0},
		{"no payload for UDP", with(func(m *made6) { m.spoil = func(ip wire.IPv6) { ip.SetPayloadLength(0) } }), packet.Drop, packet.L4Malformed, 0},
		{"source unspecified", with(func(m *made6) { m.src = any6 }), packet.Drop, packet.IPSource, 0},
		{"source loopback", with(func(m *made6) { m.src = a("::1") }), packet.Drop, packet.IPSource, 0},
		{"source multicast", with(func(m *made6) { m.src = a("ff02::1") }), packet.Drop, packet.IPSource, 0},
		{"source IPv4-mapped", with(func(m *made6) { m.src = a("::ffff:1.2.3.4") }), packet.Drop, packet.IPSource, 0},
		{"source ::2 is fine", with(func(m *made6) { m.src = a("::2") }), packet.Continue, 0, packet.Keyed | packet.Plain},
		{"destination unspecified", with(func(m *made6) { m.dst = any6 }), packet.Drop, packet.IPDestination, 0},
		{"destination loopback", with(func(m *made6) { m.dst = a("::1") }), packet.Drop, packet.IPDestination, 0},
		{"destination IPv4-mapped", with(func(m *made6) { m.dst = a("::ffff:1.2.3.4") }), packet.Drop, packet.IPDestination, 0},
		{"in a broadcast frame", with(func(m *made6) { m.flags = packet.Broadcast }), packet.Drop, packet.IPMulticast, packet.Broadcast},
		{"to a machine in a multicast frame", with(func(m *made6) { m.flags = group }), packet.Drop, packet.IPMulticast, group},
		{"UDP to all nodes", with(func(m *made6) { m.dst, m.flags = allNodes, group }), packet.Drop, packet.IPMulticast, group},
		{"MLD", made6{src: link6, dst: a("ff02::16"), ext: []ext6{hop6}, proto: 58, l4: icmp6(143, 0, ""), hops: 1, flags: group}, packet.Drop, packet.IPMulticast, group},
		{"MLD without an address", made6{src: any6, dst: a("ff02::16"), ext: []ext6{hop6}, proto: 58, l4: icmp6(143, 0, ""), hops: 1, flags: group}, packet.Drop, packet.IPMulticast, group},
		{"ping to all nodes", made6{src: link6, dst: allNodes, proto: 58, l4: icmp6(128, 0, ""), flags: group}, packet.Drop, packet.IPMulticast, group},
		{"router solicitation to all routers", made6{src: link6, dst: a("ff02::2"), proto: 58, l4: icmp6(133, 0, ""), hops: 255, flags: group}, packet.Drop, packet.IPMulticast, group},

		{"solicitation", ns(near6, solicited), packet.Neighbour, 0, group},
		{"solicitation in a unicast frame", with(func(m *made6) { *m = ns(near6, solicited); m.flags = 0 }), packet.Neighbour, 0, 0},
		{"solicitation to one machine", made6{src: near6, dst: vip6, proto: 58, l4: nd6(135), hops: 255}, packet.Neighbour, 0, 0},
		{"solicitation to all nodes", ns(near6, allNodes), packet.Neighbour, 0, group},
		{"is this address free?", ns(any6, solicited), packet.Neighbour, 0, group},
		{"the same to all nodes", ns(any6, allNodes), packet.Drop, packet.IPSource, group},
		{"the same to one machine", made6{src: any6, dst: vip6, proto: 58, l4: nd6(135), hops: 255}, packet.Drop, packet.IPSource, 0},
		{"advertisement of nobody", made6{src: any6, dst: solicited, proto: 58, l4: nd6(136), hops: 255, flags: group}, packet.Drop, packet.IPSource, group},
		{"advertisement", made6{src: near6, dst: vip6, proto: 58, l4: nd6(136), hops: 255}, packet.Neighbour, 0, 0},
		{"advertisement to all nodes", made6{src: near6, dst: allNodes, proto: 58, l4: nd6(136), hops: 255, flags: group}, packet.Neighbour, 0, group},
		{"solicitation over a router", with(func(m *made6) { *m = ns(near6, solicited); m.hops = 254 }), packet.Drop, packet.ICMPHopLimit, group},
		{"redirect over a router", made6{src: near6, dst: vip6, proto: 58, l4: icmp6(137, 0, ""), hops: 64}, packet.Drop, packet.ICMPHopLimit, 0},
		{"router advertisement", made6{src: link6, dst: allNodes, proto: 58, l4: icmp6(134, 0, "12345678"), hops: 255, flags: group}, packet.Drop, packet.ICMPUnwanted, group},
		{"redirect", made6{src: link6, dst: vip6, proto: 58, l4: icmp6(137, 0, ""), hops: 255}, packet.Drop, packet.ICMPUnwanted, 0},
		{"solicitation behind an extension", made6{src: near6, dst: vip6, ext: []ext6{dest6}, proto: 58, l4: nd6(135), hops: 255}, packet.Neighbour, 0, 0},
		{"solicitation in an atomic fragment", made6{src: near6, dst: vip6, ext: []ext6{atomic6}, proto: 58, l4: nd6(135), hops: 255}, packet.Drop, packet.ICMPUnwanted, 0},

		{"first fragment", ext(frag6(0, true, 7)), packet.Fragment, 0, 0},
		{"later fragment", ext(frag6(8, false, 7)), packet.Fragment, 0, 0},
		{"fragment behind hop-by-hop", ext(hop6, frag6(8, true, 7)), packet.Fragment, 0, 0},
		{"source route", ext(routing6(0, 1)), packet.Drop, packet.IPRouting, 0},
		{"source route at its end", ext(routing6(0, 0)), packet.Drop, packet.IPRouting, 0},
		{"hop-by-hop second", ext(dest6, hop6), packet.Drop, packet.IPExtension, 0},
		{"nine headers", with(func(m *made6) { m.ext = nine }), packet.Drop, packet.IPExtension, 0},
		{"header cut", with(func(m *made6) { m.ext, m.l4 = []ext6{{wire.NextDestination, []byte{0, 9, 0, 0, 0, 0, 0, 0}}}, nil }), packet.Drop, packet.IPExtension, 0},
		{"two fragment headers", ext(atomic6, frag6(0, true, 9)), packet.Drop, packet.IPExtension, 0},
		{"TCP cut short", made6{src: near6, dst: vip6, proto: 6, l4: tcp(2, nil, "")[:19]}, packet.Drop, packet.L4Malformed, 0},
		{"TCP data offset 16", made6{src: near6, dst: vip6, proto: 6, l4: tcp(2, nil, ""), spoil: func(ip wire.IPv6) { wire.TCP(ip[40:]).SetDataOffset(16) }}, packet.Drop, packet.L4Malformed, 0},
		{"TCP data offset beyond", made6{src: near6, dst: vip6, proto: 6, l4: tcp(2, nil, "abc"), padding: 9, spoil: func(ip wire.IPv6) { wire.TCP(ip[40:]).SetDataOffset(24) }}, packet.Drop, packet.L4Malformed, 0},
		{"UDP cut short", with(func(m *made6) { m.l4 = udp("")[:7] }), packet.Drop, packet.L4Malformed, 0},
		{"UDP length 7", with(func(m *made6) { m.spoil = func(ip wire.IPv6) { wire.UDP(ip[40:]).SetLength(7) } }), packet.Drop, packet.L4Malformed, 0},
		{"UDP length beyond", with(func(m *made6) { m.padding, m.spoil = 5, func(ip wire.IPv6) { wire.UDP(ip[40:]).SetLength(10) } }), packet.Drop, packet.L4Malformed, 0},
		{"UDP without a checksum", with(func(m *made6) { m.spoil = func(ip wire.IPv6) { wire.UDP(ip[40:]).SetChecksum(0) } }), packet.Drop, packet.L4Malformed, 0},
		{"TCP cut short behind an extension", made6{src: near6, dst: vip6, ext: []ext6{hop6}, proto: 6, l4: tcp(2, nil, "")[:12]}, packet.Drop, packet.L4Malformed, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t, 4)
			p := b.packet6(row.m)
			defer b.pool.Put(p)
			v := b.Input(p)
			if v != row.verdict || p.Reason != row.reason || p.Flags != row.flags {
				t.Fatalf("%v %v flags %b, want %v %v %b", v, p.Reason, p.Flags, row.verdict, row.reason, row.flags)
			}
			if v == packet.Continue || v == packet.Neighbour {
				checkParsed6(t, p, row.m)
			}
		})
	}
}

// checkParsed6 compares what Input6 says with what the test said. An atomic
// fragment has lost its fragment header.
func checkParsed6(t *testing.T, p *packet.Packet, m made6) {
	t.Helper()
	var left []ext6
	ext := 0
	for _, e := range m.ext {
		if e.kind != wire.NextFragment {
			left = append(left, e)
			ext += len(e.body)
		}
	}
	m.ext = left
	if want := bytes6(m); string(p.Data[14:]) != string(want) {
		t.Errorf("left\n%x, want\n%x", p.Data[14:], want)
	}
	if p.L3 != 14 || int(p.L4) != 54+ext || p.Proto != m.proto {
		t.Errorf("L3 %d L4 %d proto %d", p.L3, p.L4, p.Proto)
	}
	if e := wire.Ethernet(p.Data); e.Source() != macX || e.EtherType() != wire.EtherTypeIPv6 {
		t.Errorf("link header %x", p.Data[:14])
	}
	if !p.Is(packet.Keyed) {
		return
	}
	l4 := p.Data[p.L4:]
	ports := uint64(binary.LittleEndian.Uint32(l4))
	if m.proto == wire.ProtoICMPv6 { // the id is the port of who asks
		ports = uint64(binary.LittleEndian.Uint16(l4[4:]))
		if l4[0] == wire.ICMPv6EchoReply {
			ports <<= 16
		}
	}
	var addrs [32]byte
	src, dst := m.src.As16(), m.dst.As16()
	copy(addrs[:16], src[:])
	copy(addrs[16:], dst[:])
	k0, k1 := flow.Fold(seed, &addrs), ports|uint64(m.proto)<<32
	if p.Key0 != k0 || p.Key1 != k1 || p.Hash != flow.Hash(seed, k0, k1) {
		t.Errorf("key %x %x hash %x, want %x %x %x", p.Key0, p.Key1, p.Hash, k0, k1, flow.Hash(seed, k0, k1))
	}
	if m.proto == wire.ProtoTCP && p.TCPFlags != m.l4[13] {
		t.Errorf("TCP flags %b", p.TCPFlags)
	}
}

// A port whose driver knows of partial checksums: the field is not looked at.
func TestInput6PartialOnlyWherePossible(t *testing.T) {
	b := newBed(t, 4)
	p := b.packet6(made6{src: near6, dst: vip6, proto: 17, l4: udp("abc"), partial: true})
	defer b.pool.Put(p)
	p.In = 1
	if v := b.Input(p); v != packet.Continue || p.Is(packet.CsumPartial) {
		t.Errorf("%v flags %b", v, p.Flags)
	}
}

func TestInput6DoesNotAllocate(t *testing.T) {
	b := newBed(t, 4)
	p := b.packet6(made6{src: near6, dst: vip6, proto: 6, l4: tcp(16, nil, "data")})
	q := b.packet6(made6{src: near6, dst: vip6, ext: []ext6{hop6, dest6}, proto: 17, l4: udp("data")})
	defer b.pool.Put(p)
	defer b.pool.Put(q)
	if n := testing.AllocsPerRun(100, func() {
		if b.Input(p) != packet.Continue || b.Input(q) != packet.Continue {
			t.Fatal(p.Reason, q.Reason)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzInput6(f *testing.F) {
	for _, m := range []made6{
		{src: near6, dst: vip6, proto: 17, l4: udp("abc")},
		{src: near6, dst: own6, proto: 58, l4: icmp6(128, 0, "abc")},
		{src: near6, dst: far6, ext: []ext6{hop6, dest6, atomic6}, proto: 6, l4: tcp(2, nil, "")},
		{src: link6, dst: local6, ext: []ext6{routing6(4, 1)}, proto: 58, l4: icmp6(128, 0, "abc")},
		{src: near6, dst: far6, ext: []ext6{frag6(0, true, 7)}, proto: 17, l4: udp("12345678")},
	} {
		f.Add([]byte(bytes6(m)), uint8(0))
		f.Add([]byte(bytes6(m)), uint8(1))
	}
	b := newBed(f, 8)
	b.SetFragments(smallFragments, new(IDs))
	f.Fuzz(func(t *testing.T, data []byte, in uint8) {
		if len(data) > packet.SmallFrame-packet.Headroom-14 {
			return
		}
		defer b.empty(t)
		b.Forwarding6 = in&1 != 0
		p := b.pool.Get()
		p.Resize(14 + len(data))
		copy(p.Data[14:], data)
		p.L3, p.In, p.EtherType = 14, uint16(in%3), wire.EtherTypeIPv6
		v := b.Input(p)
		if v == packet.Fragment {
			whole, why := b.Join(p)
			b.pool.Put(p)
			if whole == nil || why != packet.NoReason {
				return
			}
			p = whole
			v = p.Verdict
		}
		defer func() { b.pool.Put(p) }()
		if v == packet.Continue {
			if int(p.L4) > len(p.Data) || wire.IPv6(p.Data[p.L3:]).TotalLength() != len(p.Data)-int(p.L3) {
				t.Fatalf("L4 %d, %d bytes", p.L4, len(p.Data))
			}
			v = b.Deliver(p)
		}
		if v == packet.Output {
			v = b.Output(p)
		}
		if (v == packet.Drop || v == packet.Refuse) && p.Reason == packet.NoReason {
			t.Fatal("dropped without a reason")
		}
		if v == packet.Refuse {
			b.Refuse(p)
		}
	})
}

func BenchmarkInput6(b *testing.B) {
	n := newBed(b, 4)
	for _, row := range []struct {
		name string
		m    made6
		in   uint16
	}{
		{"UDP", made6{src: near6, dst: vip6, proto: 17, l4: udp("")}, 1},
		{"TCP", made6{src: near6, dst: vip6, proto: 6, l4: tcp(16, nil, "")}, 1},
		{"TCP on a port that may be partial", made6{src: near6, dst: vip6, proto: 6, l4: tcp(16, nil, "")}, 0},
		{"UDP behind an extension", made6{src: near6, dst: vip6, ext: []ext6{hop6}, proto: 17, l4: udp("")}, 1},
	} {
		b.Run(row.name, func(b *testing.B) {
			p := n.packet6(row.m)
			defer n.pool.Put(p)
			p.In = row.in
			for b.Loop() {
				p.Flags = 0
				n.Input(p)
			}
		})
	}
}
