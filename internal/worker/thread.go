package worker

import (
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"weir/internal/clock"
	"weir/internal/port"
)

// Thread is an operating system's thread on a core that breathes workers:
// usually one, and more while another thread is stopped. It moves workers
// between breaths, so that a packet never meets two threads.
type Thread struct {
	Name string
	CPU  int // -1: any

	busyPoll bool
	alarm    *alarm
	realtime realtime // thread-owned

	mu      sync.Mutex // guards orders; taken by the thread only when there are any
	orders  []func()
	stopped chan struct{}
	quit    bool

	workers []*Worker // thread-owned
	brief   bool      // thread-owned: packets come so often that it last slept for less than nap
}

// Idle rounds before a thread sleeps, and how long it sleeps at most: timers
// are 67 ms wide.
const (
	spins = 32
	// While it owes others rest (realtime): its queues were empty once more at least.
	spinsOwing = 2
	maxDoze    = 50 * time.Millisecond
	// While packets come more often than that, Go's scheduler is not told of its sleep.
	nap = time.Millisecond
	// While packets wait for a neighbour: another worker may get its answer.
	shortDoze = time.Millisecond
)

// maxPolled is how many queues wake a thread. What comes on others, where a thread
// serves many workers' in their stead, is found when it looks at its timers.
const maxPolled = 256

// NewThread makes a thread that breathes workers. It does not run yet. While it has time to rest it
// has the real-time priority, 1 to 99 (sched(7), SCHED_FIFO); 0: it never has one.
func NewThread(name string, cpu int, busyPoll bool, priority int) (*Thread, error) {
	a, err := newAlarm()
	if err != nil {
		return nil, err
	}
	return &Thread{Name: name, CPU: cpu, busyPoll: busyPoll, alarm: a, stopped: make(chan struct{}),
		realtime: realtime{priority: priority, set: policy(priority)}}, nil
}

// Start runs the thread until Stop.
func (t *Thread) Start() { go t.run() }

// Take gives the thread a worker to breathe, and returns when it has it. The
// worker must be breathed by nobody.
func (t *Thread) Take(w *Worker) {
	t.order(func() { w.alarm.Store(t.alarm); t.workers = append(t.workers, w) })
}

// Release makes the thread let go of all its workers and returns them.
func (t *Thread) Release() (ws []*Worker) {
	t.order(func() {
		ws, t.workers = t.workers, nil
		for _, w := range ws {
			w.own.Sleep()
		}
	})
	return ws
}

// Stop ends the thread. Its workers are breathed no more.
func (t *Thread) Stop() {
	t.order(func() { t.quit = true })
	<-t.stopped
	_ = unix.Close(t.alarm.fd)
}

// order has the thread do something between breaths and waits until it did.
func (t *Thread) order(f func()) {
	done := make(chan struct{})
	t.mu.Lock()
	t.orders = append(t.orders, func() { f(); close(done) })
	t.mu.Unlock()
	t.alarm.ring()
	select {
	case <-done:
	case <-t.stopped:
	}
}

func (t *Thread) run() {
	runtime.LockOSThread()
	defer close(t.stopped)
	if t.CPU >= 0 {
		var set unix.CPUSet
		set.Set(t.CPU)
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			slog.Warn(fmt.Sprintf("worker %s can't be bound to cpu %d: it runs on any", t.Name, t.CPU), "err", err)
		}
	}
	idle := 0
	for {
		if t.obey(); t.quit {
			for _, w := range t.workers {
				w.own.Sleep() // it holds no reference any more
			}
			return
		}
		busy := false
		for _, w := range t.workers {
			busy = w.Breathe() || busy
		}
		t.realtime.breathed()
		if busy || t.busyPoll && len(t.workers) > 0 {
			idle = 0
			continue
		}
		if idle++; idle >= spins || idle >= spinsOwing && t.realtime.owes(clock.Nanos()) {
			t.doze()
		}
	}
}

// obey carries out orders. Nobody holds the lock for longer
// than an append; who finds it taken looks again in the next round.
func (t *Thread) obey() {
	if !t.mu.TryLock() {
		return
	}
	orders := t.orders
	t.orders = nil
	t.mu.Unlock()
	for _, f := range orders {
		f()
	}
}

// doze sleeps until a packet, a question or the next look at the timers.
func (t *Thread) doze() {
	var fds [maxPolled]unix.PollFd
	fds[0] = unix.PollFd{Fd: int32(t.alarm.fd), Events: unix.POLLIN}
	n := 1
	t.alarm.asleep.Store(true)
	defer t.alarm.asleep.Store(false)
	for _, w := range t.workers {
		if w.mail.pending.Load() || w.waiting() || w.twins.Held() > 0 {
			return
		}
		for _, q := range w.queues {
			if !q.PreparePoll() {
				return
			}
			n = watch(fds[:], n, q.FD())
		}
		w.twins.Each(func(q port.Queue) { n = watch(fds[:], n, q.FD()) })
	}
	doze := maxDoze
	for _, w := range t.workers {
		w.own.Sleep()
		if w.neigh.Held() > 0 {
			doze = shortDoze
		}
	}
	from := clock.Nanos()
	if t.brief {
		port.Nap(fds[:n], min(doze, nap))
	} else {
		_, _ = unix.Poll(fds[:n], int(doze/time.Millisecond)) // EINTR: a look too early
	}
	to := clock.Nanos()
	t.brief = to-from < uint64(nap)
	t.realtime.rested(from, to)
	for _, w := range t.workers {
		w.twins.Wake()
	}
	if fds[0].Revents != 0 {
		var b [8]byte
		_, _ = unix.Read(t.alarm.fd, b[:])
	}
}

// watch adds what a queue can be slept on to n of them, if there is one.
func watch(fds []unix.PollFd, n, fd int) int {
	if fd >= 0 && n < len(fds) {
		fds[n] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
		n++
	}
	return n
}

// waiting reports whether packets came from other workers meanwhile.
func (w *Worker) waiting() bool {
	for _, path := range w.paths {
		if path.to == w && path.give.tail.Load() != path.give.head.Load() {
			return true
		}
	}
	return false
}
