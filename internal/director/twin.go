package director

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"weir/internal/port"
	"weir/internal/port/tap"
	"weir/internal/spec"
	"weir/internal/worker"
)

// twin is a port's .kni: the device, and what Linux says of it.
type twin struct {
	name    string
	device  *tap.Device // nil on a bed
	open    func(worker int, w *worker.Worker) (port.Queue, error)
	queues  []port.Queue // by worker
	carrier bool         // as it was told

	TwinState
}

// TwinState is what Linux says of a twin.
type TwinState struct {
	Up   bool // an operator, or a program, has it up
	Gone bool // somebody removed it
	// Addresses are those that Linux uses, sorted: none that it still probes for, and
	// none that another machine has.
	Addresses []netip.Prefix
	// Groups are the multicast groups whose frames Linux wants.
	Groups []port.MAC
}

func (s *TwinState) equal(o *TwinState) bool {
	return s.Up == o.Up && s.Gone == o.Gone && slices.Equal(s.Addresses, o.Addresses)
}

// addresses are those that packets can get to Linux at.
func (s *TwinState) addresses() []netip.Prefix {
	if !s.Up {
		return nil
	}
	return s.Addresses
}

// makeTwins makes the ports' twins, if there are to be any.
func (d *Director) makeTwins() error {
	if !d.boot.KNI || d.bed != nil {
		return nil
	}
	for _, p := range d.ports {
		if err := d.makeTwin(p, p.device.KNIName); err != nil {
			return err
		}
	}
	return nil
}

// makeTwin makes a port's twin, without queues yet.
func (d *Director) makeTwin(p *openPort, name string) error {
	device, err := tap.Create(tap.Options{
		Name: name, Port: p.facts.Name, MAC: p.facts.MAC, MTU: p.facts.MTU, Queues: len(d.dataWorkers()),
		Whole: true, // what the port can't segment, its worker does
	})
	if err != nil {
		return fmt.Errorf("device %s gets no Linux twin: %w; or do without twins: global_defs { kni off }", p.facts.Name, err)
	}
	id := p.facts.ID
	p.twin = &twin{
		name: name, device: device, carrier: true,
		open: func(i int, w *worker.Worker) (port.Queue, error) { return device.Open(i, w.Pool(), id) },
	}
	d.tellTakenOver(p, device)
	return nil
}

// openTwins gives each worker its queue of each twin.
func (d *Director) openTwins() error {
	for _, p := range d.ports {
		if p.twin == nil {
			continue
		}
		for i, w := range d.workers {
			if err := p.openTwin(i, w); err != nil {
				return err
			}
		}
	}
	return nil
}

// openTwin gives a worker its queue of the port's twin.
func (p *openPort) openTwin(i int, w *worker.Worker) error {
	q, err := p.twin.open(i, w)
	if err != nil {
		return fmt.Errorf("device %s: its twin: %w", p.facts.Name, err)
	}
	p.twin.queues = append(p.twin.queues, q)
	w.AddTwin(p.facts.ID, q)
	return nil
}

// openTwinsLater gives running workers their queues of the twins of new ports.
func (d *Director) openTwinsLater(fresh []*openPort) {
	for _, p := range fresh {
		if p.twin == nil {
			continue
		}
		var failed error
		err := d.ask(func(i int, w *worker.Worker) { failed = errors.Join(failed, p.openTwin(i, w)) })
		if err = errors.Join(err, failed, p.twin.keep()); err != nil {
			d.log.Error("what is for Linux on a new device may be lost", "err", err)
		}
	}
}

// closeTwins takes the twins of ports that are gone from the workers; with forget from
// Linux too, where one of before may have been kept.
func (d *Director) closeTwins(gone []*openPort, forget bool) {
	for _, p := range gone {
		if p.twin == nil {
			continue
		}
		var failed error
		err := d.ask(func(_ int, w *worker.Worker) {
			if q := w.RemoveTwin(p.facts.ID); q != nil {
				failed = errors.Join(failed, q.Close())
			}
		})
		p.twin.queues = nil
		if forget && p.twin.device != nil {
			failed = errors.Join(failed, p.twin.device.Forget())
		}
		if err = errors.Join(err, failed, p.twin.close()); err != nil {
			d.log.Error(fmt.Sprintf("device %s is gone, and its twin %s is not", p.facts.Name, p.twin.name), "err", err)
		}
	}
}

// keep has the twin outlast the director.
func (t *twin) keep() error {
	if t.device == nil {
		return nil
	}
	return t.device.Keep()
}

func (t *twin) close() (err error) {
	if t == nil {
		return nil
	}
	for _, q := range t.queues {
		err = errors.Join(err, q.Close())
	}
	if t.device != nil {
		err = errors.Join(err, t.device.Close())
	}
	return err
}

// up reports whether the port has a twin and Linux has it up.
func (p *openPort) twinUp() bool { return p.twin != nil && p.twin.Up }

// linuxAddresses are the addresses of the kernel's on the port's twin.
func (p *openPort) linuxAddresses() []netip.Prefix {
	if p.twin == nil {
		return nil
	}
	return p.twin.addresses()
}

// SeeTwins puts in force what Linux says of the twins, by the port that they are of;
// all of it is one change. What came to a twin is announced on the port's link.
func (d *Director) SeeTwins(seen map[string]TwinState) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrClosed
	}
	var changed []*openPort
	before := map[*openPort]TwinState{}
	groups := false
	for _, p := range d.ports {
		s, ok := seen[p.facts.Name]
		if !ok || p.twin == nil {
			continue
		}
		before[p] = p.twin.TwinState
		groups = groups || !slices.Equal(s.Groups, p.twin.Groups) || s.Up != p.twin.Up
		if !p.twin.equal(&s) {
			changed = append(changed, p)
		}
		p.twin.TwinState = s
	}
	switch {
	case len(changed) == 0 && groups:
		d.joinGroups()
		return nil
	case len(changed) == 0:
		return nil
	}
	if err := d.apply(d.spec.Clone()); err != nil {
		for p, s := range before {
			p.twin.TwinState = s
		}
		return err
	}
	var came []ownAddr
	for _, p := range changed {
		was := before[p]
		if was.Gone != p.twin.Gone && p.twin.Gone {
			d.log.Warn(fmt.Sprintf("device %s: somebody removed its twin %s: restart weir to have it again", p.facts.Name, p.twin.name))
		}
		old := was.addresses()
		for _, a := range p.twin.addresses() {
			had := slices.ContainsFunc(old, func(o netip.Prefix) bool { return o.Addr() == a.Addr() })
			if !had && d.forLinux(p, a.Addr()) {
				came = append(came, ownAddr{p.facts.Name, a.Addr()})
			}
		}
	}
	d.tell(came)
	return nil
}

// seeGroups puts in force which multicast groups Linux listens to, by port.
func (d *Director) seeGroups(seen map[string][]port.MAC) {
	d.mu.Lock()
	defer d.mu.Unlock()
	changed := false
	for _, p := range d.ports {
		if groups, ok := seen[p.facts.Name]; ok && !d.closed && p.twin != nil && !slices.Equal(groups, p.twin.Groups) {
			p.twin.Groups, changed = groups, true
		}
	}
	if changed {
		d.joinGroups()
	}
}

// forLinux reports whether an address is the kernel's alone.
func (d *Director) forLinux(p *openPort, a netip.Addr) bool {
	r, ok := d.snapshot.Load().Routes.LookupOn(p.facts.ID, a)
	return ok && r.Scope == spec.ScopeKNIHost && !d.snapshot.Load().Routes.LocalOn(p.facts.ID, a)
}

// TwinView is a port's twin as it is.
type TwinView struct {
	Port, Name string
	TwinState
}

// Twins lists the twins in the order of the ports.
func (d *Director) Twins() (out []TwinView) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.ports {
		if p.twin != nil {
			out = append(out, TwinView{p.facts.Name, p.twin.name, p.twin.TwinState})
		}
	}
	return out
}
