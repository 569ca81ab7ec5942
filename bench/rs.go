package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"weir/internal/rsagent"
	"weir/internal/testkit/netns"
)

// What weir-rs costs the programs of a real server: system calls and packets with
// and without it. Configurations take turns, each time in a new process in a cgroup
// and a network namespace of its own, so that what else the machine does meets all.

// rsWay is a configuration of the agent. The first is none.
type rsWay struct {
	name    string
	options *rsagent.Options // nil: no agent
}

var rsWays = []rsWay{
	{"without", nil},
	{"off", &rsagent.Options{UOA: rsagent.Off}},
	{"getsockopt", &rsagent.Options{UOA: rsagent.Getsockopt}},
	{"transparent", &rsagent.Options{UOA: rsagent.Transparent}},
}

func rs(args []string) error {
	fs := flag.NewFlagSet("rs", flag.ContinueOnError)
	reps := fs.Int("reps", 41, "repetitions, of which the median counts")
	n := fs.Int("n", 1, "so many times the usual number of calls in a repetition")
	cpu := fs.Int("cpu", -1, "processor to run on; -1: the last")
	if err := fs.Parse(args); err != nil {
		return err
	}
	switch {
	case os.Geteuid() != 0:
		return errors.New("rs makes network namespaces and attaches programs, and needs root: run it with sudo")
	case *reps < 1 || *n < 1:
		return errors.New("-reps and -n must be more than 0")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return rsCompare(ctx, os.Stdout, *reps, rsOrder{Times: *n, CPU: *cpu})
}

// rsCompare runs all ways in turn, over and over, and prints what came out.
func rsCompare(ctx context.Context, w io.Writer, reps int, o rsOrder) error {
	fmt.Fprintf(w, "%s\n\n", machine())
	results := make([]map[string][]float64, len(rsWays)) // by way and step, ns
	for i := range results {
		results[i] = map[string][]float64{}
	}
	for rep := range reps {
		for i := range rsWays {
			// Who comes after whom changes too.
			way := (i + rep) % len(rsWays)
			fmt.Fprintf(os.Stderr, "\r\033[Krun %d of %d: %s", rep+1, reps, rsWays[way].name)
			got, err := rsRun(ctx, &rsWays[way], o)
			if err != nil {
				fmt.Fprint(os.Stderr, "\r\033[K")
				if ctx.Err() != nil {
					return errors.New("interrupted")
				}
				return fmt.Errorf("%s: %w", rsWays[way].name, err)
			}
			for step, ns := range got {
				results[way][step] = append(results[way][step], ns)
			}
		}
	}
	fmt.Fprint(os.Stderr, "\r\033[K")
	rsPrint(w, reps, results)
	return nil
}

// rsRun measures one way in a world of its own.
func rsRun(ctx context.Context, way *rsWay, o rsOrder) (_ map[string]float64, err error) {
	world, err := netns.New("weir-bench")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	server, err := world.Namespace("rs")
	if err != nil {
		return nil, err
	}
	group, err := world.Cgroup("rs")
	if err != nil {
		return nil, err
	}
	if way.options != nil {
		pins, err := world.Pins("pins")
		if err != nil {
			return nil, err
		}
		a := *way.options
		a.Trust, a.Entries, a.Timeout = []netip.Prefix{netip.PrefixFrom(rsDirector, 32)}, rsagent.DefaultEntries, rsagent.DefaultTimeout
		a.OPPDevices = []string{} // UOA comes as an IP option here; no device of this machine is touched
		a.Cgroup, a.PinDir = group.Dir(), filepath.Join(pins, "weir-rs")
		agent, err := rsagent.Start(a, rsagent.Running{}, slog.New(slog.DiscardHandler))
		if err != nil {
			return nil, err
		}
		defer func() { agent.Close(); err = errors.Join(err, rsagent.Stop(a.PinDir)) }()
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	o.Know = way.options != nil
	o.Ask = o.Know && way.options.UOA == rsagent.Getsockopt
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "rs-part", string(text))
	group.Take(cmd)
	// Not a pipe of ours: that is closed when the process has ended, read or not.
	var answer bytes.Buffer
	cmd.Stdout, cmd.Stderr = &answer, os.Stderr
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	p, err := server.Start(cmd)
	if err != nil {
		return nil, err
	}
	if err := p.Wait(ctx); err != nil {
		return nil, fmt.Errorf("the measuring process: %w", err)
	}
	var got map[string]float64
	if err := json.Unmarshal(answer.Bytes(), &got); err != nil {
		return nil, fmt.Errorf("the measuring process: %w", err)
	}
	return got, nil
}

// rsPrint prints, for each step, the median without an agent, and what each way adds.
func rsPrint(w io.Writer, reps int, results []map[string][]float64) {
	fmt.Fprintf(w, "Medians of %d runs in turn, in ns; in brackets the quartiles. With an agent: what it adds.\n\n", reps)
	fmt.Fprintf(w, "%-44s %22s", "", rsWays[0].name)
	for _, way := range rsWays[1:] {
		fmt.Fprintf(w, " %22s", "--uoa "+way.name)
	}
	fmt.Fprintln(w)
	for _, step := range rsSteps {
		fmt.Fprintf(w, "%-44s", step.name)
		base := results[0][step.name]
		for i := range rsWays {
			all := results[i][step.name]
			switch {
			case len(all) == 0:
				fmt.Fprintf(w, " %22s", "-")
			case i == 0 || len(base) == 0:
				fmt.Fprintf(w, " %22s", quartiles(all, 0, "%.0f"))
			default:
				fmt.Fprintf(w, " %22s", quartiles(all, median(base), "%+.0f"))
			}
		}
		fmt.Fprintln(w)
	}
}
