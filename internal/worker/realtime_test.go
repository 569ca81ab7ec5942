package worker

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A thread has the policy while it rests enough of each period, and others do not wait for longer
// than one where it does not.
func TestRealtimeWhileItRests(t *testing.T) {
	const cycle = time.Millisecond
	for _, c := range []struct {
		name   string
		before time.Duration // how long of each ms it sleeps, for a second
		after  time.Duration // and from then on
		on     bool          // whether it has the policy at the end
		within time.Duration // from the change on, if it changes
	}{
		{"rests all the time", 0, cycle, true, 2 * trialPeriod},
		{"works half of the time", 0, cycle / 2, true, 2 * trialPeriod},
		{"works all the time", cycle, 0, false, 2 * period},
		{"rests a twentieth", cycle, cycle / 20, false, 2 * period},
		{"rests a tenth and had it", cycle, cycle / 10, true, 0},
		{"rests a tenth and had it not", 0, cycle / 10, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var now, changed uint64
			r := realtime{priority: 1}
			r.set = func(bool) error { changed = now; return nil }
			for rest, end := c.before, uint64(time.Second); ; rest, end = c.after, end+uint64(time.Second) {
				for now < end {
					now += uint64(cycle - rest)
					r.look(now)
					if rest > 0 {
						now += uint64(rest)
						r.rested(now-uint64(rest), now)
					}
				}
				if end > uint64(time.Second) {
					break
				}
				if had := c.before == cycle; r.on != had {
					t.Fatalf("after the first second the policy is %v", r.on)
				}
			}
			if r.on != c.on {
				t.Errorf("at the end the policy is %v, want %v", r.on, c.on)
			}
			switch late := time.Duration(changed) - time.Second; {
			case c.within == 0 && late > 0:
				t.Errorf("it changed %s later", late)
			case c.within > 0 && (late < 0 || late > c.within):
				t.Errorf("it changed %s later, want %s at most", late, c.within)
			}
		})
	}
}

// An idle thread sleeps ahead of its time exactly while it has to, for the policy.
func TestRealtimeOwesRest(t *testing.T) {
	r := realtime{priority: 1, set: func(bool) error { return nil }}
	begin := uint64(time.Hour)
	r.begin = begin
	for _, c := range []struct {
		passed, slept time.Duration
		owes          bool
	}{
		{time.Millisecond, 0, true}, {8 * time.Millisecond, time.Millisecond - 1, true}, {8 * time.Millisecond, time.Millisecond, false},
	} {
		r.slept = c.slept
		if got := r.owes(begin + uint64(c.passed)); got != c.owes {
			t.Errorf("%s of %s slept: owes %v", c.slept, c.passed, got)
		}
	}
	if r.priority = 0; r.owes(begin + uint64(time.Second)) {
		t.Error("it owes rest for a policy that it does not want")
	}
}

// Where Linux refuses the policy it is not asked again, and the worker goes on without.
func TestRealtimeRefused(t *testing.T) {
	asked := 0
	r := realtime{priority: 1, set: func(bool) error { asked++; return errors.New("refused") }}
	for now := uint64(1); now < uint64(time.Second); now += uint64(period) {
		r.rested(now, now+uint64(period))
	}
	if asked != 1 || r.on {
		t.Errorf("asked %d times, on %v", asked, r.on)
	}
}

// What Linux says of the thread: the policy comes and goes, its nice value stays, and threads that it makes have
// neither.
func TestRealtimePolicy(t *testing.T) {
	done := make(chan struct{})
	go func() { // the thread ends with it
		defer close(done)
		runtime.LockOSThread()
		if err := unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), -7); err != nil {
			t.Error(err)
			return
		}
		set := policy(3)
		for _, on := range []bool{true, false, true} {
			if err := set(on); err != nil {
				t.Error(err)
				return
			}
			a, err := unix.SchedGetAttr(0, 0)
			if err != nil {
				t.Error(err)
				return
			}
			if a.Flags&unix.SCHED_FLAG_RESET_ON_FORK == 0 {
				t.Error("threads that it makes have its policy")
			}
			if on && (a.Policy != unix.SCHED_FIFO || a.Priority != 3) || !on && (a.Policy != unix.SCHED_NORMAL || a.Nice != -7) {
				t.Errorf("on %v: policy %d, priority %d, nice %d", on, a.Policy, a.Priority, a.Nice)
			}
		}
	}()
	<-done
}
