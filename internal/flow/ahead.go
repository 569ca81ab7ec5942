package flow

import "unsafe"

// Ahead collects places in memory that will be looked at, and calls all of them in at
// once, each with the line behind it. It is worker-owned.
type Ahead struct {
	addrs [64]unsafe.Pointer
	n     int
}

// Add adds a place, or nil. Beyond 64 it does nothing.
func (a *Ahead) Add(at unsafe.Pointer) {
	if at != nil && a.n < len(a.addrs) {
		a.addrs[a.n] = at
		a.n++
	}
}

// AddFlow adds the place where a half-flow with f's tuple will be put.
func (a *Ahead) AddFlow(t *Table, f *Flow) {
	if f.Wide {
		k0 := FoldWords(t.seed, f.Src.Hi, f.Src.Lo, f.Dst.Hi, f.Dst.Lo)
		a.Add(unsafe.Pointer(t.wide(t.Hash(k0, f.Key1))))
		return
	}
	a.Add(t.Home(t.Hash(f.Key0, f.Key1)))
}

// Fetch calls the lines in, and forgets them.
func (a *Ahead) Fetch() {
	if a.n > 0 {
		prefetch2(&a.addrs[0], a.n)
	}
	a.n = 0
}
