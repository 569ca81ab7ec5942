package ip

import (
	"encoding/binary"
	"sync/atomic"

	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/wire"
)

// leastPiece is what every link and host takes (RFC 791): fragments that came
// shorter leave as long as this.
const leastPiece = 576

// IDs are the identifications of datagrams that leave in pieces under an address
// that is not their sender's: those of two clients must not meet at a real server
// (RFC 6864, 5.3). All workers share them; addresses that fall together share a
// counter, which is no harm.
type IDs struct {
	next [1024]atomic.Uint32
}

func (i *IDs) take(seed uint64, addrs uint64) uint16 {
	h := flow.Hash(seed, addrs, 0)
	return uint16(i.next[h%uint64(len(i.next))].Add(1)) + uint16(h>>48)
}

// Long4 reports whether a packet that may be cut has to be.
func (s *Stack) Long4(p *packet.Packet) bool {
	n := len(p.Data) - int(p.L3)
	if p.Is(packet.Encapsulated) {
		n -= wire.IPv4MinLen
	}
	return n > int(p.MTU)
}

// Cut4 makes fragments of a packet that is longer than p.MTU, from the stack's
// pool, and puts them into out (RFC 791, 3.2). In a tunnel it is the inner packet
// that is cut, so that each piece has an outer header of its own: the real server
// then puts together what its client's address and identification say. All that
// p knew the pieces know as well; p stays the caller's. The checksum of the
// transport layer must be complete.
//
// It reports false, having made nothing and set p.Reason, when there would be more
// than len(out) pieces (IPFragTooMany) or memory ran out (PoolEmpty).
func (s *Stack) Cut4(p *packet.Packet, out []*packet.Packet) (n int, ok bool) {
	l3 := int(p.L3)
	if p.Is(packet.Encapsulated) {
		l3 += wire.IPv4MinLen
	}
	ip := wire.IPv4(p.Data[l3:])
	hlen := ip.HeaderLength()
	data := ip[hlen:ip.TotalLength()]
	size := (int(p.MTU) - hlen) &^ 7
	if size <= 0 || (len(data)+size-1)/size > len(out) {
		p.Reason = packet.IPFragTooMany
		return 0, false
	}
	id := ip.ID()
	if src := binary.LittleEndian.Uint32(ip[12:16]); p.Flags&(packet.Ours|packet.Related) != 0 || p.Is(packet.Keyed) && uint32(p.Key0) != src {
		id = s.ids.take(s.seed, binary.LittleEndian.Uint64(ip[12:20]))
	}
	var options [wire.IPv4MaxOptions]byte
	later := copied(&options, ip.Options())
	for off := 0; off < len(data); off += size {
		h := hlen
		if off > 0 {
			h = wire.IPv4MinLen + later
		}
		piece := data[off:min(off+size, len(data))]
		g := s.room(l3 + h + len(piece))
		if g == nil {
			for _, made := range out[:n] {
				s.pool.Put(made)
			}
			p.Reason = packet.PoolEmpty
			return 0, false
		}
		copy(g.Data, p.Data[:l3+wire.IPv4MinLen])
		if off == 0 {
			copy(g.Data[l3+wire.IPv4MinLen:], ip.Options())
		} else {
			copy(g.Data[l3+wire.IPv4MinLen:], options[:later])
		}
		copy(g.Data[l3+h:], piece)
		g.L3, g.L4, g.In, g.Out = p.L3, uint16(l3+h), p.In, p.Out
		g.EtherType, g.Proto, g.Verdict, g.NextHop = p.EtherType, p.Proto, p.Verdict, p.NextHop
		g.Flags = p.Flags &^ (packet.Cut | packet.CsumPartial | packet.Keyed | packet.Plain)
		b := wire.IPv4(g.Data[l3:])
		b.SetVersionIHL(h)
		b.SetTotalLength(uint16(len(b)))
		b.SetID(id)
		flags := ip.FlagsFragment()&wire.IPv4DontFragment | uint16(off>>3)
		if off+size < len(data) {
			flags |= wire.IPv4MoreFragments
		}
		b.SetFlagsFragment(flags)
		b.ComputeChecksum()
		if outer := wire.IPv4(g.Data[p.L3:]); p.Is(packet.Encapsulated) {
			outer.SetTotalLength(uint16(len(outer)))
			outer.ComputeChecksum()
		}
		out[n] = g
		n++
	}
	s.stats.Fragmented++
	s.stats.FragmentsMade += uint64(n)
	return n, true
}

// copied puts those options that every fragment has into to, padded to a multiple
// of 4, and returns their length.
func copied(to *[wire.IPv4MaxOptions]byte, from []byte) (n int) {
	const copyBit = 0x80
	for o, rest, ok := wire.NextOption(from); ok; o, rest, ok = wire.NextOption(rest) {
		if o.Kind&copyBit != 0 {
			n += copy(to[n:], o.Raw)
		}
	}
	return (n + 3) &^ 3 // the rest of to is 0, end of list
}
