package main

import (
	"slices"
	"time"
)

// calmly measures until there is enough of calm time, and counts that alone.
func (p *part) calmly(o order, a sample) (ph phase, err error) {
	w, err := startWatch(o.Calm, &p.clock)
	if err != nil {
		return ph, err
	}
	t := tally[phase]{w: w, add: (*phase).add}
	now, err := w.read()
	for err == nil && !w.enough(t.calm.Took, t.all.Took, o.For) {
		time.Sleep(pieceOf)
		var b sample
		var next watched
		if b, err = p.sample(o.Director); err != nil {
			break
		}
		if next, err = w.read(); err != nil {
			break
		}
		piece := between(&a, &b)
		t.piece(&piece, &now, &next, piece.Took, piece.Away)
		a, now = b, next
	}
	counted, calm := t.counted(t.calm.Took, o.For)
	ph = *counted
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
