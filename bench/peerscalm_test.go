package main

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"testing"
	"time"
)

// found is a reading of two probes that saw so much in the mean of each probe, after one that
// saw nothing; in multiples of the least.
func found(times ...float64) *watched {
	s := new(watched)
	for i, x := range times {
		s.n[i], s.sum[i] = 4, int64(4*1000*x)
	}
	return s
}

// A piece counts if both processors were calm and nobody waited; that a thread waited is told
// late, so those before go with it as far back as the wait may reach.
func TestTally(t *testing.T) {
	const took = 20 * time.Millisecond
	w := &watch{o: calmOrder{Least: 1}, probes: []*probe{{finished: make(chan struct{})}, {finished: make(chan struct{})}}}
	for _, p := range w.probes {
		close(p.finished)
	}
	for i := range 10 { // twenty found 1.1 to 3.0
		w.probes[0].found = append(w.probes[0].found, 3-float64(i)/10)
		w.probes[1].found = append(w.probes[1].found, 2-float64(i)/10)
	}
	y := tally[phase]{w: w, add: (*phase).add}
	for _, piece := range []struct {
		sunk   uint64
		slow   []float64
		waited time.Duration
		away   time.Duration
		stuck  bool
	}{
		{sunk: 1, slow: []float64{1, 1.1}},
		{sunk: 10, slow: []float64{1, 1.9}},
		{sunk: 100, slow: []float64{1.9, 1}},
		{sunk: 1000, slow: []float64{1, 1}}, // a thread waits from here on
		{sunk: 10000, slow: []float64{1, 1}, waited: took / 5},
		{sunk: 100000, slow: []float64{1, 1}, away: took / 5},
		{sunk: 1000000, slow: []float64{1, 1}},
		{sunk: 2, slow: []float64{1, 1}, stuck: true}, // and here all the time, which nobody is told yet
		{sunk: 20, slow: []float64{1, 1}},
		{sunk: 0, slow: []float64{1, 1}}, // a thread waits in all of these
		{sunk: 0, slow: []float64{1, 1}},
		{sunk: 0, slow: []float64{1, 1}},
		{sunk: 3, slow: []float64{1, 1}, waited: 3*took + took/2}, // and is told here
		{sunk: 30, slow: []float64{1, 1}},
		{sunk: 10000000, slow: []float64{0, 0}}, // the last is never known to be calm
	} {
		b := found(piece.slow...)
		b.waited, b.stuck = piece.waited, piece.stuck
		y.piece(&phase{Sunk: piece.sunk, Took: took}, new(watched), b, took, piece.away)
	}
	ph, calm := y.counted(4 * took)
	if y.all.Sunk != 11111166 || ph.Sunk != 31 || calm.Calm != 2*took || len(calm.Slow) != 2 || math.Abs(calm.Slow[1]-1.05) > 1e-3 {
		t.Errorf("%+v %+v", ph, calm)
	}
	if math.Abs(calm.Tenth-1.3) > 1e-9 {
		t.Errorf("the calmest tenth of twenty probes found %v at most, want 1.3, which two were below", calm.Tenth)
	}
	if ph, _ := y.counted(2 * took * (calmParts + 1)); ph.Sunk != 11111166 {
		t.Errorf("of too little calm time %d frames count, not all", ph.Sunk)
	}
}

// Probes find something, and what they find where nothing disturbs is more than nothing.
func TestProbes(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("probes run before others: this needs root")
	}
	least, err := calibrate(500 * time.Millisecond) // of 400 probes the calmest hundredth: one or two may be wrong
	if err != nil {
		t.Fatal(err)
	}
	if least <= 0.2 || least > 20 {
		t.Errorf("additions take %.2f times as long as multiplications", least)
	}
}

func TestReceived(t *testing.T) {
	f, err := os.Open("/proc/self/net/dev")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := received(f, "lo"); err != nil {
		t.Error(err)
	}
	if n, err := received(f, "nolink"); err == nil {
		t.Errorf("%d bytes of a link that is not there", n)
	}
}

// A thread that wants a processor and has none is seen while it waits, and who sleeps is not taken for one.
func TestWaiter(t *testing.T) {
	start := func(words ...string) *waiter {
		t.Helper()
		cmd := exec.Command(words[0], words[1:]...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return &waiter{task: fmt.Sprintf("/proc/%d/task/%d", cmd.Process.Pid, cmd.Process.Pid)}
	}
	loop := []string{"taskset", "-c", "0", "sh", "-c", "while :; do :; done"}
	sleeps := start("sleep", "1000")
	start(loop...)
	last := start(append([]string{"chrt", "--idle", "0"}, loop...)...)
	look := func(w *waiter) bool {
		t.Helper()
		_, stuck, err := w.look()
		if err != nil {
			t.Fatal(err)
		}
		return stuck
	}
	// A program that is to sleep may wait for the processor before it does.
	rested := 0
	for deadline := time.Now().Add(patience); !look(last) || rested < 10; {
		before := sleeps.ran
		if stuck := look(sleeps); stuck || before != sleeps.ran {
			rested = 0
		} else {
			rested++
		}
		if time.Now().After(deadline) {
			t.Fatalf("a program that goes after all others was never seen to wait, or one that sleeps was all the time: %d looks in a row at rest", rested)
		}
	}
}
