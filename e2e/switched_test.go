package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"weir/internal/testkit/netns"
)

// switched is the picture of the OSPF section: directors between a layer-3 switch, which
// the client is behind, and the switch of the real servers.
//
//	client eth0 ─ eth0 l3 swp1 172.10.0.1/30 ─ dpdk1 weir1 dpdk0 ─ lan ┬ rs1 192.168.100.2
//	                    swp2 172.10.0.5/30 ─ dpdk1 weir2 dpdk0 ┘     └ rs2 192.168.100.3
//
// The IPv6 addresses end alike: 2001:db8:10::48 and ::1, 2001:db8:172::1/126 and ::2,
// ::5 and ::6, 2001:db8:100::2. l3 is a router of the real servers' network too, for what
// they answer by themselves (DR, tunnel).
type switched struct {
	*bed
	l3        *netns.Namespace
	directors []*director
	webs      []*netns.Process // of the real servers
	listens   []string         // where each of them listens; "": it is dead
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
		s.l3, directors, err = buildSwitched(n, setups)
		return n, err
	})
	s.scriptIn(s.l3, `
sysctl -w net.ipv4.ip_forward=1
sysctl -w net.ipv4.fib_multipath_hash_policy=1
sysctl -w net.ipv6.conf.all.forwarding=1
sysctl -w net.ipv6.fib_multipath_hash_policy=1
`)
	s.scriptIn(s.client(), "ip route add default via 10.0.0.1\nip route add default via 2001:db8:10::1")
	s.webs, s.listens = make([]*netns.Process, len(s.net.Servers)), make([]string, len(s.net.Servers))
	for i, rs := range s.net.Servers {
		s.scriptIn(rs, "ip route add default via 192.168.100.254\nip route add default via 2001:db8:100::fe")
		s.web(i, "[::]:80 ipv6only=off")
	}
	for i, ns := range directors {
		s.directors = append(s.directors, s.direct(ns, setups[i]))
	}
	return s
}

// web starts the i-th real server's nginx, or starts it anew, to listen there; "" only ends it.
func (s *switched) web(i int, listen string) {
	s.t.Helper()
	if s.webs[i] != nil {
		s.webs[i].Kill()
	}
	s.webs[i], s.listens[i] = nil, listen
	if listen == "" {
		return
	}
	rs := s.net.Servers[i]
	s.webs[i] = s.nginxWith(rs, strings.Replace(fmt.Sprintf(nginxAnswer, rs.Name()), "80", listen, 1))
	address := "127.0.0.1:80"
	if strings.HasPrefix(listen, "[") {
		address = "[::1]:80"
	}
	s.listening(rs, address)
}

// inTime are setups whose directors BFD can rely on.
func inTime(setups ...setup) []setup {
	for i := range setups {
		setups[i].urgent = true
	}
	return setups
}

// buildSwitched makes the namespaces and the cables.
func buildSwitched(n *netns.Network, setups []setup) (l3 *netns.Namespace, all []*netns.Namespace, err error) {
	for name, ns := range map[string]**netns.Namespace{"client": &n.Client, "lan": &n.LAN, "l3": &l3} {
		if *ns, err = n.World.Namespace(name); err != nil {
			return nil, nil, err
		}
	}
	if err := n.LAN.Bridge("switch"); err != nil {
		return nil, nil, err
	}
	if err := errors.Join(
		netns.Veth(netns.End{In: n.Client, Name: "eth0"}, netns.End{In: l3, Name: "eth0"}),
		n.Client.Address("eth0", netip.MustParsePrefix("10.0.0.48/16")), n.Client.Address("eth0", netip.MustParsePrefix("2001:db8:10::48/64")),
		l3.Address("eth0", netip.MustParsePrefix("10.0.0.1/16")), l3.Address("eth0", netip.MustParsePrefix("2001:db8:10::1/64")),
	); err != nil {
		return nil, nil, err
	}
	for i, how := range setups {
		d, err := n.World.Namespace(fmt.Sprintf("weir%d", i+1))
		if err != nil {
			return nil, nil, err
		}
		all = append(all, d)
		port, lan := fmt.Sprintf("swp%d", i+1), "dpdk0"
		if how.bond != "" {
			lan = "dpdk2"
			err = bondCables(l3, port, d)
		} else {
			err = netns.Veth(netns.End{In: l3, Name: port}, netns.End{In: d, Name: "dpdk1"})
		}
		if err := errors.Join(err,
			l3.Address(port, netip.MustParsePrefix(fmt.Sprintf("172.10.0.%d/30", 4*i+1))),
			l3.Address(port, netip.MustParsePrefix(fmt.Sprintf("2001:db8:172::%d/126", 4*i+1))),
			n.Join(netns.End{In: d, Name: lan}),
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
	if err := n.Join(netns.End{In: l3, Name: "eth1"}, netip.MustParsePrefix("192.168.100.254/24"), netip.MustParsePrefix("2001:db8:100::fe/64")); err != nil {
		return nil, nil, err
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
	if how.bond != "" {
		d.ports, d.wan, d.lan = append(d.ports, "dpdk2"), "dpdk0", "dpdk2"
	}
	d.serve()
	s.t.Cleanup(d.end)
	return d
}

// secondDirector turns the addresses that the pages give the first director into the
// second's.
var secondDirector = strings.NewReplacer(
	"172.10.0.2", "172.10.0.6", "172.10.0.1", "172.10.0.5", "172.10.0.0/30", "172.10.0.4/30",
	"2001:db8:172::2", "2001:db8:172::6", "2001:db8:172::1", "2001:db8:172::5",
	"192.168.100.28/", "192.168.100.29/", "2001:db8:100::28/", "2001:db8:100::29/",
	"192.168.100.200", "192.168.100.202", "192.168.100.201", "192.168.100.203", "192.168.100.4/", "192.168.100.5/",
	"2001:db8:100::200", "2001:db8:100::202", "2001:db8:100::4/", "2001:db8:100::5/",
)

// forDirector is a text of a page for the i-th director, counted from 0.
func forDirector(i int, text string) string {
	if i == 0 {
		return text
	}
	return secondDirector.Replace(text)
}

// rules has ipvsadm -R take a file.
func (d *director) rules(text string) {
	d.t.Helper()
	if a := d.tryWith(text, "./ipvsadm", "-R"); a.code != 0 || a.stderr != "" {
		d.t.Fatalf("ipvsadm -R: exit code %d\n%s%s", a.code, a.stderr, a.stdout)
	}
}

// dies kills the daemon of a director, and waits for nothing. It is back as after a
// power failure: with nothing on its twins.
func (d *director) dies() {
	d.killed, d.rebooted = true, true
	d.daemon.Signal(syscall.SIGKILL)
}

// nextHops waits until the switch's own routing table leads to an address by these of its
// ports, and no other.
func (s *switched) nextHops(to string, want ...string) {
	s.t.Helper()
	command := "ip route show "
	if strings.Contains(to, ":") {
		command = "ip -6 route show "
	}
	var out string
	defer func() {
		if s.t.Failed() {
			s.t.Logf("the switch's last word on %s: %s", to, out)
		}
	}()
	eventually(s.t, fmt.Sprintf("the switch sends what is for %s to %v", to, want), func() bool {
		out = s.run(s.l3, command+to)
		var got []string
		for _, m := range outOf.FindAllStringSubmatch(out, -1) {
			got = append(got, m[1])
		}
		slices.Sort(got)
		return slices.Equal(got, want)
	})
}

var outOf = regexp.MustCompile(` dev (swp\d)`)

// longLived are connections that are open while directors come and go.
type longLived struct {
	bed     *bed
	address string
	conns   []*httpConn
	servers []string
}

// longLived opens n connections to a service.
func (b *bed) longLived(address string, n int) *longLived {
	b.t.Helper()
	l := &longLived{bed: b, address: address}
	for range n {
		c, err := b.client().Dial(within(b.t, patience), "tcp", address)
		if err != nil {
			b.t.Fatal(err)
		}
		b.t.Cleanup(func() { c.Close() })
		h := &httpConn{conn: c, r: bufio.NewReader(c)}
		server, err := h.get(true)
		if err != nil {
			b.t.Fatal(err)
		}
		l.conns, l.servers = append(l.conns, h), append(l.servers, server)
	}
	return l
}

// live asks on all of them: the same servers have to answer.
func (l *longLived) live(when string) {
	l.bed.t.Helper()
	for i, c := range l.conns {
		if server, err := c.get(true); err != nil || server != l.servers[i] {
			l.bed.t.Errorf("%s: on an open connection to %s, which %s had, %q answers: %v", when, l.address, l.servers[i], server, err)
		}
	}
}

// bondCables makes a switch with two plain ports, cable0 and cable1, to dpdk0 and dpdk1.
func bondCables(in *netns.Namespace, bridge string, director *netns.Namespace) error {
	err := in.Bridge(bridge)
	for i := range 2 {
		if err == nil {
			port := fmt.Sprintf("cable%d", i)
			err = errors.Join(netns.Veth(netns.End{In: director, Name: fmt.Sprintf("dpdk%d", i)}, netns.End{In: in, Name: port}), in.Attach(port, bridge))
		}
	}
	return err
}
