package flow

import (
	"sync/atomic"

	"weir/internal/clock"
)

// Free connection indexes: each worker keeps some; what is too many goes, in
// chains, to a stack that all workers share. A chain runs through Conn.Next; the
// first of a chain names the next chain in Conn.Own. The stack's head carries
// a tag that changes with each push and pop, so that a stale compare-and-swap fails.

const maxChain = 64

// chainLen is how many indexes change hands at once in a table: few enough that
// what lies with all workers (4 chains each at most) is less than 1/128 of it.
func chainLen(conns, workers int) uint32 {
	return uint32(max(1, min(maxChain, conns/(4*128*workers))))
}

type freelist struct {
	head uint32
	n    int
}

// take returns a free connection index, or None when the table is full.
func (w *Worker) take() uint32 {
	if w.free.n == 0 && !w.refill() {
		return None
	}
	i := w.free.head
	w.free.head = w.t.Conn(i).Next
	w.free.n--
	w.t.callIn(w.free.head) // only this one says where that one's next is
	return i
}

// give puts an index back that has rested.
func (w *Worker) give(i uint32) {
	c := w.t.Conn(i)
	c.Next = w.free.head
	w.free.head = i
	w.free.n++
	chain := w.t.chain
	if w.free.n < 4*int(chain) {
		return
	}
	first := w.free.head
	last := first
	for range chain - 1 {
		last = w.t.Conn(last).Next
	}
	w.free.head = w.t.Conn(last).Next
	w.free.n -= int(chain)
	w.t.Conn(last).Next = None
	w.t.pushChain(first)
}

func (w *Worker) refill() bool {
	t := w.t
	if first := t.popChain(); first != None {
		w.free = freelist{first, int(t.chain)}
		return true
	}
	from := t.fresh.Add(t.chain) - t.chain
	if from >= t.nconns {
		t.fresh.Store(t.nconns) // keep it from wrapping
		return false
	}
	to := min(from+t.chain, t.nconns)
	w.free = freelist{None, 0}
	for i := to; i > from; i-- {
		c := t.Conn(i - 1)
		// Free is dead, to whoever goes through all indexes.
		c.State, c.Next, c.Prev = ConnDying, w.free.head, None
		w.free.head = i - 1
		w.free.n++
	}
	return true
}

func (t *Table) pushChain(first uint32) {
	c := t.Conn(first)
	for {
		old := t.spare.Load()
		atomic.StoreUint32(&c.Own, uint32(old))
		if t.spare.CompareAndSwap(old, (old>>32+1)<<32|uint64(first)) {
			return
		}
	}
}

func (t *Table) popChain() uint32 {
	for {
		old := t.spare.Load()
		first := uint32(old)
		if first == None {
			return None
		}
		next := atomic.LoadUint32(&t.Conn(first).Own)
		if t.spare.CompareAndSwap(old, (old>>32+1)<<32|uint64(next)) {
			return first
		}
	}
}

// rest queues an ended connection until nobody can still be looking at it. The
// present breath may have begun before another worker's in which the
// connection was still seen, so that the latest counts.
func (w *Worker) rest(i uint32, now clock.Tick) {
	if n := clock.Tick(w.t.newest.Load()); now.Before(n) {
		now = n
	}
	c := w.t.Conn(i)
	c.Born, c.Prev = uint32(now), None
	w.rests.push(w.t, i)
	w.resting++
}

// settle frees connections that rested long enough, at most budget: a second
// has passed, and every worker has begun a breath since. Their slots have rested then
// too, and stay as they are until somebody moves in or the sweep comes by.
func (w *Worker) settle(now clock.Tick, budget int) {
	if w.resting == 0 && w.Unswept() == 0 {
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

// forget frees connections that rested, at most budget.
func (w *Worker) forget(now, horizon clock.Tick, budget int) {
	wide, n := 0, 0
	for n < budget && w.resting > 0 {
		i := w.rests.peek()
		c := w.t.Conn(i)
		ended := clock.Tick(c.Born)
		if now.Since(ended) < Rest || !ended.Before(horizon) {
			break
		}
		w.rests.shift(w.t)
		w.resting--
		n++
		wide += int(c.In>>31 + c.Out>>31)
		if n := w.t.wideOf(c); n != 0 {
			w.t.wideUsed.Add(-n)
		}
		w.give(i)
	}
	if n > 0 {
		w.owed(2*n-wide, wide)
	}
}

// owed tells the sweep what was forgotten.
func (w *Worker) owed(narrow, wide int) {
	w.owned -= (narrow + wide) / 2
	if narrow > 0 {
		w.sweeps[0].forgot(narrow*w.each(w.t.Conns()), w.t.Slots())
	}
	if wide > 0 {
		w.sweeps[1].forgot(wide*w.each(w.t.WideConns()), w.t.WideSlots())
	}
}

// lanesOf is a queue of connections, linked by Conn.Next, in lanes that are put to and
// taken from in turn: while one is looked at, the next ones of the other lanes are on
// their way (see wheel).
type lanesOf struct {
	in, out     uint32 // how many were put, and taken
	first, last [lanes]uint32
}

func (l *lanesOf) init() {
	for i := range l.first {
		l.first[i], l.last[i] = None, None
	}
}

func (l *lanesOf) push(t *Table, i uint32) {
	lane := l.in % lanes
	l.in++
	t.Conn(i).Next = None
	if l.first[lane] == None {
		l.first[lane] = i
	} else {
		t.Conn(l.last[lane]).Next = i
	}
	l.last[lane] = i
}

// peek returns the one that was put first; there is one.
func (l *lanesOf) peek() uint32 { return l.first[l.out%lanes] }

// shift takes it out, and calls in the next one of its lane.
func (l *lanesOf) shift(t *Table) {
	lane := l.out % lanes
	l.out++
	l.first[lane] = t.Conn(l.first[lane]).Next
	t.callIn(l.first[lane])
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
