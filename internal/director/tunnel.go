package director

import (
	"fmt"
	"net/netip"
	"slices"

	"weir/internal/port"
	"weir/internal/route"
	"weir/internal/spec"
	"weir/internal/tunnel"
)

// Tunnel devices. How one's packets get to its other end follows from the routes, and its
// MTU from that way; so both are found anew with every change.

// defaultWay is what a way is taken to carry that is not known.
const defaultWay = 1500

// pathAge is for how many seconds the path MTU of a tunnel is believed (RFC 1191, 6.3;
// RFC 8201, 4), as in Linux.
const pathAge = 600

// newTunnel makes the port of a tunnel device.
func (d *Director) newTunnel(t *spec.TunnelDevice, taken *[port.Max]bool) (*openPort, error) {
	id := d.numberFor(t.Name, taken)
	if id < 0 {
		return nil, &spec.Refusal{Code: spec.NoResource, Object: "tunnel", Why: fmt.Sprintf("there are %d devices: no room for another", port.Max)}
	}
	return &openPort{tunnel: &tunnel.State{}, facts: port.Facts{
		ID: uint16(id), Kind: port.Tunnel, Name: t.Name, Driver: string(t.Kind), PointToPoint: true,
	}}, nil
}

// isTunnel reports whether a port is the one of a tunnel device. What else of a tunnel
// changes is the same device still.
func (p *openPort) isTunnel(t *spec.TunnelDevice) bool {
	return p != nil && p.tunnel != nil && p.facts.Driver == string(t.Kind)
}

// compileTunnels makes the table of a spec's tunnel devices, by the ways that routes
// give, and writes each one's MTU into the ports' facts.
func (d *Director) compileTunnels(s *spec.Spec, routes *route.Table, ports *[port.Max]port.Facts) *tunnel.Table {
	if len(s.Tunnels) == 0 {
		return nil
	}
	partial := false
	for i := range ports {
		partial = partial || ports[i].RxPartial
	}
	devices := make([]tunnel.Device, 0, len(s.Tunnels))
	for i := range s.Tunnels {
		t := &s.Tunnels[i]
		p := d.portByName(t.Name)
		dev := tunnel.Device{
			Port: p.facts.ID, Local: t.Local, Remote: t.Remote, From: t.Local, TTL: t.TTL, TOS: t.TOS,
			In: wordsOf(t.In), Out: wordsOf(t.Out), InKey: t.In.Key, OutKey: t.Out.Key, State: p.tunnel,
		}
		if t.Kind == spec.TunnelGRE {
			dev.Kind = tunnel.GRE
		}
		dev.IsOurs = !t.Local.IsValid()
		if t.Local.IsValid() {
			_, dev.IsOurs = routes.Local(t.Local)
		}
		if link := d.portByName(t.Link); link != nil {
			dev.Link, dev.Bound = link.facts.ID, true
		}
		d.findWay(&dev, routes, ports)
		facts := &ports[dev.Port]
		facts.MTU = max(dev.Way.MTU-dev.Overhead(), 68)
		facts.RxPartial = partial
		devices = append(devices, dev)
	}
	return tunnel.Build(devices)
}

// findWay finds how packets get to a device's other end, and the address that they come
// from if the device says none.
func (d *Director) findWay(dev *tunnel.Device, routes *route.Table, ports *[port.Max]port.Facts) {
	dev.Way = tunnel.Way{MTU: defaultWay}
	if dev.Remote.IsValid() {
		if r := wayTo(dev, routes); r != nil && !r.Local() {
			dev.Way = tunnel.Way{Hop: r.Gateway, Port: r.Port, MTU: r.MTU, Loops: ports[r.Port].PointToPoint}
			if !r.Gateway.IsValid() {
				dev.Way.Hop = dev.Remote
			}
			if dev.Way.Loops {
				dev.Way.MTU = defaultWay // its own, perhaps
			}
			if !dev.From.IsValid() {
				dev.From = r.Src
			}
			if !dev.From.IsValid() {
				dev.From = routes.Source(r.Port, dev.Remote)
			}
		}
	}
	if !dev.From.IsValid() { // nobody to send from: it only receives
		dev.Way.Hop = netip.Addr{}
		dev.From = route.OtherEnd(netip.IPv4Unspecified())
		if dev.Remote.Is6() {
			dev.From = netip.IPv6Unspecified()
		}
	}
}

// underTunnel is the port that a tunnel device's packets leave by, or nil: it is none, or
// nobody knows which.
func (d *Director) underTunnel(p *openPort) *openPort {
	if p.facts.Kind != port.Tunnel {
		return nil
	}
	t := d.snapshot.Load().Tunnels
	if !t.Any() {
		return nil
	}
	dev, under := t.Of(p.facts.ID), -1
	switch {
	case dev == nil:
	case dev.Way.Hop.IsValid():
		under = int(dev.Way.Port)
	case dev.Bound:
		under = int(dev.Link)
	}
	if i := slices.IndexFunc(d.ports, func(o *openPort) bool { return int(o.facts.ID) == under }); i >= 0 {
		return d.ports[i]
	}
	return nil
}

// wayTo is the route to a device's other end: the longest that leads out of the port
// that it is bound to, if it is.
func wayTo(dev *tunnel.Device, routes *route.Table) *route.Route {
	if !dev.Bound {
		r, ok := routes.Lookup(dev.Remote)
		if !ok {
			return nil
		}
		return r
	}
	for _, l := range routes.List() { // longest first
		if l.Port == dev.Link && !l.Local() && l.Prefix.Contains(dev.Remote) {
			return &l.Route
		}
	}
	return nil
}

func wordsOf(f spec.TunnelFlags) (flags uint16) {
	if f.Checksum {
		flags |= tunnel.Checksum
	}
	if f.Keyed {
		flags |= tunnel.Key
	}
	if f.Sequence {
		flags |= tunnel.Sequence
	}
	return flags
}

// pointToPoint tells the next hops which ports have one machine at their other end.
// Before the tables are in force that name new ones, and after those have gone that
// named old ones.
func (d *Director) pointToPoint(ports []*openPort, is bool) {
	for _, p := range ports {
		d.shared.Flows.Hops.SetPointToPoint(p.facts.ID, is && p.facts.PointToPoint)
	}
}

// forgetPaths gives up what ICMP errors told about ways of tunnels long ago.
func (d *Director) forgetPaths() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shared.Flows.Hops.ForgetPaths(d.second(), pathAge)
}
