package route

import (
	"net/netip"
	"slices"
	"testing"

	"weir/internal/spec"
)

// linux gives the first port's twin addresses.
func linux(prefixes ...string) []Port {
	ports := slices.Clone(twoPorts)
	for _, p := range prefixes {
		ports[0].Linux = append(ports[0].Linux, netip.MustParsePrefix(p))
	}
	return ports
}

// What Linux has on a twin is Linux's, unless Weir has it; a route of scope kni_host
// is before both. None of it but that route is listed.
func TestLinuxAddresses(t *testing.T) {
	ports := linux("10.1.0.7/24", "10.1.0.8/24", "10.9.0.7/16", "fe80::1/64", "2001:db8::8/64", "2001:db8::7/64")
	addrs := []spec.Address{addr("10.1.0.7/24", "dpdk0"), addr("10.9.0.7/32", "dpdk1"), addr("2001:db8::7/64", "dpdk0"), addr("10.1.0.9/32", "dpdk0"), addr("fe80::1/64", "dpdk1")}
	routes := []spec.Route{net("10.1.0.9/32", "dpdk0", scope(spec.ScopeKNIHost)), net("10.1.0.8/32", "dpdk1")}
	tab, err := Build(ports, addrs, routes)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, dst string
		on        uint16
		scope     spec.Scope
		local     bool // is Weir's own on that port
	}{
		{"both have it", "10.1.0.7", 0, spec.ScopeHost, true},
		{"both have it: IPv6", "2001:db8::7", 0, spec.ScopeHost, true},
		{"Linux alone, and a route to it", "10.1.0.8", 0, spec.ScopeKNIHost, false},
		{"Linux alone: IPv6", "2001:db8::8", 0, spec.ScopeKNIHost, false},
		{"Linux on one port, Weir on another", "10.9.0.7", 0, spec.ScopeHost, false},
		{"Weir, and a route of scope kni_host", "10.1.0.9", 0, spec.ScopeKNIHost, true},
		{"link-local: Linux's on its link", "fe80::1", 0, spec.ScopeKNIHost, false},
		{"link-local: Weir's on its link", "fe80::1", 1, spec.ScopeHost, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			dst := netip.MustParseAddr(row.dst)
			r, ok := tab.LookupOn(row.on, dst)
			if !ok || r.Scope != row.scope || tab.LocalOn(row.on, dst) != row.local {
				t.Errorf("LookupOn = %+v, %v; Weir's own: %v", r, ok, tab.LocalOn(row.on, dst))
			}
		})
	}
	without, err := Build(twoPorts, addrs, routes)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := lines(tab), lines(without); got != want {
		t.Errorf("listed:\n%swithout Linux:\n%s", got, want)
	}
	if tab.Equal(without) || !tab.Equal(tab) {
		t.Error("tables with and without Linux's addresses lead to the same places, they say")
	}
}

// Linux's address speaks to its own link where Weir has none there: it has the port's
// MAC, so that the answer comes.
func TestSourceOfLinux(t *testing.T) {
	for _, row := range []struct {
		name  string
		ports []Port
		addrs []spec.Address
		dst   string
		want  string
	}{
		{"Linux alone", linux("172.10.0.2/30"), nil, "172.10.0.1", "172.10.0.2"},
		{"before an address of another link", linux("172.10.0.2/30"), []spec.Address{addr("10.0.0.5/16", "dpdk0"), addr("10.0.0.9/32", "dpdk0", sapool)}, "172.10.0.1", "172.10.0.2"},
		{"Weir's own first", linux("172.10.0.2/30"), []spec.Address{addr("172.10.0.3/24", "dpdk0")}, "172.10.0.1", "172.10.0.3"},
		{"not to another link", linux("172.10.0.2/30"), []spec.Address{addr("10.0.0.5/16", "dpdk0")}, "10.9.0.1", "10.0.0.5"},
		{"narrower link first", linux("172.10.0.2/16", "172.10.0.3/30"), nil, "172.10.0.1", "172.10.0.3"},
		{"IPv6", linux("2001:db8:172::2/64"), nil, "2001:db8:172::1", "2001:db8:172::2"},
	} {
		t.Run(row.name, func(t *testing.T) {
			tab, err := Build(row.ports, row.addrs, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := tab.Source(0, netip.MustParseAddr(row.dst)); got.String() != row.want {
				t.Errorf("Source = %v, want %s", got, row.want)
			}
		})
	}
}
