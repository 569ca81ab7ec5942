package netns

import (
	"errors"
	"net/netip"
)

// OneArmOptions shape the one-arm network.
type OneArmOptions struct {
	Client  netip.Prefix
	Servers []netip.Prefix
	// Client6 and Servers6 are the IPv6 addresses of the same machines. Where they
	// are not given, a machine has none but its link-local one.
	Client6  netip.Prefix
	Servers6 []netip.Prefix
	Queues   int    // queues of every interface; 0 means 1
	Link     string // the director's interface; "" means dpdk0
}

// NewOneArm builds a network of the tutorial's one-arm chapters in a new world,
// which the caller must Close: all of them on one switch.
//
//	client eth0 ┐
//	   rs1 eth0 ┤
//	   rs2 eth0 ┴ lan ─ dpdk0 director
func NewOneArm(label string, opt OneArmOptions) (_ *Network, err error) {
	if opt.Link == "" {
		opt.Link = "dpdk0"
	}
	n, err := newNetwork(label)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.World.Close())
		}
	}()
	if err := n.plug(End{In: n.Director, Name: opt.Link, Queues: opt.Queues}, "weir"); err != nil {
		return nil, err
	}
	client := []netip.Prefix{opt.Client}
	if opt.Client6.IsValid() {
		client = append(client, opt.Client6)
	}
	if err := n.Join(End{In: n.Client, Name: "eth0", Queues: opt.Queues}, client...); err != nil {
		return nil, err
	}
	for i, prefix := range opt.Servers {
		server := []netip.Prefix{prefix}
		if i < len(opt.Servers6) {
			server = append(server, opt.Servers6[i])
		}
		if err := n.server(opt.Queues, server...); err != nil {
			return nil, err
		}
	}
	return n, nil
}
