package main

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"weir/bpf"
)

// A frame at an even pace has the time in it at which it goes; what was due while the generator was
// away for longer than it catches up with is counted, but for what is before its call.
func TestPace(t *testing.T) {
	var obj bpf.GenerateObjects
	if err := bpf.LoadGenerateObjects(&obj, nil); err != nil {
		t.Fatal(err)
	}
	defer obj.Close()
	const interval = 100 * time.Millisecond // of which it catches up with 64
	set := func(v *ebpf.Variable, value any) {
		t.Helper()
		if err := v.Set(value); err != nil {
			t.Fatal(err)
		}
	}
	set(obj.Interval, uint64(interval))
	set(obj.Stop, uint32(0))
	for _, c := range []struct {
		name string
		ago  time.Duration // when the frame was due
		anew uint32
		lost bool // it does not catch up: the next is due an interval after this one
		away int
	}{
		{"a little late", time.Second, 0, false, 0},
		{"away", 30 * time.Second, 0, true, 1},
		{"the first of a call", 30 * time.Second, 1, true, 0},
		{"the first of a call, a little late", time.Second, 1, true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			set(obj.Away, [classes]uint64{})
			set(obj.Anew, c.anew)
			before := monotonic(t)
			due := before - uint64(c.ago)
			set(obj.Sent, bpf.GenerateSent{Next: due})
			_, frame, err := obj.Generate.Test(make([]byte, frameSize))
			if err != nil {
				t.Fatal(err)
			}
			stamp := uint64(binary.LittleEndian.Uint32(frame[44:])) | uint64(binary.LittleEndian.Uint32(frame[48:]))<<32
			if stamp < before || stamp > monotonic(t) {
				t.Errorf("its time is %d, the time was %d", stamp, before)
			}
			away := make(delays, classes)
			if err := obj.Away.Get(away); err != nil {
				t.Fatal(err)
			}
			if n := sumOf(away); n != uint64(c.away) {
				t.Errorf("%d times away, want %d", n, c.away)
			}
			if most, err := away.at(1); c.away > 0 && (err != nil || most < c.ago*9/10) {
				t.Errorf("away for %s, want %s at least", most, c.ago)
			}
			next := due + uint64(interval)
			if c.lost {
				next = stamp + uint64(interval)
			}
			var sent bpf.GenerateSent
			if err := obj.Sent.Get(&sent); err != nil || sent.Next != next || sent.Frames != 1 {
				t.Errorf("the next is due at %d, want %d; %d frames; %v", sent.Next, next, sent.Frames, err)
			}
		})
	}
}

// monotonic is what a program in the kernel reads, in ns.
func monotonic(t *testing.T) uint64 {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	return uint64(now.Nano())
}

func sumOf(d delays) (n uint64) {
	for _, k := range d {
		n += k
	}
	return n
}
