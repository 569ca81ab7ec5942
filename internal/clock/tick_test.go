package clock

import (
	"math"
	"testing"
	"time"
)

// Ticks wrap every 52 days: what lies around the wrap compares as elsewhere.
func TestSinceAndBefore(t *testing.T) {
	for _, tc := range []struct {
		name       string
		t, earlier Tick
		since      uint32
		before     bool // t before earlier
	}{
		{"the same", 5, 5, 0, false},
		{"one later", 6, 5, 1, false},
		{"one in the future", 5, 6, 0, true},
		{"over the wrap", 3, math.MaxUint32 - 1, 5, false},
		{"back over the wrap", math.MaxUint32 - 1, 3, 0, true},
		{"zero and the last", 0, math.MaxUint32, 1, false},
		{"the last and zero", math.MaxUint32, 0, 0, true},
		{"just less than half", 1<<31 - 1, 0, 1<<31 - 1, false},
		{"half: the future", 1 << 31, 0, 0, true},
		{"half over the wrap", 1<<31 - 2, math.MaxUint32, 1<<31 - 1, false},
	} {
		if got := tc.t.Since(tc.earlier); got != tc.since {
			t.Errorf("%s: %d since %d is %d, want %d", tc.name, tc.t, tc.earlier, got, tc.since)
		}
		if got := tc.t.Before(tc.earlier); got != tc.before {
			t.Errorf("%s: %d before %d is %v", tc.name, tc.t, tc.earlier, got)
		}
	}
}

// A duration becomes at least as many ticks as it lasts.
func TestFromDuration(t *testing.T) {
	const tick = time.Duration(1 << Shift)
	for _, tc := range []struct {
		d    time.Duration
		want uint32
	}{
		{math.MinInt64, 0}, {-1, 0}, {0, 0}, {1, 1}, {tick - 1, 1}, {tick, 1}, {tick + 1, 2}, {time.Second, 954},
		{900 * time.Second, 858307}, {(1<<31 - 1) * tick, 1<<31 - 1}, {(1<<31-1)*tick + 1, 1<<31 - 1}, {math.MaxInt64, 1<<31 - 1},
	} {
		got := FromDuration(tc.d)
		if got != tc.want {
			t.Errorf("%v is %d ticks, want %d", tc.d, got, tc.want)
		}
		if tc.d > 0 && got < 1<<31-1 && (Duration(got) < tc.d || Duration(got-1) >= tc.d) {
			t.Errorf("%v became %v", tc.d, Duration(got))
		}
	}
	for _, s := range []uint32{0, 1, 60, 31535999, math.MaxUint32} {
		if got, want := FromSeconds(s), FromDuration(time.Duration(s)*time.Second); got != want {
			t.Errorf("%d s is %d ticks, want %d", s, got, want)
		}
	}
	if PerSecond != time.Second/tick {
		t.Errorf("a second has %d ticks", time.Second/tick)
	}
}

// The clock goes on and is CLOCK_MONOTONIC's: two readings lie between others.
func TestNow(t *testing.T) {
	first := Now()
	for range 1000 {
		next := Now()
		if next.Before(first) || next.Since(first) > FromDuration(time.Hour) {
			t.Fatalf("%d after %d", next, first)
		}
		first = next
	}
}
