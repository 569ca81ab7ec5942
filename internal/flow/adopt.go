package flow

import (
	"errors"
	"fmt"
	"math/bits"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"weir/internal/clock"
	"weir/internal/pinned"
)

// Taking over: a table that outlived its director, who may have been killed between any
// two stores, is made whole again. What can be trusted is what slot.go and worker.go
// write last: a connection goes on if it is not dying, and its half-flows are valid and
// name it. All else is free. Lists, counts and wheels of the dead workers are made anew
// from that. A program in the kernel may forward by the table meanwhile.

// Taken says what Open found.
type Taken struct {
	Found bool   // a table; else one was made
	Conns int    // connections that go on
	Freed int    // half-flows of connections that were not whole
	Away  uint32 // ticks from the last breath of the dead until now
}

// Differs is the error about a table that was kept and can't be gone on with.
type Differs struct {
	What string // how, as a sentence without its full stop
}

// Error implements error.
func (e *Differs) Error() string { return e.What }

// Open goes on with the table that is kept in c.Keep, as another process left it, or makes
// a new one if there is none. One that is not as c wants it is an error, [*Differs], and
// stays as it was. now is the workers' time.
func Open(c Config, now clock.Tick) (*Table, Taken, error) {
	if c.Keep == nil {
		t, err := New(c)
		return t, Taken{}, err
	}
	slots, conns, err := c.sizes()
	if err != nil {
		return nil, Taken{}, err
	}
	found, err := c.look(slots, conns)
	if err != nil {
		return nil, Taken{}, err
	}
	if !found {
		// Whoever was making or clearing one was killed.
		if err := c.Keep.Clear(); err != nil {
			return nil, Taken{}, fmt.Errorf("flow table: %w", err)
		}
		t, err := New(c)
		return t, Taken{}, err
	}
	mem, err := mapMemory(c.Backing, c.Keep, slots, conns)
	if err != nil {
		return nil, Taken{}, err
	}
	for _, p := range mem.parts(slots, conns) {
		if !p.into.Found {
			mem.close()
			return nil, Taken{}, &Differs{"the flow table that is kept in " + c.Keep.Path() + " is not complete: it has no " + p.name}
		}
	}
	t := assemble(mem, c.Workers)
	return t, t.takeOver(now), nil
}

// look reports whether there is a table, and whether it is one to go on with.
func (c *Config) look(slots, conns int) (found bool, err error) {
	if names, err := c.Keep.Names(pinned.Head); err != nil || len(names) == 0 {
		return false, err
	}
	m, err := c.Keep.Array(pinned.Head, 1, HeaderSize)
	var sizes *pinned.Sizes
	switch {
	case errors.As(err, &sizes):
		return false, &Differs{fmt.Sprintf("the flow table that is kept has a header of %d bytes, and that of this weir has %d", sizes.Size, HeaderSize)}
	case errors.Is(err, os.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("flow table: %w", err)
	}
	defer m.Close()
	h := (*Header)(base(&m))
	if atomic.LoadUint64(&h.Magic) == 0 {
		return false, nil
	}
	return true, h.suits(slots, conns)
}

// suits says why a table is not one of this program with these sizes.
func (h *Header) suits(slots, conns int) error {
	want := header(slots, conns)
	switch {
	case h.Magic != Magic:
		return &Differs{"what is kept is no flow table of weir"}
	case h.Version != want.Version:
		return &Differs{fmt.Sprintf("the flow table that is kept has layout %d, and this weir has layout %d", h.Version, want.Version)}
	case h.Slots != want.Slots || h.Conns != want.Conns:
		return &Differs{fmt.Sprintf("the flow table that is kept has room for %d connections, and conn_pool_size wants %d", h.Conns, want.Conns)}
	}
	is := *h
	is.Magic, is.Seed, is.Fresh, is.Alive, is.Takeovers = 0, 0, 0, 0, 0
	if is.HalfSize != want.HalfSize || is.WideSize != want.WideSize || is.ConnSize != want.ConnSize || is.HopSize != want.HopSize ||
		is.NextHops != want.NextHops || is.ProbeFast != want.ProbeFast || is.ProbeMax != want.ProbeMax || is.TickShift != want.TickShift {
		return &Differs{"the flow table that is kept has records of other sizes than those of this weir"}
	}
	return nil
}

// takeOver makes the table whole, and its workers' own what they turn from now on.
func (t *Table) takeOver(now clock.Tick) Taken {
	a := adoption{t: t, now: now, died: clock.Tick(t.newest.Load())}
	a.away = now.Since(a.died)
	a.held[0], a.held[1] = newBits(t.Slots()), newBits(t.Slots())
	used := int(t.Used())
	t.fresh.Store(uint32(used))
	shares(used, a.conns)
	// Of IPv4 first: what becomes IPv6 has its addresses in a wide one.
	shares(t.Slots(), func(from, to int) { a.slots(0, from, to) })
	shares(t.Slots(), func(from, to int) { a.slots(WideBit, from, to) })
	var all sync.WaitGroup
	for _, w := range t.workers[:t.nwork] {
		all.Go(func() { w.inherit(used, now) })
	}
	all.Wait()
	t.freeRest(used)
	t.Hops.takeOver()
	t.live.Store(a.whole.Load())
	t.newest.Store(uint32(now))
	t.hdr.Takeovers++
	return Taken{Found: true, Conns: int(a.whole.Load()), Freed: int(a.freed.Load()), Away: a.away}
}

// shares has a function go through 0 to n on all processors, each a share of it.
func shares(n int, f func(from, to int)) {
	var all sync.WaitGroup
	parts := min(runtime.NumCPU(), n/4096+1)
	for i := range parts {
		all.Go(func() { f(i*n/parts, (i+1)*n/parts) })
	}
	all.Wait()
}

// adoption is a table being taken over.
type adoption struct {
	t            *Table
	now, died    clock.Tick
	away         uint32
	held         [2]bitset // slots of connections that go on: IPv4's, IPv6's
	whole, freed atomic.Int64
}

// bitset is a set of numbers to which several goroutines add.
type bitset []atomic.Uint64

func newBits(n int) bitset { return make(bitset, (n+63)/64) }

func (b bitset) add(i uint32)      { b[i/64].Or(1 << (i % 64)) }
func (b bitset) has(i uint32) bool { return b[i/64].Load()>>(i%64)&1 != 0 }

// ahead is how many connections' half-flows are called into the cache at once.
const adoptAhead = 16

// conns looks at connections from one index to another: those that are whole go on, the
// others are dead.
func (a *adoption) conns(from, to int) {
	t := a.t
	whole := 0
	var touched uint64
	for i := from; i < to; i++ {
		if (i-from)%adoptAhead == 0 {
			for j := i; j < min(i+adoptAhead, to); j++ {
				if c := t.Conn(uint32(j)); c.State&ConnDying == 0 {
					touched += atomic.LoadUint64(&t.Half(c.In).Key1) + atomic.LoadUint64(&t.Half(c.Out).Key1)
				}
			}
		}
		c := t.Conn(uint32(i))
		if !t.isWhole(uint32(i), c) {
			*c = Conn{State: ConnDying, Next: None, Prev: None, Kick: None}
			continue
		}
		whole++
		// Who was to look at it is dead.
		c.State &^= ConnKicked
		c.Next, c.Prev, c.Kick = None, None, None
		c.Owner = uint8(i % t.nwork)
		a.keep(c.In)
		if c.Out != c.In {
			a.keep(c.Out)
		}
		c.Timeout = min(c.Timeout, MaxTimeout)
		c.Deadline = uint32(t.LastSeen(c) + clock.Tick(c.Timeout))
		if c.State&ConnExpireNow != 0 {
			c.Deadline = uint32(a.now)
		}
	}
	a.whole.Add(int64(whole))
	runtime.KeepAlive(touched)
}

// keep has a half-flow stay. While nobody was there its packets could not come through:
// that time does not count as idle, but what a program in the kernel forwarded meanwhile
// was stamped by it.
func (a *adoption) keep(slot uint32) {
	t := a.t
	h := t.Half(slot)
	a.held[slot>>31].add(slot &^ WideBit)
	if w := atomic.LoadUint64(&h.Key1); w&FlagCross != 0 && slot&WideBit == 0 && !t.crossing.Load() {
		t.crossing.Store(true)
	}
	last := atomic.LoadUint32(&h.Last)
	if a.away > 0 && !a.died.Before(clock.Tick(last)) {
		atomic.CompareAndSwapUint32(&h.Last, last, last+a.away)
	}
}

// isWhole reports whether a connection was complete, and not about to end.
func (t *Table) isWhole(i uint32, c *Conn) bool {
	return c.State&ConnDying == 0 && t.holds(c.In, i) && (c.Out == c.In || t.holds(c.Out, i))
}

// holds reports whether a slot has a valid half-flow of connection i.
func (t *Table) holds(slot, i uint32) bool {
	if !t.Has(slot) {
		return false
	}
	h := t.Half(slot)
	return atomic.LoadUint64(&h.Key1)&(FlagValid|FlagPending|FlagDead) == FlagValid && atomic.LoadUint32(&h.Conn) == i
}

// slots looks at the slots of one array from one to another, backwards: what no connection
// holds is dead, and dead ones before an empty one are empty, if they have rested.
func (a *adoption) slots(array uint32, from, to int) {
	t := a.t
	held := a.held[array>>31]
	freed := 0
	empty := false // the slot behind
	for i := to - 1; i >= from; i-- {
		h := t.Half(array | uint32(i))
		w := atomic.LoadUint64(&h.Key1)
		if w == 0 {
			empty = true
			continue
		}
		if w&FlagValid != 0 && held.has(uint32(i)) {
			empty = false
			continue
		}
		switch {
		case w&FlagValid != 0: // a reader may still be at it
			freed++
			atomic.StoreUint32(&h.Last, uint32(a.now))
		case w&FlagPending != 0: // nobody ever saw it
			freed++
			atomic.StoreUint32(&h.Last, uint32(a.now-Rest))
		}
		// The key bits of a dead one may be the mark of an emptier who is dead himself.
		dead := w&^(genOne-1) | FlagDead
		if empty = empty && rested(h, a.now); empty {
			dead = 0
		}
		if dead != w {
			atomic.StoreUint64(&h.Key1, dead)
		}
	}
	a.freed.Add(int64(freed))
}

// inherit gives a worker the timers of its connections.
func (w *Worker) inherit(used int, now clock.Tick) {
	w.wheel.init(w.t, now)
	for i := int(w.id); i < used; i += w.t.nwork {
		if c := w.t.Conn(uint32(i)); c.State&ConnDying == 0 {
			w.wheel.add(uint32(i), clock.Tick(c.Deadline))
			w.owned++
		}
	}
}

// freeRest puts all indexes below used that nobody has into chains; what makes no whole
// one is the first worker's.
func (t *Table) freeRest(used int) {
	first, n := None, uint32(0)
	for i := used - 1; i >= 0; i-- {
		c := t.Conn(uint32(i))
		if c.State&ConnDying == 0 {
			continue
		}
		c.Next, c.Prev = first, None
		first, n = uint32(i), n+1
		if n == t.chain {
			t.pushChain(first)
			first, n = None, 0
		}
	}
	t.workers[0].free = freelist{first, int(n)}
}

// takeOver counts the next hops, and gives up those that were being written, or that are
// there twice because two were adding them.
func (n *NextHops) takeOver() {
	used, backs := int64(0), int64(0)
	for i := uint32(1); i < MaxNextHops; i++ {
		h := n.At(i)
		switch k := atomic.LoadUint64(&h.Key); {
		case k == hopWriting:
			n.bump(h)
			h.SetNUD(NUDNone, false)
			atomic.StoreUint64(&h.Key, hopFreed)
		case k > hopFreed:
			used++
			backs += int64(bits.OnesCount32(h.Flags & HopBack))
		}
	}
	n.used.Store(used)
	n.backs.Store(backs)
	n.Range(func(ref NextHopRef, h *NextHop) bool {
		if n.twin(h.Key, ref&(MaxNextHops-1), h) {
			n.Free(ref)
		}
		return true
	})
}

// FreeOf gives up the next hops of ports that are not wanted any more: who has them looks
// up his way anew. Before the workers run.
func (n *NextHops) FreeOf(unwanted func(port uint16) bool) {
	n.Range(func(ref NextHopRef, h *NextHop) bool {
		if unwanted(h.Port) {
			n.Free(ref)
		}
		return true
	})
}

// Each calls f for every connection. Before the workers run.
func (t *Table) Each(f func(i uint32, c *Conn)) {
	for i := range t.Used() {
		if c := t.Conn(i); c.State&ConnDying == 0 {
			f(i, c)
		}
	}
}

// Forsake ends a connection that can't go on after all; what it borrowed is nobody's. Before
// the workers run.
func (t *Table) Forsake(i uint32, now clock.Tick) {
	t.Claim(i)
	t.workers[t.Conn(i).Owner].Remove(i, now)
}
