package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strings"
)

// A contest measures what packets cost in several ways, each beside another: all take
// turns, so that what happens to the machine happens to all.
type contest struct {
	name, of string    // the subcommand, and what a row is
	what     string    // is measured
	columns  [4]string // from, how many times the base's; to, likewise
	rows     []row
}

// A row is a mode of forwarding with the clients beyond a device.
type row struct {
	name  string // as -only has it
	label string // as it is printed
	mode  mode
	on    device
	base  int // the row that it is compared with
}

func (c *contest) run(args []string) error {
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	flows := fs.Int("flows", 1000, "number of flows")
	packets := fs.Int("packets", 1<<19, "packets of one repetition")
	reps := fs.Int("reps", 15, "repetitions, of which the median counts")
	only := fs.String("only", "", "measure this "+c.of+" alone, beside what it is compared with")
	profile := fs.String("cpuprofile", "", "write a CPU profile to this file")
	cpu := fs.Int("cpu", -1, "processor to run on; -1: the last")
	if err := fs.Parse(args); err != nil {
		return err
	}
	switch {
	case *flows < 1 || *flows > 1<<20:
		return fmt.Errorf("-flows %d: want 1 to %d", *flows, 1<<20)
	case *reps < 1 || *packets < 1:
		return errors.New("-reps and -packets must be more than 0")
	case *only != "" && !slices.ContainsFunc(c.rows, func(r row) bool { return r.name == *only }):
		return fmt.Errorf("-only %q: no such %s", *only, c.of)
	}
	pin(*cpu)
	debug.SetGCPercent(-1)
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer func() { pprof.StopCPUProfile(); _ = f.Close() }()
	}
	runs := make([]*modeRun, len(c.rows)) // nil: not wanted
	for i, w := range c.rows {
		if *only != "" && w.name != *only && w.base != i {
			continue
		}
		r, err := newModeRun(w.mode, w.on, *flows)
		if err != nil {
			return fmt.Errorf("%s: %w", w.label, err)
		}
		defer r.close()
		runs[i] = r
	}
	for range *reps {
		for _, r := range runs {
			if r != nil {
				r.measure(*packets)
			}
		}
	}
	fmt.Printf("%s\n\n", machine())
	fmt.Printf("%s: UDP where nothing else is said, %d bytes of data, %d flows visited cyclically.\n", c.what, udpPayload, *flows)
	fmt.Println("Cycles a packet, medians of runs that took turns, the harness's own cost taken off.")
	fmt.Println()
	return c.print(runs)
}

// print prints the table, unless a packet was lost.
func (c *contest) print(runs []*modeRun) error {
	width := 14
	for _, w := range c.rows {
		width = max(width, len(w.label))
	}
	h := &c.columns
	fmt.Printf("%-*s  %8s  %9s  %8s  %9s  %s\n", width, c.of, h[0], h[1], h[2], h[3], "allocations a packet")
	for i, r := range runs {
		if r == nil {
			continue
		}
		w := &c.rows[i]
		if err := r.lost(); err != nil {
			return fmt.Errorf("%s: %w", w.label, err)
		}
		mine, base := r.costs(), runs[w.base].costs()
		var line strings.Builder
		for way := range mine {
			if way == 1 && r.mode.oneWay() {
				fmt.Fprintf(&line, "%8s  %9s  ", "-", "-")
				continue
			}
			fmt.Fprintf(&line, "%8.0f  %8.2fx  ", mine[way].cycles, mine[way].cycles/base[way].cycles)
		}
		fmt.Printf("%-*s  %s%.4f\n", width, w.label, &line, r.allocations)
	}
	return nil
}
