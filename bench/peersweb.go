package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// webLane is a peer with its network, server and client.
type webLane struct {
	p      *peer
	b      *webBed
	each   float64 // memory of a connection, where it is a proxy
	delays []delays
	calm   []calmTime // of each of those
}

// iperfFewer times fewer rounds there are of iperf3, a slice of which takes a second at least.
const iperfFewer = 2

// The way without a balancer is measured in as many networks each round, in turn: all of
// them have the same one.
const cablesRound, cableName = 2, "cable"

// openWeb makes a peer's network. What a proxy needs for a connection is measured while
// it has none yet.
func openWeb(ctx context.Context, bin string, p *peer, o peersOptions) (l *webLane, err error) {
	b, err := newWebBed(ctx, bin, p)
	if err != nil {
		return nil, err
	}
	l = &webLane{p: p, b: b}
	if p.proxy() {
		if l.each, err = b.memory(ctx, o.held); err != nil {
			return nil, errors.Join(err, b.close())
		}
	}
	return l, nil
}

// webs measures TCP for all peers, whose networks are up at the same time.
func (c *catch) webs(ctx context.Context, bin string, o peersOptions) (err error) {
	var lanes []*webLane
	defer func() {
		for _, l := range lanes {
			err = errors.Join(err, l.b.close())
		}
	}()
	for _, p := range o.peers {
		if err := attempt(ctx, "network for the web, "+p.name, func() error {
			l, err := openWeb(ctx, bin, p, o)
			if err == nil {
				lanes = append(lanes, l)
			}
			return err
		}); err != nil {
			return err
		}
	}
	for _, l := range lanes {
		for _, n := range o.fill {
			if l.p.proxy() {
				c.add(memoryKey(n), l.p, l.each*float64(n))
			}
		}
	}
	for _, l := range lanes {
		if err := attempt(ctx, "as many connections as change a director's mind, "+l.p.name, func() error { return l.begin(ctx, o) }); err != nil {
			return err
		}
	}
	c.allow.begin()
	rounds := o.reps
	cables := func(round int) (of []*webLane) {
		for i := range min(cablesRound, len(lanes)) {
			of = append(of, lanes[(round*cablesRound+i)%len(lanes)])
		}
		return of
	}
	requests := func(closing bool) func(l *webLane, round int) error {
		return func(l *webLane, round int) error {
			if err := c.requests(ctx, o, l, closing, false); err != nil || !slices.Contains(cables(round), l) {
				return err
			}
			return c.requests(ctx, o, l, closing, true)
		}
	}
	for _, step := range []struct {
		what    string
		key     string // of the figure that wants calm rounds
		rounds  int
		pays    time.Duration // what a slice wants; a stream lasts as long as it lasts, and waits for nothing
		measure func(l *webLane, round int) error
	}{
		{"HTTP keep-alive", "kept rate", rounds, o.time, requests(false)},
		{"HTTP close", "closed rate", rounds, o.time, requests(true)},
		{"HTTP at half load", "web load", rounds, o.time, func(l *webLane, _ int) error { return c.answers(ctx, o, l) }},
		{"iperf3", "iperf", max(o.reps/iperfFewer, 1), 2 * o.time, func(l *webLane, _ int) error { return c.stream(ctx, o, l) }},
	} {
		for round := range o.most(step.rounds) {
			for _, l := range inRound(c, lanes, round, step.rounds, step.pays, func(l *webLane) bool { return c.lacks(step.rounds, l.p.name, step.key) }) {
				if err := attempt(ctx, fmt.Sprintf("%s, round %d of %d: %s", step.what, round+1, step.rounds, l.p.name), func() error { return step.measure(l, round) }); err != nil {
					return err
				}
			}
			if err := c.keep(); err != nil {
				return err
			}
		}
	}
	for _, l := range lanes {
		if err := c.addDelays("web", l.p, l.delays, l.calm, o.time); err != nil {
			return err
		}
	}
	return nil
}

// beginConns is how many short connections a network has seen before it is measured, at least. Of
// those most rest in tables still, and from 16,384 on Weir's XDP engine has another program: the
// change shall not fall into a slice.
const beginConns = 24_000

// begin has so many connections come and go.
func (l *webLane) begin(ctx context.Context, o peersOptions) error {
	for conns := uint64(0); conns < beginConns && !o.rough; {
		ph, err := l.b.do(ctx, webOrder{Conns: o.conns, Close: true, For: time.Second, Stay: true}, false)
		if err != nil {
			return err
		}
		conns += ph.Requests
	}
	return nil
}

// requests measures a slice through the peer, or over the cable beside it.
func (c *catch) requests(ctx context.Context, o peersOptions, l *webLane, closing, cable bool) error {
	key, want := webKey(closing), o.time
	ph, err := l.b.do(ctx, webOrder{Conns: o.conns, Close: closing, For: want, Stay: true, Calm: c.calm(&o, want, l.p.busy() && !cable, l.b.pids...)}, cable)
	if err != nil {
		return err
	}
	each := func(t time.Duration) float64 { return float64(t) / float64(ph.Requests) }
	if cable {
		c.addCalm(key+" cable", cableName, each(ph.all()), ph.Calmed, want)
		return nil
	}
	c.addCalm(key+" rate", l.p.name, float64(ph.Requests)/ph.Took.Seconds(), ph.Calmed, want)
	c.addCalm(key+" all", l.p.name, each(ph.all()), ph.Calmed, want)
	c.addCalm(key+" cost", l.p.name, each(ph.balancer())/1e3, ph.Calmed, want)
	if ph.Balancer > 0 {
		c.addCalm(key+" own", l.p.name, each(ph.Balancer-ph.Lent)/1e3, ph.Calmed, want)
	}
	return nil
}

// webKey begins the keys of figures of requests.
func webKey(closing bool) string { return map[bool]string{false: "kept", true: "closed"}[closing] }

// answers measures delays at half the rate of requests that the peer reached.
func (c *catch) answers(ctx context.Context, o peersOptions, l *webLane) error {
	rate := quarters(c.counted("kept rate", l.p.name))[1]
	ph, err := l.b.do(ctx, webOrder{Conns: o.conns, Every: time.Duration(2e9 / rate), For: o.time, Stay: true, Calm: c.calm(&o, o.time, l.p.busy(), l.b.pids...)}, false)
	if err == nil {
		c.addCalm("web load", l.p.name, float64(ph.Requests)/ph.Took.Seconds(), ph.Calmed, o.time)
		l.delays, l.calm = append(l.delays, ph.Delays), append(l.calm, ph.Calmed)
	}
	return err
}

// stream is how long one of iperf3 is.
func (o *peersOptions) stream() time.Duration {
	if o.rough {
		return time.Second
	}
	return 2 * time.Second
}

// stream measures one TCP stream.
func (c *catch) stream(ctx context.Context, o peersOptions, l *webLane) error {
	bits, calm, err := l.b.iperf(ctx, o.stream(), o.time, c.calm(&o, o.time, l.p.busy(), l.b.pids...))
	if err == nil {
		c.addCalm("iperf", l.p.name, bits/1e9, calm, o.time)
	}
	return err
}
