package main

import (
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
}

// draws is how often rounds are drawn to see how far a ratio is to be trusted.
const draws = 200

// ratio compares two peers' figures of a row; it reports whether both have some.
func (c *catch) ratio(f *figure, name, other string) (r ratio, ok bool) {
	made := c.ratioOf(f, name, other)
	if made == nil {
		return r, false
	}
	n := len(c.Figures[f.key][name])
	every := make([]int, n)
	for i := range every {
		every[i] = i
	}
	if r.times = made(every); math.IsNaN(r.times) || math.IsInf(r.times, 0) || r.times <= 0 {
		return r, false
	}
	chance := rand.New(rand.NewPCG(1, 2)) // the same each time: it is no figure of the machine's
	drawn := make([]int, n)
	var sum, squares float64
	for range draws {
		for i := range drawn {
			drawn[i] = chance.IntN(n)
		}
		t := made(drawn)
		sum, squares = sum+t, squares+t*t
	}
	mean := sum / draws
	r.within = 2 * math.Sqrt(max(squares/draws-mean*mean, 0)) / r.times
	return r, true
}

// ratioOf returns what makes the ratio of some of the rounds: each round's by itself, for
// what disturbs one slice disturbs its neighbours too, and the median of those.
//
// A cost is a difference, and may be small in a round, or less than nothing. So each is
// divided by what it is measured against in its round, by which the machine's fast and slow
// minutes go away; of that each peer's middle half of the rounds is averaged, and those
// averages are compared.
func (c *catch) ratioOf(f *figure, name, other string) func(rounds []int) float64 {
	a, b := c.Figures[f.key][name], c.Figures[f.key][other]
	if len(a) == 0 || len(a) != len(b) {
		return nil
	}
	if f.cost == "" {
		return func(rounds []int) float64 {
			times := make([]float64, len(rounds))
			for i, at := range rounds {
				times[i] = a[at] / b[at]
			}
			return quarters(times)[1]
		}
	}
	part := func(who string) []float64 {
		whose := who
		if f.levelOf != "" {
			whose = f.levelOf
		}
		cost, level := c.Figures[f.cost][who], c.Figures[f.level][whose]
		if len(cost) != len(a) || len(level) != len(a) {
			return nil
		}
		parts := make([]float64, len(a))
		for i := range parts {
			parts[i] = cost[i] / level[i]
		}
		return parts
	}
	mine, others := part(name), part(other)
	if mine == nil || others == nil {
		return nil
	}
	return func(rounds []int) float64 {
		times := middleMean(mine, rounds) / middleMean(others, rounds)
		if !f.less { // the row is the cost's reciprocal
			return 1 / times
		}
		return times
	}
}

// middleMean is the mean of the middle half of some of the figures.
func middleMean(of []float64, at []int) (sum float64) {
	v := make([]float64, len(at))
	for i, k := range at {
		v[i] = of[k]
	}
	slices.Sort(v)
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
			for _, other := range f.beside {
				now, ok := c.ratio(&f, name, other)
				then, was := before.ratio(&f, name, other)
				if !ok || !was || name == other {
					continue
				}
				all++
				if now.times > then.times*(1+agreement) || now.times < then.times/(1+agreement) {
					bad++
					fmt.Fprintf(&b, "- %s: %s is %.2f times %s (within %.0f %%), and was %.2f (within %.0f %%)\n", f.label, name, now.times, other, 100*now.within, then.times, 100*then.within)
				}
			}
		}
	}
	return fmt.Sprintf("\nOf %d ratios %d differ by more than %.0f %% from the other run's.\n\n%s", all, bad, 100*agreement, &b)
}
