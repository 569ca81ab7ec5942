package flow

import "unsafe"

// Prefetcher collects where the searches of a burst will begin, and brings all
// those lines in at once: their misses overlap instead of following each other.
// It is worker-owned.
type Prefetcher struct {
	addrs [64]unsafe.Pointer
	n     int
}

// Want adds the home of a hash. Beyond 64 it does nothing.
func (f *Prefetcher) Want(t *Table, hash uint64) {
	if f.n < len(f.addrs) {
		f.addrs[f.n] = t.Home(hash)
		f.n++
	}
}

// Fetch brings the lines in and forgets them.
func (f *Prefetcher) Fetch() {
	prefetch(&f.addrs[0], f.n)
	f.n = 0
}
