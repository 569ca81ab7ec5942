package neigh

import (
	"net/netip"

	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/wire"
)

// inputND learns from a message of neighbour discovery and, if it asks for an
// address that is ours on the port it came in on, turns it into the answer. Of
// routers nothing is learnt: the director's routes are configured. What is not
// answered goes on to Linux.
func (c *Cache) inputND(p *packet.Packet) packet.Verdict {
	ip, m, ok := ndMessage(p)
	if !ok {
		return p.DropFor(packet.NDMalformed)
	}
	switch m.Type() {
	case wire.ICMPv6NeighbourSolicitation:
		return c.solicited(p, ip, wire.NeighbourSolicitation(m))
	case wire.ICMPv6NeighbourAdvertisement:
		return c.advertised(p, ip, wire.NeighbourAdvertisement(m))
	}
	return p.PuntIf(c.twin(p), packet.NDNotOurs)
}

// ndMessage finds header and message, and checks what all messages have in common
// (RFC 4861, 7.1). None came in fragments: ip.Input6 sees to that (RFC 6980, 5).
func ndMessage(p *packet.Packet) (ip wire.IPv6, m wire.ICMPv6, ok bool) {
	l3, l4 := int(p.L3), int(p.L4)
	if l3 < wire.EthernetLen || l4 < l3+wire.IPv6Len || l4 > len(p.Data) {
		return nil, nil, false
	}
	ip = wire.IPv6(p.Data[l3:])
	end := l3 + ip.TotalLength()
	if end > len(p.Data) || end-l4 < wire.RouterSolicitationLen {
		return nil, nil, false
	}
	m = wire.ICMPv6(p.Data[l4:end])
	return ip, m, m.Code() == 0 && m.ChecksumOK(ip.Src(), ip.Dst())
}

// solicited handles a solicitation: somebody looks for an address, or would like
// to have one and asks from the unspecified address.
func (c *Cache) solicited(p *packet.Packet, ip wire.IPv6, ns wire.NeighbourSolicitation) packet.Verdict {
	if len(ns) < wire.NeighbourSolicitationLen || !wire.NDOptionsOK(ns.Options()) {
		return p.DropFor(packet.NDMalformed)
	}
	sender, target := netip.AddrFrom16(ip.Src()), netip.AddrFrom16(ns.Target())
	mac, told, ok := linkOption(p, ns.Options(), wire.NDSourceLink)
	if !ok || !oneMachine(target) {
		return p.DropFor(packet.NDMalformed)
	}
	if sender.IsUnspecified() {
		if told || ip.Dst() != wire.SolicitedNode(ns.Target()) {
			return p.DropFor(packet.NDMalformed)
		}
		if c.Table.TentativeOn(p.In, target) {
			c.claim(p.In, target, mac) // both of us would like to have it: neither may
			return p.PuntIf(c.twin(p), packet.NDConsumed)
		}
	} else if !oneMachine(sender) {
		return p.DropFor(packet.NDMalformed)
	}
	if c.claim(p.In, sender, mac) {
		if c.Table.LocalOn(p.In, target) {
			return p.DropFor(packet.NDConsumed) // nobody answers it
		}
		return p.PuntIf(c.twin(p), packet.NDConsumed)
	}
	if !c.Table.LocalOn(p.In, target) {
		return p.PuntIf(c.twin(p), packet.NDNotOurs)
	}
	if told {
		c.heard(p.In, sender, mac)
	}
	return c.answerND(p, sender, target, mac)
}

// advertised handles an advertisement: somebody says that he has an address.
func (c *Cache) advertised(p *packet.Packet, ip wire.IPv6, na wire.NeighbourAdvertisement) packet.Verdict {
	if len(na) < wire.NeighbourAdvertisementLen || !wire.NDOptionsOK(na.Options()) {
		return p.DropFor(packet.NDMalformed)
	}
	to, target, flags := netip.AddrFrom16(ip.Dst()), netip.AddrFrom16(na.Target()), na.Flags()
	mac, told, ok := linkOption(p, na.Options(), wire.NDTargetLink)
	if !ok || !oneMachine(netip.AddrFrom16(ip.Src())) || !oneMachine(target) || to.IsMulticast() && flags&wire.NDSolicited != 0 {
		return p.DropFor(packet.NDMalformed)
	}
	if c.claim(p.In, target, mac) {
		return p.PuntIf(c.twin(p), packet.NDConsumed)
	}
	if !to.IsMulticast() && !c.Table.LocalOn(p.In, to) && !c.asked(p) {
		return p.PuntIf(c.twin(p), packet.NDNotOurs)
	}
	if ref := c.entry(p.In, target, false); ref != 0 {
		c.advertisedHop(ref, mac, told, flags)
	}
	return p.PuntIf(c.twin(p), packet.NDConsumed)
}

// advertisedHop is RFC 4861, 7.2.5: a neighbour that is known says where it is, if
// told is set, and whether it was asked.
func (c *Cache) advertisedHop(ref flow.NextHopRef, mac port.MAC, told bool, flags uint8) {
	h := c.hops.At(ref)
	solicited := flags&wire.NDSolicited != 0
	if !h.Resolved() {
		switch {
		case !told: // of no use: where is it?
		case solicited:
			c.reached(ref, mac)
		default:
			c.stale(ref, mac)
		}
		return
	}
	was := h.Dest()
	if !told {
		mac = was
	}
	switch {
	case mac != was && flags&wire.NDOverride == 0:
		// Somebody else answers for it as well, a proxy perhaps: what is known stays,
		// but is to be confirmed.
		if h.NUD() == flow.NUDReachable {
			c.stale(ref, was)
		}
	case solicited:
		c.reached(ref, mac)
	case mac != was:
		c.stale(ref, mac)
	}
}

// heard notes from where a neighbour asked us: that it can be reached there is
// another question (RFC 4861, 7.2.3).
func (c *Cache) heard(in uint16, addr netip.Addr, mac port.MAC) {
	ref := c.entry(in, addr, true)
	if ref == 0 {
		return
	}
	if h := c.hops.At(ref); !h.Resolved() || h.Dest() != mac {
		c.stale(ref, mac)
	}
}

// claim reports whether an address that somebody else speaks for is ours, and
// notes that he did: an operator must know, and nothing that he says is worth
// learning.
func (c *Cache) claim(in uint16, addr netip.Addr, mac port.MAC) bool {
	_, ours := c.Table.Local(addr)
	if !ours && !c.Table.LocalOn(in, addr) && !c.Table.TentativeOn(in, addr) || c.ownMAC(mac) {
		return false
	}
	if c.Table.TentativeOn(in, addr) {
		for _, t := range c.Config.Tentative {
			if t.Port == in && t.Addr == addr {
				t.take(mac)
			}
		}
		return true
	}
	c.conflicts.note(in, addr, mac)
	return true
}

// linkOption returns the link-layer address that a message tells, or that of the
// frame if it tells none; ok is false if it can't be a neighbour's.
func linkOption(p *packet.Packet, options []byte, kind uint8) (mac port.MAC, told, ok bool) {
	o, told := wire.FindNDOption(options, kind)
	if told {
		if mac, ok = o.Link(); !ok {
			return mac, true, false
		}
	} else {
		mac = wire.Ethernet(p.Data).Source()
	}
	return mac, told, mac[0]&1 == 0 && mac != port.MAC{}
}

// oneMachine reports whether a can be the address of a neighbour.
func oneMachine(a netip.Addr) bool {
	return !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && !a.Is4In6()
}

// answerND turns a solicitation into the advertisement that answers it, in place:
// to the asker, or to all if the asker has no address yet. The link-layer address
// is always told: who asks with a unicast solicitation may not need it, and others
// depend on it.
func (c *Cache) answerND(p *packet.Packet, asker, target netip.Addr, mac port.MAC) packet.Verdict {
	own, src, dst := c.Ports[p.In%port.Max].MAC, target.As16(), asker.As16()
	flags := wire.NDOverride | wire.NDSolicited | c.router()
	if asker.IsUnspecified() {
		dst, flags = wire.AllNodes, flags&^wire.NDSolicited
		mac = wire.MulticastMAC6(dst)
	}
	p.TrimFront(int(p.L3) - wire.EthernetLen)
	p.Resize(wire.EthernetLen + wire.IPv6Len + wire.NeighbourAdvertisementPutLen)
	putHeaders(p, mac, own, src, dst)
	wire.NeighbourAdvertisement(p.Data[p.L4:]).Put(src, dst, src, own, flags)
	p.Out = p.In
	c.Counters.Answered++
	return packet.Transmit
}
