package neigh

import (
	"net/netip"

	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/wire"
)

var broadcast = port.Broadcast

// ask puts an ARP request for the neighbour into the outbox: to everybody, or to
// the MAC it had. What can't be made now is made in a second.
func (c *Cache) ask(h *flow.NextHop, to port.MAC) {
	target := h.IP()
	source := c.Table.Source(h.Port, target)
	if !target.Is4() || !source.Is4() || !c.request(h.Port, to, source.As4(), target.As4()) {
		c.Counters.NotAsked++
		return
	}
	c.Counters.Asked++
}

// Announce puts a gratuitous ARP into the outbox: it tells everybody on the
// port's link that addr is here now (RFC 5227, 2.3: sender and target are the
// address). It reports whether there was memory and room.
func (c *Cache) Announce(out uint16, addr netip.Addr) bool {
	if !addr.Is4() || !c.request(out, broadcast, addr.As4(), addr.As4()) {
		return false
	}
	c.Counters.Announced++
	return true
}

// request makes an ARP request and reports whether it is in the outbox.
func (c *Cache) request(out uint16, to port.MAC, spa, tpa [4]byte) bool {
	if out >= port.Max || c.out.Full() {
		return false
	}
	p := c.pool.Get()
	if p == nil {
		return false
	}
	p.Resize(wire.EthernetLen + wire.ARPLen)
	own := c.Ports[out].MAC
	e := wire.Ethernet(p.Data)
	e.SetDestination(to)
	e.SetSource(own)
	e.SetEtherType(wire.EtherTypeARP)
	wire.ARP(p.Data[wire.EthernetLen:]).Put(wire.ARPRequest, own, spa, port.MAC{}, tpa)
	p.L3, p.EtherType = wire.EthernetLen, wire.EtherTypeARP
	p.In, p.Out = out, out
	p.Flags = packet.Ours
	return c.out.Push(p, packet.Transmit)
}
