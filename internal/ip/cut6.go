package ip

import (
	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/wire"
)

// cut6 is Cut for an IPv6 packet at l3 (RFC 8200, 4.5). The identification is ours
// always: the sender's went with its fragment headers, and all pieces between two
// addresses come by here. With a reason, what was made so far is in out as well.
func (s *Stack) cut6(p *packet.Packet, l3 int, out []*packet.Packet) (n int, why packet.Reason) {
	ip := wire.IPv6(p.Data[l3:])
	c, fault := wire.WalkIPv6(ip)
	front := int(c.SplitAt) // every piece has what stands in front of it
	head := front + wire.IPv6FragmentLen
	size := (int(p.MTU) - head) &^ 7
	if fault != wire.ChainOK || c.Fragment != 0 || size < int(c.Offset)-front+8 {
		return 0, packet.IPExtension
	}
	data := ip[front:ip.TotalLength()]
	if (len(data)+size-1)/size > len(out) {
		return 0, packet.IPFragTooMany
	}
	id := s.ids.take(s.seed, flow.Fold(s.seed, (*[32]byte)(ip[8:40])))
	for off := 0; off < len(data); off += size {
		piece := data[off:min(off+size, len(data))]
		g := s.piece(p, l3+head+len(piece), l3+head)
		if g == nil {
			return n, packet.PoolEmpty
		}
		copy(g.Data, p.Data[:l3+front])
		copy(g.Data[l3+head:], piece)
		b := wire.IPv6(g.Data[l3:])
		wire.IPv6Fragment(b[front:]).Put(ip[c.SplitNextAt], uint16(off), off+size < len(data), id)
		b[c.SplitNextAt] = wire.NextFragment
		b.SetPayloadLength(uint16(len(b) - wire.IPv6Len))
		fitOuter(g, 0)
		out[n] = g
		n++
	}
	return n, packet.NoReason
}
