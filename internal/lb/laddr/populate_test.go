package laddr

import (
	"testing"
	"unsafe"
)

// What is touched is what ports in use will come back to, no page twice, and no port is lost.
func TestPopulate(t *testing.T) {
	s := newSet(t, FirstPort, LastPort)
	a := add(t, s, lip)
	if s.Populate(100) {
		t.Fatal("there is more, and no port is in use")
	}
	const pool = 3
	take := func(n int) (ports []uint16) {
		for range n {
			l, ok := a.Take(pool, 1)
			if !ok {
				t.Fatal("no port is left")
			}
			ports = append(ports, l.Port)
		}
		return ports
	}
	if err := a.Prepare(pool); err != nil {
		t.Fatal(err)
	}
	touched := &a.touched[pool]
	ports := take(1000)
	// The first page has the ring's head and tail as well.
	r := a.pools[pool].Load()
	begin := uint32(uintptr(unsafe.Pointer(&r.cells)) % 4096 / uintptr(cellSize))
	const pageCells = 4096 / 16
	if !s.Populate(3) || touched.to != 3*pageCells-begin {
		t.Errorf("%d cells were touched, of three pages and more", touched.to)
	}
	if s.Populate(100) || touched.to != 4*pageCells-begin || touched.to < 1000 {
		t.Errorf("%d cells were touched for 1000 ports", touched.to)
	}
	for range 200 { // round the ring and on
		for _, p := range ports {
			a.Give(pool, p, 1, uint32(p))
		}
		s.Populate(100)
		ports = take(1000)
		s.Populate(100)
	}
	if touched.to-touched.from < ringSize {
		t.Errorf("%d cells of a ring were touched that went round", touched.to-touched.from)
	}
	seen := map[uint16]bool{}
	for _, p := range append(ports, take(LastPort-FirstPort+1-1000)...) {
		if seen[p] {
			t.Fatalf("port %d was given out twice", p)
		}
		seen[p] = true
	}
}
