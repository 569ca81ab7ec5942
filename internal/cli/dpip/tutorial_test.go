package dpip

import (
	"testing"

	"weir/api/weirv1"
)

func twoPorts() []*weirv1.Link {
	return []*weirv1.Link{{Number: 1, Name: "dpdk0"}, {Number: 2, Name: "dpdk1"}}
}

func lip(a string) *weirv1.Address {
	return &weirv1.Address{Prefix: a + "/32", Device: "dpdk0", Sapool: true, SaFree: 1032176}
}

// TestTutorialListings holds the listings of the tutorial letter for letter. The
// director lists addresses in order of insertion.
func TestTutorialListings(t *testing.T) {
	for _, tc := range []struct {
		name  string
		world *fake
		args  []string
		want  string
	}{
		{
			name: "two-arm full-NAT, addr show",
			world: &fake{addresses: []*weirv1.Address{
				{Prefix: "10.0.0.100/32", Device: "dpdk1"}, lip("192.168.100.200"),
			}},
			args: []string{"addr", "show"},
			want: `inet 10.0.0.100/32 scope global dpdk1
     valid_lft forever preferred_lft forever
inet 192.168.100.200/32 scope global dpdk0
     valid_lft forever preferred_lft forever sa_used 0 sa_free 1032176 sa_miss 0
`,
		},
		{
			name: "one-arm full-NAT with keepalived, addr show",
			world: &fake{addresses: []*weirv1.Address{
				lip("192.168.100.200"), lip("192.168.100.201"), {Prefix: "192.168.100.254/32", Device: "dpdk0"},
			}},
			args: []string{"addr", "show"},
			want: `inet 192.168.100.254/32 scope global dpdk0
     valid_lft forever preferred_lft forever
inet 192.168.100.201/32 scope global dpdk0
     valid_lft forever preferred_lft forever sa_used 0 sa_free 1032176 sa_miss 0
inet 192.168.100.200/32 scope global dpdk0
     valid_lft forever preferred_lft forever sa_used 0 sa_free 1032176 sa_miss 0
`,
		},
		{
			name: "two-arm full-NAT, route show",
			world: &fake{routes: []*weirv1.Route{
				{Prefix: "10.0.0.100/32", Device: "dpdk1", Mtu: 1500, Scope: weirv1.Scope_SCOPE_HOST, Proto: "auto"},
				{Prefix: "192.168.100.200/32", Device: "dpdk0", Mtu: 1500, Scope: weirv1.Scope_SCOPE_HOST, Proto: "auto"},
				{Prefix: "192.168.100.0/24", Device: "dpdk0", Mtu: 1500, Scope: weirv1.Scope_SCOPE_LINK, Proto: "auto"},
				{Prefix: "10.0.0.0/16", Device: "dpdk1", Mtu: 1500, Scope: weirv1.Scope_SCOPE_LINK, Proto: "auto"},
			}},
			args: []string{"route", "show"},
			want: `inet 10.0.0.100/32 via 0.0.0.0 src 0.0.0.0 dev dpdk1 mtu 1500 tos 0 scope host metric 0 proto auto
inet 192.168.100.200/32 via 0.0.0.0 src 0.0.0.0 dev dpdk0 mtu 1500 tos 0 scope host metric 0 proto auto
inet 192.168.100.0/24 via 0.0.0.0 src 0.0.0.0 dev dpdk0 mtu 1500 tos 0 scope link metric 0 proto auto
inet 10.0.0.0/16 via 0.0.0.0 src 0.0.0.0 dev dpdk1 mtu 1500 tos 0 scope link metric 0 proto auto
`,
		},
		{
			name:  "no addresses",
			world: &fake{},
			args:  []string{"addr", "show"},
			want:  "",
		},
		{
			name: "an address with everything",
			world: &fake{addresses: []*weirv1.Address{{
				Prefix: "10.219.100.6/22", Device: "dpdk0", Broadcast: "10.219.103.255",
				Scope: weirv1.Scope_SCOPE_LINK, ValidLft: 600, PreferredLft: 300,
			}}},
			args: []string{"addr", "show"},
			want: `inet 10.219.100.6/22 scope link dpdk0
    broadcast 10.219.103.255 valid_lft 600 preferred_lft 300
`,
		},
		{
			name: "a route with everything, and kni_host",
			world: &fake{routes: []*weirv1.Route{
				{Prefix: "172.10.0.2/32", Device: "dpdk1", Mtu: 1500, Scope: weirv1.Scope_SCOPE_KNI_HOST, Proto: "auto"},
				{Prefix: "0.0.0.0/0", Via: "10.0.0.1", Src: "10.0.0.2", Device: "dpdk1", Mtu: 1400, Tos: 8, Metric: 5, Proto: "auto"},
			}},
			args: []string{"route", "show"},
			want: `inet 172.10.0.2/32 via 0.0.0.0 src 0.0.0.0 dev dpdk1 mtu 1500 tos 0 scope kni_host metric 0 proto auto
inet 0.0.0.0/0 via 10.0.0.1 src 10.0.0.2 dev dpdk1 mtu 1400 tos 8 scope global metric 5 proto auto
`,
		},
		{
			name: "neighbours",
			world: &fake{neighbours: []*weirv1.Neighbour{
				{Address: "192.168.100.2", Lladdr: "00:16:3e:00:00:01", State: "REACHABLE", Device: "dpdk0"},
				{Address: "192.168.100.3", Lladdr: "00:16:3e:00:00:02", State: "REACHABLE", Device: "dpdk0", Static: true},
				{Address: "192.168.100.4", State: "SEND", Device: "dpdk0", Queued: 3},
			}},
			args: []string{"neigh", "show"},
			want: `ip: 192.168.100.2                                    mac: 00:16:3e:00:00:01   state: REACHABLE     dev: dpdk0
ip: 192.168.100.3                                    mac: 00:16:3e:00:00:02   state: REACHABLE     dev: dpdk0  static
ip: 192.168.100.4                                    mac:incomplate                       state: SEND           dev: dpdk0
`,
		},
		{
			name:  "neighbours that packets wait for",
			world: &fake{neighbours: []*weirv1.Neighbour{{Address: "192.168.100.4", State: "SEND", Device: "dpdk0", Queued: 3}}},
			args:  []string{"neigh", "show", "-v"},
			want:  "ip: 192.168.100.4                                    mac:incomplate                       state: SEND           dev: dpdk0  queued: 3\n",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t)
			b.addresses, b.routes, b.neighbours, b.links = tc.world.addresses, tc.world.routes, tc.world.neighbours, twoPorts
			b.groups = tc.world.groups
			got := b.run(t.Context(), tc.args...)
			if want := (result{0, tc.want, ""}); got != want {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
		})
	}
}
