package laddr

import (
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"testing"

	"weir/internal/pinned"
	"weir/internal/testkit/netns"
)

// A pool that was left at any moment is whole again: every port is free once, or held; what
// lay in it is in its order; what was on its way counts as used a moment ago.
func TestRestoreRing(t *testing.T) {
	const first, last = 1000, 1040
	for round := range 200 {
		r := &ring{}
		r.begin(first, last)
		taken := map[uint16]bool{}
		for i := range uint16(rand.IntN(200)) {
			if port, _, _, ok := r.take(); ok {
				taken[port] = true
			}
			for port := range taken {
				if rand.IntN(3) == 0 {
					delete(taken, port)
					r.put(port, 100+i, uint32(i))
				}
			}
		}
		held := &ports{}
		for port := range taken {
			if rand.IntN(2) == 0 {
				held.add(port) // else whoever took it was killed
			}
		}
		// Killed within put, or within take.
		torn := uint16(0)
		switch round % 4 {
		case 1:
			if r.tail.Load() != r.head.Load() {
				pos := r.tail.Load() - 1
				torn = uint16(r.cells[pos&(ringSize-1)].word.Load() >> 16)
				r.cells[pos&(ringSize-1)].word.Store(uint64(turn(pos)) << 32)
			}
		case 2:
			if r.tail.Load() != r.head.Load() {
				torn = uint16(r.cells[r.head.Load()&(ringSize-1)].word.Load() >> 16)
				r.head.Add(1)
			}
		case 3: // within an earlier restore
			for i := range uint32(20) {
				r.cells[i].word.Store(uint64(rand.Uint32())<<32 | uint64(first+rand.IntN(60))<<16)
			}
			torn = last // or any other
		}
		var order []free
		for p := r.unused.Load(); p <= r.last; p++ {
			order = append(order, free{port: uint16(p)})
		}
		for pos := r.head.Load(); pos != r.tail.Load(); pos++ {
			if w := r.cells[pos&(ringSize-1)].word.Load(); uint32(w>>32) == turn(pos)+1 {
				order = append(order, free{uint16(w >> 16), uint16(w), r.cells[pos&(ringSize-1)].seen})
			}
		}
		r.restore(first, last, held, true, 777)
		seen := map[uint16]bool{}
		for i := 0; ; i++ {
			port, second, value, ok := r.take()
			if !ok {
				break
			}
			if seen[port] || port < first || port > last || !(&ports{}).add(port) || held[port/64]>>(port%64)&1 != 0 {
				t.Fatalf("round %d: port %d is not free, or twice", round, port)
			}
			seen[port] = true
			if round%4 != 3 && i < len(order) && (free{port, second, value}) != order[i] {
				t.Fatalf("round %d: %d-th is %d, %d, %d, want %+v", round, i, port, second, value, order[i])
			}
			if (round%4 != 3 && i >= len(order) || port == torn && torn != last) && (second != 777 || value != 0) {
				t.Fatalf("round %d: port %d was on its way, and is of second %d", round, port, second)
			}
		}
		if len(seen)+held.len() != last-first+1 {
			t.Fatalf("round %d: %d free and %d held are not all", round, len(seen), held.len())
		}
		for port := range seen {
			r.put(port, 1, 1)
		}
		if _, _, _, ok := r.take(); !ok && len(seen) > 0 {
			t.Fatalf("round %d: what is put back is lost", round)
		}
	}
}

// A set goes on with the ports of one before, and with the ranges of its own.
func TestKeptSet(t *testing.T) {
	w, err := netns.New("weir-laddr")
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
	lip6 := netip.MustParseAddr("2001:db8::200")
	open := func(first, last, former uint16) *Set {
		t.Helper()
		s, err := NewSet(first, last)
		if err != nil {
			t.Fatal(err)
		}
		s.KeepIn(keep, former)
		return s
	}
	s := open(1000, 1009, 0)
	a, b := add(t, s, lip), add(t, s, lip6)
	for _, x := range []*Address{a, b} {
		if err := x.Prepare(3); err != nil {
			t.Fatal(err)
		}
	}
	var out []uint16
	for range 6 {
		l, _ := a.Take(3, 50)
		if l.Recent {
			t.Error("a port that nobody used counts as used")
		}
		out = append(out, l.Port)
	}
	a.Give(3, out[0], 51, 9)
	s.Close()

	s = open(1000, 1009, 60)
	for i, ip := range map[uint32]netip.Addr{0: lip, 1: lip6} {
		if err := s.Restore(i, ip); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Restore(1, netip.MustParseAddr("192.168.1.9")); err == nil {
		t.Error("a number for two")
	}
	a = s.At(0)
	for _, port := range out[1:5] { // whoever took the sixth was killed
		a.Hold(3, port)
	}
	if err := s.Settle(); err != nil {
		t.Fatal(err)
	}
	if s.Find(lip) != nil {
		t.Error("it is configured before it is added")
	}
	if add(t, s, lip) != a || add(t, s, lip6).Index != 1 {
		t.Error("another address")
	}
	if used, _, _ := a.Counts(); used != 4 {
		t.Errorf("%d ports in use", used)
	}
	free := map[uint16]Lent{}
	for {
		l, ok := a.Take(3, 61)
		if !ok {
			break
		}
		free[l.Port] = l
	}
	if l := free[out[0]]; len(free) != 6 || !l.Recent || l.Seen != 9 {
		t.Errorf("free: %v", free)
	}
	if l := free[out[5]]; !l.Recent || l.Seen != 0 {
		t.Errorf("the port of one who was killed: %+v", l)
	}
	if l := free[1009]; l.Recent {
		t.Errorf("a port that nobody used: %+v", l)
	}
	// A pool that was not there before may have been, of another address.
	if err := a.Prepare(5); err != nil {
		t.Fatal(err)
	}
	if l, _ := a.Take(5, 61); !l.Recent {
		t.Error("a port of a pool of which nothing is known counts as unused")
	}
	// What is held outside of the range that is wanted now is given back, and no more given.
	s.Close()
	s = open(2000, 2001, 70)
	if err := s.Restore(0, lip); err != nil {
		t.Fatal(err)
	}
	s.At(0).Hold(3, 1003)
	if err := s.Settle(); err != nil {
		t.Fatal(err)
	}
	a = add(t, s, lip)
	a.Give(3, 1003, 71, 0)
	for range 2 {
		if l, ok := a.Take(3, 72); !ok || l.Port < 2000 {
			t.Errorf("port %+v, %v", l, ok)
		}
	}
	if l, ok := a.Take(3, 72); ok {
		t.Errorf("and %+v", l)
	}
	// Nothing is left of an address that is gone.
	names, err := keep.Names("ports-1-")
	if err != nil || len(names) != 0 {
		t.Errorf("left: %v, %v", names, err)
	}
	for range 2 {
		a.Give(3, 2000, 73, 0)
	}
	s.Remove(lip)
	s.Sweep()
	if names, err := keep.Names("ports-"); err != nil || len(names) != 0 {
		t.Errorf("left: %v, %v", names, err)
	}
	s.Sweep()
	s.Close()
}
