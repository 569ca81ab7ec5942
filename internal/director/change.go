package director

import (
	"fmt"
	"slices"

	"weir/internal/flow"
	"weir/internal/neigh"
	"weir/internal/spec"
	"weir/internal/worker"
)

// Change applies an edit of the wanted state: all of it, or with an error
// nothing. Edits wait for each other, so none is lost. When it returns, every
// worker uses the new state from its next breath on.
func (d *Director) Change(edit func(*spec.Spec) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrClosed
	}
	next := d.spec.Clone()
	if err := edit(next); err != nil {
		return err
	}
	return d.apply(next)
}

// Spec returns the wanted state; it is not to be changed.
func (d *Director) Spec() *spec.Spec {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.spec
}

// Reload puts settings of dpvs.conf in force that may change at run time.
func (d *Director) Reload(t spec.Tunables) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrClosed
	}
	old := d.tunables
	d.tunables = t
	if err := d.apply(d.spec.Clone()); err != nil {
		d.tunables = old
		return err
	}
	return nil
}

func (d *Director) apply(next *spec.Spec) error {
	old, oldPorts := d.spec, d.ports
	ports, undo, err := d.portsOf(next)
	if err != nil {
		return err
	}
	d.ports = ports
	lingering := d.linger(next)
	c, err := d.compile(next, lingering)
	if err != nil {
		d.ports = oldPorts
		undo()
		return err
	}
	giveBack, err := d.makeRoom(old, next)
	if err == nil {
		err = d.setLinks(old, next)
	}
	if err == nil {
		if err = d.setBonds(old, next); err == nil {
			if err = d.leave(next, c, lingering); err != nil {
				_ = d.setBonds(next, old)
			}
		}
		if err != nil {
			_ = d.setLinks(next, old)
		}
	}
	if err != nil {
		giveBack()
		d.ports = oldPorts
		d.forgetUnwanted(old)
		undo()
		return err
	}
	d.openTwinsLater(without(ports, oldPorts))
	before := d.snapshot.Load()
	d.spec, d.states, d.lingering = next, c.states, lingering
	d.pointToPoint(without(ports, oldPorts), true)
	d.snapshot.Store(c.snap)
	d.probes = c.probes
	d.joinGroups()
	if err := d.followOffload(); err != nil {
		d.log.Error(err.Error())
	}
	d.forgetUnwanted(next)
	d.watch(next)
	d.populateWide(next)
	if denies(old, next) {
		d.denyAtOnce()
	}
	if !c.snap.Routes.Equal(before.Routes) {
		// Not before every worker uses the new routes: one that still looks things
		// up in the old ones would take an old way for a current one.
		if err := d.ask(func(_ int, w *worker.Worker) { w.Refresh() }); err != nil {
			d.log.Warn("flows may follow old routes for a while", "err", err)
		}
		d.shared.Flows.Hops.Invalidate()
	}
	d.forget(without(oldPorts, ports))
	d.pointToPoint(without(oldPorts, ports), false)
	d.closeTwins(without(oldPorts, ports), true)
	d.setNeighbours(old, next)
	d.announce(old, next)
	d.askForAddresses()
	return nil
}

// setLinks makes Linux switch what is wanted; if it can't, it puts back what was.
func (d *Director) setLinks(old, next *spec.Spec) error {
	all := d.devices(d.ports)
	for i, p := range all {
		if err := p.setLink(p.switches(old), p.switches(next)); err != nil {
			for _, q := range all[:i+1] {
				_ = q.setLink(q.switches(next), q.switches(old))
			}
			return &spec.Refusal{Code: spec.Invalid, Object: "link", Why: err.Error()}
		}
	}
	return nil
}

// switches are those of a device: a member has its bond's, and may be down alone.
func (p *openPort) switches(s *spec.Spec) spec.Link {
	l := s.Links[p.facts.Name]
	if p.master != nil {
		down := l.Down
		l = s.Links[p.master.port.facts.Name]
		l.Down = l.Down || down
	}
	return l
}

func (p *openPort) setLink(was, want spec.Link) error {
	if p.link == nil {
		return nil
	}
	for _, s := range []struct {
		changed, on bool
		set         func(bool) error
	}{
		{was.Promisc != want.Promisc, want.Promisc, p.link.SetPromisc},
		{was.AllMulticast != want.AllMulticast, want.AllMulticast, p.link.SetAllMulticast},
		{was.Down != want.Down, !want.Down, p.setUp},
	} {
		if s.changed {
			if err := s.set(s.on); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *openPort) setUp(up bool) error {
	if up {
		return p.link.SetUp()
	}
	return p.link.SetDown()
}

// makeRoom finds places for new static neighbours, so that setNeighbours can't
// fail. giveBack is what undoes it.
func (d *Director) makeRoom(old, next *spec.Spec) (giveBack func(), err error) {
	hops := &d.shared.Flows.Hops
	var made []flow.NextHopRef
	giveBack = func() {
		for _, ref := range made {
			hops.Free(ref)
		}
	}
	for _, n := range next.Neighbours {
		f := &d.portByName(n.Port).facts
		if slices.Contains(old.Neighbours, n) || hops.Find(f.ID, n.Addr) != 0 {
			continue
		}
		ref := hops.Get(f.ID, n.Addr, f.MAC, uint16(f.MTU))
		if ref == 0 {
			return giveBack, &spec.Refusal{Code: spec.NoResource, Object: "neighbour",
				Why: fmt.Sprintf("the neighbour table has no room for %s dev %s: delete others, or wait until idle ones are forgotten", n.Addr, n.Port)}
		}
		made = append(made, ref)
	}
	return giveBack, nil
}

// setNeighbours follows the static neighbours.
func (d *Director) setNeighbours(old, next *spec.Spec) {
	hops := &d.shared.Flows.Hops
	for _, n := range old.Neighbours {
		if p := d.portByName(n.Port); p != nil && !slices.Contains(next.Neighbours, n) {
			neigh.DeleteStatic(hops, p.facts.ID, n.Addr)
		}
	}
	for _, n := range next.Neighbours {
		if slices.Contains(old.Neighbours, n) {
			continue
		}
		p := d.portByName(n.Port)
		if err := neigh.AddStatic(hops, p.facts.ID, n.Addr, n.MAC, p.facts.MAC, uint16(p.facts.MTU)); err != nil {
			d.log.Error(err.Error())
		}
	}
}

// announce tells the links of new addresses, so that nobody goes on sending to a
// former owner; of those that are probed for first, settleAddresses does.
func (d *Director) announce(old, next *spec.Spec) {
	var fresh []ownAddr
	for _, a := range next.Addresses {
		if probed(&a) || slices.ContainsFunc(old.Addresses, func(o spec.Address) bool {
			return o.Prefix.Addr() == a.Prefix.Addr() && o.Port == a.Port
		}) {
			continue
		}
		fresh = append(fresh, ownAddr{a.Port, a.Prefix.Addr()})
	}
	d.tell(fresh)
}

// announceLot is how many addresses a worker announces in one breath: half of what its outbox
// holds.
const announceLot = 128

// tell announces addresses: by gratuitous ARP, or advertisements nobody asked for.
func (d *Director) tell(fresh []ownAddr) {
	for lot := range slices.Chunk(fresh, announceLot) {
		d.tellLot(lot)
	}
}

func (d *Director) tellLot(fresh []ownAddr) {
	err := d.byOne(func(w *worker.Worker) {
		for _, a := range fresh {
			if d.portByName(a.port).facts.PointToPoint {
				continue // there is nobody to tell
			}
			if !w.Neigh().Announce(d.portByName(a.port).facts.ID, a.addr) {
				d.log.Warn(fmt.Sprintf("address %s of %s could not be announced: no packet memory", a.addr, a.port))
			}
		}
	})
	if err != nil {
		d.log.Warn("new addresses could not be announced", "err", err)
	}
}
