package main

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// measure lets the connections run until there is enough of calm time, and counts that alone.
func (r *webRun) measure() (ph webPhase, err error) {
	w, err := startWatch(r.o.Calm, &r.clock)
	if err != nil {
		return ph, err
	}
	t := tally[webPhase]{w: w, add: (*webPhase).add}
	span := pieceOf
	if r.o.Calm.Least == 0 {
		span = r.o.For
	}
	r.measuring = true
	before, err := r.times(w)
	for err == nil && !w.enough(t.calm.Took, t.all.Took, r.o.For) {
		r.ph = webPhase{Failures: r.ph.Failures, FailedBecauseOf: r.ph.FailedBecauseOf}
		clear(r.delays)
		for until := r.now() + span; err == nil && r.now() < until; {
			err = r.turn(until)
		}
		var after webTimes
		if err == nil {
			after, err = r.times(w)
		}
		if err != nil {
			break
		}
		piece := r.ph
		piece.Took = after.at.Sub(before.at)
		piece.Ends, piece.Balancer, piece.Softirqd = after.ends-before.ends, after.balancer-before.balancer, after.softirqd-before.softirqd
		if r.o.Every > 0 {
			piece.Delays = r.delays
		}
		t.piece(&piece, &before.watched, &after.watched, piece.Took, after.away-before.away)
		before = after
	}
	r.measuring = false
	counted, calm := t.counted(t.calm.Took, r.o.For)
	ph = *counted
	ph.Calmed = calm
	// What failed is told whenever it was.
	ph.Failures, ph.FailedBecauseOf = r.ph.Failures, r.ph.FailedBecauseOf
	return ph, err
}

// add adds what was measured in another piece of time, but for failures.
func (w *webPhase) add(o *webPhase) {
	w.Took += o.Took
	w.Requests += o.Requests
	w.Ends += o.Ends
	w.Balancer += o.Balancer
	w.Softirqd += o.Softirqd
	if w.Delays == nil {
		w.Delays = slices.Clone(o.Delays)
		return
	}
	for i, n := range o.Delays {
		w.Delays[i] += n
	}
}

// webTimes are all processor times at once.
type webTimes struct {
	at                       time.Time
	ends, balancer, softirqd time.Duration
	away                     time.Duration // that others had the processor that the client wanted, at an unknown offset
	watched                  watched
}

func (r *webRun) times(w *watch) (t webTimes, err error) {
	var s sample
	if err := r.clock.read(&s, 0); err != nil {
		return t, err
	}
	if t.watched, err = w.read(); err != nil {
		return t, err
	}
	t.at, t.ends, t.softirqd = s.at, s.generator-t.watched.spent, s.softirqd
	// While the client waits, server and ksoftirqd work for us.
	waited, err := waitedTime(unix.Gettid())
	if err != nil {
		return t, err
	}
	softirqd, err := processTime(r.clock.first)
	if err != nil {
		return t, err
	}
	t.away = waited - softirqd - t.watched.spent
	for _, pid := range r.o.Clients {
		used, err := processTime(pid)
		if err != nil {
			return t, fmt.Errorf("the server is gone: %w", err)
		}
		t.ends += used
		t.away -= used
	}
	for _, pid := range r.o.Between {
		used, err := processTime(pid)
		if err != nil {
			return t, fmt.Errorf("the balancer is gone: %w", err)
		}
		t.balancer += used
	}
	return t, nil
}
