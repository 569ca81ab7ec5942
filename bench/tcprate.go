package main

import (
	"fmt"
	"slices"
	"time"
)

// What TCP connections cost: over a time, and by kind of packet.

// tcpWindow is for how many units of the timers' wheel connections are made for one figure, a
// quarter of a second, so that what expires in a window is what is made in one.
const tcpWindow = 4

// rate makes connections for a time, at least for a window, and returns the processor time
// of one: the median of all windows, and the least, which is what it takes while nobody
// else is on the processor; and all pieces of the time, a unit of the wheel each.
func (r *tcpRun) rate(c *calmness, d time.Duration) (each, least time.Duration, pieces []piece) {
	var all []time.Duration
	for begin := r.now(); len(all) == 0 || r.since(begin) < d; {
		r.keepHouse()
		var window piece
		for range tcpWindow {
			p := r.unit(c)
			window.add(&p)
			pieces = append(pieces, p)
			if r.since(begin) >= d {
				break
			}
		}
		all = append(all, time.Duration(window.each()))
	}
	slices.Sort(all)
	return all[len(all)/2], all[0], pieces
}

// unit makes connections for a unit of the wheel.
func (r *tcpRun) unit(c *calmness) piece {
	died, expired := r.died, r.worker.Stats().Expired
	p := c.piece(func() int {
		for unit := unitOfWheel(r.now()); unitOfWheel(r.now()) == unit; {
			r.lives()
		}
		return r.died - died
	})
	p.expired = int(r.worker.Stats().Expired - expired)
	return p
}

// harness is what the making and freeing of one connection's packets costs. The
// connections in hand are put back into their former state, so that it may be measured
// in the middle of a run.
func (r *tcpRun) harness(c *calmness) (each time.Duration, pieces []piece) {
	was := *r
	pieces = c.spread(400*lot, 100*lot, func(n int) {
		for range n / lot {
			r.dry()
		}
	})
	cycles := r.cycles
	*r = was
	r.cycles = cycles
	all := total(pieces)
	return time.Duration(all.each()), pieces
}

// kinds says how many cycles a packet of each kind takes while the table fills, harness
// off: medians of lots, so that what the timers do now and then is not in it.
func (r *tcpRun) kinds(c *calmness, d time.Duration) (each [groups]float64) {
	r.mixed = false
	for _, f := range []func(){func() { r.rate(c, d) }, func() { r.harness(c) }} {
		for k := range r.cycles {
			r.cycles[k] = make([]int64, 0, 4000)
		}
		f()
		for k, v := range r.cycles {
			slices.Sort(v)
			if len(v) > 0 {
				each[k] = float64(v[len(v)/2])/lot - each[k]
			}
		}
	}
	for k := range each {
		each[k] = -each[k]
		r.cycles[k] = nil
	}
	return each
}

// tcpRow measures for a time: connections a second, then, without mixing, cycles by kind
// of packet.
func tcpRow(c *calmness, d time.Duration, linger uint32, bare bool) error {
	r, err := newTCPRun(d, linger, bare)
	if err != nil {
		return err
	}
	defer r.close()
	r.mixed = true
	// Until the first ones go, the table fills and none expires; later as many expire as
	// are made.
	stays := time.Duration(linger) * time.Second
	begin := r.now()
	var harness []time.Duration
	var dries []piece
	dry := func() {
		each, pieces := r.harness(c)
		harness, dries = append(harness, each), append(dries, pieces...)
	}
	dry()
	filling := r.phase(c, "while the table fills", min(d/3, stays))
	dry()
	for r.since(begin) < min(d/2, stays+2*time.Second) {
		r.keepHouse()
		r.lives()
	}
	steady := r.phase(c, "steady, as many expire as are made", d/2)
	dry()
	_, more := c.patiently(func() []piece { _, p := r.harness(c); return p })
	dries = append(dries, more...)
	off, calmOff := slices.Min(harness), c.of(dries)
	fmt.Printf("\nTCP, 8 packets from SYN to closed, all new, closed ones stay for %v, processor time, harness (%v a connection) taken off:\n", stays, off)
	for _, ph := range []*tcpPhase{filling, steady} {
		each, least := ph.each-off, ph.least-off
		fmt.Printf("  %7.0f connections a second %s (%v each), %.0f in the best quarter of a second (%v)\n",
			float64(time.Second)/float64(each), ph.what, each, float64(time.Second)/float64(least), least)
		fmt.Printf("    %s\n", c.told(c.of(ph.pieces), calmOff, "connections a second"))
	}
	all := total(steady.pieces)
	fmt.Printf("  %d expired in the second phase, %d were there at the end; %d packets carried TOA\n", all.expired, r.shared.Flows.Len(), r.worker.Stats().TOASent)
	return r.lost()
}

// tcpPhase is some time of a run.
type tcpPhase struct {
	what        string
	each, least time.Duration
	pieces      []piece
}

func (r *tcpRun) phase(c *calmness, what string, d time.Duration) *tcpPhase {
	ph := &tcpPhase{what: what}
	ph.each, ph.least, ph.pieces = r.rate(c, d)
	return ph
}

// kindsRow prints the cycles of each kind of packet.
func kindsRow(c *calmness, d time.Duration, bare bool) error {
	r, err := newTCPRun(d, 7, bare)
	if err != nil {
		return err
	}
	defer r.close()
	fmt.Print("\nTCP by kind of packet, cycles, 512 of a kind at a time, while the table fills:\n ")
	sum := 0.0
	for k, c := range r.kinds(c, d) {
		fmt.Printf(" %s %.0f", life[k].name, c)
		sum += c
	}
	fmt.Printf(", together %.0f\n", sum)
	return r.lost()
}
