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
// two stores, is made whole again. A connection goes on if its record says that it is
// whole, and not that it is dying; Insert and Remove say so before and after what they do
// with slots. All else is free. Lists, counts and wheels of the dead workers are made
// anew from that. A program in the kernel may forward by the table meanwhile.

// Taken says what TakeOver found.
type Taken struct {
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

// Open maps the table that is kept in c.Keep, as another process left it, or makes a new one
// if there is none. One that was found has to be made whole by TakeOver before anything else
// is done with it, but that a program in the kernel may read it. One that is not as c wants
// it is an error, [*Differs], and stays as it was.
func Open(c Config) (t *Table, found bool, err error) {
	if c.Keep == nil {
		t, err = New(c)
		return t, false, err
	}
	z, err := c.sizes()
	if err != nil {
		return nil, false, err
	}
	if found, err = c.look(z); err != nil {
		return nil, false, err
	}
	if !found {
		// Whoever was making or clearing one was killed.
		if err := c.Keep.Clear(); err != nil {
			return nil, false, fmt.Errorf("flow table: %w", err)
		}
		t, err = New(c)
		return t, false, err
	}
	mem, err := mapMemory(c.Backing, c.Keep, z)
	if err != nil {
		return nil, false, err
	}
	for _, p := range mem.parts(z) {
		if !p.into.Found {
			mem.close()
			return nil, false, &Differs{"the flow table that is kept in " + c.Keep.Path() + " is not complete: it has no " + p.name}
		}
	}
	return assemble(mem, c.Workers), true, nil
}

// Check says what Open would about a table that is kept and that it can't go on with.
func (c *Config) Check() error {
	z, err := c.sizes()
	if err != nil || c.Keep == nil {
		return err
	}
	_, err = c.look(z)
	return err
}

// look reports whether there is a table, and whether it is one to go on with.
func (c *Config) look(z sizes) (found bool, err error) {
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
	return true, h.suits(z)
}

// suits says why a table is not one of this program with these sizes.
func (h *Header) suits(z sizes) error {
	want := z.header()
	switch {
	case h.Magic != Magic:
		return &Differs{"what is kept is no flow table of weir"}
	case h.Version != want.Version:
		return &Differs{fmt.Sprintf("the flow table that is kept has layout %d, and this weir has layout %d", h.Version, want.Version)}
	case h.Conns != want.Conns:
		return &Differs{fmt.Sprintf("the flow table that is kept has room for %d connections, and conn_pool_size wants %d", h.Conns, want.Conns)}
	case h.WideConns != want.WideConns:
		return &Differs{fmt.Sprintf("the flow table that is kept has room for %d connections of IPv6, and conn_pool_ipv6 wants %d", h.WideConns, want.WideConns)}
	case h.Homes != want.Homes || h.WideHomes != want.WideHomes:
		return &Differs{fmt.Sprintf("the flow table that is kept has %d and %d slots for its connections, and this weir gives them %d and %d", h.Homes, h.WideHomes, want.Homes, want.WideHomes)}
	}
	if is := h; is.HalfSize != want.HalfSize || is.WideSize != want.WideSize || is.ConnSize != want.ConnSize || is.HopSize != want.HopSize ||
		is.NextHops != want.NextHops || is.ProbeFast != want.ProbeFast || is.ProbeMax != want.ProbeMax || is.TickShift != want.TickShift {
		return &Differs{"the flow table that is kept has records of other sizes than those of this weir"}
	}
	return nil
}

// TakeOver makes the table whole that another process left, and its workers' own what they
// turn from now on; now is the workers' time. It goes
// through the connections that were ever given out, and looks at no slot but those of the
// few that are neither whole nor free: there may be a fault of the page for each.
func (t *Table) TakeOver(now clock.Tick) Taken {
	a := adoption{t: t, now: now, died: clock.Tick(t.newest.Load())}
	a.away = now.Since(a.died)
	h := t.hdr
	if now.Since(clock.Tick(h.Died)) > rememberAway {
		h.Away = 0
	}
	h.Away += a.away
	h.Died = uint32(a.died)
	used := int(t.Used())
	t.fresh.Store(uint32(used))
	shares(used, a.conns)
	var all sync.WaitGroup
	for _, w := range t.workers[:t.nwork] {
		all.Go(func() { w.inherit(used, now) })
	}
	all.Wait()
	t.freeRest(used)
	t.Hops.takeOver()
	t.found += a.whole.Load() - int64(t.Len())
	t.newest.Store(uint32(now))
	h.Takeovers++
	return Taken{Conns: int(a.whole.Load()), Freed: int(a.freed.Load()), Away: a.away}
}

// rememberAway is how long a takeover is remembered beside a later one. What was seen last
// before the later one gets the time of both then, which is a little too much for some.
const rememberAway = 3600 * clock.PerSecond

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
	whole, freed atomic.Int64
}

// conns looks at connections from one index to another: those that are whole go on, the
// others are free, or go on resting.
func (a *adoption) conns(from, to int) {
	t := a.t
	whole, freed := 0, 0
	for i := from; i < to; i++ {
		c := t.Conn(uint32(i))
		s := c.State
		if s&(ConnDying|ConnPlaced) == ConnPlaced && (s&ConnWhole != 0 || t.isWhole(uint32(i), c)) {
			whole++
			a.keep(uint32(i), c)
			continue
		}
		switch {
		case s&ConnPlaced != 0:
			freed += a.clear(c.In, uint32(i)) + a.clear(c.Out, uint32(i))
			c.State = ConnDying | ConnKicked // it rests: a reader may be at it
		case s&ConnKicked != 0 && a.died.Since(clock.Tick(c.Born)) < 2*Rest:
			c.State = ConnDying | ConnKicked // it was resting, perhaps
		default:
			c.State = ConnDying
		}
	}
	a.whole.Add(int64(whole))
	a.freed.Add(int64(freed))
}

// keep has a connection go on. Who was to look at it is dead.
func (a *adoption) keep(i uint32, c *Conn) {
	t := a.t
	kicked := c.State&(ConnKicked|ConnExpireNow) != 0
	c.State = c.State&^ConnKicked | ConnWhole
	c.Next, c.Prev, c.Kick = None, None, None
	c.Owner = uint8(int(i) % t.nwork)
	c.Timeout = min(c.Timeout, MaxTimeout)
	c.Deadline += a.away
	// A timeout may have become shorter a moment before: then somebody was about to kick.
	if left := int32(c.Deadline - uint32(a.now)); left > int32(c.Timeout) {
		c.Deadline = uint32(a.now) + c.Timeout
	}
	if kicked {
		c.Deadline = uint32(a.now)
	}
	if (c.In^c.Out)&WideBit != 0 && !t.crossing.Load() {
		t.crossing.Store(true)
	}
}

// isWhole reports whether a connection's half-flows are there.
func (t *Table) isWhole(i uint32, c *Conn) bool {
	return t.holds(c.In, i) && (c.Out == c.In || t.holds(c.Out, i))
}

// holds reports whether a slot has a valid half-flow of connection i.
func (t *Table) holds(slot, i uint32) bool {
	if !t.Has(slot) {
		return false
	}
	h := t.Half(slot)
	return atomic.LoadUint64(&h.Key1)&(FlagValid|FlagPending|FlagDead) == FlagValid && atomic.LoadUint32(&h.Conn) == i
}

// clear frees a slot that a connection's record names, if it was that connection's or
// somebody was moving in. It returns how many it freed.
func (a *adoption) clear(slot, i uint32) int {
	if !a.t.Has(slot) {
		return 0
	}
	h := a.t.Half(slot)
	w := atomic.LoadUint64(&h.Key1)
	switch {
	case w&FlagPending != 0: // nobody ever saw it
		atomic.StoreUint32(&h.Last, uint32(a.now-Rest))
	case w&FlagValid != 0 && atomic.LoadUint32(&h.Conn) == i: // a reader may still be at it
		atomic.StoreUint32(&h.Last, uint32(a.now))
	default:
		return 0
	}
	// Of two goroutines that clear one slot, each in the name of its connection, one does.
	if !atomic.CompareAndSwapUint64(&h.Key1, w, w&^(genOne-1)|FlagDead) {
		return 0
	}
	return 1
}

// inherit gives a worker the timers of its connections, and those that rest.
func (w *Worker) inherit(used int, now clock.Tick) {
	w.wheel.init(w.t, now)
	for i := int(w.id); i < used; i += w.t.nwork {
		switch c := w.t.Conn(uint32(i)); c.State & (ConnDying | ConnKicked) {
		case ConnDying:
			continue // free
		case ConnDying | ConnKicked:
			c.Owner = w.id
			w.rest(uint32(i), now)
		default:
			w.wheel.add(uint32(i), clock.Tick(c.Deadline))
		}
		w.owned++
		w.t.wideUsed.Add(w.t.wideOf(w.t.Conn(uint32(i))))
	}
}

// freeRest puts all indexes below used that nobody has into chains; what makes no whole
// one is the first worker's.
func (t *Table) freeRest(used int) {
	first, n := None, uint32(0)
	for i := used - 1; i >= 0; i-- {
		c := t.Conn(uint32(i))
		if c.State&(ConnDying|ConnKicked) != ConnDying {
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
