package director

import (
	"math"

	"weir/internal/clock"
	"weir/internal/lb/service"
)

// Rates are averages of what a real server's counts gain in a second. Bytes count
// from the IP header, as in Count.
type Rates struct {
	Conns, InPkts, OutPkts, InBytes, OutBytes float64
}

// estimator follows the rates of all real servers in LVS's way (ip_vs_est): every
// two seconds an average goes a quarter of the way to what was gained since. It is
// guarded by the director's mu.
type estimator struct {
	last clock.Tick // of the latest look; meaningless before the first
	of   map[*service.Dest]*estimate
}

type estimate struct {
	last Count
	Rates
}

// estimateEvery is the time between two looks, in ticks, less what a ticker of a
// second may be early.
const estimateEvery = 2*clock.PerSecond - clock.PerSecond/10

// estimateRates looks at the counts, if it is time.
func (d *Director) estimateRates() {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	e := &d.rates
	since := now.Since(e.last)
	if e.of != nil && since < estimateEvery {
		return
	}
	dests := make([]*service.Dest, 0, len(d.dests.byKey))
	index := make([]uint32, 0, len(d.dests.byKey))
	for _, dest := range d.dests.byKey {
		dests, index = append(dests, dest), append(index, dest.Index)
	}
	counts, err := d.counts(index)
	if err != nil {
		d.log.Warn("rates stand still", "err", err)
		return
	}
	first := e.of == nil
	e.last = now
	of := make(map[*service.Dest]*estimate, len(dests))
	seconds := float64(since) / clock.PerSecond
	for i, dest := range dests {
		was := e.of[dest]
		switch {
		case first: // what there was before was gained at a time that is not known
			of[dest] = &estimate{last: counts[i]}
			continue
		case was == nil:
			was = &estimate{}
		}
		of[dest] = was
		was.step(counts[i], seconds)
	}
	e.of = of
}

// step takes the averages a quarter of the way to the latest gain.
func (e *estimate) step(now Count, seconds float64) {
	toward := func(avg *float64, was, is uint64) {
		if is < was { // it was zeroed
			was = 0
		}
		*avg += (float64(is-was)/seconds - *avg) / 4
	}
	toward(&e.Conns, e.last.Conns, now.Conns)
	toward(&e.InPkts, e.last.InPkts, now.InPkts)
	toward(&e.OutPkts, e.last.OutPkts, now.OutPkts)
	toward(&e.InBytes, e.last.InBytes, now.InBytes)
	toward(&e.OutBytes, e.last.OutBytes, now.OutBytes)
	e.last = now
}

// get returns the rates of a real server.
func (e *estimator) get(dest *service.Dest) Rates {
	if est := e.of[dest]; est != nil {
		return est.Rates
	}
	return Rates{}
}

// zero forgets what a real server gained so far, and its rates, as LVS does.
func (e *estimator) zero(dest *service.Dest) {
	if est := e.of[dest]; est != nil {
		*est = estimate{}
	}
}

// Add sums rates: those of a service are the sum of its real servers'.
func (r *Rates) Add(o Rates) {
	r.Conns += o.Conns
	r.InPkts += o.InPkts
	r.OutPkts += o.OutPkts
	r.InBytes += o.InBytes
	r.OutBytes += o.OutBytes
}

// Round is the whole number that a listing shows.
func Round(rate float64) uint64 { return uint64(math.Round(rate)) }
