package ip

import (
	"encoding/binary"

	"weir/internal/packet"
	"weir/internal/wire"
)

// leastPiece is what every link and host takes (RFC 791): fragments that came
// shorter leave as long as this.
const leastPiece = 576

// cut4 is Cut for an IPv4 packet at l3 (RFC 791, 3.2). With a reason, what was made
// so far is in out as well.
func (s *Stack) cut4(p *packet.Packet, l3 int, out []*packet.Packet) (n int, why packet.Reason) {
	ip := wire.IPv4(p.Data[l3:])
	hlen := ip.HeaderLength()
	data := ip[hlen:ip.TotalLength()]
	size := (int(p.MTU) - hlen) &^ 7
	if size <= 0 || (len(data)+size-1)/size > len(out) {
		return 0, packet.IPFragTooMany
	}
	id := ip.ID()
	if src := binary.LittleEndian.Uint32(ip[12:16]); p.Flags&(packet.Ours|packet.Related|packet.Tunnelled) != 0 || p.Is(packet.Keyed) && uint32(p.Key0) != src {
		id = uint16(s.ids.take(s.seed, binary.LittleEndian.Uint64(ip[12:20])))
	}
	var options [wire.IPv4MaxOptions]byte
	later := copied(&options, ip.Options())
	for off := 0; off < len(data); off += size {
		h := hlen
		if off > 0 {
			h = wire.IPv4MinLen + later
		}
		piece := data[off:min(off+size, len(data))]
		g := s.piece(p, l3+h+len(piece), l3+h)
		if g == nil {
			return n, packet.PoolEmpty
		}
		copy(g.Data, p.Data[:l3+wire.IPv4MinLen])
		if off == 0 {
			copy(g.Data[l3+wire.IPv4MinLen:], ip.Options())
		} else {
			copy(g.Data[l3+wire.IPv4MinLen:], options[:later])
		}
		copy(g.Data[l3+h:], piece)
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
		s.ownOuter(g)
		fitOuter(g, 0)
		out[n] = g
		n++
	}
	return n, packet.NoReason
}

// ownOuter gives a tunnelled piece whose outer IPv4 header may be cut on its way, as
// that of the whole might, an identification of its own: with one for all pieces of a
// datagram, what a router makes of two of them could not be told apart (RFC 6864, 4.3).
// The checksum is the caller's.
func (s *Stack) ownOuter(g *packet.Packet) {
	if outer := wire.IPv4(g.Data[g.L3:]); g.Is(packet.Encapsulated) && !isIPv6(outer) && outer.FlagsFragment()&wire.IPv4DontFragment == 0 {
		outer.SetID(uint16(s.ids.take(s.seed, binary.LittleEndian.Uint64(outer[12:20]))))
	}
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
