package ip

import (
	"net/netip"

	"weir/internal/packet"
	"weir/internal/route"
	"weir/internal/wire"
)

// Deliver6 decides about a packet that no service wanted: it is for one of our
// addresses, for the host's kernel, to be forwarded, or not for us. What goes to a
// group does not come so far (group6).
func (s *Stack) Deliver6(p *packet.Packet) packet.Verdict {
	ip := wire.IPv6(p.Data[p.L3:])
	dst := ip.Dst()
	r, ok := s.Table.LookupOn6(p.In, dst)
	switch {
	case ok && r.Local():
		return s.local6(p, ip, r)
	case !ok && s.twin(p):
		return p.PuntFor(packet.IPNoRoute)
	case !s.Forwarding6:
		return p.DropFor(packet.IPNotOurs)
	case isLinkLocal6(dst), isLinkLocal6(ip.Src()):
		return p.DropFor(packet.IPScope)
	case !ok:
		return p.RefuseFor(packet.IPNoRoute)
	}
	return s.forward6(p, ip)
}

// isLinkLocal6 reports whether an address is of one link alone: fe80::/10.
func isLinkLocal6(a [16]byte) bool { return a[0] == 0xfe && a[1]&0xc0 == 0x80 }

// local6 takes a packet for one of our addresses, or of Linux's. Only pings are
// answered here; the rest is the host kernel's, which owns the sockets. Without a twin,
// who sends datagrams to a port where nobody listens is told (RFC 4443, 3.1).
func (s *Stack) local6(p *packet.Packet, ip wire.IPv6, r *route.Route) packet.Verdict {
	if !isHost(r) {
		return p.PuntIf(s.twin(p), packet.KNIAddress)
	}
	s.stats.Delivered6++
	switch {
	case p.L4 != p.L3+wire.IPv6Len && segmentsLeft(ip):
		return p.DropFor(packet.IPRouting)
	case p.Proto == wire.ProtoICMPv6:
		return s.echo6(p, ip)
	case s.twin(p):
		return p.PuntFor(packet.IPNoListener)
	case p.Proto == wire.ProtoUDP:
		return p.RefuseFor(packet.IPNoListener)
	}
	return p.DropFor(packet.IPNoListener)
}

// segmentsLeft reports whether a packet names more stations behind this one.
func segmentsLeft(ip wire.IPv6) bool {
	c, _ := wire.WalkIPv6(ip)
	return c.SegmentsLeft != 0
}

// echo6 turns an echo request into its reply, in place (RFC 4443, 4.2).
func (s *Stack) echo6(p *packet.Packet, ip wire.IPv6) packet.Verdict {
	m := wire.ICMPv6(p.Data[p.L4:])
	us, asker := ip.Dst(), ip.Src()
	if len(m) < wire.ICMPv6Len || !m.ChecksumOK(asker, us) {
		return p.DropFor(packet.ICMPMalformed)
	}
	if m.Type() != wire.ICMPv6EchoRequest || m.Code() != 0 || p.L4 != p.L3+wire.IPv6Len {
		// With extension headers an answer would have to work on them: nobody who is
		// well-meaning asks so.
		return p.PuntIf(s.twin(p), packet.ICMPUnwanted)
	}
	from := netip.AddrFrom16(asker)
	if s.ours(p, from) {
		return p.DropFor(packet.IPSource)
	}
	if !s.way(p, p, from) {
		return p.DropFor(packet.NeighTableFull)
	}
	m.SetType(wire.ICMPv6EchoReply)
	m.SetChecksum(wire.Update16(m.Checksum(), uint16(wire.ICMPv6EchoRequest)<<8, uint16(wire.ICMPv6EchoReply)<<8))
	ip.SetSrc(us)
	ip.SetDst(asker)
	ip.SetHopLimit(s.ttl())
	p.Flags = packet.Ours | p.Flags&packet.Cut
	s.Counters.EchoReplies++
	return packet.Output
}

// forward6 sends another's packet on its way (RFC 8200, 3).
func (s *Stack) forward6(p *packet.Packet, ip wire.IPv6) packet.Verdict {
	hops := ip.HopLimit()
	if hops <= 1 {
		return p.RefuseFor(packet.IPTTL)
	}
	ip.SetHopLimit(hops - 1)
	p.NextHop = 0
	return packet.Output
}
