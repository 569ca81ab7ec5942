package main

import (
	"flag"
	"fmt"
	"runtime/debug"
	"time"

	"weir/internal/flow"
	"weir/internal/lb/proto"
	"weir/internal/spec"
)

// expireAfter is the UDP timeout of the connections that are to expire: longer than it takes
// to make them.
const expireAfter = 8

// expire measures what the end of many connections at once costs a worker: those that had
// their last packets within a fraction of a second expire within one as well, and are
// forgotten a second later, and their places in the table swept. All of it counts.
func expire(args []string) error {
	fs := flag.NewFlagSet("expire", flag.ContinueOnError)
	conns := fs.Int("conns", 1_000_000, "connections that expire")
	fill := fs.Int("fill", 100, "how full they make the table, in percent of the connections it has room for: 1 to 100")
	reps := fs.Int("reps", 3, "repetitions, of which the median counts")
	cpu := fs.Int("cpu", -1, "processor to run on; -1: the last")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *fill < 1 || *fill > 100 || *conns < 1 || *reps < 1 {
		return fmt.Errorf("expire: want -fill from 1 to 100, and -conns and -reps from 1 on")
	}
	calm := lookForCalm(pin(*cpu))
	defer calm.close()
	debug.SetGCPercent(-1)
	fmt.Printf("%s\n\n%d UDP connections, full-NAT, %d %% of the table, expire at once. Processor time of the worker:\n", machine(), *conns, *fill)
	var all []float64
	var ends, forgets []piece
	for range *reps {
		r, err := newUDPRun(*conns, *fill)
		if err != nil {
			return err
		}
		end, forget, seconds, err := r.expire(calm)
		r.close()
		if err != nil {
			return err
		}
		n := float64(*conns)
		ends, forgets = append(ends, end...), append(forgets, forget)
		ending, forgetting := total(end).used, forget.used
		all = append(all, float64(ending+forgetting)/n)
		fmt.Printf("  %4.0f ns each: %.0f to end it, within %.2f s, %.0f to forget it a second later\n",
			float64(ending+forgetting)/n, float64(ending)/n, seconds, float64(forgetting)/n)
	}
	ns := median(all)
	fmt.Printf("Median %.0f ns: a million that expire within a second take %.0f %% of a processor.\n", ns, ns/10)
	if calm.err != nil {
		fmt.Printf("Calm time is not known: %v.\n", calm.err)
		return nil
	}
	for _, what := range []struct {
		name string
		all  []piece
	}{{"to end it", ends}, {"to forget it, repetitions as a whole", forgets}} {
		if m := calm.of(what.all); m.ok {
			fmt.Printf("In calm time alone, %.0f %% of all, %.0f ns %s.\n", 100*m.part, m.ns, what.name)
		} else {
			fmt.Printf("Too little of the time was calm to be told of %s: %.0f %%.\n", what.name, 100*m.part)
		}
	}
	return nil
}

// expire fills the table and waits until all is over. It returns the processor time that
// ending took, in pieces, and forgetting, as a whole, for the sweep comes after what it sweeps
// for; and how long it took until the last one had ended.
func (r *udpRun) expire(c *calmness) (ends []piece, forget piece, seconds float64, err error) {
	snap := *r.snapshot.Load()
	timeouts := spec.DefaultTimeouts()
	timeouts.UDP = spec.UDPTimeouts{OneWay: expireAfter, Normal: expireAfter}
	snap.LB.Timeouts = proto.NewTimeouts(timeouts)
	r.snapshot.Store(&snap)
	if err := r.fill(); err != nil {
		return nil, piece{}, 0, err
	}
	for r.shared.Locals.Populate(1 << 20) { // as the director does
	}
	r.idle()
	own := r.shared.Flows.Worker(0)
	x := expiry{udpRun: r, own: own, deadline: time.Now().Add(expireAfter*time.Second + 2*time.Minute)}
	for r.shared.Flows.Len() > 0 && !x.late() {
		x.ending, x.forgetting = piece{}, 0
		p := c.piece(func() int { x.breathe(pieceOf, func() bool { return r.shared.Flows.Len() > 0 }); return 0 })
		x.ending.slow, x.ending.waited = p.slow, p.waited
		if x.ending.n > 0 {
			ends = append(ends, x.ending)
		}
		forget.used += x.forgetting
	}
	x.forgetting = 0
	p := c.piece(func() int { x.breathe(time.Hour, func() bool { return own.Resting()+own.Unswept() > 0 }); return 0 })
	forget.n, forget.slow = r.flows, p.slow
	forget.used += x.forgetting
	if x.late() {
		return nil, piece{}, 0, fmt.Errorf("%d connections are still there", r.shared.Flows.Len())
	}
	return ends, forget, x.seconds, r.lost()
}

// expiry is what is seen of connections that end.
type expiry struct {
	*udpRun
	own        *flow.Worker
	deadline   time.Time
	ending     piece
	forgetting time.Duration
	first      time.Time // that one ended
	seconds    float64   // from then until the last one did
}

func (x *expiry) late() bool { return time.Now().After(x.deadline) }

// breathe has the worker work for a time, as long as there is something.
func (x *expiry) breathe(d time.Duration, more func() bool) {
	for begun := time.Now(); time.Since(begun) < d && more() && !x.late(); {
		expired, left := x.worker.Stats().Expired, x.own.Resting()+x.own.Unswept()
		used := cpuTime()
		x.worker.Breathe()
		took := time.Duration(cpuTime() - used)
		switch n := int(x.worker.Stats().Expired - expired); {
		case n != 0:
			x.ending.used += took
			x.ending.n += n
			if x.first.IsZero() {
				x.first = time.Now()
			}
			x.seconds = time.Since(x.first).Seconds()
		case x.own.Resting()+x.own.Unswept() != left:
			x.forgetting += took
		default:
			time.Sleep(100 * time.Microsecond)
		}
	}
}
