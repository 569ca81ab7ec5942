package spec

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestTunnels(t *testing.T) {
	ip := netip.MustParseAddr
	a, b, c := ip("1.1.1.1"), ip("2.2.2.2"), ip("3.3.3.3")
	a6, b6 := ip("2001:db8::1"), ip("2001:db8::2")
	gre := TunnelDevice{Name: "gre1", Kind: TunnelGRE, Local: a, Remote: b}
	with := func(edit func(*TunnelDevice)) TunnelDevice {
		d := gre
		d.Name = "gre2"
		edit(&d)
		return d
	}
	for _, row := range []struct {
		name string
		d    TunnelDevice
		want string // part of the refusal; "": it is added
	}{
		{"of IPv6", TunnelDevice{Name: "t6", Kind: TunnelIPIP, Local: a6, Remote: b6}, ""},
		{"from any", with(func(d *TunnelDevice) { d.Local = netip.Addr{} }), ""},
		{"to any", with(func(d *TunnelDevice) { d.Remote = netip.Addr{} }), ""},
		{"another key", with(func(d *TunnelDevice) { d.In = TunnelFlags{Keyed: true, Key: 7} }), ""},
		{"another kind", with(func(d *TunnelDevice) { d.Kind = TunnelIPIP }), ""},
		{"another link", with(func(d *TunnelDevice) { d.Link = "dpdk0" }), ""},
		{"the same", with(func(d *TunnelDevice) {}), "already exist: gre1 is the gre tunnel between these ends without a key"},
		{"another key to send", with(func(d *TunnelDevice) { d.Out = TunnelFlags{Keyed: true, Key: 7} }), "already exist"},
		{"no kind", with(func(d *TunnelDevice) { d.Kind = "" }), "missing tunnel type."},
		{"no name", with(func(d *TunnelDevice) { d.Name = "" }), "missing tunnel dev name."},
		{"the name of a device", with(func(d *TunnelDevice) { d.Name = "dpdk0" }), "already exist: there is a device dpdk0"},
		{"the name of a tunnel", with(func(d *TunnelDevice) { d.Name, d.Remote = "gre1", c }), "already exist: there is a device gre1"},
		{"a name for no device", with(func(d *TunnelDevice) { d.Name = "a/b" }), "no name for a device"},
		{"a long name", with(func(d *TunnelDevice) { d.Name = "abcdefghijklmnop" }), "at most 15"},
		{"two families", with(func(d *TunnelDevice) { d.Remote = b6 }), "one family"},
		{"one end", with(func(d *TunnelDevice) { d.Remote = a }), "two ends"},
		{"multicast", with(func(d *TunnelDevice) { d.Remote = ip("224.0.0.1") }), "unicast"},
		{"link-local", TunnelDevice{Name: "t6", Kind: TunnelIPIP, Local: a6, Remote: ip("fe80::1")}, "link-local"},
		{"ipip with a key", TunnelDevice{Name: "t", Kind: TunnelIPIP, Local: a, Remote: b, In: TunnelFlags{Keyed: true}}, "of GRE"},
		{"on no device", with(func(d *TunnelDevice) { d.Link = "dpdk9" }), "no such device"},
		{"on a tunnel", with(func(d *TunnelDevice) { d.Link = "gre1" }), "is a tunnel"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := Spec{Ports: []string{"dpdk0"}}
			if err := s.AddTunnel(gre); err != nil {
				t.Fatal(err)
			}
			err := s.AddTunnel(row.d)
			switch {
			case row.want == "" && (err != nil || s.FindTunnel(row.d.Name) == nil || len(s.Ports) != 3):
				t.Errorf("refused: %v (devices %v)", err, s.Ports)
			case row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)):
				t.Errorf("refused with %v, want %q", err, row.want)
			}
		})
	}
}

// What a tunnel's packets leave by can't go.
func TestTunnelOnVLAN(t *testing.T) {
	s := Spec{Ports: []string{"dpdk0"}}
	if err := s.AddVLAN(VLAN{Link: "dpdk0", ID: 100}); err != nil {
		t.Fatal(err)
	}
	if err := s.AddTunnel(TunnelDevice{Name: "gre1", Kind: TunnelGRE, Remote: netip.MustParseAddr("2.2.2.2"), Link: "dpdk0.100"}); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteVLAN(VLAN{Name: "dpdk0.100"}); err == nil || !strings.Contains(err.Error(), "tunnel gre1") {
		t.Errorf("the VLAN went: %v", err)
	}
	if err := s.DeleteTunnel("gre1"); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteVLAN(VLAN{Name: "dpdk0.100"}); err != nil {
		t.Fatal(err)
	}
}

func TestChangeAndDeleteTunnel(t *testing.T) {
	ip := netip.MustParseAddr
	s := Spec{Ports: []string{"dpdk0"}}
	for _, d := range []TunnelDevice{
		{Name: "gre1", Kind: TunnelGRE, Local: ip("1.1.1.1"), Remote: ip("2.2.2.2")},
		{Name: "gre2", Kind: TunnelGRE, Local: ip("1.1.1.1"), Remote: ip("3.3.3.3")},
	} {
		if err := s.AddTunnel(d); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.ChangeTunnel("gre1", func(d *TunnelDevice) { d.TTL = 9 }); err != nil || s.FindTunnel("gre1").TTL != 9 {
		t.Errorf("change: %v", err)
	}
	for _, row := range []struct {
		name, tunnel, want string
		edit               func(*TunnelDevice)
	}{
		{"to another's ends", "gre1", "already exist", func(d *TunnelDevice) { d.Remote = ip("3.3.3.3") }},
		{"to another kind", "gre1", "can't be changed", func(d *TunnelDevice) { d.Kind = TunnelIPIP }},
		{"what is not there", "gre9", "not exist", func(*TunnelDevice) {}},
		{"a device", "dpdk0", "not exist", func(*TunnelDevice) {}},
	} {
		if err := s.ChangeTunnel(row.tunnel, row.edit); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		}
	}
	if err := s.AddAddress(Address{Port: "gre1", Prefix: netip.MustParsePrefix("10.9.0.1/30")}, false); err != nil {
		t.Fatal(err)
	}
	if err := s.AddRoute(Route{Port: "gre1", Prefix: netip.MustParsePrefix("10.8.0.0/16"), Scope: ScopeLink}); err != nil {
		t.Fatal(err)
	}
	if err := s.AddNeighbour(Neighbour{Port: "gre1", Addr: ip("10.9.0.2"), MAC: [6]byte{2}}); err == nil {
		t.Error("a tunnel has a neighbour")
	}
	if err := s.DeleteTunnel("gre1"); err != nil || s.FindTunnel("gre1") != nil || len(s.Addresses)+len(s.Routes) != 0 || len(s.Ports) != 2 {
		t.Errorf("delete: %v; left %v %v %v", err, s.Addresses, s.Routes, s.Ports)
	}
	if err := s.DeleteTunnel("gre1"); err == nil || !strings.Contains(err.Error(), "not exist") {
		t.Errorf("delete again: %v", err)
	}
}

// Tunnels that change together may take each other's ends; when one can't be, none changes.
func TestChangeTunnels(t *testing.T) {
	ip := netip.MustParseAddr
	to := func(name, remote string) TunnelChange {
		return TunnelChange{name, func(d *TunnelDevice) { d.Remote = ip(remote) }}
	}
	for _, row := range []struct {
		name    string
		changes []TunnelChange
		left    string // last bytes of the remote ends, in the end
		refused int
		want    string // part of the refusal
	}{
		{"two swap", []TunnelChange{to("gre1", "2.2.2.2"), to("gre2", "2.2.2.1")}, "213", 0, ""},
		{"three in a ring", []TunnelChange{to("gre1", "2.2.2.2"), to("gre2", "2.2.2.3"), to("gre3", "2.2.2.1")}, "231", 0, ""},
		{"one after the other", []TunnelChange{to("gre2", "2.2.2.1"), to("gre1", "2.2.2.9")}, "913", 0, ""},
		{"one twice", []TunnelChange{to("gre1", "2.2.2.2"), to("gre1", "2.2.2.9")}, "923", 0, ""},
		{"where one stays", []TunnelChange{to("gre1", "2.2.2.9"), to("gre2", "2.2.2.3")}, "123", 1, "already exist: gre3"},
		{"to the same ends", []TunnelChange{to("gre1", "2.2.2.9"), to("gre2", "2.2.2.9")}, "123", 0, "already exist: gre2"},
		{"one of none", []TunnelChange{to("gre1", "2.2.2.2"), to("gre7", "2.2.2.1")}, "123", 1, "not exist"},
		{"one of another kind", []TunnelChange{to("gre1", "2.2.2.9"), {"gre2", func(d *TunnelDevice) { d.Kind = TunnelIPIP }}}, "123", 1, "gre2 is of mode gre, which can't be changed"},
		{"one of another name", []TunnelChange{to("gre1", "2.2.2.9"), {"gre2", func(d *TunnelDevice) { d.Name = "gre9" }}}, "123", 1, "can't be changed"},
		{"one to no end", []TunnelChange{to("gre1", "2.2.2.2"), to("gre2", "224.0.0.1")}, "123", 1, "unicast"},
		{"none", nil, "123", 0, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := Spec{Ports: []string{"dpdk0"}}
			for i := range 3 {
				if err := s.AddTunnel(TunnelDevice{Name: fmt.Sprintf("gre%d", i+1), Kind: TunnelGRE, Local: ip("1.1.1.1"), Remote: ip(fmt.Sprintf("2.2.2.%d", i+1))}); err != nil {
					t.Fatal(err)
				}
			}
			refused, err := s.ChangeTunnels(row.changes)
			if refused != row.refused || (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
				t.Errorf("change %d is refused: %v; want %d, %q", refused, err, row.refused, row.want)
			}
			left := ""
			for i, d := range s.Tunnels {
				left += fmt.Sprint(d.Remote.As4()[3])
				if d.Name != fmt.Sprintf("gre%d", i+1) || d.Kind != TunnelGRE {
					t.Errorf("there is %+v", d)
				}
			}
			if left != row.left {
				t.Errorf("the remote ends are %s, want %s", left, row.left)
			}
		})
	}
}

// A DR real server beyond a tunnel is refused, when that is known.
func TestDirectRouteByTunnel(t *testing.T) {
	for _, family := range []struct {
		local, remote, vip, near, inside, wide, host string
	}{
		{"1.1.1.1", "2.2.2.2", "10.0.0.100:80", "10.9.0.1/24", "10.9.0.2", "10.9.0.0/16", "10.9.0.2/32"},
		{"2001:db8::1", "2001:db8::2", "[2001:db8:1::100]:80", "2001:db8:9::1/64", "2001:db8:9::2", "2001:db8::/32", "2001:db8:9::2/128"},
	} {
		addr := func(dev string) func(*Spec) error {
			return func(s *Spec) error {
				return s.AddAddress(Address{Port: dev, Prefix: netip.MustParsePrefix(family.near)}, false)
			}
		}
		route := func(prefix, dev string, metric uint32) func(*Spec) error {
			return func(s *Spec) error {
				return s.AddRoute(Route{Prefix: netip.MustParsePrefix(prefix), Port: dev, Metric: metric})
			}
		}
		for _, row := range []struct {
			name    string
			before  []func(*Spec) error
			forward Forward
			refused bool
		}{
			{"no route yet", nil, DirectRoute, false},
			{"on a link", []func(*Spec) error{addr("dpdk0")}, DirectRoute, false},
			{"on the tunnel's own network", []func(*Spec) error{addr("gre1")}, DirectRoute, true},
			{"by a route into the tunnel", []func(*Spec) error{route(family.wide, "gre1", 0)}, DirectRoute, true},
			{"the longer one leads to a link", []func(*Spec) error{route(family.wide, "gre1", 0), addr("dpdk0")}, DirectRoute, false},
			{"the longer one leads into the tunnel", []func(*Spec) error{addr("dpdk0"), route(family.host, "gre1", 0)}, DirectRoute, true},
			{"the tunnel by full-NAT", []func(*Spec) error{addr("gre1")}, FullNAT, false},
			{"the tunnel by tunnel", []func(*Spec) error{addr("gre1")}, Tunnel, false},
			{"the tunnel by NAT", []func(*Spec) error{addr("gre1")}, Masq, false},
		} {
			t.Run(family.inside+" "+row.name, func(t *testing.T) {
				s := Spec{Ports: []string{"dpdk0", "dpdk1"}}
				if err := s.AddTunnel(TunnelDevice{Name: "gre1", Kind: TunnelGRE, Local: netip.MustParseAddr(family.local), Remote: netip.MustParseAddr(family.remote)}); err != nil {
					t.Fatal(err)
				}
				k := ServiceKey{Proto: TCP, Virtual: netip.MustParseAddrPort(family.vip)}
				if err := s.AddService(Service{ServiceKey: k, Scheduler: "rr"}); err != nil {
					t.Fatal(err)
				}
				for _, do := range row.before {
					if err := do(&s); err != nil {
						t.Fatal(err)
					}
				}
				d := Dest{Addr: netip.AddrPortFrom(netip.MustParseAddr(family.inside), 80), Forward: row.forward, Weight: 1}
				err := s.AddDest(k, d)
				if row.refused != (err != nil && strings.Contains(err.Error(), "the route to it leaves by the tunnel gre1")) || !row.refused && err != nil {
					t.Fatalf("refused: %v", err)
				}
				if row.refused {
					return
				}
				// What is there can be edited whatever became of its route.
				if err := s.AddRoute(Route{Prefix: netip.MustParsePrefix(family.host), Port: "gre1"}); err != nil {
					t.Fatal(err)
				}
				d.Weight = 0
				if err := s.EditDest(k, d); err != nil {
					t.Errorf("edited: %v", err)
				}
			})
		}
	}
}
