package main

import (
	"slices"
	"time"
)

// counts measures until there is enough of calm time, and counts that alone.
func (p *part) counts(o order) (ph phase, err error) {
	m := meter[sample, phase]{
		pass: func(span time.Duration, _ bool) error { time.Sleep(span); return nil },
		read: func(*watched) (sample, error) { return p.sample(o.Director) },
		piece: func(a, b *sample) (phase, time.Duration, time.Duration) {
			piece := between(a, b)
			return piece, piece.Took, piece.Away
		},
		add: (*phase).add,
	}
	counted, calm, _, err := m.slice(o.Calm, &p.clock, o.For)
	if counted != nil {
		ph = *counted
	}
	ph.Calmed = calm
	return ph, err
}

// add adds what was measured in another piece of time.
func (ph *phase) add(o *phase) {
	ph.Took += o.Took
	ph.Away += o.Away
	ph.Sunk += o.Sunk
	ph.Receive += o.Receive
	ph.User += o.User
	ph.System += o.System
	if ph.Delays == nil {
		ph.Delays = slices.Clone(o.Delays)
		return
	}
	for i, n := range o.Delays {
		ph.Delays[i] += n
	}
}
