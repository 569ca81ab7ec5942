package flow

import (
	"sync/atomic"

	"weir/internal/clock"
)

// Worker is what one worker owns of the table: its timing wheel, the free
// indexes at hand, the ended connections that rest. Only Kick may be called for
// another worker's connection.
type Worker struct {
	t     *Table
	id    uint8
	wheel wheel
	free  freelist

	due     dueConns
	rests   lanesOf // ended connections that rest, in the order in which they ended
	resting int
	owned   int    // connections made and not yet forgotten
	live    int64  // connections made less those ended, whosever: others read it
	marks   uint32 // counts what vacate marked with

	sweeps [2]sweep   // of the half-flows of IPv4, and of IPv6
	swept  clock.Tick // when it looked at them last

	_      [64]byte // what other workers write lies on a line of its own
	kicked atomic.Uint32
	breath atomic.Uint64 // tick of the present breath, breathAsleep above
	_      [48]byte
}

const breathAsleep = 1 << 32

// Budgets of one breath, so that a crowd that ends at once delays no packet long.
const (
	expireBudget = 128
	settleBudget = 256
)

// MaxTimeout is the longest time in ticks that a connection may be idle: 26 days,
// less a minute so that a worker that is late still sees that it is over.
const MaxTimeout = 1<<31 - 1<<16

func newWorker(t *Table, id uint8) *Worker {
	w := &Worker{t: t, id: id, free: freelist{None, 0}}
	w.rests.init()
	w.kicked.Store(None)
	w.breath.Store(breathAsleep)
	w.wheel.init(t, clock.Now())
	return w
}

// Begin says that a breath begins: references from earlier ones are gone.
func (w *Worker) Begin(now clock.Tick) {
	for n := w.t.newest.Load(); clock.Tick(n).Before(now); n = w.t.newest.Load() {
		w.t.newest.CompareAndSwap(n, uint32(now))
	}
	w.breath.Store(uint64(now))
}

// Sleep says that the worker holds no reference until its next Begin.
func (w *Worker) Sleep() { w.breath.Store(breathAsleep) }

// Timers returns how many connections the worker turns the timer of, Resting
// how many ended ones wait to be forgotten.
func (w *Worker) Timers() int { return w.wheel.count }

// Resting returns how many ended connections wait to be forgotten.
func (w *Worker) Resting() int { return w.resting }

// ID is the worker's number.
func (w *Worker) ID() int { return int(w.id) }

// Owns reports whether this worker turns a connection's timer.
func (w *Worker) Owns(c *Conn) bool { return c.Owner == w.id }

// NewConn describes a connection for Insert.
type NewConn struct {
	State     uint32 // protocol state and flags
	Dest      uint32
	Template  uint32 // that it holds
	Local     uint32
	LocalPort uint16
	Pool      uint8
	SeqDelta  uint32
	Timeout   uint32 // ticks, of its first state
	// OwnTimeout is what Conn.Own keeps: its service's own timeout in ticks.
	OwnTimeout uint32
	// Near: where the outbound half will lie was called in already (Ahead).
	Near bool
}

// Insert makes a connection of two half-flows, or with out nil of one; this
// worker owns it. With an error nothing has changed: ErrFull, ErrExists, ErrRace.
// Another worker may have ended the connection already when Insert returns.
func (w *Worker) Insert(in, out *Flow, n *NewConn, now clock.Tick) (i uint32, err error) {
	wides, ok := w.t.admit(in, out)
	if !ok {
		return None, ErrFull
	}
	if i, err = w.insert(in, out, n, now); err != nil && wides != 0 {
		w.t.wideUsed.Add(-wides)
	}
	return i, err
}

func (w *Worker) insert(in, out *Flow, n *NewConn, now clock.Tick) (uint32, error) {
	t := w.t
	if out != nil && !n.Near {
		t.Touch(out) // the inbound half's place was looked at a moment ago
	}
	i := w.take()
	if i == None {
		return None, ErrFull
	}
	c := t.Conn(i)
	set32(&c.State, ConnDying|ConnPlaced)
	inSlot, err := w.place(in, i, n.Dest, &c.In, now)
	if err != nil {
		w.give(i)
		return None, err
	}
	outSlot := inSlot
	if out != nil {
		if outSlot, err = w.place(out, i, n.Dest, &c.Out, now); err != nil {
			w.withdraw(inSlot, now)
			w.give(i)
			return None, err
		}
		t.link(in, inSlot, outSlot)
		t.link(out, outSlot, inSlot)
	}
	inWord, outWord := t.pending(inSlot), t.pending(outSlot)
	// Complete before the first packet can find it: that packet may end it.
	timeout := min(n.Timeout, MaxTimeout)
	// All fields, one by one: a whole Conn would go by the stack, and its loads wait for the stores.
	c.In, c.Out, c.State, c.Dest = inSlot, outSlot, n.State|ConnPlaced, n.Dest
	c.Template, c.Local, c.LocalPort, c.Pool, c.Owner = n.Template, n.Local, n.LocalPort, n.Pool, w.id
	c.Next, c.Prev, c.Deadline, c.Timeout = None, None, 0, timeout
	c.ServerISN, c.SeqDelta, c.Born, c.Kick, c.Own = 0, n.SeqDelta, uint32(now), None, n.OwnTimeout
	w.wheel.add(i, now+clock.Tick(timeout))
	Bump(&w.live, 1)
	w.owned++
	t.publish(outSlot, outWord)
	t.publish(inSlot, inWord)
	if t.nwork == 1 {
		set32(&c.State, c.State|ConnWhole)
	} else {
		atomic.OrUint32(&c.State, ConnWhole)
	}
	return i, nil
}

// link lets an IPv4 half-flow whose packets become IPv6 find their addresses: those
// of the other half.
func (t *Table) link(f *Flow, slot, other uint32) {
	if f.Cross && !f.Wide && !f.Tunnel {
		if !t.crossing.Load() {
			t.crossing.Store(true)
		}
		t.Half(slot).NewAddrs = uint64(other &^ WideBit)
	}
}

// Claim takes it on the caller to end connection i and reports whether the
// caller is the one: he then gives back what the connection borrowed and calls
// Remove. Any worker may.
func (t *Table) Claim(i uint32) bool { return t.setFlag(&t.Conn(i).State, ConnDying) }

// Remove makes a claimed connection's half-flows invisible at once. Its owner
// forgets it after the rest.
func (w *Worker) Remove(i uint32, now clock.Tick) {
	t := w.t
	c := t.Conn(i)
	first, second := c.leaving()
	t.kill(first, now)
	if second != first {
		t.kill(second, now)
	}
	if t.nwork == 1 {
		set32(&c.State, c.State&^(ConnPlaced|ConnWhole))
	} else {
		atomic.AndUint32(&c.State, ^(ConnPlaced | ConnWhole))
	}
	Bump(&w.live, -1)
	if c.Owner != w.id {
		w.Kick(i)
		return
	}
	// The flag stays set while the connection rests: nobody can kick it any more.
	if t.setFlag(&c.State, ConnKicked) {
		w.wheel.remove(i)
		w.rest(i, now)
	}
}

// leaving are the slots of a connection in the order in which they become invisible.
// An IPv4 half-flow that becomes IPv6 has its addresses in the wide one, whose slot
// may get a new tenant once it has rested, however long a worker is put off the core
// between the two: the one that points there goes first.
func (c *Conn) leaving() (first, second uint32) {
	if c.In&WideBit != 0 {
		return c.Out, c.In
	}
	return c.In, c.Out
}

// Kick asks a connection's owner to look at it soon: its timeout became
// shorter, or it ended. The owner itself may kick too.
func (w *Worker) Kick(i uint32) {
	c := w.t.Conn(i)
	if !w.t.setFlag(&c.State, ConnKicked) {
		return
	}
	owner := w.t.workers[c.Owner]
	for {
		head := owner.kicked.Load()
		atomic.StoreUint32(&c.Kick, head)
		if owner.kicked.CompareAndSwap(head, i) {
			return
		}
	}
}

// SetTimeout gives a connection the timeout of its new state. The wheel is
// touched only if it has to look earlier than it would.
func (w *Worker) SetTimeout(i uint32, ticks uint32, now clock.Tick) {
	c := w.t.Conn(i)
	ticks = min(ticks, MaxTimeout)
	c.Timeout = ticks // one aligned word: a reader sees the old or the new one
	deadline := now + clock.Tick(ticks)
	if !deadline.Before(clock.Tick(atomic.LoadUint32(&c.Deadline))) {
		return
	}
	if c.Owner != w.id {
		w.Kick(i)
		return
	}
	if c.Prev != None {
		w.wheel.remove(i)
		w.wheel.add(i, deadline)
	}
}

// LastSeen returns the tick of a connection's last packet in either direction.
// While no director was there its packets could not come through: for what was not seen
// since, that time does not count.
func (t *Table) LastSeen(c *Conn) clock.Tick {
	last := clock.Tick(c.Born)
	for _, slot := range [2]uint32{c.In, c.Out} {
		if l := clock.Tick(atomic.LoadUint32(&t.Half(slot).Last)); last.Before(l) {
			last = l
		}
	}
	if away := t.hdr.Away; away != 0 && !clock.Tick(t.hdr.Died).Before(last) {
		last += clock.Tick(away)
	}
	return last
}

// Advance turns the wheel to now and calls expire for connections that were
// idle for their timeout, or that are to expire now. expire claims and removes
// them. It moves at most expireBudget timers; it reports whether more wait.
func (w *Worker) Advance(now clock.Tick, expire func(i uint32)) bool {
	w.takeKicks(now, expire)
	budget := expireBudget
	for {
		n := w.wheel.due(now, &budget, &w.due)
		for w.due.n > n || n == 0 && w.due.n > 0 { // those before, while these are on their way
			w.look(w.due.shift(), now, expire)
		}
		if n == 0 {
			break
		}
	}
	w.settle(now, settleBudget)
	return budget == 0
}

// dueConns are connections that came due, which their owner is about to look at. They are
// kept from call to call so that if one call ends in the middle the others are not forgotten.
type dueConns struct {
	at, n int
	all   [2 * batch]uint32
}

func (d *dueConns) push(i uint32) {
	d.all[(d.at+d.n)%len(d.all)] = i
	d.n++
}

func (d *dueConns) shift() uint32 {
	i := d.all[d.at]
	d.at = (d.at + 1) % len(d.all)
	d.n--
	return i
}

// look expires a connection that is in no list, or puts it back into one.
func (w *Worker) look(i uint32, now clock.Tick, expire func(i uint32)) {
	c := w.t.Conn(i)
	s := atomic.LoadUint32(&c.State)
	if s&ConnDying != 0 {
		return // whoever claimed it kicks us
	}
	last := w.t.LastSeen(c)
	timeout := atomic.LoadUint32(&c.Timeout)
	if s&ConnExpireNow == 0 && now.Since(last) < timeout {
		w.wheel.add(i, last+clock.Tick(timeout))
		return
	}
	expire(i)
	if atomic.LoadUint32(&c.State)&ConnDying == 0 {
		w.wheel.add(i, now+clock.PerSecond) // the caller could not: ask again
	}
}

// takeKicks looks at the connections others kicked.
func (w *Worker) takeKicks(now clock.Tick, expire func(i uint32)) {
	if w.kicked.Load() == None {
		return
	}
	i := w.kicked.Swap(None)
	for i != None {
		c := w.t.Conn(i)
		next := atomic.LoadUint32(&c.Kick)
		s := unkick(&c.State)
		w.wheel.remove(i)
		if s&ConnDying != 0 {
			w.rest(i, now)
		} else {
			w.look(i, now, expire)
		}
		i = next
	}
}

// setFlag sets a flag in a state word and reports whether it was clear.
func (t *Table) setFlag(p *uint32, flag uint32) bool {
	for {
		s := atomic.LoadUint32(p)
		if s&flag != 0 {
			return false
		}
		if t.Swap32(p, s, s|flag) {
			return true
		}
	}
}

// unkick clears ConnKicked unless the connection ended, and returns the state.
func unkick(p *uint32) uint32 {
	for {
		s := atomic.LoadUint32(p)
		if s&ConnDying != 0 || atomic.CompareAndSwapUint32(p, s, s&^ConnKicked) {
			return s
		}
	}
}

// Drained reports whether the worker has nothing left to do for any connection.
func (w *Worker) Drained() bool {
	return w.owned == 0
}
