package control

import (
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"weir/api/client"
	"weir/api/weirv1"
	"weir/internal/spec"
)

// TestCalls6 is the twin of TestCalls for addresses, routes and neighbours of IPv6, on
// ports that have link-local addresses by themselves.
func TestCalls6(t *testing.T) {
	b := newBedOf(t, false, spec.IPv6{AddrGenMode: spec.AddrGenEUI64})
	c := client.New(serve(t, b))
	const link, host = weirv1.Scope_SCOPE_LINK, weirv1.Scope_SCOPE_HOST
	own := must(c.ListAddresses(t.Context(), connect.NewRequest(&weirv1.ListAddressesRequest{})))(t).Addresses
	if len(own) != 2 || !own[0].Automatic || own[0].Device != "lan" || own[0].Scope != link || own[1].Device != "wan" {
		t.Fatalf("by themselves the ports have %v", own)
	}
	groups := must(c.ListMulticast(t.Context(), connect.NewRequest(&weirv1.ListMulticastRequest{Device: "wan"})))(t).Groups
	if len(groups) != 2 || groups[0].Address != "ff02::1" || groups[0].Lladdr != "33:33:00:00:00:01" {
		t.Fatalf("and listen to %v", groups)
	}
	for _, s := range []struct {
		name string
		call func(testing.TB, calls) (proto.Message, error)
		want proto.Message
	}{
		{"AddAddress", call(calls.AddAddress, &weirv1.AddAddressRequest{Address: &weirv1.Address{Prefix: "2001:DB8:1:0::1/64", Device: "lan"}}), &weirv1.AddAddressResponse{}},
		{"AddAddress, a VIP", call(calls.AddAddress, &weirv1.AddAddressRequest{Address: &weirv1.Address{Prefix: "2001:db8::1:99", Device: "wan"}}), nil},
		{"AddAddress, IPv4", call(calls.AddAddress, &weirv1.AddAddressRequest{Address: &weirv1.Address{Prefix: "10.0.0.100", Device: "wan"}}), nil},
		{"AddAddress, link-local", call(calls.AddAddress, &weirv1.AddAddressRequest{Address: &weirv1.Address{Prefix: "fe80::1/64", Device: "wan", Scope: link}}), nil},
		{"AddAddress, the same on another link", call(calls.AddAddress, &weirv1.AddAddressRequest{Address: &weirv1.Address{Prefix: "fe80::1/64", Device: "lan", Scope: link}}), nil},
		{"AddAddress, replaced", call(calls.AddAddress, &weirv1.AddAddressRequest{Replace: true, Address: &weirv1.Address{Prefix: "2001:db8::1:99/64", Device: "wan"}}), nil},
		{"ListAddresses", call(calls.ListAddresses, &weirv1.ListAddressesRequest{Device: "wan"}), &weirv1.ListAddressesResponse{Addresses: []*weirv1.Address{
			own[1], {Prefix: "2001:db8::1:99/64", Device: "wan"}, {Prefix: "10.0.0.100/32", Device: "wan"}, {Prefix: "fe80::1/64", Device: "wan", Scope: link},
		}}},
		{"ListMulticast", call(calls.ListMulticast, &weirv1.ListMulticastRequest{Device: "wan"}), &weirv1.ListMulticastResponse{Groups: []*weirv1.MulticastGroup{
			groups[0], {Device: "wan", Lladdr: "33:33:ff:00:00:01", Address: "ff02::1:ff00:1"}, groups[1], {Device: "wan", Lladdr: "33:33:ff:01:00:99", Address: "ff02::1:ff01:99"},
		}}},
		{"AddRoute", call(calls.AddRoute, &weirv1.AddRouteRequest{Route: &weirv1.Route{Prefix: "::/0", Via: "fe80::254", Src: "2001:db8::1:99", Device: "wan", Mtu: 1400}}), &weirv1.AddRouteResponse{}},
		{"AddRoute, on link", call(calls.AddRoute, &weirv1.AddRouteRequest{Route: &weirv1.Route{Prefix: "2001:db8:172::/48", Via: "::", Src: "::", Device: "wan"}}), nil},
		{"DeleteRoute", call(calls.DeleteRoute, &weirv1.DeleteRouteRequest{Route: &weirv1.Route{Prefix: "2001:db8:172::/48", Device: "wan"}}), &weirv1.DeleteRouteResponse{}},
		{"FlushAddresses of IPv4", call(calls.FlushAddresses, &weirv1.FlushAddressesRequest{Device: "wan", Family: 4}), &weirv1.FlushAddressesResponse{}},
		{"FlushRoutes of IPv4", call(calls.FlushRoutes, &weirv1.FlushRoutesRequest{Device: "wan", Family: 4}), &weirv1.FlushRoutesResponse{}},
		{"AddNeighbour", call(calls.AddNeighbour, &weirv1.AddNeighbourRequest{Neighbour: &weirv1.Neighbour{Address: "fe80::254", Lladdr: "02:00:00:00:02:FE", Device: "wan"}}), &weirv1.AddNeighbourResponse{}},
		{"ListNeighbours", call(calls.ListNeighbours, &weirv1.ListNeighboursRequest{}), &weirv1.ListNeighboursResponse{Neighbours: []*weirv1.Neighbour{
			{Address: "fe80::254", Lladdr: "02:00:00:00:02:fe", State: "REACHABLE", Device: "wan", Static: true},
		}}},
		{"DeleteNeighbour", call(calls.DeleteNeighbour, &weirv1.DeleteNeighbourRequest{Address: "fe80::254", Device: "wan"}), &weirv1.DeleteNeighbourResponse{}},
		{"DeleteAddress, of one link", call(calls.DeleteAddress, &weirv1.DeleteAddressRequest{Prefix: "fe80::1", Device: "lan"}), &weirv1.DeleteAddressResponse{}},
	} {
		got, err := s.call(t, c)
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if s.want != nil {
			if diff := cmp.Diff(s.want, got, protocmp.Transform()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", s.name, diff)
			}
		}
	}
	routes := map[string]*weirv1.Route{}
	for _, r := range must(c.ListRoutes(t.Context(), connect.NewRequest(&weirv1.ListRoutesRequest{Device: "wan"})))(t).Routes {
		routes[r.Prefix] = r
	}
	for _, want := range []*weirv1.Route{
		{Prefix: "2001:db8::1:99/128", Device: "wan", Mtu: 1500, Scope: host, Proto: "auto", Derived: true},
		{Prefix: "2001:db8::/64", Device: "wan", Src: "2001:db8::1:99", Mtu: 1500, Scope: link, Proto: "auto", Derived: true},
		{Prefix: "::/0", Via: "fe80::254", Src: "2001:db8::1:99", Device: "wan", Mtu: 1400, Proto: "auto"},
	} {
		if diff := cmp.Diff(want, routes[want.Prefix], protocmp.Transform()); diff != "" {
			t.Errorf("route (-want +got):\n%s", diff)
		}
	}
	for _, d := range []string{"lan", "wan"} {
		must(c.FlushRoutes(t.Context(), connect.NewRequest(&weirv1.FlushRoutesRequest{Device: d, Family: 6})))(t)
		must(c.FlushAddresses(t.Context(), connect.NewRequest(&weirv1.FlushAddressesRequest{Device: d, Family: 6})))(t)
	}
	left := must(c.ListAddresses(t.Context(), connect.NewRequest(&weirv1.ListAddressesRequest{})))(t).Addresses
	if diff := cmp.Diff(own, left, protocmp.Transform()); diff != "" || len(b.Spec().Routes) != 0 {
		t.Errorf("in the end there is %+v, and of the ports' own (-want +got):\n%s", b.Spec(), diff)
	}
}
