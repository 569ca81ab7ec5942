package main

import (
	"errors"
	"io"
	"time"
)

// meter measures something in pieces: S is a reading of its clocks and counters, T what came of
// the time between two.
type meter[S, T any] struct {
	// pass lets a piece's time go by, after one that was calm or not; io.EOF: there is no more.
	pass  func(span time.Duration, calm bool) error
	read  func(found *watched) (S, error)               // beside what the probes found so far
	piece func(a, b *S) (t T, took, away time.Duration) // took 0: it is none; away: see watch.kept
	add   func(to, piece *T)
	whole bool // it is measured until pass says that there is no more
}

// slice measures until there is enough of calm time, and returns what counts.
func (m *meter[S, T]) slice(o calmOrder, clock *processors, want time.Duration) (counted *T, calm calmTime, all *T, err error) {
	w, err := startWatch(o, clock)
	if err != nil {
		return nil, calm, nil, err
	}
	t := tally[T]{w: w, add: m.add}
	span := pieceOf
	if o.Least == 0 {
		span = want
	}
	before, a, err := m.look(w)
	for err == nil && (m.whole || !w.enough(t.took.calm, t.took.all, want)) {
		if err = m.pass(span, t.took.held > 0); err != nil {
			break
		}
		var after watched
		var b S
		if after, b, err = m.look(w); err != nil {
			break
		}
		if piece, took, away := m.piece(&a, &b); took > 0 {
			t.piece(&piece, &before, &after, took, away)
		}
		before, a = after, b
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	counted, calm = t.counted(want)
	return counted, calm, &t.all, err
}

func (m *meter[S, T]) look(w *watch) (found watched, s S, err error) {
	if found, err = w.read(); err == nil {
		s, err = m.read(&found)
	}
	return found, s, err
}

// tally adds pieces of a slice up: all of them, and those that were calm.
type tally[T any] struct {
	w                 *watch
	add               func(to, piece *T)
	all, calm, held   T
	inAll, inCalm, in watched                                 // what the probes found in those
	took              struct{ all, calm, held time.Duration } // and how long they are
}

// piece adds one. A calm piece is held back until the next one is known: a thread's waiting is
// told when it ends, so that one that waits a while may have begun before.
func (t *tally[T]) piece(piece *T, a, b *watched, took, away time.Duration) {
	t.add(&t.all, piece)
	t.inAll.add(a, b)
	t.took.all += took
	kept := t.w.kept(a, b, took, away)
	if !kept {
		t.add(&t.calm, &t.held)
		t.inCalm.add(new(watched), &t.in)
		t.took.calm += t.took.held
	}
	t.held, t.in, t.took.held = *new(T), watched{}, 0
	if !kept && t.w.calm(a, b) {
		t.add(&t.held, piece)
		t.in.add(a, b)
		t.took.held = took
	}
}

// counted ends the watch and returns what counts: what was calm, or all where that is too little
// of the time that was wanted, or where nobody watched.
func (t *tally[T]) counted(want time.Duration) (*T, calmTime) {
	c := calmTime{Calm: t.took.calm, Tenth: calmestTenth(t.w.end())}
	if len(t.w.probes) > 0 && trusted(t.took.calm, want) {
		c.Slow = t.w.slow(&t.inCalm)
		return &t.calm, c
	}
	c.Slow = t.w.slow(&t.inAll)
	return &t.all, c
}
