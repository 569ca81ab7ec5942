package flow

import "unsafe"

// Free connection indexes lie in crates of up to 14, a line of memory each: the records
// that they stand for, which nobody has looked at since they ended, are not touched until one is
// taken. Each worker has a crate open, which it takes from and gives back to, and
// some full ones; what is too many goes to a stack that all workers share. What rests lies in
// crates too (rest.go), which change hands as they are.

// inCrate is how many indexes a crate holds at most.
const inCrate = 14

// crate is a line of connection indexes. Crates have numbers; None is none.
type crate struct {
	next  uint32 // 0 the crate behind it in a stack or queue; atomic in a shared one
	ended uint32 // 4 of a crate that rests: the tick at which the last one in it ended
	conns [inCrate]uint32
}

// fullCrates is how many crates of free indexes a worker keeps beside the open one, and
// emptyCrates how many empty ones.
const (
	fullCrates  = 3
	emptyCrates = 4
)

// crateFill is how many indexes are in a crate of a table at most: few enough that what
// lies with all workers is less than 1/128 of it, but in a small table one in each.
func crateFill(conns, workers int) uint32 {
	return uint32(max(1, min(inCrate, conns/((1+fullCrates)*128*workers))))
}

// cratesFor is how many crates a table can need: full ones for all indexes, and for each
// worker an open one, two that what rests is put into and taken from, one in its hands, and the
// empty ones.
func cratesFor(conns, workers int) int {
	return conns/int(crateFill(conns, workers)) + workers*(4+emptyCrates)
}

// crates is a worker's own stack of crates.
type crates struct {
	first uint32
	n     int
}

func (s *crates) push(t *Table, c uint32) {
	t.crate(c).next = s.first
	s.first = c
	s.n++
}

func (s *crates) pop(t *Table) uint32 {
	c := s.first
	if c != None {
		s.first = t.crate(c).next
		s.n--
	}
	return c
}

// freelist is what a worker has of free indexes, and of crates for more.
type freelist struct {
	open  uint32 // crate that is taken from and given back to; None at the beginning
	n     int    // of the indexes in it
	full  crates
	empty crates
}

// take returns a free connection index, or None when the table is full.
func (w *Worker) take() uint32 {
	f := &w.free
	if f.n == 0 && !w.refill() {
		return None
	}
	f.n--
	return w.t.crate(f.open).conns[f.n]
}

// give puts an index back that nobody has seen, or that has rested.
func (w *Worker) give(i uint32) {
	f, t := &w.free, w.t
	if f.open == None || f.n == int(t.fill) {
		if f.open != None {
			w.store(f.open)
		}
		f.open, f.n = w.emptyCrate(), 0
	}
	t.crate(f.open).conns[f.n] = i
	f.n++
}

// refill has the open crate full, or as full as there are free indexes.
func (w *Worker) refill() bool {
	f, t := &w.free, w.t
	c := f.full.pop(t)
	if c == None {
		c = t.fulls.pop(t)
	}
	if c != None {
		if f.open != None {
			w.discard(f.open)
		}
		f.open, f.n = c, int(t.fill)
		t.callInConns(t.crate(c).conns[:t.fill])
		return true
	}
	from := t.fresh.Add(t.fill) - t.fill
	if from >= t.nconns {
		t.fresh.Store(t.nconns) // keep it from wrapping
		return false
	}
	to := min(from+t.fill, t.nconns)
	for i := to; i > from; i-- {
		c := t.Conn(i - 1)
		// Free is dead, to whoever goes through all indexes.
		c.State, c.Next, c.Prev = ConnDying, None, None
		w.give(i - 1) // so that the first one is taken first
	}
	return true
}

// store keeps a full crate of free indexes, or leaves it to all.
func (w *Worker) store(c uint32) {
	if w.free.full.n < fullCrates {
		w.free.full.push(w.t, c)
		return
	}
	w.t.fulls.push(w.t, c)
}

// discard keeps a crate that is empty, or leaves it to all.
func (w *Worker) discard(c uint32) {
	if w.free.empty.n < emptyCrates {
		w.free.empty.push(w.t, c)
		return
	}
	w.t.empties.push(w.t, c)
}

// emptyCrate returns a crate that is empty. There is one: cratesFor.
func (w *Worker) emptyCrate() uint32 {
	if c := w.free.empty.pop(w.t); c != None {
		return c
	}
	if c := w.t.empties.pop(w.t); c != None {
		return c
	}
	return w.t.freshCrates.Add(1) - 1
}

// crate returns a crate by its number.
func (t *Table) crate(c uint32) *crate {
	return (*crate)(unsafe.Add(t.crates, uintptr(c)*unsafe.Sizeof(crate{})))
}

// callInConns calls in connections' records.
func (t *Table) callInConns(all []uint32) {
	var at [inCrate]unsafe.Pointer
	for n, i := range all {
		at[n] = unsafe.Pointer(t.Conn(i))
	}
	prefetch(&at[0], len(all))
}
