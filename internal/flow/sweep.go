package flow

import (
	"sync/atomic"
	"unsafe"

	"weir/internal/clock"
)

// Dead slots that rested can have a new tenant as they are. But searches go on behind
// them, so they are to become empty where an empty one follows (empty). Whoever forgets a
// connection could do so, and would fetch two places in memory that nobody looked at for a
// second. Instead all go through the slots in their order, which costs a tenth of that
// for each: the sweep. It goes backwards, so that a run of dead slots before an
// empty one is emptied in one go, and page by page: the workers share the cursor, and each
// takes pages in proportion to the half-flows that it forgot.
//
// It is safe wherever it is and however many are at it, since it does nothing but call
// empty for rested slots, which any worker may.

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

// sweepPage sweeps the next page of an array that begins with slot first.
func (w *Worker) sweepPage(first uint32, slots int, cursor *atomic.Uint32, now clock.Tick) {
	pages := uint32(slots / sweepPage)
	page := pages - 1 - (cursor.Add(1)-1)%pages
	w.t.callInPage(first + (page+pages-1)%pages*sweepPage)
	slot := first + page*sweepPage + sweepPage - 1
	// Nobody lives in the very last slot, and none follows.
	followed := page != pages-1 && atomic.LoadUint64(&w.t.Half(slot+1).Key1) != 0
	if page == pages-1 {
		slot--
		followed = atomic.LoadUint64(&w.t.Half(slot+1).Key1) != 0
	}
	for ; ; slot-- {
		h := w.t.Half(slot)
		k := atomic.LoadUint64(&h.Key1)
		if !followed && k&FlagDead != 0 && rested(h, now) {
			w.empty(slot, now)
			k = atomic.LoadUint64(&h.Key1)
		}
		followed = k != 0
		if slot%sweepPage == 0 {
			return
		}
	}
}

// callInPage calls in the end of a page that is to be swept next.
func (t *Table) callInPage(slot uint32) {
	var at [8]unsafe.Pointer
	for i := range at {
		at[i] = unsafe.Pointer(t.Half(slot + sweepPage - 1 - uint32(i)))
	}
	prefetch(&at[0], len(at))
}
