package director

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"weir/internal/flow"
	"weir/internal/port"
	"weir/internal/spec"
	"weir/internal/worker"
)

var _ = [1]struct{}{}[port.Max-spec.MaxPorts] // they are the same

// portsOf returns the ports of a spec: those that dpvs.conf names, which are always
// there, then its VLANs as they were added. What is there already is the same port
// still; a new one gets the lowest ID that is free.
//
// On error nothing is left of the new ones; undo is for who finds an error later.
func (d *Director) portsOf(s *spec.Spec) (ports []*openPort, undo func(), err error) {
	undo = func() { d.closeTwins(without(ports, d.ports), false) }
	var taken [port.Max]bool
	keep := func(p *openPort) {
		ports = append(ports, p)
		taken[p.facts.ID] = true
	}
	for _, p := range d.ports {
		if p.facts.Kind == port.Real {
			keep(p)
		}
	}
	for _, p := range d.members {
		taken[p.facts.ID] = true
	}
	for _, v := range s.VLANs {
		if old := d.portByName(v.Name); old != nil && old.vlan == v {
			taken[old.facts.ID] = true
		}
	}
	for i := range s.Tunnels {
		if old := d.portByName(s.Tunnels[i].Name); old.isTunnel(&s.Tunnels[i]) {
			taken[old.facts.ID] = true
		}
	}
	for _, v := range s.VLANs {
		p := d.portByName(v.Name)
		if p == nil || p.vlan != v {
			if p, err = d.newVLAN(v, ports, &taken); err != nil {
				undo()
				return nil, nil, err
			}
		}
		keep(p)
	}
	for i := range s.Tunnels {
		t := &s.Tunnels[i]
		p := d.portByName(t.Name)
		if !p.isTunnel(t) {
			if p, err = d.newTunnel(t, &taken); err != nil {
				undo()
				return nil, nil, err
			}
		}
		keep(p)
	}
	return ports, undo, nil
}

// numberFor finds a free number for a port that comes: the one that next hops may know it
// by, if a former director had it.
func (d *Director) numberFor(name string, taken *[port.Max]bool) int {
	if id, had := d.numbers[name]; had && id < port.Max && !taken[id] {
		return int(id)
	}
	return slices.Index(taken[:], false)
}

// newVLAN makes the port of a VLAN, which is as its link is.
func (d *Director) newVLAN(v spec.VLAN, ports []*openPort, taken *[port.Max]bool) (*openPort, error) {
	i := slices.IndexFunc(ports, func(p *openPort) bool { return p.facts.Name == v.Link })
	id := d.numberFor(v.Name, taken)
	if i < 0 || id < 0 {
		return nil, &spec.Refusal{Code: spec.NoDevice, Object: "vlan", Why: fmt.Sprintf("no such device: %s", v.Link)}
	}
	link := &ports[i].facts
	p := &openPort{vlan: v, facts: port.Facts{
		ID: uint16(id), Kind: port.VLAN, Link: link.ID, Tag: uint32(v.Proto)<<16 | uint32(v.ID), Name: v.Name,
		MAC: link.MAC, MTU: link.MTU, Driver: "vlan",
		RxPartial: link.RxPartial, TxCsum: link.TxCsum, TxGSO: link.TxGSO,
	}}
	p.over = ports[i]
	d.keepTags(ports[i])
	var err error
	if p.linkLocal, err = linkLocal(&d.boot.IPv6, &p.facts, 0); err != nil {
		return nil, err
	}
	if d.boot.KNI && d.bed == nil {
		if err := d.makeTwin(p, v.Name+".kni"); err != nil {
			return nil, &spec.Refusal{Code: spec.NoResource, Object: "vlan", Why: err.Error()}
		}
	}
	return p, nil
}

// keepTags has a device leave the tags in frames, if they are taken from it before
// Linux, which would be told of a tag, sees them: AF_XDP is not.
func (d *Director) keepTags(p *openPort) {
	if p.bond != nil {
		for _, m := range p.bond.members {
			d.keepTags(m)
		}
	}
	if p.program == nil {
		return
	}
	for _, feature := range []string{port.FeatureVLANStrip, port.FeatureVLANStripOuter, port.FeatureVLANFilter, port.FeatureVLANFilterOuter} {
		was, err := p.link.SwitchOff(feature)
		if err != nil {
			d.log.Warn(fmt.Sprintf("device %s may lose the tags of VLANs: switch %s off (ethtool -K %s %[2]s off), or have it driven by packet sockets (driver afpacket)", p.facts.Name, feature, p.link.Name), "err", err)
			continue
		}
		if was {
			p.switchedOff = append(p.switchedOff, feature)
			d.log.Log(context.Background(), Notice, fmt.Sprintf("device %s: %s of %s is switched off, so that tags of VLANs are seen; it is switched on again at the end", p.facts.Name, feature, p.link.Name))
		}
	}
}

// switchOn undoes keepTags.
func (p *openPort) switchOn() (err error) {
	for _, feature := range p.switchedOff {
		err = errors.Join(err, p.link.SwitchOn(feature))
	}
	return err
}

// carries reports whether the frames of a port come and go by p.
func (p *openPort) carries(q *openPort) bool { return q == p || q.over == p }

// facts are what the walk is told of a port.
func (p *openPort) factsNow(s *spec.Spec) port.Facts {
	f := p.facts
	f.Twin = p.twinUp()
	f.Down = f.Kind != port.Real && s.Links[f.Name].Down
	return f
}

// forget removes what is known of the neighbours on ports that are gone. Not before
// every worker uses the new tables: it would make them anew.
func (d *Director) forget(gone []*openPort) {
	if len(gone) == 0 {
		return
	}
	if err := d.ask(func(_ int, w *worker.Worker) { w.Refresh() }); err != nil {
		d.log.Warn("neighbours of a removed device may be listed for a while", "err", err)
	}
	hops := &d.shared.Flows.Hops
	hops.Range(func(ref flow.NextHopRef, h *flow.NextHop) bool {
		if slices.ContainsFunc(gone, func(p *openPort) bool { return p.facts.ID == h.Port }) {
			hops.Free(ref)
		}
		return true
	})
}

// without returns the ports of a list that another has not.
func without(ports, others []*openPort) (gone []*openPort) {
	for _, p := range ports {
		if !slices.Contains(others, p) {
			gone = append(gone, p)
		}
	}
	return gone
}

// portList returns the ports as they are. Not while holding mu.
func (d *Director) portList() []*openPort {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ports // which is never changed in place
}

// nameOf returns the name of a port of a list; of one that was removed meanwhile, its
// number.
func nameOf(ports []*openPort, id uint16) string {
	for _, p := range ports {
		if p.facts.ID == id {
			return p.facts.Name
		}
	}
	return fmt.Sprintf("port %d", id)
}
