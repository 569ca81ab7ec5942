package sched

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// servers makes candidates of these weights.
func servers(weights ...uint32) ([]Candidate, uint32) {
	cs := make([]Candidate, len(weights))
	g := uint32(0)
	for i, w := range weights {
		cs[i] = Candidate{Weight: w, Load: &Load{}}
		for a, b := g, w; ; a, b = b, a%b {
			if b == 0 {
				g = a
				break
			}
		}
	}
	return cs, g
}

// picks lets a scheduler choose n times.
func picks(k Kind, cs []Candidate, gcd uint32, n int) (out []int) {
	var cursor atomic.Uint64
	for range n {
		out = append(out, k.Pick(&cursor, cs, gcd))
	}
	return out
}

func TestNames(t *testing.T) {
	for _, name := range []string{"rr", "wrr", "wlc", "lc", "sed", "nq", "fo", "sh", "dh", "mh", "conhash"} {
		k, err := Parse(name)
		if err != nil || k.String() != name {
			t.Errorf("%s is %v, %v", name, k, err)
		}
	}
	if _, err := Parse("lblc"); err == nil {
		t.Error("an unknown scheduler is known")
	}
}

func TestSequences(t *testing.T) {
	for _, row := range []struct {
		name    string
		kind    Kind
		weights []uint32
		want    []int
	}{
		{"rr", RR, []uint32{1, 1, 1}, []int{0, 1, 2, 0, 1, 2, 0}},
		{"rr does not look at weights", RR, []uint32{1, 100, 3}, []int{0, 1, 2, 0, 1, 2}},
		{"rr leaves out weight 0", RR, []uint32{1, 0, 3}, []int{0, 2, 0, 2}},
		{"rr, one", RR, []uint32{9}, []int{0, 0, 0}},
		{"rr, none usable", RR, []uint32{0, 0}, []int{None, None}},
		// Weights 4, 3, 2: the sequence of ipvsadm(8), AABABCABC.
		{"wrr 4 3 2", WRR, []uint32{4, 3, 2}, []int{0, 0, 1, 0, 1, 2, 0, 1, 2, 0, 0, 1, 0, 1, 2}},
		{"wrr 2 4: greatest common divisor", WRR, []uint32{2, 4}, []int{1, 0, 1, 1, 0, 1}},
		{"wrr 1 3: the last one is heaviest", WRR, []uint32{1, 3}, []int{1, 1, 0, 1, 1, 1, 0, 1}},
		{"wrr equal", WRR, []uint32{5, 5, 5}, []int{0, 1, 2, 0, 1, 2}},
		{"wrr leaves out weight 0", WRR, []uint32{0, 2, 0, 1}, []int{1, 1, 3, 1, 1, 3}},
		{"wrr, none usable", WRR, []uint32{0}, []int{None}},
		{"wlc, nobody has connections", WLC, []uint32{1, 1}, []int{0, 0}},
		{"wlc leaves out weight 0", WLC, []uint32{0, 1}, []int{1, 1}},
		{"wlc, none usable", WLC, []uint32{0, 0}, []int{None}},
	} {
		t.Run(row.name, func(t *testing.T) {
			cs, g := servers(row.weights...)
			if got := picks(row.kind, cs, g, len(row.want)); !slices.Equal(got, row.want) {
				t.Errorf("%v, want %v", got, row.want)
			}
		})
	}
}

// TestWRRAgainstArithmetic: over a whole round each server gets its weight
// divided by the common divisor, whatever the weights.
func TestWRRAgainstArithmetic(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		weights := make([]uint32, 1+rnd.IntN(9))
		unit, sum := uint32(1+rnd.IntN(5)), uint32(0)
		for i := range weights {
			weights[i] = unit * uint32(rnd.IntN(20))
			sum += weights[i]
		}
		if sum == 0 {
			continue
		}
		cs, g := servers(weights...)
		got := make([]uint32, len(weights))
		const rounds = 3
		for _, i := range picks(WRR, cs, g, int(rounds*sum/g)) {
			got[i]++
		}
		for i, w := range weights {
			if got[i] != rounds*w/g {
				t.Fatalf("weights %v: %v connections after %d rounds", weights, got, rounds)
			}
		}
	}
}

// TestWRRAfterChange: weights change under the cursor of the former ones.
func TestWRRAfterChange(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	var cursor atomic.Uint64
	for range 2000 {
		weights := make([]uint32, 1+rnd.IntN(5))
		usable := false
		for i := range weights {
			weights[i] = uint32(rnd.IntN(4) * rnd.IntN(1000))
			usable = usable || weights[i] != 0
		}
		cs, g := servers(weights...)
		for range rnd.IntN(10) {
			i := WRR.Pick(&cursor, cs, g)
			if (i == None) == usable || i != None && weights[i] == 0 {
				t.Fatalf("weights %v: picked %d", weights, i)
			}
		}
	}
}

// TestRoundRobinIsExactForAllWorkers: however many pick at once, nobody gets one
// more than another.
func TestRoundRobinIsExactForAllWorkers(t *testing.T) {
	for _, row := range []struct {
		kind    Kind
		weights []uint32
	}{{RR, []uint32{1, 1, 1, 1, 1}}, {WRR, []uint32{5, 1, 3, 0}}} {
		t.Run(row.kind.String(), func(t *testing.T) {
			cs, g := servers(row.weights...)
			var cursor atomic.Uint64
			got := make([]atomic.Uint32, len(cs))
			const each = 9000
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for range each {
						got[row.kind.Pick(&cursor, cs, g)].Add(1)
					}
				})
			}
			wg.Wait()
			sum := uint32(0)
			for _, w := range row.weights {
				sum += w
			}
			for i, w := range row.weights {
				if n := got[i].Load(); n != 4*each*w/sum {
					t.Errorf("server %d of weight %d got %d of %d", i, w, n, 4*each)
				}
			}
		})
	}
}

// TestWLCAgainstScan holds wlc to floating-point arithmetic over all.
func TestWLCAgainstScan(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 5000 {
		cs, g := servers(make([]uint32, 1+rnd.IntN(8))...)
		best, least := None, 0.0
		for i := range cs {
			cs[i].Weight = uint32(rnd.IntN(5))
			cs[i].Load.Active.Store(int32(rnd.IntN(50)))
			cs[i].Load.Inactive.Store(int32(rnd.IntN(500)))
			if cs[i].Weight == 0 {
				continue
			}
			over := float64(256*cs[i].Load.Active.Load()+cs[i].Load.Inactive.Load()) / float64(cs[i].Weight)
			if best == None || over < least-1e-9 {
				best, least = i, over
			}
		}
		if got := WLC.Pick(nil, cs, g); got != best {
			t.Fatalf("picked %d, the least loaded is %d", got, best)
		}
	}
}

func TestWLCWithHugeNumbers(t *testing.T) {
	cs, g := servers(65535, 1)
	cs[0].Load.Active.Store(1 << 30)
	cs[1].Load.Active.Store(1 << 15)
	if got := WLC.Pick(nil, cs, g); got != 0 {
		t.Errorf("picked %d: 2^30/65535 is less than 2^15", got)
	}
	cs[0].Load.Active.Store(-3) // a decrement that came before its increment
	if got := WLC.Pick(nil, cs, g); got != 0 {
		t.Errorf("picked %d: a negative count is none", got)
	}
}

func TestLimits(t *testing.T) {
	for _, k := range []Kind{RR, WRR, WLC, LC, SED, NQ, FO} {
		t.Run(k.String(), func(t *testing.T) {
			cs, g := servers(1, 1)
			cs[0].Limit = 3
			cs[0].Load.Active.Store(1)
			cs[0].Load.Inactive.Store(2)
			cs[1].Load.Inactive.Store(1 << 20)
			if got := picks(k, cs, g, 3); !slices.Equal(got, []int{1, 1, 1}) {
				t.Errorf("the first is full: picked %v", got)
			}
			cs[1].Limit = 1
			if got := picks(k, cs, g, 1); got[0] != None {
				t.Errorf("both are full: picked %v", got)
			}
			cs[0].Load.Active.Store(0)
			if got := picks(k, cs, g, 1); got[0] != 0 {
				t.Errorf("the first has room again: picked %v", got)
			}
		})
	}
}

func TestPickAllocatesNothing(t *testing.T) {
	cs, g := servers(3, 2, 1)
	var cursor atomic.Uint64
	for _, k := range []Kind{RR, WRR, WLC, LC, SED, NQ, FO} {
		if n := testing.AllocsPerRun(100, func() { k.Pick(&cursor, cs, g) }); n != 0 {
			t.Errorf("%s: %v allocations", k, n)
		}
	}
}
