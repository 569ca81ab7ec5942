// Package sched picks a real server for a new connection.
//
// Enters: the service's real servers as candidates, in order of insertion.
// Leaves: the index of one, or None.
// Owns: a service's cursor: one atomic word shared by all workers, so that
// round robin is round robin however packets are spread over them.
// Drops: nothing.
// See: LVS schedulers rr, wrr, wlc (ipvsadm(8)).
package sched

import (
	"fmt"
	"strings"
	"sync/atomic"
)

// None is no real server.
const None = -1

// Kind is a scheduler.
type Kind uint8

// The schedulers.
const (
	RR Kind = iota
	WRR
	WLC
)

var names = []string{"rr", "wrr", "wlc"}

// Parse returns the scheduler with ipvsadm's name.
func Parse(name string) (Kind, error) {
	for k, n := range names {
		if n == name {
			return Kind(k), nil
		}
	}
	return 0, fmt.Errorf("scheduler %q is not known: choose one of %s", name, strings.Join(names, " "))
}

// String returns ipvsadm's name.
func (k Kind) String() string { return names[k] }

// Load is how many connections a real server has. It is shared by all workers.
type Load struct {
	Active, Inactive atomic.Int32
	// Overloaded: it reached its limit and did not come below Low yet.
	Overloaded atomic.Bool
}

// Candidate is a real server to choose from.
type Candidate struct {
	Weight uint32 // 0: takes no new connection
	Limit  uint32 // most connections (u-threshold); 0: no limit
	Low    uint32 // once overloaded, it is usable again below this (l-threshold); 0: below Limit
	Load   *Load
}

func (c *Candidate) usable() bool {
	if c.Weight == 0 {
		return false
	}
	if c.Limit == 0 {
		return true
	}
	n := uint32(max(c.Load.Active.Load()+c.Load.Inactive.Load(), 0))
	switch over := c.Load.Overloaded.Load(); {
	case n >= c.Limit:
		if !over {
			c.Load.Overloaded.Store(true)
		}
		return false
	case over && c.Low != 0 && n >= c.Low:
		return false
	case over:
		c.Load.Overloaded.Store(false)
	}
	return true
}

// Pick chooses a candidate or returns None. gcd is that of all weights.
func (k Kind) Pick(cursor *atomic.Uint64, cs []Candidate, gcd uint32) int {
	switch k {
	case RR:
		return roundRobin(cursor, cs)
	case WRR:
		return weightedRoundRobin(cursor, cs, gcd)
	default:
		return weightedLeastConnection(cs)
	}
}

// roundRobin takes the next usable candidate after the last one taken.
func roundRobin(cursor *atomic.Uint64, cs []Candidate) int {
	for {
		at := cursor.Load()
		pick := None
		for i := range cs {
			j := (int(at%uint64(len(cs))) + i) % len(cs)
			if cs[j].usable() {
				pick = j
				break
			}
		}
		if pick == None || cursor.CompareAndSwap(at, uint64(pick)+1) {
			return pick
		}
	}
}

// weightedRoundRobin goes round and takes those whose weight is at least the
// current weight, which falls by gcd with each round, from the greatest usable
// weight to nothing and anew. The cursor is position << 32 | current weight.
func weightedRoundRobin(cursor *atomic.Uint64, cs []Candidate, gcd uint32) int {
	highest := uint32(0)
	for i := range cs {
		if cs[i].usable() {
			highest = max(highest, cs[i].Weight)
		}
	}
	if highest == 0 {
		return None
	}
	gcd = max(gcd, 1)
	for {
		at := cursor.Load()
		i, weight := int(at>>32), uint32(at)
		if i > len(cs) || weight == 0 || weight > highest {
			i, weight = 0, highest
		}
		// One of highest weight is met within a round at any current weight.
		pick := None
		for range 2*len(cs) + 1 {
			if i == len(cs) {
				i = 0
				if weight <= gcd {
					weight = highest
				} else {
					weight -= gcd
				}
			}
			if cs[i].Weight >= weight && cs[i].usable() {
				pick = i
				break
			}
			i++
		}
		if pick == None {
			return None // all became full meanwhile
		}
		if cursor.CompareAndSwap(at, uint64(pick+1)<<32|uint64(weight)) {
			return pick
		}
	}
}

// weightedLeastConnection takes the least (256 active + inactive) / weight; of
// equals, the first.
func weightedLeastConnection(cs []Candidate) int {
	pick := None
	var least uint64
	for i := range cs {
		c := &cs[i]
		if !c.usable() {
			continue
		}
		load := uint64(max(c.Load.Active.Load(), 0))<<8 + uint64(max(c.Load.Inactive.Load(), 0))
		if pick == None || load*uint64(cs[pick].Weight) < least*uint64(c.Weight) {
			pick, least = i, load
		}
	}
	return pick
}
