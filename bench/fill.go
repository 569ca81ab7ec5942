package main

import (
	"flag"
	"fmt"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/internal/spec"
)

// What a new flow costs: UDP, one datagram each, until the table has so many, and
// sustained, as many expiring as begin; and TCP connections.

// newFlows is the benchmark of new connections.
func newFlows(args []string) error {
	fs := flag.NewFlagSet("new", flag.ContinueOnError)
	flows := fs.Int("udp", 2<<20, "UDP flows that fill the table; 0: none")
	reps := fs.Int("reps", 5, "tables filled with them, of which the median counts")
	sustain := fs.Float64("sustain", 9, "seconds of new UDP flows beside expiring ones; 0: none")
	seconds := fs.Float64("tcp", 12, "seconds of TCP connections; 0: none")
	linger := fs.String("linger", "2,7", "seconds that closed TCP connections stay for: each is measured")
	kinds := fs.Float64("kinds", 2, "seconds of TCP connections by kind of packet; 0: none")
	bare := fs.Bool("bare", false, "TCP segments without options, as sessions before measured; else they have Linux's")
	two := fs.Int("two", 0, "new UDP flows of each of two workers on one table; 0: none, for it wants both processors")
	profile := fs.String("cpuprofile", "", "write a CPU profile to this file")
	cpu := fs.Int("cpu", -1, "processor to run on; -1: the last")
	if err := fs.Parse(args); err != nil {
		return err
	}
	calm := lookForCalm(pin(*cpu))
	defer calm.close()
	debug.SetGCPercent(-1)
	stop, err := profiled(*profile)
	if err != nil {
		return err
	}
	defer stop()
	fmt.Printf("%s\n", machine())
	if *flows > 0 {
		if err := fillRow(calm, *flows, *reps); err != nil {
			return err
		}
	}
	if *sustain > 0 {
		if err := sustainRow(calm, seconds64(*sustain)); err != nil {
			return err
		}
	}
	if *seconds > 0 {
		for s := range strings.SplitSeq(*linger, ",") {
			n, err := strconv.ParseUint(s, 10, 16)
			if err != nil || n == 0 {
				return fmt.Errorf("-linger: %q is no number of seconds", s)
			}
			if err := tcpRow(calm, seconds64(*seconds), uint32(n), *bare); err != nil {
				return err
			}
			debug.FreeOSMemory()
		}
	}
	if *kinds > 0 {
		if err := kindsRow(calm, seconds64(*kinds), *bare); err != nil {
			return err
		}
	}
	if *two > 0 {
		return newScale(*two, *reps)
	}
	return nil
}

func seconds64(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// fillRow opens so many UDP flows in a new table, again and again.
func fillRow(c *calmness, flows, reps int) error {
	var each []float64
	var makes [fillParts][]piece
	var dries []piece
	for range reps {
		made, dry, err := fillOnce(c, flows)
		if err != nil {
			return err
		}
		used, off := total(made), total(dry)
		each = append(each, float64(used.used-off.used)/float64(flows))
		for i := range made {
			q := i * fillParts / len(made)
			makes[q] = append(makes[q], made[i])
		}
		dries = append(dries, dry...)
		debug.FreeOSMemory()
	}
	slices.Sort(each)
	fmt.Printf("\nUDP, new flows until there are %d, processor time, harness taken off:\n", flows)
	fmt.Printf("  %7.0f flows a second (median of %d: %.0f ns each; least %.0f, most %.0f)\n", 1e9/median(each), reps, median(each), each[0], each[len(each)-1])
	fmt.Printf("  %s\n", c.told(c.evenly(makes[:]), c.of(dries), "flows a second"))
	return nil
}

// fillParts are those of the filling that count alike: a flow may cost more as the table fills.
const fillParts = 4

// fillPiece is how many flows are a piece of time, 20 ms or so; dryPiece packets without a worker.
const fillPiece, dryPiece = 1 << 16, 1 << 19

func fillOnce(c *calmness, flows int) (made, dry []piece, err error) {
	r, err := newUDPRun(flows, 88)
	if err != nil {
		return nil, nil, err
	}
	defer r.close()
	made = c.spread(flows, fillPiece, func(n int) { r.pass(n, wan) })
	if n := r.shared.Flows.Len(); n != flows {
		return nil, nil, fmt.Errorf("%d flows were made of %d", n, flows)
	}
	dry = c.spread(flows, dryPiece, func(n int) { r.dry(n, wan) })
	return made, dry, r.lost()
}

// sustainedRoom is how many flows there may be at a time: 4 M a second, which stay for a
// second, and rest for another.
const sustainedRoom = 10 << 20

// sustainRow opens UDP flows for a time, that are idle for a second and then expire.
func sustainRow(c *calmness, d time.Duration) error {
	r, err := newUDPRun(sustainedRoom, 88)
	if err != nil {
		return err
	}
	defer r.close()
	r.flows = 1 << 26 // before one comes again
	short := spec.DefaultTimeouts()
	short.UDP.OneWay = 1
	r.setTimeouts(&short)
	for begin := r.now(); r.since(begin) < d/3; {
		r.keepHouse()
		r.pass(sustainStep, wan)
	}
	var steps sustainSteps
	var pieces []piece
	for begin := r.now(); r.since(begin) < d*2/3 || len(steps.ns) == 0; {
		r.keepHouse()
		pieces = append(pieces, r.sustained(c, &steps))
	}
	all := total(pieces)
	first, dries := c.patiently(func() []piece { return c.spread(1<<21, dryPiece, func(n int) { r.dry(n, wan) }) })
	off := total(first)
	harness := off.each()
	ns := all.each() - harness
	slices.Sort(steps.ns)
	best := steps.ns[len(steps.ns)/10] - harness
	fmt.Printf("\nUDP, new flows sustained, each expires a second after its datagram:\n")
	fmt.Printf("  %7.0f flows a second (%.0f ns each; in the best tenth of the time %.0f), %d made and %d expired meanwhile, %d were there at the end\n", 1e9/ns, ns, best, all.n, all.expired, r.shared.Flows.Len())
	fmt.Printf("  %s\n", c.told(c.of(pieces), c.of(dries), "flows a second"))
	return r.lost()
}

// sustainStep is how many flows are a step, of which the best tenth is told; pieces are of such
// parts of it.
const sustainStep, sustainParts = 1 << 16, 16

// sustainSteps is what flows took in each step, in ns.
type sustainSteps struct {
	ns    []float64
	parts int   // of the present one
	used  int64 // by it
}

// add notes what a part of a step took.
func (s *sustainSteps) add(used int64) {
	s.used += used
	if s.parts++; s.parts == sustainParts {
		s.ns = append(s.ns, float64(s.used)/sustainStep)
		s.parts, s.used = 0, 0
	}
}

// sustained opens flows for a unit of the wheel, and notes what those of steps took.
func (r *udpRun) sustained(c *calmness, steps *sustainSteps) piece {
	expired := r.worker.Stats().Expired
	p := c.piece(func() (n int) {
		from := cpuTime()
		for unit := unitOfWheel(r.now()); unitOfWheel(r.now()) == unit; {
			r.pass(sustainStep/sustainParts, wan)
			n += sustainStep / sustainParts
			now := cpuTime()
			steps.add(now - from)
			from = now
		}
		return n
	})
	p.expired = int(r.worker.Stats().Expired - expired)
	return p
}
