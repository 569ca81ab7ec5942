package ip

import (
	"math/bits"
	"sync/atomic"

	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/wire"
)

// IDs are the identifications of datagrams that leave in pieces under an address
// that is not their sender's: those of two clients must not meet at a real server
// (RFC 6864, 5.3; RFC 7739). All workers share them; addresses that fall together
// share a counter, which is no harm.
type IDs struct {
	next [1024]atomic.Uint32
}

// take returns the next for addresses, given as a flow's Key0. IPv4 uses the lower
// 16 bits.
func (i *IDs) take(seed uint64, addrs uint64) uint32 {
	h := flow.Hash(seed, addrs, 0)
	return i.next[h%uint64(len(i.next))].Add(1) + uint32(bits.RotateLeft64(h, 16))
}

// Long reports whether a packet that may be cut has to be.
func (s *Stack) Long(p *packet.Packet) bool { return len(p.Data)-innerL3(p) > int(p.MTU) }

// Cut makes fragments of a packet that is longer than p.MTU, from the stack's
// pool, and puts them into out. In a tunnel it is the inner packet that is cut, so
// that each piece has an outer header of its own: the real server then puts together
// what its client's address and identification say. All that p knew the pieces know
// as well; p stays the caller's. The checksum of the transport layer must be complete.
//
// Which family's fragments they are is what the packet is now: a datagram that came
// in fragments of IPv4 may leave in fragments of IPv6.
//
// It reports false, having made nothing and set p.Reason, when there would be more
// than len(out) pieces (IPFragTooMany), the extension headers don't fit one
// (IPExtension), or memory ran out (PoolEmpty).
func (s *Stack) Cut(p *packet.Packet, out []*packet.Packet) (n int, ok bool) {
	l3 := innerL3(p)
	if isIPv6(p.Data[l3:]) {
		n, p.Reason = s.cut6(p, l3, out)
	} else {
		n, p.Reason = s.cut4(p, l3, out)
	}
	if p.Reason != packet.NoReason {
		for _, made := range out[:n] {
			s.pool.Put(made)
		}
		return 0, false
	}
	s.stats.Fragmented++
	s.stats.FragmentsMade += uint64(n)
	if p.EtherType == wire.EtherTypeIPv6 {
		s.stats.Fragmented6++
		s.stats.FragmentsMade6 += uint64(n)
	}
	return n, true
}

// piece returns a packet of n bytes that knows what p knows, or nil. Its content
// begins at l4.
func (s *Stack) piece(p *packet.Packet, n, l4 int) *packet.Packet {
	g := s.room(n)
	if g == nil {
		return nil
	}
	g.L3, g.L4, g.In, g.Out = p.L3, uint16(l4), p.In, p.Out
	g.EtherType, g.Proto, g.Verdict, g.NextHop = p.EtherType, p.Proto, p.Verdict, p.NextHop
	g.Flags = p.Flags &^ (packet.Cut | packet.CsumPartial | packet.Keyed | packet.Plain)
	return g
}
