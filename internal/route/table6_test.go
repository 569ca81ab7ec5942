package route

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"weir/internal/spec"
)

// withLinkLocal are ports that have an address on their links from the start.
var withLinkLocal = []Port{
	{ID: 0, Name: "dpdk0", MTU: 1500, LinkLocal: netip.MustParseAddr("fe80::a")},
	{ID: 1, Name: "dpdk1", MTU: 9000, LinkLocal: netip.MustParseAddr("fe80::b")},
}

func build6(t testing.TB, addrs []spec.Address, routes []spec.Route) *Table {
	t.Helper()
	tab, err := Build(withLinkLocal, addrs, routes)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func TestList6(t *testing.T) {
	tab := build6(t,
		[]spec.Address{addr("2001:db8:9::7/128", "dpdk1"), addr("2001:db8:1::7/64", "dpdk0"), addr("10.9.0.7/32", "dpdk0")},
		[]spec.Route{net("::/0", "dpdk1", via("fe80::1")), net("2001:db8:9::/64", "dpdk1"), net("2001:db8:ff::2/128", "dpdk1", scope(spec.ScopeKNIHost))})
	want := []string{
		"2001:db8:ff::2/128 dpdk1 kni_host",
		"10.9.0.7/32 dpdk0 host",
		"2001:db8:1::7/128 dpdk0 host",
		"2001:db8:9::7/128 dpdk1 host",
		"fe80::a/128 dpdk0 host",
		"fe80::b/128 dpdk1 host",
		"fe80::/64 dpdk0 link",
		"fe80::/64 dpdk1 link",
		"2001:db8:1::/64 dpdk0 link",
		"2001:db8:9::/64 dpdk1 link",
		"::/0 dpdk1 global",
	}
	var got []string
	for _, l := range tab.List() {
		got = append(got, l.Prefix.String()+" "+l.Dev+" "+l.Scope.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestLookup6(t *testing.T) {
	tab := build6(t,
		[]spec.Address{addr("2001:db8:1::7/64", "dpdk0"), addr("2001:db8:9::7/128", "dpdk1"), addr("fe80::7/64", "dpdk1")},
		[]spec.Route{net("::/0", "dpdk1", via("fe80::1")), net("2001:db8:9::/48", "dpdk1"),
			net("2001:db8:ff::2/128", "dpdk1", scope(spec.ScopeKNIHost))})
	const none = spec.Scope(255)
	for _, row := range []struct {
		name, dst string
		in        uint16
		scope     spec.Scope
		port      uint16
		next      string
	}{
		{"own address", "2001:db8:1::7", 1, spec.ScopeHost, 0, "2001:db8:1::7"},
		{"the kernel's", "2001:db8:ff::2", 0, spec.ScopeKNIHost, 1, "2001:db8:ff::2"},
		{"on link of an address", "2001:db8:1::8", 0, spec.ScopeLink, 0, "2001:db8:1::8"},
		{"on link of a route", "2001:db8:9::8", 0, spec.ScopeLink, 1, "2001:db8:9::8"},
		{"default by a link-local gateway", "2600::1", 0, spec.ScopeGlobal, 1, "fe80::1"},
		{"link-local of this port", "fe80::a", 0, spec.ScopeHost, 0, "fe80::a"},
		{"link-local of the other port is on this link", "fe80::b", 0, spec.ScopeLink, 0, "fe80::b"},
		{"the same number there is ours", "fe80::b", 1, spec.ScopeHost, 1, "fe80::b"},
		{"link-local added by hand", "fe80::7", 1, spec.ScopeHost, 1, "fe80::7"},
		{"neighbour on a link", "fe80::1", 1, spec.ScopeLink, 1, "fe80::1"},
		{"link-local beyond /64 is on no link, whatever the default route", "fe80:1::1", 1, none, 0, ""},
		{"no such port", "fe80::1", 7, none, 0, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			dst := netip.MustParseAddr(row.dst)
			r, ok := tab.LookupOn6(row.in, dst.As16())
			if ok != (row.scope != none) || ok && (r.Scope != row.scope || r.Port != row.port || tab.NextHop(r, dst).String() != row.next) {
				t.Fatalf("LookupOn = %+v, %v", r, ok)
			}
			without, found := tab.Lookup6(dst.As16())
			if dst.IsLinkLocalUnicast() && found || !dst.IsLinkLocalUnicast() && without != r {
				t.Errorf("Lookup without a port = %+v, %v", without, found)
			}
		})
	}
	for _, row := range []struct {
		port uint16
		addr string
		want bool
	}{{0, "fe80::a", true}, {1, "fe80::a", false}, {1, "fe80::7", true}, {0, "2001:db8:1::7", true}, {7, "fe80::a", false}} {
		if got := tab.LocalOn(row.port, netip.MustParseAddr(row.addr)); got != row.want {
			t.Errorf("LocalOn(%d, %s) = %v", row.port, row.addr, got)
		}
	}
	if _, ok := tab.Local(netip.MustParseAddr("fe80::a")); ok {
		t.Error("a link-local address is local without a port")
	}
	if port, ok := tab.Local(netip.MustParseAddr("2001:db8:9::7")); !ok || port != 1 {
		t.Errorf("Local = %d, %v", port, ok)
	}
}

func TestLinkLocal4IsAnAddressAsOthers(t *testing.T) {
	tab := build6(t, []spec.Address{addr("169.254.0.1/16", "dpdk0")}, nil)
	if r, ok := tab.Lookup4([4]byte{169, 254, 0, 9}); !ok || r.Scope != spec.ScopeLink {
		t.Errorf("Lookup = %+v, %v", r, ok)
	}
}

func TestSource6(t *testing.T) {
	four, vip := addr("10.0.0.5/16", "dpdk0"), addr("2001:db8::100/128", "dpdk0")
	link, wide := addr("2001:db8:1::5/64", "dpdk0"), addr("2001:db8:2::5/32", "dpdk0")
	lip, elsewhere := addr("2001:db8:3::9/128", "dpdk0", sapool), addr("2001:db8:4::9/64", "dpdk1")
	for _, row := range []struct {
		name  string
		addrs []spec.Address
		dst   string
		want  string
	}{
		{"link of the destination first", []spec.Address{vip, lip, wide, link}, "2001:db8:1::1", "2001:db8:1::5"},
		{"then a local address", []spec.Address{vip, link, lip}, "2600::1", "2001:db8:3::9"},
		{"then one with a link", []spec.Address{vip, link}, "2600::1", "2001:db8:1::5"},
		{"then any of the port", []spec.Address{elsewhere, vip}, "2600::1", "2001:db8::100"},
		{"then any at all", []spec.Address{elsewhere}, "2600::1", "2001:db8:4::9"},
		{"then the link-local", []spec.Address{four}, "2600::1", "fe80::a"},
		{"the link-local first to a neighbour's link-local", []spec.Address{link, lip}, "fe80::1", "fe80::a"},
		{"and to groups of the link", []spec.Address{link, lip}, "ff02::1", "fe80::a"},
		{"never of the other family", []spec.Address{link, lip}, "10.0.0.1", "invalid IP"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := build6(t, row.addrs, nil).Source(0, netip.MustParseAddr(row.dst)); got.String() != row.want {
				t.Errorf("Source = %v, want %s", got, row.want)
			}
		})
	}
	if got := build(t, []spec.Address{four}, nil).Source(0, netip.MustParseAddr("2600::1")); got.IsValid() {
		t.Errorf("Source toward IPv6 with IPv4 addresses alone = %v", got)
	}
	if got := build(t, []spec.Address{link}, nil).Source(0, netip.MustParseAddr("fe80::1")); got != link.Prefix.Addr() {
		t.Errorf("Source toward a link-local without one = %v", got)
	}
}

func TestTentativeAndDuplicate(t *testing.T) {
	a, mate := netip.MustParseAddr("2001:db8:1::7"), netip.MustParseAddr("2001:db8:1::8")
	ports := func(tentative, duplicate []netip.Addr) []Port {
		return []Port{{ID: 0, Name: "dpdk0", MTU: 1500, LinkLocal: withLinkLocal[0].LinkLocal, Tentative: tentative, Duplicate: duplicate}}
	}
	self := []netip.Addr{a, withLinkLocal[0].LinkLocal}
	for _, row := range []struct {
		name                      string
		ports                     []Port
		ours, answered, tentative bool
		source                    string
	}{
		{"in use", ports(nil, nil), true, true, false, "2001:db8:1::7"},
		{"tentative: ours, and silent", ports(self, nil), true, false, true, "invalid IP"},
		{"duplicate: not ours", ports(nil, self), false, false, false, "invalid IP"},
	} {
		t.Run(row.name, func(t *testing.T) {
			tab, err := Build(row.ports, []spec.Address{{Prefix: netip.PrefixFrom(a, 64), Port: "dpdk0"}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, ours := tab.Local(a)
			if ours != row.ours || tab.LocalOn(0, a) != row.answered || tab.TentativeOn(0, a) != row.tentative {
				t.Errorf("local %v, answered for %v, tentative %v", ours, tab.LocalOn(0, a), tab.TentativeOn(0, a))
			}
			if got := tab.Source(0, mate); got.String() != row.source {
				t.Errorf("Source = %v, want %s", got, row.source)
			}
			r, ok := tab.Lookup(mate)
			if !ok || r.Scope != spec.ScopeLink || r.Src.IsValid() != row.answered {
				t.Errorf("the link stays whatever the address: %+v, %v", r, ok)
			}
		})
	}
	if tab := build6(t, nil, nil); tab.TentativeOn(7, a) || tab.LinkLocal(7).IsValid() || tab.LinkLocal(1) != withLinkLocal[1].LinkLocal {
		t.Error("ports that don't exist have addresses, or one that does has not its own")
	}
}

func TestBuildRefuses6(t *testing.T) {
	for _, row := range []struct {
		name   string
		addrs  []spec.Address
		routes []spec.Route
		is     error
		says   string
	}{
		{"address on an unknown device", []spec.Address{addr("2001:db8::1/64", "eth7")}, nil, ErrNoDevice,
			`address 2001:db8::1/64 dev eth7: no such device "eth7": name a device of dpvs.conf`},
		{"address twice", []spec.Address{addr("2001:db8::1/64", "dpdk0"), addr("2001:db8::1/128", "dpdk0")}, nil, ErrExists,
			"address 2001:db8::1/128 dev dpdk0: already exists on this device"},
		{"the port's own link-local", []spec.Address{addr("fe80::a/64", "dpdk0")}, nil, ErrExists,
			"address fe80::a/64 dev dpdk0: already exists on this device"},
		{"multicast address", []spec.Address{addr("ff02::1/128", "dpdk0")}, nil, ErrInvalid,
			"address ff02::1/128 dev dpdk0: invalid parameter: a machine can't have this address"},
		{"unspecified address", []spec.Address{addr("::/128", "dpdk0")}, nil, ErrInvalid,
			"address ::/128 dev dpdk0: invalid parameter: a machine can't have this address"},
		{"loopback address", []spec.Address{addr("::1/128", "dpdk0")}, nil, ErrInvalid,
			"address ::1/128 dev dpdk0: invalid parameter: a machine can't have this address"},
		{"IPv4 in IPv6", []spec.Address{addr("::ffff:10.0.0.1/128", "dpdk0")}, nil, ErrInvalid,
			"address ::ffff:10.0.0.1/128 dev dpdk0: invalid parameter: write the IPv4 address itself, 10.0.0.1"},
		{"route twice", nil, []spec.Route{net("2001:db8::/32", "dpdk0"), net("2001:db8::/32", "dpdk0", via("fe80::1"))}, ErrExists,
			"route 2001:db8::/32 dev dpdk0: already exists"},
		{"host bits", nil, []spec.Route{net("2001:db8::1/64", "dpdk0")}, ErrInvalid,
			"route 2001:db8::1/64 dev dpdk0: invalid parameter: bits are set behind the prefix length, write 2001:db8::/64"},
		{"kni_host network", nil, []spec.Route{net("2001:db8::/64", "dpdk0", scope(spec.ScopeKNIHost))}, ErrInvalid,
			"route 2001:db8::/64 dev dpdk0: invalid parameter: scope kni_host is for one address, the prefix length must be 128"},
		{"IPv4 gateway", nil, []spec.Route{net("2001:db8::/64", "dpdk0", via("10.0.0.1"))}, ErrInvalid,
			"route 2001:db8::/64 dev dpdk0: invalid parameter: gateway 10.0.0.1 is not an IPv6 address"},
		{"IPv4 gateway in IPv6", nil, []spec.Route{net("2001:db8::/64", "dpdk0", via("::ffff:10.0.0.1"))}, ErrInvalid,
			"route 2001:db8::/64 dev dpdk0: invalid parameter: gateway ::ffff:10.0.0.1 is not an IPv6 address"},
		{"gateway with a zone", nil, []spec.Route{net("2001:db8::/64", "dpdk0", via("fe80::1%eth0"))}, ErrInvalid,
			"route 2001:db8::/64 dev dpdk0: invalid parameter: gateway fe80::1%eth0 is not the address of a machine"},
		{"gateway is a group", nil, []spec.Route{net("2001:db8::/64", "dpdk0", via("ff02::2"))}, ErrInvalid,
			"route 2001:db8::/64 dev dpdk0: invalid parameter: gateway ff02::2 is not the address of a machine"},
		{"IPv4 source", nil, []spec.Route{net("2001:db8::/64", "dpdk0", func(r *spec.Route) { r.Src = netip.MustParseAddr("10.0.0.1") })}, ErrInvalid,
			"route 2001:db8::/64 dev dpdk0: invalid parameter: source 10.0.0.1 is not an IPv6 address"},
		{"to link-local", nil, []spec.Route{net("fe80::/64", "dpdk0")}, ErrInvalid,
			"route fe80::/64 dev dpdk0: invalid parameter: nothing can be sent to fe80::/64 by a route"},
		{"to groups", nil, []spec.Route{net("ff00::/8", "dpdk0")}, ErrInvalid,
			"route ff00::/8 dev dpdk0: invalid parameter: nothing can be sent to ff00::/8 by a route"},
		{"to loopback", nil, []spec.Route{net("::1/128", "dpdk0")}, ErrInvalid,
			"route ::1/128 dev dpdk0: invalid parameter: nothing can be sent to ::1/128 by a route"},
		{"to IPv4 in IPv6", nil, []spec.Route{net("::ffff:10.0.0.0/120", "dpdk0")}, ErrInvalid,
			"route ::ffff:10.0.0.0/120 dev dpdk0: invalid parameter: write the IPv4 prefix itself"},
	} {
		t.Run(row.name, func(t *testing.T) {
			tab, err := Build(withLinkLocal, row.addrs, row.routes)
			if tab != nil || !errors.Is(err, row.is) || err.Error() != row.says {
				t.Errorf("Build = %v, want %s", err, row.says)
			}
		})
	}
	if _, err := Build([]Port{{Name: "dpdk0", LinkLocal: netip.MustParseAddr("2001:db8::1")}}, nil, nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("a link-local address outside of fe80::/10: %v", err)
	}
}

func TestEqual6(t *testing.T) {
	ports := slices.Clone(withLinkLocal)
	a, err := Build(ports, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !a.Equal(build6(t, nil, nil)) {
		t.Error("the same input gives an unequal table")
	}
	ports[1].LinkLocal = netip.MustParseAddr("fe80::c")
	b, err := Build(ports, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if a.Equal(b) {
		t.Error("a link-local address changed and the tables are equal")
	}
}
