package main

import "time"

// allowance bounds how long a run waits for calm time. Each slice of the rounds that there are
// to be pays some time in, and all time that goes by while there are rounds is taken out: who
// finds calm at once leaves some for who does not, for rounds more, and for what comes later.
// So a run ends in time, whatever neighbours do.
type allowance struct {
	left   time.Duration
	since  time.Time // until then it is accounted for
	slices int       // of this round, that are still to come
}

// share is what a slice may take of what is left: as much as each that is still to come in its
// round, so that who comes last in a disturbed spell waits as long for the end of it as who comes
// first, and nobody takes what later figures need.
func (a *allowance) share() time.Duration {
	each := a.rest() / time.Duration(max(a.slices, 1))
	a.slices--
	return each
}

// begin begins rounds: what went by before, to make networks, is nobody's waiting.
func (a *allowance) begin() { a.since = time.Now() }

// rest is what is left now.
func (a *allowance) rest() time.Duration {
	now := time.Now()
	a.left -= now.Sub(a.since)
	a.since = now
	return a.left
}

const (
	// granted times what a slice wants to measure it may take in the mean, all that is around
	// it included.
	granted = 7
	// calmSpan and calmMost times what it wants each slice may last at least, however little
	// is left, and at most.
	calmSpan, calmMost = 3, 12
)

// calm is what a slice counts, with or without the worker's processor, and how long it may wait.
func (c *catch) calm(o *peersOptions, want time.Duration, worker bool, of ...int) calmOrder {
	order := calmOrder{Least: c.Least, CPUs: []int{generatorCPU}, Times: 1}
	if !o.rough {
		order.Times = max(calmSpan, min(int(c.allow.share()/want), calmMost))
	}
	if worker {
		order.CPUs, order.Of = append(order.CPUs, workerCPU), of
	}
	return order
}

// most is how many rounds there may be, so that all have calm ones.
func (o *peersOptions) most(rounds int) int {
	if o.rough {
		return rounds
	}
	return 2 * rounds
}

// inRound are those that are measured in a round, a slice each of so much time: all, and after
// so many rounds, while there is time left, those that lack calm ones.
func inRound[T any](c *catch, list []T, round, rounds int, want time.Duration, lacks func(T) bool) (some []T) {
	if round < rounds {
		c.allow.left += granted * want * time.Duration(len(list))
		c.allow.slices = len(list)
		return inTurn(list, round)
	}
	for _, x := range inTurn(list, round) {
		if c.allow.rest() > 0 && lacks(x) {
			some = append(some, x)
		}
	}
	c.allow.slices = len(some)
	return some
}
