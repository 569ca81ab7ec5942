package spec

import (
	"net/netip"
	"slices"
	"testing"
)

func TestRestrict(t *testing.T) {
	p, a := netip.MustParsePrefix, netip.MustParseAddr
	k4 := ServiceKey{Proto: TCP, Virtual: netip.MustParseAddrPort("10.0.0.100:80")}
	k6 := ServiceKey{Proto: TCP, Virtual: netip.MustParseAddrPort("[2001:db8::100]:80")}
	match := ServiceKey{Proto: UDP, Match: Match{Family: 4, In: "gone"}}
	local := func(ip, port string) LocalAddress { return LocalAddress{Addr: a(ip), Port: port} }
	s := &Spec{
		Ports:     []string{"lan", "v1", "v2", "t1", "t2"},
		VLANs:     []VLAN{{Name: "v1", Link: "lan"}, {Name: "v2", Link: "gone"}},
		Tunnels:   []TunnelDevice{{Name: "t1"}, {Name: "t2", Link: "v2"}},
		Addresses: []Address{{Port: "lan", Prefix: p("10.0.0.1/24")}, {Port: "gone", Prefix: p("10.1.0.1/24")}, {Port: "v2", Prefix: p("2001:db8::200/128")}, {Port: "t1", Prefix: p("2001:db8::1/64")}},
		Routes:    []Route{{Prefix: p("10.2.0.0/16"), Port: "lan"}, {Prefix: p("10.3.0.0/16"), Port: "t2"}, {Prefix: p("2001:db8:3::/48"), Port: "gone"}},
		Neighbours: []Neighbour{
			{Addr: a("10.0.0.2"), Port: "lan"}, {Addr: a("10.1.0.2"), Port: "gone"}, {Addr: a("2001:db8::2"), Port: "gone"},
		},
		Services: []Service{
			{ServiceKey: k4, Locals: []LocalAddress{local("10.0.0.9", "lan"), local("10.0.0.10", "gone")}},
			{ServiceKey: k6, Locals: []LocalAddress{local("2001:db8::200", "v2"), local("2001:db8::201", "v1")}},
			{ServiceKey: match},
		},
	}
	gone := s.Restrict()
	want := []string{
		"VLAN v2 of gone", "tunnel t2 of v2", "address 10.1.0.1/24 of gone", "address 2001:db8::200/128 of v2",
		"route 10.3.0.0/16 by t2", "route 2001:db8:3::/48 by gone", "neighbour 10.1.0.2 of gone", "neighbour 2001:db8::2 of gone",
		"service " + match.String(), "local address 10.0.0.10 of service " + k4.String() + " on gone",
	}
	if !slices.Equal(gone, want) {
		t.Errorf("gone\n%q\nwant\n%q", gone, want)
	}
	if !slices.Equal(s.Ports, []string{"lan", "v1", "t1"}) || len(s.Addresses) != 2 || len(s.Services) != 2 || len(s.Services[0].Locals) != 1 || len(s.Services[1].Locals) != 1 {
		t.Errorf("left: %+v", s)
	}
	if again := s.Restrict(); len(again) != 0 {
		t.Errorf("again: %q", again)
	}
}
