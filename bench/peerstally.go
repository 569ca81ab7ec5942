package main

import "time"

// tally adds pieces of a slice up: all of them, and those that were calm.
type tally[T any] struct {
	w                 *watch
	add               func(to, piece *T)
	all, calm, held   T
	inAll, inCalm, in watched // what the probes found in those
}

// piece adds one. A calm piece is held back until the next one is known: a thread's waiting is
// told when it ends, so that one that waits a while may have begun before.
func (t *tally[T]) piece(piece *T, a, b *watched, took, away time.Duration) {
	t.add(&t.all, piece)
	t.inAll.add(a, b)
	kept := t.w.kept(a, b, took, away)
	if !kept {
		t.add(&t.calm, &t.held)
		t.inCalm.add(new(watched), &t.in)
	}
	t.held, t.in = *new(T), watched{}
	if !kept && t.w.calm(a, b) {
		t.add(&t.held, piece)
		t.in.add(a, b)
	}
}

// counted ends the watch and returns what counts: what was calm, or all where that is too little
// of the time that was wanted.
func (t *tally[T]) counted(calm, want time.Duration) (*T, calmTime) {
	c := calmTime{Calm: calm, Least: t.w.end()}
	if trusted(calm, want) {
		c.Slow = t.w.slow(&t.inCalm)
		return &t.calm, c
	}
	c.Slow = t.w.slow(&t.inAll)
	return &t.all, c
}
