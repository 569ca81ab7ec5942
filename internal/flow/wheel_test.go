package flow

import (
	"testing"

	"pgregory.net/rapid"

	"weir/internal/clock"
)

// drawTicks draws a span of time from one tick to 19 hours, each magnitude as
// likely as the other.
func drawTicks(t *rapid.T, label string) uint32 {
	n := uint64(1) << rapid.IntRange(0, 25).Draw(t, label+" magnitude")
	return uint32(min(n+rapid.Uint64Range(0, n-1).Draw(t, label), MaxTimeout))
}

// The wheel against a list of deadlines: nothing comes due early, nothing later
// than the unit after its deadline, whatever is added and taken out meanwhile
// and wherever the clock wraps.
func TestWheelAgainstList(t *testing.T) {
	const conns, all = 384, 1 << 30
	tab := newTable(t, Config{Conns: conns, Workers: 1})
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.SampledFrom([]uint32{0, 1<<31 - 100, 1<<32 - 100, 1<<32 - 70000}).Draw(t, "start")
		now := clock.Tick(start)
		w := &wheel{}
		w.init(tab, now)
		// The unit's number matters where coarse lists are spread.
		w.cur = rapid.SampledFrom([]uint32{0, 1<<8 - 3, 1<<16 - 3, 1<<24 - 3, 1<<32 - 3}).Draw(t, "unit")
		type timer struct {
			deadline clock.Tick
			from     clock.Tick // when it may come due: a deadline in the past comes due at once
		}
		list := map[uint32]timer{}
		for i := range uint32(conns) {
			tab.Conn(i).Prev = None
		}
		index := rapid.Uint32Range(0, conns-1)
		add := func(i, ticks uint32) {
			if _, ok := list[i]; !ok {
				w.add(i, now+clock.Tick(ticks))
				list[i] = timer{now + clock.Tick(ticks), now + clock.Tick(max(int32(ticks), 0))}
			}
		}
		turn := func(ticks uint32, budget int) {
			now += clock.Tick(ticks)
			for i := dueOne(w, now, &budget); i != None; i = dueOne(w, now, &budget) {
				timer, ok := list[i]
				if !ok {
					t.Fatalf("timer %d comes due, and is none", i)
				}
				if w.tick.Before(timer.deadline) {
					t.Fatalf("timer %d for tick %d comes due at %d", i, timer.deadline, w.tick)
				}
				if late := w.tick.Since(timer.from); late > 1<<wheelShift {
					t.Fatalf("timer %d comes due %d ticks late", i, late)
				}
				delete(list, i)
			}
			for i, timer := range list {
				if budget > 0 && now.Since(timer.from) >= 2<<wheelShift {
					t.Fatalf("timer %d for tick %d did not come due until %d", i, timer.deadline, now)
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) { add(index.Draw(t, "i"), drawTicks(t, "ticks")) },
			"many": func(t *rapid.T) {
				from, ticks := index.Draw(t, "from"), drawTicks(t, "ticks")
				for k := range uint32(50) {
					add((from+k)%conns, ticks+k*k*k)
				}
			},
			"past": func(t *rapid.T) { add(index.Draw(t, "i"), -rapid.Uint32Range(0, 1000).Draw(t, "ago")) },
			"remove": func(t *rapid.T) {
				i := index.Draw(t, "i")
				w.remove(i) // one that is in no list, too
				delete(list, i)
			},
			"unit":  func(t *rapid.T) { turn(1<<wheelShift, all) },
			"ticks": func(t *rapid.T) { turn(rapid.Uint32Range(1, 200).Draw(t, "ticks"), all) },
			"long":  func(t *rapid.T) { turn(drawTicks(t, "ticks")>>8, all) },
			// The budget ends in the middle of the due list.
			"some": func(t *rapid.T) { turn(1<<wheelShift, rapid.IntRange(1, 80).Draw(t, "budget")) },
			"": func(t *rapid.T) {
				if w.count != len(list) {
					t.Fatalf("the wheel counts %d, the list has %d", w.count, len(list))
				}
			},
		})
		// All that is left comes due at its time: each deadline in its order.
		for len(list) > 0 {
			next := uint32(1 << 31)
			for _, timer := range list {
				next = min(next, timer.deadline.Since(now))
			}
			turn(next+1<<wheelShift, all)
		}
		if w.count != 0 {
			t.Fatalf("the wheel counts %d when all came due", w.count)
		}
		for i, head := range w.heads {
			if head != None {
				t.Fatalf("list %d is not empty", i)
			}
		}
	})
}

// Deadlines as far as they may be come due in their unit, through all levels.
func TestFarDeadlines(t *testing.T) {
	tab := newTable(t, Config{Conns: 384, Workers: 1})
	now := clock.Tick(1<<32 - 12345)
	w := &wheel{}
	w.init(tab, now)
	w.cur = 1<<24 - 77
	deadlines := []clock.Tick{
		1, 200, 255 << 6, 257 << 6, 1<<22 - 1, 1<<22 + 200, 1 << 26, 1<<30 - 1, 1<<30 + 200, 1<<30 + 64*77, 1<<31 - 1<<17, MaxTimeout,
	}
	for i, d := range deadlines {
		tab.Conn(uint32(i)).Prev = None
		w.add(uint32(i), now+d)
	}
	for i, d := range deadlines {
		budget := 100
		if got := dueOne(w, now+d-1, &budget); got != None {
			t.Fatalf("timer %d comes due before tick %d of timer %d", got, d, i)
		}
		if got := dueOne(w, now+d+1<<wheelShift, &budget); got != uint32(i) {
			t.Fatalf("at the end of its unit timer %d for tick %d is not due, but %d", i, d, int32(got))
		}
	}
}

// A crowd whose time comes at once costs a call no more than its budget, is late
// together, and nobody is lost.
func TestCrowdIsTakenInPortions(t *testing.T) {
	const crowd = 20000
	tab := newTable(t, Config{Conns: crowd, Workers: 1, Seed: 1})
	w := tab.Worker(0)
	now := clock.Tick(1 << 20)
	startAt(tab, now)
	for n := range uint32(crowd) {
		in, out := pair(n)
		// Some in the finest lists, some that move down first.
		if _, err := w.Insert(&in, &out, &NewConn{Timeout: 100 + n%2*20000}, now); err != nil {
			t.Fatal(err)
		}
	}
	for _, ticks := range []clock.Tick{300, 20000} {
		now += ticks
		calls, ended := 1, 0
		most := 0
		expire := func(i uint32) {
			ended++
			tab.Claim(i)
			w.Remove(i, now)
		}
		for more := w.Advance(now, expire); more; more = w.Advance(now, expire) {
			calls++
			if most = max(most, ended); ended == 0 && calls > crowd {
				t.Fatal("no end")
			}
			if n := ended - (calls-1)*expireBudget; n > 0 {
				t.Fatalf("%d ended in %d calls of %d each", ended, calls, expireBudget)
			}
		}
		if ended != crowd/2 {
			t.Fatalf("%d ended after %d ticks, want %d", ended, ticks, crowd/2)
		}
		if calls < crowd/2/expireBudget {
			t.Fatalf("only %d calls", calls)
		}
	}
}

// A timeout that became shorter counts at once, one that became longer when the
// old one is over; on any worker.
func TestSetTimeout(t *testing.T) {
	for _, r := range []struct {
		name            string
		worker          int
		first, then, at uint32
	}{
		{"shorter, by the owner", 0, 100000, 500, 500},
		{"shorter, by another", 1, 100000, 500, 500},
		{"longer, by the owner", 0, 500, 100000, 100000},
		{"longer, by another", 1, 500, 100000, 100000},
		{"more than the most", 0, 500, 1<<32 - 1, MaxTimeout},
	} {
		t.Run(r.name, func(t *testing.T) {
			tab := newTable(t, Config{Conns: 1, Workers: 2})
			now := clock.Tick(5000)
			startAt(tab, now)
			in, out := pair(1)
			i, err := tab.Worker(0).Insert(&in, &out, &NewConn{Timeout: r.first}, now)
			if err != nil {
				t.Fatal(err)
			}
			tab.Worker(r.worker).SetTimeout(i, r.then, now)
			ended := false
			advance := func(to clock.Tick) {
				for now.Before(to) {
					now += clock.Tick(min(to.Since(now), 1<<20))
					tab.Worker(1).Advance(now, func(uint32) { t.Fatal("another worker expires it") })
					for tab.Worker(0).Advance(now, func(i uint32) {
						ended = true
						tab.Claim(i)
						tab.Worker(0).Remove(i, now)
					}) {
					}
				}
			}
			advance(5000 + clock.Tick(r.at) - 1)
			if ended {
				t.Fatalf("ended before %d ticks", r.at)
			}
			advance(5000 + clock.Tick(r.at) + 2<<wheelShift)
			if !ended {
				t.Fatalf("lives after %d ticks", r.at)
			}
		})
	}
}

// dueOne is due for one.
func dueOne(w *wheel, now clock.Tick, budget *int) uint32 {
	var some dueConns
	some.at, some.n = 0, len(some.all)-1 // room for one
	if w.due(now, budget, &some) == 0 {
		return None
	}
	return some.all[len(some.all)-1]
}

// A defect that ends a call in the middle costs the timer of the connection that met it,
// and no other's.
func TestCallThatDoesNotReturn(t *testing.T) {
	tab := newTable(t, Config{Conns: 384, Workers: 1, Seed: 1})
	w := tab.Worker(0)
	now := clock.Tick(1 << 20)
	startAt(tab, now)
	const conns = 100
	for n := range uint32(conns) {
		in, out := pair(n)
		if _, err := w.Insert(&in, &out, &NewConn{Timeout: 100}, now); err != nil {
			t.Fatal(err)
		}
	}
	ended, met := 0, 0
	expire := func(i uint32) {
		if met++; met%40 == 7 {
			panic("a defect")
		}
		ended++
		tab.Claim(i)
		w.Remove(i, now)
	}
	call := func() {
		defer func() { _ = recover() }()
		w.Advance(now, expire)
	}
	now += 300
	for range 10 {
		call()
	}
	if met != conns || ended != conns-3 {
		t.Errorf("%d of %d came due, %d ended", met, conns, ended)
	}
}

// Who is removed when only some of the due list were taken off, the first one of a lane now or
// one behind it, does not come due; all others do.
func TestRemovedWhileOthersComeDue(t *testing.T) {
	const conns, some = 5 * lanes, 3 * lanes
	tab := newTable(t, Config{Conns: 384, Workers: 1})
	now := clock.Tick(1 << 20)
	w := &wheel{}
	w.init(tab, now)
	for i := range uint32(conns) {
		tab.Conn(i).Prev = None
		w.add(i, now+100)
	}
	now += 300
	gone := map[uint32]bool{}
	come := func(budget int) {
		for i := dueOne(w, now, &budget); i != None; i = dueOne(w, now, &budget) {
			if gone[i] {
				t.Fatalf("timer %d comes due, and was removed or came before", i)
			}
			gone[i] = true
		}
	}
	come(some)
	if len(gone) != some {
		t.Fatalf("%d came due, want %d", len(gone), some)
	}
	for i := range uint32(conns) {
		if !gone[i] && i%3 == 0 {
			w.remove(i)
			gone[i] = true
		}
	}
	come(conns)
	if len(gone) != conns || w.count != 0 {
		t.Fatalf("%d of %d came due or were removed, the wheel counts %d", len(gone), conns, w.count)
	}
}
