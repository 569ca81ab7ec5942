package control

import (
	"reflect"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"weir/api/weirv1"
	"weir/internal/spec"
)

// What is wrong is refused with the protocol's code, DPVS's code, the object and
// a sentence, and the state stays the very same.
func TestRefusals(t *testing.T) {
	b, _, c := newAPI(t)
	twoArm(t, c)
	const (
		wrong   = connect.CodeInvalidArgument
		missing = connect.CodeNotFound
		exists  = connect.CodeAlreadyExists
		not     = connect.CodeUnimplemented
		busy    = connect.CodeFailedPrecondition
	)
	address := func(a *weirv1.Address) func(testing.TB, calls) (proto.Message, error) {
		return call(calls.AddAddress, &weirv1.AddAddressRequest{Address: a})
	}
	route := func(r *weirv1.Route) func(testing.TB, calls) (proto.Message, error) {
		return call(calls.AddRoute, &weirv1.AddRouteRequest{Route: r})
	}
	neighbour := func(n *weirv1.Neighbour) func(testing.TB, calls) (proto.Message, error) {
		return call(calls.AddNeighbour, &weirv1.AddNeighbourRequest{Neighbour: n})
	}
	service := func(s *weirv1.Service) func(testing.TB, calls) (proto.Message, error) {
		return call(calls.AddService, &weirv1.AddServiceRequest{Service: s})
	}
	dest := func(k *weirv1.ServiceKey, d *weirv1.Dest) func(testing.TB, calls) (proto.Message, error) {
		return call(calls.AddDest, &weirv1.AddDestRequest{Key: k, Dest: d})
	}
	local := func(k *weirv1.ServiceKey, a, dev string) func(testing.TB, calls) (proto.Message, error) {
		return call(calls.AddLocalAddress, &weirv1.AddLocalAddressRequest{Key: k, Local: &weirv1.LocalAddress{Address: a, Device: dev}})
	}
	key := func(p weirv1.Protocol, a string, port uint32) *weirv1.Service {
		return &weirv1.Service{Scheduler: "rr", Key: &weirv1.ServiceKey{Protocol: p, Address: a, Port: port}}
	}
	const tcp = weirv1.Protocol_PROTOCOL_TCP
	_, err := neighbour(&weirv1.Neighbour{Address: "192.168.1.77", Lladdr: "02:00:00:00:00:77", Device: "lan"})(t, c)
	ok(t, err)
	stored := b.Spec()
	said := stored.Clone()
	for _, tc := range []struct {
		name   string
		call   func(testing.TB, calls) (proto.Message, error)
		code   connect.Code
		dpvs   spec.Code
		object string
		word   string
	}{
		{"address: none", address(nil), wrong, spec.Invalid, "address", "an address is missing"},
		{"address: no words", address(&weirv1.Address{Prefix: "ten", Device: "lan"}), wrong, spec.Invalid, "address", `"ten" is no address: want ADDRESS or ADDRESS/LENGTH`},
		{"address: length 33", address(&weirv1.Address{Prefix: "10.0.0.9/33", Device: "lan"}), wrong, spec.Invalid, "address", "10.0.0.9/33"},
		{"address: broadcast", address(&weirv1.Address{Prefix: "10.0.0.9/24", Device: "lan", Broadcast: "all"}), wrong, spec.Invalid, "address", `"all" is no address`},
		{"address: broadcast IPv6", address(&weirv1.Address{Prefix: "10.0.0.9/24", Device: "lan", Broadcast: "ff02::1"}), wrong, spec.Invalid, "address", "broadcast ff02::1 is not that of an IPv4 address"},
		{"address: scope", address(&weirv1.Address{Prefix: "10.0.0.9/24", Device: "lan", Scope: 99}), wrong, spec.Invalid, "address", "unknown scope 99"},
		{"address: scope below", address(&weirv1.Address{Prefix: "10.0.0.9/24", Device: "lan", Scope: -1}), wrong, spec.Invalid, "address", "unknown scope -1"},
		{"address: lifetime", address(&weirv1.Address{Prefix: "10.0.0.9/24", Device: "lan", ValidLft: 9}), not, spec.NotSupported, "address", "lifetimes"},
		{"address: IPv6 that is IPv4's", address(&weirv1.Address{Prefix: "::ffff:10.0.0.9/128", Device: "lan"}), wrong, spec.Invalid, "address", "write 10.0.0.9"},
		{"address: length 129", address(&weirv1.Address{Prefix: "2001:db8::1/129", Device: "lan"}), wrong, spec.Invalid, "address", "2001:db8::1/129"},
		{"address: with a zone", address(&weirv1.Address{Prefix: "fe80::9%lan", Device: "lan"}), wrong, spec.Invalid, "address", "fe80::9%lan"},
		{"address: IPv6 with broadcast", address(&weirv1.Address{Prefix: "2001:db8::1/64", Device: "lan", Broadcast: "10.0.0.255"}), wrong, spec.Invalid, "address", "IPv6 has no broadcast"},
		{"addresses: family 5", call(calls.FlushAddresses, &weirv1.FlushAddressesRequest{Device: "lan", Family: 5}), wrong, spec.Invalid, "address", "address family 5: must be 4, 6, or 0 for both"},
		{"routes: family 5", call(calls.FlushRoutes, &weirv1.FlushRoutesRequest{Device: "lan", Family: 5}), wrong, spec.Invalid, "address", "address family 5"},
		{"address: IPv4 in IPv6", address(&weirv1.Address{Prefix: "::ffff:10.0.0.9", Device: "lan"}), wrong, spec.Invalid, "address", "::ffff:10.0.0.9 is an IPv4-mapped address"},
		{"address: multicast", address(&weirv1.Address{Prefix: "224.0.0.1", Device: "lan"}), wrong, spec.Invalid, "address", "unicast"},
		{"address: no device", address(&weirv1.Address{Prefix: "10.0.0.9"}), wrong, spec.Invalid, "link", "no device specified"},
		{"address: unknown device", address(&weirv1.Address{Prefix: "10.0.0.9", Device: "eth0"}), missing, spec.NoDevice, "link", "no such device: eth0; the devices are lan, wan"},
		{"address: there", address(&weirv1.Address{Prefix: "10.0.0.1/16", Device: "wan"}), exists, spec.Exists, "address", "already exist: 10.0.0.1/24 on wan"},
		{"address: elsewhere", address(&weirv1.Address{Prefix: "10.0.0.1/16", Device: "lan"}), exists, spec.Exists, "address", "is an address of wan"},
		{"address: a real server's", address(&weirv1.Address{Prefix: "192.168.1.2/24", Device: "lan"}), wrong, spec.Invalid, "address", "192.168.1.2 is another machine's: a real server of service UDP 10.0.0.100:53"},
		{"address: a gateway's", address(&weirv1.Address{Prefix: "10.0.0.254/24", Device: "wan"}), wrong, spec.Invalid, "address", "the gateway of route 0.0.0.0/0"},
		{"address: a static neighbour's", address(&weirv1.Address{Prefix: "192.168.1.77", Device: "wan"}), wrong, spec.Invalid, "address", "a static neighbour of lan"},
		{"local address: a real server's", local(udpKey(53), "192.168.1.2", "lan"), wrong, spec.Invalid, "address", "192.168.1.2 is another machine's"},
		{"address: set, unbinding", call(calls.AddAddress, &weirv1.AddAddressRequest{Replace: true, Address: &weirv1.Address{Prefix: "192.168.1.200/24", Device: "lan"}}),
			busy, spec.Busy, "address", "is a local address of service UDP 10.0.0.100:53"},
		{"delete address: none", call(calls.DeleteAddress, &weirv1.DeleteAddressRequest{Device: "lan"}), wrong, spec.Invalid, "address", `"" is no address`},
		{"delete address: not there", call(calls.DeleteAddress, &weirv1.DeleteAddressRequest{Prefix: "10.9.9.9", Device: "wan"}), missing, spec.NotExists, "address", "not exist: 10.9.9.9 on wan"},
		{"delete address: elsewhere", call(calls.DeleteAddress, &weirv1.DeleteAddressRequest{Prefix: "10.0.0.1", Device: "lan"}), missing, spec.NotExists, "address", "it is on wan"},
		{"delete address: in use", call(calls.DeleteAddress, &weirv1.DeleteAddressRequest{Prefix: "192.168.1.200", Device: "lan"}), busy, spec.Busy, "address", "ipvsadm --del-laddr"},
		{"flush addresses: in use", call(calls.FlushAddresses, &weirv1.FlushAddressesRequest{Device: "lan"}), busy, spec.Busy, "address", "local address"},
		{"flush addresses: of nobody", call(calls.FlushAddresses, &weirv1.FlushAddressesRequest{}), wrong, spec.Invalid, "link", "no device"},
		{"list addresses: unknown device", call(calls.ListAddresses, &weirv1.ListAddressesRequest{Device: "eth0"}), missing, spec.NoDevice, "link", "eth0"},

		{"route: none", route(nil), wrong, spec.Invalid, "route", "a route is missing"},
		{"route: no words", route(&weirv1.Route{Prefix: "default", Device: "wan"}), wrong, spec.Invalid, "route", `"default"`},
		{"route: via", route(&weirv1.Route{Prefix: "9.0.0.0/8", Via: "there", Device: "wan"}), wrong, spec.Invalid, "route", `"there"`},
		{"route: src", route(&weirv1.Route{Prefix: "9.0.0.0/8", Src: "me", Device: "wan"}), wrong, spec.Invalid, "route", `"me"`},
		{"route: scope", route(&weirv1.Route{Prefix: "9.0.0.0/8", Device: "wan", Scope: 7}), wrong, spec.Invalid, "address", "unknown scope 7"},
		{"route: bits behind", route(&weirv1.Route{Prefix: "9.0.0.1/8", Device: "wan"}), wrong, spec.Invalid, "route", "9.0.0.0/8 would be one"},
		{"route: mtu", route(&weirv1.Route{Prefix: "9.0.0.0/8", Device: "wan", Mtu: 67}), wrong, spec.Invalid, "route", "mtu 67: must be 68 to 65535"},
		{"route: great mtu", route(&weirv1.Route{Prefix: "9.0.0.0/8", Device: "wan", Mtu: 1 << 31}), wrong, spec.Invalid, "route", "mtu 2147483648"},
		{"route: host scope on a net", route(&weirv1.Route{Prefix: "9.0.0.0/8", Device: "wan", Scope: weirv1.Scope_SCOPE_HOST}), wrong, spec.Invalid, "route", "prefix length"},
		{"route: IPv6 by IPv4", route(&weirv1.Route{Prefix: "2001:db8::/32", Via: "10.0.0.254", Device: "wan"}), wrong, spec.Invalid, "route", "must be of one family"},
		{"route: gateway IPv6", route(&weirv1.Route{Prefix: "9.0.0.0/8", Via: "fe80::1", Device: "wan"}), wrong, spec.Invalid, "route", "must be of one family"},
		{"route: gateway multicast", route(&weirv1.Route{Prefix: "9.0.0.0/8", Via: "224.0.0.1", Device: "wan"}), wrong, spec.Invalid, "route", "224.0.0.1"},
		{"route: gateway ourselves", route(&weirv1.Route{Prefix: "9.0.0.0/8", Via: "10.0.0.1", Device: "wan"}), wrong, spec.Invalid, "route", "is an address of this box"},
		{"route: there", route(&weirv1.Route{Prefix: "0.0.0.0/0", Via: "10.0.0.9", Device: "lan"}), exists, spec.Exists, "route", "already exist"},
		{"route: follows from an address", route(&weirv1.Route{Prefix: "10.0.0.0/24", Device: "wan"}), exists, spec.Exists, "route", "follows from the address 10.0.0.1/24"},
		{"delete route: follows from an address", call(calls.DeleteRoute, &weirv1.DeleteRouteRequest{Route: &weirv1.Route{Prefix: "10.0.0.0/24", Device: "wan"}}), wrong, spec.Invalid, "route", "dpip addr del"},
		{"delete route: not there", call(calls.DeleteRoute, &weirv1.DeleteRouteRequest{Route: &weirv1.Route{Prefix: "9.0.0.0/8", Device: "wan"}}), missing, spec.NotExists, "route", "not exist: 9.0.0.0/8 dev wan"},
		{"delete route: another gateway", call(calls.DeleteRoute, &weirv1.DeleteRouteRequest{Route: &weirv1.Route{Prefix: "0.0.0.0/0", Via: "10.0.0.9", Device: "wan"}}), missing, spec.NotExists, "route", "not exist"},
		{"delete route: none", call(calls.DeleteRoute, &weirv1.DeleteRouteRequest{}), wrong, spec.Invalid, "route", "missing"},
		{"flush routes: unknown device", call(calls.FlushRoutes, &weirv1.FlushRoutesRequest{Device: "eth0"}), missing, spec.NoDevice, "link", "eth0"},
		{"list routes: unknown device", call(calls.ListRoutes, &weirv1.ListRoutesRequest{Device: "eth0"}), missing, spec.NoDevice, "link", "eth0"},

		{"neighbour: none", neighbour(nil), wrong, spec.Invalid, "neighbour", "missing"},
		{"neighbour: no address", neighbour(&weirv1.Neighbour{Lladdr: "02:00:00:00:00:01", Device: "lan"}), wrong, spec.Invalid, "neighbour", "an address is missing"},
		{"neighbour: no MAC", neighbour(&weirv1.Neighbour{Address: "192.168.1.9", Lladdr: "zz", Device: "lan"}), wrong, spec.Invalid, "neighbour", "want aa:bb:cc:dd:ee:ff"},
		{"neighbour: long MAC", neighbour(&weirv1.Neighbour{Address: "192.168.1.9", Lladdr: "02:00:00:00:00:01:02:03", Device: "lan"}), wrong, spec.Invalid, "neighbour", "no MAC address"},
		{"neighbour: everybody", neighbour(&weirv1.Neighbour{Address: "192.168.1.9", Lladdr: "ff:ff:ff:ff:ff:ff", Device: "lan"}), wrong, spec.Invalid, "neighbour", "one station"},
		{"neighbour: nobody", neighbour(&weirv1.Neighbour{Address: "192.168.1.9", Lladdr: "00:00:00:00:00:00", Device: "lan"}), wrong, spec.Invalid, "neighbour", "one station"},
		{"neighbour: ourselves", neighbour(&weirv1.Neighbour{Address: "192.168.1.1", Lladdr: "02:00:00:00:00:01", Device: "lan"}), wrong, spec.Invalid, "neighbour", "is an address of this box"},
		{"neighbour: multicast", neighbour(&weirv1.Neighbour{Address: "224.0.0.1", Lladdr: "02:00:00:00:00:01", Device: "lan"}), wrong, spec.Invalid, "neighbour", "224.0.0.1"},
		{"neighbour: IPv6 group", neighbour(&weirv1.Neighbour{Address: "ff02::1", Lladdr: "02:00:00:00:00:01", Device: "lan"}), wrong, spec.Invalid, "neighbour", "ff02::1"},
		{"neighbour: there", neighbour(&weirv1.Neighbour{Address: "192.168.1.2", Lladdr: "02:00:00:00:00:01", Device: "lan"}), exists, spec.Exists, "neighbour", "already exist"},
		{"delete neighbour: not there", call(calls.DeleteNeighbour, &weirv1.DeleteNeighbourRequest{Address: "192.168.1.9", Device: "lan"}), missing, spec.NotExists, "neighbour", "not exist: 192.168.1.9 dev lan"},
		{"delete neighbour: no address", call(calls.DeleteNeighbour, &weirv1.DeleteNeighbourRequest{Device: "lan"}), wrong, spec.Invalid, "neighbour", "missing"},
		{"list neighbours: unknown device", call(calls.ListNeighbours, &weirv1.ListNeighboursRequest{Device: "eth0"}), missing, spec.NoDevice, "link", "eth0"},

		{"link: unknown", call(calls.SetLink, &weirv1.SetLinkRequest{Device: "eth0", Item: "promisc", Value: "on"}), missing, spec.NoDevice, "link", "eth0"},
		{"link: later", call(calls.SetLink, &weirv1.SetLinkRequest{Device: "lan", Item: "forward2kni", Value: "on"}), not, spec.NotSupported, "link", "forward2kni is not supported yet"},
		{"link: no item", call(calls.SetLink, &weirv1.SetLinkRequest{Device: "lan"}), wrong, spec.Invalid, "link", `"" is no switch`},
		{"link: no value", call(calls.SetLink, &weirv1.SetLinkRequest{Device: "lan", Item: "link", Value: "on"}), wrong, spec.Invalid, "link", "link takes up or down"},
		{"list links: unknown", call(calls.ListLinks, &weirv1.ListLinksRequest{Device: "eth0"}), missing, spec.NoDevice, "link", "eth0"},
		{"worker: unknown", call(calls.SetWorker, &weirv1.SetWorkerRequest{Name: "cpu7"}), missing, spec.NotExists, "worker", "no such worker: cpu7"},
		{"worker: the master", call(calls.SetWorker, &weirv1.SetWorkerRequest{Name: "cpu0"}), missing, spec.NotExists, "worker", "no such worker: cpu0"},
		{"worker: runs", call(calls.SetWorker, &weirv1.SetWorkerRequest{Name: "cpu1", Run: true}), exists, spec.Exists, "worker", "running already"},

		{"service: none", service(nil), wrong, spec.Invalid, "service", "a service is missing"},
		{"service: no key", service(&weirv1.Service{Scheduler: "rr"}), wrong, spec.Invalid, "service", "a service is missing"},
		{"service: no protocol", service(key(0, "10.0.0.100", 80)), wrong, spec.Invalid, "service", "protocol 0"},
		{"service: a protocol beyond a byte", service(key(262, "10.0.0.100", 80)), wrong, spec.Invalid, "service", "protocol 262"},
		{"service: ICMP", service(key(weirv1.Protocol_PROTOCOL_ICMP, "10.0.0.100", 80)), not, spec.NotSupported, "service", "ICMP services are not supported yet"},
		{"service: no address", service(key(tcp, "", 80)), wrong, spec.Invalid, "service", "missing"},
		{"service: link-local", service(key(tcp, "fe80::1", 80)), wrong, spec.Invalid, "service", "fe80::1 can't be a virtual address"},
		{"service: mask of IPv6 for IPv4", service(&weirv1.Service{Scheduler: "rr", Key: tcpKey(80), Persistent: 9, PersistentMask: "64"}), wrong, spec.Invalid, "service", "persistence mask 64"},
		{"service: mask of 129 bits", service(&weirv1.Service{Scheduler: "rr", Key: &weirv1.ServiceKey{Protocol: tcp, Address: "2001:db8::1", Port: 80}, Persistent: 9, PersistentMask: "129"}), wrong, spec.Invalid, "service", "1 to 128"},
		{"service: 0.0.0.0", service(key(tcp, "0.0.0.0", 80)), wrong, spec.Invalid, "service", "can't be a virtual address"},
		{"service: port 0", service(key(tcp, "10.0.0.100", 0)), wrong, spec.Invalid, "service", "zero port"},
		{"service: port 65536", service(key(tcp, "10.0.0.100", 65536)), wrong, spec.Invalid, "service", "port 65536: must be 0 to 65535"},
		{"service: there", service(&weirv1.Service{Scheduler: "rr", Key: udpKey(53)}), exists, spec.Exists, "service", "service already exists: UDP 10.0.0.100:53"},
		{"service: scheduler", service(&weirv1.Service{Scheduler: "dice", Key: tcpKey(80)}), missing, spec.NotExists, "scheduler", `scheduler "dice" is not known`},
		{"service: hash target", service(&weirv1.Service{Scheduler: "mh", HashTarget: "sip", Key: tcpKey(80)}), wrong, spec.Invalid, "service", "leave out --hash-target sip"},
		{"service: QUIC over TCP", service(&weirv1.Service{Scheduler: "mh", Quic: true, Key: tcpKey(80)}), wrong, spec.Invalid, "service", "leave --quic out"},
		{"service: persistence", service(&weirv1.Service{Scheduler: "rr", Key: tcpKey(80), Persistent: 9, PersistentMask: "1.2.3.4"}), wrong, spec.Invalid, "service", "persistence mask 1.2.3.4"},
		{"service: persistence engine", service(&weirv1.Service{Scheduler: "rr", Key: tcpKey(80), Pe: "sip"}), not, spec.NotSupported, "service", "--pe"},
		{"service: persistence mask", service(&weirv1.Service{Scheduler: "rr", Key: tcpKey(80), PersistentMask: "x"}), wrong, spec.Invalid, "service", `"x" is no address`},
		{"service: timeout", service(&weirv1.Service{Scheduler: "rr", Key: tcpKey(80), ConnTimeout: 31536000}), wrong, spec.Invalid, "service", "conn-timeout 31536000"},
		{"service: unknown proxy protocol", service(&weirv1.Service{Scheduler: "rr", Key: tcpKey(80), ProxyProtocol: "v9"}), wrong, spec.Invalid, "service", `PROXY protocol "v9" is not known: use v1, v2, v1-insecure, v2-insecure`},
		{"service: proxy protocol v1 for UDP", service(&weirv1.Service{Scheduler: "rr", Key: udpKey(80), ProxyProtocol: "v1"}), wrong, spec.Invalid, "service", "PROXY protocol v1 can't carry UDP: use v2"},
		{"service: unknown UOA", service(&weirv1.Service{Scheduler: "rr", Key: udpKey(80), Uoa: "x"}), wrong, spec.Invalid, "service", `UOA "x" is not known: use ipo, opp`},
		{"service: UOA for TCP", service(&weirv1.Service{Scheduler: "rr", Key: tcpKey(80), Uoa: "opp"}), wrong, spec.Invalid, "service", "UOA is for UDP services alone: leave --uoa out (TCP has TOA, without being asked)"},
		{"service: TOA for UDP", service(&weirv1.Service{Scheduler: "rr", Key: udpKey(80), NoToa: true}), wrong, spec.Invalid, "service", "TOA is for TCP services alone: leave --toa out (UDP has --uoa)"},
		{"service: UOA and proxy protocol", service(&weirv1.Service{Scheduler: "rr", Key: udpKey(80), Uoa: "opp", ProxyProtocol: "v2"}), wrong, spec.Invalid, "service", "UOA and the PROXY protocol would both tell the client's address: leave out --uoa opp or --proxy-protocol v2"},
		{"edit service: UOA and proxy protocol", call(calls.EditService, &weirv1.EditServiceRequest{Service: &weirv1.Service{Scheduler: "rr", Key: udpKey(53), Uoa: "ipo", ProxyProtocol: "v2-insecure"}}), wrong, spec.Invalid, "service", "leave out --uoa ipo or --proxy-protocol v2-insecure"},
		{"edit service: not there", call(calls.EditService, &weirv1.EditServiceRequest{Service: &weirv1.Service{Scheduler: "rr", Key: tcpKey(80)}}), missing, spec.NotExists, "service", "no such service: TCP 10.0.0.100:80"},
		{"edit service: none", call(calls.EditService, &weirv1.EditServiceRequest{}), wrong, spec.Invalid, "service", "missing"},
		{"delete service: not there", call(calls.DeleteService, &weirv1.DeleteServiceRequest{Key: tcpKey(53)}), missing, spec.NotExists, "service", "no such service"},
		{"delete service: none", call(calls.DeleteService, &weirv1.DeleteServiceRequest{}), wrong, spec.Invalid, "service", "missing"},
		{"list services: not there", call(calls.ListServices, &weirv1.ListServicesRequest{Key: tcpKey(53)}), missing, spec.NotExists, "service", "no such service"},
		{"list services: no protocol", call(calls.ListServices, &weirv1.ListServicesRequest{Key: &weirv1.ServiceKey{}}), wrong, spec.Invalid, "service", "protocol 0"},
		{"zero: not there", call(calls.ZeroCounters, &weirv1.ZeroCountersRequest{Key: tcpKey(53)}), missing, spec.NotExists, "service", "no such service"},

		{"real server: none", dest(udpKey(53), nil), wrong, spec.Invalid, "dest", "a real server is missing"},
		{"real server: of none", dest(nil, fullNAT("192.168.1.3", 53, 1)), wrong, spec.Invalid, "service", "a service is missing"},
		{"real server: of no service", dest(tcpKey(53), fullNAT("192.168.1.3", 53, 1)), missing, spec.NotExists, "service", "no such service"},
		{"real server: no address", dest(udpKey(53), fullNAT("", 53, 1)), wrong, spec.Invalid, "dest", "missing"},
		{"real server: port 0", dest(udpKey(53), fullNAT("192.168.1.3", 0, 1)), wrong, spec.Invalid, "dest", "needs a port"},
		{"real server: port 65536", dest(udpKey(53), fullNAT("192.168.1.3", 65536, 1)), wrong, spec.Invalid, "dest", "port 65536"},
		{"real server: weight", dest(udpKey(53), fullNAT("192.168.1.3", 53, 65536)), wrong, spec.Invalid, "dest", "weight 65536"},
		{"real server: mode", dest(udpKey(53), &weirv1.Dest{Address: "192.168.1.3", Port: 53, Forward: 6}), wrong, spec.Invalid, "dest", "forwarding mode 6 is unknown"},
		{"real server: mode below", dest(udpKey(53), &weirv1.Dest{Address: "192.168.1.3", Port: 53, Forward: -1}), wrong, spec.Invalid, "dest", "forwarding mode -1"},
		{"real server: SNAT", dest(udpKey(53), &weirv1.Dest{Address: "192.168.1.3", Port: 53, Forward: weirv1.Forward_FORWARD_SNAT}), wrong, spec.Invalid, "dest", "SNAT (-J) is for match services"},
		{"real server: thresholds", dest(udpKey(53), &weirv1.Dest{Address: "192.168.1.3", Port: 53, Forward: weirv1.Forward_FORWARD_FULLNAT, UThreshold: 3, LThreshold: 4}), wrong, spec.Invalid, "dest", "l-threshold 4"},
		{"real server: there", dest(udpKey(53), fullNAT("192.168.1.2", 53, 1)), exists, spec.Exists, "dest", "already exists: 192.168.1.2:53"},
		{"real server: ourselves", dest(udpKey(53), fullNAT("10.0.0.1", 53, 1)), wrong, spec.Invalid, "dest", "is an address of this box"},
		{"edit real server: not there", call(calls.EditDest, &weirv1.EditDestRequest{Key: udpKey(53), Dest: fullNAT("192.168.1.3", 53, 1)}), missing, spec.NotExists, "dest", "no such destination"},
		{"delete real server: not there", call(calls.DeleteDest, &weirv1.DeleteDestRequest{Key: udpKey(53), Dest: fullNAT("192.168.1.3", 53, 1)}), missing, spec.NotExists, "dest", "no such destination"},

		{"local address: none", call(calls.AddLocalAddress, &weirv1.AddLocalAddressRequest{Key: udpKey(53)}), wrong, spec.Invalid, "laddr", "a local address is missing"},
		{"local address: no address", local(udpKey(53), "", "lan"), wrong, spec.Invalid, "laddr", "missing"},
		{"local address: of no service", local(tcpKey(53), "192.168.1.201", "lan"), missing, spec.NotExists, "service", "no such service"},
		{"local address: no device", local(udpKey(53), "192.168.1.201", ""), wrong, spec.Invalid, "link", "no device"},
		{"local address: IPv6", local(udpKey(53), "fe80::1", "lan"), wrong, spec.Invalid, "laddr", "fe80::1 can't be a local address"},
		{"local address: bound", local(udpKey(53), "192.168.1.200", "lan"), exists, spec.Exists, "laddr", "already exists"},
		{"local address: elsewhere", local(udpKey(53), "10.0.0.1", "lan"), exists, spec.Exists, "laddr", "is an address of wan, not of lan"},
		{"delete local address: not there", call(calls.DeleteLocalAddress, &weirv1.DeleteLocalAddressRequest{Key: udpKey(53), Local: &weirv1.LocalAddress{Address: "192.168.1.201", Device: "lan"}}), missing, spec.NotExists, "laddr", "no such local address"},
		{"delete local address: other device", call(calls.DeleteLocalAddress, &weirv1.DeleteLocalAddressRequest{Key: udpKey(53), Local: &weirv1.LocalAddress{Address: "192.168.1.200", Device: "wan"}}), missing, spec.NotExists, "laddr", "is on lan, not on wan"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := tc.call(t, c)
			refused(t, err, tc.code, tc.dpvs, tc.object, tc.word)
			if b.Spec() != stored || !reflect.DeepEqual(stored, said) {
				t.Errorf("the refusal changed the state")
				stored = b.Spec()
				said = stored.Clone()
			}
		})
	}
}
