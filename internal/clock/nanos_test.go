package clock

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestNanos: other engines read CLOCK_MONOTONIC themselves, and must get the same.
func TestNanos(t *testing.T) {
	read := func() uint64 {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
			t.Fatal(err)
		}
		return uint64(ts.Nano())
	}
	// The two clocks' first readings were not of one instant, but within a tick.
	const apart = 1 << Shift
	for range 1000 {
		before := read()
		n := Nanos()
		if after := read(); n+apart < before || n > after+apart {
			t.Fatalf("%d is not between %d and %d", n, before, after)
		}
	}
}

func BenchmarkNanos(b *testing.B) {
	for b.Loop() {
		Nanos()
	}
}
