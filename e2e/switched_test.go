package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"weir/internal/testkit/netns"
)

// switched is the picture of the OSPF section: directors between a layer-3 switch, which
// the client is behind, and the switch of the real servers.
//
//	client eth0 ─ eth0 l3 d1 172.10.0.1/30 ─ dpdk1 weir1 dpdk0 ─ lan ┬ rs1 192.168.100.2
//	                      d2 172.10.0.5/30 ─ dpdk1 weir2 dpdk0 ┘     └ rs2 192.168.100.3
//
// The IPv6 addresses end alike: 2001:db8:10::48 and ::1, 2001:db8:172::1/126 and ::2,
// ::5 and ::6, 2001:db8:100::2.
type switched struct {
	*bed
	l3        *netns.Namespace
	directors []*director
}

// newSwitched builds it, with a director for each setup. Worlds of tests that run side by
// side are told apart by the tests' names.
func newSwitched(t *testing.T, setups ...setup) *switched {
	t.Helper()
	s := &switched{}
	var directors []*netns.Namespace
	s.bed = bedOf(t, func(label string) (n *netns.Network, err error) {
		world, err := netns.New(label + "-" + strings.ReplaceAll(t.Name(), "/", "-"))
		if err != nil {
			return nil, err
		}
		defer func() {
			if err != nil {
				err = errors.Join(err, world.Close())
			}
		}()
		n = &netns.Network{World: world}
		s.l3, directors, err = buildSwitched(n, len(setups))
		return n, err
	})
	s.scriptIn(s.l3, `
sysctl -w net.ipv4.ip_forward=1
sysctl -w net.ipv4.fib_multipath_hash_policy=1
sysctl -w net.ipv6.conf.all.forwarding=1
sysctl -w net.ipv6.fib_multipath_hash_policy=1
`)
	s.scriptIn(s.client(), "ip route add default via 10.0.0.1\nip route add default via 2001:db8:10::1")
	for i, ns := range directors {
		s.directors = append(s.directors, s.direct(ns, setups[i]))
	}
	return s
}

// buildSwitched makes the namespaces and the cables.
func buildSwitched(n *netns.Network, directors int) (l3 *netns.Namespace, all []*netns.Namespace, err error) {
	for name, ns := range map[string]**netns.Namespace{"client": &n.Client, "lan": &n.LAN, "l3": &l3} {
		if *ns, err = n.World.Namespace(name); err != nil {
			return nil, nil, err
		}
	}
	if err := n.LAN.Bridge("switch"); err != nil {
		return nil, nil, err
	}
	cable := func(a *netns.Namespace, aName, a4, a6 string, b *netns.Namespace, bName string) error {
		err := netns.Veth(netns.End{In: a, Name: aName}, netns.End{In: b, Name: bName})
		return errors.Join(err, a.Address(aName, netip.MustParsePrefix(a4)), a.Address(aName, netip.MustParsePrefix(a6)))
	}
	if err := errors.Join(
		cable(n.Client, "eth0", "10.0.0.48/16", "2001:db8:10::48/64", l3, "eth0"),
		l3.Address("eth0", netip.MustParsePrefix("10.0.0.1/16")), l3.Address("eth0", netip.MustParsePrefix("2001:db8:10::1/64")),
	); err != nil {
		return nil, nil, err
	}
	for i := range directors {
		d, err := n.World.Namespace(fmt.Sprintf("weir%d", i+1))
		if err != nil {
			return nil, nil, err
		}
		all = append(all, d)
		port := fmt.Sprintf("d%d", i+1)
		if err := errors.Join(
			cable(l3, port, fmt.Sprintf("172.10.0.%d/30", 4*i+1), fmt.Sprintf("2001:db8:172::%d/126", 4*i+1), d, "dpdk1"),
			n.Join(netns.End{In: d, Name: "dpdk0"}),
		); err != nil {
			return nil, nil, err
		}
	}
	for i := range 2 {
		rs, err := n.World.Namespace(fmt.Sprintf("rs%d", i+1))
		if err != nil {
			return nil, nil, err
		}
		n.Servers = append(n.Servers, rs)
		if err := n.Join(netns.End{In: rs, Name: "eth0"}, netip.PrefixFrom(netns.ServerAddr(i), 24), netip.PrefixFrom(netns.ServerAddr6(i), 64)); err != nil {
			return nil, nil, err
		}
	}
	return l3, all, nil
}

// direct starts a director in a namespace.
func (s *switched) direct(in *netns.Namespace, how setup) *director {
	s.t.Helper()
	net := *s.net
	net.Director = in
	b := *s.bed
	b.net, b.dir = &net, s.path(in.Name())
	if err := os.Mkdir(b.dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	d := &director{bed: &b, setup: how, ports: []string{"dpdk0", "dpdk1"}, wan: "dpdk1", lan: "dpdk0"}
	d.serve()
	s.t.Cleanup(d.end)
	return d
}
