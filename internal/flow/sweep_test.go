package flow

import (
	"testing"

	"weir/internal/clock"
)

// Searches stay short however long connections come and go: at the rated fill, ended
// ones that rest counted, with lives of a second and of ten.
func TestSearchesUnderChurn(t *testing.T) {
	for _, r := range []struct {
		name    string
		seconds uint32
		fill    int     // percent of the rated one
		most    float64 // slots that a search for what is not there looks at
	}{
		{"lives of a second", 1, 98, 40}, {"lives of ten seconds", 10, 98, 40},
		{"half full", 1, 49, 8}, {"half full, ten seconds", 10, 49, 8},
		{"a quarter full", 1, 24, 8}, {"a quarter full, ten seconds", 10, 24, 8},
	} {
		t.Run(r.name, func(t *testing.T) {
			const conns = 100_000
			tab := newNarrowTable(t, Config{Conns: conns, Workers: 1, Seed: 1})
			w := tab.Worker(0)
			now := clock.Tick(1 << 20)
			startAt(tab, now)
			life := r.seconds * clock.PerSecond
			each := int(uint32(conns*r.fill/100) / (life + Rest + 3<<wheelShift))
			n, refused := uint32(0), 0
			expire := func(i uint32) {
				tab.Claim(i)
				w.Remove(i, now)
			}
			for lives := range 6 {
				for range life + Rest {
					now++
					w.Begin(now)
					for range each {
						in, out := narrow(n * 3)
						n++
						if _, err := w.Insert(&in, &out, &NewConn{Timeout: life}, now); err != nil {
							refused++
						}
					}
					for w.Advance(now, expire) {
					}
				}
				absent, there := searches(tab)
				_, valid, _, dead := slots(tab)
				t.Logf("life %d: %d valid, %d dead of %d, %d refused; a search for what is not there looks at %.1f slots, a half-flow is %.2f from home", lives, valid, dead, tab.Slots(), refused, absent, there)
				if absent > r.most {
					t.Errorf("a search for what is not there looks at %.1f slots", absent)
				}
			}
			if refused > 0 {
				t.Errorf("%d connections were refused", refused)
			}
		})
	}
}

// A round of the sweep takes a second and no longer, however many slots there are and however
// often its owner calls, who sleeps for 50 ms at most. That of a small table may be shorter.
func TestSweepKeepsPace(t *testing.T) {
	for _, slots := range []int{1 << 12, 1 << 20, 1 << 25} {
		for _, r := range []struct {
			calls int    // at a tick
			every uint32 // so many ticks
		}{{1000, 1}, {40, 1}, {2000, 48}} {
			var s sweep
			s.forgot(slots, slots)
			n, ticks := 0, uint32(0)
			for s.lap > 0 && ticks < 1<<12 {
				ticks += r.every
				s.pass(r.every, slots)
				for range r.calls {
					p := s.pages()
					if n += p; p > sweepBudget {
						t.Fatalf("%d pages in a call", p)
					}
					s.pass(0, slots)
				}
			}
			if n*sweepPage < slots || ticks > 1100 || ticks < 900 && slots > 1<<12 {
				t.Errorf("%d slots, %d calls every %d ticks: %d slots looked at in %d ticks", slots, r.calls, r.every, n*sweepPage, ticks)
			}
		}
	}
}

// searches returns how many slots a search from each home to the first empty slot looks at,
// and how far half-flows are from home, on average.
func searches(tab *Table) (absent, there float64) {
	n, sum, total := 0, 0, 0
	run := 0
	for s := tab.Slots() - 1; s >= 0; s-- {
		if k := tab.Half(uint32(s)).Key1; k == 0 {
			run = 0
		} else if run++; k&FlagValid != 0 {
			n++
			sum += int(far(tab, uint32(s)))
		}
		total += min(run+1, ProbeMax)
	}
	return float64(total) / float64(tab.Slots()), float64(sum) / float64(n)
}

// A round of the sweep empties the slots of those that ended a second ago where nobody's
// path leads across, and no others: of both families, with one worker and with several, at a
// fill where runs of slots are long and go across pages.
func TestSweepEmptiesWhatNoPathCrosses(t *testing.T) {
	for _, r := range []struct {
		name    string
		workers int
		flows   flowsOf
		live    uint32 // of 16 connections
	}{
		{"IPv4, one worker", 1, narrow, 8}, {"IPv4, two", 2, narrow, 8}, {"IPv6, one", 1, broad, 8}, {"IPv6, two", 2, broad, 8},
		{"one in sixteen lives", 1, narrow, 1}, {"and with two workers", 2, narrow, 1}, {"all but one in sixteen", 1, narrow, 15}, {"none", 1, narrow, 0},
	} {
		t.Run(r.name, func(t *testing.T) {
			const conns = 5000
			tab := newNarrowTable(t, Config{Conns: conns, Workers: r.workers, Seed: 17})
			w := tab.Worker(0)
			now := clock.Tick(1 << 20)
			startAt(tab, now)
			live := make(map[uint32]uint32)
			for n := range uint32(conns) {
				in, out := r.flows(n)
				if i, err := w.Insert(&in, &out, &NewConn{Timeout: 1 << 30}, now); err == nil {
					live[n] = i
				}
			}
			// Half of those that end do so too late to be swept.
			for n, i := range live {
				if n%16 >= r.live {
					tab.Claim(i)
					w.Remove(i, now+clock.Tick(n/16%2))
					delete(live, n)
				}
			}
			now += Rest
			crossed := make(map[uint32]bool)
			for s := range allSlots(tab) {
				if tab.Half(s).Key1&FlagValid != 0 {
					for n := range far(tab, s) {
						crossed[s-uint32(n)-1] = true
					}
				}
			}
			before := make(map[uint32]Half)
			for s := range allSlots(tab) {
				before[s] = *tab.Half(s)
			}
			for wide, slots := range [2]int{tab.Slots(), tab.WideSlots()} {
				for range slots / sweepPage {
					w.sweepPage(uint32(wide)<<31, slots, &tab.swept[wide], now)
				}
			}
			emptied, kept := 0, 0
			for s := range allSlots(tab) {
				was, is := before[s], *tab.Half(s)
				switch may := was.Key1&FlagDead != 0 && was.Last == uint32(now-Rest); {
				case may && !crossed[s]:
					if was.Key1 = 0; is != was {
						t.Fatalf("slot %#x is %x, want it empty", s, is.Key1)
					}
					emptied++
				default:
					if is.Key1 &^= KeyMask & -(is.Key1 & FlagDead >> deadBit); is != was { // less an emptier's mark
						t.Fatalf("slot %#x is %x, was %x", s, is.Key1, was.Key1)
					}
					if may {
						kept++
					}
				}
			}
			t.Logf("%d emptied, %d on somebody's path", emptied, kept)
			if emptied == 0 || (kept == 0) != (r.live == 0) {
				t.Errorf("%d slots emptied, %d on somebody's path", emptied, kept)
			}
			checkTable(t, tab, live, r.flows)
		})
	}
}

// Between the look at a page and the emptying of its slots another worker may have moved in,
// or moved in and out again.
func TestVacateLooksAgain(t *testing.T) {
	tab := newTable(t, Config{Conns: 1, Workers: 2, Seed: 1})
	w, now := tab.Worker(0), clock.Tick(1<<20)
	startAt(tab, now)
	in, out := narrow(1)
	i, err := w.Insert(&in, &out, &NewConn{Timeout: 1 << 20}, now)
	if err != nil {
		t.Fatal(err)
	}
	slot := tab.Conn(i).In
	check := func(when string, at clock.Tick, empty bool) {
		t.Helper()
		if w.vacate(slot, at); (tab.Half(slot).Key1 == 0) != empty {
			t.Fatalf("%s: Key1 is %#x", when, tab.Half(slot).Key1)
		}
	}
	check("it lives", now+Rest, false)
	tab.Claim(i)
	w.Remove(i, now)
	check("it rests", now+Rest-1, false)
	check("it rested", now+Rest, true)
}
