package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// catch is all that was measured.
type catch struct {
	When, Machine string
	Versions      []string
	Load          string // of the machine at the beginning
	Seconds       float64
	Reps          int
	Flows         []int
	Fill          []int
	Held          int
	Peers         []string
	// Figures are by key, then by peer, in the order of the repetitions.
	Figures map[string]map[string][]float64
	// Calm is, for each figure, how much of the time that its slice wanted was calm (see
	// peerscalm.go), 0 to about 1; below 1/calmParts all of the slice counted.
	Calm map[string]map[string][]float64
	// Slow is what the probes found in the time that counts: a list for each processor.
	Slow  map[string]map[string][][]float64
	Least float64 // what a probe finds where nothing disturbs

	texts map[string]string
	raw   string // the file that is written after each round; "": none
	allow allowance
}

func newCatch(o peersOptions) *catch {
	c := &catch{
		When: time.Now().UTC().Format("2006-01-02"), Load: loadAverage(), Seconds: o.time.Seconds(), Reps: o.reps, Flows: o.flows, Fill: o.fill, Held: o.held,
		Peers: namesOf(o.peers), Figures: map[string]map[string][]float64{}, Calm: map[string]map[string][]float64{}, Slow: map[string]map[string][][]float64{}, texts: map[string]string{},
	}
	for _, p := range o.peers {
		c.texts[p.name] = p.text
	}
	return c
}

func (c *catch) add(key string, p *peer, v float64) {
	if c.Figures[key] == nil {
		c.Figures[key] = map[string][]float64{}
	}
	c.Figures[key][p.name] = append(c.Figures[key][p.name], v)
}

// addCalm adds a figure of a slice, and how calm that was.
func (c *catch) addCalm(key, name string, v float64, calm calmTime, want time.Duration) {
	for of, x := range map[*map[string]map[string][]float64]float64{&c.Figures: v, &c.Calm: min(float64(calm.Calm)/float64(want), 1)} {
		if (*of)[key] == nil {
			(*of)[key] = map[string][]float64{}
		}
		(*of)[key][name] = append((*of)[key][name], x)
	}
	if c.Slow[key] == nil {
		c.Slow[key] = map[string][][]float64{}
	}
	c.Slow[key][name] = append(c.Slow[key][name], calm.Slow)
	if calm.Tenth > 0 { // a slice so calm that most of its probes say what few said before
		c.Least = min(c.Least, calm.Tenth)
	}
}

// lacks reports whether a figure wants more rounds: fewer than three quarters of those that there
// are to be were calm, or the calm ones don't say it well enough.
func (c *catch) lacks(rounds int, name string, keys ...string) bool {
	for _, key := range keys {
		calm := c.calmOnes(key, name)
		if 4*len(calm) < 3*rounds || unsure(calm) > doubtful {
			return true
		}
	}
	return false
}

// unsure is twice the standard deviation of the mean of figures, as a part of it.
func unsure(v []float64) float64 {
	var sum, squares float64
	for _, x := range v {
		sum, squares = sum+x, squares+x*x
	}
	n := float64(len(v))
	mean := sum / n
	return 2 * math.Sqrt(max(squares/n-mean*mean, 0)/n) / math.Abs(mean)
}

// calmOnes are the figures of calm rounds.
func (c *catch) calmOnes(key, name string) (v []float64) {
	for i, part := range c.Calm[key][name] {
		if part*calmParts >= 1 {
			v = append(v, c.Figures[key][name][i])
		}
	}
	return v
}

// calmness says how many slices were calm.
func (c *catch) calmness() string {
	all, calm, never, figures := 0, 0, 0, 0
	for key, of := range c.Calm {
		for name, parts := range of {
			enough := len(c.calmOnes(key, name))
			all, calm, figures = all+len(parts), calm+enough, figures+1
			if enough < calmLeastOnes {
				never++
			}
		}
	}
	if all == 0 {
		return ""
	}
	return fmt.Sprintf("Of the slices %d %% had calm time. With %s, %d of %d: fewer than %d of a figure's slices had, so it is of disturbed time.", 100*calm/all, mark, never, figures, calmLeastOnes)
}

// calmLeastOnes is how many calm rounds a figure has at least, or all of its rounds count.
const calmLeastOnes = 2

// counted are the figures of the rounds that were calm; all of them where hardly any was.
func (c *catch) counted(key, name string) []float64 {
	if calm := c.calmOnes(key, name); len(calm) >= calmLeastOnes {
		return calm
	}
	return c.Figures[key][name]
}

// delayParts are the points of a distribution that are told. What befalls one packet in
// a hundred on a shared machine is as often its doing as the peer's: no ratio is made of it.
var delayParts = []struct {
	name   string
	part   float64
	beside string
}{{"p50", 0.5, nftName}, {"p99", 0.99, ""}, {"p99.9", 0.999, ""}}

func udpKey(what string, flows int) string { return fmt.Sprintf("udp %s %d", what, flows) }
func memoryKey(conns int) string           { return fmt.Sprintf("memory %d", conns) }

// figure is one row of the report.
type figure struct {
	key, label string
	digits     int
	scale      float64
	beside     string // name of the peer whose figures it is divided by; "": none
	short      bool   // is in the README's table as well
	plot       bool   // is in the picture
	less       bool   // the less the better

	cost string // of whose reciprocal the row is: key of what is compared
	with string // key of the figure in whose slices it was measured, where it has none of its own
}

// mark follows what is of disturbed time.
const mark = "~"

// marked is the mark, if a peer's figure is of disturbed time.
func (c *catch) marked(f *figure, name string) string {
	if key := cmp.Or(f.with, f.key); c.Calm[key] != nil && !c.oftenCalm(key, name) {
		return mark
	}
	return ""
}

// rows are all figures that there may be, in the report's order. A row has one reference, for any
// other ratio of it is the quotient of two: nftables, which is what Linux has in a balancer's
// place; HAProxy where that is a small difference for Linux.
func (c *catch) rows() (rows []figure) {
	for _, n := range c.Flows {
		first := n == pacedFlows
		last := n == slices.Max(c.Flows)
		at := fmt.Sprintf("UDP, %s: ", flowsText(n))
		rows = append(rows,
			figure{key: udpKey("flood", n), label: at + "Mpps, flooded", digits: 2, scale: 1, beside: nftName, short: first || last, plot: first || last},
			figure{key: udpKey("steady", n), label: at + "Mpps, nothing lost", digits: 2, scale: 1, beside: nftName},
			figure{key: udpKey("cpu", n), label: at + "CPU ns a packet", scale: 1, beside: nftName, short: first || last, plot: first || last, less: true})
	}
	rows = append(rows, figure{key: "udp load", label: "UDP at half load: Mpps", digits: 2, scale: 1})
	for _, at := range delayParts {
		rows = append(rows, figure{key: "udp " + at.name, label: "UDP at half load: one way, µs, " + at.name, digits: 1, scale: 1, beside: at.beside, less: true, with: "udp load"})
	}
	rows = append(rows,
		figure{key: "udp lost", label: "UDP at half load: lost, %", digits: 3, scale: 1, less: true, with: "udp load"},
		figure{key: "kept rate", label: "HTTP keep-alive: requests/s, thousands", digits: 1, scale: 1e-3, beside: nftName},
		figure{key: "kept cost", label: "HTTP keep-alive: the balancer's CPU µs a request", digits: 1, scale: 1, less: true},
		figure{key: "kept own", label: "of that in its own processes", digits: 1, scale: 1, less: true},
		figure{key: "kept more", label: "HTTP keep-alive: CPU µs a request, of all, more than without a balancer", digits: 1, scale: 1, less: true},
		figure{key: "kept per cpu", label: "HTTP keep-alive: requests per CPU second of the balancer, thousands", digits: 0, scale: 1e-3, beside: haproxyName, short: true, plot: true, cost: "kept cost"},
		figure{key: "closed rate", label: "HTTP close: requests/s, thousands", digits: 1, scale: 1e-3, beside: nftName, short: true},
		figure{key: "closed cost", label: "HTTP close: the balancer's CPU µs a request", digits: 1, scale: 1, less: true},
		figure{key: "closed own", label: "of that in its own processes", digits: 1, scale: 1, less: true},
		figure{key: "closed more", label: "HTTP close: CPU µs a request, of all, more than without a balancer", digits: 1, scale: 1, less: true},
		figure{key: "closed per cpu", label: "HTTP close: requests per CPU second of the balancer, thousands", digits: 1, scale: 1e-3, beside: haproxyName, short: true, plot: true, cost: "closed cost"})
	for _, at := range delayParts {
		rows = append(rows, figure{key: "web " + at.name, label: "HTTP keep-alive at half load: answer, µs, " + at.name, digits: 0, scale: 1, beside: at.beside, short: at.name == "p99", plot: at.name == "p99", less: true, with: "web load"})
	}
	rows = append(rows, figure{key: "iperf", label: "iperf3, one TCP stream: Gbit/s", digits: 2, scale: 1, beside: nftName, short: true, plot: true})
	for _, n := range c.Fill {
		rows = append(rows, figure{key: memoryKey(n), label: fmt.Sprintf("Memory of %s connections: MiB", thousands(n)), digits: 0, scale: 1.0 / (1 << 20), short: true, less: true})
	}
	return slices.DeleteFunc(rows, func(f figure) bool { return c.Figures[f.key] == nil })
}

func flowsText(n int) string {
	if n == 1 {
		return "1 flow"
	}
	return thousands(n) + " flows"
}

// thousands writes 100000 as "100 k".
func thousands(n int) string {
	switch {
	case n >= 1_000_000 && n%1_000_000 == 0:
		return strconv.Itoa(n/1_000_000) + " M"
	case n >= 1000 && n%1000 == 0:
		return strconv.Itoa(n/1000) + " k"
	}
	return strconv.Itoa(n)
}

// quarters are a quarter's, the half's and three quarters' way through sorted figures.
func quarters(v []float64) (q [3]float64) {
	v = slices.Sorted(slices.Values(v))
	for i := range q {
		at := float64(i+1) / 4 * float64(len(v)-1)
		low := int(at)
		high := min(low+1, len(v)-1)
		q[i] = v[low] + (v[high]-v[low])*(at-float64(low))
	}
	return q
}
