package director

import (
	"context"
	"net/netip"

	"weir/internal/lb/acl"
	"weir/internal/spec"
	"weir/internal/worker"
)

// compileLists compiles a service's lists, if they changed.
func (st *serviceState) compileLists(s *spec.Service) *acl.Lists {
	if !sameList(st.black, s.Blacklist) || !sameList(st.white, s.Whitelist) {
		st.lists, st.black, st.white = acl.Compile(s.Blacklist, s.Whitelist), s.Blacklist, s.Whitelist
	}
	return st.lists
}

// sameList reports whether two lists are one: edits never change one in place.
func sameList(a, b []netip.Addr) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// denies reports whether a change of lists may deny clients that were taken before.
func denies(old, next *spec.Spec) bool {
	var was map[spec.ServiceKey]*spec.Service
	for i := range next.Services {
		s := &next.Services[i]
		if len(s.Blacklist) == 0 && len(s.Whitelist) == 0 {
			continue
		}
		if was == nil {
			was = make(map[spec.ServiceKey]*spec.Service, len(old.Services))
			for j := range old.Services {
				was[old.Services[j].ServiceKey] = &old.Services[j]
			}
		}
		o := was[s.ServiceKey]
		if o == nil || !sameList(o.Blacklist, s.Blacklist) && len(s.Blacklist) > 0 || !sameList(o.Whitelist, s.Whitelist) && len(s.Whitelist) > 0 {
			return true
		}
	}
	return false
}

// denyLot is how many connections a worker looks at between two breaths: some
// hundred microseconds.
const denyLot = 1 << 10

// denyAtOnce makes the lists hold for connections that are there. When it
// returns, no packet of a client that is denied gets through any more.
func (d *Director) denyAtOnce() {
	for _, w := range d.workers {
		used := d.shared.Flows.Used()
		for from := uint32(0); ; from += denyLot {
			ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
			err := d.do(ctx, w, func(w *worker.Worker) {
				// What the worker opens from here on has asked the new lists.
				if from == 0 {
					w.Refresh()
					used = d.shared.Flows.Used()
				}
				w.LB().Deny(from, min(from+denyLot, used))
			})
			cancel()
			if err != nil {
				d.log.Warn("connections of clients that are denied now may go on", "worker", w.Name, "err", err)
				break
			}
			if from+denyLot >= used {
				break
			}
		}
	}
}
