package ip

import (
	"encoding/binary"
	"math/bits"

	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/wire"
)

// Input6 validates an IPv6 packet (RFC 8200, 3 and 4) and prepares it for those
// who come next, as Input4 does: Data ends with the packet (padding goes), L4 and
// Proto are those of the transport header behind all extension headers, and a TCP,
// UDP or SCTP packet that is no fragment gets Keyed, its key words, Hash and TCPFlags, and
// Plain if no extension header or TCP option asks for a closer look. A fragment is
// for Join, neighbour discovery for the neighbour table.
//
// Jumbograms (RFC 2675), which say a payload length of 0, are refused: no port
// carries what they are for.
func (s *Stack) Input6(p *packet.Packet) packet.Verdict {
	off := int(p.L3)
	s.stats.In6++
	s.stats.In6Bytes += uint64(len(p.Data) - off)
	if len(p.Data) < off+wire.IPv6Len {
		return p.DropFor(packet.IPHeader)
	}
	h := (*[wire.IPv6Len]byte)(p.Data[off:])
	if h[0]>>4 != 6 {
		return p.DropFor(packet.IPVersion)
	}
	end := off + wire.IPv6Len + int(binary.BigEndian.Uint16(h[4:6]))
	if end > len(p.Data) {
		return p.DropFor(packet.IPHeader)
	}
	if end < len(p.Data) {
		p.Resize(end)
	}
	// Whatever is special begins with 0 or 255.
	if h[8]-1 >= 0xfe || h[24]-1 >= 0xfe || p.Flags&(packet.Broadcast|packet.Multicast) != 0 {
		if v := s.addresses6(p, h); v != packet.Continue {
			return v
		}
	}
	p.Proto = h[6]
	p.L4 = uint16(off + wire.IPv6Len)
	switch p.Proto {
	case wire.ProtoTCP, wire.ProtoUDP, wire.ProtoSCTP, wire.ProtoICMPv6:
		return s.key6(p, h, p.Data[off+wire.IPv6Len:])
	}
	return s.extensions6(p)
}

// extensions6 is Input6 for what the fixed header does not say.
func (s *Stack) extensions6(p *packet.Packet) packet.Verdict {
	ip := wire.IPv6(p.Data[p.L3:])
	c, fault := wire.WalkIPv6(ip)
	switch {
	case fault != wire.ChainOK:
		return p.DropFor(packet.IPExtension)
	case c.SourceRoute:
		return p.DropFor(packet.IPRouting)
	case c.IsFragment():
		p.Proto = c.Proto
		p.L4 = p.L3 + c.Offset
		s.stats.Fragments6++
		return s.fragment(p)
	case c.Fragment != 0:
		unwrap6(p, &c)
	}
	return s.behind6(p, &c)
}

// unwrap6 takes the fragment header out of an atomic fragment, which has no other
// pieces (RFC 6946): what came in fragments has none here either.
func unwrap6(p *packet.Packet, c *wire.Chain) {
	const n = wire.IPv6FragmentLen
	at := int(p.L3) + int(c.Fragment)
	p.Data[int(p.L3)+int(c.FragmentNextAt)] = p.Data[at]
	if c.NextAt == c.Fragment {
		c.NextAt = c.FragmentNextAt
	} else {
		c.NextAt -= n
	}
	c.Offset -= n
	copy(p.Data[n:], p.Data[:at])
	p.TrimFront(n)
	ip := wire.IPv6(p.Data[p.L3:])
	ip.SetPayloadLength(ip.PayloadLength() - n)
}

// behind6 keys a packet by what stands behind its extension headers. If a routing
// header has segments left, that is about another destination.
func (s *Stack) behind6(p *packet.Packet, c *wire.Chain) packet.Verdict {
	p.Proto = c.Proto
	p.L4 = p.L3 + c.Offset
	if c.SegmentsLeft != 0 {
		return packet.Continue
	}
	v := s.key6(p, (*[wire.IPv6Len]byte)(p.Data[p.L3:]), p.Data[p.L4:])
	if c.Extensions != 0 {
		p.Flags &^= packet.Plain
	}
	if c.Fragment != 0 && v == packet.Neighbour {
		return p.DropFor(packet.ICMPUnwanted) // RFC 6980, 5
	}
	return v
}

// addresses6 drops what has addresses that can't be (RFC 4291, 2.5 and 2.7), and
// what goes to groups and is no neighbour discovery.
func (s *Stack) addresses6(p *packet.Packet, h *[wire.IPv6Len]byte) packet.Verdict {
	srcHi, srcLo := binary.BigEndian.Uint64(h[8:16]), binary.BigEndian.Uint64(h[16:24])
	dstHi, dstLo := binary.BigEndian.Uint64(h[24:32]), binary.BigEndian.Uint64(h[32:40])
	toGroup := dstHi>>56 == 0xff
	nobody := srcHi|srcLo == 0 // may ask a group, and nothing else
	if srcHi>>56 == 0xff || srcHi == 0 && special6(srcLo) && !(nobody && toGroup) {
		return p.DropFor(packet.IPSource)
	}
	if dstHi == 0 && special6(dstLo) {
		return p.DropFor(packet.IPDestination)
	}
	if toGroup {
		return s.group6(p, h, dstHi, dstLo, nobody)
	}
	if p.Flags&(packet.Broadcast|packet.Multicast) != 0 {
		return p.PuntIf(s.twin(p), packet.IPMulticast) // to one machine, but not in its frame
	}
	return packet.Continue
}

// special6 reports whether an address that begins with 64 zero bits is the
// unspecified one, loopback, or an IPv4 address in IPv6's clothes, which belongs
// on no wire.
func special6(lo uint64) bool { return lo <= 1 || lo>>32 == 0xffff }

// group6 lets neighbour discovery to all nodes and to solicited nodes pass; what else
// goes to groups is Linux's. What has no source address yet may only look whether an
// address is free (RFC 4861, 7.1.1).
func (s *Stack) group6(p *packet.Packet, h *[wire.IPv6Len]byte, hi, lo uint64, nobody bool) packet.Verdict {
	m := p.Data[int(p.L3)+wire.IPv6Len:]
	solicited := lo>>24 == 0x1ff
	if hi != 0xff02<<48 || lo != 1 && !solicited ||
		h[6] != wire.ProtoICMPv6 || len(m) < wire.ICMPv6Len || !isDiscovery(m[0]) {
		return p.PuntIf(s.twin(p), packet.IPMulticast)
	}
	if nobody && (m[0] != wire.ICMPv6NeighbourSolicitation || !solicited) {
		return p.DropFor(packet.IPSource)
	}
	return packet.Continue
}

func isDiscovery(kind uint8) bool {
	return kind >= wire.ICMPv6RouterSolicitation && kind <= wire.ICMPv6Redirect
}

// icmp6 sets the key of an echo: the id is the port of who asks, and the other's is
// 0. Neighbour discovery turns off here, its checksum not yet verified; other
// ICMPv6 has no key.
func (s *Stack) icmp6(p *packet.Packet, h *[wire.IPv6Len]byte, m []byte) packet.Verdict {
	if len(m) < wire.ICMPv6Len {
		return packet.Continue
	}
	if isDiscovery(m[0]) {
		switch {
		case h[7] != wire.NDHopLimit:
			return p.DropFor(packet.ICMPHopLimit)
		case m[0] == wire.ICMPv6NeighbourSolicitation, m[0] == wire.ICMPv6NeighbourAdvertisement:
			return packet.Neighbour
		}
		return p.PuntIf(s.twin(p), packet.ICMPUnwanted) // addresses and routes are configured
	}
	id := uint64(binary.LittleEndian.Uint16(m[4:6]))
	switch {
	case m[1] != 0:
		return packet.Continue
	case m[0] == wire.ICMPv6EchoRequest:
	case m[0] == wire.ICMPv6EchoReply:
		id <<= 16
	default:
		return packet.Continue
	}
	s.setKey6(p, h, id)
	p.Flags |= packet.Keyed
	return packet.Continue
}

// setKey6 sets the key words and their hash; ports as on the wire, read
// little-endian.
func (s *Stack) setKey6(p *packet.Packet, h *[wire.IPv6Len]byte, ports uint64) {
	p.Key0 = s.fold.Src((*[16]byte)(h[8:24])) + s.fold.Dst((*[16]byte)(h[24:40]))
	p.Key1 = ports | uint64(p.Proto)<<32
	p.Hash = flow.Hash(s.seed, p.Key0, p.Key1)
}

// key6 checks the transport header, which l4 begins with, and sets the key.
func (s *Stack) key6(p *packet.Packet, h *[wire.IPv6Len]byte, l4 []byte) packet.Verdict {
	var sum uint16 // the checksum field as on the wire
	flags := packet.Keyed | packet.Plain
	switch p.Proto {
	case wire.ProtoTCP:
		if len(l4) < wire.TCPMinLen {
			return p.DropFor(packet.L4Malformed)
		}
		t := (*[wire.TCPMinLen]byte)(l4)
		n := int(t[12]>>4) << 2
		if n < wire.TCPMinLen || n > len(l4) {
			return p.DropFor(packet.L4Malformed)
		}
		if n != wire.TCPMinLen && !usual(l4[:n]) {
			flags = packet.Keyed
		}
		p.TCPFlags = t[13]
		sum = binary.LittleEndian.Uint16(t[16:18])
	case wire.ProtoUDP:
		if len(l4) < wire.UDPLen {
			return p.DropFor(packet.L4Malformed)
		}
		u := (*[wire.UDPLen]byte)(l4)
		n := int(binary.BigEndian.Uint16(u[4:6]))
		sum = binary.LittleEndian.Uint16(u[6:8])
		if n < wire.UDPLen || n > len(l4) || sum == 0 { // RFC 8200, 8.1
			return p.DropFor(packet.L4Malformed)
		}
		l4 = l4[:n]
	case wire.ProtoSCTP:
		return s.keySCTP6(p, h, l4)
	case wire.ProtoICMPv6:
		return s.icmp6(p, h, l4)
	case wire.ProtoOSPF:
		return s.ospf(p)
	case wire.ProtoIPIP, wire.ProtoIPv6, wire.ProtoGRE:
		return s.carrier()
	default:
		return packet.Continue
	}
	p.Key0 = s.fold.Src((*[16]byte)(h[8:24])) + s.fold.Dst((*[16]byte)(h[24:40]))
	p.Key1 = uint64(binary.LittleEndian.Uint32(l4[0:4])) | uint64(p.Proto)<<32
	p.Hash = flow.Hash(s.seed, p.Key0, p.Key1)
	p.Flags |= flags
	if s.rxPartial>>(p.In%port.Max)&1 != 0 && wire.Fold(pseudo6(h, p.Proto, len(l4))) == sum {
		p.Flags |= packet.CsumPartial
	}
	return packet.Continue
}

// MarkPartial6 is MarkPartial4 for IPv6 without extension headers.
func (s *Stack) MarkPartial6(p *packet.Packet) {
	if s.rxPartial>>(p.In%port.Max)&1 != 0 {
		s.markPartial6(p)
	}
}

func (s *Stack) markPartial6(p *packet.Packet) {
	l4 := p.Data[p.L4:]
	at := 16
	if p.Proto == wire.ProtoUDP {
		at = 6
		l4 = l4[:binary.BigEndian.Uint16(l4[4:6])]
	}
	h := (*[wire.IPv6Len]byte)(p.Data[p.L3:])
	if wire.Fold(pseudo6(h, p.Proto, len(l4))) == binary.LittleEndian.Uint16(l4[at:at+2]) {
		p.Flags |= packet.CsumPartial
	}
}

// pseudo6 is the sum of a pseudo-header, of words read little-endian.
func pseudo6(h *[wire.IPv6Len]byte, proto uint8, length int) uint64 {
	sum := uint64(proto)<<8 + uint64(bits.ReverseBytes16(uint16(length)))
	for i := 8; i < wire.IPv6Len; i += 4 {
		sum += uint64(binary.LittleEndian.Uint32(h[i : i+4]))
	}
	return sum
}
