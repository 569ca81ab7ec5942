package neigh

import (
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/wire"
)

// solicit makes a neighbour solicitation and reports whether it is in the outbox.
// To everybody means to the target's own group.
func (c *Cache) solicit(out uint16, to port.MAC, src, target [16]byte) bool {
	dst := target
	if to == broadcast {
		dst = wire.SolicitedNode(target)
		to = wire.MulticastMAC6(dst)
	}
	p := c.message(out, wire.NeighbourSolicitationPutLen)
	if p == nil {
		return false
	}
	own := c.Ports[out].MAC
	putHeaders(p, to, own, src, dst)
	wire.NeighbourSolicitation(p.Data[p.L4:]).Put(src, dst, target, own)
	return c.out.Push(p, packet.Transmit)
}

// probe makes the solicitation that asks for a tentative address, and reports
// whether it is in the outbox.
func (c *Cache) probe(out uint16, target [16]byte) bool {
	p := c.message(out, wire.NeighbourSolicitationLen)
	if p == nil {
		return false
	}
	dst := wire.SolicitedNode(target)
	putHeaders(p, wire.MulticastMAC6(dst), c.Ports[out].MAC, [16]byte{}, dst)
	wire.NeighbourSolicitation(p.Data[p.L4:]).PutProbe(target)
	return c.out.Push(p, packet.Transmit)
}

// advertise makes an advertisement of an own address to all on the link, and
// reports whether it is in the outbox.
func (c *Cache) advertise(out uint16, own [16]byte) bool {
	p := c.message(out, wire.NeighbourAdvertisementPutLen)
	if p == nil {
		return false
	}
	mac := c.Ports[out].MAC
	putHeaders(p, wire.MulticastMAC6(wire.AllNodes), mac, own, wire.AllNodes)
	wire.NeighbourAdvertisement(p.Data[p.L4:]).Put(own, wire.AllNodes, own, mac, wire.NDOverride|c.router())
	return c.out.Push(p, packet.Transmit)
}

// router is the flag of an advertisement that says whether we are one.
func (c *Cache) router() uint8 {
	if c.Config.Router {
		return wire.NDRouter
	}
	return 0
}

// message takes memory for a message of n bytes that leaves by a port; nil if there
// is no memory or no room in the outbox.
func (c *Cache) message(out uint16, n int) *packet.Packet {
	if out >= port.Max || c.out.Full() {
		return nil
	}
	p := c.pool.Get()
	if p == nil {
		return nil
	}
	p.Resize(wire.EthernetLen + wire.IPv6Len + n)
	p.In, p.Out = out, out
	return p
}

// putHeaders writes what goes before a message that fills the packet, and marks
// the packet as ours.
func putHeaders(p *packet.Packet, to, from port.MAC, src, dst [16]byte) {
	e := wire.Ethernet(p.Data)
	e.SetDestination(to)
	e.SetSource(from)
	e.SetEtherType(wire.EtherTypeIPv6)
	ip := wire.IPv6(p.Data[wire.EthernetLen:])
	ip.SetVersionClassFlow(0, 0)
	ip.SetPayloadLength(uint16(len(ip) - wire.IPv6Len))
	ip.SetNextHeader(wire.ProtoICMPv6)
	ip.SetHopLimit(wire.NDHopLimit)
	ip.SetSrc(src)
	ip.SetDst(dst)
	p.L3, p.L4 = wire.EthernetLen, wire.EthernetLen+wire.IPv6Len
	p.EtherType, p.Proto = wire.EtherTypeIPv6, wire.ProtoICMPv6
	p.Flags = packet.Ours
}
