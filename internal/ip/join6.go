package ip

import (
	"encoding/binary"

	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/wire"
)

// identity6 returns a fragment's; c is its chain of extension headers.
func (s *Stack) identity6(ip wire.IPv6, c *wire.Chain) identity {
	var k identity
	addrs := (*[32]byte)(ip[8:40])
	for i := range k.addrs {
		k.addrs[i] = binary.LittleEndian.Uint64(addrs[8*i:])
	}
	k.id = wire.IPv6Fragment(ip[c.Fragment:]).ID()
	k.hash = flow.Hash(s.seed, flow.Fold(s.seed, addrs), uint64(k.id))
	return k
}

// join6 is Join for IPv6 (RFC 8200, 4.5). What stands in front of the first
// fragment's fragment header, and what that one says follows, is the datagram's;
// later ones may say otherwise.
func (s *Stack) join6(p *packet.Packet) (whole *packet.Packet, why packet.Reason) {
	ip := wire.IPv6(p.Data[p.L3:])
	c, _ := wire.WalkIPv6(ip) // Input6 saw that it can be walked
	f := wire.IPv6Fragment(ip[c.Fragment:])
	off, more, data := f.Offset(), f.MoreFragments(), f[wire.IPv6FragmentLen:]
	front := int(p.L3) + int(c.Fragment) + wire.IPv6FragmentLen
	before := int(c.Fragment) - wire.IPv6Len // counts as payload, as what comes behind
	switch {
	case len(data) == 0 || more && len(data)&7 != 0 || before+off+len(data) > 65535 || p.Is(packet.GSO) || front > headRoom:
		return nil, packet.IPFragment
	case off == 0 && tiny6(ip[c.Offset:], c.Proto):
		return nil, packet.IPFragTiny
	}
	k := s.identity6(ip, &c)
	a := s.frags
	i := a.find(&k, s.now)
	if why := a.add(i, uint32(off), data, more); why != packet.NoReason {
		return nil, why
	}
	g := &a.grams[i]
	g.longest = max(g.longest, uint16(min(len(ip), 65535)))
	if off == 0 {
		g.remember(p, front)
		g.nextAt = p.L3 + c.FragmentNextAt
	}
	if !g.whole() {
		return nil, packet.NoReason
	}
	return s.whole6(i)
}

// tiny6 reports whether a first fragment does not hold all of its transport header
// (RFC 7112, 5). Of the extension headers, Input6 saw to it.
func tiny6(l4 []byte, proto uint8) bool {
	switch proto {
	case wire.ProtoTCP:
		return tinyTCP(l4)
	case wire.ProtoUDP:
		return len(l4) < wire.UDPLen
	case wire.ProtoSCTP:
		return len(l4) < wire.SCTPMinLen
	case wire.ProtoICMPv6:
		return len(l4) < wire.ICMPv6Len
	}
	return false
}

// whole6 makes a packet of a datagram that lacks nothing any more, without the
// fragment header. As for IPv4, it will leave in pieces no longer than the longest
// that came, or than every link takes.
func (s *Stack) whole6(i int32) (*packet.Packet, packet.Reason) {
	a := s.frags
	g := &a.grams[i]
	front := int(g.l4) - wire.IPv6FragmentLen
	length := front - int(g.l3) - wire.IPv6Len + int(g.total)
	if length > 65535 {
		a.end(i, packet.IPFragment)
		return nil, packet.NoReason
	}
	q := s.room(front + int(g.total))
	if q == nil {
		a.end(i, packet.PoolEmpty)
		return nil, packet.NoReason
	}
	copy(q.Data, g.head[:front])
	a.copyTo(i, q.Data[front:])
	q.Data[g.nextAt] = g.head[front]
	q.In, q.L3, q.EtherType = g.in, g.l3, g.etherType
	q.Flags = g.flags | packet.Cut
	q.MTU = max(g.longest, wire.IPv6MinMTU)
	ip := wire.IPv6(q.Data[g.l3:])
	ip.SetPayloadLength(uint16(length))
	s.stats.FragmentsJoined += uint64(g.fragments)
	s.stats.Reassembled++
	s.stats.Reassembled6++
	a.end(i, packet.NoReason)
	c, fault := wire.WalkIPv6(ip)
	if fault != wire.ChainOK { // the first fragment's was well: behind it is another
		q.Verdict = q.DropFor(packet.IPExtension)
		return q, packet.NoReason
	}
	q.Verdict = s.behind6(q, &c)
	if q.Verdict == packet.Neighbour {
		q.Verdict = q.DropFor(packet.ICMPUnwanted) // RFC 6980, 5
	}
	return q, packet.NoReason
}
