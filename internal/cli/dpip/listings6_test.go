package dpip

import (
	"strings"
	"testing"

	"weir/api/weirv1"
)

// TestListings6: listings of a box of both families, and of one of them.
func TestListings6(t *testing.T) {
	b := newBench(t)
	b.links = twoPorts
	b.addresses = []*weirv1.Address{
		{Prefix: "fe80::ff:fe00:1/64", Device: "dpdk0", Scope: weirv1.Scope_SCOPE_LINK, Automatic: true},
		{Prefix: "10.0.0.100/32", Device: "dpdk1"},
		{Prefix: "fe80::1/64", Device: "dpdk1", Scope: weirv1.Scope_SCOPE_LINK},
		{Prefix: "2001:db8:1::200/128", Device: "dpdk0", Sapool: true, SaFree: 1032176},
		{Prefix: "2001:db8::100/64", Device: "dpdk1"},
	}
	b.routes = []*weirv1.Route{
		{Prefix: "10.0.0.100/32", Device: "dpdk1", Mtu: 1500, Scope: weirv1.Scope_SCOPE_HOST, Proto: "auto"},
		{Prefix: "2001:db8::100/128", Device: "dpdk1", Mtu: 1500, Scope: weirv1.Scope_SCOPE_HOST, Proto: "auto"},
		{Prefix: "2001:db8::9/128", Device: "dpdk1", Scope: weirv1.Scope_SCOPE_KNI_HOST},
		{Prefix: "2001:db8::/64", Src: "2001:db8::100", Device: "dpdk1", Mtu: 1500, Scope: weirv1.Scope_SCOPE_LINK, Proto: "auto"},
		{Prefix: "::/0", Via: "fe80::2", Device: "dpdk1", Mtu: 1400, Scope: weirv1.Scope_SCOPE_GLOBAL, Proto: "auto"},
		{Prefix: "0.0.0.0/0", Via: "10.0.0.1", Device: "dpdk1", Mtu: 1500, Proto: "auto"},
	}
	b.neighbours = []*weirv1.Neighbour{
		{Address: "192.168.100.2", Lladdr: "00:16:3e:00:00:01", State: "REACHABLE", Device: "dpdk0"},
		{Address: "fe80::2", Lladdr: "00:16:3e:00:00:02", State: "REACHABLE", Device: "dpdk1", Static: true},
		{Address: "2001:db8:1111:2222:3333:4444:5555:6666", State: "SEND", Device: "dpdk1"},
	}
	b.groups = []*weirv1.MulticastGroup{
		{Device: "dpdk0", Lladdr: "33:33:00:00:00:01", Address: "ff02::1"},
		{Device: "dpdk1", Lladdr: "33:33:00:00:00:01", Address: "ff02::1"},
		{Device: "dpdk1", Lladdr: "33:33:ff:00:01:00", Address: "ff02::1:ff00:100"},
		{Device: "dpdk1", Lladdr: "33:33:ff:00:01:00", Address: "ff02:0:0:1::1:ff00:100"},
		{Device: "dpdk1", Lladdr: "01:00:5e:00:00:01", Address: "224.0.0.1"},
	}
	const (
		addrs6 = `inet6 2001:db8::100/64 scope global dpdk1
     valid_lft forever preferred_lft forever
inet6 fe80::1/64 scope link dpdk1
     valid_lft forever preferred_lft forever
`
		addr4 = `inet 10.0.0.100/32 scope global dpdk1
     valid_lft forever preferred_lft forever
`
		lip6 = `inet6 2001:db8:1::200/128 scope global dpdk0
     valid_lft forever preferred_lft forever sa_used 0 sa_free 1032176 sa_miss 0
`
		own = `inet6 fe80::ff:fe00:1/64 scope link dpdk0
     valid_lft forever preferred_lft forever
`
		routes4 = `inet 10.0.0.100/32 via 0.0.0.0 src 0.0.0.0 dev dpdk1 mtu 1500 tos 0 scope host metric 0 proto auto
inet 0.0.0.0/0 via 10.0.0.1 src 0.0.0.0 dev dpdk1 mtu 1500 tos 0 scope global metric 0 proto auto
`
		routes6 = `inet6 2001:db8::100/128 dev dpdk1 mtu 1500 scope host
inet6 2001:db8::9/128 dev dpdk1 scope kni_host
inet6 2001:db8::/64 src 2001:db8::100 dev dpdk1 mtu 1500 scope link
inet6 default via fe80::2 dev dpdk1 mtu 1400 scope global
`
		neigh4 = `ip: 192.168.100.2                                    mac: 00:16:3e:00:00:01   state: REACHABLE     dev: dpdk0
`
		neigh6 = `ip: fe80::2                                          mac: 00:16:3e:00:00:02   state: REACHABLE     dev: dpdk1  static
ip: 2001:db8:1111:2222:3333:4444:5555:6666           mac:incomplate                       state: SEND           dev: dpdk1
`
	)
	for _, tc := range []struct{ line, want string }{
		{"addr show", addrs6 + addr4 + lip6},
		{"addr show -v", addrs6 + addr4 + lip6 + own},
		{"-6 addr show", addrs6 + lip6 + own},
		{"addr show -f inet", addr4},
		{"route show", routes4}, // as DPVS has it
		{"-4 route show", routes4},
		{"-6 route show", routes6},
		{"route show -f inet6", routes6},
		{"neigh show", neigh4 + neigh6},
		{"neigh -4 show", neigh4},
		{"neigh -6 show", neigh6},
		{"maddr show", "1:\tdpdk0\n\tlink 33:33:00:00:00:01\n\tinet6 ff02::1\n" +
			"2:\tdpdk1\n\tlink 33:33:00:00:00:01\n\tlink 33:33:ff:00:01:00\n\tlink 01:00:5e:00:00:01\n" +
			"\tinet6 ff02::1\n\tinet6 ff02::1:ff00:100\n\tinet6 ff02:0:0:1::1:ff00:100\n\t inet 224.0.0.1\n"},
		{"-4 maddr show", "1:\tdpdk0\n2:\tdpdk1\n\tlink 01:00:5e:00:00:01\n\t inet 224.0.0.1\n"},
	} {
		t.Run(tc.line, func(t *testing.T) {
			if got := b.run(t.Context(), strings.Fields(tc.line)...); got != (result{0, tc.want, ""}) {
				t.Errorf("got  %+v\nwant %+v", got, tc.want)
			}
		})
	}
	b.links = func() []*weirv1.Link { return twoPorts()[:1] }
	if got, want := b.run(t.Context(), "maddr", "show", "dev", "dpdk0"), (result{0, "dpdk0:\n\tlink 33:33:00:00:00:01\n\tinet6 ff02::1\n", ""}); got != want {
		t.Errorf("of one device: %+v, want %+v", got, want)
	}
}

// What Linux has on a port's twin is shown with -v, marked, and in no other listing.
func TestListingsOfLinux(t *testing.T) {
	b := newBench(t)
	b.links = twoPorts
	b.addresses = []*weirv1.Address{
		{Prefix: "10.0.0.100/32", Device: "dpdk1"},
		{Prefix: "172.10.0.2/30", Device: "dpdk1", Kni: "dpdk1.kni"},
		{Prefix: "fe80::1/64", Device: "dpdk1", Scope: weirv1.Scope_SCOPE_LINK, Kni: "dpdk1.kni"},
	}
	b.groups = []*weirv1.MulticastGroup{
		{Device: "dpdk1", Lladdr: "33:33:00:00:00:01", Address: "ff02::1"},
		{Device: "dpdk1", Lladdr: "01:00:5e:00:00:05", Kni: true},
		{Device: "dpdk1", Lladdr: "33:33:00:00:00:01", Kni: true},
		{Device: "dpdk1", Lladdr: "33:33:00:00:00:05", Kni: true},
		{Device: "dpdk1", Lladdr: "01:80:c2:00:00:0e", Kni: true},
	}
	for _, tc := range []struct{ line, want string }{
		{"-v addr show", `inet6 fe80::1/64 scope link dpdk1 (+kni)
     valid_lft forever preferred_lft forever
inet 172.10.0.2/30 scope global dpdk1 (+kni)
     valid_lft forever preferred_lft forever
inet 10.0.0.100/32 scope global dpdk1
     valid_lft forever preferred_lft forever
`},
		{"maddr show", "1:\tdpdk0\n2:\tdpdk1\n\tlink 33:33:00:00:00:01\n\tlink 01:00:5e:00:00:05\n\tlink 33:33:00:00:00:05\n\tlink 01:80:c2:00:00:0e\n\tinet6 ff02::1\n"},
		{"-v maddr show", "1:\tdpdk0\n2:\tdpdk1\n\tlink 33:33:00:00:00:01 (+kni)\n\tlink 01:00:5e:00:00:05 (+kni)\n\tlink 33:33:00:00:00:05 (+kni)\n\tlink 01:80:c2:00:00:0e (+kni)\n\tinet6 ff02::1\n"},
		{"-4 maddr show", "1:\tdpdk0\n2:\tdpdk1\n\tlink 01:00:5e:00:00:05\n\tlink 01:80:c2:00:00:0e\n"},
	} {
		t.Run(tc.line, func(t *testing.T) {
			if got := b.run(t.Context(), strings.Fields(tc.line)...); got != (result{0, tc.want, ""}) {
				t.Errorf("got  %+v\nwant %+v", got, tc.want)
			}
		})
	}
}
