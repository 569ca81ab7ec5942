package want

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	"weir/api/weirv1"
	"weir/internal/spec"
)

// Step is one change on the way from what the director has to what it shall have.
type Step struct {
	Key  spec.ServiceKey
	What string // for the log: "real server 192.168.100.2:80"
	Msg  *weirv1.Step
	// Makes tells that the steps of the same service that follow need this one.
	Makes bool
	edit  func(*spec.Spec)
}

// Have is what the director has of ours.
type Have map[spec.ServiceKey]spec.Service

// Did notes that a step was carried out.
func (h Have) Did(s *Step) {
	one := &spec.Spec{}
	if svc, there := h[s.Key]; there {
		one.Services = []spec.Service{svc}
	}
	c := one.Clone()
	s.edit(c)
	if len(c.Services) == 0 {
		delete(h, s.Key)
		return
	}
	h[s.Key] = c.Services[0]
}

// Diff returns the steps from what is there to what is wanted: first what goes, so that
// what comes has room.
func Diff(have Have, wanted []spec.Service) []Step {
	d := &differ{}
	keys := make(map[spec.ServiceKey]bool, len(wanted))
	for i := range wanted {
		keys[wanted[i].ServiceKey] = true
	}
	var gone []spec.ServiceKey
	for k := range have {
		if !keys[k] {
			gone = append(gone, k)
		}
	}
	slices.SortFunc(gone, func(a, b spec.ServiceKey) int { return compareText(a.String(), b.String()) })
	for _, k := range gone {
		d.add(Step{
			Key: k, What: "service", edit: func(s *spec.Spec) { s.Services = nil },
			Msg: &weirv1.Step{Change: &weirv1.Step_DeleteService{DeleteService: &weirv1.DeleteServiceRequest{Key: fromKey(k)}}},
		})
	}
	for i := range wanted {
		if old, there := have[wanted[i].ServiceKey]; there {
			d.leave(&old, &wanted[i])
		}
	}
	for i := range wanted {
		old, there := have[wanted[i].ServiceKey]
		if !there {
			d.service(&wanted[i], true)
			old = spec.Service{ServiceKey: wanted[i].ServiceKey}
		} else if !sameOptions(&old, &wanted[i]) {
			d.service(&wanted[i], false)
		}
		d.come(&old, &wanted[i])
	}
	return d.steps
}

func compareText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

type differ struct{ steps []Step }

func (d *differ) add(s Step) { d.steps = append(d.steps, s) }

// plain is a service without what has calls of its own.
func plain(s *spec.Service) spec.Service {
	c := *s
	c.Dests, c.Locals, c.Blacklist, c.Whitelist = nil, nil, nil, nil
	if len(c.DestCheck) == 0 {
		c.DestCheck = nil
	}
	return c
}

func sameOptions(a, b *spec.Service) bool { return reflect.DeepEqual(plain(a), plain(b)) }

func (d *differ) service(s *spec.Service, fresh bool) {
	set := plain(s)
	if fresh {
		d.add(Step{
			Key: s.ServiceKey, What: "service", Makes: true,
			Msg:  &weirv1.Step{Change: &weirv1.Step_AddService{AddService: &weirv1.AddServiceRequest{Service: fromService(&set)}}},
			edit: func(c *spec.Spec) { c.Services = []spec.Service{set} },
		})
		return
	}
	d.add(Step{
		Key: s.ServiceKey, What: "service",
		Msg: &weirv1.Step{Change: &weirv1.Step_EditService{EditService: &weirv1.EditServiceRequest{Service: fromService(&set)}}},
		edit: func(c *spec.Spec) {
			old := c.Services[0]
			c.Services[0] = set
			svc := &c.Services[0]
			svc.Dests, svc.Locals, svc.Blacklist, svc.Whitelist = old.Dests, old.Locals, old.Blacklist, old.Whitelist
		},
	})
}

// stays reports whether a real server can be edited into the wanted one. One of another
// forwarding mode goes and comes: its service may have to change between.
func stays(d spec.Dest, wanted []spec.Dest) bool {
	return slices.ContainsFunc(wanted, func(w spec.Dest) bool { return w.Addr == d.Addr && w.Forward == d.Forward })
}

// leave takes away what is not wanted of a service.
func (d *differ) leave(old, wanted *spec.Service) {
	key := fromKey(old.ServiceKey)
	for _, dest := range old.Dests {
		if stays(dest, wanted.Dests) {
			continue
		}
		d.add(Step{
			Key: old.ServiceKey, What: "real server " + dest.Addr.String(),
			Msg: &weirv1.Step{Change: &weirv1.Step_DeleteDest{DeleteDest: &weirv1.DeleteDestRequest{Key: key, Dest: fromDest(dest)}}},
			edit: func(c *spec.Spec) {
				svc := &c.Services[0]
				svc.Dests = slices.DeleteFunc(svc.Dests, func(o spec.Dest) bool { return o.Addr == dest.Addr })
			},
		})
	}
	for _, l := range old.Locals {
		if slices.Contains(wanted.Locals, l) {
			continue
		}
		d.add(Step{
			Key: old.ServiceKey, What: "local address " + l.Addr.String(),
			Msg: &weirv1.Step{Change: &weirv1.Step_DeleteLocalAddress{DeleteLocalAddress: &weirv1.DeleteLocalAddressRequest{Key: key, Local: fromLocal(l)}}},
			edit: func(c *spec.Spec) {
				svc := &c.Services[0]
				svc.Locals = slices.DeleteFunc(svc.Locals, func(o spec.LocalAddress) bool { return o == l })
			},
		})
	}
	d.list(old.ServiceKey, spec.Blacklist, old.Blacklist, wanted.Blacklist, false)
	d.list(old.ServiceKey, spec.Whitelist, old.Whitelist, wanted.Whitelist, false)
}

// come brings what is missing of a service. The lists come before the real servers: no
// client slips through between.
func (d *differ) come(old, wanted *spec.Service) {
	key := fromKey(old.ServiceKey)
	d.list(old.ServiceKey, spec.Blacklist, wanted.Blacklist, old.Blacklist, true)
	d.list(old.ServiceKey, spec.Whitelist, wanted.Whitelist, old.Whitelist, true)
	for _, l := range wanted.Locals {
		if slices.Contains(old.Locals, l) {
			continue
		}
		d.add(Step{
			Key: old.ServiceKey, What: "local address " + l.Addr.String(),
			Msg:  &weirv1.Step{Change: &weirv1.Step_AddLocalAddress{AddLocalAddress: &weirv1.AddLocalAddressRequest{Key: key, Local: fromLocal(l)}}},
			edit: func(c *spec.Spec) { c.Services[0].Locals = append(c.Services[0].Locals, l) },
		})
	}
	for _, dest := range wanted.Dests {
		what := "real server " + dest.Addr.String()
		i := slices.IndexFunc(old.Dests, func(o spec.Dest) bool { return o.Addr == dest.Addr && o.Forward == dest.Forward })
		switch {
		case i < 0:
			d.add(Step{
				Key: old.ServiceKey, What: what,
				Msg:  &weirv1.Step{Change: &weirv1.Step_AddDest{AddDest: &weirv1.AddDestRequest{Key: key, Dest: fromDest(dest)}}},
				edit: func(c *spec.Spec) { c.Services[0].Dests = append(c.Services[0].Dests, dest) },
			})
		case old.Dests[i] != dest:
			d.add(Step{
				Key: old.ServiceKey, What: what,
				Msg: &weirv1.Step{Change: &weirv1.Step_EditDest{EditDest: &weirv1.EditDestRequest{Key: key, Dest: fromDest(dest)}}},
				edit: func(c *spec.Spec) {
					for i := range c.Services[0].Dests {
						if o := &c.Services[0].Dests[i]; o.Addr == dest.Addr {
							*o = dest
						}
					}
				},
			})
		}
	}
}

// list adds to a list, or takes from it, what from has and without does not.
func (d *differ) list(key spec.ServiceKey, kind spec.ListKind, from, without []netip.Addr, add bool) {
	there := make(map[netip.Addr]bool, len(without))
	for _, a := range without {
		there[a] = true
	}
	m := &weirv1.AccessList{Key: fromKey(key), Kind: weirv1.AccessKind(kind)}
	var addrs []netip.Addr
	for _, a := range from {
		if !there[a] {
			addrs = append(addrs, a)
			m.Entries = append(m.Entries, a.String())
		}
	}
	if len(addrs) == 0 {
		return
	}
	s := Step{Key: key, What: fmt.Sprintf("%s of %d addresses", kind, len(addrs))}
	if add {
		s.Msg = &weirv1.Step{Change: &weirv1.Step_AddAccess{AddAccess: &weirv1.AddAccessRequest{List: m}}}
	} else {
		s.Msg = &weirv1.Step{Change: &weirv1.Step_DeleteAccess{DeleteAccess: &weirv1.DeleteAccessRequest{List: m}}}
	}
	s.edit = func(c *spec.Spec) {
		svc := &c.Services[0]
		list := &svc.Blacklist
		if kind == spec.Whitelist {
			list = &svc.Whitelist
		}
		if add {
			*list = append(slices.Clip(*list), addrs...)
			return
		}
		*list = slices.DeleteFunc(slices.Clone(*list), func(a netip.Addr) bool { return !there[a] })
	}
	d.add(s)
}
