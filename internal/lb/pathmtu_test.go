package lb

import (
	"math/rand/v2"
	"testing"

	"weir/internal/flow"
)

// TestPathMTU: what is less counts, for ten minutes, and no longer for a new word of
// the same path.
func TestPathMTU(t *testing.T) {
	b := newBed(t)
	to := flow.AddrOf(rs)
	want := func(name string, room, want int) {
		t.Helper()
		if got := b.pathTo(to, room); got != want {
			t.Errorf("%s: room for %d, want %d", name, got, want)
		}
	}
	want("nothing is known", 1500, 1500)
	want("nothing is known, and the link takes all", 0, 0)
	b.learnPath(to, 1400)
	want("learnt", 1500, 1400)
	want("learnt, and the link takes all", 0, 1400)
	want("the link takes less", 1300, 1300)
	b.Second += pathAge / 2
	b.learnPath(to, 1450)
	want("more is no news", 1500, 1400)
	b.learnPath(to, 1350)
	want("less is", 1500, 1350)
	b.Second += pathAge - 1
	want("almost ten minutes later", 1500, 1350)
	b.Second++
	want("ten minutes later", 1500, 1500)
	b.learnPath(to, 1450)
	want("learnt anew", 1500, 1450)
	if got := b.pathTo(flow.AddrOf(client), 1500); got != 1500 {
		t.Errorf("another address has room for %d", got)
	}
}

// TestPathMTUsAreBounded: with more addresses than there is room for, each has what
// was learnt for it, or nothing.
func TestPathMTUsAreBounded(t *testing.T) {
	b := newBed(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	var all []flow.Addr
	for i := range 4 * pathCells {
		a := flow.Addr{Hi: rnd.Uint64(), Lo: rnd.Uint64()}
		all = append(all, a)
		b.learnPath(a, uint16(1000+i%400))
	}
	known := 0
	for i, a := range all {
		switch got := b.pathTo(a, 1500); got {
		case 1000 + i%400:
			known++
		case 1500:
		default:
			t.Errorf("address %d has room for %d", i, got)
		}
	}
	if known < pathCells/2 {
		t.Errorf("%d are known of %d", known, pathCells)
	}
}

func TestPathMTUsAllocateNothing(t *testing.T) {
	b := newBed(t)
	to := flow.AddrOf(rs)
	if n := testing.AllocsPerRun(100, func() {
		b.learnPath(to, 1400)
		b.pathTo(to, 1500)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
