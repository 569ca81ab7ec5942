package flow

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"weir/internal/clock"
)

// All indexes are handed out once, whoever asks, and then none.
func TestTakeAllOnce(t *testing.T) {
	for _, workers := range []int{1, 2, 5, MaxWorkers} {
		tab := newTable(t, Config{Conns: 5000, Workers: workers})
		seen := make([]bool, tab.Conns())
		n := 0
		for tired := 0; tired < workers; {
			tired = 0
			for _, w := range tab.workers[:workers] {
				i := w.take()
				if i == None {
					tired++
					continue
				}
				if int(i) >= len(seen) || seen[i] {
					t.Fatalf("%d workers: index %d is out of range or handed out twice", workers, i)
				}
				if tab.Conn(i).State&ConnDying == 0 {
					t.Fatalf("index %d looks like a connection before it is one", i)
				}
				seen[i] = true
				n++
			}
		}
		if n != tab.Conns() {
			t.Errorf("%d workers: %d of %d indexes handed out", workers, n, tab.Conns())
		}
	}
}

// What one worker gives back another can take: with each worker lies less than
// 1/128 of the table.
func TestChainsGoFromWorkerToWorker(t *testing.T) {
	for _, conns := range []int{384, 5000, 200_000} {
		tab := newTable(t, Config{Conns: conns, Workers: 2})
		a, b := tab.Worker(0), tab.Worker(1)
		for range 3 {
			var got []uint32
			for i := a.take(); i != None; i = a.take() {
				got = append(got, i)
			}
			for _, i := range got {
				a.give(i)
			}
			if least := tab.Conns() - max(tab.Conns()/128, 8); len(got) < least {
				t.Fatalf("%d connections: one worker got %d, want %d at least", tab.Conns(), len(got), least)
			}
			a, b = b, a
		}
		if n := free(tab); n != tab.Conns() {
			t.Errorf("%d free of %d", n, tab.Conns())
		}
	}
}

// Many workers take and give at once; no index is ever with two.
func TestTakeAndGiveConcurrently(t *testing.T) {
	const workers, rounds = 4, 100000
	tab := newTable(t, Config{Conns: 2000, Workers: workers})
	var mu sync.Mutex
	holder := make([]int, tab.Conns())
	var wg sync.WaitGroup
	for id := range workers {
		wg.Go(func() {
			w, r := tab.Worker(id), rand.New(rand.NewPCG(3, uint64(id)))
			var mine []uint32
			for range rounds {
				if len(mine) > 0 && (r.IntN(2) == 0 || len(mine) > 700) {
					k := r.IntN(len(mine))
					i := mine[k]
					mine[k] = mine[len(mine)-1]
					mine = mine[:len(mine)-1]
					mu.Lock()
					holder[i] = 0
					mu.Unlock()
					w.give(i)
				} else if i := w.take(); i != None {
					mu.Lock()
					if holder[i] != 0 {
						t.Errorf("index %d is with workers %d and %d", i, holder[i]-1, id)
					}
					holder[i] = id + 1
					mu.Unlock()
					mine = append(mine, i)
				}
			}
			for _, i := range mine {
				mu.Lock()
				holder[i] = 0
				mu.Unlock()
				w.give(i)
			}
		})
	}
	wg.Wait()
	if n := free(tab); n != tab.Conns() {
		t.Errorf("%d free of %d at the end", n, tab.Conns())
	}
}

// A full table says so, and takes connections again when others ended and rested.
func TestFullAndAgain(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) { fullAndAgain(t, k.flows) })
	}
}

func fullAndAgain(t *testing.T, flows flowsOf) {
	both(t, func(t *testing.T, b Backing) {
		tab := newTable(t, Config{Conns: 3000, Workers: 1, Backing: b, Seed: 9})
		w := tab.Worker(0)
		now := clock.Tick(1 << 20)
		startAt(tab, now)
		for round := range 3 {
			var conns []uint32
			n, refused := uint32(round)<<20, 0
			for {
				in, out := flows(n)
				n++
				i, err := w.Insert(&in, &out, &NewConn{Timeout: 1 << 20}, now)
				if err == nil {
					conns = append(conns, i)
					continue
				}
				if !errors.Is(err, ErrFull) {
					t.Fatal(err)
				}
				if refused++; tab.Len() == tab.Conns() || refused > 100 {
					break
				}
			}
			if tab.Len() != tab.Conns() {
				t.Fatalf("round %d: full with %d of %d, %d had no place near their home", round, tab.Len(), tab.Conns(), refused)
			}
			t.Logf("round %d: %d had no place near their home", round, refused-1)
			for _, i := range conns {
				tab.Claim(i)
				w.Remove(i, now)
			}
			in, out := flows(n)
			if _, err := w.Insert(&in, &out, &NewConn{Timeout: 1}, now); err != ErrFull {
				t.Fatalf("round %d: %v while all rest, want %v", round, err, ErrFull)
			}
			now += Rest
			for !w.Drained() {
				now++
				w.Advance(now, nil)
			}
		}
	})
}

// What a worker that is awake may still hold is not forgotten before its next
// breath begins, however long it takes.
func TestRestWaitsForSlowWorker(t *testing.T) {
	for _, r := range []struct {
		name   string
		begins int32 // the slow worker's breath, beside the owner's
	}{
		{"breath before", -5}, {"same tick", 0}, {"a tick later", 1}, {"much later than the owner's", 5 * Rest},
	} {
		t.Run(r.name, func(t *testing.T) {
			tab := newTable(t, Config{Conns: 1, Workers: 2})
			now := clock.Tick(1 << 20)
			startAt(tab, now-100)
			w, slow := tab.Worker(0), tab.Worker(1)
			in, out := pair(1)
			w.Begin(now)
			i, err := w.Insert(&in, &out, &NewConn{Timeout: 1 << 20}, now)
			if err != nil {
				t.Fatal(err)
			}
			slow.Begin(now + clock.Tick(r.begins)) // and holds i
			tab.Claim(i)
			w.Remove(i, now)
			for range 20 {
				now += Rest
				w.Begin(now)
				w.Advance(now, nil)
			}
			if w.Drained() {
				t.Fatal("forgotten while the slow worker is in the breath in which it saw the connection")
			}
			slow.Begin(now)
			now += Rest
			w.Begin(now)
			if w.Advance(now, nil); !w.Drained() {
				t.Fatal("not forgotten after all began a new breath")
			}
		})
	}
}
