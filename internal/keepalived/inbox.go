package keepalived

import "sync"

// inbox carries what happens elsewhere to the goroutine that owns the state. Who puts
// something in never waits: health.Notices must not.
type inbox struct {
	mu     sync.Mutex
	events []func()
	wake   chan struct{}
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

func (b *inbox) put(f func()) {
	b.mu.Lock()
	b.events = append(b.events, f)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// drain runs all that is there.
func (b *inbox) drain() {
	for {
		b.mu.Lock()
		events := b.events
		b.events = nil
		b.mu.Unlock()
		if len(events) == 0 {
			return
		}
		for _, f := range events {
			f()
		}
	}
}
