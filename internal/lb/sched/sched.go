// Package sched picks a real server for a new connection.
//
// Enters: the service's real servers as candidates, in order of insertion; for
// those that hash, the Table that was built of them, and the connection's Key.
// Leaves: the index of one, or None.
// Owns: a service's cursor: one atomic word shared by all workers, so that
// round robin is round robin however packets are spread over them. A Table is
// immutable, and depends on nothing but the servers' addresses and weights: it is
// the same on every director, in whatever order they were configured.
// Drops: nothing.
// See: LVS's schedulers (ipvsadm(8)), DPVS's conhash and fo; Maglev (NSDI 2016).
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
	LC
	SED
	NQ
	FO
	SH
	DH
	MH
	Conhash
)

var names = []string{"rr", "wrr", "wlc", "lc", "sed", "nq", "fo", "sh", "dh", "mh", "conhash"}

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

// Hashes reports whether the choice is by the connection's Key: with a Table.
func (k Kind) Hashes() bool { return k >= SH }

// Load is how many connections a real server has. It is shared by all workers.
type Load struct {
	Active, Inactive atomic.Int32
	// Overloaded: it reached its limit and did not come below Low yet.
	Overloaded atomic.Bool
	// Inhibited: its passive check found it down; it counts as of weight 0.
	Inhibited atomic.Bool
	// Templates is how many persistence templates name it.
	Templates atomic.Int32
}

// Candidate is a real server to choose from.
type Candidate struct {
	Weight uint32 // 0: takes no new connection
	Limit  uint32 // most connections (u-threshold); 0: no limit
	Low    uint32 // once overloaded, it is usable again below this (l-threshold); 0: below Limit
	// Datagrams: its connections are UDP's, which are all inactive. Where LVS looks
	// at active ones alone it means these too.
	Datagrams bool
	Load      *Load
}

// Usable reports whether the real server takes a new connection.
func (c *Candidate) Usable() bool {
	if c.Weight == 0 || c.Load.Inhibited.Load() {
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

// Pick chooses a candidate or returns None, for the kinds that do not hash. gcd
// is that of all weights.
func (k Kind) Pick(cursor *atomic.Uint64, cs []Candidate, gcd uint32) int {
	switch k {
	case RR:
		return roundRobin(cursor, cs)
	case WRR:
		return weightedRoundRobin(cursor, cs, gcd)
	case LC:
		return leastConnection(cs)
	case SED:
		return shortestDelay(cs, false)
	case NQ:
		return shortestDelay(cs, true)
	case FO:
		return failover(cs)
	default:
		return weightedLeastConnection(cs)
	}
}

// roundRobin takes the next usable candidate after the last one taken.
func roundRobin(cursor *atomic.Uint64, cs []Candidate) int {
	for {
		at := cursor.Load()
		pick, j := None, 0
		if n := uint64(len(cs)); at < n {
			j = int(at)
		} else if at > n && n > 0 { // there were more of them
			j = int(at % n)
		}
		for range cs {
			if cs[j].Usable() {
				pick = j
				break
			}
			if j++; j == len(cs) {
				j = 0
			}
		}
		if pick == None || at == uint64(pick)+1 || cursor.CompareAndSwap(at, uint64(pick)+1) {
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
		if cs[i].Usable() {
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
			if cs[i].Weight >= weight && cs[i].Usable() {
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
