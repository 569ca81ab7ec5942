package laddr

import "unsafe"

// A ring's memory is taken page by page, where ports come back to. Whoever first writes to
// a page waits for the kernel to clear it, and on some machines for the hypervisor, which
// takes 40 to 70 µs: where connections end, 200 ns for each of the 256 ports of a page. So the
// director touches the pages that the ports in use will come back to, and no others.

// cellSize is how long a cell is.
const cellSize = uint32(unsafe.Sizeof(cell{}))

// touched says how far a ring's cells were touched, in positions. It is guarded by Set.mu.
type touched struct {
	known    bool
	from, to uint32
}

// Populate touches memory that ports in use will need when they come back: most pages at
// most. It reports whether there is more. The director calls it now and then, beside the workers.
func (s *Set) Populate(most int) (more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.byIP {
		for pool := range a.pools {
			if r := a.pools[pool].Load(); r != nil {
				if most -= a.touched[pool].touch(r, uint32(max(r.taken(s.first, s.last), 0)), most); most <= 0 {
					return true
				}
			}
		}
	}
	return false
}

// touch touches the cells where the next out ports will lie, and returns how many pages
// those were, most at most.
func (t *touched) touch(r *ring, out uint32, most int) (pages int) {
	tail := r.tail.Load()
	if !t.known {
		t.known = true
		t.from, t.to = tail, tail
	}
	if t.to-t.from >= ringSize {
		return 0 // all of it
	}
	if int32(tail-t.to) > 0 {
		t.to = tail // the workers were faster
	}
	for ; pages < most && int32(tail+out-t.to) > 0 && t.to-t.from < ringSize; pages++ {
		cell := r.at(t.to)
		cell.word.Add(0) // whoever writes there meanwhile, nothing of it is lost
		t.to += (4096 - uint32(uintptr(unsafe.Pointer(cell))%4096) + cellSize - 1) / cellSize
	}
	return pages
}
