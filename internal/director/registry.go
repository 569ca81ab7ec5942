package director

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"weir/internal/flow"
	"weir/internal/lb/acl"
	"weir/internal/lb/sched"
	"weir/internal/lb/service"
	"weir/internal/spec"
)

// serviceState is what of a service outlives its compiled tables.
type serviceState struct {
	state     service.State
	scheduler string
	// The lists as they were compiled last, and what of.
	lists        *acl.Lists
	black, white []netip.Addr
	table        *sched.Table // the last one built: no other is needed until servers or weights change
}

type destKey struct {
	service spec.ServiceKey
	addr    netip.AddrPort
}

// destTable is the real servers by their indexes.
type destTable = [service.MaxDests]atomic.Pointer[service.Dest]

// destRegistry gives real servers their indexes. One that is removed keeps its
// index until its connections have ended and every counter was cleared.
type destRegistry struct {
	byKey   map[destKey]*service.Dest
	leaving []leavingDest
	free    []uint32
	next    uint32
	ends    bool                   // connections of one that was dropped are to end now
	down    map[*service.Dest]bool // those that the operator was told are down
}

type leavingDest struct {
	dest  *service.Dest
	since time.Time
}

func (r *destRegistry) init() {
	r.byKey, r.down = map[destKey]*service.Dest{}, map[*service.Dest]bool{}
}

// get returns the real server, new if there is none.
func (r *destRegistry) get(table *destTable, k destKey) (d *service.Dest, isNew bool, err error) {
	if d := r.byKey[k]; d != nil {
		return d, false, nil
	}
	var i uint32
	switch {
	case len(r.free) > 0:
		i = r.free[len(r.free)-1]
		r.free = r.free[:len(r.free)-1]
	case r.next < service.MaxDests:
		i = r.next
		r.next++
	default:
		return nil, false, &spec.Refusal{Code: spec.NoResource, Object: "dest", Why: fmt.Sprintf("%d real servers are in use: no room for another", service.MaxDests)}
	}
	d = &service.Dest{Index: i, Service: k.service, Addr: k.addr, Wire: flow.AddrOf(k.addr.Addr()), Port: k.addr.Port()}
	r.byKey[k] = d
	table[i].Store(d)
	return d, true, nil
}

// drop takes a real server out of the configuration.
func (r *destRegistry) drop(k destKey) {
	if d := r.byKey[k]; d != nil {
		d.Closed.Store(true)
		if d.Quiescent.Load() && !d.Ending.Swap(true) {
			r.ends = true
		}
		delete(r.down, d)
		delete(r.byKey, k)
		r.leaving = append(r.leaving, leavingDest{d, time.Now()})
	}
}

// gone returns the removed real servers that nobody uses any more and forgets
// them; the caller clears their counters and calls reuse.
func (r *destRegistry) gone(now time.Time) (ds []*service.Dest) {
	kept := r.leaving[:0]
	for _, l := range r.leaving {
		// A worker may be scheduling to it in this very breath.
		if l.dest.Refs() == 0 && l.dest.Load.Templates.Load() == 0 && now.Sub(l.since) > 2*time.Second {
			ds = append(ds, l.dest)
		} else {
			kept = append(kept, l)
		}
	}
	r.leaving = kept
	return ds
}

func (r *destRegistry) reuse(i uint32) { r.free = append(r.free, i) }
