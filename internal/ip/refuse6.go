package ip

import (
	"net/netip"

	"weir/internal/packet"
	"weir/internal/wire"
)

// errorSize6 bounds a whole error: the MTU that every link has (RFC 4443, 2.4 c).
const errorSize6 = wire.IPv6MinMTU

// errorFor6 returns the ICMPv6 message that belongs to a reason.
func errorFor6(r packet.Reason) (kind, code uint8, ok bool) {
	switch r {
	case packet.IPTTL:
		return wire.ICMPv6TimeExceeded, wire.ICMPv6HopLimitExceeded, true
	case packet.IPFragTimeout:
		return wire.ICMPv6TimeExceeded, wire.ICMPv6ReassemblyExceeded, true
	case packet.IPTooBig:
		return wire.ICMPv6PacketTooBig, 0, true
	case packet.IPNoRoute:
		return wire.ICMPv6Unreachable, wire.ICMPv6NoRoute, true
	case packet.LBTunnelUnreachable: // RFC 2473, 8.2
		return wire.ICMPv6Unreachable, wire.ICMPv6AddressUnreachable, true
	case packet.IPNoListener:
		return wire.ICMPv6Unreachable, wire.ICMPv6PortUnreachable, true
	}
	return 0, 0, false
}

// answerable6 reports whether an ICMPv6 error may be sent about a packet at all
// (RFC 4443, 2.4 e).
func answerable6(p *packet.Packet) bool {
	const never = packet.Ours | packet.Broadcast | packet.Multicast
	if p.Flags&never != 0 || len(p.Data) < int(p.L3)+wire.IPv6Len {
		return false
	}
	ip := wire.IPv6(p.Data[p.L3:])
	if src, dst := ip.Src(), ip.Dst(); ip.Version() != 6 || src == [16]byte{} || src[0] == 0xff || dst[0] == 0xff {
		return false
	}
	c, fault := wire.WalkIPv6(ip)
	if fault != wire.ChainOK || c.IsLater() {
		return false // it may hold an error as well
	}
	if c.Proto == wire.ProtoICMPv6 {
		m := ip[c.Offset:]
		return len(m) >= wire.ICMPv6Len && !wire.ICMPv6(m).IsError() && m[0] != wire.ICMPv6Redirect
	}
	return true
}

// makeError6 makes the message about p and reports whether it is in the outbox.
func (s *Stack) makeError6(p *packet.Packet, kind, code uint8) bool {
	about := wire.IPv6(p.Data[p.L3:])
	sender := about.Src()
	from, ok := s.errorSource6(p, about)
	if !ok || s.out.Full() {
		return false
	}
	e := s.pool.Get()
	if e == nil {
		return false
	}
	const headers = wire.IPv6Len + wire.ICMPv6Len
	quote := min(len(about), about.TotalLength(), errorSize6-headers)
	e.Resize(wire.EthernetLen + headers + quote)
	e.L3, e.L4 = wire.EthernetLen, wire.EthernetLen+wire.IPv6Len
	e.In, e.EtherType, e.Proto = p.In, wire.EtherTypeIPv6, wire.ProtoICMPv6
	e.Flags = packet.Ours
	if !s.way(e, p, netip.AddrFrom16(sender)) {
		s.pool.Put(e)
		return false
	}
	m := wire.ICMPv6(e.Data[e.L4:])
	copy(m[wire.ICMPv6Len:], about[:quote])
	m.SetType(kind)
	m.SetCode(code)
	m.SetMTU(0)
	if kind == wire.ICMPv6PacketTooBig {
		m.SetMTU(uint32(max(p.MTU, wire.IPv6MinMTU))) // nobody has to send less (RFC 8201, 4)
	}
	m.ComputeChecksum(from, sender)
	b := wire.IPv6(e.Data[e.L3:])
	b.SetVersionClassFlow(0, 0)
	b.SetPayloadLength(uint16(len(m)))
	b.SetNextHeader(wire.ProtoICMPv6)
	b.SetHopLimit(s.ttl())
	b.SetSrc(from)
	b.SetDst(sender)
	return s.out.Push(e, packet.Output)
}

// errorSource6 is the address an error comes from: the one the packet was sent to
// if it is ours, else one of the port it came in on (RFC 4443, 2.2).
func (s *Stack) errorSource6(p *packet.Packet, about wire.IPv6) ([16]byte, bool) {
	dst := about.Dst()
	if s.ours(p, netip.AddrFrom16(dst)) {
		return dst, true
	}
	a := s.Table.Source(p.In, netip.AddrFrom16(about.Src()))
	if !a.Is6() {
		return [16]byte{}, false
	}
	return a.As16(), true
}
