package ip

import (
	"encoding/binary"
	"net/netip"

	"weir/internal/packet"
	"weir/internal/route"
	"weir/internal/wire"
)

// Deliver4 decides about a packet that no service wanted: it is for one of our
// addresses, for the host's kernel, to be forwarded, or not for us. Where no route
// leads, Linux may know better.
func (s *Stack) Deliver4(p *packet.Packet) packet.Verdict {
	ip := wire.IPv4(p.Data[p.L3:])
	dst := ip.Dst()
	if dst[0] >= 224 && dst[0] < 240 || dst == [4]byte{255, 255, 255, 255} {
		return p.PuntIf(s.twin(p), packet.IPMulticast)
	}
	r, ok := s.Table.Lookup4(dst)
	switch {
	case ok && r.Local():
		return s.local4(p, ip, r)
	case ok && isBroadcast(r, dst):
		return p.PuntIf(s.twin(p), packet.IPMulticast)
	case !ok && s.twin(p):
		return p.PuntFor(packet.IPNoRoute)
	case !s.Forwarding:
		return p.DropFor(packet.IPNotOurs)
	case !ok:
		return p.RefuseFor(packet.IPNoRoute)
	}
	return s.forward4(p, ip)
}

// local4 takes a packet for one of our addresses, or of Linux's. Only pings are
// answered here; the rest is the host kernel's, which owns the sockets.
func (s *Stack) local4(p *packet.Packet, ip wire.IPv4, r *route.Route) packet.Verdict {
	if !isHost(r) {
		return p.PuntIf(s.twin(p), packet.KNIAddress)
	}
	if p.Proto == wire.ProtoICMP {
		return s.echo4(p, ip)
	}
	return p.PuntIf(s.twin(p), packet.IPNoListener)
}

// echo4 turns an echo request into its reply, in place (RFC 1122, 3.2.2.6).
func (s *Stack) echo4(p *packet.Packet, ip wire.IPv4) packet.Verdict {
	m := wire.ICMPv4(p.Data[p.L4:])
	if len(m) < wire.ICMPv4Len || !m.ChecksumOK() {
		return p.DropFor(packet.ICMPMalformed)
	}
	if m.Type() != wire.ICMPv4EchoRequest || m.Code() != 0 || ip.HeaderLength() != wire.IPv4MinLen {
		// With options (record route, timestamps, source route) an answer would
		// have to work on them: nobody who is well-meaning asks so.
		return p.PuntIf(s.twin(p), packet.ICMPUnwanted)
	}
	asker := ip.Src()
	if s.ours(p, netip.AddrFrom4(asker)) {
		return p.DropFor(packet.IPSource)
	}
	if !s.way(p, p, netip.AddrFrom4(asker)) {
		return p.DropFor(packet.NeighTableFull)
	}
	m.SetType(wire.ICMPv4EchoReply)
	m.SetChecksum(wire.Update16(m.Checksum(), uint16(wire.ICMPv4EchoRequest)<<8, uint16(wire.ICMPv4EchoReply)<<8))
	ip.SetSrc(ip.Dst())
	ip.SetDst(asker)
	ip.SetTTL(s.ttl())
	ip.ComputeChecksum()
	p.Flags = packet.Ours | p.Flags&packet.Cut
	s.Counters.EchoReplies++
	return packet.Output
}

// forward4 sends another's packet on its way (RFC 1812, 5.3.1).
func (s *Stack) forward4(p *packet.Packet, ip wire.IPv4) packet.Verdict {
	ttl := ip.TTL()
	if ttl <= 1 {
		return p.RefuseFor(packet.IPTTL)
	}
	word := uint16(ttl)<<8 | uint16(ip.Protocol())
	ip.SetTTL(ttl - 1)
	ip.SetChecksum(wire.Update16(ip.Checksum(), word, word-1<<8))
	p.NextHop = 0
	return packet.Output
}

// isBroadcast reports whether dst is the last address of the link that r leads
// to. Such packets are not sent on from another link (RFC 2644).
func isBroadcast(r *route.Route, dst [4]byte) bool {
	n := r.Prefix.Bits()
	if r.Gateway.IsValid() || n >= 31 {
		return false
	}
	host := uint32(1)<<(32-n) - 1
	return n > 0 && binary.BigEndian.Uint32(dst[:])&host == host
}
