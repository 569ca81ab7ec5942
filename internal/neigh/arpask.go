package neigh

import (
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/wire"
)

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
