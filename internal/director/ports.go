package director

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"weir/internal/port"
	"weir/internal/port/afpacket"
	"weir/internal/port/afxdp"
	"weir/internal/spec"
	"weir/internal/tunnel"
	"weir/internal/worker"
)

// openPort is a port with what its driver needs.
type openPort struct {
	facts    port.Facts
	device   spec.Device
	link     *port.Link
	program  *afxdp.Program     // AF_XDP, or
	group    *afpacket.Group    // packet sockets,
	takeover *afpacket.Takeover // which keep Linux from answering too; nil on old kernels
	umems    map[int]*afxdp.UMEM
	bed      *BedPort      // or what is there already
	tunnel   *tunnel.State // of a tunnel device
	vlan     spec.VLAN     // or the frames of another that have its tag,
	over     *openPort     // which is this
	groups   *port.Groups  // nil on a bed, and where Linux gives none
	twin     *twin         // nil: there is none (kni off)
	offload  offloadOf     // what the second engine does on it

	bond   *openBond // of the port of a bond
	master *openBond // of a member of one
	ownMAC port.MAC  // a member wears its bond's
	hushed bool      // a member, on which Linux had IPv6 of its own
	speed  int       // of a member's link in Mbit/s, as it was seen last
	duplex bool

	linkLocal    netip.Addr     // the port's own; zero: none
	linkLocalTry uint8          // how many before it were another machine's
	switchedOff  []string       // features of the interface, until the end
	deferred     *port.Deferred // its interrupts, while its driver is polled; or nil
	queues       []boundQueue
	warned       bool
}

type boundQueue struct {
	worker int
	queue  port.Queue
	number int
}

func (d *Director) openPorts() error {
	if d.bed != nil {
		d.openBedPorts()
		if err := d.openBonds(); err != nil {
			return err
		}
		return d.nameLinkLocals()
	}
	if len(d.boot.Devices) > port.Max {
		return fmt.Errorf("%d devices: at most %d", len(d.boot.Devices), port.Max)
	}
	for i, dev := range d.boot.Devices {
		p, err := d.openPort(uint16(i), dev)
		if err != nil {
			return fmt.Errorf("device %s: %w", dev.Name, err)
		}
		d.keepPort(p)
		d.spec.Links[dev.Name] = spec.Link{Promisc: dev.Promisc, AllMulticast: dev.AllMulticast}
	}
	d.undoDeferrals()
	if err := d.openBonds(); err != nil {
		return err
	}
	if err := d.makeTwins(); err != nil {
		return err
	}
	return d.nameLinkLocals()
}

// nameLinkLocals gives the ports their link-local addresses.
func (d *Director) nameLinkLocals() (err error) {
	for _, p := range d.ports {
		if p.linkLocal, err = linkLocal(&d.boot.IPv6, &p.facts, 0); err != nil {
			return fmt.Errorf("device %s: make a link-local address: %w", p.facts.Name, err)
		}
	}
	return nil
}

func (d *Director) openPort(id uint16, dev spec.Device) (_ *openPort, err error) {
	l, err := port.FindLink(dev.Interface)
	if err != nil {
		return nil, err
	}
	p := &openPort{device: dev, link: l, ownMAC: l.MAC, umems: map[int]*afxdp.UMEM{}}
	defer func() {
		if err != nil {
			_ = d.wear(p, port.MAC{}, false) // the first error is the one to tell
		}
	}()
	if b := d.spec.BondOf(dev.Name); b != nil {
		mac, err := d.bondMAC(b)
		if err != nil {
			return nil, err
		}
		if err := d.wear(p, mac, true); err != nil {
			return nil, fmt.Errorf("a member of %s has to have the address of the first: %w", b.Name, err)
		}
	}
	if dev.MTU != 0 && dev.MTU != l.MTU {
		if err := l.SetMTU(dev.MTU); err != nil {
			return nil, err
		}
	}
	if err := l.SetUp(); err != nil {
		return nil, err
	}
	if err := errors.Join(setIf(dev.Promisc, l.SetPromisc), setIf(dev.AllMulticast, l.SetAllMulticast)); err != nil {
		return nil, err
	}
	if l, err = port.FindLink(dev.Interface); err != nil {
		return nil, err
	}
	p.link = l
	if p.groups, err = port.JoinGroups(l); err != nil {
		d.log.Warn(fmt.Sprintf("device %s may not hear who looks for its IPv6 addresses: dpip link set dev %[1]s allmulticast on", dev.Name), "err", err)
	}
	if dev.Driver != spec.DriverAFPacket {
		p.program, err = afxdp.AttachAfter(d.keep, d.engineFor(p, dev), id, l.Name, afxdp.Mode(dev.XDPMode))
		switch {
		case err == nil:
			p.facts = p.program.Facts(id, dev.Name)
			if why := p.program.Why(); why != "" {
				d.log.Warn(fmt.Sprintf("device %s: %s", dev.Name, why))
			}
			return p, nil
		case dev.Driver == spec.DriverAFXDP:
			return nil, err
		}
		d.log.Warn(fmt.Sprintf("device %s: driven by packet sockets, because AF_XDP can't: %v", dev.Name, err))
	}
	p.group = &afpacket.Group{}
	p.facts = afpacket.Facts(l, id, dev.Name)
	if p.takeover, err = afpacket.TakeOver(l); err != nil {
		d.log.Warn(fmt.Sprintf("device %s: %v", dev.Name, err))
	}
	return p, nil
}

func setIf(on bool, set func(bool) error) error {
	if !on {
		return nil
	}
	return set(true)
}

// openQueues gives each worker its queues, and a way to send on every port.
func (d *Director) openQueues(lanes []spec.Worker) error {
	sharing := make([]int, len(d.workers)) // queues that receive into a worker's memory
	for _, p := range d.devices(d.ports) {
		owners, err := p.share(lanes)
		if err != nil {
			return err
		}
		for _, i := range owners {
			sharing[i]++
		}
	}
	for _, p := range d.devices(d.ports) {
		owners, err := p.share(lanes)
		if err != nil {
			return err
		}
		for number, i := range owners {
			if p.group != nil && slices.Contains(owners[:number], i) {
				continue // one packet socket receives for all of a worker's queues
			}
			if err := d.openQueue(p, i, number, sharing[i], len(distinct(owners)) > 1); err != nil {
				return err
			}
		}
		for i, w := range d.workers {
			if slices.ContainsFunc(p.queues, func(q boundQueue) bool { return q.worker == i }) {
				continue
			}
			if p.group == nil {
				if p.master == nil {
					w.SendVia(p.facts.ID, d.workers[owners[0]])
				}
				continue
			}
			q, err := afpacket.Open(p.link, w.Pool(), afpacket.Options{Port: p.facts.ID, SendOnly: true})
			if err != nil {
				return err
			}
			p.queues = append(p.queues, boundQueue{i, q, -1})
			if p.master == nil {
				w.AddTx(p.facts.ID, q)
			}
		}
		if p.program != nil {
			p.facts.Driver = p.program.Driver()
		}
		if err := d.startBusyPoll(p); err != nil {
			return err
		}
		d.log.Log(context.Background(), Notice, fmt.Sprintf("device %s drives %s by %s", p.facts.Name, p.facts.IfName, p.facts.Driver),
			"queues", p.facts.RxQueues, "mtu", p.facts.MTU)
	}
	d.tellFrames(lanes, sharing)
	if err := d.openBondQueues(); err != nil {
		return err
	}
	return d.openTwins()
}

// openQueue opens a queue of a port for a worker, in whose memory so many will receive.
// Packet sockets share a port's packets where several workers have one.
func (d *Director) openQueue(p *openPort, i, number, sharing int, shared bool) error {
	w := d.workers[i]
	var q port.Queue
	var err error
	if p.bed != nil {
		q, err = p.bed.Open(number, w.Pool())
	} else if p.program != nil {
		u := d.umem(i, p)
		q, err = p.program.Open(number, u, afxdp.Options{Port: p.facts.ID, RxRing: ring(p.device.RxDesc), TxRing: ring(p.device.TxDesc), Sharing: sharing})
	} else {
		o := afpacket.Options{Port: p.facts.ID}
		if shared {
			o.Group = p.group
		}
		q, err = afpacket.Open(p.link, w.Pool(), o)
	}
	if err != nil {
		return fmt.Errorf("device %s: %w", p.facts.Name, err)
	}
	p.queues = append(p.queues, boundQueue{i, q, number})
	if p.master == nil {
		w.AddQueue(p.facts.ID, q)
	}
	return nil
}

// ring turns descriptor_number into a ring size that AF_XDP can have.
func ring(descriptors int) int {
	if descriptors == 0 {
		return 0
	}
	return max(descriptors, 2*port.Burst)
}

// umem returns the registration of a worker's memory, which all its ports share.
func (d *Director) umem(i int, p *openPort) *afxdp.UMEM {
	for _, o := range d.devices(d.ports) {
		if u := o.umems[i]; u != nil {
			p.umems[i] = u
			return u
		}
	}
	u := afxdp.NewUMEM(d.workers[i].Pool())
	p.umems[i] = u
	return u
}

// share says which worker serves each queue of the interface: as the worker
// blocks say, and what they leave out goes round the workers that name the port,
// or all.
func (p *openPort) share(lanes []spec.Worker) (owners []int, err error) {
	if p.bed != nil {
		return p.bed.Owners, nil
	}
	name := p.device.Name // as the worker blocks call it
	if p.master != nil {
		name = p.master.port.facts.Name
	}
	owners = make([]int, p.facts.RxQueues)
	for q := range owners {
		owners[q] = -1
	}
	var named []int
	for i, lane := range lanes {
		for _, wp := range lane.Ports {
			if wp.Port != name {
				continue
			}
			named = append(named, i)
			for _, q := range wp.RxQueues {
				if q >= len(owners) && p.program != nil {
					return nil, fmt.Errorf("worker %s serves queue %d of %s, but %s has %d (ethtool -l %[4]s)", lane.Name, q, p.device.Name, p.link.Name, len(owners))
				}
				// A packet socket receives for its worker whatever the queue's number.
				for q >= len(owners) {
					owners = append(owners, -1)
				}
				owners[q] = i
			}
		}
	}
	if len(named) == 0 {
		for i := range lanes {
			named = append(named, i)
		}
	}
	if p.group != nil {
		// Packet sockets share the frames whatever the number of queues.
		for len(owners) < len(named) {
			owners = append(owners, -1)
		}
	}
	next := 0
	for q := range owners {
		if owners[q] < 0 {
			owners[q] = named[next%len(named)]
			next++
		}
	}
	return owners, nil
}

func distinct(owners []int) []int {
	s := slices.Clone(owners)
	slices.Sort(s)
	return slices.Compact(s)
}

// closePorts takes the drivers off the interfaces: programs first, so that no
// frame is on its way to a queue that closes. Those that outlive us stay.
func (d *Director) closePorts() (err error) {
	for _, p := range d.withMembers(d.ports) {
		err = errors.Join(err, p.deferred.Undo()) // nobody polls any more
	}
	for _, p := range d.withMembers(d.ports) {
		if p.program != nil {
			err = errors.Join(err, p.program.Close())
		}
	}
	umems := map[*afxdp.UMEM]bool{}
	for _, b := range d.bonds {
		if b.carrier != nil {
			err = errors.Join(err, b.carrier.Close())
		}
	}
	for _, p := range d.withMembers(d.ports) {
		for _, q := range p.queues {
			err = errors.Join(err, q.queue.Close())
		}
		err = errors.Join(err, p.twin.close())
		if p.program == nil || !p.program.Stays() { // else it needs what it was given
			err = errors.Join(err, p.switchOn())
		}
		if p.takeover != nil {
			err = errors.Join(err, p.takeover.Close())
		}
		if p.groups != nil {
			err = errors.Join(err, p.groups.Close())
		}
		for _, u := range p.umems {
			umems[u] = true
		}
	}
	for u := range umems {
		err = errors.Join(err, u.Close())
	}
	for _, m := range d.members {
		err = errors.Join(err, d.wear(m, port.MAC{}, false))
	}
	return err
}

// portByName returns an open port, or nil.
func (d *Director) portByName(name string) *openPort {
	for _, p := range d.ports {
		if p.facts.Name == name {
			return p
		}
	}
	return nil
}

// SetWorker starts or stops a worker's thread. A stopped worker's queues are
// served by another thread in its stead: no packet is lost.
func (d *Director) SetWorker(name string, run bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrClosed
	}
	i := slices.IndexFunc(d.workers, func(w *worker.Worker) bool { return w.Name == name })
	if i < 0 {
		return &spec.Refusal{Code: spec.NotExists, Object: "worker", Why: fmt.Sprintf("no such worker: %s; `weir worker show` lists them", name)}
	}
	if d.stopped[i] != run {
		state := map[bool]string{true: "is running", false: "is stopped"}[run]
		return &spec.Refusal{Code: spec.Exists, Object: "worker", Why: fmt.Sprintf("worker %s %s already", name, state)}
	}
	if !run {
		to := slices.Index(d.stopped, false)
		if to == i {
			to = slices.Index(d.stopped[i+1:], false)
			if to >= 0 {
				to += i + 1
			}
		}
		if to < 0 {
			return &spec.Refusal{Code: spec.Busy, Object: "worker", Why: fmt.Sprintf("worker %s is the last one running: nobody could serve its queues", name)}
		}
		for _, w := range d.threads[i].Release() {
			d.threads[to].Take(w)
			d.served[slices.Index(d.workers, w)] = to
		}
		d.stopped[i] = true
		return nil
	}
	d.stopped[i] = false
	// Its own lane comes back; lanes it carried for others stay where they are.
	from := d.threads[d.served[i]]
	for _, w := range from.Release() {
		j := slices.Index(d.workers, w)
		if j == i {
			d.served[j] = i
		}
		d.threads[d.served[j]].Take(w)
	}
	return nil
}
