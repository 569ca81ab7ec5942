package main

import (
	"math"
	"strings"
	"testing"
	"time"
)

// Of two peers one was hardly ever calm, and others disturbed it more than the other: their ratio
// is that of calm time all the same, for their rounds say what a neighbour costs each. It is
// marked, as is the figure, that is what was measured.
func TestRatioAtRest(t *testing.T) {
	c := newCatch(peersOptions{peers: []*peer{{name: "calm"}, {name: nftName}}})
	key := "iperf"
	for round := range 12 {
		s := 1 + 0.1*float64(round%4)
		calm := calmTime{Calm: time.Second, Slow: []float64{1, s}}
		if round%4 > 0 {
			calm.Calm = 0
		}
		c.addCalm(key, "calm", 6*math.Exp(-0.8*(s-1)), calm, time.Second)
		s = 1.3 + 0.15*float64(round%3)
		c.addCalm(key, nftName, 2*math.Exp(-1.1*(s-1)), calmTime{Slow: []float64{s}}, time.Second)
	}
	f := figure{key: key, digits: 2, scale: 1, beside: nftName}
	r, ok := c.ratio(&f, "calm", nftName)
	if !ok || math.Abs(r.times-3) > 0.15 || !r.disturbed || !strings.HasPrefix(r.String(), "3.0") && !strings.HasPrefix(r.String(), "2.9") || !strings.Contains(r.String(), mark) {
		t.Errorf("%s, want 3%s", &r, mark)
	}
	if got := c.marked(&f, "calm") + "," + c.marked(&f, nftName); got != ","+mark {
		t.Errorf("marks %q", got)
	}
	if got := c.marked(&figure{key: "web p99", with: key}, nftName); got != mark {
		t.Errorf("a tail of disturbed slices is marked %q", got)
	}
	page := c.page()
	for _, want := range []string{"With ~, 1 of 2:", "| iperf3, one TCP stream: Gbit/s | 6.00 (6.00-6.00) | 1.22~ (", "Gbit/s: of nft | " + r.String() + " | 1 |"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not in\n%s", want, page)
		}
	}
	if !strings.Contains(c.plot(), ">1.22~</text>") {
		t.Error("the picture has no mark")
	}
}

// Where all rounds are alike nothing is made of what the probes found; where nothing can be made of
// it, that is said; and nobody is made more than so much faster.
func TestAtRest(t *testing.T) {
	v := []float64{100, 101, 100, 99}
	alike := [][]float64{{1.5}, {1.5}, {1.5}, {1.5}}
	rest, ok := atRest(v, alike)
	for i := range rest {
		if math.Abs(rest[i]-v[i]) > 1e-9 {
			t.Errorf("%v became %v though all rounds were alike", v, rest)
		}
	}
	if !ok || len(rest) != len(v) {
		t.Errorf("%v %v", rest, ok)
	}
	if rest, ok := atRest([]float64{1, 1e-3}, [][]float64{{1}, {2}}); !ok || rest[1] > 1e-3*math.Exp(steepest)+1e-9 {
		t.Errorf("a neighbour costs a thousandfold: %v %v", rest, ok)
	}
	for _, row := range []struct {
		v    []float64
		slow [][]float64
	}{
		{nil, nil},
		{[]float64{1, 2}, nil},
		{[]float64{1, 2}, [][]float64{{1}}},
		{[]float64{1, 0}, [][]float64{{1}, {1.1}}},
		{[]float64{1, 2}, [][]float64{{1}, {1, 1}}},
		{[]float64{1, 2}, [][]float64{nil, nil}},
		{[]float64{1, 2}, [][]float64{{1, 1, 1}, {1, 1, 1}}},
	} {
		if rest, ok := atRest(row.v, row.slow); ok {
			t.Errorf("%v at %v: %v", row.v, row.slow, rest)
		}
	}
}
