package ip

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/wire"
)

func TestInput4(t *testing.T) {
	a := func(s string) netip.Addr { return netip.MustParseAddr(s) }
	nops := []byte{1, 1, 1, 1}
	timestamp := []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}
	with := func(more string) []byte { return append(timestamp[:12:12], more...) }
	for _, row := range []struct {
		name    string
		m       made
		verdict packet.Verdict
		reason  packet.Reason
		flags   packet.Flags
	}{
		{"TCP", made{src: near, dst: vip, proto: 6, l4: tcp(wire.TCPSyn, nil, "")}, packet.Continue, 0, packet.Keyed | packet.Plain},
		{"SYN of Linux", made{src: near, dst: vip, proto: 6, l4: tcp(wire.TCPSyn, []byte("\x02\x04\x05\xb4\x04\x02\x08\x0aaaaa\x00\x00\x00\x00\x01\x03\x03\x07"), "")}, packet.Continue, 0, packet.Keyed | packet.Plain},
		{"SYN without timestamps, ended by padding", made{src: near, dst: vip, proto: 6, l4: tcp(wire.TCPSyn, []byte("\x02\x04\x05\xb4\x03\x03\x08\x04\x02\x00\x00\x00"), "")}, packet.Continue, 0, packet.Keyed | packet.Plain},
		{"SYN with a segment size of three bytes", made{src: near, dst: vip, proto: 6, l4: tcp(wire.TCPSyn, []byte("\x02\x03\x05\x01"), "")}, packet.Continue, 0, packet.Keyed},
		{"SYN with an option of no bytes", made{src: near, dst: vip, proto: 6, l4: tcp(wire.TCPSyn, []byte("\x02\x04\x05\xb4\x05\x00\x01\x01"), "")}, packet.Continue, 0, packet.Keyed},
		{"SYN whose last option goes on beyond the header", made{src: near, dst: vip, proto: 6, l4: tcp(wire.TCPSyn, []byte("\x01\x01\x02\x04"), "")}, packet.Continue, 0, packet.Keyed},
		{"SYN with Fast Open", made{src: near, dst: vip, proto: 6, l4: tcp(wire.TCPSyn, []byte("\x02\x04\x05\xb4\x22\x02\x01\x01"), "")}, packet.Continue, 0, packet.Keyed},
		{"SYN with TOA", made{src: near, dst: vip, proto: 6, l4: tcp(wire.TCPSyn, []byte("\x02\x04\x05\xb4\xfe\x08aabbbb"), "")}, packet.Continue, 0, packet.Keyed},
		{"SYN with a kind that counts as one of them modulo 16", made{src: near, dst: vip, proto: 6, l4: tcp(wire.TCPSyn, []byte("\x12\x04\x05\xb4"), "")}, packet.Continue, 0, packet.Keyed},
		{"TCP with unusual options and data", made{src: near, dst: vip, proto: 6, l4: tcp(wire.TCPAck, nops, "x")}, packet.Continue, 0, packet.Keyed},
		{"TCP with timestamp", made{src: near, dst: vip, proto: 6, l4: tcp(wire.TCPAck, timestamp, "x")}, packet.Continue, 0, packet.Keyed | packet.Plain},
		{"TCP with timestamp and SACK", made{src: near, dst: vip, proto: 6, l4: tcp(wire.TCPAck, with("\x01\x01\x05\x0aaaaabbbb"), "x")}, packet.Continue, 0, packet.Keyed | packet.Plain},
		{"TCP with timestamp and a SACK that lies", made{src: near, dst: vip, proto: 6, l4: tcp(wire.TCPAck, with("\x01\x01\x05\x12aaaabbbb"), "x")}, packet.Continue, 0, packet.Keyed},
		{"TCP with timestamp and TOA", made{src: near, dst: vip, proto: 6, l4: tcp(wire.TCPAck, with("\xfe\x08aabbbb"), "x")}, packet.Continue, 0, packet.Keyed},
		{"TCP with TOA in the place of SACK", made{src: near, dst: vip, proto: 6, l4: tcp(wire.TCPAck, with("\x01\x01\xfe\x08aabbbb\x01\x01"), "x")}, packet.Continue, 0, packet.Keyed},
		{"TCP with TOA alone", made{src: near, dst: vip, proto: 6, l4: tcp(wire.TCPAck, []byte("\xfe\x08aabbbb"), "x")}, packet.Continue, 0, packet.Keyed},
		{"UDP", made{src: near, dst: vip, proto: 17, l4: udp("")}, packet.Continue, 0, packet.Keyed | packet.Plain},
		{"padded", made{src: near, dst: vip, proto: 17, l4: udp("a"), padding: 17}, packet.Continue, 0, packet.Keyed | packet.Plain},
		{"partial checksum", made{src: near, dst: vip, proto: 17, l4: udp("abc"), partial: true}, packet.Continue, 0, packet.Keyed | packet.Plain | packet.CsumPartial},
		{"partial TCP checksum", made{src: near, dst: vip, proto: 6, l4: tcp(16, timestamp, "abc"), partial: true, padding: 3}, packet.Continue, 0, packet.Keyed | packet.Plain | packet.CsumPartial},
		{"IP options", made{src: near, dst: vip, proto: 17, l4: udp("a"), options: nops, padding: 2}, packet.Continue, 0, packet.Keyed},
		{"IP options, partial", made{src: near, dst: vip, proto: 6, l4: tcp(16, nil, "abc"), options: nops, partial: true}, packet.Continue, 0, packet.Keyed | packet.CsumPartial},
		{"echo", made{src: near, dst: vip, proto: 1, l4: icmp(8, 0, "")}, packet.Continue, 0, packet.Keyed},
		{"echo reply", made{src: near, dst: vip, proto: 1, l4: icmp(0, 0, "")}, packet.Continue, 0, packet.Keyed},
		{"echo with IP options", made{src: near, dst: vip, proto: 1, l4: icmp(8, 0, ""), options: nops}, packet.Continue, 0, packet.Keyed},
		{"echo with a code", made{src: near, dst: vip, proto: 1, l4: icmp(8, 1, "")}, packet.Continue, 0, 0},
		{"other ICMP", made{src: near, dst: vip, proto: 1, l4: icmp(13, 0, "")}, packet.Continue, 0, 0},
		{"ICMP cut short", made{src: near, dst: vip, proto: 1, l4: icmp(8, 0, "")[:7]}, packet.Continue, 0, 0},
		{"another protocol", made{src: near, dst: vip, proto: 89, l4: []byte{1}}, packet.Continue, 0, 0},
		{"reserved source", made{src: a("240.1.2.3"), dst: vip, proto: 17, l4: udp("")}, packet.Continue, 0, packet.Keyed | packet.Plain},
		{"UDP shorter than its packet", made{src: near, dst: vip, proto: 17, l4: udp("abcd"), change: func(ip wire.IPv4) { wire.UDP(ip[20:]).SetLength(10) }}, packet.Continue, 0, packet.Keyed | packet.Plain},

		{"no header", made{src: near, dst: vip, beyondHeader: 19}, packet.Drop, packet.IPHeader, 0},
		{"version", made{src: near, dst: vip, spoil: func(ip wire.IPv4) { ip[0] = 0x65 }}, packet.Drop, packet.IPVersion, 0},
		{"header length 16", made{src: near, dst: vip, spoil: func(ip wire.IPv4) { ip[0] = 0x44 }}, packet.Drop, packet.IPHeader, 0},
		{"header length beyond the frame", made{src: near, dst: vip, spoil: func(ip wire.IPv4) { ip[0] = 0x4f }}, packet.Drop, packet.IPHeader, 0},
		{"total length below 20", made{src: near, dst: vip, proto: 17, l4: udp(""), change: func(ip wire.IPv4) { ip.SetTotalLength(19) }}, packet.Drop, packet.IPHeader, 0},
		{"total length within the options", made{src: near, dst: vip, options: nops, proto: 17, l4: udp(""), change: func(ip wire.IPv4) { ip.SetTotalLength(23) }}, packet.Drop, packet.IPHeader, 0},
		{"total length beyond the frame", made{src: near, dst: vip, proto: 17, l4: udp(""), change: func(ip wire.IPv4) { ip.SetTotalLength(29) }}, packet.Drop, packet.IPHeader, 0},
		{"total length beyond the frame, options", made{src: near, dst: vip, options: nops, proto: 17, l4: udp(""), change: func(ip wire.IPv4) { ip.SetTotalLength(99) }}, packet.Drop, packet.IPHeader, 0},
		{"header checksum", made{src: near, dst: vip, proto: 17, l4: udp(""), spoil: func(ip wire.IPv4) { ip[1] ^= 4 }}, packet.Drop, packet.IPChecksum, 0},
		{"header checksum with options", made{src: near, dst: vip, proto: 17, options: nops, l4: udp(""), spoil: func(ip wire.IPv4) { ip[21] ^= 4 }}, packet.Drop, packet.IPChecksum, 0},
		{"source 0.0.0.0", made{src: a("0.0.0.0"), dst: vip, proto: 17, l4: udp("")}, packet.Drop, packet.IPSource, 0},
		{"source 0.1.2.3", made{src: a("0.1.2.3"), dst: vip, proto: 17, l4: udp("")}, packet.Drop, packet.IPSource, 0},
		{"source loopback", made{src: a("127.0.0.1"), dst: vip, proto: 17, l4: udp("")}, packet.Drop, packet.IPSource, 0},
		{"source 128.0.0.1 is fine", made{src: a("128.0.0.1"), dst: vip, proto: 17, l4: udp("")}, packet.Continue, 0, packet.Keyed | packet.Plain},
		{"source 223.1.1.1 is fine", made{src: a("223.1.1.1"), dst: vip, proto: 17, l4: udp("")}, packet.Continue, 0, packet.Keyed | packet.Plain},
		{"source multicast", made{src: a("224.0.0.5"), dst: vip, proto: 17, l4: udp("")}, packet.Drop, packet.IPSource, 0},
		{"source multicast, upper end, options", made{src: a("239.9.9.9"), dst: vip, options: nops, proto: 17, l4: udp("")}, packet.Drop, packet.IPSource, 0},
		{"source broadcast", made{src: a("255.255.255.255"), dst: vip, proto: 17, l4: udp("")}, packet.Drop, packet.IPSource, 0},
		{"destination loopback", made{src: near, dst: a("127.1.1.1"), proto: 17, l4: udp("")}, packet.Drop, packet.IPDestination, 0},
		{"destination 0.0.0.0", made{src: near, dst: a("0.0.0.0"), proto: 17, l4: udp("")}, packet.Drop, packet.IPDestination, 0},
		{"in a broadcast frame", made{src: near, dst: vip, proto: 17, l4: udp(""), flags: packet.Broadcast}, packet.Drop, packet.IPMulticast, packet.Broadcast},
		{"first fragment", made{src: near, dst: vip, proto: 17, l4: udp(""), change: func(ip wire.IPv4) { ip.SetFlagsFragment(wire.IPv4MoreFragments) }}, packet.Fragment, 0, 0},
		{"last fragment", made{src: near, dst: vip, proto: 17, l4: udp(""), change: func(ip wire.IPv4) { ip.SetFlagsFragment(1) }}, packet.Fragment, 0, 0},
		{"far fragment", made{src: near, dst: vip, proto: 17, l4: udp(""), change: func(ip wire.IPv4) { ip.SetFlagsFragment(0x1f00) }}, packet.Fragment, 0, 0},
		{"fragment with options", made{src: near, dst: vip, options: nops, proto: 17, l4: udp(""), change: func(ip wire.IPv4) { ip.SetFlagsFragment(0x2000) }}, packet.Fragment, 0, 0},
		{"TCP cut short", made{src: near, dst: vip, proto: 6, l4: tcp(2, nil, "")[:19]}, packet.Drop, packet.L4Malformed, 0},
		{"TCP data offset 16", made{src: near, dst: vip, proto: 6, l4: tcp(2, nil, ""), spoil: func(ip wire.IPv4) { wire.TCP(ip[20:]).SetDataOffset(16) }}, packet.Drop, packet.L4Malformed, 0},
		{"TCP data offset beyond", made{src: near, dst: vip, proto: 6, l4: tcp(2, nil, "abc"), padding: 9, spoil: func(ip wire.IPv4) { wire.TCP(ip[20:]).SetDataOffset(24) }}, packet.Drop, packet.L4Malformed, 0},
		{"UDP cut short", made{src: near, dst: vip, proto: 17, l4: udp("")[:7]}, packet.Drop, packet.L4Malformed, 0},
		{"UDP length 7", made{src: near, dst: vip, proto: 17, l4: udp("a"), spoil: func(ip wire.IPv4) { wire.UDP(ip[20:]).SetLength(7) }}, packet.Drop, packet.L4Malformed, 0},
		{"UDP length beyond", made{src: near, dst: vip, proto: 17, l4: udp("a"), padding: 5, spoil: func(ip wire.IPv4) { wire.UDP(ip[20:]).SetLength(10) }}, packet.Drop, packet.L4Malformed, 0},
		{"TCP cut short with options", made{src: near, dst: vip, options: nops, proto: 6, l4: tcp(2, nil, "")[:12]}, packet.Drop, packet.L4Malformed, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t, 4)
			p := b.packet(row.m)
			defer b.pool.Put(p)
			v := b.Input4(p)
			if v != row.verdict || p.Reason != row.reason || p.Flags != row.flags {
				t.Fatalf("%v %v flags %b, want %v %v %b", v, p.Reason, p.Flags, row.verdict, row.reason, row.flags)
			}
			if v == packet.Continue {
				checkParsed(t, p, row.m)
			}
		})
	}
}

func checkParsed(t *testing.T, p *packet.Packet, m made) {
	t.Helper()
	hlen := 20 + len(m.options)
	if len(p.Data) != 14+hlen+len(m.l4) {
		t.Errorf("%d bytes left, want %d: padding was to go", len(p.Data), 14+hlen+len(m.l4))
	}
	if p.L3 != 14 || int(p.L4) != 14+hlen || p.Proto != m.proto {
		t.Errorf("L3 %d L4 %d proto %d", p.L3, p.L4, p.Proto)
	}
	if !p.Is(packet.Keyed) {
		return
	}
	ip := p.Data[14:]
	sport, dport := binary.LittleEndian.Uint16(ip[hlen:]), binary.LittleEndian.Uint16(ip[hlen+2:])
	if m.proto == wire.ProtoICMP { // the id is the port of who asks
		sport, dport = binary.LittleEndian.Uint16(ip[hlen+4:]), 0
		if ip[hlen] == wire.ICMPv4EchoReply {
			sport, dport = dport, sport
		}
	}
	k0, k1 := flow.Tuple(binary.LittleEndian.Uint32(ip[12:]), binary.LittleEndian.Uint32(ip[16:]), sport, dport, m.proto)
	if p.Key0 != k0 || p.Key1 != k1 || p.Hash != flow.Hash(seed, k0, k1) {
		t.Errorf("key %x %x hash %x, want %x %x %x", p.Key0, p.Key1, p.Hash, k0, k1, flow.Hash(seed, k0, k1))
	}
	if m.proto == wire.ProtoTCP && p.TCPFlags != m.l4[13] {
		t.Errorf("TCP flags %b", p.TCPFlags)
	}
}

// A port whose driver knows of partial checksums: the field is not looked at.
func TestInput4PartialOnlyWherePossible(t *testing.T) {
	b := newBed(t, 4)
	p := b.packet(made{src: near, dst: vip, proto: 17, l4: udp("abc"), partial: true})
	defer b.pool.Put(p)
	p.In = 1
	if v := b.Input4(p); v != packet.Continue || p.Is(packet.CsumPartial) {
		t.Errorf("%v flags %b", v, p.Flags)
	}
}

func TestInput4DoesNotAllocate(t *testing.T) {
	b := newBed(t, 4)
	p := b.packet(made{src: near, dst: vip, proto: 6, l4: tcp(16, nil, "data")})
	q := b.packet(made{src: near, dst: vip, proto: 17, l4: udp("data"), options: []byte{1, 1, 1, 1}})
	defer b.pool.Put(p)
	defer b.pool.Put(q)
	if n := testing.AllocsPerRun(100, func() {
		if b.Input4(p) != packet.Continue || b.Input4(q) != packet.Continue {
			t.Fatal(p.Reason, q.Reason)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzInput4(f *testing.F) {
	f.Add([]byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0x66, 0xcf, 10, 0, 0, 1, 10, 0, 0, 2, 0, 1, 0, 2, 0, 8, 0, 0}, uint8(0), true)
	f.Add([]byte{0x46, 0, 0, 24, 0, 0, 0, 0, 1, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 5, 1, 1, 1, 1}, uint8(0), true)
	b := newBed(f, 8)
	f.Fuzz(func(t *testing.T, data []byte, in uint8, mend bool) {
		if len(data) > packet.SmallFrame-packet.Headroom-14 {
			return
		}
		defer b.empty(t)
		b.Forwarding = in&1 != 0
		p := b.pool.Get()
		defer b.pool.Put(p)
		p.Resize(14 + len(data))
		copy(p.Data[14:], data)
		p.L3, p.In = 14, uint16(in%3)
		if ip := wire.IPv4(p.Data[14:]); mend && len(ip) >= 20 && ip.HeaderLength() >= 20 && ip.HeaderLength() <= len(ip) {
			ip.ComputeChecksum() // else hardly anything gets past it
		}
		v := b.Input4(p)
		if v == packet.Continue {
			if int(p.L4) > len(p.Data) || len(p.Data) > 14+len(data) {
				t.Fatalf("L4 %d, %d bytes", p.L4, len(p.Data))
			}
			v = b.Deliver4(p)
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

func BenchmarkInput4(b *testing.B) {
	n := newBed(b, 4)
	for _, row := range []struct {
		name string
		m    made
		in   uint16
	}{
		{"UDP", made{src: near, dst: vip, proto: 17, l4: udp("")}, 1},
		{"TCP", made{src: near, dst: vip, proto: 6, l4: tcp(16, nil, "")}, 1},
		{"TCP on a port that may be partial", made{src: near, dst: vip, proto: 6, l4: tcp(16, nil, "")}, 0},
	} {
		b.Run(row.name, func(b *testing.B) {
			p := n.packet(row.m)
			defer n.pool.Put(p)
			p.In = row.in
			for b.Loop() {
				p.Flags = 0
				n.Input4(p)
			}
		})
	}
}
