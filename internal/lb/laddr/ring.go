package laddr

import "sync/atomic"

// ring is a queue of ports that any worker may put to and take from without a
// lock: a bounded array queue whose cells carry their turn (after D. Vyukov's
// MPMC queue). A cell's word is turn << 32 | port << 16 | second of its last
// release; seen belongs to whom the turn says.
type ring struct {
	head  atomic.Uint32
	_     [60]byte
	tail  atomic.Uint32
	_     [60]byte
	cells [ringSize]cell
}

type cell struct {
	word atomic.Uint64
	seen uint32 // what the real server expected next on the port, 0: unknown
}

const ringSize = 1 << 16 // more than there are ports: there always is a cell for one put back

func newRing(first, last uint16) *ring {
	r := &ring{}
	for i := range r.cells {
		r.cells[i].word.Store(uint64(i) << 32)
	}
	for p := uint32(first); p <= uint32(last); p++ {
		r.put(uint16(p), never, 0)
	}
	return r
}

// put appends a port released in the given second.
func (r *ring) put(port, second uint16, seen uint32) {
	for {
		pos := r.tail.Load()
		cell := &r.cells[pos&(ringSize-1)]
		// A cell of an earlier turn is still being left: by a taker that moved
		// head and lost its core since, while others went round the whole ring.
		// There are more cells than ports, so that it will be free: try again.
		if uint32(cell.word.Load()>>32) == pos && r.tail.CompareAndSwap(pos, pos+1) {
			cell.seen = seen
			cell.word.Store(uint64(pos+1)<<32 | uint64(port)<<16 | uint64(second))
			return
		}
	}
}

// take removes the oldest port.
func (r *ring) take() (port, second uint16, seen uint32, ok bool) {
	for {
		pos := r.head.Load()
		cell := &r.cells[pos&(ringSize-1)]
		w := cell.word.Load()
		switch d := int32(uint32(w>>32) - (pos + 1)); {
		case d == 0:
			if r.head.CompareAndSwap(pos, pos+1) {
				seen = cell.seen
				cell.word.Store(uint64(pos+ringSize) << 32)
				return uint16(w >> 16), uint16(w), seen, true
			}
		case d < 0:
			return 0, 0, 0, false
		}
	}
}
