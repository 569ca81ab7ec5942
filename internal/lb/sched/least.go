package sched

// The schedulers that look at how busy, or how heavy, each server is. Of equals
// the first is taken.

// connections is LVS's measure of a load: an active connection counts as 256.
func (c *Candidate) connections() uint64 {
	return uint64(max(c.Load.Active.Load(), 0))<<8 + uint64(max(c.Load.Inactive.Load(), 0))
}

// active is how many connections are being served.
func (c *Candidate) active() uint64 {
	n := max(c.Load.Active.Load(), 0)
	if c.Datagrams {
		n += max(c.Load.Inactive.Load(), 0)
	}
	return uint64(n)
}

// weightedLeastConnection takes the least (256 active + inactive) / weight.
func weightedLeastConnection(cs []Candidate) int {
	pick := None
	var least uint64
	for i := range cs {
		c := &cs[i]
		if !c.Usable() {
			continue
		}
		load := c.connections()
		if pick == None || load*uint64(cs[pick].Weight) < least*uint64(c.Weight) {
			pick, least = i, load
		}
	}
	return pick
}

// leastConnection takes the least 256 active + inactive, whatever the weight.
func leastConnection(cs []Candidate) int {
	pick := None
	var least uint64
	for i := range cs {
		c := &cs[i]
		if !c.Usable() {
			continue
		}
		if load := c.connections(); pick == None || load < least {
			pick, least = i, load
		}
	}
	return pick
}

// shortestDelay takes the least (active + 1) / weight: who would be done with one
// more connection first. With idleFirst (nq, never queue) the first that has none.
func shortestDelay(cs []Candidate, idleFirst bool) int {
	pick := None
	var least uint64
	for i := range cs {
		c := &cs[i]
		if !c.Usable() {
			continue
		}
		n := c.active()
		if idleFirst && n == 0 {
			return i
		}
		if pick == None || (n+1)*uint64(cs[pick].Weight) < least*uint64(c.Weight) {
			pick, least = i, n+1
		}
	}
	return pick
}

// failover takes the greatest weight.
func failover(cs []Candidate) int {
	pick := None
	for i := range cs {
		if cs[i].Usable() && (pick == None || cs[i].Weight > cs[pick].Weight) {
			pick = i
		}
	}
	return pick
}
