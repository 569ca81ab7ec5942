package laddr

import (
	"math/bits"
	"sync/atomic"
	"unsafe"

	"weir/internal/flow"
	"weir/internal/pinned"
)

// ring is a queue of ports that any worker may put to and take from without a
// lock: a bounded array queue whose cells carry their turn (after D. Vyukov's
// MPMC queue). A cell's word is turn << 32 | port << 16 | second of its last
// release; seen belongs to whom the turn says. A turn is how many positions lie before
// this round of the ring, and one more while a port lies in the cell.
//
// Ports that nobody has used yet lie in no cell: they are given out before all others, by
// their number. So a ring of zeros is an empty one, and takes memory only where ports come
// back to.
type ring struct {
	head   atomic.Uint32
	_      [60]byte
	tail   atomic.Uint32
	_      [60]byte
	unused atomic.Uint32 // the first port that nobody has used; more than last: there is none
	last   uint32        // of those that were given out by their number
	_      [56]byte
	cells  [ringSize]cell
}

type cell struct {
	word atomic.Uint64
	seen uint32 // what the real server expected next on the port, 0: unknown
}

// hand gives the cell to whose turn a word says.
func (c *cell) hand(word uint64) { flow.Set64((*uint64)(unsafe.Pointer(&c.word)), word) }

const ringSize = 1 << 16 // more than there are ports: there always is a cell for one put back

const cellsInLine = uint32(64 / unsafe.Sizeof(cell{}))

// ringBytes is the size of a ring.
const ringBytes = int(unsafe.Sizeof(ring{}))

// ringAt is the ring that lies in some memory.
func ringAt(m *pinned.Memory) *ring { return (*ring)(unsafe.Pointer(unsafe.SliceData(m.Bytes))) }

// ringBeside is ringAt for the nth of many rings, which lies off the beginning of its memory.
// A service's local addresses take turns, so that the heads and tails of all rings come to lie
// at the same place of a page: of the sets of a cache, which that place chooses, they would
// have a few for themselves, with room for a dozen.
func ringBeside(m *pinned.Memory, n uint32) *ring {
	const line = 64
	shift := uintptr(n) % (uintptr(len(m.Bytes)-ringBytes)/line + 1) * line
	return (*ring)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(m.Bytes)), shift))
}

// begin makes a ring of zeros one of ports that nobody has used.
func (r *ring) begin(first, last uint16) {
	r.last = uint32(last)
	r.unused.Store(uint32(first))
}

// turn is the one in which a cell is empty for whoever puts something at a position.
func turn(pos uint32) uint32 { return pos &^ (ringSize - 1) }

// free is a port in a ring.
type free struct {
	port, second uint16
	seen         uint32
}

// fill makes a ring of some ports, in their order.
func (r *ring) fill(in []free) {
	r.unused.Store(1)
	r.last = 0
	r.head.Store(0)
	r.tail.Store(uint32(len(in)))
	for i := range r.cells {
		c := &r.cells[i]
		if i < len(in) {
			c.seen = in[i].seen
			c.word.Store(1<<32 | uint64(in[i].port)<<16 | uint64(in[i].second))
			continue
		}
		c.word.Store(0)
	}
}

// restore makes the ring of a pool whole, that was left behind at any moment: of a new one
// nothing is there. Ports from first to last that are not held are free, those that lie in
// it in their order. What lies nowhere was about to be taken or put back, in the second
// former at the latest.
func (r *ring) restore(first, last uint16, held *ports, there bool, former uint16) {
	known := *held
	in := make([]free, 0, ringSize)
	if there {
		for p := max(r.unused.Load(), uint32(first)); p <= min(r.last, uint32(last)); p++ {
			if known.add(uint16(p)) {
				in = append(in, free{uint16(p), never, 0})
			}
		}
		for pos, n := r.head.Load(), 0; pos != r.tail.Load() && n < ringSize; pos, n = pos+1, n+1 {
			c := &r.cells[pos&(ringSize-1)]
			w := c.word.Load()
			f := free{uint16(w >> 16), uint16(w), c.seen}
			if uint32(w>>32) == turn(pos)+1 && f.port >= first && f.port <= last && known.add(f.port) {
				in = append(in, f)
			}
		}
	}
	for p := uint32(first); p <= uint32(last); p++ {
		if known.add(uint16(p)) {
			in = append(in, free{uint16(p), former, 0})
		}
	}
	r.fill(in)
}

// ports is a set of ports.
type ports [1 << 16 / 64]uint64

// add reports whether a port was not in it.
func (s *ports) add(p uint16) bool {
	w, bit := &s[p/64], uint64(1)<<(p%64)
	if *w&bit != 0 {
		return false
	}
	*w |= bit
	return true
}

func (s *ports) len() (n int) {
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}

// fresh is how many ports nobody has used.
func (r *ring) fresh() uint32 {
	if p := r.unused.Load(); p <= r.last {
		return r.last + 1 - p
	}
	return 0
}

// put appends a port released in the given second.
func (r *ring) put(port, second uint16, seen uint32) {
	for {
		pos := r.tail.Load()
		cell := r.at(pos)
		// A cell of an earlier turn is still being left: by a taker that moved
		// head and lost its core since, while others went round the whole ring.
		// There are more cells than ports, so that it will be free: try again.
		if uint32(cell.word.Load()>>32) == turn(pos) && r.tail.CompareAndSwap(pos, pos+1) {
			cell.lay(pos, port, second, seen)
			r.ahead(pos)
			return
		}
	}
}

// putAlone is put where one worker alone puts and takes. It does not look at the cell, which
// is free: so nobody waits for a line that was not touched for a round of the ring.
func (r *ring) putAlone(port, second uint16, seen uint32) {
	pos := r.tail.Load()
	flow.Bump32(word32(&r.tail), 1)
	r.at(pos).lay(pos, port, second, seen)
	r.ahead(pos)
}

// take removes the oldest port.
func (r *ring) take() (port, second uint16, seen uint32, ok bool) {
	if r.unused.Load() <= r.last {
		if p := r.unused.Add(1) - 1; p <= r.last {
			return uint16(p), never, 0, true
		}
	}
	for {
		pos := r.head.Load()
		cell := r.at(pos)
		w := cell.word.Load()
		switch d := int32(uint32(w>>32) - (turn(pos) + 1)); {
		case d == 0:
			if r.head.CompareAndSwap(pos, pos+1) {
				seen = cell.seen
				cell.leave(pos)
				r.ahead(pos)
				return uint16(w >> 16), uint16(w), seen, true
			}
		case d < 0:
			return 0, 0, 0, false
		}
	}
}

// takeAlone is take where one worker alone puts and takes.
func (r *ring) takeAlone() (port, second uint16, seen uint32, ok bool) {
	if p := r.unused.Load(); p <= r.last {
		flow.Bump32(word32(&r.unused), 1)
		return uint16(p), never, 0, true
	}
	pos := r.head.Load()
	cell := r.at(pos)
	w := cell.word.Load()
	if uint32(w>>32) != turn(pos)+1 {
		return 0, 0, 0, false
	}
	flow.Bump32(word32(&r.head), 1)
	seen = cell.seen
	cell.leave(pos)
	r.ahead(pos)
	return uint16(w >> 16), uint16(w), seen, true
}

// word32 is a word that its owner alone writes, for flow.Bump32.
func word32(w *atomic.Uint32) *int32 { return (*int32)(unsafe.Pointer(w)) }

// at is the cell of a position.
func (r *ring) at(pos uint32) *cell { return &r.cells[pos&(ringSize-1)] }

// ahead calls in the next line when a position is the first of its own: of many rings in
// turn none has it at hand.
func (r *ring) ahead(pos uint32) {
	if pos%cellsInLine == 0 {
		flow.CallIn(unsafe.Pointer(r.at(pos + cellsInLine)))
	}
}

// lay puts a port into the cell of a position.
func (c *cell) lay(pos uint32, port, second uint16, seen uint32) {
	c.seen = seen
	c.hand(uint64(turn(pos)+1)<<32 | uint64(port)<<16 | uint64(second))
}

// leave empties it, for who comes there in the next round.
func (c *cell) leave(pos uint32) { c.hand(uint64(turn(pos)+ringSize) << 32) }

// taken is how many of the ports from first to last are not in it.
func (r *ring) taken(first, last uint16) int64 {
	return int64(last) - int64(first) + 1 - int64(r.fresh()) - int64(int32(r.tail.Load()-r.head.Load()))
}
