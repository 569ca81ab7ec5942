package main

import "math"

// Where a peer had no calm time its figures are of disturbed time, and how disturbed that was is
// chance: in one run more than in the next, for one peer more than for the other. Its own rounds
// say what a neighbour costs it, for no two are disturbed alike. So a ratio of such rounds is made
// of what both would be at rest. The table's figures are what was measured.

const (
	// level draws the line towards level: so far the probes must lie apart, in the squares of
	// their multiples of the least summed up, before the rounds are believed half of it.
	level = 0.01
	// steepest is the most that is made of a doubled time of the probes, in logarithms of the
	// figure: a neighbour costs nobody more than that.
	steepest = 1.2
)

// rounds are figures of one peer that count, and what the probes found meanwhile, on each
// processor, if they are to be brought to rest; nil otherwise.
type rounds struct {
	of   []float64
	slow [][]float64
}

// middle is the mean of the middle half of the figures.
func (r *rounds) middle() float64 {
	if rest, ok := atRest(r.of, r.slow); ok {
		return middleMean(rest)
	}
	return middleMean(r.of)
}

// drawn are as many of them, drawn by chance, with repetition.
func (r *rounds) drawn(chance func(n int) int) (d rounds) {
	for range r.of {
		i := chance(len(r.of))
		d.of = append(d.of, r.of[i])
		if r.slow != nil {
			d.slow = append(d.slow, r.slow[i])
		}
	}
	return d
}

// atRest brings figures to what they would be if probes found the least: along the line through
// their logarithms over what the probes found on each processor, by the least squares. There is
// none where one is nothing or less, or nobody knows what the probes found.
func atRest(v []float64, slow [][]float64) (rest []float64, ok bool) {
	if len(v) == 0 || len(slow) != len(v) || len(slow[0]) == 0 || len(slow[0]) > 2 {
		return nil, false
	}
	n := float64(len(v))
	var y float64
	var x [2]float64
	for i := range v {
		if v[i] <= 0 || len(slow[i]) != len(slow[0]) {
			return nil, false
		}
		y += math.Log(v[i]) / n
		for k, s := range slow[i] {
			x[k] += s / n
		}
	}
	var xx, xy [2]float64
	var cross float64
	for i := range v {
		var d [2]float64
		for k, s := range slow[i] {
			d[k] = s - x[k]
			xx[k] += d[k] * d[k]
			xy[k] += d[k] * (math.Log(v[i]) - y)
		}
		cross += d[0] * d[1]
	}
	xx[0] += level
	xx[1] += level
	det := xx[0]*xx[1] - cross*cross
	steep := [2]float64{(xy[0]*xx[1] - xy[1]*cross) / det, (xy[1]*xx[0] - xy[0]*cross) / det}
	for i := range v {
		var far float64
		for k, s := range slow[i] {
			far += max(-steepest, min(steep[k], steepest)) * (s - 1)
		}
		rest = append(rest, v[i]*math.Exp(-far))
	}
	return rest, true
}
