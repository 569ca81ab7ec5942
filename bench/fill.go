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
	pin(*cpu)
	debug.SetGCPercent(-1)
	stop, err := profiled(*profile)
	if err != nil {
		return err
	}
	defer stop()
	fmt.Printf("%s\n", machine())
	if *flows > 0 {
		if err := fillRow(*flows, *reps); err != nil {
			return err
		}
	}
	if *sustain > 0 {
		if err := sustainRow(seconds64(*sustain)); err != nil {
			return err
		}
	}
	if *seconds > 0 {
		for s := range strings.SplitSeq(*linger, ",") {
			n, err := strconv.ParseUint(s, 10, 16)
			if err != nil || n == 0 {
				return fmt.Errorf("-linger: %q is no number of seconds", s)
			}
			if err := tcpRow(seconds64(*seconds), uint32(n), *bare); err != nil {
				return err
			}
			debug.FreeOSMemory()
		}
	}
	if *kinds > 0 {
		if err := kindsRow(seconds64(*kinds), *bare); err != nil {
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
func fillRow(flows, reps int) error {
	var each []float64
	for range reps {
		ns, err := fillOnce(flows)
		if err != nil {
			return err
		}
		each = append(each, ns)
		debug.FreeOSMemory()
	}
	slices.Sort(each)
	fmt.Printf("\nUDP, new flows until there are %d, processor time, harness taken off:\n", flows)
	fmt.Printf("  %7.0f flows a second (median of %d: %.0f ns each; least %.0f, most %.0f)\n", 1e9/median(each), reps, median(each), each[0], each[len(each)-1])
	return nil
}

func fillOnce(flows int) (ns float64, err error) {
	r, err := newUDPRun(flows, 88)
	if err != nil {
		return 0, err
	}
	defer r.close()
	used := cpuTime()
	r.pass(flows, wan)
	used = cpuTime() - used
	if n := r.shared.Flows.Len(); n != flows {
		return 0, fmt.Errorf("%d flows were made of %d", n, flows)
	}
	dry := cpuTime()
	r.dry(flows, wan)
	dry = cpuTime() - dry
	return float64(used-dry) / float64(flows), r.lost()
}

// sustainedRoom is how many flows there may be at a time: 4 M a second, which stay for a
// second, and rest for another.
const sustainedRoom = 10 << 20

// sustainRow opens UDP flows for a time, that are idle for a second and then expire.
func sustainRow(d time.Duration) error {
	r, err := newUDPRun(sustainedRoom, 88)
	if err != nil {
		return err
	}
	defer r.close()
	r.flows = 1 << 26 // before one comes again
	short := spec.DefaultTimeouts()
	short.UDP.OneWay = 1
	r.setTimeouts(&short)
	const step = 1 << 16
	for begin := r.now(); r.since(begin) < d/3; {
		r.keepHouse()
		r.pass(step, wan)
	}
	n, expired, used := 0, r.worker.Stats().Expired, int64(0)
	var steps []float64
	for begin := r.now(); r.since(begin) < d*2/3; {
		r.keepHouse()
		from := cpuTime()
		r.pass(step, wan)
		took := cpuTime() - from
		used += took
		steps = append(steps, float64(took)/step)
		n += step
	}
	expired = r.worker.Stats().Expired - expired
	dry := cpuTime()
	r.dry(1<<21, wan)
	dry = cpuTime() - dry
	harness := float64(dry) / (1 << 21)
	ns := float64(used)/float64(n) - harness
	slices.Sort(steps)
	best := steps[len(steps)/10] - harness
	fmt.Printf("\nUDP, new flows sustained, each expires a second after its datagram:\n")
	fmt.Printf("  %7.0f flows a second (%.0f ns each; in the best tenth of the time %.0f), %d made and %d expired meanwhile, %d were there at the end\n", 1e9/ns, ns, best, n, expired, r.shared.Flows.Len())
	return r.lost()
}
