package ip

import (
	"encoding/binary"

	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/wire"
)

func (s *Stack) identity4(ip wire.IPv4) identity {
	var k identity
	k.addrs[0] = binary.LittleEndian.Uint64(ip[12:20])
	k.id, k.proto = uint32(ip.ID()), ip.Protocol()
	k.hash = flow.Hash(s.seed, k.addrs[0], uint64(k.id)|uint64(k.proto)<<32)
	return k
}

// join4 is Join for IPv4.
func (s *Stack) join4(p *packet.Packet) (whole *packet.Packet, why packet.Reason) {
	ip := wire.IPv4(p.Data[p.L3:])
	hlen, off, more := ip.HeaderLength(), ip.FragmentOffset(), ip.FlagsFragment()&wire.IPv4MoreFragments != 0
	data := ip[hlen:]
	switch {
	case len(data) == 0 || more && len(data)&7 != 0 || hlen+off+len(data) > 65535 || p.Is(packet.GSO) || int(p.L4) > headRoom:
		return nil, packet.IPFragment
	case ip.Protocol() == wire.ProtoTCP && (off == 8 || off == 0 && tinyTCP(data)):
		return nil, packet.IPFragTiny
	}
	k := s.identity4(ip)
	a := s.frags
	i := a.find(&k, s.now)
	if why := a.add(i, uint32(off), data, more); why != packet.NoReason {
		return nil, why
	}
	g := &a.grams[i]
	g.longest = max(g.longest, uint16(len(ip)))
	g.dontFragment = g.dontFragment || ip.DontFragment()
	if off == 0 {
		g.remember(p, int(p.L4))
	}
	if !g.whole() {
		return nil, packet.NoReason
	}
	return s.whole4(i)
}

// tinyTCP reports whether a first fragment does not hold all of its TCP header
// (RFC 1858, RFC 3128).
func tinyTCP(l4 []byte) bool {
	return len(l4) < wire.TCPMinLen || wire.TCP(l4).DataOffset() > len(l4)
}

// whole4 makes a packet of a datagram that lacks nothing any more. As a router in
// Linux does, Weir will send it on in pieces no longer than the longest that came:
// who sent them may know of a narrow link behind us.
func (s *Stack) whole4(i int32) (*packet.Packet, packet.Reason) {
	a := s.frags
	g := &a.grams[i]
	front := int(g.l4)
	hlen := front - int(g.l3)
	length := hlen + int(g.total)
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
	q.In, q.L3, q.L4, q.EtherType = g.in, g.l3, g.l4, g.etherType
	q.Flags = g.flags | packet.Cut
	q.MTU = max(g.longest, leastPiece)
	ip := wire.IPv4(q.Data[g.l3:])
	flags := uint16(0)
	if g.dontFragment {
		flags = wire.IPv4DontFragment
	}
	ip.SetTotalLength(uint16(length))
	ip.SetFlagsFragment(flags)
	ip.ComputeChecksum()
	s.stats.FragmentsJoined += uint64(g.fragments)
	s.stats.Reassembled++
	a.end(i, packet.NoReason)
	q.Proto = ip.Protocol()
	q.Verdict = s.key4(q, q.Data[front:], binary.LittleEndian.Uint32(ip[12:16]), binary.LittleEndian.Uint32(ip[16:20]))
	if hlen != wire.IPv4MinLen {
		q.Flags &^= packet.Plain
	}
	return q, packet.NoReason
}
