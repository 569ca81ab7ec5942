package main

import "math"

// believed is how far, in logarithms of the figure, one may go for a doubled time of the probes
// before the rounds have said so, in multiples of how far they scatter otherwise.
const believed = 10

// steepest is the most that is made of a doubled time of the probes, in the same logarithms.
const steepest = 1.2

// atRest brings figures to what they would be if probes found the least: along the line through
// their logarithms over what the probes found on each processor. How steep it is the rounds say
// themselves: by the least squares, drawn a little to level, so that where all rounds are alike
// nothing is made of it.
func atRest(v []float64, slow [][]float64) []float64 {
	if len(slow) != len(v) || len(v) == 0 || len(slow[0]) == 0 || len(slow[0]) > 2 {
		return v
	}
	n := float64(len(v))
	var mean, y float64
	var x [2]float64
	for i := range v {
		if v[i] <= 0 || len(slow[i]) != len(slow[0]) {
			return v
		}
		y += math.Log(v[i]) / n
		for k, s := range slow[i] {
			x[k] += s / n
		}
	}
	mean = y
	var xx, xy [2]float64
	var cross float64
	for i := range v {
		var d [2]float64
		for k, s := range slow[i] {
			d[k] = s - x[k]
			xx[k] += d[k] * d[k]
			xy[k] += d[k] * (math.Log(v[i]) - mean)
		}
		cross += d[0] * d[1]
	}
	xx[0] += 1.0 / believed / believed
	xx[1] += 1.0 / believed / believed
	det := xx[0]*xx[1] - cross*cross
	steep := [2]float64{(xy[0]*xx[1] - xy[1]*cross) / det, (xy[1]*xx[0] - xy[0]*cross) / det}
	rest := make([]float64, len(v))
	for i := range v {
		var far float64
		for k, s := range slow[i] {
			far += max(-steepest, min(steep[k], steepest)) * (s - 1)
		}
		rest[i] = v[i] * math.Exp(-far)
	}
	return rest
}
