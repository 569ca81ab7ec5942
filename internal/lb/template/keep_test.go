package template

import (
	"path/filepath"
	"testing"

	"weir/internal/clock"
	"weir/internal/pinned"
	"weir/internal/testkit/netns"
)

// Templates outlive their process; holds are those of connections that go on, and what was
// being written is not there.
func TestKept(t *testing.T) {
	w, err := netns.New("weir-template")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	dir, err := w.Pins("pins")
	if err != nil {
		t.Fatal(err)
	}
	keep, err := pinned.Open(filepath.Join(dir, "one"))
	if err != nil {
		t.Fatal(err)
	}
	defer keep.Close()
	open := func(n int) *Store {
		t.Helper()
		s, err := Open(keep, n, 5)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	key := func(i uint64) *Key { return &Key{Client: [2]uint64{i, 0}, Virtual: [2]uint64{9, 9}, Service: 80} }
	s := open(64)
	if s.used.Load() != 0 {
		t.Error("a new store says that it was used")
	}
	var refs []uint32
	for i := range uint64(5) {
		a := s.Add(key(i), uint32(i), 100, 1000)
		refs = append(refs, a.Ref)
	}
	s.Release(refs[0], 1000)
	s.Release(refs[1], 950)
	s.cells[refs[4]].meta.Store(s.cells[refs[4]].meta.Load()&^kind | tried)
	s.Close()

	s = open(64)
	s.TakeOver(1200, 150) // nobody was there from 1050 on
	if s.Len() != 4 {
		t.Errorf("%d templates", s.Len())
	}
	if !s.Hold(refs[2]) || s.Hold(refs[4]) || s.Hold(None) || s.Hold(1<<20) {
		t.Error("holds of what is not there, or none of what is")
	}
	seen := 0
	s.Each(func(dest uint32) { seen += int(dest) + 1 })
	if seen != 1+2+3+4 {
		t.Errorf("real servers sum up to %d", seen)
	}
	s.Drop(func(dest uint32) bool { return dest >= 2 }) // 3; 2 is held
	gone := 0
	sweep := func(now uint32) int {
		s.Sweep(clock.Tick(now), func(uint32) bool { return false }, func(uint32) { gone++ })
		return gone
	}
	// Of 950, they had 100 ticks left from 950 on, of which nobody saw 150.
	if n := sweep(1199); n != 0 {
		t.Errorf("%d went while their time had not passed", n)
	}
	if n := sweep(1205); n != 1 {
		t.Errorf("%d went, want the one of 950", n)
	}
	if n := sweep(1251); n != 2 || s.Len() != 1 {
		t.Errorf("%d went and %d are left, want the held one", n, s.Len())
	}
	s.Release(refs[2], 1251)
	if n := sweep(1400); n != 3 || s.Len() != 0 {
		t.Errorf("%d went, %d are left", n, s.Len())
	}
	s.Close()
}
