package director

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"weir/internal/flow"
	"weir/internal/lb/service"
	"weir/internal/neigh"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/port/afxdp"
	"weir/internal/spec"
	"weir/internal/worker"
)

// The second engine (docs/offload.md): whether there is one, and what it may do on each
// port. The director's mu guards it.

var _ = [1]struct{}{}[afxdp.MaxDests-service.MaxDests] // they are the same

// offload is what became of `offload` in dpvs.conf.
type offload struct {
	engine *afxdp.Engine
	why    string // why there is none, as a sentence
	blind  string // why it may not forward: nobody counts what is lost
	looks  bool   // programs that look ahead were loaded, or are being (ahead.go)
}

// offloadOf is the engine's part of a port.
type offloadOf struct {
	notTaken string // why its frames are the workers' alone; "": the engine looks at them
	notSent  string // why the engine sends nothing by it; "": it does
	known    bool   // what follows was logged
}

// makeTable makes the flow table, or maps the one that was found, and the engine if one is
// wanted and can be.
func (d *Director) makeTable(config flow.Config) (t *flow.Table, found bool, err error) {
	why, err := d.noOffload()
	if err != nil {
		return nil, false, err
	}
	if d.offload.why = why; why != "" {
		return flow.Open(config)
	}
	shared := config
	shared.Backing = flow.BPFArray
	// What is kept lies in such memory anyway.
	if need, free := config.SharedBytes(), memAvailable(); config.Keep == nil && d.boot.Offload == spec.OffloadAuto && d.bed == nil && free < 2*uint64(need) {
		d.offload.why = fmt.Sprintf("it would take %d MiB for the flow table at the start, and %d MiB are free: a smaller conn_pool_size takes less, and offload on takes it all the same", need>>20, free>>20)
		return flow.Open(config)
	}
	t, found, err = flow.Open(shared)
	var differs *flow.Differs
	if errors.As(err, &differs) {
		return nil, false, err
	}
	if err == nil {
		if d.offload.engine, err = afxdp.NewEngine(t, config.Keep); err == nil {
			return t, found, nil
		}
	}
	if d.boot.Offload == spec.OffloadOn {
		if t != nil {
			t.Close()
		}
		return nil, false, fmt.Errorf("offload on: %w (the whole table is charged to the control group's memory at the start: raise memory.max, lower conn_pool_size, or write offload auto)", err)
	}
	d.offload.why = err.Error()
	if t != nil {
		return t, found, nil // as good as any for the workers
	}
	return flow.Open(config)
}

// noOffload says why there is to be no engine, "" if there is. With `offload on` that
// is an error.
func (d *Director) noOffload() (why string, err error) {
	if d.bed != nil {
		if d.bed.Engine {
			return "", nil
		}
		return "there are no interfaces", nil
	}
	switch d.boot.Offload {
	case spec.OffloadAuto, spec.OffloadOn:
	default:
		return "dpvs.conf says offload off", nil
	}
	if why := afxdp.Supported(); why != nil {
		if d.boot.Offload == spec.OffloadOn {
			return "", fmt.Errorf("offload on: %w: write offload auto", why)
		}
		return why.Error(), nil
	}
	for _, dev := range d.boot.Devices {
		if why = d.notTaken(dev); why == "" {
			return "", nil
		}
		why = fmt.Sprintf("device %s: %s", dev.Name, why)
	}
	if d.boot.Offload == spec.OffloadOn {
		return "", fmt.Errorf("offload on, but no device can: %s: change that, or write offload auto", why)
	}
	return why, nil
}

// notTaken says why the engine can't, or shall not, look at a device's frames.
func (d *Director) notTaken(dev spec.Device) string {
	switch {
	case dev.Driver == spec.DriverAFPacket:
		return "it is driven by packet sockets"
	case dev.XDPMode == spec.XDPGeneric:
		return "xdp_mode generic: XDP behind the driver is no faster"
	case d.spec.BondOf(dev.Name) != nil:
		return "it is a member of a bond"
	}
	l, err := port.FindLink(dev.Interface)
	if err != nil {
		return err.Error()
	}
	auto := d.boot.Offload == spec.OffloadAuto
	has, err := l.AskXDP()
	switch {
	case err != nil && auto:
		return err.Error() + " (offload on tries it)"
	case err != nil:
		return ""
	case !has.Has(port.XDPBasic | port.XDPRedirect):
		return "its driver knows no native XDP"
	case auto && has.Has(port.XDPZeroCopy):
		return "its driver knows zero-copy, with which workers are fast (offload on has the engine all the same)"
	}
	return ""
}

// engineFor returns the engine for a device's frames, or nil.
func (d *Director) engineFor(p *openPort, dev spec.Device) *afxdp.Engine {
	if d.offload.engine == nil {
		return nil
	}
	if p.offload.notTaken = d.notTaken(dev); p.offload.notTaken != "" {
		return nil
	}
	return d.offload.engine
}

// startOffload lets the engine send by the devices, and begin. Before, nothing passes.
func (d *Director) startOffload() error {
	e := d.offload.engine
	if e == nil {
		if d.bed == nil {
			d.log.Log(context.Background(), Notice, "packets are forwarded by the workers alone: "+d.offload.why)
		}
		return nil
	}
	for _, p := range d.ports {
		switch {
		case p.bed != nil:
			if err := e.AddDevice(p.facts.ID, 1); err != nil { // the loopback interface stands for it
				return err
			}
		case p.bond != nil:
		default:
			if err := e.AddDevice(p.facts.ID, p.link.Index); err != nil {
				return err
			}
		}
	}
	return d.followOffload()
}

// succeed puts our programs in the places of the former director's, now that all of ours is
// ready: until now that one's forwarded what is established. What it left where we have no
// program is taken away.
func (d *Director) succeed() error {
	var all []*afxdp.Program
	for _, p := range d.withMembers(d.ports) {
		if p.program == nil {
			continue
		}
		if err := p.program.Begin(); err != nil {
			return fmt.Errorf("device %s: %w", p.facts.Name, err)
		}
		all = append(all, p.program)
	}
	return afxdp.TakeAway(d.keep, all)
}

// owned are the addresses that are ours and not Linux's: those of devices, of services, and
// those that connections still come back to.
func (d *Director) owned() (all []netip.Addr) {
	for _, a := range append(d.spec.Addresses[:len(d.spec.Addresses):len(d.spec.Addresses)], d.lingering...) {
		all = append(all, a.Prefix.Addr())
	}
	for i := range d.spec.Services {
		if v := d.spec.Services[i].Virtual; v.IsValid() {
			all = append(all, v.Addr())
		}
	}
	return all
}

// followOffload puts in force what the engine may do now: what drivers can changes, and
// ports come and go. Ports whose turn it was are logged.
func (d *Director) followOffload() error {
	e := d.offload.engine
	if e == nil {
		return nil
	}
	var rules [port.Max]afxdp.Rule
	for _, p := range d.ports {
		if p.facts.Kind == port.Real {
			d.judge(p)
		}
	}
	for _, p := range d.ports {
		f := p.factsNow(d.spec)
		r := afxdp.Rule{MAC: f.MAC, OpenSum: f.RxPartial, Link: f.ID, Ahead: d.manyFlows()}
		on := p
		if f.Kind == port.VLAN {
			r.Link, r.Tag, on = f.Link, f.Tag, p.over
		}
		if f.Kind != port.Tunnel {
			r.Takes, r.Sends = on.offload.notTaken == "" && !f.Down, on.offload.notSent == "" && !f.Down
		}
		rules[f.ID] = r
	}
	if err := e.SetRules(&rules); err != nil {
		return err
	}
	return e.SetOwned(d.owned())
}

// judge finds out what the engine may do on a port with queues of its own.
func (d *Director) judge(p *openPort) {
	was := p.offload
	o := &p.offload
	switch {
	case p.bed != nil && p.bond == nil:
		o.notTaken, o.notSent = "", ""
	case p.bond != nil:
		o.notTaken, o.notSent = "it is a bond", "it is a bond"
	default:
		if o.notTaken == "" {
			o.notTaken = d.notTakenNow(p)
		}
		if d.offload.blind != "" {
			o.notTaken = d.offload.blind
		}
		o.notSent = d.notSent(p)
	}
	if o.known && *o == was {
		return
	}
	o.known = true
	if p.bed != nil {
		return
	}
	says := func(what, not string) string {
		if not == "" {
			return what
		}
		return "not " + what + " (" + not + ")"
	}
	d.log.Log(context.Background(), Notice, fmt.Sprintf("device %s: forwarding by XDP %s, %s", p.facts.Name, says("of what comes", o.notTaken), says("of what leaves by it", o.notSent)))
}

// notTakenNow says why the engine does not look at frames of a port that it was made for.
func (d *Director) notTakenNow(p *openPort) string {
	switch {
	case p.program == nil:
		return "it is driven by packet sockets"
	case !p.program.Forwards():
		return p.program.Why()
	case d.boot.Offload == spec.OffloadAuto && p.program.ZeroCopy():
		return "zero-copy, with which workers are fast (offload on has the engine all the same)"
	}
	return ""
}

// notSent says why the engine may not send by a port.
func (d *Director) notSent(p *openPort) string {
	l, err := port.FindLink(p.link.Name)
	if err != nil {
		return err.Error()
	}
	if !l.Up {
		return "it is down"
	}
	has, err := l.AskXDP()
	switch {
	case errors.Is(err, port.ErrXDPUnknown):
		return "" // what is lost is counted
	case err != nil:
		return err.Error()
	case !has.Has(port.XDPSend) && l.Kind == "veth":
		return "its other end takes no frames from XDP: there run ethtool -K PEER gro on"
	case !has.Has(port.XDPSend):
		return "its driver takes no frames from XDP"
	}
	return ""
}

// watchOffload has losses counted, where that was put off at the start. A first start without it
// has no engine; here the programs are at work already, and leave all to the workers.
func (d *Director) watchOffload() {
	err := d.offload.engine.Watch()
	if err == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.offload.blind = err.Error()
	d.log.Error("packets are forwarded by the workers alone: " + err.Error())
	if err := d.followOffload(); err != nil {
		d.log.Warn(err.Error())
	}
}

// keepOffload does once a second what the engine leaves to others: it follows what
// drivers can, and has neighbours asked whether they are there to whom nobody else sends.
func (d *Director) keepOffload() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.offload.engine == nil {
		return
	}
	if err := d.followOffload(); err != nil {
		d.log.Warn(err.Error())
	}
	d.lookAhead()
	refs := neigh.InUse(&d.shared.Flows.Hops, d.now())
	if len(refs) == 0 {
		return
	}
	if err := d.byOne(func(w *worker.Worker) { w.Neigh().Confirm(refs) }); err != nil {
		d.log.Warn("neighbours are not asked whether they are there", "err", err)
	}
}

// carried adds to a port's counts what the engine took from it and sent by it.
func (d *Director) carried(p *openPort, ports []*openPort, c *port.Counters) {
	e := d.offload.engine
	if e == nil {
		return
	}
	id := p.facts.ID
	tags := uint64(0) // a VLAN's frames are counted without
	if p.facts.Kind == port.VLAN {
		tags = 4
	}
	mine := func(q *openPort) bool { return p.carries(q) && p.bond == nil }
	for _, in := range ports {
		for _, out := range ports {
			rx, tx := in.facts.ID == id || mine(in), out.facts.ID == id || mine(out)
			if !rx && !tx {
				continue
			}
			for _, w := range e.Way(in.facts.ID, out.facts.ID) {
				if rx {
					c.RxPackets += w.Packets
					c.RxBytes += w.RxBytes - tags*w.Packets
				}
				if tx {
					c.TxPackets += w.Packets
					c.TxBytes += w.TxBytes - tags*w.Packets
				}
			}
		}
	}
	if p.facts.Kind != port.Real {
		return
	}
	full, refused := e.Lost(id)
	c.TxPackets -= min(full+refused, c.TxPackets)
	c.Drops[packet.OffloadFull] += full
	c.Drops[packet.OffloadRefused] += refused
	c.Drops[packet.PortRxNobody] += e.Missed(id).Dropped
}

// offloadDrops adds what the kernel lost of what the engine sent, and what came while no
// director ran.
func (d *Director) offloadDrops(ports []*openPort, drops *[packet.NumReasons]uint64) {
	if d.offload.engine == nil {
		return
	}
	for _, p := range ports {
		full, refused := d.offload.engine.Lost(p.facts.ID)
		drops[packet.OffloadFull] += full
		drops[packet.OffloadRefused] += refused
		drops[packet.PortRxNobody] += d.offload.engine.Missed(p.facts.ID).Dropped
	}
}

// OffloadView is the second engine as it is.
type OffloadView struct {
	Wanted    spec.Offload
	Running   bool
	Why       string // why not
	Bytes     int    // of memory that the engine takes, and the flow table for it
	Forwarded uint64 // packets
	In6       afxdp.Carried
	Out6      afxdp.Carried
	Ports     []OffloadPort
}

// Passed is the name of a reason for which the engine leaves packets to the workers, and
// what it means.
func Passed(why int) (name, text string) {
	r := &afxdp.PassedNames[why]
	return r.Name, r.Text
}

// OffloadPort is what the engine does on a port.
type OffloadPort struct {
	Name              string
	NotTaken, NotSent string // why not; "": it does
	Taken, Sent       uint64 // packets
	Full, Refused     uint64 // lost on their way out
	Ahead             uint64 // came, and had their half-flow called in ahead of their turn
	// Passed are the packets that it left to the workers, by the numbers of afxdp.PassedNames.
	Passed [len(afxdp.PassedNames)]uint64
}

// Offload returns it.
func (d *Director) Offload() (OffloadView, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return OffloadView{}, ErrClosed
	}
	v := OffloadView{Wanted: d.boot.Offload, Running: d.offload.engine != nil, Why: d.offload.why}
	if v.Wanted == "" {
		v.Wanted = spec.OffloadOff
	}
	if !v.Running {
		return v, nil
	}
	e := d.offload.engine
	v.Bytes = afxdp.EngineBytes() + d.shared.Flows.SharedBytes()
	ports := slices.DeleteFunc(slices.Clone(d.ports), func(p *openPort) bool { return p.facts.Kind == port.Tunnel })
	for _, p := range ports {
		o := OffloadPort{Name: p.facts.Name, Passed: e.Passed(p.facts.ID), Ahead: e.Ahead(p.facts.ID)}
		on := p
		if p.over != nil {
			on = p.over
		}
		o.NotTaken, o.NotSent = on.offload.notTaken, on.offload.notSent
		if p.facts.Kind == port.Real {
			o.Full, o.Refused = e.Lost(p.facts.ID)
		}
		for _, q := range ports {
			for family, w := range e.Way(p.facts.ID, q.facts.ID) {
				o.Taken += w.Packets
				v.Forwarded += w.Packets
				if family&1 != 0 {
					v.In6.Packets += w.Packets
					v.In6.RxBytes += w.RxBytes - headers(p)*w.Packets
				}
				if family&2 != 0 {
					v.Out6.Packets += w.Packets
					v.Out6.TxBytes += w.TxBytes - headers(q)*w.Packets
				}
			}
			for _, w := range e.Way(q.facts.ID, p.facts.ID) {
				o.Sent += w.Packets
			}
		}
		v.Forwarded -= min(o.Full+o.Refused, v.Forwarded)
		v.Ports = append(v.Ports, o)
	}
	return v, nil
}

// headers is the length of the link header of a port's frames.
func headers(p *openPort) uint64 {
	if p.facts.Kind == port.VLAN {
		return 18
	}
	return 14
}
