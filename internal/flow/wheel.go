package flow

import "weir/internal/clock"

// The timing wheel: four levels of 256 lists, the finest 64 ticks (67 ms) wide.
// The lists run through Conn.Next and Conn.Prev, so that a connection costs the
// wheel no memory and moving one is a few stores. It is worker-owned.

const (
	wheelShift = 6
	wheelBits  = 8
	wheelSize  = 1 << wheelBits
	wheelLists = 4*wheelSize + 1 // the last one holds what is due
	dueList    = 4 * wheelSize
	inList     = uint32(1) << 31 // in Prev: first of the list whose number follows
)

type wheel struct {
	t     *Table
	tick  clock.Tick // the time of cur
	cur   uint32     // units of 64 ticks since the wheel began
	count int
	heads [wheelLists]uint32
}

func (w *wheel) init(t *Table, now clock.Tick) {
	w.t, w.tick = t, now
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

// advance turns the wheel up to now: what comes due moves to the due list.
func (w *wheel) advance(now clock.Tick) {
	for now.Since(w.tick) >= 1<<wheelShift {
		w.tick += 1 << wheelShift
		w.cur++
		for level, unit := uint32(1), w.cur; unit&(wheelSize-1) == 0 && level < 4; level++ {
			unit >>= wheelBits
			w.cascade(level*wheelSize + unit&(wheelSize-1))
		}
		w.splice(w.cur & (wheelSize - 1))
	}
}

// cascade spreads a coarse list over the finer ones.
func (w *wheel) cascade(list uint32) {
	i := w.heads[list]
	w.heads[list] = None
	for i != None {
		c := w.t.Conn(i)
		next := c.Next
		d := uint32(0)
		if ticks := int32(c.Deadline - uint32(w.tick)); ticks > 0 {
			d = (uint32(ticks) + 1<<wheelShift - 1) >> wheelShift
		}
		w.push(w.list(w.cur+d, d), i)
		i = next
	}
}

// splice moves a whole list to the front of the due list.
func (w *wheel) splice(list uint32) {
	first := w.heads[list]
	if first == None {
		return
	}
	w.heads[list] = None
	last := first
	for w.t.Conn(last).Next != None {
		last = w.t.Conn(last).Next
	}
	old := w.heads[dueList]
	w.t.Conn(last).Next = old
	if old != None {
		w.t.Conn(old).Prev = last
	}
	w.t.Conn(first).Prev = inList | dueList
	w.heads[dueList] = first
}

// pop takes a connection that is due, or returns None.
func (w *wheel) pop() uint32 {
	i := w.heads[dueList]
	if i != None {
		w.remove(i)
	}
	return i
}
