package flow

import (
	"math/bits"
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
	// sweepEach is how many slots are looked at for one half-flow that was forgotten, where
	// the table is more than half full: at most a quarter of all slots wait for the sweep,
	// and an eighth on average, whatever ends; docs/flow-table.md has what that makes of
	// searches. Where it is less full searches are short with more of them (Worker.each).
	sweepEach = 4
	// sweepFast and sweepSlow are the shifts of how many ticks a round takes at least, and
	// how many the last one takes, after which all that was forgotten is swept. But as
	// fast as a page in sweepTicks ticks it always is.
	sweepFast  = 10
	sweepSlow  = 16
	sweepTicks = 8
	// sweepBudget is how many pages are swept in a call at most.
	sweepBudget = 16
	// sweepCredit is the shift of what share of a round may come late: calls are more than
	// ticks, or less.
	sweepCredit = 3
	// scanLines is how many lines of the next page are called in at once.
	scanLines = 8
	// Where flags lie in Key1.
	validBit, pendingBit, deadBit = flagShift, flagShift + 2, flagShift + 3
)

// sweep is what a worker has to sweep of one array.
type sweep struct {
	owed int // slots that it has to sweep for what it forgot
	lap  int // slots until all was swept since it last forgot any
	fast int // slots << sweepSlow that it may sweep by now of those it owes
	slow int // and of those left of the lap
}

// forgot says that half-flows of an array with so many slots were forgotten, for which n of
// them are to be looked at.
func (s *sweep) forgot(n, slots int) {
	s.owed = min(s.owed+n, slots)
	s.lap = slots
}

// each is how many slots are looked at for a half-flow that was forgotten, in an array that
// has room for so many connections. What the others have resting, one guesses.
func (w *Worker) each(conns int) int {
	switch used := w.t.Len() + w.resting*w.t.nwork; {
	case used < conns/4:
		return sweepEach / 4
	case used < conns/2:
		return sweepEach / 2
	}
	return sweepEach
}

// pass says that some ticks went by.
func (s *sweep) pass(ticks uint32, slots int) {
	most := sweepBudget * sweepPage << sweepSlow
	n := int(min(ticks, 1<<sweepFast))
	s.fast = min(s.fast+n*slots<<(sweepSlow-sweepFast), max(most, slots>>sweepCredit<<sweepSlow))
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

// sweepPage sweeps the next page of an array that begins with slot first: a dead slot becomes
// empty unless a half-flow on this page or behind it has its path across.
func (w *Worker) sweepPage(first uint32, slots int, cursor *atomic.Uint32, now clock.Tick) {
	t := w.t
	pages := uint32(slots / sweepPage)
	page := pages - 1 - (cursor.Add(1)-1)%pages
	begin := first + page*sweepPage
	dead, others := t.scan(begin, first+(page+pages-1)%pages*sweepPage, now)
	if dead == 0 {
		return
	}
	end := begin + sweepPage
	dead &^= across(begin, t.reach(end, first+uint32(slots)), end)
	for others &= -(dead & -dead); others != 0; others &= others - 1 { // those behind the first dead one
		slot := begin + uint32(bits.TrailingZeros64(others))
		h := t.Half(slot)
		dead &^= across(begin, t.homeOf(h, slot, atomic.LoadUint64(&h.Key1), farthest), slot)
	}
	for ; dead != 0; dead &^= 1 << (bits.Len64(dead) - 1) {
		w.vacate(begin+uint32(bits.Len64(dead)-1), now)
	}
}

// scan looks at a page that begins with a slot, and says, in a bit for each slot, who is dead
// and rested, and where somebody lives or is moving in. On the way it calls in the page that is
// to be swept next. It does not branch by what it finds: which of three it is nobody can
// foretell, and a processor that guessed wrong has to wait for the word from memory before it
// can ask for the next ones.
func (t *Table) scan(begin, ahead uint32, now clock.Tick) (dead, others uint64) {
	size := uintptr(HalfSize)
	if begin&WideBit != 0 {
		size = WideSize
	}
	at, next := unsafe.Pointer(t.Half(begin)), unsafe.Pointer(t.Half(ahead))
	var lines [scanLines]unsafe.Pointer
	for slot := 0; slot < sweepPage; {
		for i := range lines {
			lines[i] = next
			next = unsafe.Add(next, size)
		}
		prefetch(&lines[0], len(lines))
		for range scanLines {
			h := (*Half)(at)
			at = unsafe.Add(at, size)
			k := atomic.LoadUint64(&h.Key1)
			rest := uint64(2*Rest-1) - uint64(uint32(now)-atomic.LoadUint32(&h.Last)+Rest) // less than 0: rested
			dead |= k & FlagDead >> deadBit & (rest >> 63) << (slot & 63)
			others |= (k&FlagValid>>validBit | k&FlagPending>>pendingBit) << (slot & 63)
			slot++
		}
	}
	return dead, others
}

// across has the bits of a page's slots from home to before an end, of those that there are.
func across(begin, home, end uint32) uint64 {
	if home >= end {
		return 0
	}
	from, to := max(home, begin)-begin, end-begin // to is 64 at most
	return ^uint64(0) << from &^ (^uint64(0) << to)
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

// vacate turns a slot that was seen dead and rested into an empty one, unless a
// path leads across it. One worker alone was told so by those behind it (sweepPage). If
// there are several, the slot may have a new tenant by now. Else it is marked
// in the key bits, with a mark that is used once, before who lives behind it is looked
// at: who moves in there after that takes the mark away (hold), and the slot stays.
func (w *Worker) vacate(slot uint32, now clock.Tick) {
	t := w.t
	h := t.Half(slot)
	if t.nwork == 1 {
		Set64(&h.Key1, 0)
		return
	}
	k := atomic.LoadUint64(&h.Key1)
	if k&FlagDead == 0 || !rested(h, now) {
		return
	}
	w.marks++
	marked := k&^KeyMask | uint64(w.id+1)<<32 | uint64(w.marks)
	if !atomic.CompareAndSwapUint64(&h.Key1, k, marked) {
		return // another is at it: with the next round
	}
	end := uint32(t.Slots())
	if slot&WideBit != 0 {
		end = WideBit + uint32(t.WideSlots())
	}
	if t.reach(slot+1, end) <= slot {
		atomic.CompareAndSwapUint64(&h.Key1, marked, k&^KeyMask)
		return
	}
	atomic.CompareAndSwapUint64(&h.Key1, marked, 0)
}
