package main

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

// ratio is how many times another's figure a peer's is.
type ratio struct {
	times float64
	// within is how far the ratio may lie from what endless rounds would give: twice its
	// standard deviation, as a part of it, from rounds drawn anew by chance.
	within float64
	// disturbed: one of the two had too few calm rounds, see alike.
	disturbed bool
}

// draws is how often rounds are drawn to see how far a ratio is to be trusted.
const draws = 200

// ratio compares two peers' figures of a row; it reports whether both have some. Of each the
// middle half of the rounds that count is averaged: between those there is no fast or slow minute
// that would have to be the same one for both. A row that is the reciprocal of a cost is
// compared by that, for in a round it may be nothing, or less.
func (c *catch) ratio(f *figure, name, other string) (r ratio, ok bool) {
	key := cmp.Or(f.cost, f.key)
	a, b, disturbed := c.alike(key, name, other)
	if len(a) == 0 || len(b) == 0 || other == "" {
		return r, false
	}
	if name == other {
		return ratio{times: 1}, true
	}
	made := func(a, b []float64) float64 {
		if f.cost != "" {
			a, b = b, a
		}
		return middleMean(a) / middleMean(b)
	}
	if r.times = made(a, b); math.IsNaN(r.times) || math.IsInf(r.times, 0) || r.times <= 0 {
		return r, false
	}
	r.disturbed = disturbed
	chance := rand.New(rand.NewPCG(1, 2)) // the same each time: it is no figure of the machine's
	draw := func(of []float64) []float64 {
		v := make([]float64, len(of))
		for i := range v {
			v[i] = of[chance.IntN(len(of))]
		}
		return v
	}
	var sum, squares float64
	for range draws {
		t := made(draw(a), draw(b))
		sum, squares = sum+t, squares+t*t
	}
	mean := sum / draws
	r.within = 2 * math.Sqrt(max(squares/draws-mean*mean, 0)) / r.times
	return r, true
}

// alike are two peers' figures in the same circumstances: of calm rounds, or, where one of them
// had too few, of disturbed ones for both.
func (c *catch) alike(key, name, other string) (a, b []float64, disturbed bool) {
	if c.oftenCalm(key, name) && c.oftenCalm(key, other) || c.Calm[key] == nil {
		return c.counted(key, name), c.counted(key, other), false
	}
	a, b = c.disturbed(key, name), c.disturbed(key, other)
	if len(a) == 0 || len(b) == 0 {
		a, b = c.counted(key, name), c.counted(key, other)
	}
	return a, b, true
}

// oftenCalm reports whether a figure is of calm rounds.
func (c *catch) oftenCalm(key, name string) bool { return len(c.calmOnes(key, name)) >= calmLeastOnes }

// disturbed are the figures of the rounds that were not calm, as they are.
func (c *catch) disturbed(key, name string) (v []float64) {
	for i, part := range c.Calm[key][name] {
		if part*calmParts < 1 {
			v = append(v, c.Figures[key][name][i])
		}
	}
	return v
}

// middleMean is the mean of the middle half of figures.
func middleMean(of []float64) (sum float64) {
	v := slices.Sorted(slices.Values(of))
	v = v[len(v)/4 : len(v)-len(v)/4]
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// agreement is how far two runs' ratios may lie from each other.
const agreement = 0.10

// compare says which ratios differ from another run's by more than that.
func (c *catch) compare(before *catch) string {
	var b strings.Builder
	all, bad := 0, 0
	for _, f := range c.rows() {
		for _, name := range c.Peers {
			now, ok := c.ratio(&f, name, f.beside)
			then, was := before.ratio(&f, name, f.beside)
			if !ok || !was || name == f.beside {
				continue
			}
			all++
			if now.times > then.times*(1+agreement) || now.times < then.times/(1+agreement) {
				bad++
				fmt.Fprintf(&b, "- %s: %s is %.2f times %s (within %.0f %%), and was %.2f (within %.0f %%)\n", f.label, name, now.times, f.beside, 100*now.within, then.times, 100*then.within)
			}
		}
	}
	return fmt.Sprintf("\nOf %d ratios %d differ by more than %.0f %% from the other run's.\n\n%s", all, bad, 100*agreement, &b)
}
