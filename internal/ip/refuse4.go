package ip

import (
	"net/netip"

	"weir/internal/packet"
	"weir/internal/wire"
)

// errorSize4 bounds a whole error, in bytes (RFC 1812, 4.3.2.3).
const errorSize4 = 576

// errorFor4 returns the ICMP message that belongs to a reason.
func errorFor4(r packet.Reason) (kind, code uint8, ok bool) {
	const reassembly = 1 // took too long
	switch r {
	case packet.IPTTL:
		return wire.ICMPv4TimeExceeded, 0, true
	case packet.IPFragTimeout:
		return wire.ICMPv4TimeExceeded, reassembly, true
	case packet.IPTooBig:
		return wire.ICMPv4Unreachable, wire.ICMPv4FragNeeded, true
	case packet.IPNoRoute:
		return wire.ICMPv4Unreachable, wire.ICMPv4NetUnreachable, true
	case packet.LBTunnelUnreachable: // RFC 2003, 4.1
		return wire.ICMPv4Unreachable, wire.ICMPv4HostUnreachable, true
	case packet.IPNoListener:
		return wire.ICMPv4Unreachable, wire.ICMPv4PortUnreachable, true
	}
	return 0, 0, false
}

// answerable4 reports whether an ICMP error may be sent about a packet at all
// (RFC 1122, 3.2.2; RFC 1812, 4.3.2.7).
func answerable4(p *packet.Packet) bool {
	const never = packet.Ours | packet.Broadcast | packet.Multicast
	if p.Flags&never != 0 || len(p.Data) < int(p.L3)+wire.IPv4MinLen {
		return false
	}
	ip := wire.IPv4(p.Data[p.L3:])
	src, dst := ip.Src(), ip.Dst()
	hlen := ip.HeaderLength()
	if ip.Version() != 4 || hlen < wire.IPv4MinLen || hlen > len(ip) || ip.FragmentOffset() != 0 ||
		badSource[src[0]>>6]>>(src[0]&63)&1 != 0 || dst[0] >= 224 && dst[0] < 240 || dst[0] == 255 {
		return false
	}
	if ip.Protocol() == wire.ProtoICMP {
		// One too short to tell may be an error as well.
		return len(ip) >= hlen+wire.ICMPv4Len && !wire.ICMPv4(ip[hlen:]).IsError()
	}
	return true
}

// makeError4 makes the message about p and reports whether it is in the outbox.
func (s *Stack) makeError4(p *packet.Packet, kind, code uint8) bool {
	about := wire.IPv4(p.Data[p.L3:])
	sender := about.Src()
	from, ok := s.errorSource4(p, about)
	if !ok || s.out.Full() {
		return false
	}
	e := s.pool.Get()
	if e == nil {
		return false
	}
	const headers = wire.IPv4MinLen + wire.ICMPv4Len
	quote := min(len(about), int(about.TotalLength()), errorSize4-headers)
	e.Resize(wire.EthernetLen + headers + quote)
	e.L3, e.L4 = wire.EthernetLen, wire.EthernetLen+wire.IPv4MinLen
	e.In, e.EtherType, e.Proto = p.In, wire.EtherTypeIPv4, wire.ProtoICMP
	e.Flags = packet.Ours
	if !s.way(e, p, netip.AddrFrom4(sender)) {
		s.pool.Put(e)
		return false
	}
	m := wire.ICMPv4(e.Data[e.L4:])
	copy(m[wire.ICMPv4Len:], about[:quote])
	m.SetType(kind)
	m.SetCode(code)
	m.SetIdent(0)
	m.SetSequence(0)
	if code == wire.ICMPv4FragNeeded && kind == wire.ICMPv4Unreachable {
		m.SetNextHopMTU(p.MTU)
	}
	m.ComputeChecksum()
	s.header4(wire.IPv4(e.Data[e.L3:]), from, sender)
	return s.out.Push(e, packet.Output)
}

// header4 writes the IP header of an ICMP error: all of b is the packet.
func (s *Stack) header4(b wire.IPv4, src, dst [4]byte) {
	b.SetVersionIHL(wire.IPv4MinLen)
	b.SetTOS(0xc0) // internetwork control (RFC 1812, 4.3.2.5)
	b.SetTotalLength(uint16(len(b)))
	b.SetID(s.id)
	s.id++
	b.SetFlagsFragment(0)
	b.SetTTL(s.ttl())
	b.SetProtocol(wire.ProtoICMP)
	b.SetSrc(src)
	b.SetDst(dst)
	b.ComputeChecksum()
}

// errorSource4 is the address an error comes from: the one the packet was sent to
// if it is ours, else one of the port it came in on (RFC 1812, 4.3.2.4).
func (s *Stack) errorSource4(p *packet.Packet, about wire.IPv4) ([4]byte, bool) {
	dst := about.Dst()
	if s.ours(p, netip.AddrFrom4(dst)) {
		return dst, true
	}
	a := s.Table.Source(p.In, netip.AddrFrom4(about.Src()))
	if !a.Is4() {
		return [4]byte{}, false
	}
	return a.As4(), true
}
