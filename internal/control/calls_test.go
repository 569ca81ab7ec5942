package control

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"weir/api/weirv1"
	"weir/internal/packet"
)

type calls = weirv1.DirectorClient

// call makes an rpc a function of its message, whatever the message is.
func call[Q, A any](rpc func(calls, context.Context, *connect.Request[Q]) (*connect.Response[A], error), q *Q) func(testing.TB, calls) (proto.Message, error) {
	return func(t testing.TB, c calls) (proto.Message, error) {
		a, err := rpc(c, t.Context(), connect.NewRequest(q))
		if err != nil {
			return nil, err
		}
		return any(a.Msg).(proto.Message), nil
	}
}

// Every rpc does what it says. Rows follow each other on one director; a row without
// a wanted answer takes any.
func TestCalls(t *testing.T) {
	b, _, c := newAPI(t)
	type step struct {
		name string
		call func(testing.TB, calls) (proto.Message, error)
		want proto.Message
	}
	local := &weirv1.LocalAddress{Address: "192.168.1.200", Device: "lan"}
	web := &weirv1.Service{Key: tcpKey(80), Scheduler: "wrr", ConnTimeout: 60, ProxyProtocol: "v1-insecure", NoToa: true}
	dns := &weirv1.Service{Key: udpKey(80), Scheduler: "wlc", Uoa: "opp"}
	for _, s := range []step{
		{"AddAddress", call(calls.AddAddress, &weirv1.AddAddressRequest{Address: &weirv1.Address{Prefix: "192.168.1.1/24", Device: "lan", Broadcast: "192.168.1.255", Scope: weirv1.Scope_SCOPE_LINK}}), &weirv1.AddAddressResponse{}},
		{"AddAddress, a VIP", call(calls.AddAddress, &weirv1.AddAddressRequest{Address: &weirv1.Address{Prefix: "10.0.0.100", Device: "wan"}}), nil},
		{"AddAddress, replaced", call(calls.AddAddress, &weirv1.AddAddressRequest{Replace: true, Address: &weirv1.Address{Prefix: "10.0.0.100/24", Device: "wan"}}), nil},
		{"ListAddresses", call(calls.ListAddresses, &weirv1.ListAddressesRequest{}), &weirv1.ListAddressesResponse{Addresses: []*weirv1.Address{
			{Prefix: "192.168.1.1/24", Device: "lan", Broadcast: "192.168.1.255", Scope: weirv1.Scope_SCOPE_LINK}, {Prefix: "10.0.0.100/24", Device: "wan"},
		}}},
		{"AddRoute", call(calls.AddRoute, &weirv1.AddRouteRequest{Route: &weirv1.Route{Prefix: "0.0.0.0/0", Via: "10.0.0.254", Device: "wan", Mtu: 1400, Metric: 3}}), &weirv1.AddRouteResponse{}},
		{"AddRoute, on link", call(calls.AddRoute, &weirv1.AddRouteRequest{Route: &weirv1.Route{Prefix: "172.16.0.0/12", Via: "0.0.0.0", Src: "0.0.0.0", Device: "lan"}}), nil},
		{"ListRoutes", call(calls.ListRoutes, &weirv1.ListRoutesRequest{Device: "wan"}), &weirv1.ListRoutesResponse{Routes: []*weirv1.Route{
			{Prefix: "10.0.0.100/32", Device: "wan", Mtu: 1500, Scope: weirv1.Scope_SCOPE_HOST, Proto: "auto", Derived: true},
			{Prefix: "10.0.0.0/24", Device: "wan", Src: "10.0.0.100", Mtu: 1500, Scope: weirv1.Scope_SCOPE_LINK, Proto: "auto", Derived: true},
			{Prefix: "0.0.0.0/0", Via: "10.0.0.254", Device: "wan", Mtu: 1400, Metric: 3, Proto: "auto"},
		}}},
		{"DeleteRoute", call(calls.DeleteRoute, &weirv1.DeleteRouteRequest{Route: &weirv1.Route{Prefix: "172.16.0.0/12", Device: "lan"}}), &weirv1.DeleteRouteResponse{}},
		{"FlushRoutes", call(calls.FlushRoutes, &weirv1.FlushRoutesRequest{Device: "wan"}), &weirv1.FlushRoutesResponse{}},
		{"ListRoutes, what follows from addresses", call(calls.ListRoutes, &weirv1.ListRoutesRequest{Device: "lan"}), &weirv1.ListRoutesResponse{Routes: []*weirv1.Route{
			{Prefix: "192.168.1.1/32", Device: "lan", Mtu: 1500, Scope: weirv1.Scope_SCOPE_HOST, Proto: "auto", Derived: true},
			{Prefix: "192.168.1.0/24", Device: "lan", Src: "192.168.1.1", Mtu: 1500, Scope: weirv1.Scope_SCOPE_LINK, Proto: "auto", Derived: true},
		}}},
		{"AddNeighbour", call(calls.AddNeighbour, &weirv1.AddNeighbourRequest{Neighbour: &weirv1.Neighbour{Address: "192.168.1.2", Lladdr: "02-00-00-00-02-FE", Device: "lan"}}), &weirv1.AddNeighbourResponse{}},
		{"ListNeighbours", call(calls.ListNeighbours, &weirv1.ListNeighboursRequest{Device: "lan"}), &weirv1.ListNeighboursResponse{Neighbours: []*weirv1.Neighbour{
			{Address: "192.168.1.2", Lladdr: "02:00:00:00:02:fe", State: "REACHABLE", Device: "lan", Static: true},
		}}},
		{"DeleteNeighbour", call(calls.DeleteNeighbour, &weirv1.DeleteNeighbourRequest{Address: "192.168.1.2", Device: "lan"}), &weirv1.DeleteNeighbourResponse{}},
		{"SetLink", call(calls.SetLink, &weirv1.SetLinkRequest{Device: "lan", Item: "promisc", Value: "on"}), &weirv1.SetLinkResponse{}},
		{"SetWorker", call(calls.SetWorker, &weirv1.SetWorkerRequest{Name: "cpu2"}), &weirv1.SetWorkerResponse{}},
		{"AddService", call(calls.AddService, &weirv1.AddServiceRequest{Service: &weirv1.Service{Key: tcpKey(80), Scheduler: "rr", Dests: []*weirv1.Dest{fullNAT("192.168.1.9", 1, 1)}}}), &weirv1.AddServiceResponse{}},
		{"EditService", call(calls.EditService, &weirv1.EditServiceRequest{Service: web}), &weirv1.EditServiceResponse{}},
		{"AddDest", call(calls.AddDest, &weirv1.AddDestRequest{Key: tcpKey(80), Dest: fullNAT("192.168.1.2", 80, 1)}), &weirv1.AddDestResponse{}},
		{"EditDest", call(calls.EditDest, &weirv1.EditDestRequest{Key: tcpKey(80), Dest: &weirv1.Dest{Address: "192.168.1.2", Port: 80, Forward: weirv1.Forward_FORWARD_FULLNAT, Weight: 65535, UThreshold: 9, LThreshold: 3}}), &weirv1.EditDestResponse{}},
		{"AddLocalAddress", call(calls.AddLocalAddress, &weirv1.AddLocalAddressRequest{Key: tcpKey(80), Local: local}), &weirv1.AddLocalAddressResponse{}},
		{"ListServices", call(calls.ListServices, &weirv1.ListServicesRequest{Key: tcpKey(80)}), &weirv1.ListServicesResponse{Version: "1.2.3", Services: []*weirv1.Service{{
			Key: tcpKey(80), Scheduler: "wrr", ConnTimeout: 60, ProxyProtocol: "v1-insecure", NoToa: true, Counters: &weirv1.Counters{}, Rates: &weirv1.Rates{}, Locals: []*weirv1.LocalAddress{local},
			Dests: []*weirv1.Dest{{Address: "192.168.1.2", Port: 80, Forward: weirv1.Forward_FORWARD_FULLNAT, Weight: 65535, UThreshold: 9, LThreshold: 3, Counters: &weirv1.Counters{}, Rates: &weirv1.Rates{}}},
		}}}},
		{"AddService, another", call(calls.AddService, &weirv1.AddServiceRequest{Service: dns}), nil},
		{"ListServices, another", call(calls.ListServices, &weirv1.ListServicesRequest{Key: udpKey(80)}), &weirv1.ListServicesResponse{Version: "1.2.3", Services: []*weirv1.Service{{
			Key: udpKey(80), Scheduler: "wlc", Uoa: "opp", Counters: &weirv1.Counters{}, Rates: &weirv1.Rates{},
		}}}},
		{"EditService, to the defaults", call(calls.EditService, &weirv1.EditServiceRequest{Service: &weirv1.Service{Key: udpKey(80), Scheduler: "wlc"}}), nil},
		{"ListServices, edited", call(calls.ListServices, &weirv1.ListServicesRequest{Key: udpKey(80)}), &weirv1.ListServicesResponse{Version: "1.2.3", Services: []*weirv1.Service{{
			Key: udpKey(80), Scheduler: "wlc", Counters: &weirv1.Counters{}, Rates: &weirv1.Rates{},
		}}}},
		{"AddLocalAddress, there before", call(calls.AddLocalAddress, &weirv1.AddLocalAddressRequest{Key: udpKey(80), Local: local}), &weirv1.AddLocalAddressResponse{AddressExisted: true}},
		{"ListAddresses, sapool", call(calls.ListAddresses, &weirv1.ListAddressesRequest{Device: "lan"}), &weirv1.ListAddressesResponse{Addresses: []*weirv1.Address{
			{Prefix: "192.168.1.1/24", Device: "lan", Broadcast: "192.168.1.255", Scope: weirv1.Scope_SCOPE_LINK},
			{Prefix: "192.168.1.200/32", Device: "lan", Sapool: true, SaFree: 1032176},
		}}},
		{"DeleteLocalAddress", call(calls.DeleteLocalAddress, &weirv1.DeleteLocalAddressRequest{Key: udpKey(80), Local: local}), &weirv1.DeleteLocalAddressResponse{}},
		{"ZeroCounters, one", call(calls.ZeroCounters, &weirv1.ZeroCountersRequest{Key: tcpKey(80)}), &weirv1.ZeroCountersResponse{}},
		{"ZeroCounters, all", call(calls.ZeroCounters, &weirv1.ZeroCountersRequest{}), &weirv1.ZeroCountersResponse{}},
		{"DeleteDest", call(calls.DeleteDest, &weirv1.DeleteDestRequest{Key: tcpKey(80), Dest: &weirv1.Dest{Address: "192.168.1.2", Port: 80}}), &weirv1.DeleteDestResponse{}},
		{"DeleteService", call(calls.DeleteService, &weirv1.DeleteServiceRequest{Key: tcpKey(80)}), &weirv1.DeleteServiceResponse{}},
		{"FlushServices", call(calls.FlushServices, &weirv1.FlushServicesRequest{}), &weirv1.FlushServicesResponse{}},
		{"ListServices, none", call(calls.ListServices, &weirv1.ListServicesRequest{}), &weirv1.ListServicesResponse{Version: "1.2.3"}},
		{"DeleteAddress", call(calls.DeleteAddress, &weirv1.DeleteAddressRequest{Prefix: "192.168.1.1", Device: "lan"}), &weirv1.DeleteAddressResponse{}},
		{"FlushAddresses", call(calls.FlushAddresses, &weirv1.FlushAddressesRequest{Device: "wan"}), &weirv1.FlushAddressesResponse{}},
		{"ListAddresses, none", call(calls.ListAddresses, &weirv1.ListAddressesRequest{}), &weirv1.ListAddressesResponse{}},
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
	if len(b.Spec().Addresses)+len(b.Spec().Services)+len(b.Spec().Routes)+len(b.Spec().Neighbours) != 0 {
		t.Errorf("in the end there is %+v", b.Spec())
	}
}

// What is listed of ports, workers and counters.
func TestListsOfWhatIs(t *testing.T) {
	b, _, c := newAPI(t)
	ctx := t.Context()
	twoArm(t, c)
	for i := range 3 {
		b.wan.InjectAt(i%2, frame(t, macGW, macWAN, fmt.Sprintf("ip 1.2.3.4 > 10.0.0.100 / udp %d > 53 data=4", 40000+i)))
	}
	b.wan.Inject(frame(t, macGW, macWAN, "ip 1.2.3.4 > 10.0.0.100 / udp 40000 > 99 data=4")) // no such service
	gauge := func(name string) uint64 {
		s := must(c.GetStats(ctx, connect.NewRequest(&weirv1.GetStatsRequest{})))(t)
		i := slices.IndexFunc(s.Gauges, func(g *weirv1.Gauge) bool { return g.Name == name })
		if i < 0 || s.Gauges[i].Text == "" {
			t.Fatalf("no gauge %s, or without a text", name)
		}
		return s.Gauges[i].Value
	}
	eventually(t, "the packets have passed", func() bool { return gauge("forwarded") == 3 })
	for name, want := range map[string]uint64{"conns": 3, "conns_new": 3, "conns_half_open": 0, "neighbours": 2, "frames": 8192, "packets_waiting": 0} {
		if got := gauge(name); got != want {
			t.Errorf("%s is %d, want %d", name, got, want)
		}
	}
	eventually(t, "the drop is counted", func() bool {
		s := must(c.GetStats(ctx, connect.NewRequest(&weirv1.GetStatsRequest{})))(t)
		return slices.ContainsFunc(s.Drops, func(d *weirv1.Drop) bool {
			return d.Reason == packet.LBNoService.String() && d.Total == 1 && len(d.ByWorker) == 2 && d.ByWorker[0] == 1 && d.Text == packet.LBNoService.Text()
		})
	})

	links := must(c.ListLinks(ctx, connect.NewRequest(&weirv1.ListLinksRequest{})))(t).Links
	if len(links) != 2 || links[0].Name != "lan" || links[1].Number != 2 {
		t.Fatalf("links: %v", links)
	}
	wan := must(c.ListLinks(ctx, connect.NewRequest(&weirv1.ListLinksRequest{Device: "wan"})))(t).Links
	if len(wan) != 1 || wan[0].Addr != "02:00:00:00:01:00" || wan[0].Mtu != 1500 || wan[0].RxQueues != 2 || wan[0].Driver != "pipe" || !wan[0].Up ||
		wan[0].Stats.Ipackets != 4 || wan[0].Stats.MbufAvail != 8192 || wan[0].Stats.MbufInuse != 0 {
		t.Errorf("wan: %v", wan)
	}
	if q := wan[0].Queues; len(q) != 2 || q[0].Queue != 0 || q[1].Queue != 1 || q[0].Stats.Ipackets != 3 || q[1].Stats.Ipackets != 1 ||
		q[0].Stats.Ibytes+q[1].Stats.Ibytes != wan[0].Stats.Ibytes || q[0].Stats.Opackets+q[1].Stats.Opackets != wan[0].Stats.Opackets {
		t.Errorf("queues of wan: %v, of all of it %v", q, wan[0].Stats)
	}
	workers := must(c.ListWorkers(ctx, connect.NewRequest(&weirv1.ListWorkersRequest{})))(t).Workers
	if len(workers) != 2 || workers[1].Name != "cpu2" || !workers[1].Running || workers[1].ServedBy != "cpu2" || workers[0].Ipackets != 3 || workers[1].Ipackets != 1 ||
		workers[0].Dropped != 1 || len(workers[1].Queues) != 2 || workers[1].Queues[0].Device != "lan" || workers[1].Queues[0].Queue != 1 || workers[0].Breaths == 0 {
		t.Errorf("workers: %v", workers)
	}
	svc := must(c.ListServices(ctx, connect.NewRequest(&weirv1.ListServicesRequest{Key: udpKey(53)})))(t).Services[0]
	if svc.Counters.Conns != 3 || svc.Counters.InPkts != 3 || svc.Counters.InBytes != 96 || svc.Dests[0].InactiveConns+svc.Dests[0].ActiveConns != 3 || svc.Locals[0].Conns != 3 {
		t.Errorf("service: %v", svc)
	}
	v := must(c.GetVersion(ctx, connect.NewRequest(&weirv1.GetVersionRequest{})))(t)
	if v.Version != "1.2.3" {
		t.Errorf("version %q", v.Version)
	}
}
