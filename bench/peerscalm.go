package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A processor of a virtual machine is one thread of a core, and the core's other thread is
// another guest's. When that one works, ours does a half to two thirds of what it does
// otherwise, and no clock of this system says so: it is not stolen time. So every few ms a
// probe finds out, on each processor, how much slower code runs that wants many units of the
// core at a time than code that waits for one result after the other, which does not mind.

// calmOrder says what a slice counts: time when the processors are as they are by themselves.
type calmOrder struct {
	Least float64 // what a probe finds where nothing disturbs; 0: count all of the time
	CPUs  []int   // the processors that must be calm
	Of    []int   // processes whose threads have the worker's processor, if that must be
	Times int     // how many times its time a slice may last until it has that
}

// busy reports whether requests keep processor 1 busy: connections begin and end.
func (p *peer) busy() bool { return p.fill || p.proxy() }

// calmTime is what came of it.
type calmTime struct {
	Calm  time.Duration // of the time that was measured; less than a part of it: all counts
	Slow  []float64     // what probes found in the time that counts, of each processor, in multiples of the least
	Tenth float64       // what the calmest tenth of its probes found at most; 0: there were none
}

const (
	probeEvery = 2500 * time.Microsecond
	// pieceOf a slice is what is calm or not, as a whole: a few probes' time.
	pieceOf = 20 * time.Millisecond
	// calmWithin is how much more than the least a calm piece's probes find in the mean. A
	// neighbour makes it twice as much.
	calmWithin = 1.1
	// calmParts: what is calm of a slice is not counted alone if it is a smaller part of what
	// the slice wants.
	calmParts = 5
	// waitParts: ours wait for a smaller part of a calm piece for their processors.
	waitParts = 10
	// clipped is the most that a single probe counts, in multiples of the least.
	clipped = 4
)

// probe measures one processor.
type probe struct {
	cpu      int
	n, sum   atomic.Int64 // how often, and what, in thousandths
	spent    atomic.Int64 // ns of processor time
	most     float64
	found    []float64
	kept     uint64 // results of its work, so that it is done
	finished chan struct{}
}

// watch has a probe on each of the processors.
type watch struct {
	o      calmOrder
	probes []*probe
	waits  []waiter // threads that must not wait for the worker's processor
	ours   int      // process id of the ksoftirqd there, which works for us
	stop   atomic.Bool
}

// watched is what the probes found so far.
type watched struct {
	n, sum [2]int64 // of each processor: probes, and the sum of what they found, in thousandths
	spent  time.Duration
	waited time.Duration // of the threads, less what ksoftirqd had meanwhile
	stuck  bool          // one was ready to run all the time since the reading before, and did not
}

// startWatch begins; without an order for calm nothing is watched, and all is calm.
func startWatch(o calmOrder, clock *processors) (*watch, error) {
	w := &watch{o: o}
	if o.Least == 0 {
		return w, nil
	}
	if err := clock.find(); err != nil {
		return nil, err
	}
	w.ours = clock.second
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), 2+2*len(o.CPUs)))
	var err error
	if w.waits, err = boundTo(workerCPU, o.Of); err != nil {
		return nil, err
	}
	began := make(chan error, len(o.CPUs))
	for _, cpu := range o.CPUs {
		p := &probe{cpu: cpu, most: clipped * o.Least, finished: make(chan struct{})}
		w.probes = append(w.probes, p)
		go p.run(w, began)
	}
	var errs []error
	for range o.CPUs {
		errs = append(errs, <-began)
	}
	if err := errors.Join(errs...); err != nil {
		w.end()
		return nil, err
	}
	return w, nil
}

// run measures until the watch ends.
func (p *probe) run(w *watch, began chan<- error) {
	defer close(p.finished)
	runtime.LockOSThread() // for good: its thread ends with it
	if err := preferred(p.cpu); err != nil {
		began <- err
		return
	}
	began <- nil
	every := unix.NsecToTimespec(int64(probeEvery))
	for !w.stop.Load() {
		begun := time.Now()
		times := p.crowded()
		p.sum.Add(int64(1000 * min(times, p.most)))
		p.n.Add(1)
		p.found = append(p.found, times)
		p.spent.Add(int64(time.Since(begun)))
		rest(&every)
	}
}

// rest sleeps. Go's scheduler is not told: told, its monitor, a thread that goes after this one, may
// have locked this goroutine's state when the time is over, and on one processor with it would then
// never come to unlock it. This thread waits for that without sleeping, before all others, until
// Linux takes the processor from it: 0.95 s.
func rest(span *unix.Timespec) {
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(span)), 0, 0)
}

// bindTo has this thread run on a processor.
func bindTo(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("bind a thread to cpu %d: %w", cpu, err)
	}
	return nil
}

// waiter is a thread that must not wait.
type waiter struct {
	task string        // its folder in /proc
	ran  time.Duration // how long it had run at the last look
}

// look returns how long the thread has waited, as far as Linux tells: of a wait that lasts it tells
// nothing. stuck is that it has waited since the last look without running.
func (w *waiter) look() (waited time.Duration, stuck bool, err error) {
	ran, waited, err := schedstat(w.task)
	if err != nil {
		return 0, false, err
	}
	if ran == w.ran {
		text, err := os.ReadFile(w.task + "/stat")
		if err != nil {
			return 0, false, err
		}
		_, state, _ := strings.Cut(string(text), ") ")
		stuck = strings.HasPrefix(state, "R")
	}
	w.ran = ran
	return waited, stuck, nil
}

// boundTo finds the threads of processes that are bound to a processor.
func boundTo(cpu int, pids []int) (found []waiter, err error) {
	for _, pid := range pids {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		if err != nil {
			return nil, err
		}
		for _, task := range tasks {
			text, err := os.ReadFile(task + "/status")
			if err == nil && strings.Contains(string(text), fmt.Sprintf("\nCpus_allowed_list:\t%d\n", cpu)) {
				found = append(found, waiter{task: task})
			}
		}
	}
	return found, nil
}

// preferred binds this thread to a processor and has it run before all others there.
func preferred(cpu int) error {
	if err := bindTo(cpu); err != nil {
		return err
	}
	a := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Flags: unix.SCHED_FLAG_RESET_ON_FORK, Priority: 1}
	err := unix.SchedSetAttr(0, a, 0)
	if errors.Is(err, unix.EPERM) { // a control group without a share for such threads
		err = unix.Setpriority(unix.PRIO_PROCESS, 0, -20)
	}
	if err != nil {
		return fmt.Errorf("have a probe run before others: %w", err)
	}
	return nil
}

// end stops the probes and returns what they found.
func (w *watch) end() (found []float64) {
	w.stop.Store(true)
	for _, p := range w.probes {
		<-p.finished
		found = append(found, p.found...)
	}
	return found
}

// calmestTenth is what the calmest tenth of probes found at most: of one slice's, which are too
// few for a hundredth, of one or two.
func calmestTenth(found []float64) float64 { return calmest(found, 10) }

// undisturbed is what probes find where nothing disturbs, as far as some seconds of them tell: what
// the calmest hundredth found at most. A neighbour rests for a moment now and then, in the worst of
// minutes too: of the probes of 2 s the calmest tenth found 1.36 to 1.64 on an AMD EPYC (Zen 4) in
// half a minute, the calmest hundredth 1.35 to 1.37. Less must not be enough: a queue that was
// interrupted twice seems slow, and its crowd fast.
func undisturbed(found []float64) float64 { return calmest(found, 100) }

// calmest is what one of so many parts of probes found at most; it sorts them.
func calmest(found []float64, parts int) float64 {
	if len(found) == 0 {
		return 0
	}
	slices.Sort(found)
	return found[len(found)/parts]
}

func (w *watch) read() (s watched, err error) {
	for i, p := range w.probes {
		s.n[i], s.sum[i] = p.n.Load(), p.sum.Load()
		s.spent += time.Duration(p.spent.Load())
	}
	for i := range w.waits {
		t, stuck, err := w.waits[i].look()
		if err != nil {
			return s, err
		}
		s.waited += t
		s.stuck = s.stuck || stuck
	}
	if len(w.waits) > 0 {
		t, err := processTime(w.ours)
		if err != nil {
			return s, err
		}
		s.waited -= t
	}
	return s, nil
}

// kept reports whether others kept ours from their processors in the time between two
// readings, with what is known of that otherwise, and for how long as far as it was told.
func (w *watch) kept(a, b *watched, took, away time.Duration) (time.Duration, bool) {
	waited := max(b.waited-a.waited, away, 0)
	return waited, len(w.probes) > 0 && (b.stuck || waited*waitParts > took)
}

// calm reports whether the time between two readings was, as probes see it.
func (w *watch) calm(a, b *watched) bool {
	for i := range w.probes {
		n := b.n[i] - a.n[i]
		if n == 0 || float64(b.sum[i]-a.sum[i]) > 1000*calmWithin*w.o.Least*float64(n) {
			return false
		}
	}
	return true
}

// enough reports whether a slice has its time: so much that was calm, or all the time it may.
func (w *watch) enough(calm, all, want time.Duration) bool {
	if len(w.probes) == 0 {
		return all >= want
	}
	return calm >= want || all >= time.Duration(max(w.o.Times, 1))*want
}

// slow is what a slice says of its probes, of which so much was found.
func (w *watch) slow(found *watched) (v []float64) {
	for i := range w.probes {
		v = append(v, float64(found.sum[i])/float64(max(found.n[i], 1))/1000/w.o.Least)
	}
	return v
}

// add adds what was found between two readings.
func (s *watched) add(a, b *watched) {
	for i := range a.n {
		s.n[i] += b.n[i] - a.n[i]
		s.sum[i] += b.sum[i] - a.sum[i]
	}
}

// trusted reports whether so much calm time is enough to be counted alone.
func trusted(calm, want time.Duration) bool { return calm*calmParts >= want }

// crowded is how much longer a crowd of additions takes than a queue of multiplications: the
// latter leaves most of the core to the neighbour.
func (p *probe) crowded() float64 {
	crowd, queue := ^uint64(0), ^uint64(0)
	for range 2 {
		a := tsc()
		p.kept += crowdOf(p.kept)
		b := tsc()
		p.kept += queueOf(p.kept)
		c := tsc()
		crowd, queue = min(crowd, b-a), min(queue, c-b)
	}
	return float64(crowd) / float64(queue)
}

func crowdOf(x uint64) uint64 {
	a, b, c, d, e, f, g, h := x, x+1, x+2, x+3, x+4, x+5, x+6, x+7
	for i := range uint64(1500) {
		a += i
		b += i
		c += i
		d += i
		e += i
		f += i
		g += i
		h += i
	}
	return a ^ b ^ c ^ d ^ e ^ f ^ g ^ h
}

func queueOf(x uint64) uint64 {
	for range 700 {
		x = x*x + 1
	}
	return x
}

// calibration is how long it is looked for what a probe finds where nothing disturbs; what is
// found later counts too.
const calibration = 3 * time.Second

// calibrate finds out what probes find where nothing disturbs.
func calibrate(span time.Duration) (float64, error) {
	w, err := startWatch(calmOrder{Least: 1e6, CPUs: []int{generatorCPU, workerCPU}}, new(processors))
	if err != nil {
		return 0, err
	}
	time.Sleep(span)
	return undisturbed(w.end()), nil
}
