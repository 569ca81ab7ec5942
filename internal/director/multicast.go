package director

import (
	"fmt"
	"net/netip"
	"slices"

	"weir/internal/lacp"
	"weir/internal/port"
	"weir/internal/spec"
	"weir/internal/wire"
)

// GroupView is a multicast group that a port listens to.
type GroupView struct {
	Port string
	MAC  port.MAC   // of the group's frames
	Addr netip.Addr // zero: not known
	// Linux: a program of the host's listens on the port's twin.
	Linux bool
}

// Multicast lists the groups in which the ports listen: of IPv6 that of all nodes,
// and that of the neighbours who look for each address (RFC 4291, 2.8), if the port
// has an IPv6 address; then those that Linux listens to on its twin.
func (d *Director) Multicast() []GroupView {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []GroupView
	for _, p := range d.ports {
		for _, g := range d.groupsOf(d.spec, p) {
			out = append(out, GroupView{Port: p.facts.Name, MAC: wire.MulticastMAC6(g.As16()), Addr: g})
		}
		if p.twinUp() {
			for _, m := range p.twin.Groups {
				out = append(out, GroupView{Port: p.facts.Name, MAC: m, Linux: true})
			}
		}
	}
	return out
}

// groupsOf lists a port's groups: all nodes', then in order.
func (d *Director) groupsOf(s *spec.Spec, p *openPort) (groups []netip.Addr) {
	add := func(a netip.Addr) { groups = append(groups, netip.AddrFrom16(wire.SolicitedNode(a.As16()))) }
	if p.linkLocal.IsValid() {
		add(p.linkLocal)
	}
	for _, list := range [][]spec.Address{s.Addresses, d.lingering} {
		for _, a := range list {
			if a.Port == p.facts.Name && a.Prefix.Addr().Is6() {
				add(a.Prefix.Addr())
			}
		}
	}
	if len(groups) == 0 {
		return nil
	}
	slices.SortFunc(groups, netip.Addr.Compare)
	return append([]netip.Addr{netip.AddrFrom16(wire.AllNodes)}, slices.Compact(groups)...)
}

// joinGroups makes the interfaces take the frames of the ports' groups.
func (d *Director) joinGroups() {
	for _, p := range d.devices(d.ports) {
		if p.groups == nil {
			continue
		}
		var macs []port.MAC
		of := p // whose groups they are
		if p.master != nil {
			of = p.master.port
			macs = append(macs, lacp.Group)
		}
		for _, q := range d.ports {
			if !of.carries(q) {
				continue
			}
			for _, g := range d.groupsOf(d.spec, q) {
				macs = append(macs, wire.MulticastMAC6(g.As16()))
			}
			if q.twinUp() {
				macs = append(macs, q.twin.Groups...)
			}
		}
		if err := p.groups.Set(macs); err != nil {
			d.log.Warn(fmt.Sprintf("device %s may not hear who looks for its IPv6 addresses, or what Linux's programs listen to: dpip link set dev %[1]s allmulticast on", p.facts.Name), "err", err)
		}
	}
}
