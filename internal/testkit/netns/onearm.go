package netns

import (
	"errors"
	"net/netip"
)

// OneArmOptions shape the one-arm network.
type OneArmOptions struct {
	Client  netip.Prefix
	Servers []netip.Prefix
	Queues  int    // queues of every interface; 0 means 1
	Link    string // the director's interface; "" means dpdk0
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
	if err := n.Join(End{In: n.Client, Name: "eth0", Queues: opt.Queues}, opt.Client); err != nil {
		return nil, err
	}
	for _, prefix := range opt.Servers {
		if err := n.server(prefix, opt.Queues); err != nil {
			return nil, err
		}
	}
	return n, nil
}
