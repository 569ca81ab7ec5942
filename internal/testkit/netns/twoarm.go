package netns

import (
	"errors"
	"net/netip"
)

// TwoArmOptions shape the two-arm network. The zero value is the tutorial's picture.
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
	// ClientAddr6 is its IPv6 address.
	ClientAddr6 = netip.MustParsePrefix("2001:db8:10::48/64")
	// firstServer is the first real server; the others count up from it.
	firstServer  = netip.MustParsePrefix("192.168.100.2/24")
	firstServer6 = netip.MustParsePrefix("2001:db8:100::2/64")
)

// ServerAddr returns the address of the i-th real server, counted from 0.
func ServerAddr(i int) netip.Addr { return after(firstServer.Addr(), i) }

// ServerAddr6 returns its IPv6 address.
func ServerAddr6(i int) netip.Addr { return after(firstServer6.Addr(), i) }

// after returns the i-th address after a.
func after(a netip.Addr, i int) netip.Addr {
	for range i {
		a = a.Next()
	}
	return a
}

// NewTwoArm builds the network of the tutorial's two-arm chapters in a new world,
// which the caller must Close:
//
//	client eth0 10.0.0.48/16 ───── dpdk1 ┐
//	                                     │ director
//	   rs1 eth0 192.168.100.2/24 ┐       │
//	   rs2 eth0 192.168.100.3/24 ┴ lan ─ dpdk0 ┘
//
// The client is 2001:db8:10::48/64 too, and the servers count up from
// 2001:db8:100::2/64.
//
// Servers need no route: they answer to the local address, which is on their link.
func NewTwoArm(label string, opt TwoArmOptions) (_ *Network, err error) {
	if opt.Servers == 0 {
		opt.Servers = 2
	}
	if opt.WAN == "" {
		opt.WAN = "dpdk1"
	}
	if opt.LAN == "" {
		opt.LAN = "dpdk0"
	}
	t, err := newNetwork(label)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.World.Close())
		}
	}()
	if err := Veth(End{In: t.Client, Name: "eth0", Queues: opt.Queues}, End{In: t.Director, Name: opt.WAN, Queues: opt.Queues}); err != nil {
		return nil, err
	}
	if err := t.Client.addresses("eth0", []netip.Prefix{ClientAddr, ClientAddr6}); err != nil {
		return nil, err
	}
	if err := t.plug(End{In: t.Director, Name: opt.LAN, Queues: opt.Queues}, "weir"); err != nil {
		return nil, err
	}
	for i := range opt.Servers {
		prefix, prefix6 := netip.PrefixFrom(ServerAddr(i), firstServer.Bits()), netip.PrefixFrom(ServerAddr6(i), firstServer6.Bits())
		if err := t.server(1, prefix, prefix6); err != nil {
			return nil, err
		}
	}
	return t, nil
}
