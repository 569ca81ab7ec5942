package neigh

import (
	"net/netip"

	"weir/internal/flow"
	"weir/internal/port"
)

// broadcast as the one to ask means everybody: with IPv6, the group in which the
// neighbour listens.
var broadcast = port.Broadcast

// ask puts an ARP request or a neighbour solicitation into the outbox: to
// everybody, or to the MAC the neighbour had. What can't be made now is made in a
// second.
func (c *Cache) ask(h *flow.NextHop, to port.MAC) {
	target := h.IP()
	source := c.source(h.Port, target)
	made := false
	switch {
	case !source.IsValid():
	case target.Is4():
		made = c.request(h.Port, to, source.As4(), target.As4())
	default:
		made = c.solicit(h.Port, to, source.As16(), target.As16())
	}
	if !made {
		c.Counters.NotAsked++
		return
	}
	c.Counters.Asked++
}

// source returns the address to ask from, of target's family, or zero. A neighbour
// sends its advertisement to it as to any other, so with IPv6 it must be an address
// of the port itself (RFC 4861, 7.2.2); with ARP the answer needs no route.
func (c *Cache) source(out uint16, target netip.Addr) netip.Addr {
	a := c.Table.Source(out, target)
	if target.Is4() || c.Table.LocalOn(out, a) {
		return a
	}
	if own := c.Table.LinkLocal(out); own.IsValid() {
		return own
	}
	return a
}

// Announce tells everybody on the port's link that addr is here now: by a
// gratuitous ARP (RFC 5227, 2.3: sender and target are the address), or by an
// advertisement that nobody asked for (RFC 4861, 7.2.6). It reports whether there
// was memory and room.
func (c *Cache) Announce(out uint16, addr netip.Addr) bool {
	made := false
	switch {
	case !addr.IsValid():
	case addr.Is4():
		made = c.request(out, broadcast, addr.As4(), addr.As4())
	default:
		made = c.advertise(out, addr.As16())
	}
	if made {
		c.Counters.Announced++
	}
	return made
}

// Probe asks everybody on the port's link whether somebody has addr, which we
// would like to have (RFC 4862, 5.4.2). It reports whether there was memory and
// room. Who has it says so to Config.Tentative.
func (c *Cache) Probe(out uint16, addr netip.Addr) bool {
	if !addr.Is6() || !c.probe(out, addr.As16()) {
		return false
	}
	c.Counters.Probed++
	return true
}
