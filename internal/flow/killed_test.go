//go:build !race

// The race detector makes a hundred instructions of each, and looks for something else.

package flow

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"weir/internal/clock"
	"weir/internal/pinned"
)

// kill -9 between any two stores: another process works on a table that is kept, and is
// gone through instruction by instruction. Each time one has changed the table, a copy of
// it is taken over, as if that had been the last. What was there and is not being ended has
// to go on; what is begun or ended is there as a whole or not at all; and all else is free.

// killedRole in the environment makes the test's program the one that is gone through.
const killedRole = "WEIR_FLOW_KILLED"

// killedWorkers is how many workers it has: one alone stores where several compare and swap.
const killedWorkers = "WEIR_FLOW_KILLED_WORKERS"

const killedConns = 24 // that are there before

func init() {
	if os.Getenv(killedRole) != "" {
		runtime.LockOSThread() // the main thread, which is traced
	}
}

func TestMain(m *testing.M) {
	if path := os.Getenv(killedRole); path != "" {
		workers := 2
		if os.Getenv(killedWorkers) == "1" {
			workers = 1
		}
		if err := beKilled(path, workers); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// deeds are what the traced process does, in this order. n is the connection that a deed
// is about.
var deeds = []struct {
	name string
	n    uint32
	do   func(k *killed) error
}{
	{"insert IPv4", 104, (*killed).insert},
	{"insert IPv6", 106, (*killed).insert},
	{"insert NAT64", 100, (*killed).insert},
	{"insert NAT46", 102, (*killed).insert},
	{"insert one way", oneWay, (*killed).insertOneWay},
	{"insert what is there", 104, (*killed).insertAgain},
	{"another timeout", 102, func(k *killed) error { k.w.SetTimeout(k.live[k.n], 50, k.now); return nil }},
	{"kick", 102, func(k *killed) error { k.w.Kick(k.live[k.n]); return nil }},
	{"take the kick", 102, func(k *killed) error { k.w.takeKicks(k.now, nil); return nil }},
	{"end IPv4", 104, (*killed).end},
	{"end NAT46", 102, (*killed).end},
	{"end one way", oneWay, (*killed).end},
	{"end another worker's", 1, (*killed).end},
	{"that one hears of it", 1, func(k *killed) error { k.other.takeKicks(k.now, nil); return nil }},
	{"forget", 1, func(k *killed) error { k.later(2 * Rest); return nil }},
	{"insert in a used place", 104, (*killed).insert},
	{"insert with a new chain", 110, (*killed).insert},
	{"sweep", oneWay, (*killed).sweep},
}

type killed struct {
	tab      *Table
	w, other *Worker
	now      clock.Tick
	n        uint32
	live     map[uint32]uint32
}

// oneWay is the deeds' connection with an inbound half alone.
const oneWay = 108

// flowsOfDeed are those of connection n; out is its inbound one if there is only that.
func flowsOfDeed(n uint32) (in, out Flow) {
	if n == oneWay {
		in, _ = narrow(n)
		return in, in
	}
	return pair(n)
}

func (k *killed) insert() error {
	in, out := pair(k.n)
	i, err := k.w.Insert(&in, &out, &NewConn{Timeout: 1000}, k.now)
	k.live[k.n] = i
	return err
}

func (k *killed) insertOneWay() error {
	in, _ := flowsOfDeed(k.n)
	i, err := k.w.Insert(&in, nil, &NewConn{Timeout: 1000}, k.now)
	k.live[k.n] = i
	return err
}

func (k *killed) insertAgain() error {
	in, _ := pair(k.n + 1)
	_, out := pair(k.n)
	if _, err := k.w.Insert(&in, &out, &NewConn{Timeout: 1000}, k.now); err != ErrExists {
		return fmt.Errorf("insert what is there: %v", err)
	}
	return nil
}

func (k *killed) end() error {
	k.tab.Claim(k.live[k.n])
	k.w.Remove(k.live[k.n], k.now)
	return nil
}

func (k *killed) later(by clock.Tick) {
	k.now += by
	for _, w := range []*Worker{k.w, k.other} {
		w.forget(k.now, k.tab.horizon(k.now), settleBudget)
	}
}

// sweep goes through the pages in which an ended connection had its half-flows: all others
// would be gone through alike, instruction by instruction.
func (k *killed) sweep() error {
	k.now += Rest
	c := k.tab.Conn(k.live[k.n])
	emptied := 0
	for _, slot := range [2]uint32{c.In, c.Out} {
		wide, slots := slot>>31, k.tab.Slots()
		if wide != 0 {
			slots = k.tab.WideSlots()
		}
		if atomic.LoadUint64(&k.tab.Half(slot).Key1)&FlagDead == 0 {
			continue // it has another tenant by now
		}
		// The cursor counts pages from the end.
		k.tab.swept[wide].Store(uint32(slots)/sweepPage - 1 - slot&^WideBit/sweepPage)
		k.w.sweepPage(wide<<31, slots, &k.tab.swept[wide], k.now)
		if atomic.LoadUint64(&k.tab.Half(slot).Key1) == 0 {
			emptied++
		}
	}
	if emptied == 0 {
		return fmt.Errorf("the sweep emptied none of the slots")
	}
	return nil
}

// killedConfig is a small table, so that it can be copied often.
func killedConfig(keep *pinned.Dir, workers int) Config {
	return Config{Conns: 100, Workers: workers, Keep: keep, Seed: 5}
}

const killedAt = clock.Tick(1_000_000)

// beKilled is the traced process: it stops before each deed. One worker is both.
func beKilled(path string, workers int) error {
	keep, err := pinned.Open(path)
	if err != nil {
		return err
	}
	k := killed{now: killedAt, live: map[uint32]uint32{}}
	if k.tab, _, err = Open(killedConfig(keep, workers)); err != nil {
		return err
	}
	startAt(k.tab, k.now)
	k.w, k.other = k.tab.Worker(0), k.tab.Worker(workers-1)
	for n := range uint32(killedConns) {
		in, out := pair(n)
		if k.live[n], err = k.tab.Worker(int(n)%workers).Insert(&in, &out, &NewConn{Timeout: 1000}, k.now); err != nil {
			return err
		}
	}
	pid, tid := os.Getpid(), unix.Gettid()
	for _, d := range deeds {
		k.n = d.n
		if err := unix.Tgkill(pid, tid, unix.SIGSTOP); err != nil {
			return err
		}
		if err := d.do(&k); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
	}
	return unix.Tgkill(pid, tid, unix.SIGSTOP)
}

// traced is a process that is gone through. Its tracer is one thread.
type traced struct {
	t   *testing.T
	pid int
}

// run lets it go on until it stops itself, or ends.
func (p traced) run() {
	p.t.Helper()
	for sig := 0; ; {
		if err := unix.PtraceCont(p.pid, sig); err != nil {
			p.t.Fatal(err)
		}
		stopped := p.wait()
		if stopped == unix.SIGSTOP {
			return
		}
		sig = int(stopped) // the runtime's own
	}
}

// step goes one instruction on, and reports whether it stopped itself.
func (p traced) step() bool {
	p.t.Helper()
	for sig := 0; ; {
		err := unix.PtraceSingleStep(p.pid)
		if sig != 0 {
			_, _, e := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SINGLESTEP, uintptr(p.pid), 0, uintptr(sig), 0, 0)
			if err = nil; e != 0 {
				err = e
			}
		}
		if err != nil {
			p.t.Fatal(err)
		}
		switch s := p.wait(); s {
		case unix.SIGTRAP:
			return false
		case unix.SIGSTOP:
			return true
		default:
			sig = int(s)
		}
	}
}

func (p traced) wait() unix.Signal {
	p.t.Helper()
	var ws unix.WaitStatus
	if _, err := unix.Wait4(p.pid, &ws, unix.WALL, nil); err != nil {
		p.t.Fatal(err)
	}
	if !ws.Stopped() {
		p.t.Fatalf("the traced process ended: %v", ws)
	}
	return ws.StopSignal()
}

// arrays are the kept arrays that one process changes and another copies.
type arrays struct {
	names []string
	bytes [][]byte
}

func mapArrays(t *testing.T, path string) (a arrays) {
	t.Helper()
	m := memory{}
	for _, p := range m.parts(sizes{}) {
		if p.name == "hops" {
			continue
		}
		b, err := ebpf.LoadPinnedMap(filepath.Join(path, p.name), nil)
		if err != nil {
			t.Fatal(err)
		}
		size := (int(b.MaxEntries())*int(b.ValueSize()) + 4095) &^ 4095
		bytes, err := unix.Mmap(b.FD(), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		b.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Munmap(bytes) })
		a.names, a.bytes = append(a.names, p.name), append(a.bytes, bytes)
	}
	return a
}

// moved copies what has changed since the last call, and reports whether anything has.
func (a arrays) moved(copies [][]byte) (changed bool) {
	for i, b := range a.bytes {
		if !bytes.Equal(b, copies[i]) {
			copy(copies[i], b)
			changed = true
		}
	}
	return changed
}

func TestKilledBetweenTwoStores(t *testing.T) {
	for _, workers := range []string{"2", "1"} {
		t.Run(workers+" workers", func(t *testing.T) { goThrough(t, workers) })
	}
}

// goThrough goes through a process with so many workers.
func goThrough(t *testing.T, workers string) {
	path := newKeep(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killedRole+"="+path, killedWorkers+"="+workers, "GOGC=off", "GODEBUG=asyncpreemptoff=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _, _ = cmd.Process.Wait() }()
	p := traced{t, cmd.Process.Pid}
	p.wait() // at its first instruction
	p.run()

	a := mapArrays(t, path)
	copies := make([][]byte, len(a.bytes))
	for i := range copies {
		copies[i] = make([]byte, len(a.bytes[i]))
	}
	a.moved(copies)
	live := map[uint32]bool{}
	for n := range uint32(killedConns) {
		live[n] = true
	}
	hops := make([]byte, MaxNextHops*NextHopSize)
	total := 0
	for _, d := range deeds {
		steps, stores := 0, 0
		delete(live, d.n)
		for {
			stopped := p.step()
			steps++
			if a.moved(copies) {
				stores++
				takeCopy(t, fmt.Sprintf("%s, change %d, instruction %d", d.name, stores, steps), a, copies, hops, live, d.n)
			}
			if stopped {
				break
			}
		}
		t.Logf("%s: %d instructions, %d changes", d.name, steps, stores)
		total += stores
		// What it has come to.
		tab := copyOf(t, a, copies, hops)
		in, _ := flowsOfDeed(d.n)
		_, _, live[d.n], _ = find(tab, &in)
	}
	if total < 250 {
		t.Errorf("%d changes were seen: too few, the process is not gone through", total)
	}
}

// copyOf is a table in memory of its own.
func copyOf(t *testing.T, a arrays, copies [][]byte, hops []byte) *Table {
	t.Helper()
	m := &memory{}
	for _, p := range m.parts(sizes{}) {
		p.into.Bytes = hops
		for i, name := range a.names {
			if name == p.name {
				p.into.Bytes = bytes.Clone(copies[i])
			}
		}
	}
	return assemble(m, 2)
}

// takeCopy takes over a copy, checks it, and uses it to the end.
func takeCopy(t *testing.T, when string, a arrays, copies [][]byte, hops []byte, wanted map[uint32]bool, n uint32) {
	t.Helper()
	tab := copyOf(t, a, copies, hops)
	now := killedAt + 3*Rest
	taken := tab.TakeOver(now)
	live := map[uint32]uint32{}
	for m := range uint32(120) {
		in, out := flowsOfDeed(m)
		_, i, first, torn := find(tab, &in)
		_, j, second, torn2 := find(tab, &out)
		switch {
		case torn || torn2:
			t.Fatalf("%s: connection %d is torn", when, m)
		case first != second || first && i != j:
			t.Fatalf("%s: connection %d is there by half: %v %v, %d %d", when, m, first, second, i, j)
		case wanted[m] && !first:
			t.Fatalf("%s: connection %d was there, and is lost", when, m)
		case first && !wanted[m] && m != n:
			t.Fatalf("%s: connection %d is there, and nobody made it", when, m)
		case first:
			live[m] = i
		}
	}
	if taken.Conns != len(live) || taken.Conns != tab.Len() {
		t.Fatalf("%s: %+v, %d are there", when, taken, len(live))
	}
	for i := range allSlots(tab) {
		if k := tab.Half(i).Key1; k&FlagPending != 0 {
			t.Fatalf("%s: slot %#x is pending for ever", when, i)
		}
	}
	owned := tab.workers[0].owned + tab.workers[1].owned
	if f := free(tab); f+owned != tab.Conns() {
		t.Fatalf("%s: %d are free and %d are owned, of %d", when, f, owned, tab.Conns())
	}
	// The tuple that was at stake can be had, if it is not.
	if _, there := live[n]; !there && n >= 100 && n != oneWay {
		in, out := flowsOfDeed(n)
		i, err := tab.Worker(1).Insert(&in, &out, &NewConn{Timeout: 100}, now)
		if err != nil {
			t.Fatalf("%s: insert it again: %v", when, err)
		}
		live[n] = i
	}
	for _, i := range live {
		tab.Claim(i)
		tab.Worker(0).Remove(i, now)
	}
	for range 3 {
		for _, w := range tab.workers[:2] {
			w.takeKicks(now, nil)
			w.settle(now, 1000)
		}
		now += 2 * Rest
	}
	if f := free(tab); f != tab.Conns() || tab.Len() != 0 {
		t.Fatalf("%s: %d of %d are free at the end, %d live", when, f, tab.Conns(), tab.Len())
	}
	if _, valid, pending, _ := slots(tab); valid+pending != 0 {
		t.Fatalf("%s: %d slots valid, %d pending at the end", when, valid, pending)
	}
}
