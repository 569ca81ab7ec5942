package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// What a director costs that has nothing to do, and how long the packet waits that wakes
// it: one every so often, each long after the worker fell asleep.

// idleEvery is longer than a worker looks for packets before it sleeps.
const idleEvery = 50 * time.Millisecond

func idle(args []string) error {
	fs := flag.NewFlagSet("idle", flag.ContinueOnError)
	seconds := fs.Float64("seconds", 10, "seconds of each measurement")
	names := fs.String("paths", "afxdp,afpacket,forward", "what to measure")
	if err := fs.Parse(args); err != nil {
		return err
	}
	o := vethOptions{time: time.Duration(*seconds * float64(time.Second)), flows: 1}
	var err error
	if o.paths, err = pathsOf(*names); err != nil {
		return err
	}
	switch {
	case os.Geteuid() != 0:
		return errors.New("idle makes network namespaces and needs root: run it with sudo")
	case runtime.NumCPU() <= workerCPU:
		return errors.New("idle needs two processors: one for the generator, one for the director's worker")
	case *seconds < 1:
		return errors.New("-seconds must be 1 or more")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return sleepers(ctx, os.Stdout, o)
}

func sleepers(ctx context.Context, w io.Writer, o vethOptions) error {
	bin, err := build(ctx)
	if err != nil {
		return err
	}
	defer os.RemoveAll(bin)
	fmt.Fprintf(w, "%s\n\n", machine())
	fmt.Fprintf(w, "A datagram every %v on veth, from its sender to the server, and the director's processor time meanwhile.\n\n", idleEvery)
	fmt.Fprintf(w, "%-40s %10s %10s %10s %14s\n", "", "p50", "p90", "p99", "of a processor")
	for _, p := range o.paths {
		ph, err := rarely(ctx, bin, p, o)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		fmt.Fprintf(w, "%-40s", p.text)
		for _, part := range []float64{0.5, 0.9, 0.99} {
			at, err := ph.Delays.at(part)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			fmt.Fprintf(w, " %10v", at.Round(100*time.Nanosecond))
		}
		fmt.Fprintf(w, " %13.2f%%\n", 100*float64(ph.User+ph.System)/float64(ph.Took))
	}
	return nil
}

// rarely measures a path with next to nothing on it.
func rarely(ctx context.Context, bin string, p *path, o vethOptions) (ph phase, err error) {
	n, err := newCourse(bin, o)
	if err != nil {
		return ph, err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	if err := p.set(ctx, n); err != nil {
		return ph, err
	}
	part, err := n.startVeth(p)
	if err != nil {
		return ph, err
	}
	if err := comeToRest(ctx, n.pid()); err != nil {
		return ph, err
	}
	return part.do(ctx, order{Flows: 1, For: o.time, Director: n.pid(), Interval: idleEvery})
}

// comeToRest waits until a director that has just started has its table in memory, which it
// goes on with while it already forwards.
func comeToRest(ctx context.Context, pid int) error {
	if pid == 0 {
		return nil
	}
	const look = 500 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for before := time.Duration(1 << 62); ; {
		used, err := processTime(pid)
		if err != nil {
			return fmt.Errorf("the director is gone: %w", err)
		}
		if used-before >= 0 && used-before < look/20 {
			return nil
		}
		before = used
		select {
		case <-time.After(look):
		case <-ctx.Done():
			return errors.New("the director does not come to rest")
		}
	}
}
