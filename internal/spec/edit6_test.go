package spec

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

// The twin of edit_test.go for IPv6, and what the families have to do with each
// other.

var (
	vip6     = netip.MustParseAddr("2001:db8:a::100")
	web6     = ServiceKey{Proto: TCP, Virtual: netip.AddrPortFrom(vip6, 80)}
	none6    = ServiceKey{Proto: TCP, Virtual: netip.AddrPortFrom(vip6, 443)}
	outward6 = ServiceKey{Proto: TCP, Match: Match{Family: 6, Out: "wan"}}
	rs6      = netip.MustParseAddrPort("[2001:db8:1::2]:80")
	lip6     = netip.MustParseAddr("2001:db8:1::200")
	lip62    = netip.MustParseAddr("2001:db8:1::201")
	gw6      = netip.MustParseAddr("fe80::254") // as routers have it
)

// base6 is base with the same in IPv6 beside it.
func base6(t testing.TB) *Spec {
	t.Helper()
	s := base(t)
	for _, err := range []error{
		s.AddAddress(Address{Port: "lan", Prefix: prefix("2001:db8:1::1/64")}, false),
		s.AddAddress(Address{Port: "wan", Prefix: prefix("2001:db8:a::1/64")}, false),
		s.AddAddress(Address{Port: "wan", Prefix: netip.PrefixFrom(vip6, 128)}, false),
		s.AddAddress(Address{Port: "wan", Prefix: prefix("fe80::1/64"), Scope: ScopeLink}, false),
		s.AddRoute(Route{Prefix: prefix("::/0"), Port: "wan", Via: gw6}),
		s.AddNeighbour(Neighbour{Addr: gw6, Port: "wan", MAC: mac}),
		s.AddService(Service{ServiceKey: web6, Scheduler: "rr"}),
		s.AddDest(web6, Dest{Addr: rs6, Forward: FullNAT, Weight: 1}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if existed, err := s.AddLocal(web6, LocalAddress{lip6, "lan"}); err != nil || existed {
		t.Fatalf("local address existed: %v, %v", existed, err)
	}
	return s
}

func TestRefusals6(t *testing.T) {
	any6 := netip.IPv6Unspecified()
	mapped := netip.MustParseAddr("::ffff:10.0.0.9")
	service := func(edit func(*Service)) func(*Spec) error {
		return func(s *Spec) error {
			svc := Service{ServiceKey: none6, Scheduler: "rr"}
			edit(&svc)
			return s.AddService(svc)
		}
	}
	virtual := func(a string) func(*Spec) error {
		return service(func(v *Service) { v.Virtual = netip.MustParseAddrPort(a) })
	}
	dest := func(edit func(*Dest)) func(*Spec) error {
		return func(s *Spec) error {
			d := Dest{Addr: netip.MustParseAddrPort("[2001:db8:1::3]:80"), Forward: FullNAT, Weight: 1}
			edit(&d)
			return s.AddDest(web6, d)
		}
	}
	server := func(a string) func(*Spec) error {
		return dest(func(d *Dest) { d.Addr = netip.MustParseAddrPort(a) })
	}
	addr := func(a netip.Addr) func(*Spec) error {
		return func(s *Spec) error {
			return s.AddAddress(Address{Port: "lan", Prefix: netip.PrefixFrom(a, a.BitLen())}, false)
		}
	}
	route := func(edit func(*Route)) func(*Spec) error {
		return func(s *Spec) error {
			r := Route{Prefix: prefix("2001:db8:172::/48"), Port: "lan"}
			edit(&r)
			return s.AddRoute(r)
		}
	}
	match := func(p Proto, m Match) func(*Spec) error {
		return func(s *Spec) error {
			return s.AddService(Service{ServiceKey: ServiceKey{Proto: p, Match: m}, Scheduler: "rr"})
		}
	}
	listed := func(k ServiceKey, a string) func(*Spec) error {
		return func(s *Spec) error { return s.AddListed(k, Whitelist, netip.MustParseAddr(a)) }
	}
	mask := func(m netip.Addr) func(*Spec) error {
		return service(func(v *Service) { v.Persistent, v.PersistentMask = 5, m })
	}
	for _, row := range []struct {
		name   string
		edit   func(*Spec) error
		code   Code
		object string
		says   string
	}{
		{"unknown device", addrOn("eth9", "2001:db8::9/64"), NoDevice, "link", "eth9"},
		{"address 0", addr(any6), Invalid, "address", ":: can't be an address of a device"},
		{"multicast address", addr(netip.MustParseAddr("ff02::1")), Invalid, "address", "ff02::1 can't be"},
		{"loopback address", addr(netip.IPv6Loopback()), Invalid, "address", "::1 can't be"},
		{"IPv4 in IPv6", addr(mapped), Invalid, "address", "::ffff:10.0.0.9 is an IPv4-mapped address: write 10.0.0.9"},
		{"a broadcast", func(s *Spec) error {
			return s.AddAddress(Address{Port: "lan", Prefix: prefix("2001:db8::9/64"), Broadcast: netip.MustParseAddr("ff02::1")}, false)
		}, Invalid, "address", "broadcast ff02::1: IPv6 has no broadcast, leave it out"},
		{"broadcast of IPv6 for IPv4", func(s *Spec) error {
			return s.AddAddress(Address{Port: "lan", Prefix: prefix("10.0.0.9/24"), Broadcast: netip.MustParseAddr("ff02::1")}, false)
		}, Invalid, "address", "broadcast ff02::1 is not that of an IPv4 address"},
		{"ports of a link-local address", func(s *Spec) error {
			return s.AddAddress(Address{Port: "lan", Prefix: prefix("fe80::9/64"), SAPool: true}, false)
		}, Invalid, "address", "fe80::9 can't be sapool"},
		{"address twice", addrOn("wan", "2001:db8:a::100/128"), Exists, "address", "2001:db8:a::100"},
		{"address on two devices", addrOn("lan", "2001:db8:a::100/128"), Exists, "address", "wan"},
		{"link-local address twice", addrOn("wan", "fe80::1/64"), Exists, "address", "fe80::1/64 on wan"},
		{"address of the gateway", addrOn("wan", "fe80::254/64"), Invalid, "address", "the gateway of route ::/0"},
		{"address of a real server", addrOn("lan", "2001:db8:1::2/64"), Invalid, "address", "a real server of service TCP [2001:db8:a::100]:80"},
		{"local address stops being one", func(s *Spec) error {
			return s.AddAddress(Address{Port: "lan", Prefix: netip.PrefixFrom(lip6, 128)}, true)
		}, Busy, "address", "TCP [2001:db8:a::100]:80"},
		{"delete address of another length", func(s *Spec) error { return s.DeleteAddress(prefix("2001:db8:a::100/64"), "wan") }, NotExists, "address", "2001:db8:a::100/64 on wan; it is there as 2001:db8:a::100/128"},
		{"delete link-local address elsewhere", func(s *Spec) error { return s.DeleteAddress(prefix("fe80::1/64"), "lan") }, NotExists, "address", "it is on wan"},
		{"delete local address in use", func(s *Spec) error { return s.DeleteAddress(netip.PrefixFrom(lip6, 128), "lan") }, Busy, "address", "--del-laddr"},
		{"flush local address in use", func(s *Spec) error { return s.FlushAddressesOf("lan", OnlyV6) }, Busy, "address", "2001:db8:1::200"},

		{"IPv4 gateway", route(func(r *Route) { r.Via = gw }), Invalid, "route", "2001:db8:172::/48 via 10.0.0.254: gateway and prefix must be of one family"},
		{"IPv4 source", route(func(r *Route) { r.Src = vip }), Invalid, "route", "2001:db8:172::/48 src 10.0.0.100: source and prefix must be of one family"},
		{"gateway of a group", route(func(r *Route) { r.Via = netip.MustParseAddr("ff02::2") }), Invalid, "route", "ff02::2 can't be a gateway"},
		{"gateway with a zone", route(func(r *Route) { r.Via = netip.MustParseAddr("fe80::9%lan") }), Invalid, "route", "leave %lan out"},
		{"route with host bits", route(func(r *Route) { r.Prefix = prefix("2001:db8::1/64") }), Invalid, "route", "2001:db8::/64"},
		{"route to groups", route(func(r *Route) { r.Prefix = prefix("ff00::/8") }), Invalid, "route", "ff00::/8 is of multicast groups"},
		{"route to IPv4", route(func(r *Route) { r.Prefix = prefix("::ffff:0:0/96") }), Invalid, "route", "IPv4-mapped"},
		{"kni_host of a net", route(func(r *Route) { r.Scope = ScopeKNIHost }), Invalid, "route", "128"},
		{"MTU too small", route(func(r *Route) { r.MTU = 1279 }), Invalid, "route", "1280"},
		{"own address as gateway", route(func(r *Route) { r.Via = netip.MustParseAddr("2001:db8:a::1") }), Invalid, "route", "2001:db8:a::1"},
		{"own link-local address as gateway", route(func(r *Route) { r.Port, r.Via = "wan", netip.MustParseAddr("fe80::1") }), Invalid, "route", "gateway fe80::1 is an address of this box"},
		{"route twice", func(s *Spec) error { return s.AddRoute(Route{Prefix: prefix("::/0"), Port: "wan", Via: gw6}) }, Exists, "route", "::/0"},
		{"route that is derived", route(func(r *Route) { r.Prefix = prefix("2001:db8:1::/64") }), Exists, "route", "2001:db8:1::1/64"},
		{"delete route that is derived", func(s *Spec) error { return s.DeleteRoute(Route{Prefix: prefix("2001:db8:1::/64"), Port: "lan"}) }, Invalid, "route", "2001:db8:1::1/64"},

		{"neighbour of a group", func(s *Spec) error {
			return s.AddNeighbour(Neighbour{netip.MustParseAddr("ff02::9"), "wan", mac})
		}, Invalid, "neighbour", "ff02::9"},
		{"neighbour with a zone", func(s *Spec) error {
			return s.AddNeighbour(Neighbour{netip.MustParseAddr("fe80::9%wan"), "wan", mac})
		}, Invalid, "neighbour", "leave %wan out"},
		{"ourselves as neighbour", func(s *Spec) error { return s.AddNeighbour(Neighbour{vip6, "wan", mac}) }, Invalid, "neighbour", "2001:db8:a::100"},
		{"neighbour twice", func(s *Spec) error { return s.AddNeighbour(Neighbour{gw6, "wan", mac}) }, Exists, "neighbour", "fe80::254"},

		{"service twice", func(s *Spec) error { return s.AddService(Service{ServiceKey: web6, Scheduler: "rr"}) }, Exists, "service", "TCP [2001:db8:a::100]:80"},
		{"service on 0", virtual("[::]:80"), Invalid, "service", ":: can't be a virtual address"},
		{"service on a group", virtual("[ff0e::1]:80"), Invalid, "service", "ff0e::1"},
		{"service on loopback", virtual("[::1]:80"), Invalid, "service", "::1"},
		{"service on a link-local address", virtual("[fe80::1]:80"), Invalid, "service", "fe80::1 can't be a virtual address: a link-local address means nothing beyond its link"},
		{"service on IPv4 in IPv6", virtual("[::ffff:10.0.0.9]:80"), Invalid, "service", "write 10.0.0.9"},
		{"service of all ports", virtual("[2001:db8::9]:0"), Invalid, "service", "give [2001:db8::9]:PORT, or -p"},
		{"mask with a hole", mask(netip.MustParseAddr("ffff:0:ffff::")), Invalid, "service", "give the length of a prefix, 1 to 128"},
		{"mask of length 0", mask(any6), Invalid, "service", "give the length of a prefix, 1 to 128"},
		{"mask of IPv4", mask(netip.MustParseAddr("255.255.255.0")), Invalid, "service", "that of an IPv6 service is the length of a prefix, 1 to 128"},

		{"dest 0", server("[::]:80"), Invalid, "dest", ":: can't be a real server"},
		{"dest on a group", server("[ff0e::1]:80"), Invalid, "dest", "ff0e::1"},
		{"dest on a link-local address", server("[fe80::9]:80"), Invalid, "dest", "fe80::9 can't be a real server"},
		{"dest of IPv4 in IPv6", server("[::ffff:10.0.0.9]:80"), Invalid, "dest", "write 10.0.0.9"},
		{"dest is ourselves", server("[2001:db8:a::100]:80"), Invalid, "dest", "2001:db8:a::100"},
		{"dest twice", dest(func(d *Dest) { d.Addr = rs6 }), Exists, "dest", "[2001:db8:1::2]:80"},
		{"dest without port", server("[2001:db8:1::9]:0"), Invalid, "dest", "2001:db8:1::9: a FullNat real server needs a port"},
		{"IPv4 dest of DR", dest(func(d *Dest) { d.Forward, d.Addr = DirectRoute, rs1 }), Invalid, "dest", "full-NAT (-b) and tunnel (-i) go from IPv6 to IPv4"},
		{"IPv4 dest of NAT", dest(func(d *Dest) { d.Forward, d.Addr = Masq, rs1 }), Invalid, "dest", "with Masq the real server takes packets for the VIP, 2001:db8:a::100, so both must be of one family"},
		{"DR at another port", dest(func(d *Dest) {
			d.Forward, d.Addr = DirectRoute, netip.MustParseAddrPort("[2001:db8:1::9]:8080")
		}), Invalid, "dest", "[2001:db8:1::9]:8080: with Route"},
		{"edit dest to NAT of IPv4", func(s *Spec) error {
			if err := s.AddDest(web6, Dest{Addr: rs1, Forward: FullNAT}); err != nil {
				return err
			}
			return s.EditDest(web6, Dest{Addr: rs1, Forward: Masq})
		}, Invalid, "dest", "both must be of one family"},

		{"ICMP of IPv6", match(ICMP, Match{Family: 6}), Invalid, "service", "ICMP is of IPv4: for IPv6 use proto=icmpv6"},
		{"match of IPv4 addresses", match(TCP, Match{Family: 6, Src: Range{First: vip, Last: vip}}), Invalid, "service", "src-range 10.0.0.100-10.0.0.100: give two IPv6 addresses"},
		{"match of IPv6 addresses", match(TCP, Match{Family: 4, Dst: Range{First: vip6, Last: vip6}}), Invalid, "service", "give two IPv4 addresses"},
		{"match of IPv4 in IPv6", match(TCP, Match{Family: 6, Src: Range{First: mapped, Last: mapped}}), Invalid, "service", "give two IPv6 addresses"},
		{"match that ends before it begins", match(UDP, Match{Family: 6, Src: Range{First: vip6, Last: rs6.Addr()}}), Invalid, "service", "src-range [2001:db8:a::100-2001:db8:1::2]:0-0: the end lies before the beginning"},

		{"laddr on a group", local(web6, netip.MustParseAddr("ff02::1"), "lan"), Invalid, "laddr", "ff02::1"},
		{"link-local laddr", local(web6, netip.MustParseAddr("fe80::9"), "lan"), Invalid, "laddr", "fe80::9 can't be a local address"},
		{"laddr twice", local(web6, lip6, "lan"), Exists, "laddr", "2001:db8:1::200"},
		{"laddr that is elsewhere", local(web6, vip6, "lan"), Exists, "laddr", "wan"},

		{"IPv4 on a list of IPv6", listed(web6, "10.0.0.9"), Invalid, "whitelist", "10.0.0.9 is never a client of service TCP [2001:db8:a::100]:80: give an IPv6 address"},
		{"IPv6 on a list of IPv4", listed(web, "2001:db8::9"), Invalid, "whitelist", "give an IPv4 address"},
		{"IPv4 in IPv6 on a list", listed(web, "::ffff:10.0.0.9"), Invalid, "whitelist", "write 10.0.0.9"},
		{"nobody on a list", listed(web6, "::"), Invalid, "whitelist", ":: can't be a client"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, before := base6(t), base6(t)
			err := row.edit(s.Clone())
			var r *Refusal
			if !errors.As(err, &r) {
				t.Fatalf("got %v, want a refusal", err)
			}
			if r.Code != row.code || r.Object != row.object || !strings.Contains(r.Why, row.says) {
				t.Errorf("refused %d %s: %q; want %d %s and %q in it", r.Code, r.Object, r.Why, row.code, row.object, row.says)
			}
			if !reflect.DeepEqual(s, before) {
				t.Errorf("the state has changed:\n%+v, was\n%+v", s, before)
			}
		})
	}
}

// TestFamilies: which modes carry which family to which.
func TestFamilies(t *testing.T) {
	at := func(ip netip.Addr, f Forward) netip.AddrPort {
		port := uint16(8080)
		if f == DirectRoute || f == Tunnel {
			port = 80
		}
		return netip.AddrPortFrom(ip, port)
	}
	rs := map[int]netip.Addr{4: netip.MustParseAddr("192.168.1.9"), 6: netip.MustParseAddr("2001:db8:1::9")}
	service := map[int]ServiceKey{4: web, 6: web6}
	for _, row := range []struct {
		mode Forward
		same bool // one family only
	}{{FullNAT, false}, {Tunnel, false}, {Masq, true}, {DirectRoute, true}} {
		for _, from := range []int{4, 6} {
			for _, to := range []int{4, 6} {
				err := base6(t).AddDest(service[from], Dest{Addr: at(rs[to], row.mode), Forward: row.mode, Weight: 1})
				if want := !row.same || from == to; (err == nil) != want {
					t.Errorf("%s from IPv%d to IPv%d: %v", row.mode, from, to, err)
				}
			}
		}
	}
}

// TestLocalsOfBothFamilies: a service may have both, whatever real servers it has yet.
func TestLocalsOfBothFamilies(t *testing.T) {
	s := base6(t)
	for _, l := range []LocalAddress{{lip, "lan"}, {lip2, "lan"}, {lip62, "lan"}} {
		if _, err := s.AddLocal(web6, l); err != nil {
			t.Errorf("%s: %v", l.Addr, err)
		}
	}
	if a := s.FindAddress(lip62); a == nil || !a.SAPool || a.Prefix.Bits() != 128 {
		t.Errorf("--add-laddr made %+v", a)
	}
	must(t,
		s.AddService(Service{ServiceKey: none6, Scheduler: "rr"}),
		s.AddDest(none6, Dest{Addr: rs1, Forward: FullNAT, Weight: 1}), // no local address at all
		s.DeleteLocal(web6, LocalAddress{lip62, "lan"}),
		s.DeleteService(web6),
	)
	for a, want := range map[netip.Addr]bool{lip: true, lip2: false, lip6: false, lip62: false} { // lip is web's
		if got := s.FindAddress(a) != nil; got != want {
			t.Errorf("%s is there: %v", a, got)
		}
	}
}

// TestLinkLocalAddresses: each link has its own.
func TestLinkLocalAddresses(t *testing.T) {
	s := base6(t)
	must(t,
		s.AddAddress(Address{Port: "lan", Prefix: prefix("fe80::1/64"), Scope: ScopeLink}, false),
		s.AddAddress(Address{Port: "lan", Prefix: prefix("fe80::254/64"), Scope: ScopeLink}, false), // wan's gateway
		s.AddNeighbour(Neighbour{netip.MustParseAddr("fe80::2"), "lan", mac}),
		s.AddNeighbour(Neighbour{netip.MustParseAddr("fe80::2"), "wan", mac}),
		s.AddRoute(Route{Prefix: prefix("2001:db8:172::/48"), Port: "lan", Via: netip.MustParseAddr("fe80::9")}),
		s.DeleteAddress(prefix("fe80::1/64"), "lan"),
	)
	if s.FindAddress(netip.MustParseAddr("fe80::1")) == nil {
		t.Error("the other link's went with it")
	}
}

// TestFlushOfOneFamily leaves the other's.
func TestFlushOfOneFamily(t *testing.T) {
	count := func(s *Spec) (v4, v6 int) {
		for _, a := range s.Addresses {
			if a.Port == "wan" && a.Prefix.Addr().Is4() {
				v4++
			} else if a.Port == "wan" {
				v6++
			}
		}
		for _, r := range s.Routes {
			if r.Prefix.Addr().Is4() {
				v4 += 10
			} else {
				v6 += 10
			}
		}
		return v4, v6
	}
	for _, row := range []struct {
		f      Family
		v4, v6 int
	}{{OnlyV4, 0, 13}, {OnlyV6, 12, 0}, {Both, 0, 0}} {
		s := base6(t)
		must(t, s.FlushRoutesOf("wan", row.f), s.FlushAddressesOf("wan", row.f))
		if v4, v6 := count(s); v4 != row.v4 || v6 != row.v6 {
			t.Errorf("family %d: %d and %d are left", row.f, v4, v6)
		}
	}
}

// TestWANAddresses6: SNAT of IPv6 goes out with IPv6.
func TestWANAddresses6(t *testing.T) {
	wan := netip.MustParseAddr("2001:db8:a::7")
	for _, row := range []struct {
		name string
		addr string
		key  ServiceKey
		want string // "": no refusal
	}{
		{"IPv6", "[2001:db8:a::7]:0", outward6, ""},
		{"IPv4", "10.0.0.7:0", outward6, "10.0.0.7: a match service of IPv6 goes out with addresses of IPv6"},
		{"IPv6 for IPv4", "[2001:db8:a::7]:0", outward, "2001:db8:a::7: a match service of IPv4 goes out with addresses of IPv4"},
		{"at a port", "[2001:db8:a::7]:80", outward6, "give [2001:db8:a::7]:0"},
		{"without ports", "[2001:db8:a::100]:0", outward6, "dpip addr set 2001:db8:a::100/128"},
		{"link-local", "[fe80::1]:0", outward6, "fe80::1 can't be"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := base6(t)
			must(t,
				s.AddAddress(Address{Port: "wan", Prefix: netip.PrefixFrom(wan, 64), SAPool: true}, false),
				s.AddAddress(Address{Port: "wan", Prefix: prefix("10.0.0.7/24"), SAPool: true}, false),
				s.AddService(Service{ServiceKey: outward, Scheduler: "rr"}),
				s.AddService(Service{ServiceKey: outward6, Scheduler: "rr"}),
				s.AddService(Service{ServiceKey: ServiceKey{Proto: ICMPv6, Match: Match{Family: 6, Src: Range{First: vip6, Last: vip6}}}, Scheduler: "rr"}),
			)
			err := s.AddDest(row.key, Dest{Addr: netip.MustParseAddrPort(row.addr), Forward: SNAT, Weight: 1})
			var r *Refusal
			switch {
			case row.want == "" && err != nil:
				t.Fatal(err)
			case row.want != "" && (!errors.As(err, &r) || !strings.Contains(r.Why, row.want)):
				t.Errorf("%v, want %q", err, row.want)
			}
		})
	}
}

// TestServiceOptions6: what services may have in IPv4 they may in IPv6.
func TestServiceOptions6(t *testing.T) {
	for name, svc := range map[string]Service{
		"persistent by prefix": {ServiceKey: none6, Scheduler: "rr", Persistent: 5, PersistentMask: Mask(vip6, 64)},
		"all ports":            {ServiceKey: ServiceKey{Proto: TCP, Virtual: netip.AddrPortFrom(vip6, 0)}, Scheduler: "rr", Persistent: 5, PersistentMask: Mask(vip6, 1)},
		"UOA in an option":     {ServiceKey: ServiceKey{Proto: UDP, Virtual: none6.Virtual}, Scheduler: "rr", UOA: "ipo"},
		"PROXY protocol":       {ServiceKey: none6, Scheduler: "rr", ProxyProtocol: "v1"},
	} {
		s := base6(t)
		must(t, s.AddService(svc))
		if s.Find(svc.ServiceKey) == nil {
			t.Errorf("%s: not there", name)
		}
	}
	s := base6(t)
	must(t, s.AddListed(web6, Blacklist, gw6, netip.MustParseAddr("2001:db8::9")), s.AddListed(web6, Whitelist, netip.MustParseAddr("2001:db8::9")))
}

// TestMasks: the length of a mask makes the mask again.
func TestMasks(t *testing.T) {
	for _, a := range []netip.Addr{vip, vip6} {
		for n := range a.BitLen() + 1 {
			m := Mask(a, n)
			if MaskBits(m) != n || m.Is4() != a.Is4() {
				t.Errorf("the mask of length %d is %s, of length %d", n, m, MaskBits(m))
			}
		}
		if m := Mask(a, a.BitLen()+1); m.IsValid() {
			t.Errorf("a mask that is too long: %s", m)
		}
	}
	for _, s := range []string{"255.0.255.0", "0.0.0.1", "ffff::1", "ff7f::", "2001:db8::"} {
		if n := MaskBits(netip.MustParseAddr(s)); n != -1 {
			t.Errorf("%s has length %d", s, n)
		}
	}
	if Mask(vip, 24).String() != "255.255.255.0" || Mask(vip6, 56).String() != "ffff:ffff:ffff:ff00::" {
		t.Errorf("%s, %s", Mask(vip, 24), Mask(vip6, 56))
	}
}
