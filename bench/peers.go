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

// Weir and its peers in one run: the same generators and sinks, the same cables, all
// peers in turn, over and over. What comes out is docs/performance.md's table.

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
	seconds := fs.Float64("seconds", 2, "seconds of one measurement")
	reps := fs.Int("reps", 5, "repetitions, of which the median counts")
	flows := fs.String("flows", "1,1000,100000,1000000", "numbers of UDP flows")
	only := fs.String("peers", "", "what to measure, by name, comma between; nothing: all")
	conns := fs.Int("conns", 1000, "connections that the web's client has at a time")
	quick := fs.Bool("quick", false, "a moment of each, to prove that it works: the figures are worth nothing")
	into := fs.String("write", "", "write the results into docs/performance.md, docs/performance.svg and README.md of this folder")
	raw := fs.String("raw", "", "write every single figure to this file, as JSON")
	against := fs.String("against", "", "compare the ratios with those of this file, which -raw wrote, if it is there")
	if err := fs.Parse(args); err != nil {
		return err
	}
	o := peersOptions{time: time.Duration(*seconds * float64(time.Second)), reps: *reps, fill: []int{manyFlows, 10 * manyFlows}, held: heldConns, conns: *conns}
	if *quick {
		o.time, o.reps, o.fill, o.held, o.rough = 300*time.Millisecond, 1, []int{20000, 100000}, 500, true
		*flows = strconv.Itoa(pacedFlows)
	}
	var err error
	if o.flows, err = flowsOf(*flows); err != nil {
		return err
	}
	if o.peers, err = choose(*only); err != nil {
		return err
	}
	switch {
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
	c, err := measurePeers(ctx, o)
	if err != nil {
		return err
	}
	if *raw != "" {
		if err := c.save(*raw); err != nil {
			return err
		}
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

// flowsOf reads the list of numbers of flows.
func flowsOf(text string) (flows []int, err error) {
	for s := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 1<<20 {
			return nil, fmt.Errorf("-flows: %q is no number within 1-1048576", s)
		}
		flows = append(flows, n)
	}
	return flows, nil
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
func measurePeers(ctx context.Context, o peersOptions) (c *catch, err error) {
	bin, err := build(ctx)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(bin)
	c = newCatch(o)
	if err := c.versions(ctx, o); err != nil {
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
	for rep := range o.reps {
		for _, flows := range o.flows {
			if err := c.datagrams(ctx, bin, o, rep, flows); err != nil {
				return nil, err
			}
		}
		for _, p := range o.peers {
			if err := c.attempt(ctx, o, rep, p.name, "web", func() error { return c.webOf(ctx, bin, p, o) }); err != nil {
				return nil, err
			}
		}
	}
	fmt.Fprint(os.Stderr, "\r\033[K")
	return c, nil
}

// attempt measures something, and again where that failed.
func (c *catch) attempt(ctx context.Context, o peersOptions, rep int, name, what string, measure func() error) (err error) {
	for range tries {
		fmt.Fprintf(os.Stderr, "\r\033[K%s run %d of %d: %s, %s", time.Now().Format(time.TimeOnly), rep+1, o.reps, what, name)
		if err = measure(); err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		fmt.Fprintf(os.Stderr, "\r\033[K%s, %s: %v\n", what, name, err)
	}
	return fmt.Errorf("%s, %s: failed %d times: %w", what, name, tries, err)
}

// datagrams measures one number of flows for all, and first what generator, cable and
// sink cost by themselves.
func (c *catch) datagrams(ctx context.Context, bin string, o peersOptions, rep, flows int) error {
	vo := vethOptions{time: o.time, flows: flows, rough: o.rough, pace: flows == pacedFlows}
	what := fmt.Sprintf("%d flows of UDP", flows)
	var own float64
	if err := c.attempt(ctx, o, rep, baseline.name, what, func() error {
		r, err := runPath(ctx, bin, baseline, vethOptions{time: o.time, flows: flows, rough: o.rough})
		if err == nil {
			own = perFrame(&r.flood, r.flood.Receive)
		}
		return err
	}); err != nil {
		return err
	}
	for _, p := range o.peers {
		if p.udp == nil {
			continue
		}
		if err := c.attempt(ctx, o, rep, p.name, what, func() error {
			r, err := runPath(ctx, bin, p.udp, vo)
			if err != nil {
				return err
			}
			return c.addDatagrams(p, flows, own, &r)
		}); err != nil {
			return err
		}
	}
	return nil
}

func (c *catch) addDatagrams(p *peer, flows int, own float64, r *result) error {
	c.add(udpKey("flood", flows), p, mpps(&r.flood))
	c.add(udpKey("steady", flows), p, mpps(&r.steady))
	c.add(udpKey("cpu", flows), p, perFrame(&r.steady, r.steady.Receive+r.steady.User+r.steady.System)-own)
	if p.conntrack && flows == manyFlows {
		for _, n := range c.Fill {
			c.add(memoryKey(n), p, float64(r.memory)*float64(n)/float64(flows))
		}
	}
	if r.paced == nil {
		return nil
	}
	c.add("udp load", p, mpps(r.paced))
	c.add("udp lost", p, 100*float64(lostOf(r.paced))/float64(r.paced.AllSent))
	return c.addDelays("udp", p, r.paced.Delays)
}

// addDelays adds three points of a distribution, in µs.
func (c *catch) addDelays(of string, p *peer, d delays) error {
	for _, at := range delayParts {
		t, err := d.at(at.part)
		if err != nil {
			return err
		}
		c.add(of+" "+at.name, p, float64(t)/1e3)
	}
	return nil
}

// webOf measures TCP for one peer.
func (c *catch) webOf(ctx context.Context, bin string, p *peer, o peersOptions) (err error) {
	b, err := newWebBed(ctx, bin, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	figures := map[string]float64{}
	var kept, each float64
	// Cable and peer take turns within a repetition too: what is wanted is a difference.
	turn := o.time / turns
	if p.proxy() {
		if each, err = b.memory(ctx, o.held); err != nil {
			return err
		}
	}
	for _, kind := range []struct {
		key   string
		close bool
	}{{"kept", false}, {"closed", true}} {
		order := webOrder{Conns: o.conns, Close: kind.close, For: turn}
		var alone, through webPhase
		for range turns {
			ph, err := b.do(ctx, order, true)
			if err != nil {
				return fmt.Errorf("by the cable alone: %w", err)
			}
			alone.add(&ph)
			if ph, err = b.do(ctx, order, false); err != nil {
				return err
			}
			through.add(&ph)
		}
		rate := float64(through.Requests) / through.Took.Seconds()
		cost := float64(through.all())/float64(through.Requests) - float64(alone.all())/float64(alone.Requests)
		figures[kind.key+" rate"] = rate
		figures[kind.key+" cost"] = cost / 1e3
		if through.Balancer > 0 {
			figures[kind.key+" own"] = float64(through.Balancer) / float64(through.Requests) / 1e3
		}
		figures[kind.key+" per cpu"] = 1e9 / max(cost, leastCost)
		if !kind.close {
			kept = rate
		}
	}
	paced, err := b.do(ctx, webOrder{Conns: o.conns, Every: time.Duration(2e9 / kept), For: o.time}, false)
	if err != nil {
		return err
	}
	bits, err := b.iperf(ctx, o.time)
	if err != nil {
		return err
	}
	figures["iperf"] = bits / 1e9
	for key, v := range figures {
		c.add(key, p, v)
	}
	if p.proxy() {
		for _, n := range o.fill {
			c.add(memoryKey(n), p, each*float64(n))
		}
	}
	return c.addDelays("web", p, paced.Delays)
}

// leastCost of a request is a bound in ns: what costs less can't be told from nothing.
const leastCost = 200

// turns is how often cable and peer take turns in a repetition.
const turns = 4

func (p *peer) proxy() bool { return p.udp == nil }
