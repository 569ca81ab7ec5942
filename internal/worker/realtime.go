package worker

import (
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"weir/internal/clock"
)

// A thread of a real-time policy that slept for less than a leastRest-th of the last period loses it,
// and gets it when it slept for an enoughRest-th of a trialPeriod or more. So others wait for their turn
// on its processor for period at most, and have that part of each. Linux has such bounds itself, 50 ms
// of a second, but gives others those at once (sched(7), "Limiting the CPU usage of real-time and
// deadline processes"; since 6.12 the fair server): a worker that came near them had gaps of 30 to
// 50 ms, and so it leaves more.
const (
	period      = 50 * time.Millisecond
	trialPeriod = 5 * time.Millisecond
	leastRest   = 12
	enoughRest  = 8
	// How many breaths there are between two looks at the clock: 4,096 packets of a queue at most.
	breathsBetween = 64
)

// realtime gives a thread a real-time policy (SCHED_FIFO) while it has time to rest. A packet then
// waits for no other program of the worker's processor, nor for Weir's own threads; a nice value only
// says who has how much of a processor in the long run, and who has his turn may keep it for
// milliseconds. Who never rests, as in a flood or with busy_poll, has no such policy: others would
// have nothing, and one of them, ksoftirqd, may have the packets.
type realtime struct {
	priority int                 // 1 to 99, sched(7); 0: never
	set      func(on bool) error // gives this thread the policy, or takes it
	on       bool
	breaths  int

	begin uint64 // ns: when the period began
	slept time.Duration
}

// breathed counts a breath, and looks at the clock now and then.
func (r *realtime) breathed() {
	if r.breaths++; r.breaths%breathsBetween == 0 && r.priority > 0 {
		r.look(clock.Nanos())
	}
}

// rested is told when the thread slept, in ns.
func (r *realtime) rested(from, to uint64) {
	if r.priority == 0 {
		return
	}
	r.slept += time.Duration(to - from)
	r.look(to)
}

// owes reports whether an idle thread has to sleep now, ahead of its time, to have the policy, or to keep it.
func (r *realtime) owes(now uint64) bool {
	return r.priority > 0 && r.slept*enoughRest < time.Duration(now-r.begin)
}

// look ends a period that is over.
func (r *realtime) look(now uint64) {
	took := time.Duration(now - r.begin)
	if took < period && (r.on || took < trialPeriod) {
		return
	}
	on := r.slept*enoughRest >= took || r.on && r.slept*leastRest >= took
	r.begin, r.slept = now, 0
	if on != r.on {
		r.turn(on)
	}
}

func (r *realtime) turn(on bool) {
	if err := r.set(on); err != nil {
		slog.Warn("packets may wait while other programs have the processor: give Weir CAP_SYS_NICE (a systemd unit: RestrictRealtime=no), or say rt_priority 0 in dpvs.conf", "err", err)
		r.priority = 0
		return
	}
	r.on = on
}

// policy returns what gives the calling thread SCHED_FIFO with a priority, and takes it again. Its nice
// value stays, and counts while it has no such policy; threads that it makes do not have it.
func policy(priority int) func(on bool) error {
	return func(on bool) error {
		level, err := unix.Getpriority(unix.PRIO_PROCESS, 0) // 20 less the nice value
		if err != nil {
			return fmt.Errorf("what nice value a worker's thread has: %w", err)
		}
		a := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Flags: unix.SCHED_FLAG_RESET_ON_FORK, Nice: int32(20 - level)}
		if on {
			a.Policy, a.Priority = unix.SCHED_FIFO, uint32(priority)
		}
		if err := unix.SchedSetAttr(0, &a, 0); err != nil {
			return fmt.Errorf("give a worker's thread real-time priority %d: %w", a.Priority, err)
		}
		return nil
	}
}
