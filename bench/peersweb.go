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
}

// webFewer times more than a slice of datagrams a slice of requests takes, and as many times
// fewer rounds there are of it; of iperf3, which takes a second at least, twice that.
const webFewer, iperfFewer = 2, 4

// leastCost of a request is a bound in ns: what costs less can't be told from nothing.
const leastCost = 200

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
	rounds := max(o.reps/webFewer, 1)
	for _, step := range []struct {
		what    string
		rounds  int
		measure func(l *webLane, round int) error
	}{
		{"HTTP keep-alive", rounds, func(l *webLane, round int) error { return c.requests(ctx, o, l, round, false) }},
		{"HTTP close", rounds, func(l *webLane, round int) error { return c.requests(ctx, o, l, round, true) }},
		{"HTTP at half load", rounds, func(l *webLane, _ int) error { return c.answers(ctx, o, l) }},
		{"iperf3", max(o.reps/iperfFewer, 1), func(l *webLane, _ int) error { return c.stream(ctx, o, l) }},
	} {
		for round := range step.rounds {
			for _, l := range inTurn(lanes, round) {
				if err := attempt(ctx, fmt.Sprintf("%s, round %d of %d: %s", step.what, round+1, step.rounds, l.p.name), func() error { return step.measure(l, round) }); err != nil {
					return err
				}
			}
		}
	}
	for _, l := range lanes {
		if err := c.addDelays("web", l.p, l.delays); err != nil {
			return err
		}
	}
	return nil
}

// requests measures a slice over the cable and one through the peer: what is wanted is a
// difference.
func (c *catch) requests(ctx context.Context, o peersOptions, l *webLane, round int, closing bool) error {
	key := map[bool]string{false: "kept", true: "closed"}[closing]
	order := webOrder{Conns: o.conns, Close: closing, For: webFewer * o.time, Stay: true}
	var ph [2]webPhase // through the peer, by the cable
	ways := []int{0, 1}
	if round%2 == 1 {
		slices.Reverse(ways)
	}
	for _, way := range ways {
		var err error
		if ph[way], err = l.b.do(ctx, order, way == 1); err != nil {
			return fmt.Errorf("%s: %w", []string{"through the peer", "by the cable alone"}[way], err)
		}
	}
	through, alone := &ph[0], &ph[1]
	each := func(w *webPhase, t time.Duration) float64 { return float64(t) / float64(w.Requests) }
	cable := each(alone, alone.all())
	cost := each(through, through.all()) - cable
	c.add(key+" rate", l.p, float64(through.Requests)/through.Took.Seconds())
	c.add(key+" cable", l.p, cable/1e3)
	c.add(key+" cost", l.p, cost/1e3)
	c.add(key+" per cpu", l.p, 1e9/max(cost, leastCost))
	if through.Balancer > 0 {
		c.add(key+" own", l.p, each(through, through.Balancer)/1e3)
	}
	return nil
}

// answers measures delays at half the rate of requests that the peer reached.
func (c *catch) answers(ctx context.Context, o peersOptions, l *webLane) error {
	rate := quarters(c.Figures["kept rate"][l.p.name])[1]
	ph, err := l.b.do(ctx, webOrder{Conns: o.conns, Every: time.Duration(2e9 / rate), For: webFewer * o.time, Stay: true}, false)
	if err == nil {
		l.delays = append(l.delays, ph.Delays)
	}
	return err
}

// stream measures one TCP stream.
func (c *catch) stream(ctx context.Context, o peersOptions, l *webLane) error {
	bits, err := l.b.iperf(ctx, webFewer*o.time)
	if err == nil {
		c.add("iperf", l.p, bits/1e9)
	}
	return err
}
