package netns

import (
	"errors"
	"fmt"
	"net/netip"
)

// Network is a client, a place for a director, and real servers. "lan", a switch in
// a namespace of its own, joins the director and the servers. All have two stacks:
// beside its IPv4 address a machine has an IPv6 one, which ends alike.
type Network struct {
	World    *World
	Client   *Namespace
	Director *Namespace
	LAN      *Namespace
	Servers  []*Namespace
}

// newNetwork makes the namespaces that every network has, and the switch.
func newNetwork(label string) (_ *Network, err error) {
	w, err := New(label)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	n := &Network{World: w}
	for name, ns := range map[string]**Namespace{"client": &n.Client, "weir": &n.Director, "lan": &n.LAN} {
		if *ns, err = w.Namespace(name); err != nil {
			return nil, err
		}
	}
	return n, n.LAN.Bridge("switch")
}

// server adds a real server with its addresses on the switch.
func (n *Network) server(queues int, prefixes ...netip.Prefix) error {
	name := fmt.Sprintf("rs%d", len(n.Servers)+1)
	rs, err := n.World.Namespace(name)
	if err != nil {
		return err
	}
	if err := n.Join(End{In: rs, Name: "eth0", Queues: queues}, prefixes...); err != nil {
		return err
	}
	n.Servers = append(n.Servers, rs)
	return nil
}

// Join plugs a new link of a namespace into the switch and gives it its addresses.
// The switch's port is called like the namespace.
func (n *Network) Join(end End, prefixes ...netip.Prefix) error {
	if err := n.plug(end, end.In.Name()); err != nil {
		return err
	}
	return end.In.addresses(end.Name, prefixes)
}

// plug runs a cable from an end to the switch's port of that name. Both ends
// have the same number of queues: with more at the switch than at the director,
// Linux would refuse native XDP.
func (n *Network) plug(end End, port string) error {
	if err := Veth(end, End{In: n.LAN, Name: port, Queues: end.Queues}); err != nil {
		return err
	}
	return n.LAN.Attach(port, "switch")
}
