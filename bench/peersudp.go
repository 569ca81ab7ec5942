package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// All peers' networks are up at the same time, all flows are open in each, and the peers
// take turns in slices of a fraction of a second: a ratio is one of neighbours in time.

// udpLane is a peer with its network, generator and sink.
type udpLane struct {
	p    *peer
	n    *course
	part *partProcess
	path *path

	memory uint64 // bytes of the kernel's that its flows took
	pace   time.Duration
	paced  []phase // each round's slice at half load
}

// openUDP makes a peer's network and opens all flows in it.
func openUDP(ctx context.Context, bin string, p *peer, way *path, o peersOptions, flows int) (l *udpLane, err error) {
	n, err := newCourse(bin, vethOptions{flows: flows})
	if err != nil {
		return nil, err
	}
	l = &udpLane{p: p, n: n, path: way}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	if err := way.set(ctx, n); err != nil {
		return nil, err
	}
	if err := comeToRest(ctx, n.pid()); err != nil {
		return nil, err
	}
	if l.part, err = n.startVeth(way); err != nil {
		return nil, err
	}
	empty, err := kernelMemory()
	if err != nil {
		return nil, err
	}
	// First packets may be lost: what is wanted is that all flows are there.
	ph, err := l.part.do(ctx, order{Window: window, Flows: flows, For: time.Millisecond, Director: n.pid()})
	if err != nil {
		return nil, err
	}
	full, err := kernelMemory()
	if err != nil {
		return nil, err
	}
	l.memory = full - min(empty, full)
	if ph.Bad > 0 || ph.AllOthers > ph.AllSunk/1000+100 {
		return nil, fmt.Errorf("%d frames arrived as they should, %d otherwise, and %d of those looked at had a wrong checksum", ph.AllSunk, ph.AllOthers, ph.Bad)
	}
	return l, nil
}

// slice measures one slice.
func (l *udpLane) slice(ctx context.Context, o peersOptions, calm calmOrder, flows, window int, interval time.Duration) (ph phase, err error) {
	if l.n.daemon != nil && l.n.daemon.Ended() {
		return ph, fmt.Errorf("the director died: %w\n%s", l.n.daemon.Err(), &l.n.log)
	}
	ph, err = l.part.do(ctx, order{Window: window, Flows: flows, For: o.time, Director: l.n.pid(), Open: true, Interval: interval, Calm: calm})
	if err != nil {
		return ph, err
	}
	return ph, ph.check(window > 0, o.rough)
}

// slice is one slice of a peer's.
func (c *catch) slice(ctx context.Context, o peersOptions, l *udpLane, flows, window int, interval time.Duration) (phase, error) {
	return l.slice(ctx, o, c.calm(&o, o.time, l.p.worker, l.n.pid()), flows, window, interval)
}

// datagrams measures one number of flows for all.
func (c *catch) datagrams(ctx context.Context, bin string, o peersOptions, flows int) (err error) {
	what := fmt.Sprintf("%d flows of UDP", flows)
	ways := []*peer{{name: baseline.name, udp: baseline}}
	for _, p := range o.peers {
		if p.udp != nil {
			ways = append(ways, p)
		}
	}
	if len(ways) == 1 {
		return nil
	}
	var lanes []*udpLane
	defer func() {
		for _, l := range lanes {
			err = errors.Join(err, l.n.close())
		}
	}()
	for _, p := range ways {
		if err := attempt(ctx, "network for "+what+", "+p.name, func() (err error) {
			l, err := openUDP(ctx, bin, p, p.udp, o, flows)
			if err == nil {
				lanes = append(lanes, l)
			}
			return err
		}); err != nil {
			return err
		}
	}
	c.allow.begin()
	for round := range o.most(o.reps) {
		said := fmt.Sprintf("%s, round %d of %d: ", what, round+1, o.reps)
		if err := c.datagramsRound(ctx, o, flows, round, said, lanes); err != nil {
			return err
		}
		if err := c.keep(); err != nil {
			return err
		}
	}
	for _, l := range lanes[1:] {
		if l.p.conntrack && flows == manyFlows {
			for _, n := range c.Fill {
				c.add(memoryKey(n), l.p, float64(l.memory)*float64(n)/float64(flows))
			}
		}
	}
	if flows != pacedFlows {
		return nil
	}
	return c.datagramsPaced(ctx, o, flows, lanes[1:])
}

// datagramsRound is one slice of each figure for all, the generator's own among them.
func (c *catch) datagramsRound(ctx context.Context, o peersOptions, flows, round int, said string, lanes []*udpLane) error {
	flood, own, steady := udpKey("flood", flows), udpKey("own", flows), udpKey("steady", flows)
	for _, l := range inRound(c, lanes, round, o.reps, o.time, func(l *udpLane) bool {
		return l != lanes[0] && c.lacks(o.reps, l.p.name, flood) || l == lanes[0] && c.lacks(o.reps, l.p.name, own)
	}) {
		if err := attempt(ctx, said+"flooded, "+l.p.name, func() error {
			ph, err := c.slice(ctx, o, l, flows, 0, 0)
			if err != nil {
				return err
			}
			if l == lanes[0] {
				c.addCalm(own, l.p.name, perFrame(&ph, ph.Receive), ph.Calmed, o.time)
				return nil
			}
			c.addCalm(flood, l.p.name, mpps(&ph), ph.Calmed, o.time)
			return nil
		}); err != nil {
			return err
		}
	}
	for _, l := range inRound(c, lanes[1:], round, o.reps, o.time, func(l *udpLane) bool { return c.lacks(o.reps, l.p.name, steady) }) {
		if err := attempt(ctx, said+"nothing lost, "+l.p.name, func() error {
			ph, err := c.slice(ctx, o, l, flows, window, 0)
			if err != nil {
				return err
			}
			c.addCalm(steady, l.p.name, mpps(&ph), ph.Calmed, o.time)
			c.addCalm(udpKey("all", flows), l.p.name, perFrame(&ph, ph.Receive+ph.User+ph.System), ph.Calmed, o.time)
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// datagramsPaced measures delays at half of what each peer carried.
func (c *catch) datagramsPaced(ctx context.Context, o peersOptions, flows int, lanes []*udpLane) error {
	for _, l := range lanes {
		l.pace = time.Duration(2e3 / quarters(c.counted(udpKey("steady", flows), l.p.name))[1])
	}
	for round := range o.most(o.reps) {
		for _, l := range inRound(c, lanes, round, o.reps, o.time, func(l *udpLane) bool { return c.lacks(o.reps, l.p.name, "udp load") }) {
			if err := attempt(ctx, fmt.Sprintf("half load, round %d of %d: %s", round+1, o.reps, l.p.name), func() error {
				ph, err := c.slice(ctx, o, l, flows, 0, l.pace)
				if err != nil {
					return err
				}
				c.addCalm("udp load", l.p.name, mpps(&ph), ph.Calmed, o.time)
				l.paced = append(l.paced, ph)
				return nil
			}); err != nil {
				return err
			}
		}
		if err := c.keep(); err != nil {
			return err
		}
	}
	for _, l := range lanes {
		for _, part := range grouped(l.paced, tailGroups) {
			var sent, lost uint64
			for i := range part {
				sent, lost = sent+part[i].AllSent, lost+lostOf(&part[i])
			}
			c.add("udp lost", l.p, 100*float64(lost)/float64(sent))
		}
		var all []delays
		var calm []calmTime
		for i := range l.paced {
			all, calm = append(all, l.paced[i].Delays), append(calm, l.paced[i].Calmed)
		}
		if err := c.addDelays("udp", l.p, all, calm, o.time); err != nil {
			return err
		}
	}
	return nil
}

// addDelays adds three points of a distribution, in µs: the middle of each round, and of
// tails what a quarter of the rounds has together. One that shows in few slices would not
// be seen in the median of the slices.
func (c *catch) addDelays(of string, p *peer, rounds []delays, calm []calmTime, want time.Duration) error {
	for _, at := range delayParts {
		parts := rounds
		if at.part > 0.5 {
			parts = merged(rounds, tailGroups)
		}
		for i, d := range parts {
			t, err := d.at(at.part)
			if err != nil {
				return err
			}
			if at.part > 0.5 {
				c.add(of+" "+at.name, p, float64(t)/1e3)
				continue
			}
			c.addCalm(of+" "+at.name, p.name, float64(t)/1e3, calm[i], want)
		}
	}
	return nil
}

// tailGroups is how many figures of a tail there are.
const tailGroups = 4

// grouped parts a list into at most so many lists of neighbours.
func grouped[T any](list []T, groups int) (parts [][]T) {
	groups = min(groups, len(list))
	for i := range groups {
		parts = append(parts, list[i*len(list)/groups:(i+1)*len(list)/groups])
	}
	return parts
}

// merged makes at most so many distributions of neighbours.
func merged(rounds []delays, groups int) (sums []delays) {
	for _, part := range grouped(rounds, groups) {
		sum := make(delays, classes)
		for _, d := range part {
			for class, n := range d {
				sum[class] += n
			}
		}
		sums = append(sums, sum)
	}
	return sums
}

// inTurn is the order of a round: each begins with another, and every second goes backwards.
func inTurn[T any](list []T, round int) []T {
	order := make([]T, 0, len(list))
	for i := range list {
		at := (i + round/2) % len(list)
		if round%2 == 1 {
			at = len(list) - 1 - at
		}
		order = append(order, list[at])
	}
	return order
}

// attempt measures something, and again where that failed.
func attempt(ctx context.Context, what string, measure func() error) (err error) {
	for range tries {
		fmt.Fprintf(os.Stderr, "\r\033[K%s %s", time.Now().Format(time.TimeOnly), what)
		if err = measure(); err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		fmt.Fprintf(os.Stderr, "\r\033[K%s: %v\n", what, err)
	}
	return fmt.Errorf("%s: failed %d times: %w", what, tries, err)
}
