package flow

import "weir/internal/clock"

// An ended connection rests until nobody can still be looking at it: its index lies in a
// queue of crates, and its record stays as it was.

// What a resting index says of its connection's half-flows, above the index, so that nobody
// has to look at the record again.
const (
	restsIn  = uint32(1) << 31 // the inbound one is wide
	restsOut = uint32(1) << 30 // the outbound one is wide
	restsOne = uint32(1) << 29 // there is only one
	restsAll = restsIn | restsOut | restsOne
)

// resting is a worker's queue of what rests, in the order in which it ended.
type resting struct {
	first, last uint32 // crates
	n           int    // in the last one
	all         int
}

// rest queues an ended connection. The present breath may have begun before another worker's
// in which the connection was still seen, so that the latest counts.
func (w *Worker) rest(i uint32, now clock.Tick) {
	t, r := w.t, &w.rests
	if n := clock.Tick(t.newest.Load()); now.Before(n) {
		now = n
	}
	c := t.Conn(i)
	c.Born, c.Prev = uint32(now), None
	i |= c.In>>31<<31 | c.Out>>31<<30
	if c.In == c.Out {
		i |= restsOne
	}
	switch {
	case r.first == None:
		r.first = w.emptyCrate()
		r.last, r.n = r.first, 0
	case r.n == int(t.fill):
		next := w.emptyCrate()
		t.crate(r.last).next = next
		r.last, r.n = next, 0
	}
	last := t.crate(r.last)
	last.conns[r.n], last.ended = i, uint32(now)
	r.n++
	r.all++
}

// settle frees connections that rested long enough, at most budget: a second
// has passed, and every worker has begun a breath since. Their slots have rested then
// too, and stay as they are until somebody moves in or the sweep comes by.
func (w *Worker) settle(now clock.Tick, budget int) {
	if w.rests.all == 0 && w.Unswept() == 0 {
		w.swept = now
		return
	}
	horizon := w.t.horizon(now)
	w.forget(now, horizon, budget)
	// The sweep empties what ended a second before the horizon, as seen from there. While
	// that lies far behind, since a worker does not go on, one could not tell what ended
	// after it from what ended before the clock wrapped.
	if now.Since(horizon) < Rest/2 {
		w.sweepAll(now, horizon)
	}
}

// forget frees connections that rested, as many as budget and what else is in a crate.
func (w *Worker) forget(now, horizon clock.Tick, budget int) {
	t, r := w.t, &w.rests
	wide, n, counted := 0, 0, int64(0)
	for n < budget && r.all > 0 {
		c := t.crate(r.first)
		ended := clock.Tick(c.ended)
		if now.Since(ended) < Rest || !ended.Before(horizon) {
			break
		}
		in := int(t.fill)
		if r.first == r.last {
			in = r.n
		}
		for k, i := range c.conns[:in] {
			wide += int(i>>31 + i>>30&1)
			counted += int64(i>>31 + i>>30&1&^(i>>29))
			c.conns[k] = i &^ restsAll
		}
		n += in
		r.all -= in
		w.unload()
	}
	if t.wideMost != 0 && counted != 0 {
		t.wideUsed.Add(-counted)
	}
	if n > 0 {
		w.owed(2*n-wide, wide)
	}
}

// unload takes the first crate off the queue, and leaves its indexes to whoever wants them.
func (w *Worker) unload() {
	r := &w.rests
	c := r.first
	if c != r.last {
		r.first = w.t.crate(c).next
		w.store(c)
		return
	}
	// It need not be full, and all crates are but those that are open.
	for _, i := range w.t.crate(c).conns[:r.n] {
		w.give(i)
	}
	w.discard(c)
	r.first, r.last, r.n = None, None, 0
}

// owed tells the sweep what was forgotten.
func (w *Worker) owed(narrow, wide int) {
	w.owned -= (narrow + wide) / 2
	if narrow > 0 {
		w.sweeps[0].forgot(narrow, w.t.Slots())
	}
	if wide > 0 {
		w.sweeps[1].forgot(wide, w.t.WideSlots())
	}
}

// horizon is the earliest tick at which a worker that is awake began its
// present breath: what ended before it is out of everybody's sight.
func (t *Table) horizon(now clock.Tick) clock.Tick {
	h := now
	for i := range t.nwork {
		b := t.workers[i].breath.Load()
		if b&breathAsleep == 0 && clock.Tick(b).Before(h) {
			h = clock.Tick(b)
		}
	}
	return h
}
