package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"weir/bpf"
)

// sample is all counters at one time.
type sample struct {
	at                time.Time
	sent              bpf.GenerateSent
	sunk              bpf.GenerateSunk
	generator, daemon time.Duration // processor time
	softirqd          time.Duration
	kept              time.Duration // that the generator's thread waited for its processor, less what ksoftirqd had of it
	user, system      uint64        // of the daemon, in whatever unit: their ratio counts
	delays, away      delays        // with an interval
}

// measure lets the generator run, waits until all flows are open, and measures.
func (p *part) measure(o order) (ph phase, err error) {
	if err := p.clock.find(); err != nil {
		return ph, err
	}
	p.interval = o.Interval
	// The flow of the next frame stays: slices of a measurement go round all flows.
	var sent bpf.GenerateSent
	if err := p.obj.Sent.Get(&sent); err != nil {
		return ph, err
	}
	sent = bpf.GenerateSent{Flow: sent.Flow}
	if o.Open && sent.Flow >= uint32(o.Flows) {
		sent.Flow = 0
	}
	if err := errors.Join(
		p.obj.Sent.Set(sent), p.obj.Sunk.Set(bpf.GenerateSunk{}),
		p.obj.Flows.Set(uint32(o.Flows)), p.obj.Window.Set(uint32(o.Window)),
		p.obj.Interval.Set(uint64(o.Interval)), p.obj.Delays.Set([classes]uint64{}), p.obj.Away.Set([classes]uint64{}), p.obj.Stop.Set(uint32(0)),
	); err != nil {
		return ph, err
	}
	stopped, ended := make(chan struct{}), make(chan error, 1)
	repeat, batch := o.repeat()
	began := make(chan struct{})
	go func() { ended <- p.generate(repeat, batch, began, stopped) }()
	select {
	case <-began:
	case err := <-ended:
		return ph, err
	}
	ph, err = p.span(o, ended)
	close(stopped)
	err = errors.Join(err, p.obj.Stop.Set(uint32(1)), <-ended)
	if err != nil {
		return ph, err
	}
	last, err := p.rest(o)
	ph.AllSent, ph.AllSunk, ph.AllOthers, ph.Bad = last.sent.Frames, last.sunk.Frames, last.sunk.Others, last.sunk.Bad
	return ph, err
}

// repeat is how many frames a call into the kernel makes, and how many at a time.
func (o *order) repeat() (frames, batch uint32) {
	switch {
	case o.Interval > 0 && o.Open:
		return uint32(min(max(repeatLeast, (o.For+warmSlice).Seconds()*repeatPacedSecond), repeatPaced)), batchPaced
	case o.Interval > 0:
		return repeatPaced, batchPaced
	case o.Open:
		return uint32(min(max(repeatLeast, (o.For+warmSlice).Seconds()*repeatSliceSecond), 1<<30)), batchFull
	}
	return uint32(min(max(repeatLeast, o.For.Seconds()*repeatSecond), 1<<30)), batchFull
}

// span warms up and measures.
func (p *part) span(o order, ended <-chan error) (ph phase, err error) {
	if err := p.warm(o, ended); err != nil {
		return ph, err
	}
	return p.counts(o)
}

// warm lets the generator run until all flows are open and the caches warm.
func (p *part) warm(o order, ended <-chan error) error {
	begun := time.Now()
	warm, atLeast := warmUp, uint64(2*o.Flows)
	if o.Open {
		warm, atLeast = warmSlice, 1
	}
	var a sample
	for a.sunk.Frames < atLeast || time.Since(begun) < warm {
		select {
		case err := <-ended:
			return errors.Join(err, errors.New("the generator ended by itself"))
		case <-time.After(time.Millisecond):
		}
		var err error
		if a, err = p.sample(o.Director); err != nil {
			return err
		}
		if time.Since(begun) > patience+time.Duration(o.Flows)*patienceFlow {
			return fmt.Errorf("%d frames were sent, but only %d arrived as they should and %d otherwise", a.sent.Frames, a.sunk.Frames, a.sunk.Others)
		}
	}
	return nil
}

// rest waits until everything has arrived that will.
func (p *part) rest(o order) (s sample, err error) {
	for seen := ^uint64(0); ; seen = s.sunk.Frames + s.sunk.Others {
		if s, err = p.sample(o.Director); err != nil || s.sunk.Frames+s.sunk.Others == seen {
			return s, err
		}
		time.Sleep(calm)
	}
}

func (p *part) sample(director int) (s sample, err error) {
	err = errors.Join(p.obj.Sent.Get(&s.sent), p.obj.Sunk.Get(&s.sunk), p.clock.read(&s, director))
	if err == nil {
		s.kept, err = p.kept()
	}
	if err == nil { // of this process the thread alone: who reads the clocks sends nothing
		s.generator, err = threadTime(int(p.thread.Load()))
	}
	if p.interval > 0 {
		s.delays, s.away = make(delays, classes), make(delays, classes)
		err = errors.Join(err, p.obj.Delays.Get(s.delays), p.obj.Away.Get(s.away))
		s.delays.late(s.away, p.interval)
	}
	return s, err
}

// kept is how long others kept the generator from its processor so far, at an unknown
// offset: less what ksoftirqd had of it, which works for us.
func (p *part) kept() (time.Duration, error) {
	waited, err := waitedTime(int(p.thread.Load()))
	if err != nil {
		return 0, err
	}
	ours, err := processTime(p.clock.first)
	return waited - ours, err
}

// waitedTime is how long a thread of this process was ready to run and did not.
func waitedTime(thread int) (time.Duration, error) {
	_, waited, err := schedstat(fmt.Sprintf("/proc/self/task/%d", thread))
	return waited, err
}

// schedstat is how long a thread, or a process's first, has run and was ready to run and did not: the
// first two fields of its schedstat.
func schedstat(task string) (ran, waited time.Duration, err error) {
	b, err := os.ReadFile(task + "/schedstat")
	if err != nil {
		return 0, 0, err
	}
	if _, err = fmt.Sscan(string(b), &ran, &waited); err != nil {
		return 0, 0, fmt.Errorf("%s/schedstat: %q: %w", task, b, err)
	}
	return ran, waited, nil
}

// between is the difference of two samples.
func between(a, b *sample) phase {
	ph := phase{
		Took: b.at.Sub(a.at), Sunk: b.sunk.Frames - a.sunk.Frames, Away: max(b.kept-a.kept, 0),
		Receive: b.generator - a.generator - time.Duration(b.sent.Waited-a.sent.Waited) + b.softirqd - a.softirqd,
	}
	daemon, user, system := b.daemon-a.daemon, b.user-a.user, b.system-a.system
	if user+system > 0 {
		ph.User = time.Duration(float64(daemon) * float64(user) / float64(user+system))
	}
	ph.System = daemon - ph.User
	if a.delays != nil {
		ph.Delays = b.delays.since(a.delays)
	}
	return ph
}

// kernelMemory is what the kernel's small objects take, in bytes: connections that it
// tracks and sockets are among them.
func kernelMemory() (uint64, error) { return kilobytes("/proc/meminfo", "Slab:") }

// residentMemory is the memory of a process, in bytes.
func residentMemory(pid int) (uint64, error) {
	return kilobytes(fmt.Sprintf("/proc/%d/status", pid), "VmRSS:")
}

// kilobytes reads a line of a file of /proc, in bytes.
func kilobytes(file, name string) (uint64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == name && f[2] == "kB" {
			n, err := strconv.ParseUint(f[1], 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("%s has no line %s", file, name)
}

// processors reads what processes and interrupts have used. A softirq is charged
// to the process that it interrupts, or to ksoftirqd, unless the kernel keeps
// interrupts' time apart.
type processors struct {
	softirqd []int // process ids
	first    int   // of these, that of the generator's processor
	second   int   // and that of the worker's
	apart    bool  // CONFIG_IRQ_TIME_ACCOUNTING
}

// find looks the kernel's ways up.
func (c *processors) find() error {
	if c.softirqd != nil {
		return nil
	}
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return err
	}
	for _, name := range names {
		comm, err := os.ReadFile(name)
		if err != nil || !strings.HasPrefix(string(comm), "ksoftirqd/") {
			continue // ended meanwhile, or another
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil {
			return err
		}
		c.softirqd = append(c.softirqd, pid)
		switch strings.TrimSpace(string(comm)) {
		case fmt.Sprintf("ksoftirqd/%d", generatorCPU):
			c.first = pid
		case fmt.Sprintf("ksoftirqd/%d", workerCPU):
			c.second = pid
		}
	}
	if c.softirqd == nil {
		return errors.New("no ksoftirqd is to be seen: run this outside of a PID namespace")
	}
	c.apart = irqTimeApart()
	return nil
}

// read reads the clocks of all processors' work for us.
func (c *processors) read(s *sample, daemon int) (err error) {
	s.at = time.Now()
	if s.generator, err = processTime(os.Getpid()); err != nil {
		return err
	}
	for _, pid := range c.softirqd {
		t, err := processTime(pid)
		if err != nil {
			return err
		}
		s.softirqd += t
	}
	if c.apart {
		t, err := irqTime()
		if err != nil {
			return err
		}
		s.softirqd += t
	}
	if daemon == 0 {
		return nil
	}
	if s.daemon, err = processTime(daemon); err != nil {
		return fmt.Errorf("the director is gone: %w", err)
	}
	s.user, s.system, err = userSystem(daemon)
	return err
}

// processTime is the processor time of a process: its CPU clock, see
// clock_getcpuclockid(3).
func processTime(pid int) (time.Duration, error) {
	const scheduler = 2
	var ts unix.Timespec
	err := unix.ClockGettime(int32(^pid<<3|scheduler), &ts)
	return time.Duration(ts.Nano()), err
}

// threadTime is the same of a thread of this process.
func threadTime(thread int) (time.Duration, error) {
	const scheduler, perThread = 2, 4
	var ts unix.Timespec
	err := unix.ClockGettime(int32(^thread<<3|perThread|scheduler), &ts)
	return time.Duration(ts.Nano()), err
}

// userSystem reads utime and stime of proc_pid_stat(5).
func userSystem(pid int) (user, system uint64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 13 {
		return 0, 0, fmt.Errorf("/proc/%d/stat is too short", pid)
	}
	user, err1 := strconv.ParseUint(f[11], 10, 64)
	system, err2 := strconv.ParseUint(f[12], 10, 64)
	return user, system, errors.Join(err1, err2)
}

// irqTime is the time all processors spent in interrupts and softirqs, from
// proc_stat(5), in units of 10 ms.
func irqTime() (time.Duration, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	f := strings.Fields(line)
	if len(f) < 8 {
		return 0, errors.New("/proc/stat is too short")
	}
	irq, err1 := strconv.ParseUint(f[6], 10, 64)
	softirq, err2 := strconv.ParseUint(f[7], 10, 64)
	return time.Duration(irq+softirq) * 10 * time.Millisecond, errors.Join(err1, err2)
}

// irqTimeApart asks the kernel's configuration. Where it is not to be found, the
// kernel's own default is taken: no.
func irqTimeApart() bool {
	const apart = "\nCONFIG_IRQ_TIME_ACCOUNTING=y\n"
	if f, err := os.Open("/proc/config.gz"); err == nil {
		defer f.Close()
		if z, err := gzip.NewReader(f); err == nil {
			b, _ := io.ReadAll(z)
			return bytes.Contains(b, []byte(apart))
		}
	}
	var u unix.Utsname
	_ = unix.Uname(&u)
	b, _ := os.ReadFile("/boot/config-" + unix.ByteSliceToString(u.Release[:]))
	return bytes.Contains(b, []byte(apart))
}
