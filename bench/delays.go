package main

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"time"
)

// classes is how many classes of delays there are. Below 16 ns they are the delays
// themselves, above it each power of two has 16: bpf/generate.bpf.c counts the same.
const classes = 1024

// longest is where the classes end: the last one, which has none of the classes between, is of what is
// as long or longer, eighteen minutes.
const longest = time.Duration(1) << 40

// delays counts by class.
type delays []uint64

func classOf(d time.Duration) int {
	ns := uint64(max(d, 0))
	switch power := bits.Len64(ns) - 1; {
	case ns >= uint64(longest):
		return classes - 1
	case ns < 16:
		return int(ns)
	default:
		return (power-3)*16 + int(ns>>(power-4)&15)
	}
}

// middle is the delay that stands for a class.
func middle(class int) time.Duration { return within(class, 1, 1) }

// within is the k-th of n delays of a class, the first of which is 1, if they lie evenly in it.
func within(class int, k, n uint64) time.Duration {
	if class < 16 {
		return time.Duration(class)
	}
	if class == classes-1 {
		return longest
	}
	power := class/16 + 3
	width := uint64(1) << (power - 4)
	return time.Duration(uint64(16+class%16)*width + uint64(float64(width)*(float64(k)-0.5)/float64(n)))
}

func (d delays) since(before delays) delays {
	diff := slices.Clone(d)
	for i, n := range before {
		diff[i] -= n
	}
	return diff
}

// late adds what frames that were never made would have waited: they were due, one in each
// interval, while the generator was away for so long, so often, and all would have gone when it was back.
// Without them who works on the generator's processor would seem to be without the delays of that
// processor, for while it rests nothing is sent to whom it rests for ("coordinated omission").
func (d delays) late(away delays, interval time.Duration) {
	for class, n := range away {
		for wait := middle(class); n > 0 && wait > 0; wait -= interval {
			d[classOf(wait)] += n
		}
	}
}

// at is the delay that a part of all was at most. Of the class in which that lies it is known how
// many were less: a class is 3 to 6 % wide, and with its middle two medians a hair apart would have
// a ratio that much off.
func (d delays) at(part float64) (time.Duration, error) {
	var all, sum uint64
	for _, n := range d {
		all += n
	}
	if all == 0 {
		return 0, fmt.Errorf("no delay was measured")
	}
	want := uint64(math.Ceil(part * float64(all)))
	for i, n := range d {
		if sum += n; sum >= want {
			return within(i, want-(sum-n), n), nil
		}
	}
	return middle(classes - 1), nil
}
