package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// Tick is a point in time: CLOCK_MONOTONIC in units of 2^20 ns (1.049 ms). An
// XDP program gets the same number with bpf_ktime_get_coarse_ns() >> 20. It
// wraps after 52 days of uptime, so ticks are compared with Since and Before only.
type Tick uint32

// Shift turns nanoseconds into ticks.
const Shift = 20

// PerSecond is the number of ticks in a second, rounded down.
const PerSecond = 953

// Now reads the clock. Once per breath, never per packet.
func Now() Tick {
	return Tick(Nanos() >> Shift)
}

// begin and offset are one instant, by Go's clock and as CLOCK_MONOTONIC counts.
var begin, offset = func() (time.Time, uint64) {
	var ts unix.Timespec
	// It can't fail for a clock that every Linux has.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return time.Now(), uint64(ts.Nano())
}()

// Nanos is CLOCK_MONOTONIC in nanoseconds, which is what Go's clock follows. Go reads
// it without a system call, which costs a tenth of one.
func Nanos() uint64 { return offset + uint64(time.Since(begin)) }

// Since returns the ticks from earlier to t. Two readings by different cores or
// clocks may be a tick out of order: what lies in the future counts as 0.
func (t Tick) Since(earlier Tick) uint32 {
	d := int32(t - earlier)
	if d < 0 {
		return 0
	}
	return uint32(d)
}

// Before reports whether t comes before u, for points less than 26 days apart.
func (t Tick) Before(u Tick) bool { return int32(t-u) < 0 }

// FromDuration turns a duration into ticks, rounding up; the largest is 26 days.
func FromDuration(d time.Duration) uint32 {
	if d <= 0 {
		return 0
	}
	n := (uint64(d) + 1<<Shift - 1) >> Shift
	return uint32(min(n, 1<<31-1))
}

// FromSeconds turns seconds into ticks.
func FromSeconds(s uint32) uint32 { return FromDuration(time.Duration(s) * time.Second) }

// Duration turns ticks into a duration.
func Duration(ticks uint32) time.Duration { return time.Duration(uint64(ticks) << Shift) }
