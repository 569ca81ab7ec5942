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

// AddTuple adds the place where a half-flow with a tuple will be put: addresses of one
// family, ports as on the wire.
func (a *Ahead) AddTuple(t *Table, src, dst Addr, sport, dport uint16, proto uint8) {
	if src.Is4() {
		a.Add(t.Home(t.Hash(Tuple(src.V4(), dst.V4(), sport, dport, proto))))
		return
	}
	_, k1 := Tuple(0, 0, sport, dport, proto)
	a.Add(unsafe.Pointer(t.wideHome(t.Hash(FoldWords(t.seed, src.Hi, src.Lo, dst.Hi, dst.Lo), k1))))
}

// Fetch calls the lines in, and forgets them.
func (a *Ahead) Fetch() {
	if a.n > 0 {
		prefetch2(&a.addrs[0], a.n)
	}
	a.n = 0
}
