package health

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// In the bubble of synctest time is a value that goes on when all wait for it.

// diary writes down what a schedule says, with the second it said it in.
type diary struct {
	mu    sync.Mutex
	begin time.Time
	said  []string
	fails int
}

func newDiary() *diary { return &diary{begin: time.Now()} }

func (d *diary) write(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.said = append(d.said, fmt.Sprintf("%g ", time.Since(d.begin).Seconds())+fmt.Sprintf(format, args...))
}

func (d *diary) Up(s Server)              { d.write("%s up", s) }
func (d *diary) Down(s Server, why error) { d.write("%s down: %v", s, why) }
func (d *diary) Weigh(s Server, w int)    { d.write("%s weighs %d", s, w) }

func (d *diary) Failed(Server, Check, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fails++
}

func (d *diary) expect(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Equal(d.said, want) {
		t.Errorf("it said\n\t%s\nwant\n\t%s", strings.Join(d.said, "\n\t"), strings.Join(want, "\n\t"))
	}
	d.said = nil
}

// puppet is a probe that finds what it is told, after a while.
type puppet struct {
	mu      sync.Mutex
	finding Finding
	takes   time.Duration
	asked   []time.Time
	under   int // way
}

func (p *puppet) Probe(ctx context.Context) Finding {
	p.mu.Lock()
	p.asked = append(p.asked, time.Now())
	p.under++
	takes := p.takes
	p.mu.Unlock()
	defer func() { p.mu.Lock(); p.under--; p.mu.Unlock() }()
	if takes > 0 {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			return found(ctx.Err())
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.finding
}

func (p *puppet) find(f Finding) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finding = f
}

var errDead = errors.New("dead")

// at lets time pass until so many seconds after the beginning.
func (d *diary) at(seconds float64) {
	<-time.After(time.Until(d.begin.Add(time.Duration(seconds * float64(time.Second)))))
	synctest.Wait()
}

func never(time.Duration) time.Duration { return 0 }

// scene runs f with a schedule that does not spread, inside a bubble.
func scene(t *testing.T, f func(t *testing.T, s *Schedule, d *diary)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		s := start(d, never)
		defer s.Stop()
		f(t, s, d)
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A server that dies is down within retry x delay + timeouts, and up at its first success.
func TestDiesAndReturns(t *testing.T) {
	scene(t, func(t *testing.T, s *Schedule, d *diary) {
		p := &puppet{takes: 500 * time.Millisecond}
		must(t, s.Set("a", Target{Checks: []Check{{Probe: p, DelayLoop: 3 * time.Second, Retry: 2, DelayBeforeRetry: time.Second}}}))
		d.expect(t, "0 a up")
		d.at(1) // checked at 0 to 0.5, next 3.5 to 4
		p.find(found(errDead))
		d.at(6.9) // 4: forgiven, 5.5: forgiven, 7: down
		d.expect(t)
		d.at(7)
		d.expect(t, "7 a down: dead")
		d.at(11) // 10 to 10.5: still
		d.expect(t)
		p.find(Finding{})
		d.at(14)
		d.expect(t, "14 a up")
		if d.fails != 4 {
			t.Errorf("%d failures were told of, want 4", d.fails)
		}
	})
}

func TestAlpha(t *testing.T) {
	scene(t, func(t *testing.T, s *Schedule, d *diary) {
		p := &puppet{finding: found(errDead)}
		must(t, s.Set("a", Target{Checks: []Check{{Probe: p, DelayLoop: time.Second, Alpha: true}}}))
		d.at(4.5)
		d.expect(t)
		p.find(Finding{})
		d.at(5)
		d.expect(t, "5 a up")
	})
}

// All checks have to be well, with alpha and without.
func TestServerOfSeveralChecks(t *testing.T) {
	scene(t, func(t *testing.T, s *Schedule, d *diary) {
		p, q := &puppet{}, &puppet{}
		must(t, s.Set("a", Target{Checks: []Check{{Probe: p, DelayLoop: time.Second, Alpha: true}, {Probe: q, DelayLoop: time.Second}}}))
		d.expect(t, "0 a up")
		must(t, s.Set("b", Target{}))
		d.expect(t, "0 b up")
		p.find(found(errors.New("p")))
		d.at(1)
		d.expect(t, "1 a down: p")
		q.find(found(errors.New("q")))
		d.at(2)
		p.find(Finding{})
		d.at(3)
		d.expect(t)
		q.find(Finding{})
		d.at(4)
		d.expect(t, "4 a up")
	})
}

// Weights that programs say add up as differences from the configured one.
func TestWeights(t *testing.T) {
	scene(t, func(t *testing.T, s *Schedule, d *diary) {
		p, q := &puppet{}, &puppet{}
		checks := []Check{{Probe: p, DelayLoop: time.Second}, {Probe: q, DelayLoop: time.Second}}
		must(t, s.Set("a", Target{Weight: 10, Checks: checks}))
		d.expect(t, "0 a up")
		p.find(Finding{Weighs: true, Weight: 20})
		d.at(1)
		d.expect(t, "1 a weighs 20")
		q.find(Finding{Weighs: true, Weight: 7})
		d.at(2)
		d.expect(t, "2 a weighs 17")
		p.find(Finding{Weighs: true, Weight: 0})
		d.at(3)
		d.expect(t, "3 a weighs 0")
		p.find(Finding{}) // unchanged
		q.find(Finding{Weighs: true, Weight: 10})
		d.at(4)
		d.expect(t)
		must(t, s.Set("a", Target{Weight: 4, Checks: checks}))
		d.expect(t, "4 a weighs 6") // 4 + (0-4) + (10-4)
	})
}

// A change of the configuration disturbs no check that stays, and takes no server down.
func TestSetAgain(t *testing.T) {
	scene(t, func(t *testing.T, s *Schedule, d *diary) {
		p, q, r := &puppet{}, &puppet{}, &puppet{finding: found(errDead)}
		keep := Check{Probe: p, DelayLoop: 4 * time.Second}
		must(t, s.Set("a", Target{Checks: []Check{keep}}))
		d.at(1)
		must(t, s.Set("a", Target{Checks: []Check{{Probe: q, DelayLoop: time.Second, Alpha: true}, keep}}))
		d.at(4)
		d.expect(t, "0 a up")
		if len(p.asked) != 2 || p.asked[1].Sub(p.asked[0]) != 4*time.Second {
			t.Errorf("the check that stayed was made at %v", p.asked)
		}
		bad := Check{Probe: r, DelayLoop: time.Second}
		must(t, s.Set("a", Target{Checks: []Check{keep, bad}}))
		d.expect(t, "4 a down: dead")
		if asked := len(q.asked); asked != 4 {
			t.Errorf("the check that went was made %d times, want 4", asked)
		}
		d.at(6)
		if asked := len(q.asked); asked != 4 {
			t.Error("the check that went goes on")
		}
		must(t, s.Set("a", Target{Checks: []Check{keep}}))
		d.expect(t, "6 a up") // what held it down is gone
		if err := s.Set("a", Target{Checks: []Check{{}}}); err == nil {
			t.Error("a check without a probe was taken")
		}
		d.expect(t)
	})
}

// Checks that are the same in all their values are the same; one that is not begins anew.
func TestSameCheck(t *testing.T) {
	c := func(digest byte) Check {
		return NewCheck(HTTP{URLs: []URL{{Path: "/", Digest: []byte{digest}}}}, time.Second)
	}
	runs := []*run{{check: c(1)}, {check: c(2)}}
	for _, tc := range []struct {
		digest byte
		at     int
	}{{1, 0}, {2, 1}, {3, -1}} {
		want := c(tc.digest)
		if got := find(runs, &want); got != tc.at {
			t.Errorf("digest %d: %d, want %d", tc.digest, got, tc.at)
		}
	}
}

// Remove and Stop end what is under way, and nothing is said of it.
func TestRemoveAndStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		s := start(d, never)
		p, q, idle := &puppet{takes: time.Hour}, &puppet{takes: time.Hour}, &puppet{}
		for name, p := range map[Server]*puppet{"p": p, "q": q, "idle": idle} {
			must(t, s.Set(name, Target{Checks: []Check{{Probe: p, DelayLoop: time.Second, Alpha: true}}}))
		}
		synctest.Wait()
		must(t, s.Remove("p"))
		must(t, s.Remove("idle"))
		must(t, s.Remove("nobody"))
		synctest.Wait()
		if p.under != 0 || q.under != 1 {
			t.Errorf("under way: %d of p and %d of q, want 0 and 1", p.under, q.under)
		}
		d.at(5)
		if len(idle.asked) != 1 {
			t.Errorf("removed, and yet asked %d times", len(idle.asked))
		}
		d.expect(t, "0 idle up")
		s.Stop()
		if q.under != 0 {
			t.Error("a check outlives Stop")
		}
		d.expect(t)
		if err := s.Set("r", Target{}); !errors.Is(err, errStopped) {
			t.Errorf("Set after Stop: %v", err)
		}
	})
}

// A thousand servers that begin together are asked evenly over each round.
func TestSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const servers, loop = 1000, 3 * time.Second
		d := newDiary()
		s := Start(d)
		defer s.Stop()
		p := &puppet{}
		for i := range servers {
			must(t, s.Set(Server(fmt.Sprint(i)), Target{Checks: []Check{NewCheck(p, loop)}}))
		}
		d.at(8.999999999)
		if len(p.asked) != 3*servers {
			t.Fatalf("%d checks in three rounds of %d", len(p.asked), servers)
		}
		tenths := make([]int, 90)
		for _, at := range p.asked {
			tenths[at.Sub(d.begin)/(100*time.Millisecond)]++
		}
		// 33 each: 80 is more than eight standard deviations away.
		if most := slices.Max(tenths); most > 80 {
			t.Errorf("%d checks in one tenth of a second", most)
		}
	})
}

// Due times are rounded down to slots, but a wait is never rounded away.
func TestSlot(t *testing.T) {
	s := &Schedule{began: time.Unix(1000, 0)}
	const ms = time.Millisecond
	for _, tc := range []struct {
		name            string
		now, wait, want time.Duration
	}{
		{"just after its slot: the same slot again", 2 * ms, 3000 * ms, 3000 * ms},
		{"just before the next", 49 * ms, 3000 * ms, 3000 * ms},
		{"on a slot", 50 * ms, 3000 * ms, 3050 * ms},
		{"at once", 60 * ms, 0, 60 * ms},
		{"shorter than a slot", 60 * ms, 10 * ms, 70 * ms},
		{"shorter, into the next", 60 * ms, 45 * ms, 100 * ms},
	} {
		if got := s.slot(s.began.Add(tc.now), tc.wait).Sub(s.began); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}
