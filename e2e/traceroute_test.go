package e2e

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"weir/internal/testkit/netns"
)

// TestTraceroute: the way from an inside host to the world leads through SNAT, and
// traceroute shows it hop by hop, whatever it probes with: the director, the router
// behind it, whose errors are about the director's WAN address, and the goal.
func TestTraceroute(t *testing.T) {
	t.Parallel() // it asks little of the machine
	for _, s := range drivers {
		t.Run(s.String(), func(t *testing.T) {
			d := newDirector(t, s)
			outside, err := d.net.World.Namespace("outside")
			if err != nil {
				t.Fatal(err)
			}
			if err := netns.Veth(netns.End{In: d.client(), Name: "eth1"}, netns.End{In: outside, Name: "eth0"}); err != nil {
				t.Fatal(err)
			}
			for _, a := range []struct {
				in   *netns.Namespace
				link string
				addr string
			}{
				{d.client(), "eth0", "123.1.2.1/24"}, {d.client(), "eth1", "198.51.100.1/24"}, {outside, "eth0", "198.51.100.2/24"},
				{d.client(), "eth0", "2001:db8:20::1/64"}, {d.client(), "eth1", "2001:db8:30::1/64"}, {outside, "eth0", "2001:db8:30::2/64"},
			} {
				if err := a.in.Address(a.link, netip.MustParsePrefix(a.addr)); err != nil {
					t.Fatal(err)
				}
			}
			for key, value := range map[string]string{"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1"} {
				if err := d.client().WriteSysctl(key, value); err != nil {
					t.Fatal(err)
				}
			}
			d.run(outside, "ip route add default via 198.51.100.1")
			d.run(outside, "ip -6 route add default via 2001:db8:30::1")
			inside := d.rs(1)
			d.run(inside, "ip route add default via 192.168.100.1")
			d.run(inside, "ip -6 route add default via 2001:db8:100::1")
			d.quietly(`
./dpip addr add 123.1.2.3/24 dev dpdk1 sapool
./dpip addr add 2001:db8:20::3/128 dev dpdk1 sapool
./dpip addr add 2001:db8:20::4/64 dev dpdk1
./dpip addr add 192.168.100.1/24 dev dpdk0
./dpip addr add 2001:db8:100::1/64 dev dpdk0
./dpip route add default via 123.1.2.1 dev dpdk1
./dpip route add ::/0 via 2001:db8:20::1 dev dpdk1
`)
			for _, proto := range []string{"tcp", "udp", "icmp"} {
				d.do("./ipvsadm -A -s rr -H proto=" + proto + ",src-range=192.168.100.0-192.168.100.254,oif=dpdk1")
				d.do("./ipvsadm -a -H proto=" + proto + ",src-range=192.168.100.0-192.168.100.254,oif=dpdk1 -r 123.1.2.3:0 -J")
			}
			for _, proto := range []string{"tcp", "udp", "icmpv6"} {
				match := "proto=" + proto + ",src-range=[2001:db8:100::2-2001:db8:100::ff],oif=dpdk1"
				d.do("./ipvsadm -A -s rr -H " + match)
				d.do("./ipvsadm -a -H " + match + " -r [2001:db8:20::3]:0 -J")
			}
			for _, row := range []struct{ family, goal, hops string }{
				{"-4", "198.51.100.2", "192.168.100.1 123.1.2.1 198.51.100.2"},
				{"-6", "2001:db8:30::2", "2001:db8:100::1 2001:db8:20::1 2001:db8:30::2"},
			} {
				for _, method := range []string{"udp", "icmp", "tcp"} {
					out := d.run(inside, "traceroute -n -q 1 -w 5 -m 6 -M "+method+" "+row.family+" "+row.goal)
					if got := strings.Join(hops(out), " "); got != row.hops {
						t.Errorf("traceroute %s by %s shows %s, want %s\n%s", row.family, method, got, row.hops, out)
					}
				}
			}
		})
	}
}

// hops are the addresses of a traceroute's lines, or what stands there instead.
func hops(out string) (all []string) {
	for _, m := range regexp.MustCompile(`(?m)^ *\d+ +(\S+)`).FindAllStringSubmatch(out, -1) {
		all = append(all, m[1])
	}
	return all
}
