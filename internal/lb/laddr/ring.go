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

// hand gives the cell to whose turn a word says.
func (c *cell) hand(word uint64) { flow.Set64((*uint64)(unsafe.Pointer(&c.word)), word) }

const ringSize = 1 << 16 // more than there are ports: there always is a cell for one put back

// ringBytes is the size of a ring in memory that is kept.
const ringBytes = int(unsafe.Sizeof(ring{}))

// ringAt is the ring that lies in such memory.
func ringAt(m *pinned.Memory) *ring { return (*ring)(unsafe.Pointer(unsafe.SliceData(m.Bytes))) }

func newRing(first, last uint16) *ring {
	r := &ring{}
	r.fill(nil)
	for p := uint32(first); p <= uint32(last); p++ {
		r.put(uint16(p), never, 0)
	}
	return r
}

// free is a port in a ring.
type free struct {
	port, second uint16
	seen         uint32
}

// fill makes a ring of some ports, in their order.
func (r *ring) fill(in []free) {
	r.head.Store(0)
	r.tail.Store(uint32(len(in)))
	for i := range r.cells {
		c := &r.cells[i]
		if i < len(in) {
			c.seen = in[i].seen
			c.word.Store(uint64(i+1)<<32 | uint64(in[i].port)<<16 | uint64(in[i].second))
			continue
		}
		c.word.Store(uint64(i) << 32)
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
		for pos, n := r.head.Load(), 0; pos != r.tail.Load() && n < ringSize; pos, n = pos+1, n+1 {
			c := &r.cells[pos&(ringSize-1)]
			w := c.word.Load()
			f := free{uint16(w >> 16), uint16(w), c.seen}
			if uint32(w>>32) == pos+1 && f.port >= first && f.port <= last && known.add(f.port) {
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
			cell.hand(uint64(pos+1)<<32 | uint64(port)<<16 | uint64(second))
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
				cell.hand(uint64(pos+ringSize) << 32)
				return uint16(w >> 16), uint16(w), seen, true
			}
		case d < 0:
			return 0, 0, 0, false
		}
	}
}

// taken is how many of the ports from first to last are not in it.
func (r *ring) taken(first, last uint16) int64 {
	return int64(last) - int64(first) + 1 - int64(int32(r.tail.Load()-r.head.Load()))
}
