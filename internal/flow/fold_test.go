package flow

import (
	"errors"
	"math/rand/v2"
	"testing"

	"weir/internal/clock"
)

// twins are two tuples whose addresses differ and fold alike, which whoever knows the
// seed can make: a factor that is 0 hides the other one.
func twins(t *testing.T, tab *Table, n uint32) (a, b Flow) {
	a, _ = broad(n)
	k := tab.Seed() * hashC1
	k ^= k >> 32
	a.Src.Hi = uint64(-uint32(k)) | 0x11111111<<32
	b = a
	b.Src.Hi ^= 0x33333333 << 32
	if a.fold(tab) != b.fold(tab) || a.Src == b.Src {
		t.Fatalf("%#x and %#x: the test does not undo FoldWords any more", a.fold(tab), b.fold(tab))
	}
	return a, b
}

func (f *Flow) fold(tab *Table) uint64 {
	return FoldWords(tab.Seed(), f.Src.Hi, f.Src.Lo, f.Dst.Hi, f.Dst.Lo)
}

// Two pairs of addresses that fold to one number are never taken for each other: the
// second one finds nothing and is refused until the first one has gone.
func TestPairsThatFoldAlike(t *testing.T) {
	both(t, func(t *testing.T, backing Backing) {
		tab := newTable(t, Config{Conns: 1, Workers: 2, Backing: backing, Seed: 0xc0ffee})
		now := clock.Tick(1 << 20)
		startAt(tab, now)
		a, b := twins(t, tab, 1)
		_, outA := broad(1)
		_, outB := broad(2)
		i, err := tab.Worker(0).Insert(&a, &outA, &NewConn{Timeout: 100}, now)
		if err != nil {
			t.Fatal(err)
		}
		see := func(f *Flow, there bool) {
			t.Helper()
			_, _, ok, torn := find(tab, f)
			if ok != there || torn {
				t.Errorf("%v: found %t, want %t; another's %t", f.Src.IP(), ok, there, torn)
			}
		}
		see(&a, true)
		see(&b, false)
		if _, err := tab.Worker(1).Insert(&b, &outB, &NewConn{Timeout: 100}, now); !errors.Is(err, ErrExists) {
			t.Errorf("the second one is told %v, want %v", err, ErrExists)
		}
		if _, err := tab.Worker(1).Insert(&outB, &b, &NewConn{Timeout: 100}, now); !errors.Is(err, ErrExists) {
			t.Errorf("the second one, outbound, is told %v, want %v", err, ErrExists)
		}
		see(&a, true)
		see(&b, false)
		see(&outB, false) // withdrawn with it
		// With other ports they do not meet.
		other := b
		other.Key1++
		_, outC := broad(3)
		if _, err := tab.Worker(1).Insert(&other, &outC, &NewConn{Timeout: 100}, now); err != nil {
			t.Errorf("with another port: %v", err)
		}
		see(&other, true)
		tab.Claim(i)
		tab.Worker(0).Remove(i, now)
		if _, err := tab.Worker(1).Insert(&b, &outB, &NewConn{Timeout: 100}, now); err != nil {
			t.Errorf("after the first one ended: %v", err)
		}
		see(&a, false)
		see(&b, true)
	})
}

// No difference between two pairs of addresses makes them fold alike whatever the
// seed is: else a client could keep another one's port taken. Those tried cancel out
// in one step of a hash that adds or XORs a word and multiplies.
func TestFoldHidesNoDifference(t *testing.T) {
	const top, folded = 1 << 63, 1<<63 | 1<<31
	r := rand.New(rand.NewPCG(7, 7))
	for _, d := range []struct {
		name string
		xor  [4]uint64
	}{
		{"source, XOR and shift", [4]uint64{top, folded, 0, 0}},
		{"middle, XOR and shift", [4]uint64{0, top, folded, 0}},
		{"destination, XOR and shift", [4]uint64{0, 0, top, folded}},
		{"source, highest bits", [4]uint64{top, top, 0, 0}},
		{"middle, highest bits", [4]uint64{0, top, top, 0}},
		{"both, highest bits", [4]uint64{top, top, top, top}},
		{"halves", [4]uint64{1<<63 | 1<<31, 0, 0, 0}},
		{"halves of both", [4]uint64{1<<63 | 1<<31, 1<<63 | 1<<31, 0, 0}},
		{"a single bit", [4]uint64{0, 1 << 56, 0, 0}},
	} {
		alike := 0
		for range 20000 {
			seed, a, b, c, e := r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64()
			if FoldWords(seed, a, b, c, e) == FoldWords(seed, a^d.xor[0], b^d.xor[1], c^d.xor[2], e^d.xor[3]) {
				alike++
			}
		}
		if alike > 0 {
			t.Errorf("%s: %d of 20000 pairs fold alike", d.name, alike)
		}
	}
}

// TestFolder: the Folder that was made once is the fold that C knows.
func TestFolder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(8, 9))
	for range 10_000 {
		var a [32]byte
		for i := range a {
			a[i] = byte(rnd.Uint32())
		}
		seed := rnd.Uint64()
		f := NewFolder(seed)
		if got, want := f.Src((*[16]byte)(a[:16]))+f.Dst((*[16]byte)(a[16:])), Fold(seed, &a); got != want {
			t.Fatalf("seed %#x, addresses %x: %#x, want %#x", seed, a, got, want)
		}
	}
}
