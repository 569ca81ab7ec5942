package director

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"weir/internal/lacp"
	"weir/internal/port"
	"weir/internal/port/bond"
	"weir/internal/spec"
)

// openBond is a bond: a port of the walk whose queues are those of its members. These are
// open ports too, but no stage knows them: they have no addresses, routes or twin.
type openBond struct {
	port    *openPort
	bond    *bond.Bond
	members []*openPort   // in the order of the file
	queues  []*bond.Queue // by worker; nil: it gives its packets to another
	lead    int           // the worker that sends frames of LACP

	mu      sync.Mutex // guards what follows; taken after the director's
	wanted  spec.Bond
	control *bond.Control
	carrier *port.Carrier // nil on a bed
	look    int64         // when the links are looked at next, in milliseconds
	speeds  int64         // and their speeds
	up      []bool        // by member: as it was seen
	carries bool          // some member sends
}

// bondMAC finds the address of a device's bond: that of its first member.
func (d *Director) bondMAC(b *spec.Bond) (port.MAC, error) {
	for _, dev := range d.boot.Devices {
		if dev.Name == b.Members[0] {
			l, err := port.FindLink(dev.Interface)
			if err != nil {
				return port.MAC{}, err
			}
			return l.MAC, nil
		}
	}
	return port.MAC{}, fmt.Errorf("bond %s: there is no device %s", b.Name, b.Members[0])
}

// keepPort adds an open port to those of the walk, or to the members of its bond.
func (d *Director) keepPort(p *openPort) {
	if d.spec.BondOf(p.facts.Name) != nil {
		d.members = append(d.members, p)
		return
	}
	d.ports = append(d.ports, p)
	d.spec.Ports = append(d.spec.Ports, p.facts.Name)
}

// openBonds makes the ports of the bonds, behind those of the devices.
func (d *Director) openBonds() error {
	id := len(d.ports) + len(d.members)
	if id+len(d.spec.Bonds) > port.Max {
		return fmt.Errorf("%d devices and %d bonds: at most %d ports", id, len(d.spec.Bonds), port.Max)
	}
	for i := range d.spec.Bonds {
		b, err := d.openBond(uint16(id+i), &d.spec.Bonds[i], uint16(i))
		if err != nil {
			return fmt.Errorf("bond %s: %w", d.spec.Bonds[i].Name, err)
		}
		d.bonds = append(d.bonds, b)
		d.ports = append(d.ports, b.port)
		d.spec.Ports = append(d.spec.Ports, b.port.facts.Name)
	}
	return nil
}

func (d *Director) openBond(id uint16, s *spec.Bond, key uint16) (*openBond, error) {
	b := &openBond{bond: bond.New(id), wanted: *s, up: make([]bool, len(s.Members))}
	for _, name := range s.Members {
		i := slices.IndexFunc(d.members, func(p *openPort) bool { return p.facts.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no device %s", name)
		}
		d.members[i].master = b
		b.members = append(b.members, d.members[i])
	}
	first := &b.members[0].facts
	f := port.Facts{ID: id, Name: s.Name, IfName: s.Name, MAC: first.MAC, MTU: first.MTU, Driver: "bonding", TxCsum: true, TxGSO: true}
	var switches spec.Link
	for _, m := range b.members {
		f.MTU = min(f.MTU, m.facts.MTU)
		f.RxPartial = f.RxPartial || m.facts.RxPartial
		f.TxCsum, f.TxGSO = f.TxCsum && m.facts.TxCsum, f.TxGSO && m.facts.TxGSO
		f.RxQueues, f.TxQueues = max(f.RxQueues, m.facts.RxQueues), max(f.TxQueues, m.facts.TxQueues)
		switches.Promisc = switches.Promisc || m.device.Promisc
		switches.AllMulticast = switches.AllMulticast || m.device.AllMulticast
	}
	b.port = &openPort{facts: f, device: spec.Device{Name: s.Name, KNIName: s.KNIName}, bond: b, bed: b.members[0].bed}
	d.spec.Links[s.Name] = switches
	for _, m := range b.members {
		if err := m.setLink(spec.Link{}, switches); err != nil {
			return nil, err
		}
	}
	var err error
	if d.bed == nil {
		if b.carrier, err = port.WatchCarrier(); err != nil {
			return nil, err
		}
	}
	b.control = bond.NewControl(b.settings(s, key), len(b.members), d.millis())
	return b, nil
}

// settings are a bond's for its control. Its number makes the keys of its ports those of
// no other bond's.
func (b *openBond) settings(s *spec.Bond, key uint16) bond.Settings {
	return bond.Settings{
		Mode:      bond.Mode(s.Mode),
		Policy:    bond.Policy(slices.Index(spec.XmitPolicies, s.XmitPolicy)),
		Primary:   slices.Index(s.Members, s.Primary),
		UpDelay:   int64(s.UpDelay),
		DownDelay: int64(s.DownDelay),
		LACP: lacp.Config{
			System: lacp.SystemID{Priority: s.SystemPriority, MAC: b.port.facts.MAC},
			Key:    key + 1, Fast: s.LACPFast, Select: lacp.Select(s.ADSelect),
		},
	}
}

// openBondQueues gives each worker its queue of each bond. The members' are open.
func (d *Director) openBondQueues() error {
	for _, b := range d.bonds {
		b.queues = make([]*bond.Queue, len(d.workers))
		b.lead = -1
		for i, w := range d.workers {
			q, err := b.bond.Open(w.Pool())
			if err != nil {
				return err
			}
			b.queues[i] = q
			b.port.queues = append(b.port.queues, boundQueue{i, q, -1})
			for j, m := range b.members {
				for _, own := range m.queues {
					switch {
					case own.worker != i:
					case own.number >= 0:
						err = errors.Join(err, q.AddRx(j, own.queue))
					default:
						q.AddTx(j, own.queue)
					}
				}
			}
			if err != nil {
				return fmt.Errorf("bond %s: %w", b.port.facts.Name, err)
			}
			if b.lead < 0 && q.Sends(len(b.members)) {
				b.lead = i
			}
		}
		if b.lead < 0 {
			return fmt.Errorf("bond %s: no worker serves a queue of each of its slaves", b.port.facts.Name)
		}
		id := b.port.facts.ID
		for i, w := range d.workers {
			switch q := b.queues[i]; {
			case q.Receives() && q.Sends(len(b.members)):
				w.AddQueue(id, q)
			case q.Sends(len(b.members)):
				w.AddTx(id, q)
			case q.Receives():
				w.AddRx(q)
				fallthrough
			default:
				w.SendVia(id, d.workers[b.lead])
			}
		}
	}
	return nil
}

// served lists the numbers of the queues that a worker serves of the members.
func (b *openBond) served(worker int) (numbers []int) {
	if b == nil {
		return nil
	}
	for _, m := range b.members {
		for _, q := range m.queues {
			if q.worker == worker && q.number >= 0 && !slices.Contains(numbers, q.number) {
				numbers = append(numbers, q.number)
			}
		}
	}
	slices.Sort(numbers)
	return numbers
}

// setBonds puts the settings of the bonds in force; if that can't be, it puts back what
// was.
func (d *Director) setBonds(old, next *spec.Spec) error {
	for i, b := range d.bonds {
		if err := d.setBond(b, uint16(i), &old.Bonds[i], &next.Bonds[i]); err != nil {
			for j := range i + 1 {
				_ = d.setBond(d.bonds[j], uint16(j), &next.Bonds[j], &old.Bonds[j])
			}
			return &spec.Refusal{Code: spec.Invalid, Object: "link", Why: err.Error()}
		}
	}
	return nil
}

func (d *Director) setBond(b *openBond, key uint16, old, next *spec.Bond) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := d.millis()
	for i, m := range b.members {
		in := !slices.Contains(next.Out, m.facts.Name)
		if in == !slices.Contains(old.Out, m.facts.Name) {
			continue
		}
		if err := d.wear(m, b.port.facts.MAC, in); err != nil {
			return err
		}
		b.control.Attach(i, in, now)
	}
	b.wanted = *next
	b.look = 0
	b.control.Configure(b.settings(next, key), now)
	return nil
}

// wear gives a member the bond's MAC address, with which Linux is not to speak there, or its
// own back. Of the first one that is the bond's as well, as long as there is the bond (bond is
// not zero): Linux stays quiet there, too.
func (d *Director) wear(p *openPort, bond port.MAC, in bool) error {
	if p.link == nil {
		return nil
	}
	mac := bond
	if !in {
		mac = p.ownMAC
	} else if !p.hushed {
		var err error
		if p.hushed, err = p.link.Hush(); err != nil {
			d.log.Warn(fmt.Sprintf("device %s: Linux may speak there with the bond's MAC address and mislead a switch: sysctl -w net.ipv6.conf.%s.disable_ipv6=1", p.device.Name, p.link.Name), "err", err)
		}
	}
	if p.link.MAC != mac {
		if err := p.link.SetMAC(mac); err != nil {
			return err
		}
		p.facts.MAC = mac
	}
	if in || !p.hushed || mac == bond {
		return nil
	}
	p.hushed = false
	return p.link.Unhush()
}

// devices returns the open ports that have queues of their own, of the walk's and the
// members.
func (d *Director) devices(ports []*openPort) []*openPort {
	all := slices.Clone(d.members)
	for _, p := range ports {
		if p.bond == nil && p.facts.Kind == port.Real {
			all = append(all, p)
		}
	}
	return sorted(all)
}

// withMembers adds the members to the walk's ports, in the order of their numbers.
func (d *Director) withMembers(ports []*openPort) []*openPort {
	return sorted(slices.Concat(ports, d.members))
}

func sorted(all []*openPort) []*openPort {
	slices.SortFunc(all, func(a, b *openPort) int { return int(a.facts.ID) - int(b.facts.ID) })
	return all
}

// announceBond tells the network where the addresses of a bond are now: its switches, and
// whoever has a direct way.
func (d *Director) announceBond(b *openBond) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	d.tell(d.addressesBy(b.port))
}

// addressesBy lists the addresses that are reached by a port: its own, and those of VLANs on it.
func (d *Director) addressesBy(p *openPort) (all []ownAddr) {
	add := func(q *openPort, a netip.Addr) {
		k := ownAddr{q.facts.Name, a}
		if pr := d.probes[k]; (pr == nil || pr.state == AddrInUse) && !slices.Contains(all, k) {
			all = append(all, k)
		}
	}
	for _, q := range d.ports {
		if !p.carries(q) {
			continue
		}
		if q.linkLocal.IsValid() {
			add(q, q.linkLocal)
		}
		for _, a := range d.spec.Addresses {
			if a.Port == q.facts.Name {
				add(q, a.Prefix.Addr())
			}
		}
		for _, a := range q.linuxAddresses() {
			if d.forLinux(q, a.Addr()) {
				add(q, a.Addr())
			}
		}
	}
	return all
}
