package worker

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
)

// ErrStopped is returned by Do when the worker no longer breathes.
var ErrStopped = errors.New("the worker has stopped")

// mailbox holds questions of the control plane, answered between two breaths.
type mailbox struct {
	pending atomic.Bool

	mu     sync.Mutex // guards what follows; the worker takes it only if pending
	closed bool
	calls  []*call
}

type call struct {
	f    func(*Worker)
	done chan struct{}
	ok   bool
}

// Do runs f between two breaths of the worker, on its thread, and waits for it.
// f sees a worker at rest and must be short. An error of ctx, or ErrStopped,
// means that f did not run or may still run later.
func (w *Worker) Do(ctx context.Context, f func(*Worker)) error {
	c := &call{f: f, done: make(chan struct{})}
	w.mail.mu.Lock()
	if w.mail.closed {
		w.mail.mu.Unlock()
		return ErrStopped
	}
	w.mail.calls = append(w.mail.calls, c)
	w.mail.pending.Store(true)
	w.mail.mu.Unlock()
	w.wakeIfAsleep()
	select {
	case <-c.done:
		if !c.ok {
			return ErrStopped
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run answers what was asked so far.
func (m *mailbox) run(w *Worker) bool {
	if !m.pending.Load() {
		return false
	}
	m.mu.Lock()
	calls := m.calls
	m.calls = nil
	m.pending.Store(false)
	m.mu.Unlock()
	for _, c := range calls {
		c.f(w)
		c.ok = true
		close(c.done)
	}
	return true
}

// close refuses questions from now on.
func (m *mailbox) close() {
	m.mu.Lock()
	calls := m.calls
	m.calls, m.closed = nil, true
	m.mu.Unlock()
	for _, c := range calls {
		close(c.done)
	}
}
