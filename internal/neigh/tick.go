package neigh

import (
	"weir/internal/clock"
	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/wire"
)

// Tick tells the time of a breath. If packets wait, it looks through their
// neighbours, once per tick or when an answer came: those that are resolved let
// their packets go to the outbox, those that failed drop them.
func (c *Cache) Tick(now clock.Tick) {
	c.now = now
	if c.held.n == 0 || now == c.looked && !c.again {
		return
	}
	c.looked, c.again = now, false
	for i := c.held.n - 1; i >= 0; i-- {
		c.look(i)
	}
}

// look decides about the packets of one queue.
func (c *Cache) look(i int) {
	h, current := c.hops.Current(c.held.queues[i].hop)
	if current && !h.Resolved() {
		c.advance(h)
		if h.NUD() == flow.NUDFailed {
			c.drop(i, packet.NeighFailed)
		}
		return
	}
	for n := c.held.queues[i].len; n > 0; n-- {
		if c.out.Full() {
			c.again = true
			return
		}
		p := c.held.pop(i)
		v := packet.Output
		if _, current := c.hops.Current(p.NextHop); !current {
			v = packet.Anew // routes changed while it waited: to be looked up again
		}
		c.out.Push(p, v)
	}
}

// release lets the packets that wait for a neighbour go now, before any that come
// behind its answer.
func (c *Cache) release(ref flow.NextHopRef) {
	if slot := c.held.queueOf[uint16(ref)]; slot != 0 {
		c.look(int(slot) - 1)
	}
}

// drop drops all packets of one queue.
func (c *Cache) drop(i int, why packet.Reason) {
	for n := c.held.queues[i].len; n > 0; n-- {
		p := c.held.pop(i)
		c.stats.Drops[why]++
		if p.EtherType == wire.EtherTypeIPv6 {
			c.stats.Drops6[why]++
		}
		c.pool.Put(p)
	}
}

// Flush drops everything that waits, because the worker ends.
func (c *Cache) Flush() {
	for c.held.n > 0 {
		c.drop(c.held.n-1, packet.PortDown)
	}
}

// Waiting calls f for every neighbour that packets wait for.
func (c *Cache) Waiting(f func(hop flow.NextHopRef, packets int)) {
	for _, q := range c.held.queues[:c.held.n] {
		f(q.hop, q.len)
	}
}
