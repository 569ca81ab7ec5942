package director

import (
	"fmt"
	"net"
	"slices"

	"weir/internal/port"
	"weir/internal/port/tap"
)

// The twins outlast the director, with the addresses, routes and sockets that Linux has
// on them: an upgrade is `systemctl restart`, and sshd and routing daemons go on. The
// next director takes them over. `weir purge` takes away what none has open.

// tellTakenOver tells of what an operator may not expect of a twin that was there
// already.
func (d *Director) tellTakenOver(p *openPort, device *tap.Device) {
	name := device.Link.Name
	if device.Foreign {
		d.log.Warn(fmt.Sprintf("device %s: its twin %s was there already, made by another program: it is used, with the addresses that it has", p.facts.Name, name))
	}
	if device.Former == (port.MAC{}) {
		return
	}
	of := "that of another interface"
	for _, o := range d.ports {
		if o.facts.MAC == device.Former {
			of = "that of port " + o.facts.Name
		}
	}
	d.log.Warn(fmt.Sprintf("device %s: its twin %s was there already, with the MAC address %s, %s: it has this port's now, and its addresses and routes as they were; if they are of another network: ip addr flush dev %[2]s", p.facts.Name, name, net.HardwareAddr(device.Former[:]), of))
}

// keepTwins has the twins outlast the director, now that it has started, and tells of
// those that are left from before.
func (d *Director) keepTwins() error {
	var wanted []string
	for _, p := range d.ports {
		if p.twin == nil || p.twin.device == nil {
			continue
		}
		wanted = append(wanted, p.twin.name)
		if err := p.twin.device.Keep(); err != nil {
			return fmt.Errorf("device %s: its twin: %w", p.facts.Name, err)
		}
	}
	kept, err := tap.AllKept()
	if err != nil {
		return err
	}
	for _, k := range kept {
		if !k.Open && !slices.Contains(wanted, k.Name) {
			d.log.Warn(fmt.Sprintf("%s, a twin of port %s, is left from before, with its addresses: it is used when there is a device %[2]s again (dpip vlan add), and `weir purge` takes it away", k.Name, k.Port))
		}
	}
	return nil
}
