package sched

import (
	"math/rand/v2"
	"testing"
)

// TestLeastAgainstArithmetic holds each scheduler that looks at loads or weights
// to its definition: the first of those whose figure is least.
func TestLeastAgainstArithmetic(t *testing.T) {
	for _, row := range []struct {
		kind   Kind
		figure func(weight, active, inactive float64) float64
	}{
		{LC, func(_, a, i float64) float64 { return 256*a + i }},
		{WLC, func(w, a, i float64) float64 { return (256*a + i) / w }},
		{SED, func(w, a, _ float64) float64 { return (a + 1) / w }},
		{NQ, func(w, a, _ float64) float64 {
			if a == 0 {
				return 0
			}
			return (a + 1) / w
		}},
		{FO, func(w, _, _ float64) float64 { return -w }},
	} {
		t.Run(row.kind.String(), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(7, uint64(row.kind)))
			for range 3000 {
				cs, g := servers(make([]uint32, 1+rnd.IntN(8))...)
				udp := rnd.IntN(2) == 0
				best, least := None, 0.0
				for i := range cs {
					c := &cs[i]
					c.Weight, c.Limit, c.Datagrams = uint32(rnd.IntN(5)), uint32(rnd.IntN(3)*20), udp
					active, inactive := rnd.IntN(8)*rnd.IntN(8), rnd.IntN(8)*rnd.IntN(8)
					if udp {
						active = 0
					}
					c.Load.Active.Store(int32(active))
					c.Load.Inactive.Store(int32(inactive))
					if c.Weight == 0 || c.Limit != 0 && active+inactive >= int(c.Limit) {
						continue
					}
					if udp && (row.kind == SED || row.kind == NQ) {
						active = inactive
					}
					if f := row.figure(float64(c.Weight), float64(active), float64(inactive)); best == None || f < least-1e-9 {
						best, least = i, f
					}
				}
				if got := row.kind.Pick(nil, cs, g); got != best {
					t.Fatalf("picked %d, want %d of %+v", got, best, cs)
				}
			}
		})
	}
}

// TestLeastSequences lets connections stay, so that each choice sees the former ones.
func TestLeastSequences(t *testing.T) {
	for _, row := range []struct {
		name    string
		kind    Kind
		weights []uint32
		udp     bool
		want    []int
	}{
		{"lc goes round, whatever the weight", LC, []uint32{1, 9, 1}, false, []int{0, 1, 2, 0, 1, 2}},
		{"sed prefers the strong until they have enough", SED, []uint32{1, 3}, false, []int{1, 1, 0, 1, 1, 1, 0}},
		{"nq lets nobody be idle", NQ, []uint32{1, 3}, false, []int{0, 1, 1, 1, 1, 1, 0}},
		{"sed with UDP, whose connections are inactive", SED, []uint32{1, 3}, true, []int{1, 1, 0, 1, 1, 1, 0}},
		{"nq with UDP", NQ, []uint32{1, 3}, true, []int{0, 1, 1, 1, 1, 1, 0}},
		{"fo stays with the heaviest", FO, []uint32{1, 3, 3, 2}, false, []int{1, 1, 1}},
		{"fo, all of weight 0", FO, []uint32{0, 0}, false, []int{None}},
		{"nq leaves out weight 0", NQ, []uint32{0, 1}, false, []int{1, 1}},
		{"sed, all of weight 0", SED, []uint32{0}, false, []int{None}},
		{"lc, all of weight 0", LC, []uint32{0}, false, []int{None}},
	} {
		t.Run(row.name, func(t *testing.T) {
			cs, g := servers(row.weights...)
			for n, want := range row.want {
				i := row.kind.Pick(nil, cs, g)
				if i != want {
					t.Fatalf("connection %d went to %d, want %d", n+1, i, want)
				}
				if i == None {
					continue
				}
				if cs[i].Datagrams = row.udp; row.udp {
					cs[i].Load.Inactive.Add(1)
					for j := range cs {
						cs[j].Datagrams = true
					}
				} else {
					cs[i].Load.Active.Add(1)
				}
			}
		})
	}
}

func TestFailoverAndBack(t *testing.T) {
	cs, g := servers(3, 2, 1)
	cs[0].Limit, cs[1].Limit = 1, 1
	for _, step := range []struct{ first, second, want int }{{0, 0, 0}, {1, 0, 1}, {1, 1, 2}, {0, 1, 0}} {
		cs[0].Load.Active.Store(int32(step.first))
		cs[1].Load.Active.Store(int32(step.second))
		if got := FO.Pick(nil, cs, g); got != step.want {
			t.Errorf("with %d and %d connections picked %d, want %d", step.first, step.second, got, step.want)
		}
	}
}
