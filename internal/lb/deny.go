package lb

import (
	"sync/atomic"

	"weir/internal/flow"
	"weir/internal/packet"
)

// Black- and whitelists. A new connection asks them once (miss). Those that are
// there do not: when a list becomes stricter, each worker looks through its own
// connections, and those whose client is denied now lose the fast way in (Deny).
// So nobody pays for lists but the clients that were denied. A connection is not
// ended: it goes on if the client is taken again in its time.

// Deny marks those of this worker's connections from one index to another whose
// client is denied by the tables in force. Only between bursts.
func (b *Balancer) Deny(from, to uint32) {
	for i := from; i < to; i++ {
		if !b.own.Owns(b.flows.Conn(i)) {
			continue
		}
		c := b.flows.Conn(i)
		in := atomic.LoadUint32(&c.In)
		if !b.flows.Has(in) || atomic.LoadUint32(&c.State)&(flow.ConnDying|flow.ConnDenied) != 0 {
			continue
		}
		h := b.flows.Half(in)
		key1 := atomic.LoadUint64(&h.Key1)
		if key1&flow.FlagValid == 0 || key1&flow.FlagReply != 0 || atomic.LoadUint32(&h.Conn) != i {
			continue
		}
		src, dst := b.flows.Key(h)
		if !h.Same(key1) || b.listed(src, dst, key1) == packet.NoReason {
			continue
		}
		b.orState(&c.State, flow.ConnDenied)
		b.flows.SetFast(in, false)
	}
}

// listed says why a client may not talk to a service, by the tables in force.
func (b *Balancer) listed(src, dst flow.Addr, key1 uint64) packet.Reason {
	svc := b.Tables.Services.Lookup(uint8(key1>>32), dst, uint16(key1>>16))
	if svc == nil {
		return packet.NoReason
	}
	return svc.Lists.Check(src)
}

// denied asks the lists for a packet of a connection that they denied once. If
// they take it now, the connection is as before.
func (b *Balancer) denied(p *packet.Packet, c *flow.Conn) packet.Reason {
	src, dst := ends(p)
	if why := b.listed(src, dst, p.Key1); why != packet.NoReason {
		return why
	}
	andState(&c.State, ^flow.ConnDenied)
	const tells = connProxy | flow.ConnUOAOption | flow.ConnUOAProtocol
	if p.Proto == protoUDP && atomic.LoadUint32(&c.State)&tells == 0 {
		b.letIn(c) // of others, the next packet in decides
	}
	return packet.NoReason
}

// letIn makes a connection's inbound half fast, unless it is denied. Deny sets
// its flag before it takes the fast way: whoever is second sees the other.
func (b *Balancer) letIn(c *flow.Conn) {
	b.flows.SetFast(c.In, true)
	if atomic.LoadUint32(&c.State)&flow.ConnDenied != 0 {
		b.flows.SetFast(c.In, false)
	}
}
