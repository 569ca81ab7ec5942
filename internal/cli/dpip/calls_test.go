package dpip

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"weir/api/client"
	"weir/api/weirv1"
)

func putAddr(a *weirv1.Address) proto.Message { return &weirv1.AddAddressRequest{Address: a} }

func setAddr(a *weirv1.Address) proto.Message {
	return &weirv1.AddAddressRequest{Address: a, Replace: true}
}

func putRoute(r *weirv1.Route) proto.Message { return &weirv1.AddRouteRequest{Route: r} }

func setLink(dev, item, value string) proto.Message {
	return &weirv1.SetLinkRequest{Device: dev, Item: item, Value: value}
}

// TestChanges says what each line that changes something asks of the director,
// and that it prints nothing.
func TestChanges(t *testing.T) {
	const link, host, kni = weirv1.Scope_SCOPE_LINK, weirv1.Scope_SCOPE_HOST, weirv1.Scope_SCOPE_KNI_HOST
	vip := &weirv1.Address{Prefix: "10.0.0.100/32", Device: "dpdk1"}
	lan := &weirv1.Route{Prefix: "192.168.100.0/24", Device: "dpdk0", Scope: link}
	delLAN := &weirv1.DeleteRouteRequest{Route: lan}
	delVIP := &weirv1.DeleteAddressRequest{Prefix: "10.0.0.100", Device: "dpdk1"} // whatever its length
	static := &weirv1.AddNeighbourRequest{Neighbour: &weirv1.Neighbour{
		Address: "192.168.100.2", Lladdr: "00:16:3e:00:00:01", Device: "dpdk0", Static: true}}

	b := newBench(t)
	for _, tc := range []struct {
		line string
		want proto.Message
	}{
		// The tutorial's own lines.
		{"addr add 10.0.0.100/32 dev dpdk1", putAddr(vip)},
		{"addr add 192.168.0.66/24 dev bond0", putAddr(&weirv1.Address{Prefix: "192.168.0.66/24", Device: "bond0"})},
		{"addr add 123.1.2.2/30 dev dpdk1 sapool", putAddr(&weirv1.Address{Prefix: "123.1.2.2/30", Device: "dpdk1", Sapool: true})},
		{"route add 192.168.100.0/24 dev dpdk0", putRoute(lan)},
		{"route add 172.10.0.2/32 dev dpdk1 scope kni_host", putRoute(&weirv1.Route{Prefix: "172.10.0.2/32", Device: "dpdk1", Scope: kni})},
		{"route add default via 123.1.2.1 dev dpdk1", putRoute(&weirv1.Route{Prefix: "0.0.0.0/0", Via: "123.1.2.1", Device: "dpdk1"})},
		{"route add default via 10.140.31.254 src 10.140.16.48 dev dpdk0",
			putRoute(&weirv1.Route{Prefix: "0.0.0.0/0", Via: "10.140.31.254", Src: "10.140.16.48", Device: "dpdk0"})},

		// addr
		{"addr add 10.0.0.100 dev dpdk1", putAddr(vip)},
		{"addr add dev dpdk1 10.0.0.100", putAddr(vip)},
		{"addr add 10.0.0.100 dev dpdk1 scope global valid_lft forever preferred_lft forever", putAddr(vip)},
		{"addr add 10.219.100.6/22 dev dpdk0 broadcast 10.219.103.255 scope link valid_lft 600 prefered_lft 300 sapool",
			putAddr(&weirv1.Address{Prefix: "10.219.100.6/22", Device: "dpdk0", Broadcast: "10.219.103.255",
				Scope: link, ValidLft: 600, PreferredLft: 300, Sapool: true})},
		{"addr add 10.1.1.1/24 dev dpdk0 broadcast 255.255.255.255",
			putAddr(&weirv1.Address{Prefix: "10.1.1.1/24", Device: "dpdk0", Broadcast: "255.255.255.255"})},
		{"addr add 10.1.1.1 dev d valid_lft 4294967295 preferred_lft 1",
			putAddr(&weirv1.Address{Prefix: "10.1.1.1/32", Device: "d", ValidLft: 1<<32 - 1, PreferredLft: 1})},
		{"addr add 10.1.1.1 dev d scope 254", putAddr(&weirv1.Address{Prefix: "10.1.1.1/32", Device: "d", Scope: host})},
		{"addr set 10.0.0.100 dev dpdk1", setAddr(vip)},
		{"addr change 10.0.0.100 dev dpdk1", setAddr(vip)},
		{"addr replace 10.0.0.100 dev dpdk1", setAddr(vip)},
		{"addr del 10.0.0.100 dev dpdk1", delVIP},
		{"addr del 10.0.0.100/32 dev dpdk1 sapool scope global", &weirv1.DeleteAddressRequest{Prefix: "10.0.0.100/32", Device: "dpdk1"}},
		{"addr flush dev dpdk1", &weirv1.FlushAddressesRequest{Device: "dpdk1"}},

		// route
		{"route add 192.168.100.0/24 dev dpdk0 scope link", putRoute(lan)},
		{"route add 192.168.100.0/24 dev dpdk0 scope 253", putRoute(lan)},
		{"route add 192.168.100.0/24 dev dpdk0 scope global", putRoute(lan)}, // no gateway: link
		{"route add 10.1.1.1 dev dpdk0 local", putRoute(&weirv1.Route{Prefix: "10.1.1.1/32", Device: "dpdk0", Scope: host})},
		{"route add 10.1.1.1 dev dpdk0 local scope host", putRoute(&weirv1.Route{Prefix: "10.1.1.1/32", Device: "dpdk0", Scope: host})},
		{"route add 0.0.0.0/0 via 10.0.0.1 dev d mtu 1400 metric 4294967295",
			putRoute(&weirv1.Route{Prefix: "0.0.0.0/0", Via: "10.0.0.1", Device: "d", Mtu: 1400, Metric: 1<<32 - 1})},
		{"route add 0.0.0.0/1 dev d", putRoute(&weirv1.Route{Prefix: "0.0.0.0/1", Device: "d", Scope: link})},
		{"route del 192.168.100.0/24 dev dpdk0", delLAN},
		{"route flush dev dpdk0", &weirv1.FlushRoutesRequest{Device: "dpdk0", Family: 4}},

		// neigh
		{"neigh add 192.168.100.2 lladdr 00:16:3E:00:00:01 dev dpdk0", static},
		{"neigh add dev dpdk0 lladdr 00:16:3e:00:00:01 192.168.100.2", static},
		{"neigh del 192.168.100.2 dev dpdk0", &weirv1.DeleteNeighbourRequest{Address: "192.168.100.2", Device: "dpdk0"}},
		{"neigh del 192.168.100.2 lladdr 00:16:3e:00:00:01 dev dpdk0", &weirv1.DeleteNeighbourRequest{Address: "192.168.100.2", Device: "dpdk0"}},

		// vlan
		{"vlan add dpdk0.100 link dpdk0 proto 802.1q id 100", &weirv1.AddVLANRequest{Vlan: &weirv1.VLAN{Name: "dpdk0.100", Link: "dpdk0", Proto: "802.1q", Id: 100}}},
		{"vlan add link dpdk0 proto vlan id 101", &weirv1.AddVLANRequest{Vlan: &weirv1.VLAN{Link: "dpdk0", Proto: "802.1q", Id: 101}}},
		{"vlan add link dpdk1 id 102", &weirv1.AddVLANRequest{Vlan: &weirv1.VLAN{Link: "dpdk1", Id: 102}}},
		{"vlan add id 4094 link bond1 wan proto QinQ", &weirv1.AddVLANRequest{Vlan: &weirv1.VLAN{Name: "wan", Link: "bond1", Proto: "802.1ad", Id: 4094}}},
		{"vlan del dpdk0.100", &weirv1.DeleteVLANRequest{Vlan: &weirv1.VLAN{Name: "dpdk0.100"}}},
		{"vlan del link dpdk0 id 100", &weirv1.DeleteVLANRequest{Vlan: &weirv1.VLAN{Link: "dpdk0", Id: 100}}},

		// link
		{"link set dpdk0 promisc on", setLink("dpdk0", "promisc", "on")},
		{"link set dpdk0 allmulticast off", setLink("dpdk0", "allmulticast", "off")},
		{"link set dpdk0 forward2kni on", setLink("dpdk0", "forward2kni", "on")},
		{"link set dpdk0 tc-egress on", setLink("dpdk0", "tc-egress", "on")},
		{"link set dpdk0 tc-ingress on", setLink("dpdk0", "tc-ingress", "on")},
		{"link set dpdk0 lldp on", setLink("dpdk0", "lldp", "on")},
		{"link set dpdk0 link down", setLink("dpdk0", "link", "down")},
		{"link set dev dpdk0 link up", setLink("dpdk0", "link", "up")},
		{"link set dpdk0 addr 00:16:3E:00:00:01", setLink("dpdk0", "addr", "00:16:3e:00:00:01")},
		{"link set bond0 bond-mode 4", setLink("bond0", "bond-mode", "4")},
		{"link set bond0 bond-primary dpdk1", setLink("bond0", "bond-primary", "dpdk1")},
		{"link set bond0 bond-primary none", setLink("bond0", "bond-primary", "none")},
		{"link set bond0 bond-xmit-policy layer23", setLink("bond0", "bond-xmit-policy", "layer23")},
		{"link set bond0 bond-monitor-interval 0100", setLink("bond0", "bond-monitor-interval", "100")},
		{"link set bond0 bond-link-up-prop 500", setLink("bond0", "bond-link-up-prop", "500")},
		{"link set bond0 bond-link-down-prop 0", setLink("bond0", "bond-link-down-prop", "0")},
		{"link add bond0 bond-slave dpdk1", setLink("bond0", "bond-slave-add", "dpdk1")},
		{"link del bond0 bond-slave dpdk1", setLink("bond0", "bond-slave-del", "dpdk1")},

		// IPv6, its family told by the words, or by -6.
		{"addr add 2001:db8::1/64 dev dpdk0", putAddr(&weirv1.Address{Prefix: "2001:db8::1/64", Device: "dpdk0"})},
		{"-6 addr add 2001:DB8:0::0:1 dev dpdk0 sapool", putAddr(&weirv1.Address{Prefix: "2001:db8::1/128", Device: "dpdk0", Sapool: true})},
		{"addr set fe80::1/64 dev dpdk0", setAddr(&weirv1.Address{Prefix: "fe80::1/64", Device: "dpdk0", Scope: link})},
		{"addr add fe80::1/64 dev dpdk0 scope global", putAddr(&weirv1.Address{Prefix: "fe80::1/64", Device: "dpdk0"})},
		{"addr del 2001:db8::1 dev dpdk0 -6", &weirv1.DeleteAddressRequest{Prefix: "2001:db8::1", Device: "dpdk0"}},
		{"addr del 2001:db8::1/128 dev dpdk0", &weirv1.DeleteAddressRequest{Prefix: "2001:db8::1/128", Device: "dpdk0"}},
		{"addr flush dev dpdk0 -6", &weirv1.FlushAddressesRequest{Device: "dpdk0", Family: 6}},
		{"-4 addr flush dev dpdk0", &weirv1.FlushAddressesRequest{Device: "dpdk0", Family: 4}},
		{"route add 2001:db8:1::/64 dev dpdk0", putRoute(&weirv1.Route{Prefix: "2001:db8:1::/64", Device: "dpdk0", Scope: link})},
		{"route add default via fe80::1 dev dpdk1", putRoute(&weirv1.Route{Prefix: "::/0", Via: "fe80::1", Device: "dpdk1"})},
		{"-6 route add default dev dpdk1", putRoute(&weirv1.Route{Prefix: "::/0", Device: "dpdk1", Scope: link})},
		{"route add default dev dpdk1 src 2001:db8::1", putRoute(&weirv1.Route{Prefix: "::/0", Src: "2001:db8::1", Device: "dpdk1", Scope: link})},
		{"route add default dev dpdk1", putRoute(&weirv1.Route{Prefix: "0.0.0.0/0", Device: "dpdk1", Scope: link})},
		{"route add ::/0 via 2001:db8::9 src 2001:db8::1 dev dpdk1 mtu 1280 metric 5",
			putRoute(&weirv1.Route{Prefix: "::/0", Via: "2001:db8::9", Src: "2001:db8::1", Device: "dpdk1", Mtu: 1280, Metric: 5})},
		{"route add 2001:db8::9 dev dpdk1 scope kni_host", putRoute(&weirv1.Route{Prefix: "2001:db8::9/128", Device: "dpdk1", Scope: kni})},
		{"route del default via fe80::1 dev dpdk1", &weirv1.DeleteRouteRequest{Route: &weirv1.Route{Prefix: "::/0", Via: "fe80::1", Device: "dpdk1"}}},
		{"-6 route flush dev dpdk0", &weirv1.FlushRoutesRequest{Device: "dpdk0", Family: 6}},
		{"neigh add fe80::2 lladdr 00:16:3e:00:00:01 dev dpdk0", &weirv1.AddNeighbourRequest{Neighbour: &weirv1.Neighbour{
			Address: "fe80::2", Lladdr: "00:16:3e:00:00:01", Device: "dpdk0", Static: true}}},
		{"-6 neigh del 2001:db8::2 dev dpdk0", &weirv1.DeleteNeighbourRequest{Address: "2001:db8::2", Device: "dpdk0"}},

		// Words cut short, other names, options anywhere.
		{"a a 10.0.0.100 dev dpdk1", putAddr(vip)},
		{"address add 10.0.0.100 dev dpdk1", putAddr(vip)},
		{"addr d 10.0.0.100 dev dpdk1", delVIP},
		{"addr delete 10.0.0.100 dev dpdk1", delVIP},
		{"addr se 10.0.0.100 dev dpdk1", setAddr(vip)},
		{"r a 192.168.100.0/24 dev dpdk0", putRoute(lan)},
		{"ro del 192.168.100.0/24 dev dpdk0", delLAN},
		{"n d 192.168.100.2 dev dpdk0", &weirv1.DeleteNeighbourRequest{Address: "192.168.100.2", Device: "dpdk0"}},
		{"neighbour del 192.168.100.2 dev dpdk0", &weirv1.DeleteNeighbourRequest{Address: "192.168.100.2", Device: "dpdk0"}},
		{"l set dpdk0 promisc on", setLink("dpdk0", "promisc", "on")},
		{"-4 addr add 10.0.0.100 dev dpdk1", putAddr(vip)},
		{"addr -4 add 10.0.0.100 dev dpdk1", putAddr(vip)},
		{"addr add 10.0.0.100 dev dpdk1 -v", putAddr(vip)},
		{"addr add 10.0.0.100 dev -4 dpdk1", putAddr(vip)},
		{"-f inet addr add 10.0.0.100 dev dpdk1", putAddr(vip)},
		{"addr add --family=inet 10.0.0.100 dev dpdk1", putAddr(vip)},
		{"addr add -finet 10.0.0.100 dev dpdk1", putAddr(vip)},
		{"-6 -4 addr add 10.0.0.100 dev dpdk1", putAddr(vip)}, // the last word counts
		{"addr add -- 10.0.0.100 dev -d", putAddr(&weirv1.Address{Prefix: "10.0.0.100/32", Device: "-d"})},
	} {
		t.Run(tc.line, func(t *testing.T) {
			if got := b.run(t.Context(), strings.Fields(tc.line)...); got != (result{}) {
				t.Errorf("got %+v, want success in silence", got)
			}
			calls := b.take()
			if len(calls) != 1 || !proto.Equal(calls[0], tc.want) {
				t.Errorf("asked %T %v\nwant  %T {%v}", calls, calls, tc.want, tc.want)
			}
		})
	}
}

// TestListsAskForOneDevice says that `dev D`, or D alone, narrows a listing.
func TestListsAskForOneDevice(t *testing.T) {
	b := newBench(t)
	for _, tc := range []struct {
		line string
		want proto.Message
	}{
		{"addr show", &weirv1.ListAddressesRequest{}},
		{"addr show dev dpdk0", &weirv1.ListAddressesRequest{Device: "dpdk0"}},
		{"addr list dpdk0", &weirv1.ListAddressesRequest{Device: "dpdk0"}},
		{"a s", &weirv1.ListAddressesRequest{}},
		{"addr sh", &weirv1.ListAddressesRequest{}},
		{"addr l", &weirv1.ListAddressesRequest{}},
		{"route show dev dpdk0", &weirv1.ListRoutesRequest{Device: "dpdk0"}},
		{"r s", &weirv1.ListRoutesRequest{}},
		{"neigh show dev dpdk0", &weirv1.ListNeighboursRequest{Device: "dpdk0"}},
		{"vlan show", &weirv1.ListVLANsRequest{Like: &weirv1.VLAN{}}},
		{"vlan show dpdk0.100", &weirv1.ListVLANsRequest{Like: &weirv1.VLAN{Name: "dpdk0.100"}}},
		{"vlan show link dpdk0 proto 802.1q id 7", &weirv1.ListVLANsRequest{Like: &weirv1.VLAN{Link: "dpdk0", Proto: "802.1q", Id: 7}}},
		{"-v addr show", &weirv1.ListAddressesRequest{Kni: true}},
		{"maddr show dev dpdk0", &weirv1.ListMulticastRequest{Device: "dpdk0"}},
		{"m s", &weirv1.ListMulticastRequest{}},
		{"n", nil},
		{"link show dpdk0", &weirv1.ListLinksRequest{Device: "dpdk0"}},
		{"link show dev dpdk0", &weirv1.ListLinksRequest{Device: "dpdk0"}},
		{"l s", &weirv1.ListLinksRequest{}},
		{"link show cpu", &weirv1.ListWorkersRequest{}},
		{"link show cpux", &weirv1.ListLinksRequest{Device: "cpux"}},
	} {
		t.Run(tc.line, func(t *testing.T) {
			b.run(t.Context(), strings.Fields(tc.line)...)
			calls := b.take()
			if tc.want == nil {
				if len(calls) != 0 {
					t.Errorf("asked %v, want nothing", calls)
				}
				return
			}
			if len(calls) == 0 || !proto.Equal(calls[0], tc.want) {
				t.Errorf("asked %v, want {%v}", calls, tc.want)
			}
		})
	}
}

// TestRefusedByDirector shows the director's own sentence for every change.
func TestRefusedByDirector(t *testing.T) {
	b := newBench(t)
	b.refusal = connect.NewError(connect.CodeAlreadyExists, errGone)
	for _, line := range []string{
		"addr add 10.0.0.100 dev dpdk1", "addr set 10.0.0.100 dev dpdk1", "addr del 10.0.0.100 dev dpdk1", "addr flush dev dpdk1",
		"route add default dev dpdk1", "route del default dev dpdk1", "route flush dev dpdk1",
		"neigh add 10.0.0.1 lladdr 00:16:3e:00:00:01 dev dpdk1", "neigh del 10.0.0.1 dev dpdk1",
		"link set dpdk0 promisc on",
	} {
		t.Run(line, func(t *testing.T) {
			got := b.run(t.Context(), strings.Fields(line)...)
			if want := (result{1, "", "dpip: gone\n"}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
	t.Run("listing that is not there", func(t *testing.T) {
		bare := &bench{fake: &fake{}, client: client.New(serve(t, weirv1.UnimplementedDirectorHandler{}))}
		got := bare.run(t.Context(), "addr", "show")
		if want := (result{1, "", "dpip: weir.v1.Director.ListAddresses is not implemented\n"}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

// TestDirectorNotRunning says where the director was looked for.
func TestDirectorNotRunning(t *testing.T) {
	b := &bench{fake: &fake{}, client: client.New(filepath.Join(t.TempDir(), "none"))}
	for _, line := range []string{"addr show", "route add default dev dpdk1", "link show cpu", "link show -i 1"} {
		t.Run(line, func(t *testing.T) {
			got := b.run(t.Context(), strings.Fields(line)...)
			if want := (result{1, "", "dpip: cannot reach weir at /run/weir.sock: no such file or directory\n"}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// TestInterrupted: Ctrl-C before the answer is a failure.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got := newBench(t).run(ctx, "addr", "show")
	if want := (result{1, "", "dpip: interrupted before the director answered\n"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
