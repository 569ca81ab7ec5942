package service

import (
	"sync"
	"testing"

	"weir/internal/clock"
)

// TestCheck walks a real server down and up; times are ticks.
func TestCheck(t *testing.T) {
	c := &Check{Down: 2, Up: 2, Wait: 10, Min: 100, Max: 350}
	d := &Dest{}
	now := clock.Tick(1<<32 - 50) // ticks go round
	if d.Failed(now) || d.Recover(now) {
		t.Fatal("a real server that nobody watches was judged")
	}
	d.Check.Store(c)
	fail := func(want bool) {
		t.Helper()
		if d.Failed(now) != want || d.Load.Inhibited.Load() != want {
			t.Fatalf("down: want %v, health %#x", want, d.Health.Load())
		}
	}
	back := func(after uint32) {
		t.Helper()
		if d.Recover(now + clock.Tick(after) - 1) {
			t.Fatalf("back before %d ticks", after)
		}
		now += clock.Tick(after)
		if !d.Recover(now) || d.Load.Inhibited.Load() {
			t.Fatalf("not back after %d ticks", after)
		}
	}
	fail(false)
	now += 10
	fail(false) // the first was too long ago
	d.Succeeded()
	fail(false) // and this one is forgotten
	now += 9
	fail(true)
	if d.Failed(now) {
		t.Fatal("down twice at once")
	}
	d.Succeeded() // of a connection from before
	back(100)
	fail(true) // on trial, one is enough
	back(200)
	d.Succeeded()
	fail(true) // two successes are wanted
	back(350)
	d.Succeeded()
	d.Succeeded() // trusted again, and halved
	fail(false)
	fail(true)
	back(200)
	for range 9 {
		d.Succeeded()
	}
	if h := d.Health.Load(); h != 0 {
		t.Errorf("health after many successes: %#x", h)
	}
	fail(false)
	fail(true)
	d.Check.Store(nil)
	if !d.Recover(now) || d.Load.Inhibited.Load() || d.Health.Load() != 0 {
		t.Error("the check was taken away, and it stays down")
	}
	d.Load.Inhibited.Store(true) // by a worker that saw the check a moment ago
	if d.Recover(now) || d.Load.Inhibited.Load() {
		t.Error("what a late worker said stays")
	}
}

// TestCheckTogether: workers judge at once; each time down is counted once.
func TestCheckTogether(t *testing.T) {
	d := &Dest{}
	d.Check.Store(&Check{Down: 1, Up: 1, Wait: 10, Min: 1, Max: 1})
	var mu sync.Mutex
	down, back := 0, 0
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 20000 {
				switch {
				case w == 0:
					if d.Recover(clock.Tick(i)) {
						mu.Lock()
						back++
						mu.Unlock()
					}
				case w == 1:
					d.Succeeded()
				case d.Failed(clock.Tick(i)):
					mu.Lock()
					down++
					mu.Unlock()
				}
			}
		}()
	}
	wg.Wait()
	if d.Recover(1 << 30) {
		back++
	}
	if down != back || down == 0 || d.Load.Inhibited.Load() {
		t.Errorf("down %d times, back %d times", down, back)
	}
}

func TestIndexOf(t *testing.T) {
	a, b, c := &Dest{}, &Dest{}, &Dest{}
	s := &Service{Dests: []*Dest{a, b}}
	c.Place.Store(1)
	b.Place.Store(7)
	for i, d := range []*Dest{a, b} {
		if got := s.IndexOf(d); got != i {
			t.Errorf("found at %d, is at %d", got, i)
		}
	}
	if s.IndexOf(c) != -1 || s.IndexOf(nil) != -1 {
		t.Error("found what is not there")
	}
}
