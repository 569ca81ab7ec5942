package ip

import (
	"net/netip"

	"weir/internal/clock"
	"weir/internal/packet"
	"weir/internal/spec"
	"weir/internal/wire"
)

// Fragments are put together before the balancer sees them, and what is too long
// for its way out is cut up again behind it (cut.go). So a fragmented datagram is
// to all stages one packet like others: checksums, scheduling by content, TOA, UOA,
// PROXY headers, sequence numbers, tunnels, ICMP errors and pings need nothing of
// their own, and no client can say one thing in a datagram's header and hide
// another in its fragments.

// SetFragments gives the stack memory for fragments.
func (s *Stack) SetFragments(c spec.Fragments, ids *IDs) {
	s.frags, s.ids = newAssembly(c, s.stats), ids
}

// ShareIDs has two workers number what they cut up together.
func (s *Stack) ShareIDs(with *Stack) { s.ids = with.ids }

// HeldFragments returns how many fragments wait for others.
func (s *Stack) HeldFragments() int { return s.frags.held }

// DropFragments drops all that wait, at the end.
func (s *Stack) DropFragments() {
	for s.frags.oldest != none {
		s.frags.end(s.frags.oldest, packet.IPFragTimeout)
	}
}

// room returns a packet of n bytes on whatever frame is large enough, or nil.
func (s *Stack) room(n int) *packet.Packet {
	p := s.pool.Get()
	if p == nil || p.Resize(n) {
		return p
	}
	s.pool.Put(p)
	if p = s.pool.GetBig(); p != nil && !p.Resize(n) {
		s.pool.Put(p)
		return nil
	}
	return p
}

// remember keeps what the first fragment says: all in front of its content.
func (g *datagram) remember(p *packet.Packet, front int) {
	g.in, g.l3, g.l4, g.etherType, g.flags = p.In, p.L3, uint16(front), p.EtherType, p.Flags
	copy(g.head[:front], p.Data)
}

// expireFragments drops what waited too long.
func (s *Stack) expireFragments(now clock.Tick) {
	if s.frags == nil {
		return
	}
	for range expireAtOnce {
		i := s.frags.expired(now)
		if i == none {
			return
		}
		s.tellTimeout(i)
		s.frags.end(i, packet.IPFragTimeout)
	}
}

// tellTimeout tells who sent a datagram that not all of it came, if the first
// fragment did (RFC 1122, 3.3.2; RFC 8200, 4.5): it is the one to quote. About what
// is for other machines nothing is said, unless we forward it.
func (s *Stack) tellTimeout(i int32) {
	a := s.frags
	g := &a.grams[i]
	if g.first == none || a.pieces[g.first].off != 0 {
		return
	}
	p := s.pool.Get()
	if p == nil {
		s.Counters.ErrorsNotMade++
		return
	}
	piece := a.bytes(g.first) // or its first block, which is more than is quoted
	p.Resize(int(g.l4) + len(piece))
	copy(p.Data, g.head[:g.l4])
	copy(p.Data[g.l4:], piece)
	p.In, p.L3, p.L4, p.EtherType, p.Flags = g.in, g.l3, g.l4, g.etherType, g.flags
	p.Reason = packet.IPFragTimeout
	if s.forwards(p) || s.ours(p, destination(p)) {
		s.Refuse(p)
	}
	s.pool.Put(p)
}

// destination returns where a packet says that it goes.
func destination(p *packet.Packet) netip.Addr {
	if p.EtherType == wire.EtherTypeIPv6 {
		return netip.AddrFrom16(wire.IPv6(p.Data[p.L3:]).Dst())
	}
	return netip.AddrFrom4(wire.IPv4(p.Data[p.L3:]).Dst())
}

// forwards reports whether packets of p's family are forwarded.
func (s *Stack) forwards(p *packet.Packet) bool {
	if p.EtherType == wire.EtherTypeIPv6 {
		return s.Forwarding6
	}
	return s.Forwarding
}
