package netns

import (
	"errors"
	"fmt"
	"net/netip"
)

// TwoArm is the network of the tutorial's two-arm chapters:
//
//	client eth0 10.0.0.48/16 ───── dpdk1 ┐
//	                                     │ director
//	   rs1 eth0 192.168.100.2/24 ┐       │
//	   rs2 eth0 192.168.100.3/24 ┴ lan ─ dpdk0 ┘
//
// "lan" is a switch in a namespace of its own. Servers need no route: they
// answer to the local address, which is on their link.
type TwoArm struct {
	World    *World
	Client   *Namespace
	Director *Namespace
	LAN      *Namespace
	Servers  []*Namespace
}

// TwoArmOptions shape the network. The zero value is the tutorial's picture.
type TwoArmOptions struct {
	Servers int    // real servers; 0 means 2
	Queues  int    // queues of the director's interfaces; 0 means 1
	WAN     string // the director's interface toward the client; "" means dpdk1
	LAN     string // and the one toward the real servers; "" means dpdk0
}

// The addresses of the picture.
var (
	// ClientAddr is the client.
	ClientAddr = netip.MustParsePrefix("10.0.0.48/16")
	// firstServer is the first real server; the others count up from it.
	firstServer = netip.MustParsePrefix("192.168.100.2/24")
)

// ServerAddr returns the address of the i-th real server, counted from 0.
func ServerAddr(i int) netip.Addr {
	a := firstServer.Addr()
	for range i {
		a = a.Next()
	}
	return a
}

// NewTwoArm builds the network in a new world, which the caller must Close.
func NewTwoArm(label string, opt TwoArmOptions) (_ *TwoArm, err error) {
	if opt.Servers == 0 {
		opt.Servers = 2
	}
	if opt.WAN == "" {
		opt.WAN = "dpdk1"
	}
	if opt.LAN == "" {
		opt.LAN = "dpdk0"
	}
	w, err := New(label)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	t := &TwoArm{World: w}
	for name, ns := range map[string]**Namespace{"client": &t.Client, "weir": &t.Director, "lan": &t.LAN} {
		if *ns, err = w.Namespace(name); err != nil {
			return nil, err
		}
	}

	if err := Veth(End{In: t.Client, Name: "eth0", Queues: opt.Queues}, End{In: t.Director, Name: opt.WAN, Queues: opt.Queues}); err != nil {
		return nil, err
	}
	if err := t.Client.Address("eth0", ClientAddr); err != nil {
		return nil, err
	}

	if err := t.LAN.Bridge("switch"); err != nil {
		return nil, err
	}
	if err := t.plug(End{In: t.Director, Name: opt.LAN, Queues: opt.Queues}, "weir"); err != nil {
		return nil, err
	}
	for i := range opt.Servers {
		name := fmt.Sprintf("rs%d", i+1)
		rs, err := w.Namespace(name)
		if err != nil {
			return nil, err
		}
		if err := t.plug(End{In: rs, Name: "eth0"}, name); err != nil {
			return nil, err
		}
		if err := rs.Address("eth0", netip.PrefixFrom(ServerAddr(i), firstServer.Bits())); err != nil {
			return nil, err
		}
		t.Servers = append(t.Servers, rs)
	}
	return t, nil
}

// plug runs a cable from an end to the switch's port of that name. Both ends
// have the same number of queues: with more at the switch than at the director,
// Linux would refuse native XDP.
func (t *TwoArm) plug(end End, port string) error {
	if err := Veth(end, End{In: t.LAN, Name: port, Queues: end.Queues}); err != nil {
		return err
	}
	return t.LAN.Attach(port, "switch")
}
