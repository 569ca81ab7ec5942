package spec

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

var (
	vip     = netip.MustParseAddr("10.0.0.100")
	web     = ServiceKey{Proto: TCP, Virtual: netip.AddrPortFrom(vip, 80)}
	dns     = ServiceKey{Proto: UDP, Virtual: netip.AddrPortFrom(vip, 53)}
	none    = ServiceKey{Proto: TCP, Virtual: netip.AddrPortFrom(vip, 443)}
	outward = ServiceKey{Proto: TCP, Match: Match{Family: 4, Out: "wan"}}
	rs1     = netip.MustParseAddrPort("192.168.1.2:80")
	lip     = netip.MustParseAddr("192.168.1.200")
	lip2    = netip.MustParseAddr("192.168.1.201")
	gw      = netip.MustParseAddr("10.0.0.254")
	mac     = [6]byte{2, 0, 0, 0, 0, 1}
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// base is two-arm full-NAT: wan and lan, a web service with one real server and
// one local address.
func base(t testing.TB) *Spec {
	t.Helper()
	s := &Spec{Ports: []string{"lan", "wan"}, Links: map[string]Link{}}
	for _, err := range []error{
		s.AddAddress(Address{Port: "lan", Prefix: prefix("192.168.1.1/24")}, false),
		s.AddAddress(Address{Port: "wan", Prefix: prefix("10.0.0.1/24")}, false),
		s.AddAddress(Address{Port: "wan", Prefix: netip.PrefixFrom(vip, 32)}, false),
		s.AddRoute(Route{Prefix: prefix("0.0.0.0/0"), Port: "wan", Via: gw}),
		s.AddNeighbour(Neighbour{Addr: gw, Port: "wan", MAC: mac}),
		s.AddService(Service{ServiceKey: web, Scheduler: "rr"}),
		s.AddDest(web, Dest{Addr: rs1, Forward: FullNAT, Weight: 1}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if existed, err := s.AddLocal(web, LocalAddress{lip, "lan"}); err != nil || existed {
		t.Fatalf("local address existed: %v, %v", existed, err)
	}
	return s
}

// sctpDest adds a real server to an SCTP service.
func sctpDest(mode Forward, to string) func(*Spec) error {
	return func(s *Spec) error {
		k := ServiceKey{Proto: SCTP, Virtual: netip.MustParseAddrPort("10.0.0.100:80")}
		if err := s.AddService(Service{ServiceKey: k, Scheduler: "rr"}); err != nil {
			return err
		}
		return s.AddDest(k, Dest{Addr: netip.MustParseAddrPort(to), Forward: mode})
	}
}

// TestSCTPModes: what SCTP can do it may.
func TestSCTPModes(t *testing.T) {
	for _, mode := range []Forward{FullNAT, Masq, DirectRoute, Tunnel} {
		s := base(t)
		if err := sctpDest(mode, "192.168.1.9:80")(s); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
	}
	if err := sctpDest(Tunnel, "[2001:db8::2]:80")(base(t)); err != nil {
		t.Errorf("IPv4 in IPv6: %v", err)
	}
	if err := base(t).AddService(Service{ServiceKey: ServiceKey{Proto: SCTP, Match: Match{Family: 4}}, Scheduler: "rr"}); err != nil {
		t.Errorf("by match: %v", err)
	}
}

// TestRefusals: each has its code, what it is about, and a sentence that names
// the culprit. The state that the edit was made on a copy of stays as it was.
func TestRefusals(t *testing.T) {
	v6 := netip.MustParseAddr("2001:db8::1")
	any4 := netip.IPv4Unspecified()
	service := func(edit func(*Service)) func(*Spec) error {
		return func(s *Spec) error {
			svc := Service{ServiceKey: none, Scheduler: "rr"}
			edit(&svc)
			return s.AddService(svc)
		}
	}
	dest := func(edit func(*Dest)) func(*Spec) error {
		return func(s *Spec) error {
			d := Dest{Addr: netip.MustParseAddrPort("192.168.1.3:80"), Forward: FullNAT, Weight: 1}
			edit(&d)
			return s.AddDest(web, d)
		}
	}
	addr := func(a netip.Addr) func(*Spec) error {
		return func(s *Spec) error {
			return s.AddAddress(Address{Port: "lan", Prefix: netip.PrefixFrom(a, a.BitLen())}, false)
		}
	}
	route := func(edit func(*Route)) func(*Spec) error {
		return func(s *Spec) error {
			r := Route{Prefix: prefix("172.16.0.0/16"), Port: "lan"}
			edit(&r)
			return s.AddRoute(r)
		}
	}
	for _, row := range []struct {
		name   string
		edit   func(*Spec) error
		code   Code
		object string
		says   string
	}{
		{"no device", addrOn("", "192.168.1.9/24"), Invalid, "link", "one of lan, wan"},
		{"unknown device", addrOn("eth9", "192.168.1.9/24"), NoDevice, "link", "eth9"},
		{"address 0", addr(any4), Invalid, "address", "0.0.0.0"},
		{"multicast address", addr(netip.MustParseAddr("224.0.0.1")), Invalid, "address", "224.0.0.1"},
		{"loopback address", addr(netip.MustParseAddr("127.0.0.1")), Invalid, "address", "127.0.0.1"},
		{"broadcast address", addr(netip.MustParseAddr("255.255.255.255")), Invalid, "address", "255.255.255.255"},
		{"address twice", addrOn("wan", "10.0.0.100/32"), Exists, "address", "10.0.0.100"},
		{"address on two devices", addrOn("lan", "10.0.0.100/32"), Exists, "address", "wan"},
		{"local address stops being one", func(s *Spec) error {
			return s.AddAddress(Address{Port: "lan", Prefix: netip.PrefixFrom(lip, 32)}, true)
		}, Busy, "address", "TCP 10.0.0.100:80"},
		{"delete address that is not there", func(s *Spec) error { return s.DeleteAddress(prefix("10.0.0.9/24"), "wan") }, NotExists, "address", "10.0.0.9"},
		{"delete address of another length", func(s *Spec) error { return s.DeleteAddress(prefix("10.0.0.100/24"), "wan") }, NotExists, "address", "10.0.0.100/24 on wan; it is there as 10.0.0.100/32"},
		{"delete address elsewhere", func(s *Spec) error { return s.DeleteAddress(prefix("10.0.0.1/24"), "lan") }, NotExists, "address", "it is on wan"},
		{"delete address on no device", func(s *Spec) error { return s.DeleteAddress(prefix("10.0.0.1/24"), "x") }, NoDevice, "link", "x"},
		{"delete local address in use", func(s *Spec) error { return s.DeleteAddress(netip.PrefixFrom(lip, 32), "lan") }, Busy, "address", "--del-laddr"},
		{"flush local address in use", func(s *Spec) error { return s.FlushAddresses("lan") }, Busy, "address", "192.168.1.200"},

		{"route on no device", route(func(r *Route) { r.Port = "x" }), NoDevice, "link", "x"},
		{"IPv6 gateway", route(func(r *Route) { r.Via = v6 }), Invalid, "route", "172.16.0.0/16 via 2001:db8::1: gateway and prefix must be of one family"},
		{"IPv6 source", route(func(r *Route) { r.Src = v6 }), Invalid, "route", "172.16.0.0/16 src 2001:db8::1: source and prefix must be of one family"},
		{"route with host bits", route(func(r *Route) { r.Prefix = prefix("172.16.0.1/16") }), Invalid, "route", "172.16.0.0/16"},
		{"kni_host of a net", route(func(r *Route) { r.Scope = ScopeKNIHost }), Invalid, "route", "32"},
		{"MTU too small", route(func(r *Route) { r.MTU = 67 }), Invalid, "route", "68"},
		{"MTU too large", route(func(r *Route) { r.MTU = 65536 }), Invalid, "route", "65535"},
		{"own address as gateway", route(func(r *Route) { r.Via = netip.MustParseAddr("10.0.0.1") }), Invalid, "route", "10.0.0.1"},
		{"route twice", func(s *Spec) error { return s.AddRoute(Route{Prefix: prefix("0.0.0.0/0"), Port: "wan", Via: gw}) }, Exists, "route", "0.0.0.0/0"},
		{"route that is derived", route(func(r *Route) { r.Prefix = prefix("192.168.1.0/24") }), Exists, "route", "192.168.1.1/24"},
		{"delete route that is not there", func(s *Spec) error { return s.DeleteRoute(Route{Prefix: prefix("9.0.0.0/8"), Port: "wan"}) }, NotExists, "route", "9.0.0.0/8"},
		{"delete route by another gateway", func(s *Spec) error {
			return s.DeleteRoute(Route{Prefix: prefix("0.0.0.0/0"), Port: "wan", Via: netip.MustParseAddr("10.0.0.253")})
		}, NotExists, "route", "0.0.0.0/0"},
		{"delete route that is derived", func(s *Spec) error { return s.DeleteRoute(Route{Prefix: prefix("192.168.1.0/24"), Port: "lan"}) }, Invalid, "route", "192.168.1.1/24"},
		{"flush routes of no device", func(s *Spec) error { return s.FlushRoutes("x") }, NoDevice, "link", "x"},

		{"neighbour on no device", func(s *Spec) error { return s.AddNeighbour(Neighbour{gw, "x", mac}) }, NoDevice, "link", "x"},
		{"neighbour at a group", func(s *Spec) error {
			return s.AddNeighbour(Neighbour{netip.MustParseAddr("10.0.0.9"), "wan", [6]byte{1}})
		}, Invalid, "neighbour", "10.0.0.9"},
		{"neighbour at no MAC", func(s *Spec) error {
			return s.AddNeighbour(Neighbour{netip.MustParseAddr("10.0.0.9"), "wan", [6]byte{}})
		}, Invalid, "neighbour", "10.0.0.9"},
		{"ourselves as neighbour", func(s *Spec) error { return s.AddNeighbour(Neighbour{vip, "wan", mac}) }, Invalid, "neighbour", "10.0.0.100"},
		{"neighbour twice", func(s *Spec) error { return s.AddNeighbour(Neighbour{gw, "wan", mac}) }, Exists, "neighbour", "10.0.0.254"},

		{"switch on no device", func(s *Spec) error { return s.SetLink("x", "promisc", "on") }, NoDevice, "link", "x"},
		{"unknown switch", func(s *Spec) error { return s.SetLink("wan", "colour", "on") }, Invalid, "link", "colour"},
		{"switch half on", func(s *Spec) error { return s.SetLink("wan", "promisc", "half") }, Invalid, "link", "half"},
		{"link on", func(s *Spec) error { return s.SetLink("wan", "link", "on") }, Invalid, "link", "up or down"},
		{"switch of later", func(s *Spec) error { return s.SetLink("wan", "forward2kni", "on") }, NotSupported, "link", "forward2kni"},

		{"service twice", func(s *Spec) error { return s.AddService(Service{ServiceKey: web, Scheduler: "rr"}) }, Exists, "service", "TCP 10.0.0.100:80"},
		{"service on 0", service(func(v *Service) { v.Virtual = netip.AddrPortFrom(any4, 80) }), Invalid, "service", "0.0.0.0"},
		{"service on a group", service(func(v *Service) { v.Virtual = netip.MustParseAddrPort("224.0.0.1:80") }), Invalid, "service", "224.0.0.1"},
		{"service on loopback", service(func(v *Service) { v.Virtual = netip.MustParseAddrPort("127.0.0.1:80") }), Invalid, "service", "127.0.0.1"},
		{"service of a protocol", service(func(v *Service) { v.Proto = ICMP }), NotSupported, "service", "ICMP services are not supported yet: use TCP (-t), UDP (-u) or SCTP (--sctp-service)"},
		{"SCTP with PROXY", service(func(v *Service) { v.Proto, v.ProxyProtocol = SCTP, "v2" }), Invalid, "service", "SCTP has no way to tell the client's address"},
		{"SCTP with UOA", service(func(v *Service) { v.Proto, v.UOA = SCTP, "ipo" }), Invalid, "service", "SCTP has no way to tell the client's address"},
		{"SCTP without TOA", service(func(v *Service) { v.Proto, v.NoTOA = SCTP, true }), Invalid, "service", "use NAT (-m), DR (-g) or tunnel (-i) where the real server must see it"},
		{"one packet of SCTP", service(func(v *Service) { v.Proto, v.OnePacket = SCTP, true }), Invalid, "service", "UDP services alone: leave --ops out"},
		{"QUIC over SCTP", service(func(v *Service) { v.Proto, v.QUIC = SCTP, true }), Invalid, "service", "leave --quic out"},
		{"SCTP of all ports", service(func(v *Service) { v.Proto, v.Virtual = SCTP, netip.AddrPortFrom(vip, 0) }), Invalid, "service", "PORT"},
		{"SCTP to another family by full-NAT", sctpDest(FullNAT, "[2001:db8::2]:80"), NotSupported, "dest", "2001:db8::2: SCTP does not become another family's: the VIP, 10.0.0.100, and a full-NAT real server must both be IPv4 or both IPv6"},
		{"SCTP to another family by NAT", sctpDest(Masq, "[2001:db8::2]:80"), Invalid, "dest", "with Masq the real server takes packets for the VIP"},
		{"service of all ports", service(func(v *Service) { v.Virtual = netip.AddrPortFrom(vip, 0) }), Invalid, "service", "PORT"},
		{"unknown scheduler", service(func(v *Service) { v.Scheduler = "best" }), NotExists, "scheduler", `"best" is not known: use rr, wrr, wlc, lc, sed, nq, fo, sh, dh, mh, conhash`},
		{"no scheduler", service(func(v *Service) { v.Scheduler = "" }), NotExists, "scheduler", "rr"},
		{"persistent for ever", service(func(v *Service) { v.Persistent = MaxPersistent + 1 }), Invalid, "service", "must be 1 to 2160000 seconds"},
		{"mask without persistence", service(func(v *Service) { v.PersistentMask = netip.MustParseAddr("255.255.255.0") }), Invalid, "service", "give -p, or leave -M out"},
		{"mask with a hole", service(func(v *Service) { v.Persistent, v.PersistentMask = 5, netip.MustParseAddr("255.0.255.0") }), Invalid, "service", "persistence mask 255.0.255.0: its ones must come before its zeros"},
		{"mask of IPv6", service(func(v *Service) { v.Persistent, v.PersistentMask = 5, v6 }), Invalid, "service", "persistence mask 2001:db8::1: that of an IPv4 service is one like 255.255.255.0"},
		{"persistent QUIC", service(func(v *Service) { v.Proto, v.Persistent, v.QUIC = UDP, 5, true }), Invalid, "service", "leave out --quic or -p"},
		{"persistence engine", service(func(v *Service) { v.PE = "sip" }), NotSupported, "service", "--pe"},
		{"one packet of TCP", service(func(v *Service) { v.OnePacket = true }), Invalid, "service", "UDP services alone: leave --ops out"},
		{"one packet, persistent", service(func(v *Service) { v.Proto, v.OnePacket, v.Persistent = UDP, true, 5 }), Invalid, "service", "leave out --ops or -p"},
		{"one packet with UOA", service(func(v *Service) { v.Proto, v.OnePacket, v.UOA = UDP, true, "opp" }), NotSupported, "service", "leave out --ops or --uoa opp"},
		{"one packet with PROXY", service(func(v *Service) { v.Proto, v.OnePacket, v.ProxyProtocol = UDP, true, "v2" }), NotSupported, "service", "--proxy-protocol v2"},
		{"syn proxy", service(func(v *Service) { v.SynProxy = true }), NotSupported, "service", "-j"},
		{"hash target of rr", service(func(v *Service) { v.HashTarget = "sip" }), Invalid, "service", "leave out --hash-target sip"},
		{"unknown hash target", service(func(v *Service) { v.Scheduler, v.HashTarget = "conhash", "dip" }), Invalid, "service", `hash target "dip" is not known: use sip, qid`},
		{"connection id of TCP", service(func(v *Service) { v.Scheduler, v.HashTarget = "conhash", "qid" }), Invalid, "service", "UDP services alone: use sip"},
		{"QUIC over TCP", service(func(v *Service) { v.QUIC = true }), Invalid, "service", "leave --quic out"},
		{"dest check", service(func(v *Service) { v.DestCheck = []string{"x"} }), Invalid, "service", `dest-check "x": want default, or DOWN,UP,WAITs,MIN-MAXs`},
		{"dest check that asks", service(func(v *Service) { v.DestCheck = []string{"ping"} }), NotSupported, "service", "dest-check ping needs a health checker"},
		{"two dest checks", service(func(v *Service) { v.DestCheck = []string{"default", "1,3s"} }), Invalid, "service", "dest-check 1,3s: there is one passive check already"},
		{"dest check of no failures", service(func(v *Service) { v.DestCheck = []string{"0,3s"} }), Invalid, "service", `"0,3s"`},
		{"dest check of many failures", service(func(v *Service) { v.DestCheck = []string{"256,3s"} }), Invalid, "service", `"256,3s"`},
		{"dest check without unit", service(func(v *Service) { v.DestCheck = []string{"1,3"} }), Invalid, "service", `"1,3"`},
		{"dest check backwards", service(func(v *Service) { v.DestCheck = []string{"1,1,3s,6-5s"} }), Invalid, "service", `"1,1,3s,6-5s"`},
		{"dest check for days", service(func(v *Service) { v.DestCheck = []string{"1,1,3s,6-86401s"} }), Invalid, "service", "seconds 1 to 86400"},
		{"timeout of over a year", service(func(v *Service) { v.ConnTimeout = 31536000 }), Invalid, "service", "31536000"},
		{"unknown proxy protocol", service(func(v *Service) { v.ProxyProtocol = "v3" }), Invalid, "service", `PROXY protocol "v3" is not known: use v1, v2, v1-insecure, v2-insecure`},
		{"proxy protocol disable", service(func(v *Service) { v.ProxyProtocol = "disable" }), Invalid, "service", `PROXY protocol "disable" is not known`},
		{"unknown UOA", service(func(v *Service) { v.Proto, v.UOA = UDP, "icmp" }), Invalid, "service", `UOA "icmp" is not known: use ipo, opp`},
		{"UDP in v1", service(func(v *Service) { v.Proto, v.ProxyProtocol = UDP, "v1" }), Invalid, "service", "PROXY protocol v1 can't carry UDP: use v2"},
		{"UDP in v1-insecure", service(func(v *Service) { v.Proto, v.ProxyProtocol = UDP, "v1-insecure" }), Invalid, "service", "PROXY protocol v1-insecure can't carry UDP: use v2-insecure"},
		{"UDP without TOA", service(func(v *Service) { v.Proto, v.NoTOA = UDP, true }), Invalid, "service", "TOA is for TCP services alone: leave --toa out (UDP has --uoa)"},
		{"TCP with UOA", service(func(v *Service) { v.UOA = "opp" }), Invalid, "service", "UOA is for UDP services alone: leave --uoa out (TCP has TOA, without being asked)"},
		{"UOA and proxy protocol", service(func(v *Service) { v.Proto, v.UOA, v.ProxyProtocol = UDP, "ipo", "v2" }), Invalid, "service", "UOA and the PROXY protocol would both tell the client's address: leave out --uoa ipo or --proxy-protocol v2"},
		{"edit to UOA", func(s *Spec) error { return s.EditService(Service{ServiceKey: web, Scheduler: "rr", UOA: "opp"}) }, Invalid, "service", "UOA is for UDP services alone"},
		{"edit no service", func(s *Spec) error { return s.EditService(Service{ServiceKey: none, Scheduler: "rr"}) }, NotExists, "service", "TCP 10.0.0.100:443"},
		{"edit to nonsense", func(s *Spec) error { return s.EditService(Service{ServiceKey: web, Scheduler: "best"}) }, NotExists, "scheduler", "best"},
		{"delete no service", func(s *Spec) error { return s.DeleteService(none) }, NotExists, "service", "TCP 10.0.0.100:443"},
		{"the other protocol's", func(s *Spec) error { return s.DeleteService(ServiceKey{Proto: UDP, Virtual: web.Virtual}) }, NotExists, "service", "UDP 10.0.0.100:80"},

		{"dest of no service", func(s *Spec) error { return s.AddDest(none, Dest{Addr: rs1, Forward: FullNAT}) }, NotExists, "service", "443"},
		{"dest twice", dest(func(d *Dest) { d.Addr = rs1 }), Exists, "dest", "192.168.1.2:80"},
		{"IPv6 dest of DR", dest(func(d *Dest) { d.Forward, d.Addr = DirectRoute, netip.AddrPortFrom(v6, 80) }), Invalid, "dest", "2001:db8::1: with Route the real server takes packets for the VIP, 10.0.0.100, so both must be of one family; full-NAT (-b) and tunnel (-i) go from IPv4 to IPv6"},
		{"IPv6 dest of NAT", dest(func(d *Dest) { d.Forward, d.Addr = Masq, netip.AddrPortFrom(v6, 80) }), Invalid, "dest", "2001:db8::1: with Masq the real server takes packets for the VIP"},
		{"dest 0", dest(func(d *Dest) { d.Addr = netip.AddrPortFrom(any4, 80) }), Invalid, "dest", "0.0.0.0"},
		{"dest on a group", dest(func(d *Dest) { d.Addr = netip.MustParseAddrPort("224.0.0.1:80") }), Invalid, "dest", "224.0.0.1"},
		{"dest on loopback", dest(func(d *Dest) { d.Addr = netip.MustParseAddrPort("127.0.0.1:80") }), Invalid, "dest", "127.0.0.1"},
		{"dest is ourselves", dest(func(d *Dest) { d.Addr = netip.AddrPortFrom(vip, 80) }), Invalid, "dest", "10.0.0.100"},
		{"dest without port", dest(func(d *Dest) { d.Addr = netip.MustParseAddrPort("192.168.1.3:0") }), Invalid, "dest", "192.168.1.3"},
		{"SNAT behind an address", dest(func(d *Dest) { d.Forward = SNAT }), Invalid, "dest", "SNAT (-J) is for match services: add the service with -H MATCH instead of -t or -u"},
		{"match of a protocol", func(s *Spec) error {
			return s.AddService(Service{ServiceKey: ServiceKey{Proto: 47, Match: Match{Family: 4}}, Scheduler: "rr"})
		}, NotSupported, "service", "use proto=tcp, udp, sctp, icmp or icmpv6"},
		{"match of no family", func(s *Spec) error {
			return s.AddService(Service{ServiceKey: ServiceKey{Proto: TCP, Match: Match{Family: 5}}, Scheduler: "rr"})
		}, Invalid, "service", "address family 5: use af=ipv4 or af=ipv6"},
		{"ICMPv6 of IPv4", func(s *Spec) error {
			return s.AddService(Service{ServiceKey: ServiceKey{Proto: ICMPv6, Match: Match{Family: 4}}, Scheduler: "rr"})
		}, Invalid, "service", "ICMPv6 is of IPv6: for IPv4 use proto=icmp"},
		{"match of no port of ours", func(s *Spec) error {
			return s.AddService(Service{ServiceKey: ServiceKey{Proto: TCP, Match: Match{Family: 4, Out: "eth9"}}, Scheduler: "rr"})
		}, NoDevice, "link", "eth9"},
		{"match that ends before it begins", func(s *Spec) error {
			return s.AddService(Service{ServiceKey: ServiceKey{Proto: TCP, Match: Match{Family: 4, Src: Range{First: rs1.Addr(), Last: vip}}}, Scheduler: "rr"})
		}, Invalid, "service", "src-range 192.168.1.2-10.0.0.100:0-0: the end lies before the beginning"},
		{"match that tells clients", func(s *Spec) error {
			return s.AddService(Service{ServiceKey: outward, Scheduler: "rr", ProxyProtocol: "v2"})
		}, Invalid, "service", "a match service tells nobody of clients"},
		{"port of an all-ports service", func(s *Spec) error {
			all := ServiceKey{Proto: TCP, Virtual: netip.AddrPortFrom(vip, 0)}
			if err := s.AddService(Service{ServiceKey: all, Scheduler: "rr", Persistent: 5}); err != nil {
				return err
			}
			return s.AddDest(all, Dest{Addr: rs1, Forward: FullNAT})
		}, Invalid, "dest", "asked at the client's: leave the port out"},
		{"DR at another port", dest(func(d *Dest) { d.Forward, d.Addr = DirectRoute, netip.MustParseAddrPort("192.168.1.9:8080") }), Invalid, "dest", "192.168.1.9:8080: with Route the real server is asked at the service's own port, 80: leave the port out"},
		{"NAT without port", dest(func(d *Dest) { d.Forward, d.Addr = Masq, netip.MustParseAddrPort("192.168.1.9:0") }), Invalid, "dest", "192.168.1.9: a Masq real server needs a port"},
		{"too heavy", dest(func(d *Dest) { d.Weight = 65536 }), Invalid, "dest", "65536"},
		{"thresholds the wrong way", dest(func(d *Dest) { d.UThreshold, d.LThreshold = 5, 6 }), Invalid, "dest", "6"},
		{"edit no dest", func(s *Spec) error {
			return s.EditDest(web, Dest{Addr: netip.MustParseAddrPort("192.168.1.9:80"), Forward: FullNAT})
		}, NotExists, "dest", "192.168.1.9:80"},
		{"edit dest to nonsense", func(s *Spec) error { return s.EditDest(web, Dest{Addr: rs1, Forward: SNAT}) }, Invalid, "dest", "SNAT"},
		{"edit dest of no service", func(s *Spec) error { return s.EditDest(none, Dest{Addr: rs1, Forward: FullNAT}) }, NotExists, "service", "443"},
		{"delete no dest", func(s *Spec) error { return s.DeleteDest(web, netip.MustParseAddrPort("192.168.1.2:81")) }, NotExists, "dest", "192.168.1.2:81"},
		{"delete dest of no service", func(s *Spec) error { return s.DeleteDest(none, rs1) }, NotExists, "service", "443"},

		{"laddr of no service", local(none, lip2, "lan"), NotExists, "service", "443"},
		{"laddr twice", local(web, lip, "lan"), Exists, "laddr", "192.168.1.200"},
		{"laddr on no device", local(web, lip2, "x"), NoDevice, "link", "x"},
		{"laddr that is elsewhere", local(web, vip, "lan"), Exists, "laddr", "wan"},
		{"laddr on a group", local(web, netip.MustParseAddr("224.0.0.1"), "lan"), Invalid, "laddr", "224.0.0.1"},
		{"delete no laddr", func(s *Spec) error { return s.DeleteLocal(web, LocalAddress{lip2, "lan"}) }, NotExists, "laddr", "192.168.1.201"},
		{"delete laddr elsewhere", func(s *Spec) error { return s.DeleteLocal(web, LocalAddress{lip, "wan"}) }, NotExists, "laddr", "is on lan"},
		{"delete laddr of no service", func(s *Spec) error { return s.DeleteLocal(none, LocalAddress{lip, "lan"}) }, NotExists, "service", "443"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, before := base(t), base(t)
			err := row.edit(s.Clone())
			var r *Refusal
			if !errors.As(err, &r) {
				t.Fatalf("got %v, want a refusal", err)
			}
			if r.Code != row.code || r.Object != row.object || !strings.Contains(r.Why, row.says) {
				t.Errorf("refused %d %s: %q; want %d %s and %q in it", r.Code, r.Object, r.Why, row.code, row.object, row.says)
			}
			if r.Code.String() == "" {
				t.Error("the code has no text")
			}
			if !reflect.DeepEqual(s, before) {
				t.Errorf("the state has changed:\n%+v, was\n%+v", s, before)
			}
		})
	}
}

func addrOn(port, p string) func(*Spec) error {
	return func(s *Spec) error { return s.AddAddress(Address{Port: port, Prefix: prefix(p)}, false) }
}

func local(k ServiceKey, a netip.Addr, port string) func(*Spec) error {
	return func(s *Spec) error {
		_, err := s.AddLocal(k, LocalAddress{a, port})
		return err
	}
}

// TestCloneIsDeep: whatever is done to a copy, the original does not see it.
func TestCloneIsDeep(t *testing.T) {
	s, before := base(t), base(t)
	c := s.Clone()
	c.Addresses[0].SAPool = true
	c.Routes[0].MTU = 99
	c.Neighbours[0].Port = "x"
	c.Services[0].Dests[0].Weight = 77
	c.Services[0].Locals[0].Port = "x"
	c.Services[0].Scheduler = "wlc"
	c.Links["wan"] = Link{Down: true}
	if !reflect.DeepEqual(s, before) {
		t.Errorf("the original changed:\n%+v, was\n%+v", s, before)
	}
}

// must fails the test for the first error.
func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestLocalAddressLife(t *testing.T) {
	s := base(t)
	must(t, s.AddService(Service{ServiceKey: dns, Scheduler: "rr"}))
	a := s.FindAddress(lip)
	if a == nil || !a.SAPool || a.Prefix != netip.PrefixFrom(lip, 32) || a.Port != "lan" {
		t.Fatalf("--add-laddr made %+v", a)
	}
	// A second service may use the same one.
	if existed, err := s.AddLocal(dns, LocalAddress{lip, "lan"}); err != nil || !existed {
		t.Fatalf("existed: %v, %v", existed, err)
	}
	must(t, s.DeleteLocal(web, LocalAddress{lip, "lan"}))
	if s.FindAddress(lip) == nil {
		t.Error("it went though another service uses it")
	}
	must(t, s.DeleteService(dns))
	if s.FindAddress(lip) != nil {
		t.Error("nobody uses it and it is still there")
	}
	// One that was added as an address of the link stays.
	must(t, s.AddAddress(Address{Port: "lan", Prefix: prefix("192.168.1.201/24"), SAPool: true}, false))
	if _, err := s.AddLocal(web, LocalAddress{lip2, "lan"}); err != nil {
		t.Fatal(err)
	}
	s.FlushServices()
	if s.FindAddress(lip2) == nil || len(s.Services) != 0 {
		t.Error("an address of the link went with its service")
	}
}

func TestServiceLife(t *testing.T) {
	s := base(t)
	must(t, s.EditService(Service{ServiceKey: web, Scheduler: "wrr", ConnTimeout: 31535999}))
	svc := s.Find(web)
	if svc.Scheduler != "wrr" || svc.ConnTimeout != 31535999 || len(svc.Dests) != 1 || len(svc.Locals) != 1 {
		t.Errorf("edited: %+v", svc)
	}
	must(t, s.EditDest(web, Dest{Addr: rs1, Forward: FullNAT, Weight: 65535, UThreshold: 9, LThreshold: 9}))
	if d := s.Find(web).Dests[0]; d.Weight != 65535 || d.UThreshold != 9 {
		t.Errorf("edited: %+v", d)
	}
	must(t, s.AddDest(web, Dest{Addr: netip.MustParseAddrPort("192.168.1.2:81"), Forward: FullNAT}), s.DeleteDest(web, rs1))
	if ds := s.Find(web).Dests; len(ds) != 1 || ds[0].Addr.Port() != 81 {
		t.Errorf("left: %+v", ds)
	}
	// A new service has none of its own, whatever the caller gives it.
	must(t, s.AddService(Service{ServiceKey: dns, Scheduler: "wlc", Dests: []Dest{{Addr: rs1}}, Locals: []LocalAddress{{lip, "lan"}}}))
	if v := s.Find(dns); len(v.Dests)+len(v.Locals) != 0 {
		t.Errorf("new: %+v", v)
	}
}

func TestAddressesRoutesNeighbours(t *testing.T) {
	s := base(t)
	must(t,
		s.AddAddress(Address{Port: "wan", Prefix: prefix("10.0.0.1/25")}, true),
		s.AddRoute(Route{Prefix: prefix("172.16.0.0/16"), Port: "lan", MTU: 68}),
		s.AddRoute(Route{Prefix: prefix("172.16.0.0/16"), Port: "wan", MTU: 65535}),
		s.AddRoute(Route{Prefix: prefix("10.0.0.9/32"), Port: "wan", Scope: ScopeKNIHost}),
		// It takes an address of our own away, and gives it back.
		s.AddRoute(Route{Prefix: netip.PrefixFrom(vip, 32), Port: "wan", Scope: ScopeKNIHost}),
		s.DeleteRoute(Route{Prefix: netip.PrefixFrom(vip, 32), Port: "wan"}),
		s.DeleteRoute(Route{Prefix: prefix("172.16.0.0/16"), Port: "lan"}),
		s.DeleteAddress(netip.PrefixFrom(vip, -1), "wan"),
	)
	if a := s.FindAddress(netip.MustParseAddr("10.0.0.1")); a.Prefix.Bits() != 25 {
		t.Errorf("replaced: %+v", a)
	}
	if len(s.Routes) != 3 || s.FindAddress(vip) != nil {
		t.Errorf("routes %+v, VIP %+v", s.Routes, s.FindAddress(vip))
	}
	must(t, s.FlushRoutes("wan"))
	if len(s.Routes) != 0 {
		t.Errorf("flushed: %+v", s.Routes)
	}
	was, err := s.DeleteNeighbour(gw, "wan")
	must(t, err)
	again, err := s.DeleteNeighbour(gw, "wan")
	must(t, err)
	if !was || again {
		t.Errorf("there was one: %v, and after that: %v", was, again)
	}
	must(t, s.FlushAddresses("wan"))
	for _, a := range s.Addresses {
		if a.Port == "wan" {
			t.Errorf("flushed, and %+v is there", a)
		}
	}
}

func TestLinks(t *testing.T) {
	s := &Spec{Ports: []string{"wan"}}
	must(t, s.SetLink("wan", "promisc", "on"), s.SetLink("wan", "allmulticast", "on"), s.SetLink("wan", "link", "down"))
	if got := s.Links["wan"]; got != (Link{Promisc: true, AllMulticast: true, Down: true}) {
		t.Errorf("%+v", got)
	}
	must(t, s.SetLink("wan", "promisc", "off"), s.SetLink("wan", "link", "up"))
	if got := s.Links["wan"]; got != (Link{AllMulticast: true}) {
		t.Errorf("%+v", got)
	}
}

func TestWords(t *testing.T) {
	for _, row := range []struct{ got, want string }{
		{web.String(), "TCP 10.0.0.100:80"}, {FullNAT.String(), "FullNat"}, {Forward(99).String(), "unknown"}, {Proto(99).String(), "proto99"},
		{ICMPv6.String(), "ICMPv6"}, {ICMP.String(), "ICMP"}, {ScopeKNIHost.String(), "kni_host"}, {Scope(99).String(), "unknown"},
		{NotExists.String(), "not exist"},
	} {
		if row.got != row.want {
			t.Errorf("%q, want %q", row.got, row.want)
		}
	}
	var b Boot
	if first, last := b.LocalPorts(); first != 1025 || last != 65535 {
		t.Errorf("local ports %d-%d", first, last)
	}
}
