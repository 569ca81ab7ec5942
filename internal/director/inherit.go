package director

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"weir/internal/clock"
	"weir/internal/flow"
	"weir/internal/lb"
	"weir/internal/lb/laddr"
	"weir/internal/lb/mapping"
	"weir/internal/lb/service"
	"weir/internal/lb/template"
	"weir/internal/pinned"
	"weir/internal/port"
	"weir/internal/spec"
)

// A director begins where the one before it ended, however that was: with its flow table,
// its services and addresses, and with what the numbers in the table mean.

// findLeft finds what the director before left, and whether this one can go on with it.
// That is known before anything is touched.
func (d *Director) findLeft() (r *record, err error) {
	if d.boot.Keep == "" {
		return nil, nil
	}
	if d.keep, err = pinned.Open(d.boot.Keep); err != nil {
		return nil, err
	}
	if !d.boot.Fresh {
		if r, err = readRecord(d.keep); err != nil {
			return nil, err
		}
	}
	if r == nil {
		// A table without it is of one who was killed before he carried a packet.
		return nil, d.keep.Clear()
	}
	config := d.flowConfig(1)
	return r, stale(config.Check())
}

func (d *Director) flowConfig(workers int) flow.Config {
	config := flow.Config{Conns: d.boot.ConnPool, WideConns: d.boot.ConnPool6, Workers: workers, Keep: d.keep}
	if d.bed != nil {
		config.Seed = d.bed.Seed
	}
	return config
}

// openTable makes the flow table, or maps that of the director before.
func (d *Director) openTable(workers int) (found bool, err error) {
	flows, found, err := d.makeTable(d.flowConfig(workers))
	if err != nil {
		return false, stale(err)
	}
	d.shared = &lb.Shared{Flows: flows}
	return found, nil
}

// openTables makes what belongs to the flow table, or goes on with what the director before
// left, which is r; nil if there was none.
func (d *Director) openTables(workers int, r *record) (taken flow.Taken, err error) {
	flows := d.shared.Flows
	if r != nil {
		taken = flows.TakeOver(d.now())
	}
	if d.shared.Templates, err = template.Open(d.keep, templatesFor(flows.Conns()), flows.Seed()); err != nil {
		return taken, stale(err)
	}
	first, last := d.boot.LocalPorts()
	if d.shared.Locals, err = laddr.NewSet(first, last); err != nil {
		return taken, err
	}
	if d.keep != nil {
		former := uint16(0)
		if r != nil {
			former = d.second()
		}
		d.shared.Locals.KeepIn(d.keep, former)
		if err := d.shared.OpenAccounts(d.keep, workers); err != nil {
			return taken, stale(err)
		}
	}
	switch {
	case r != nil && len(r.Secret) == len(d.shared.Secret):
		copy(d.shared.Secret[:], r.Secret)
	case d.flowConfig(workers).Seed == 0:
		if _, err := rand.Read(d.shared.Secret[:]); err != nil {
			return taken, err
		}
	}
	return taken, nil
}

// stale says of an error about what was left that there is a way out.
func stale(err error) error {
	var differs *flow.Differs
	var sizes *pinned.Sizes
	if errors.As(err, &differs) || errors.As(err, &sizes) {
		return &Stale{err.Error()}
	}
	return err
}

// inherit puts into the registries what the numbers in the table mean, and counts what the
// connections use. The ports are open.
func (d *Director) inherit(r *record, taken flow.Taken) error {
	if r == nil {
		return nil
	}
	d.inheritSpec(r)
	d.numbers = map[string]uint16{}
	for _, p := range r.Ports {
		d.numbers[p.Name] = p.ID
	}
	ports, _, err := d.portsOf(d.spec)
	if err != nil {
		return &Stale{fmt.Sprintf("the devices that the former weir had can't be made (%v)", err)}
	}
	fresh := without(ports, d.ports)
	d.ports = ports
	d.pointToPoint(fresh, true)
	d.inheritPorts(r)
	d.dests.restore(&d.shared.Dests, r.Dests)
	for _, l := range r.Locals {
		if err := d.shared.Locals.Restore(l.Index, l.IP); err != nil {
			return &Stale{err.Error()}
		}
	}
	numbers := map[spec.ServiceKey]uint32{}
	d.lastService = r.LastService
	for _, s := range r.Services {
		numbers[s.Key] = s.Index
		if i := slices.IndexFunc(d.spec.Services, func(v spec.Service) bool { return v.ServiceKey == s.Key }); i >= 0 {
			st := &serviceState{scheduler: d.spec.Services[i].Scheduler}
			st.state.Index = s.Index
			d.states[s.Key] = st
		}
	}
	for i := range d.spec.Services {
		if d.spec.Services[i].EndpointIndependent {
			d.shared.Mappings.Store(mapping.New(mappingsFor(d.shared.Flows.Conns()), d.shared.Flows.Seed()))
			break
		}
	}
	lost, err := d.shared.Inherit(taken.Away, d.second(), d.now(), func(dest *service.Dest) uint32 { return numbers[dest.Service] })
	if err != nil {
		return stale(err)
	}
	for _, a := range r.Lingering {
		if d.portByName(a.Port) != nil && d.spec.FindAddress(a.Prefix.Addr()) == nil {
			d.lingering = append(d.lingering, a)
		}
	}
	d.lingering = d.linger(d.spec)
	d.inheritProbes(r)
	what := fmt.Sprintf("weir goes on with %d connections and %d services of the one before it, whose last breath was %v ago",
		taken.Conns-lost, len(d.spec.Services), clock.Duration(taken.Away).Round(10*time.Millisecond))
	d.log.Log(context.Background(), Notice, what, "half_flows_freed", taken.Freed, "connections_lost", lost)
	return nil
}

// inheritSpec makes the wanted state what it was, as far as there are the devices for it.
// What dpvs.conf says of devices and was changed there holds.
func (d *Director) inheritSpec(r *record) {
	was, now := r.Spec.Clone(), d.spec
	now.VLANs, now.Tunnels, now.Addresses, now.Routes = was.VLANs, was.Tunnels, was.Addresses, was.Routes
	now.Neighbours, now.Services, now.SetTimeouts = was.Neighbours, was.Services, was.SetTimeouts
	for name, l := range was.Links {
		if boot, is := d.bootLinks[name]; is && boot == r.BootLinks[name] || !is {
			now.Links[name] = l
		}
	}
	for i := range now.Bonds {
		b := &now.Bonds[i]
		same := func(o spec.Bond) bool { return o.Name == b.Name && equalBonds(&o, b) }
		if old := was.FindBond(b.Name); old != nil && slices.ContainsFunc(r.BootBonds, same) {
			*b = *old
		}
	}
	for _, p := range was.Ports {
		if was.FindTunnel(p) != nil || slices.ContainsFunc(was.VLANs, func(v spec.VLAN) bool { return v.Name == p }) {
			now.Ports = append(now.Ports, p)
		}
	}
	for _, gone := range now.Restrict() {
		d.log.Warn(fmt.Sprintf("%s is not restored: its device is gone from dpvs.conf", gone))
	}
	for name := range maps.Clone(now.Links) {
		if d.spec.BondOf(name) == nil && !slices.Contains(now.Ports, name) {
			delete(now.Links, name)
		}
	}
	for i := range now.Addresses {
		if h := now.Addresses[i].Held; h.Holders > 0 {
			for range h.Holders {
				d.orphans = append(d.orphans, now.Addresses[i])
			}
		}
	}
}

func equalBonds(a, b *spec.Bond) bool {
	x, y := *a, *b
	x.Members, y.Members, x.Out, y.Out = nil, nil, nil, nil
	return slices.Equal(a.Members, b.Members) && fmt.Sprint(x) == fmt.Sprint(y)
}

// inheritPorts gives up the next hops of ports that have other numbers now, and gives the
// others the MAC that their port has.
func (d *Director) inheritPorts(r *record) {
	hops := &d.shared.Flows.Hops
	var kept [port.Max]*openPort
	for _, was := range r.Ports {
		if p := d.portByName(was.Name); p != nil && p.facts.ID == was.ID && p.facts.MTU == was.MTU {
			kept[was.ID] = p
		}
	}
	hops.FreeOf(func(id uint16) bool { return id >= port.Max || kept[id] == nil })
	hops.Range(func(_ flow.NextHopRef, h *flow.NextHop) bool {
		h.SetSource(kept[h.Port].facts.MAC)
		return true
	})
}

// inheritProbes believes what was found out about addresses: the links need not be asked
// again, which would be a second without them.
func (d *Director) inheritProbes(r *record) {
	settled := map[ownAddr]bool{}
	for _, a := range r.Settled {
		settled[ownAddr{a.Port, a.Addr}] = true
	}
	d.probes = d.probesFor(d.spec)
	for k, p := range d.probes {
		if settled[k] {
			p.state = AddrInUse
		}
	}
}

// restore gives real servers the numbers that they had.
func (r *destRegistry) restore(table *destTable, all []destRecord) {
	for _, was := range all {
		if was.Index >= service.MaxDests || table[was.Index].Load() != nil {
			continue
		}
		d := &service.Dest{Index: was.Index, Service: was.Service, Addr: was.Addr, Wire: flow.AddrOf(was.Addr.Addr()), Port: was.Addr.Port()}
		d.Health.Store(was.Health)
		d.Load.Inhibited.Store(d.Down())
		table[was.Index].Store(d)
		if was.Leaving || r.byKey[destKey{was.Service, was.Addr}] != nil {
			d.Closed.Store(true)
			r.leaving = append(r.leaving, leavingDest{d, time.Now()})
		} else {
			r.byKey[destKey{was.Service, was.Addr}] = d
		}
		r.next = max(r.next, was.Index+1)
	}
	for i := range r.next {
		if table[i].Load() == nil {
			r.free = append(r.free, i)
		}
	}
}

// orphanTime is how long an address that somebody held is kept for him after a restart:
// keepalived asks again within two seconds.
const orphanTime = 5 * clock.PerSecond

// forgetOrphans takes away the addresses that were held when the former director ended, and
// that nobody came to hold again.
func (d *Director) forgetOrphans() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || len(d.orphans) == 0 || d.now().Since(d.began) < orphanTime {
		return
	}
	next := d.spec.Clone()
	next.Release(d.orphans)
	d.orphans = nil
	if err := d.apply(next); err != nil {
		d.log.Error("addresses that nobody holds any more stay", "err", err)
	}
}

// bringUp does for the first spec in force what apply does for a later one, now that the
// workers breathe. boot is what dpvs.conf alone says.
func (d *Director) bringUp(r *record, boot *spec.Spec) error {
	if r == nil {
		return nil
	}
	if err := d.setLinks(boot, d.spec); err != nil {
		return err
	}
	if err := d.setBonds(boot, d.spec); err != nil {
		return err
	}
	none := (&spec.Spec{}).Clone()
	d.watch(d.spec)
	d.populateWide(d.spec)
	d.setNeighbours(none, d.spec)
	d.announce(none, d.spec)
	return nil
}

// closeTables unmaps what workers work on. What is kept stays.
func (d *Director) closeTables() {
	d.shared.Flows.Close()
	if d.shared.Templates != nil {
		d.shared.Templates.Close()
	}
	if d.shared.Locals != nil {
		d.shared.Locals.Close()
	}
	d.shared.CloseAccounts()
}
