package main

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"weir/internal/clock"
)

// The benchmarks in memory tell what something costs over all time, as it was, and beside it
// what it costs in calm time alone: while no other guest works on the core's other thread
// (peerscalm.go). A probe beside them finds out what was calm. It is a thread of its own that
// the worker's processor time knows nothing of, and the choice is made by it alone, never by
// the figure.

// calmness is what is known of the processor that a benchmark runs on.
type calmness struct {
	err      error   // why nothing is
	least    float64 // what the calmest hundredth of the probes found, so far (undisturbed)
	judged   float64 // the most that a figure was judged by
	stop     atomic.Bool
	finished chan struct{}
	n, sum   atomic.Int64 // how often, and what was found, in thousandths
	spent    atomic.Int64 // ns
	most     atomic.Int64 // that a single probe counts (clipped)

	mu    sync.Mutex
	found []float64
}

// piece is some time, that is calm or not as a whole. What a worker does now and then must be
// in each piece in proportion, or calm ones are others than all.
type piece struct {
	n       int // what was done
	expired int // connections that expired meanwhile
	used    time.Duration
	slow    float64 // what probes found in the mean; 0: there was none
	waited  bool    // for its processor, for more than a tenth of the time
}

// lookForCalm has a probe on a processor, first for a while with nothing beside.
func lookForCalm(cpu int) *calmness {
	c := &calmness{finished: make(chan struct{})}
	began := make(chan error, 1)
	go c.probe(cpu, began)
	if c.err = <-began; c.err == nil {
		time.Sleep(calibration)
		c.learn()
	}
	return c
}

// probe measures until the end.
func (c *calmness) probe(cpu int, began chan<- error) {
	defer close(c.finished)
	runtime.LockOSThread() // for good: its thread ends with it
	err := preferred(cpu)
	if began <- err; err != nil {
		return
	}
	var p probe
	every := unix.NsecToTimespec(int64(probeEvery))
	for !c.stop.Load() {
		begun := time.Now()
		times := p.crowded()
		c.mu.Lock()
		c.found = append(c.found, times)
		c.mu.Unlock()
		c.sum.Add(min(int64(1000*times), c.most.Load()))
		c.n.Add(1)
		c.spent.Add(int64(time.Since(begun)))
		rest(&every)
	}
}

// close ends the probe, and says if what was told by it is to be doubted.
func (c *calmness) close() {
	c.stop.Store(true)
	<-c.finished
	if c.err == nil && c.judged > calmWithin*c.least {
		fmt.Printf("\nThe processor became calmer than it had been (a probe found %.2f, then %.2f): what was told of calm time before was not calm.\n", c.judged, c.least)
	}
}

// learn takes what all probes so far found for what there is to be found.
func (c *calmness) learn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if least := undisturbed(slices.Clone(c.found)); c.least == 0 || least < c.least && least > 0 {
		c.least = least
		c.most.Store(int64(1000 * clipped * least))
	}
}

// piece measures what do does, which is n of something.
func (c *calmness) piece(do func() (n int)) (p piece) {
	thread := unix.Gettid()
	waited, err := waitedTime(thread)
	found, sum, spent := c.n.Load(), c.sum.Load(), c.spent.Load()
	used := cpuTime()
	p.n = do()
	p.used = time.Duration(cpuTime() - used)
	if found = c.n.Load() - found; found > 0 {
		p.slow = float64(c.sum.Load()-sum) / 1000 / float64(found)
	}
	spent = c.spent.Load() - spent
	after, err2 := waitedTime(thread)
	p.waited = err != nil || err2 != nil || (after-waited-time.Duration(spent))*waitParts > p.used
	return p
}

// spread is piece again and again until n were done, some at a time.
func (c *calmness) spread(n, each int, do func(n int)) (all []piece) {
	for n > 0 {
		some := min(n, each)
		all = append(all, c.piece(func() int { do(some); return some }))
		n -= some
	}
	return all
}

// calm reports whether a piece was.
func (c *calmness) calm(p *piece) bool {
	return c.least > 0 && p.slow > 0 && p.slow <= calmWithin*c.least && !p.waited
}

// add adds another piece to one.
func (p *piece) add(o *piece) {
	p.n += o.n
	p.expired += o.expired
	p.used += o.used
}

// each is the processor time in ns of one of what was done.
func (p *piece) each() float64 { return float64(p.used) / float64(max(p.n, 1)) }

// total is all pieces.
func total(all []piece) (sum piece) {
	for i := range all {
		sum.add(&all[i])
	}
	return sum
}

// enoughCalm is how much calm time is enough to be told of; of less time than calmParts of that
// a part is (peerscalm.go).
const enoughCalm = 250 * time.Millisecond

// calmed is what calm pieces say.
type calmed struct {
	piece
	ns   float64 // processor time of one of what was done
	part float64 // of all time, that was calm
	ok   bool    // it is enough to be told
	// meant is how many expired for each that was made, in all time.
	meant float64
}

// of takes the calm pieces.
func (c *calmness) of(all []piece) (m calmed) {
	c.learn()
	c.judged = max(c.judged, c.least)
	for i := range all {
		if c.calm(&all[i]) {
			m.add(&all[i])
		}
	}
	whole := total(all)
	m.part = float64(m.used) / float64(max(whole.used, 1))
	m.ns, m.ok = m.each(), m.used > 0 && m.used >= min(enoughCalm, whole.used/calmParts)
	m.meant = float64(whole.expired) / float64(max(whole.n, 1))
	return m
}

// fewExpire: where fewer expire for each that is made, as while a table fills, what they cost is
// not to be seen.
const fewExpire = 0.01

// told says how many a second there are in calm time, with the harness off, or why it does not.
func (c *calmness) told(m, harness calmed, what string) string {
	switch {
	case c.err != nil:
		return fmt.Sprintf("calm time is not known: %v", c.err)
	case !m.ok:
		return fmt.Sprintf("too little of the time was calm to be told of: %.0f %%, %v", 100*m.part, m.used.Round(time.Millisecond))
	case harness.used == 0:
		return "the harness had no calm time"
	case m.meant >= fewExpire && m.expired*10 < int(9*m.meant*float64(m.n)):
		return fmt.Sprintf("not told, since less expired in calm time (%.0f %% of all): %.2f for each made, %.2f in all time", 100*m.part, m.ended(), m.meant)
	}
	ns := m.ns - harness.ns
	s := fmt.Sprintf("%7.0f %s in calm time alone, %.0f %% of all (%.0f ns each)", 1e9/ns, what, 100*m.part, ns)
	if m.meant > 0 {
		s += fmt.Sprintf(", %.2f expired for each made (%.2f in all time)", m.ended(), m.meant)
	}
	return s
}

// ended is how many expired for each that was made.
func (p *piece) ended() float64 { return float64(p.expired) / float64(max(p.n, 1)) }

// patiently has once measure something short until some of that was calm, ten times at most. It
// returns what it was at first, too.
func (c *calmness) patiently(once func() []piece) (first, all []piece) {
	first = once()
	all = first
	for tries := 1; c.err == nil && tries < 10 && c.of(all).used == 0; tries++ {
		all = append(all, once()...)
	}
	return first, all
}

// unitOfWheel is the unit of the timers' wheel that a time is in: as each begins, what is due
// in it comes due at once. A piece in which connections expire is as long as a unit.
func unitOfWheel(nanos uint64) uint64 { return nanos >> (clock.Shift + 6) }

// cycles tells of calm time the cycles of a packet.
func (c *calmness) cycles(m *measured) string {
	if c.err != nil || !m.calm.ok || m.calmDries.used == 0 {
		return fmt.Sprintf("- (%.0f %% was calm)", 100*m.calm.part)
	}
	return fmt.Sprintf("%.0f (%.0f %%)", costOf(m.calm.ns-m.calmDries.ns).cycles, 100*m.calm.part)
}

// evenly takes the calm pieces of each part of a course, as many of each as if all were alike
// long: it is not ok if one has none.
func (c *calmness) evenly(parts [][]piece) (m calmed) {
	var all []piece
	each := 0.0
	for _, part := range parts {
		all = append(all, part...)
	}
	m = c.of(all)
	for _, part := range parts {
		of := c.of(part)
		m.ok = m.ok && of.used > 0
		each += of.ns / float64(len(parts))
	}
	m.ns = each
	return m
}
