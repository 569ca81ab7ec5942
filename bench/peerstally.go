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
	for err == nil && (m.whole || !w.enough(t.calm(), t.took, want)) {
		if err = m.pass(span, t.atLast()); err != nil {
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

// tally adds pieces of a slice up: all of them, and keeps those that seem to be calm.
type tally[T any] struct {
	w     *watch
	add   func(to, piece *T)
	all   T
	inAll watched // what the probes found
	took  time.Duration
	held  []heldPiece[T] // in their order
}

// heldPiece is a piece that was calm as far as is known. A thread's waiting is told when it ends,
// so that one that waits for long has begun pieces before; and they, in which nothing was done, would be
// calm time without any work.
type heldPiece[T any] struct {
	piece    T
	in       watched
	end, dur time.Duration // of the slice
}

// piece adds one, and gives up those that a wait which was told now may reach back to.
func (t *tally[T]) piece(piece *T, a, b *watched, took, away time.Duration) {
	t.add(&t.all, piece)
	t.inAll.add(a, b)
	began := t.took
	t.took += took
	waited, kept := t.w.kept(a, b, took, away)
	if kept {
		// It ended in this piece, at its beginning perhaps, and had begun so much earlier.
		for len(t.held) > 0 && t.held[len(t.held)-1].end >= began-waited {
			t.held = t.held[:len(t.held)-1]
		}
		return
	}
	if t.w.calm(a, b) {
		h := heldPiece[T]{end: t.took, dur: took}
		t.add(&h.piece, piece)
		h.in.add(a, b)
		t.held = append(t.held, h)
	}
}

// atLast reports whether the last piece is held.
func (t *tally[T]) atLast() bool { return len(t.held) > 0 && t.held[len(t.held)-1].end == t.took }

// known are the pieces that are held but the last one: of that it is not known yet.
func (t *tally[T]) known() []heldPiece[T] {
	if t.atLast() {
		return t.held[:len(t.held)-1]
	}
	return t.held
}

// calm is how long those are.
func (t *tally[T]) calm() (sum time.Duration) {
	for _, h := range t.known() {
		sum += h.dur
	}
	return sum
}

// counted ends the watch and returns what counts: what was calm, or all where that is too little
// of the time that was wanted, or where nobody watched.
func (t *tally[T]) counted(want time.Duration) (*T, calmTime) {
	c := calmTime{Calm: t.calm(), Tenth: calmestTenth(t.w.end())}
	if len(t.w.probes) == 0 || !trusted(c.Calm, want) {
		c.Slow = t.w.slow(&t.inAll)
		return &t.all, c
	}
	var calm T
	var in watched
	for _, h := range t.known() {
		t.add(&calm, &h.piece)
		in.add(new(watched), &h.in)
	}
	c.Slow = t.w.slow(&in)
	return &calm, c
}
