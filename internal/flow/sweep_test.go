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
		most    float64 // slots that a search for what is not there looks at
	}{
		{"lives of a second", 1, 40}, {"lives of ten seconds", 10, 40},
	} {
		t.Run(r.name, func(t *testing.T) {
			const conns = 100_000
			tab := newNarrowTable(t, Config{Conns: conns, Workers: 1, Seed: 1})
			w := tab.Worker(0)
			now := clock.Tick(1 << 20)
			startAt(tab, now)
			life := r.seconds * clock.PerSecond
			each := int(conns * 98 / 100 / (life + Rest + 3<<wheelShift))
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
