package flow

import "sync/atomic"

// crateStack is a stack of crates that all workers share. Its head carries a tag that
// changes with each push and pop, so that a stale compare-and-swap fails.
type crateStack struct{ head atomic.Uint64 }

func (s *crateStack) init() { s.head.Store(uint64(None)) }

func (s *crateStack) push(t *Table, c uint32) {
	for {
		old := s.head.Load()
		atomic.StoreUint32(&t.crate(c).next, uint32(old))
		if s.head.CompareAndSwap(old, (old>>32+1)<<32|uint64(c)) {
			return
		}
	}
}

// pop returns a crate, or None.
func (s *crateStack) pop(t *Table) uint32 {
	for {
		old := s.head.Load()
		c := uint32(old)
		if c == None {
			return None
		}
		// Another may have it by now, and write there: then the tag is another too.
		next := atomic.LoadUint32(&t.crate(c).next)
		if s.head.CompareAndSwap(old, (old>>32+1)<<32|uint64(next)) {
			return c
		}
	}
}
