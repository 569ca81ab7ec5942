package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// measure lets the connections run until there is enough of calm time, and counts that alone.
func (r *webRun) measure() (ph webPhase, err error) {
	m := meter[webTimes, webPhase]{
		pass: func(span time.Duration, calm bool) (err error) {
			if !calm {
				if err := r.settle(r.now() + span); err != nil {
					return err
				}
			}
			r.ph = webPhase{Failures: r.ph.Failures, FailedBecauseOf: r.ph.FailedBecauseOf}
			clear(r.delays)
			for until := r.now() + span; err == nil && r.now() < until; {
				err = r.turn(until)
			}
			return err
		},
		read:  r.times,
		piece: r.piece,
		add:   (*webPhase).add,
	}
	if r.o.Netns != 0 {
		if r.receipts, err = openReceipts(r.o.Netns, r.o.Between); err != nil {
			return ph, err
		}
		defer func() {
			err = errors.Join(err, r.receipts.close())
			r.receipts = nil
		}()
	}
	r.measuring = true
	counted, calm, _, err := m.slice(r.o.Calm, &r.clock, r.o.For)
	r.measuring = false
	if counted != nil {
		ph = *counted
	}
	ph.Calmed = calm
	// What failed is told whenever it was.
	ph.Failures, ph.FailedBecauseOf = r.ph.Failures, r.ph.FailedBecauseOf
	return ph, err
}

// settle ends what is under way, with a pace, before it goes on: requests that became due while
// processors were not calm wait long, and would be in the delays of the calm time after it.
func (r *webRun) settle(until time.Duration) error {
	if r.o.Every == 0 {
		return nil
	}
	r.forget()
	for r.next = until; r.now() < until && len(r.idle) < len(r.conns); {
		if err := r.turn(until); err != nil {
			return err
		}
	}
	r.next = 0
	return nil
}

// forget has requests that are under way have no delay that counts.
func (r *webRun) forget() {
	for _, c := range r.conns {
		if c.asked {
			c.since = 0
		}
	}
}

// piece is what was done between two readings.
func (r *webRun) piece(a, b *webTimes) (piece webPhase, took, away time.Duration) {
	piece = r.ph
	piece.Took = b.at.Sub(a.at)
	piece.Ends, piece.Balancer, piece.Softirqd = b.ends-a.ends, b.balancer-a.balancer, b.softirqd-a.softirqd
	piece.Lent, piece.Borrowed = b.lent-a.lent, b.borrowed-a.borrowed
	if r.o.Every > 0 {
		piece.Delays = r.delays
	}
	return piece, piece.Took, b.away - a.away
}

// add adds what was measured in another piece of time, but for failures.
func (w *webPhase) add(o *webPhase) {
	w.Took += o.Took
	w.Requests += o.Requests
	w.Ends += o.Ends
	w.Balancer += o.Balancer
	w.Softirqd += o.Softirqd
	w.Lent += o.Lent
	w.Borrowed += o.Borrowed
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
	lent, borrowed           time.Duration // see receipts
	away                     time.Duration // that others had the processor that the client wanted, at an unknown offset
}

func (r *webRun) times(found *watched) (t webTimes, err error) {
	var s sample
	if err := r.clock.read(&s, 0); err != nil {
		return t, err
	}
	t.at, t.ends, t.softirqd = s.at, s.generator-found.spent, s.softirqd
	// While the client waits, server and ksoftirqd work for us.
	waited, err := waitedTime(unix.Gettid())
	if err != nil {
		return t, err
	}
	softirqd, err := processTime(r.clock.first)
	if err != nil {
		return t, err
	}
	t.away = waited - softirqd - found.spent
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
	t.lent, t.borrowed, err = r.receipts.read()
	return t, err
}
