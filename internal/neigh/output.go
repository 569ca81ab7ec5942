package neigh

import (
	"sync/atomic"

	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/port"
)

// Output looks whether the next hop's MAC is known. Output is the verdict for
// "yes, go on to ether.Output"; else the packet waits here (Stolen) while the
// neighbour is asked.
func (c *Cache) Output(p *packet.Packet) packet.Verdict {
	h := c.hops.At(p.NextHop)
	if atomic.LoadUint32(&h.Used) == uint32(c.now) && h.Resolved() {
		return packet.Output
	}
	return c.use(p, h)
}

// Ready is Output for who sends more than one packet to a next hop: whether it is there,
// and need not be asked. It notes the use.
func (c *Cache) Ready(h *flow.NextHop) bool {
	if !h.Resolved() {
		return false
	}
	if now := uint32(c.now); atomic.LoadUint32(&h.Used) != now {
		if !c.fresh(h) {
			return false
		}
		atomic.StoreUint32(&h.Used, now)
	}
	return true
}

// use is Output for the first packet of a tick to a neighbour, and for one that
// is not resolved.
func (c *Cache) use(p *packet.Packet, h *flow.NextHop) packet.Verdict {
	if now := uint32(c.now); atomic.LoadUint32(&h.Used) != now {
		// Once per tick and neighbour, not per packet.
		atomic.StoreUint32(&h.Used, now)
		if h.Resolved() && !c.fresh(h) {
			c.confirm(h)
		}
	}
	if h.Resolved() {
		return packet.Output
	}
	return c.wait(p, h)
}

// fresh reports whether a resolved neighbour needs no question.
func (c *Cache) fresh(h *flow.NextHop) bool {
	return c.otherEnd(h) || atomic.LoadUint32(&h.Flags)&(flow.HopStatic|flow.HopBack) != 0 || since(c.now, &h.Confirmed) <= c.reachable()
}

// confirm asks a neighbour that was not heard of for long whether it is still
// there, while packets go on to where it was: REACHABLE, three seconds of DELAY,
// three unicast requests in PROBE, then it counts as unknown. One worker does
// each step: the one that moves Asked.
func (c *Cache) confirm(h *flow.NextHop) {
	asked := atomic.LoadUint32(&h.Asked)
	age := since(c.now, &h.Asked)
	switch h.NUD() {
	case flow.NUDDelay:
		if age >= delay && c.mine(h, asked) {
			atomic.StoreUint32(&h.Probes, 1)
			h.SetNUD(flow.NUDProbe, true)
			c.ask(h, h.Dest())
		}
	case flow.NUDProbe:
		if age < retry || !c.mine(h, asked) {
			return
		}
		if atomic.AddUint32(&h.Probes, 1) <= maxProbes {
			c.ask(h, h.Dest())
			return
		}
		c.begin(h)
	default:
		if c.mine(h, asked) {
			h.SetNUD(flow.NUDDelay, true)
		}
	}
}

// otherEnd reports whether a next hop is the one machine at the other end of its port,
// whom nobody needs to ask for.
func (c *Cache) otherEnd(h *flow.NextHop) bool { return c.Ports[h.Port%port.Max].PointToPoint }

// wait puts a packet into the neighbour's queue.
func (c *Cache) wait(p *packet.Packet, h *flow.NextHop) packet.Verdict {
	if c.otherEnd(h) {
		h.SetNUD(flow.NUDReachable, true)
		return packet.Output
	}
	if !c.source(h.Port, h.IP()).IsValid() {
		return p.DropFor(packet.NeighNoSource)
	}
	c.advance(h)
	if h.NUD() == flow.NUDFailed {
		return p.DropFor(packet.NeighFailed)
	}
	if !c.held.push(p, c.queueLen()) {
		return p.DropFor(packet.NeighQueueFull)
	}
	if h.Resolved() {
		c.again = true // another worker got the answer this instant
	}
	return packet.Stolen
}

// advance moves a neighbour that is not resolved: a question a second for three
// seconds, then FAILED for a second. As in confirm, one worker does each step.
func (c *Cache) advance(h *flow.NextHop) {
	asked := atomic.LoadUint32(&h.Asked)
	age := since(c.now, &h.Asked)
	switch h.NUD() {
	case flow.NUDNone:
		if c.mine(h, asked) {
			c.begin(h)
		}
	case flow.NUDFailed:
		if age >= retry && c.mine(h, asked) {
			c.begin(h)
		}
	case flow.NUDSend:
		if age < retry || !c.mine(h, asked) {
			return
		}
		if age > round {
			c.begin(h)
			return
		}
		if atomic.AddUint32(&h.Probes, 1) <= maxProbes {
			c.ask(h, broadcast)
			return
		}
		h.SetNUD(flow.NUDFailed, false)
	}
}

// mine reports whether this worker is the one to act: it moved Asked from where
// all saw it to now. If it is there already, another acted in this tick.
func (c *Cache) mine(h *flow.NextHop, asked uint32) bool {
	return asked != uint32(c.now) && atomic.CompareAndSwapUint32(&h.Asked, asked, uint32(c.now))
}

// begin starts a round of questions to everybody.
func (c *Cache) begin(h *flow.NextHop) {
	atomic.StoreUint32(&h.Probes, 1)
	h.SetNUD(flow.NUDSend, false)
	c.ask(h, broadcast)
}
