package main

import (
	"flag"
	"fmt"
	"runtime/debug"
	"time"

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
	pin(*cpu)
	debug.SetGCPercent(-1)
	fmt.Printf("%s\n\n%d UDP connections, full-NAT, %d %% of the table, expire at once. Processor time of the worker:\n", machine(), *conns, *fill)
	var all []float64
	for range *reps {
		r, err := newUDPRun(*conns, *fill)
		if err != nil {
			return err
		}
		ending, forgetting, seconds, err := r.expire()
		r.close()
		if err != nil {
			return err
		}
		n := float64(*conns)
		all = append(all, float64(ending+forgetting)/n)
		fmt.Printf("  %4.0f ns each: %.0f to end it, within %.2f s, %.0f to forget it a second later\n",
			float64(ending+forgetting)/n, float64(ending)/n, seconds, float64(forgetting)/n)
	}
	ns := median(all)
	fmt.Printf("Median %.0f ns: a million that expire within a second take %.0f %% of a processor.\n", ns, ns/10)
	return nil
}

// expire fills the table and waits until all is over. It returns the processor time in ns
// that ending and forgetting took, and how long it took until the last one had ended.
func (r *udpRun) expire() (ending, forgetting int64, seconds float64, err error) {
	snap := *r.snapshot.Load()
	timeouts := spec.DefaultTimeouts()
	timeouts.UDP = spec.UDPTimeouts{OneWay: expireAfter, Normal: expireAfter}
	snap.LB.Timeouts = proto.NewTimeouts(timeouts)
	r.snapshot.Store(&snap)
	if err := r.fill(); err != nil {
		return 0, 0, 0, err
	}
	for r.shared.Locals.Populate(1 << 20) { // as the director does
	}
	r.idle()
	own := r.shared.Flows.Worker(0)
	var first time.Time
	for deadline := time.Now().Add(expireAfter*time.Second + 2*time.Minute); ; {
		expired, left := r.worker.Stats().Expired, own.Resting()+own.Unswept()
		used := cpuTime()
		r.worker.Breathe()
		used = cpuTime() - used
		switch {
		case r.worker.Stats().Expired != expired:
			ending += used
			if first.IsZero() {
				first = time.Now()
			}
			seconds = time.Since(first).Seconds()
		case own.Resting()+own.Unswept() != left:
			forgetting += used
		case r.shared.Flows.Len() == 0 && left == 0:
			return ending, forgetting, seconds, r.lost()
		case time.Now().After(deadline):
			return 0, 0, 0, fmt.Errorf("%d connections are still there", r.shared.Flows.Len())
		default:
			time.Sleep(100 * time.Microsecond)
		}
	}
}
