package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"

	"weir/internal/flow"
)

// What a second worker adds where flows begin: two on one table, one service, one real server
// and the same local addresses, each with new flows of its own. One worker alone does without
// locked instructions; each of two can't.

// newScale prints what a new UDP flow costs one worker alone, one of two while the other
// does nothing, and each of two that work at once: medians of reps tables.
func newScale(flows, reps int) error {
	if runtime.NumCPU() < scaled {
		return fmt.Errorf("there is one processor, and two workers need two")
	}
	var costs [3][]float64
	for range reps {
		for i, c := range [3]struct {
			workers int
			at      []int
		}{{1, []int{0}}, {2, []int{0}}, {2, []int{0, 1}}} {
			ns, err := newTogether(flows, c.workers, c.at)
			if err != nil {
				return err
			}
			costs[i] = append(costs[i], ns)
			debug.FreeOSMemory()
		}
	}
	alone, one, both := median(costs[0]), median(costs[1]), median(costs[2])
	fmt.Printf("\nUDP, new flows by two workers on one table, %d each, processor time, harness taken off:\n", flows)
	fmt.Printf("  %.0f ns each by one worker that is alone, %.0f by one of two while the other rests, %.0f by each of two at once: %.2f times the flows of one, %.2f of one that is alone\n",
		alone, one, both, 2*one/both, 2*alone/both)
	return nil
}

// newTogether makes new flows in a new table by some of its workers at once, and returns what
// one cost.
func newTogether(flows, workers int, at []int) (ns float64, err error) {
	beds, err := newBeds(flow.Anonymous, scaled*flows*100/88, scaled*flows/60000+1, workers)
	if err != nil {
		return 0, err
	}
	for i := len(beds) - 1; i >= 0; i-- {
		defer beds[i].close()
	}
	var all sync.WaitGroup
	each := make([]float64, len(at))
	for i, n := range at {
		l := &lane{newUDPRunOn(beds[n], flows, n*flows), n}
		all.Go(func() {
			each[i] = l.timed(func() { l.pass(flows, wan) })
			each[i] -= l.timed(func() { l.dry(flows, wan) })
		})
	}
	all.Wait()
	for i, n := range at {
		ns += each[i] / float64(flows*len(at))
		if err := beds[n].lost(); err != nil {
			return 0, err
		}
	}
	if n := beds[0].shared.Flows.Len(); n != flows*len(at) {
		return 0, fmt.Errorf("%d flows were made of %d", n, flows*len(at))
	}
	return ns, nil
}
