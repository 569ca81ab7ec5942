package worker

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"weir/internal/packet"
)

// Breathe is one round: in, through, out. It reports whether there was anything
// to do. The clock is read once, the configuration loaded once.
func (w *Worker) Breathe() (busy bool) {
	nanos := w.clock()
	w.begin(nanos)
	w.stats.Breaths++
	w.beats.Add(1)
	busy = w.mail.run(w)
	busy = w.inhale() || busy
	if len(w.paths) > 0 {
		busy = w.receiveHandoffs() || busy
	}
	w.neigh.Tick(w.now)
	busy = w.expireSafely() || busy
	w.drainOutbox()
	if w.twins.Due(nanos, !busy) {
		busy = w.fromLinux() || busy
	}
	w.exhale()
	return w.twins.Send() || busy
}

// inhale receives a burst from each queue and walks it.
func (w *Worker) inhale() (busy bool) {
	for _, q := range w.queues {
		n := q.Rx(w.burst[:])
		if n == 0 {
			continue
		}
		busy = true
		w.stats.Bursts++
		w.walkSafely(w.burst[:n])
		w.drainOutbox()
	}
	return busy
}

// walkSafely walks a burst. A defect met on the way costs the packet that met
// it, which is counted, and a line in the log; all others go on.
func (w *Worker) walkSafely(burst []*packet.Packet) {
	w.in, w.at = 0, 0
	for w.at < len(burst) {
		w.walkUntilFault(burst)
	}
}

func (w *Worker) walkUntilFault(burst []*packet.Packet) {
	defer w.survive(burst)
	w.walk(burst)
}

// survive, deferred, drops the packet of the burst that met a defect, and goes on
// behind it.
func (w *Worker) survive(burst []*packet.Packet) {
	if !faulty(recover()) {
		return
	}
	if w.leading != nil {
		w.leading.Reason = packet.WalkFault
		w.drop(w.leading)
		w.leading = nil
	}
	if w.in < len(burst) {
		p := burst[w.in]
		p.Verdict = p.DropFor(packet.WalkFault)
		w.in++
		return
	}
	p := burst[w.at]
	p.Reason = packet.WalkFault
	w.at++
	w.drop(p)
}

// faulty reports whether something was recovered from, and logs it.
func faulty(fault any) bool {
	if fault == nil {
		return false
	}
	slog.Error("a packet met a defect: please report", "fault", fmt.Sprint(fault), "stack", string(debug.Stack()))
	return true
}

// expireSafely turns the timers. A defect costs the connection that met it,
// whose timer is then gone, and a line in the log.
func (w *Worker) expireSafely() (busy bool) {
	defer func() {
		if faulty(recover()) {
			w.stats.Drops[packet.WalkFault]++
			busy = true
		}
	}()
	return w.lb.Expire()
}

// drainOutbox lets packets that stages made join the walk where they belong.
func (w *Worker) drainOutbox() {
	for w.outbox.Len() > 0 {
		burst := w.made[:w.outbox.Pop(w.made[:])]
		w.in, w.at = len(burst), 0 // they have arrived
		for w.at < len(burst) {
			w.walkUntilFault(burst)
		}
	}
}

// lead lets what stages made go on its way now, ahead of the packet in hand,
// and returns what is to be done with that one.
func (w *Worker) lead() packet.Verdict {
	var next [1]*packet.Packet
	for w.outbox.Pop(next[:]) > 0 {
		w.leading = next[0]
		w.proceed(w.leading)
		w.leading = nil
	}
	return packet.Output
}

// drainOutboxInto gives what stages made back unsent, at the end.
func (w *Worker) drainOutboxInto(pool *packet.Pool) {
	var made [64]*packet.Packet
	for w.outbox.Len() > 0 {
		for _, p := range made[:w.outbox.Pop(made[:])] {
			pool.Put(p)
		}
	}
}

// exhale empties the trays, those of devices on others first, and makes the kernel send.
func (w *Worker) exhale() {
	w.emptyDevices()
	for i := range w.trays[:w.nports] {
		if t := &w.trays[i]; t.n > 0 {
			w.send(t)
		}
	}
	for _, q := range w.queues {
		q.Flush()
	}
	for _, q := range w.sendOnly {
		q.Flush()
	}
}

// alarm wakes a sleeping worker through an eventfd.
type alarm struct {
	fd     int
	asleep atomic.Bool
}

func newAlarm() (*alarm, error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("worker: eventfd: %w", err)
	}
	return &alarm{fd: fd}, nil
}

func (w *Worker) wakeIfAsleep() {
	if a := w.alarm.Load(); a != nil && a.asleep.Load() {
		a.ring()
	}
}

func (a *alarm) ring() {
	one := [8]byte{1}
	_, _ = unix.Write(a.fd, one[:]) // a full counter: it is awake anyway
}
