package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Packets through real ports: a second process, generator and sink, on both sides
// of a director between two veth cables, and Linux's own ways in the director's
// place. Every run has a network of its own, and the paths take turns, so that
// what else the machine does meets all of them.

const (
	generatorCPU, workerCPU = 0, 1
	// window is how many frames may be on their way when nothing shall be lost:
	// no queue between generator and sink is shorter (that of veth has 256).
	window = 256
	// masqueraded is how many flows one address hides from one server: ports.
	masqueraded = 60000
)

type vethOptions struct {
	time  time.Duration // of one measurement
	reps  int
	flows int
	paths []*path
	rough bool // figures need not be right, if only there are some
}

func veth(args []string) error {
	fs := flag.NewFlagSet("veth", flag.ContinueOnError)
	seconds := fs.Float64("seconds", 2, "seconds of one measurement; each run has two")
	reps := fs.Int("reps", 3, "repetitions, of which the median counts")
	flows := fs.Int("flows", 1000, "number of flows")
	names := fs.String("paths", "afxdp,afpacket,xdp,forward,nft", "what to measure")
	if err := fs.Parse(args); err != nil {
		return err
	}
	o := vethOptions{time: time.Duration(*seconds * float64(time.Second)), reps: *reps, flows: *flows}
	var err error
	if o.paths, err = pathsOf(*names); err != nil {
		return err
	}
	switch {
	case os.Geteuid() != 0:
		return errors.New("veth makes network namespaces and needs root: run it with sudo")
	case runtime.NumCPU() <= workerCPU:
		return errors.New("veth needs two processors: one for the generator, one for the director's worker")
	case *reps < 1 || *seconds <= 0:
		return errors.New("-reps and -seconds must be more than 0")
	case *flows < 1 || *flows > 1<<20:
		return fmt.Errorf("-flows: %d is not within 1-1048576", *flows)
	}
	for _, p := range o.paths {
		if p.flows > 0 && *flows > p.flows {
			return fmt.Errorf("-flows: %s can't carry %d flows from one address to one server, at most %d: leave it out with -paths", p.name, *flows, p.flows)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return compare(ctx, os.Stdout, o)
}

// compare runs all paths in turn, over and over, and prints what came out.
func compare(ctx context.Context, w io.Writer, o vethOptions) error {
	bin, err := build(ctx)
	if err != nil {
		return err
	}
	defer os.RemoveAll(bin)
	fmt.Fprintf(w, "%s\n\n", machine())
	course := append([]*path{baseline}, o.paths...)
	results := make(map[*path][]result)
	for rep := range o.reps {
		for _, p := range course {
			fmt.Fprintf(os.Stderr, "\r\033[Krun %d of %d: %s", rep+1, o.reps, p.name)
			r, err := runPath(ctx, bin, p, o)
			if ctx.Err() != nil {
				fmt.Fprint(os.Stderr, "\r\033[K")
				return errors.New("interrupted")
			}
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			results[p] = append(results[p], r)
		}
	}
	fmt.Fprint(os.Stderr, "\r\033[K")
	printTable(w, o, results)
	return nil
}

// build makes the real programs of this tree, in a folder of their own.
func build(ctx context.Context) (dir string, err error) {
	if dir, err = os.MkdirTemp("", "weir-bench-"); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", dir+"/", "weir/cmd/weir", "weir/cmd/dpip", "weir/cmd/ipvsadm")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		_ = os.RemoveAll(dir)
		return "", fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return dir, nil
}

// result is what one run of a path gave.
type result struct {
	flood  phase // as fast as the generator can
	steady phase // with the window: nothing overflows
	where  losses
}

// runPath sets a path up in a new network, measures it and takes all down.
func runPath(ctx context.Context, bin string, p *path, o vethOptions) (r result, err error) {
	n, err := newCourse(bin, o)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	if err := p.set(ctx, n); err != nil {
		return r, err
	}
	if err := comeToRest(ctx, n.pid()); err != nil {
		return r, err
	}
	part, err := n.startVeth(p)
	if err != nil {
		return r, err
	}
	order := order{Window: window, Flows: o.flows, For: o.time, Director: n.pid()}
	if r.steady, err = part.do(ctx, order); err != nil {
		return r, err
	}
	before, err := n.losses(ctx)
	if err != nil {
		return r, err
	}
	order.Window = 0
	if r.flood, err = part.do(ctx, order); err != nil {
		return r, err
	}
	after, err := n.losses(ctx)
	if err != nil {
		return r, err
	}
	r.where = after.since(before)
	return r, r.check(o.rough)
}

// check tells a measurement from a mistake.
func (r *result) check(rough bool) error {
	if err := r.steady.check(true, rough); err != nil {
		return err
	}
	return r.flood.check(false, rough)
}

// check tells a measurement from a mistake; held says that the generator held back, so that
// next to nothing may be lost.
func (ph *phase) check(held, rough bool) error {
	switch {
	case ph.Bad != 0:
		return fmt.Errorf("%d of the frames looked at had a wrong checksum", ph.Bad)
	case ph.AllSunk > 0 && ph.Sunk == 0:
		return fmt.Errorf("no frame arrived within %s, but %d before and after: measure longer, or on a machine with less to do", ph.Took, ph.AllSunk)
	case ph.Sunk == 0:
		return fmt.Errorf("of %d frames sent none arrived as it should; %d others did", ph.AllSent, ph.AllOthers)
	case ph.AllOthers > ph.AllSunk/1000+100:
		return fmt.Errorf("%d frames arrived otherwise than they should, and %d as they should", ph.AllOthers, ph.AllSunk)
	}
	if lost := lostOf(ph); held && lost > ph.AllSent/100 && !rough {
		return fmt.Errorf("%d of %d frames were lost though the generator held back: what it cost can't be told", lost, ph.AllSent)
	}
	return nil
}

// lostOf is how many frames never reached the sink.
func lostOf(ph *phase) uint64 { return ph.AllSent - min(ph.AllSunk, ph.AllSent) }

// pathsOf reads a list of paths' names.
func pathsOf(names string) (paths []*path, err error) {
	for name := range strings.SplitSeq(names, ",") {
		var found *path
		for _, p := range allPaths {
			if p.name == name {
				found = p
			}
		}
		if found == nil {
			return nil, fmt.Errorf("-paths: %q is none of %s", name, strings.Join(pathNames(), ", "))
		}
		paths = append(paths, found)
	}
	return paths, nil
}
