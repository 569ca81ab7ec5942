package main

import (
	"strings"
	"testing"
	"time"

	"weir/internal/clock"
	"weir/internal/spec"
)

// known is a calmness that found one as the least, and has no probe any more.
func known() *calmness {
	c := &calmness{least: 1, finished: make(chan struct{}), found: []float64{1}}
	close(c.finished)
	return c
}

// Calm pieces alone count: whose probes found little more than the least, that had some, and
// that did not wait for their processor.
func TestCalmPieces(t *testing.T) {
	c := known()
	all := []piece{
		{n: 1, used: 100 * time.Millisecond, slow: 1},
		{n: 10, used: 100 * time.Millisecond, slow: calmWithin + 0.01},
		{n: 100, used: 100 * time.Millisecond, slow: 1, waited: true},
		{n: 1000, used: 200 * time.Millisecond, slow: calmWithin - 0.01},
		{n: 10000, used: 100 * time.Millisecond},
	}
	m := c.of(all)
	if m.n != 1001 || m.part != 0.5 || !m.ok || m.ns != 3e8/1001 {
		t.Errorf("of a piece with 1 and one with 1000, half of the time: %+v", m)
	}
	if m := c.of(append(all[1:3:3], piece{n: 1, used: 30 * time.Millisecond, slow: 1})); m.n != 1 || m.ok {
		t.Errorf("30 ms of 230 are not enough: %+v", m)
	}
	// Parts of a course count alike, however much of each was calm.
	slow := piece{n: 1e6, used: 2 * time.Second, slow: 1}
	fast := piece{n: 1e6, used: time.Second, slow: 1}
	if m := c.evenly([][]piece{{slow}, {fast, fast, fast}}); !m.ok || m.ns != 1500 {
		t.Errorf("1000 and 2000 ns: %+v", m)
	}
	if m := c.evenly([][]piece{{slow}, {{n: 1, used: time.Second, slow: 2}}}); m.ok {
		t.Errorf("the second part had no calm time: %+v", m)
	}
}

// What is told, and why it is not.
func TestCalmTold(t *testing.T) {
	c := known()
	harness := c.of([]piece{{n: 1e6, used: 100 * time.Millisecond, slow: 1}})
	pieces := func(expired int) []piece {
		return []piece{{n: 1e6, expired: expired, used: 600 * time.Millisecond, slow: 1}, {n: 1e6, expired: 1e6, used: time.Second, slow: 2}}
	}
	for name, row := range map[string]struct {
		m, harness calmed
		want       string
	}{
		"enough":              {c.of(pieces(1e6)), harness, "2000000 flows a second in calm time alone, 38 % of all (500 ns each), 1.00 expired for each made (1.00 in all time)"},
		"too few expired":     {c.of(pieces(5e5)), harness, "not told, since less expired in calm time (38 % of all): 0.50 for each made, 0.75 in all time"},
		"too little":          {c.of(pieces(1e6)[1:]), harness, "too little of the time was calm to be told of: 0 %"},
		"no harness":          {c.of(pieces(1e6)), calmed{}, "the harness had no calm time"},
		"a few expired":       {c.of([]piece{{n: 1e6, used: 600 * time.Millisecond, slow: 1}, {n: 1e6, expired: 900, used: time.Second, slow: 2}}), harness, "38 % of all (500 ns each)"},
		"none expired at all": {c.of([]piece{{n: 1e6, used: 600 * time.Millisecond, slow: 1}}), harness, "100 % of all (500 ns each)"},
	} {
		if got := c.told(row.m, row.harness, "flows a second"); !strings.Contains(got, row.want) {
			t.Errorf("%s: %q has not %q", name, got, row.want)
		}
	}
}

// In each piece as many connections expire as a unit of the wheel has, so that calm pieces have
// what all have: the time of this worker goes on by 100 µs with each look at it.
func TestSustainedPieces(t *testing.T) {
	r, err := newUDPRun(1_300_000, 88)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	now := clock.Nanos()
	r.clock = func() uint64 { now += 1e5; return now }
	short := spec.DefaultTimeouts()
	short.UDP.OneWay = 1
	r.setTimeouts(&short)
	c := known()
	var steps sustainSteps
	began := now
	for now-began < 2e9 {
		r.sustained(c, &steps)
	}
	for i := range 10 {
		if p := r.sustained(c, &steps); p.n == 0 || p.ended() < 0.85 || p.ended() > 1.15 {
			t.Errorf("piece %d: %d expired of %d made", i, p.expired, p.n)
		}
	}
	if err := r.lost(); err != nil {
		t.Error(err)
	}
}

// In a minute in which a neighbour is at work all the time, but for a moment now and then, the
// least is what probes find in those, to a few of a hundred; a probe or two whose queue was
// interrupted are not.
func TestLeastInDisturbedMinute(t *testing.T) {
	found := []float64{0.7, 0.7}
	for i := range 800 {
		switch {
		case i%50 == 0: // one in fifty finds nobody
			found = append(found, 1.36+0.01*float64(i/50%3))
		default:
			found = append(found, 1.6+0.001*float64(i))
		}
	}
	c := &calmness{found: found}
	if c.learn(); c.least < 1.36 || c.least > 1.4 {
		t.Errorf("the least is %v, and 1.36 to 1.38 where nobody disturbs", c.least)
	}
	if least := undisturbed(found[:2]); least != 0.7 || undisturbed(nil) != 0 {
		t.Errorf("of two probes %v", least)
	}
}

// A probe that was itself disturbed for long counts as a few, and a neighbour as what it is.
func TestCalmLearns(t *testing.T) {
	c := &calmness{found: []float64{3, 1.5, 1.4, 1.4, 1.4, 1.4, 1.4, 1.4, 1.4, 1.4}}
	c.learn()
	if c.least != 1.4 || c.most.Load() != 5600 {
		t.Errorf("the least is %v, a probe counts up to %d thousandths", c.least, c.most.Load())
	}
	c.found = append(c.found, 1, 1, 1)
	if c.learn(); c.least != 1 || c.most.Load() != 4000 {
		t.Errorf("later the least is %v, a probe counts up to %d thousandths", c.least, c.most.Load())
	}
	c.found = []float64{2}
	if c.learn(); c.least != 1 {
		t.Errorf("a disturbed time made the least %v", c.least)
	}
}
