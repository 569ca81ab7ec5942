package bond

import (
	"sync/atomic"

	"weir/internal/lacp"
)

// slowRing is how many frames of LACP wait for the control side, of each worker.
const slowRing = 64

// slowMax is how much of one is kept: link header, message, and padding to spare.
const slowMax = 14 + lacp.Length + 4

// Slow is a frame of the slow protocols that came.
type Slow struct {
	Member uint8
	n      uint8
	frame  [slowMax]byte
}

// Message is what is behind the ethertype.
func (s *Slow) Message() []byte { return s.frame[etherHeader:s.n] }

// ring carries frames from a worker to the control side: one writer, one reader.
type ring struct {
	head  atomic.Uint32
	_     [60]byte
	tail  atomic.Uint32
	_     [60]byte
	items [slowRing]Slow
}

// put copies a frame and reports whether there was room.
func (r *ring) put(member int, frame []byte) bool {
	t := r.tail.Load()
	if t-r.head.Load() == slowRing {
		return false
	}
	s := &r.items[t%slowRing]
	s.Member, s.n = uint8(member), uint8(copy(s.frame[:], frame))
	r.tail.Store(t + 1)
	return true
}

// each calls f for all that waits.
func (r *ring) each(f func(*Slow)) {
	h, t := r.head.Load(), r.tail.Load()
	for ; h != t; h++ {
		f(&r.items[h%slowRing])
		r.head.Store(h + 1)
	}
}
