package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"weir/internal/flow"
)

// Weir and its peers in one run: the same generators and sinks, the same cables. The
// networks of all are up at the same time and all take turns, over and over, for a
// fraction of a second each. What comes out is docs/performance.md's table.

const (
	// webSources is how many addresses it has.
	webSources = 64
	// webFlows is for how many connections addresses are laid out towards the server:
	// short ones rest for some seconds when they have ended.
	webFlows = 1_000_000
	// heldConns is how many connections a proxy's memory is measured with.
	heldConns = 5000
	// pacedFlows is the number of flows at which delays are measured.
	pacedFlows = 1000
	// manyFlows is the number of flows from which a table's memory is told.
	manyFlows = 1_000_000
	// tries is how often one measurement is tried: others may be at work on the machine.
	tries = 3
)

type peersOptions struct {
	time  time.Duration
	reps  int
	flows []int
	fill  []int // connections that memory is told of
	held  int
	conns int  // that the web's client has at a time
	rough bool // only prove that it works
	peers []*peer
}

func peers(args []string) error {
	fs := flag.NewFlagSet("peers", flag.ContinueOnError)
	seconds := fs.Float64("seconds", 0.25, "seconds of calm time that a slice waits for, up to twelve times as long; a run takes no more than seven times as long as all slices want, and some minutes")
	reps := fs.Int("reps", 12, "rounds, in each of which all have a slice of each figure; iperf3 has half as many; who had few calm slices, or scattered ones, has up to as many more while there is time")
	flows := fs.String("flows", "1,1000,100000,1000000", "numbers of UDP flows")
	only := fs.String("peers", "", "what to measure, by name, comma between; nothing: all")
	conns := fs.Int("conns", 1000, "connections that the web's client has at a time")
	quick := fs.Bool("quick", false, "a moment of each, to prove that it works: the figures are worth nothing")
	fill := fs.String("fill", "1000000,10000000", "numbers of connections that memory is told of; nothing: none")
	into := fs.String("write", "", "write the results into docs/performance.md, docs/performance.svg and README.md of this folder")
	raw := fs.String("raw", "", "write every single figure to this file, as JSON")
	from := fs.String("from", "", "measure nothing: take the figures from this file, which -raw wrote")
	against := fs.String("against", "", "compare the ratios with those of this file, which -raw wrote, if it is there")
	if err := fs.Parse(args); err != nil {
		return err
	}
	o := peersOptions{time: time.Duration(*seconds * float64(time.Second)), reps: *reps, held: heldConns, conns: *conns}
	if *quick {
		o.time, o.reps, o.fill, o.held, o.rough = 150*time.Millisecond, 2, []int{20000, 100000}, 500, true
		*flows = strconv.Itoa(pacedFlows)
	}
	var err error
	if o.flows, err = numbersOf("-flows", *flows, mostFlows); err != nil {
		return err
	}
	if o.fill == nil && *fill != "" {
		if o.fill, err = numbersOf("-fill", *fill, 20*manyFlows); err != nil {
			return err
		}
	}
	if o.peers, err = choose(*only); err != nil {
		return err
	}
	switch {
	case *from != "": // wants nothing of the machine
	case os.Geteuid() != 0:
		return errors.New("peers makes network namespaces and needs root: run it with sudo")
	case runtime.NumCPU() <= workerCPU:
		return errors.New("peers needs two processors: one for the generator, one for the balancer")
	case o.conns < 1 || o.conns > heldConns:
		return fmt.Errorf("-conns: %d is not within 1-%d", o.conns, heldConns)
	case o.reps < 1 || o.time <= 0:
		return errors.New("-reps and -seconds must be more than 0")
	}
	if err := raiseFiles(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var before *catch
	if *against != "" {
		if before, err = loadCatch(*against); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	var c *catch
	if *from != "" {
		c, err = loadCatch(*from)
	} else {
		c, err = measurePeers(ctx, o, *raw)
	}
	if err != nil {
		return err
	}
	c.raw = *raw
	if err := c.done(); err != nil {
		return err
	}
	fmt.Fprint(os.Stdout, c.page())
	if before != nil {
		fmt.Fprint(os.Stdout, c.compare(before))
	}
	if *into != "" {
		return c.write(*into)
	}
	return nil
}

// choose picks peers by name.
func choose(names string) ([]*peer, error) {
	all := peersOf()
	if names == "" {
		return all, nil
	}
	var chosen []*peer
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(all, func(p *peer) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("-peers: %q is none of %s", name, strings.Join(namesOf(all), ", "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

func namesOf(list []*peer) (names []string) {
	for _, p := range list {
		names = append(names, p.name)
	}
	return names
}

// peersPart is one of the other processes.
func peersPart(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "server":
		return peersServer()
	case len(args) == 1 && args[0] == "client":
		return peersClient()
	case len(args) == 3 && args[0] == "fill":
		return peersFill(args[1], args[2])
	}
	return fmt.Errorf("peers-part: %q is no part", args)
}

// measurePeers measures all.
func measurePeers(ctx context.Context, o peersOptions, raw string) (c *catch, err error) {
	bin, err := build(ctx)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(bin)
	c = newCatch(o)
	c.raw = raw
	if err := c.versions(ctx, o); err != nil {
		return nil, err
	}
	if c.Least, err = calibrate(calibration); err != nil {
		return nil, err
	}
	room, err := makeRoom(slices.Max(o.flows))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, room()) }()
	for _, n := range o.fill {
		for _, table := range []flow.Backing{flow.Anonymous, flow.BPFArray} {
			if err := c.filled(ctx, o, n, table); err != nil {
				return nil, err
			}
		}
	}
	for _, flows := range o.flows {
		if err := c.datagrams(ctx, bin, o, flows); err != nil {
			return nil, err
		}
	}
	if err := c.webs(ctx, bin, o); err != nil {
		return nil, err
	}
	c.derive()
	fmt.Fprint(os.Stderr, "\r\033[K")
	return c, nil
}

func (p *peer) proxy() bool { return p.udp == nil }
