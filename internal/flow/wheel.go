package flow

import (
	"unsafe"

	"weir/internal/clock"
)

// The timing wheel: four levels of 256 lists, the finest 64 ticks (67 ms) wide.
// The lists run through Conn.Next and Conn.Prev, so that a connection costs the
// wheel no memory and moving one is a few stores. It is worker-owned.
//
// When a unit begins, its list becomes the due list as a whole, and before it
// the coarser lists whose time has come; what is taken off the due list is due,
// or goes to a finer list. The wheel turns on when the due list is empty: a
// crowd makes it late for a while, and never costs one breath more than its budget.
//
// Nobody looked at a connection that comes due for seconds, and where the next one lies
// only the one before it says: of one list each would be waited for alone. So a list is
// as many as are gone through at once, its lanes, in turn, and those who go through them
// call in ahead what is behind: all of a batch is on its way while the one before it is
// looked at.

const (
	wheelShift = 6
	wheelBits  = 8
	wheelSize  = 1 << wheelBits
	wheelLists = 4*wheelSize + 1 // the last one is the due list
	dueList    = 4 * wheelSize
	lanes      = batch           // of a list
	inList     = uint32(1) << 31 // in Prev: first of the lane whose number follows
)

type wheel struct {
	t     *Table
	tick  clock.Tick // the time of cur
	cur   uint32     // units of 64 ticks since the wheel began
	count int
	level int    // of the list that is next to become the due list; -1: the unit is done
	lane  uint32 // that is added to next
	first uint32 // lane of the due list that is taken off next
	unled bool   // the first ones of the due list don't know yet that they are
	heads [wheelLists * lanes]uint32
}

func (w *wheel) init(t *Table, now clock.Tick) {
	// Units begin at multiples of 64 ticks, whenever the wheel began.
	w.t, w.tick, w.level = t, now&^(1<<wheelShift-1), -1
	for i := range w.heads {
		w.heads[i] = None
	}
}

// add puts a connection into the list of its deadline. A deadline in the past
// comes due with the next unit.
func (w *wheel) add(i uint32, deadline clock.Tick) {
	c := w.t.Conn(i)
	c.Deadline = uint32(deadline)
	d := uint32(1)
	if ticks := int32(deadline - w.tick); ticks > 1<<wheelShift {
		d = (uint32(ticks) + 1<<wheelShift - 1) >> wheelShift
	}
	w.count++
	w.push(w.list(w.cur+d, d), i)
}

// list returns the number of the list for unit exp, d units ahead of now.
func (w *wheel) list(exp, d uint32) uint32 {
	level := uint32(0)
	for d >= wheelSize && level < 3 {
		d >>= wheelBits
		exp >>= wheelBits
		level++
	}
	return level*wheelSize + exp&(wheelSize-1)
}

func (w *wheel) push(list, i uint32) {
	w.lane++
	list = list*lanes + w.lane%lanes
	c := w.t.Conn(i)
	c.Next, c.Prev = w.heads[list], inList|list
	if c.Next != None {
		w.t.Conn(c.Next).Prev = i
	}
	w.heads[list] = i
}

// remove takes a connection out of its list; one that is in none stays so.
func (w *wheel) remove(i uint32) {
	c := w.t.Conn(i)
	if c.Prev == None {
		return
	}
	if w.unled {
		w.lead()
	}
	if c.Prev&inList != 0 {
		w.heads[c.Prev&^inList] = c.Next
	} else {
		w.t.Conn(c.Prev).Next = c.Next
	}
	if c.Next != None {
		w.t.Conn(c.Next).Prev = c.Prev
	}
	c.Prev = None
	w.count--
}

// due takes out connections whose deadline has come, puts them behind those of all, and
// returns how many: none when there are no more up to now, or budget timers were moved.
// What their owner will look at is on its way then.
func (w *wheel) due(now clock.Tick, budget *int, all *dueConns) (n int) {
	var seen [2 * batch]unsafe.Pointer
	for *budget > 0 && n < batch && all.n < len(all.all) {
		i := w.shift()
		if i == None {
			if !w.turn(now) {
				break
			}
			continue
		}
		*budget--
		c := w.t.Conn(i)
		deadline := clock.Tick(c.Deadline)
		if w.tick.Before(deadline) {
			w.add(i, deadline)
			continue
		}
		seen[2*n], seen[2*n+1] = unsafe.Pointer(w.t.Half(c.In)), unsafe.Pointer(w.t.Half(c.Out))
		all.push(i)
		n++
	}
	if n > 0 {
		prefetch(&seen[0], 2*n)
	}
	return n
}

// batch is how many connections are gone through at once, of which all that will be
// touched is called in before.
const batch = 32

// shift takes the first off a lane of the due list, and calls in the next one, whose
// turn comes when the other lanes have had theirs. It does not tell it that it is the first
// now: its record is not there yet, and mostly nobody asks before it is taken off (lead).
func (w *wheel) shift() uint32 {
	for range lanes {
		at := dueList*lanes + w.first%lanes
		w.first++
		i := w.heads[at]
		if i == None {
			continue
		}
		c := w.t.Conn(i)
		w.heads[at] = c.Next
		w.unled = true
		c.Prev = None
		w.count--
		w.t.callIn(c.Next)
		return i
	}
	return None
}

// lead tells the first ones of the due list that they are, before one is taken out of the middle.
func (w *wheel) lead() {
	w.unled = false
	for at := uint32(dueList * lanes); at < wheelLists*lanes; at++ {
		if i := w.heads[at]; i != None {
			w.t.Conn(i).Prev = inList | at
		}
	}
}

// turn makes the next list the due list, which is empty, and reports whether
// there was one up to now.
func (w *wheel) turn(now clock.Tick) bool {
	if w.level < 0 {
		if now.Since(w.tick) < 1<<wheelShift {
			return false
		}
		w.tick += 1 << wheelShift
		w.cur++
		w.level = 0
		for unit := w.cur; unit&(wheelSize-1) == 0 && w.level < 3; unit >>= wheelBits {
			w.level++
		}
	}
	list := uint32(w.level)*wheelSize + w.cur>>(wheelBits*w.level)&(wheelSize-1)
	w.level--
	for lane := range uint32(lanes) {
		from, to := list*lanes+lane, dueList*lanes+lane
		w.heads[to], w.heads[from] = w.heads[from], None
		w.t.callIn(w.heads[to])
	}
	w.unled = true
	return true
}
