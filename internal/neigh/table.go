package neigh

import (
	"fmt"
	"net/netip"
	"sync/atomic"

	"weir/internal/clock"
	"weir/internal/flow"
	"weir/internal/port"
)

// IdleTime is how long nothing may go to a next hop before it is forgotten, in
// ticks: ten minutes.
const IdleTime = 600 * clock.PerSecond

// This file is for the director's goroutine: the functions below are called by
// one goroutine at a time, while workers go on.

// Housekeep frees the next hops that nothing was sent to for IdleTime and that
// are not static, and returns how many. Flows that still refer to one notice by
// its generation and look their route up again. Ways back come from no route, so
// they stay for backIdle ticks, which is longer than any connection may be idle.
// It is called about once a second.
func Housekeep(hops *flow.NextHops, now clock.Tick, backIdle uint32) int {
	n := 0
	hops.Range(func(ref flow.NextHopRef, h *flow.NextHop) bool {
		flags := atomic.LoadUint32(&h.Flags)
		if flags&flow.HopStatic != 0 {
			return true
		}
		idle := uint32(IdleTime)
		if flags&flow.HopBack != 0 {
			idle = max(idle, backIdle)
		}
		// A fresh entry was never used: its time begins when it is seen here.
		if atomic.CompareAndSwapUint32(&h.Used, 0, uint32(now)) {
			return true
		}
		if since(now, &h.Used) >= idle {
			hops.Free(ref)
			n++
		}
		return true
	})
	return n
}

// InUse lists the resolved neighbours that something was sent to within the last second
// or so, and that are asked now and then whether they are there: a worker asks those it
// sends to itself, the XDP engine asks nobody.
func InUse(hops *flow.NextHops, now clock.Tick) (refs []flow.NextHopRef) {
	hops.Range(func(ref flow.NextHopRef, h *flow.NextHop) bool {
		if atomic.LoadUint32(&h.Flags)&(flow.HopStatic|flow.HopBack) == 0 && h.Resolved() &&
			atomic.LoadUint32(&h.Used) != 0 && since(now, &h.Used) <= 2*clock.PerSecond {
			refs = append(refs, ref)
		}
		return true
	})
	return refs
}

// Confirm asks those of the neighbours that were not heard of for long whether they are
// there, as Output does for those that packets go to.
func (c *Cache) Confirm(refs []flow.NextHopRef) {
	for _, ref := range refs {
		if h, current := c.hops.Current(ref); current && h.Resolved() && !c.fresh(h) {
			c.confirm(h)
		}
	}
}

// AddStatic sets a neighbour's MAC by hand: it is never asked for, does not
// change and does not expire. src is the port's own MAC, mtu the port's.
func AddStatic(hops *flow.NextHops, on uint16, addr netip.Addr, mac, src port.MAC, mtu uint16) error {
	if mac[0]&1 != 0 || mac == (port.MAC{}) {
		return fmt.Errorf("neighbour %v: a MAC address of one station is needed, not %v", addr, mac)
	}
	ref := hops.Get(on, addr, src, mtu)
	if ref == 0 {
		return fmt.Errorf("neighbour %v: the neighbour table is full", addr)
	}
	h := hops.At(ref)
	atomic.OrUint32(&h.Flags, flow.HopStatic)
	h.SetDest(mac)
	h.SetNUD(flow.NUDReachable, true)
	return nil
}

// DeleteStatic forgets a static neighbour and reports whether there was one.
func DeleteStatic(hops *flow.NextHops, on uint16, addr netip.Addr) bool {
	ref := hops.Find(on, addr)
	if ref == 0 {
		return false
	}
	h := hops.At(ref)
	if atomic.LoadUint32(&h.Flags)&flow.HopStatic == 0 {
		return false
	}
	atomic.AndUint32(&h.Flags, ^flow.HopStatic)
	hops.Free(ref)
	return true
}

// Entry is a line of `dpip neigh show`.
type Entry struct {
	Ref      flow.NextHopRef
	Port     uint16
	Addr     netip.Addr
	MAC      port.MAC // valid if Resolved
	State    uint8    // flow.NUD…
	Resolved bool
	Static   bool
}

// List returns all neighbours, without the ways back. One that is not used is
// not asked either: past its time it is listed as NUDDelay, to be confirmed.
func List(hops *flow.NextHops, now clock.Tick, reachableSeconds uint32) []Entry {
	var out []Entry
	hops.Range(func(ref flow.NextHopRef, h *flow.NextHop) bool {
		flags := atomic.LoadUint32(&h.Flags)
		if flags&flow.HopBack != 0 {
			return true
		}
		if h.IP().IsUnspecified() {
			return true // what lies beyond a point-to-point device is nobody's neighbour
		}
		e := Entry{Ref: ref, Port: h.Port, Addr: h.IP(), MAC: h.Dest(), State: h.NUD(), Resolved: h.Resolved(), Static: flags&flow.HopStatic != 0}
		if e.State == flow.NUDReachable && !e.Static && since(now, &h.Confirmed) > clock.FromSeconds(reachableSeconds) {
			e.State = flow.NUDDelay
		}
		out = append(out, e)
		return true
	})
	return out
}
