package ip

import (
	"weir/internal/packet"
	"weir/internal/wire"
)

// The walk calls these; what they choose by is the family that a packet has now,
// which the balancer may have changed.

// Input validates a packet and finds its key: Input4 or Input6.
func (s *Stack) Input(p *packet.Packet) packet.Verdict {
	if p.EtherType == wire.EtherTypeIPv6 {
		return s.Input6(p)
	}
	return s.Input4(p)
}

// Deliver decides about a packet that no service wanted: Deliver4 or Deliver6.
func (s *Stack) Deliver(p *packet.Packet) packet.Verdict {
	if p.EtherType == wire.EtherTypeIPv6 {
		return s.Deliver6(p)
	}
	return s.Deliver4(p)
}

// Output finds the next hop of a packet whose destination is settled. A packet
// that has one already is a flow's, whose TTL and size the balancer has checked,
// or an answer that goes back where the question came from.
func (s *Stack) Output(p *packet.Packet) packet.Verdict {
	if p.NextHop != 0 {
		return packet.Output
	}
	if p.EtherType == wire.EtherTypeIPv6 {
		return s.route6(p)
	}
	return s.route4(p)
}

// Gatherer chooses one of n workers for all fragments of p's datagram.
func (s *Stack) Gatherer(p *packet.Packet, n int) int {
	var k identity
	if p.EtherType == wire.EtherTypeIPv6 {
		ip := wire.IPv6(p.Data[p.L3:])
		c, _ := wire.WalkIPv6(ip) // Input6 saw that it can be walked
		k = s.identity6(ip, &c)
	} else {
		k = s.identity4(wire.IPv4(p.Data[p.L3:]))
	}
	return int((k.hash >> 32) * uint64(n) >> 32)
}

// Join takes a fragment's content; p stays the caller's. It returns the whole
// datagram, as Input would have left it, with that verdict, if p was what it
// lacked, or the reason why p is not wanted.
func (s *Stack) Join(p *packet.Packet) (whole *packet.Packet, why packet.Reason) {
	if p.EtherType == wire.EtherTypeIPv6 {
		return s.join6(p)
	}
	return s.join4(p)
}

// isIPv6 reports which family a header is of. Packets that leave are told by it:
// what was made or put around here is what it says, whatever it came in as.
func isIPv6(header []byte) bool { return len(header) > 0 && header[0]>>4 == 6 }

// innerL3 returns where the network header begins that the transport header belongs
// to: in a tunnel, behind the outer one, which has no options or extensions.
func innerL3(p *packet.Packet) int {
	l3 := int(p.L3)
	switch {
	case !p.Is(packet.Encapsulated):
		return l3
	case isIPv6(p.Data[l3:]):
		return l3 + wire.IPv6Len
	}
	return l3 + wire.IPv4MinLen
}

// fitOuter makes the outer header of a tunnelled piece, which was copied from the
// whole, say the piece's length. An IPv4 header's identification goes up by step, as
// a device that cuts has it.
func fitOuter(g *packet.Packet, step uint16) {
	if !g.Is(packet.Encapsulated) {
		return
	}
	d := g.Data[g.L3:]
	if isIPv6(d) {
		wire.IPv6(d).SetPayloadLength(uint16(len(d) - wire.IPv6Len))
		return
	}
	outer := wire.IPv4(d)
	outer.SetTotalLength(uint16(len(outer)))
	outer.SetID(outer.ID() + step)
	outer.ComputeChecksum()
}
