package flow

import (
	"sync/atomic"
	"unsafe"

	"weir/internal/clock"
)

// Dead slots that rested can have a new tenant as they are. But searches go on behind
// them, so they are to become empty again, wherever no path leads across: no half-flow that
// lives behind one has its home at it or before it. Whoever forgets a
// connection could look for that, and would fetch two places in memory that nobody looked at
// for a second. Instead all go through the slots in their order, which costs a tenth of that
// for each: the sweep. It goes backwards, since what lies behind a slot decides, and page by
// page: the workers share the cursor, and each takes pages in proportion to the half-flows
// that it forgot.
//
// Any number may be at one place at once (vacate).

const (
	// A page is what a worker sweeps at once.
	sweepPage = 64
	// sweepEach is how many slots are looked at for one half-flow that was forgotten: at
	// most a quarter of all slots wait for the sweep, and an eighth on average, whatever
	// ends; docs/flow-table.md has what that makes of searches.
	sweepEach = 4
	// sweepFast and sweepSlow are the shifts of how many ticks a round takes at least, and
	// how many the last one takes, after which all that was forgotten is swept. But as
	// fast as a page in sweepTicks ticks it always is.
	sweepFast  = 10
	sweepSlow  = 16
	sweepTicks = 8
	// sweepBudget is how many pages are swept in a call at most.
	sweepBudget = 16
)

// sweep is what a worker has to sweep of one array.
type sweep struct {
	owed int // slots that it has to sweep for what it forgot
	lap  int // slots until all was swept since it last forgot any
	fast int // slots << sweepSlow that it may sweep by now of those it owes
	slow int // and of those left of the lap
}

// forgot counts n half-flows of an array with so many slots that were forgotten.
func (s *sweep) forgot(n, slots int) {
	s.owed = min(s.owed+n*sweepEach, slots)
	s.lap = slots
}

// pass says that some ticks went by.
func (s *sweep) pass(ticks uint32, slots int) {
	most := sweepBudget * sweepPage << sweepSlow
	n := int(min(ticks, 1<<sweepFast))
	s.fast = min(s.fast+n*slots<<(sweepSlow-sweepFast), most)
	s.slow = min(s.slow+n*max(slots, sweepPage<<sweepSlow/sweepTicks), most)
}

// pages is how many pages are to be swept now.
func (s *sweep) pages() (n int) {
	for n < sweepBudget && s.lap > 0 {
		switch {
		case s.owed > 0 && s.fast >= sweepPage<<sweepSlow:
			s.fast -= sweepPage << sweepSlow
			s.owed -= sweepPage
		case s.slow >= sweepPage<<sweepSlow:
			s.slow -= sweepPage << sweepSlow
		default:
			return n
		}
		s.lap -= sweepPage
		n++
	}
	return n
}

// Unswept returns how many slots the worker is still to look at.
func (w *Worker) Unswept() int { return w.sweeps[0].lap + w.sweeps[1].lap }

// sweepAll sweeps what is to be swept now.
func (w *Worker) sweepAll(now, horizon clock.Tick) {
	for wide := range w.sweeps {
		s := &w.sweeps[wide]
		if s.lap <= 0 {
			continue
		}
		slots, first := w.t.Slots(), uint32(0)
		if wide != 0 {
			slots, first = w.t.WideSlots(), WideBit
		}
		s.pass(now.Since(w.swept), slots)
		for n := s.pages(); n > 0; n-- {
			w.sweepPage(first, slots, &w.t.swept[wide], horizon)
		}
	}
	w.swept = now
}

// sweepPage sweeps the next page of an array that begins with slot first. On its way it
// keeps in mind how far back the homes of those lie that it met: a slot before all of them
// is on nobody's path.
func (w *Worker) sweepPage(first uint32, slots int, cursor *atomic.Uint32, now clock.Tick) {
	t := w.t
	pages := uint32(slots / sweepPage)
	page := pages - 1 - (cursor.Add(1)-1)%pages
	t.callInPage(first + (page+pages-1)%pages*sweepPage)
	end := first + page*sweepPage + sweepPage
	reach := t.reach(end, first+uint32(slots))
	for slot := end - 1; ; slot-- {
		h := t.Half(slot)
		k := atomic.LoadUint64(&h.Key1)
		if k&FlagDead != 0 && slot < reach && rested(h, now) && w.vacate(slot, k) {
			k = 0
		}
		reach = t.homeOf(h, slot, k, reach)
		if slot%sweepPage == 0 {
			return
		}
	}
}

// farthest is a home that nobody has: all slots lie before it.
const farthest = ^uint32(0)

// reach is the first home of those that live from a slot on, up to the first empty slot or
// the end of the array.
func (t *Table) reach(slot, end uint32) uint32 {
	reach := farthest
	for end = min(end, slot+ProbeMax); slot < end; slot++ {
		h := t.Half(slot)
		k := atomic.LoadUint64(&h.Key1)
		if k == 0 {
			break
		}
		reach = t.homeOf(h, slot, k, reach)
	}
	return reach
}

// homeOf is the first of two homes: of who lives in a slot, whose Key1 is k, and of those
// who live behind it. Behind an empty slot nobody's path comes by. Who is moving in may not
// have said yet where his home is: then it is as far as it may be.
func (t *Table) homeOf(h *Half, slot uint32, k uint64, reach uint32) uint32 {
	switch {
	case k == 0:
		return farthest
	case k&FlagPending != 0:
		return min(reach, max(slot, slot&WideBit+ProbeMax-1)-(ProbeMax-1))
	case k&FlagValid != 0:
		return min(reach, t.home(slot&WideBit != 0, atomic.LoadUint64(&h.Key0), k))
	}
	return reach
}

// vacate turns a dead slot that rested, whose Key1 is k, into an empty one, unless a
// path leads across it. One worker alone was told so by those behind it (sweepPage). If
// there are several, it marks the slot in the key bits, with a mark that is used once, before
// it looks: who moves in behind it after that takes the mark away (hold), and the
// slot stays.
func (w *Worker) vacate(slot uint32, k uint64) bool {
	t := w.t
	h := t.Half(slot)
	if t.nwork == 1 {
		Set64(&h.Key1, 0)
		return true
	}
	w.marks++
	marked := k&^KeyMask | uint64(w.id+1)<<32 | uint64(w.marks)
	if !atomic.CompareAndSwapUint64(&h.Key1, k, marked) {
		return false // another is at it: with the next round
	}
	end := uint32(t.Slots())
	if slot&WideBit != 0 {
		end = WideBit + uint32(t.WideSlots())
	}
	if t.reach(slot+1, end) <= slot {
		atomic.CompareAndSwapUint64(&h.Key1, marked, k&^KeyMask)
		return false
	}
	return atomic.CompareAndSwapUint64(&h.Key1, marked, 0)
}

// callInPage calls in the end of a page that is to be swept next.
func (t *Table) callInPage(slot uint32) {
	var at [8]unsafe.Pointer
	for i := range at {
		at[i] = unsafe.Pointer(t.Half(slot + sweepPage - 1 - uint32(i)))
	}
	prefetch(&at[0], len(at))
}
