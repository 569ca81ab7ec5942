package route

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"weir/internal/spec"
)

var twoPorts = []Port{{ID: 0, Name: "dpdk0", MTU: 1500}, {ID: 1, Name: "dpdk1", MTU: 9000}}

func addr(s string, port string, more ...func(*spec.Address)) spec.Address {
	a := spec.Address{Prefix: netip.MustParsePrefix(s), Port: port}
	for _, f := range more {
		f(&a)
	}
	return a
}

func sapool(a *spec.Address) { a.SAPool = true }

func net(s, port string, more ...func(*spec.Route)) spec.Route {
	r := spec.Route{Prefix: netip.MustParsePrefix(s), Port: port}
	for _, f := range more {
		f(&r)
	}
	return r
}

func via(gw string) func(*spec.Route) {
	return func(r *spec.Route) { r.Via = netip.MustParseAddr(gw) }
}

func scope(s spec.Scope) func(*spec.Route) { return func(r *spec.Route) { r.Scope = s } }

func build(t testing.TB, addrs []spec.Address, routes []spec.Route) *Table {
	t.Helper()
	tab, err := Build(twoPorts, addrs, routes)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

// lines is what `dpip route show` makes of List.
func lines(tab *Table) string {
	var b strings.Builder
	for _, l := range tab.List() {
		gw, src := netip.IPv4Unspecified(), netip.IPv4Unspecified()
		if l.Gateway.IsValid() {
			gw = l.Gateway
		}
		if l.Src.IsValid() {
			src = l.Src
		}
		fmt.Fprintf(&b, "inet %v via %v src %v dev %s mtu %d tos 0 scope %v metric %d proto auto\n", l.Prefix, gw, src, l.Dev, l.MTU, l.Scope, l.Metric)
	}
	return b.String()
}

func TestListOfTheTutorial(t *testing.T) {
	tab, err := Build([]Port{{ID: 0, Name: "dpdk0", MTU: 1500}, {ID: 1, Name: "dpdk1", MTU: 1500}},
		[]spec.Address{addr("10.0.0.100/32", "dpdk1"), addr("192.168.100.200/32", "dpdk0", sapool)},
		[]spec.Route{net("10.0.0.0/16", "dpdk1"), net("192.168.100.0/24", "dpdk0")})
	if err != nil {
		t.Fatal(err)
	}
	want := `inet 10.0.0.100/32 via 0.0.0.0 src 0.0.0.0 dev dpdk1 mtu 1500 tos 0 scope host metric 0 proto auto
inet 192.168.100.200/32 via 0.0.0.0 src 0.0.0.0 dev dpdk0 mtu 1500 tos 0 scope host metric 0 proto auto
inet 192.168.100.0/24 via 0.0.0.0 src 0.0.0.0 dev dpdk0 mtu 1500 tos 0 scope link metric 0 proto auto
inet 10.0.0.0/16 via 0.0.0.0 src 0.0.0.0 dev dpdk1 mtu 1500 tos 0 scope link metric 0 proto auto
`
	if got := lines(tab); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestListOrderAndWords(t *testing.T) {
	tab := build(t,
		[]spec.Address{addr("10.9.0.7/32", "dpdk1"), addr("10.1.0.7/24", "dpdk0"), addr("10.1.0.9/24", "dpdk0"), addr("10.9.0.7/32", "dpdk0")},
		[]spec.Route{
			net("0.0.0.0/0", "dpdk1", via("10.9.0.1"), func(r *spec.Route) { r.MTU, r.Metric, r.Src = 1400, 5, netip.MustParseAddr("10.9.0.7") }),
			net("172.10.0.2/32", "dpdk1", scope(spec.ScopeKNIHost)),
			net("10.7.0.0/16", "dpdk1"), net("10.6.0.0/16", "dpdk0", via("10.1.0.1")), net("10.7.0.0/16", "dpdk0"),
			net("10.7.7.7/32", "dpdk0"),
		})
	want := `inet 172.10.0.2/32 via 0.0.0.0 src 0.0.0.0 dev dpdk1 mtu 9000 tos 0 scope kni_host metric 0 proto auto
inet 10.1.0.7/32 via 0.0.0.0 src 0.0.0.0 dev dpdk0 mtu 1500 tos 0 scope host metric 0 proto auto
inet 10.9.0.7/32 via 0.0.0.0 src 0.0.0.0 dev dpdk0 mtu 1500 tos 0 scope host metric 0 proto auto
inet 10.9.0.7/32 via 0.0.0.0 src 0.0.0.0 dev dpdk1 mtu 9000 tos 0 scope host metric 0 proto auto
inet 10.1.0.9/32 via 0.0.0.0 src 0.0.0.0 dev dpdk0 mtu 1500 tos 0 scope host metric 0 proto auto
inet 10.7.7.7/32 via 0.0.0.0 src 0.0.0.0 dev dpdk0 mtu 1500 tos 0 scope link metric 0 proto auto
inet 10.1.0.0/24 via 0.0.0.0 src 10.1.0.7 dev dpdk0 mtu 1500 tos 0 scope link metric 0 proto auto
inet 10.7.0.0/16 via 0.0.0.0 src 0.0.0.0 dev dpdk1 mtu 9000 tos 0 scope link metric 0 proto auto
inet 10.6.0.0/16 via 10.1.0.1 src 0.0.0.0 dev dpdk0 mtu 1500 tos 0 scope global metric 0 proto auto
inet 10.7.0.0/16 via 0.0.0.0 src 0.0.0.0 dev dpdk0 mtu 1500 tos 0 scope link metric 0 proto auto
inet 0.0.0.0/0 via 10.9.0.1 src 10.9.0.7 dev dpdk1 mtu 1400 tos 0 scope global metric 5 proto auto
`
	if got := lines(tab); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestLookup(t *testing.T) {
	tab := build(t,
		[]spec.Address{addr("10.1.0.7/24", "dpdk0"), addr("10.9.0.7/32", "dpdk1"), addr("10.9.0.7/32", "dpdk0")},
		[]spec.Route{net("0.0.0.0/0", "dpdk1", via("10.9.0.1")), net("10.9.0.0/16", "dpdk1"), net("10.9.0.7/32", "dpdk1"),
			net("172.10.0.2/32", "dpdk1", scope(spec.ScopeKNIHost))})
	for _, row := range []struct {
		name, dst string
		scope     spec.Scope
		port      uint16
		next      string
	}{
		{"own address", "10.1.0.7", spec.ScopeHost, 0, "10.1.0.7"},
		{"own address before a /32 route; first of two ports", "10.9.0.7", spec.ScopeHost, 1, "10.9.0.7"},
		{"the kernel's", "172.10.0.2", spec.ScopeKNIHost, 1, "172.10.0.2"},
		{"on link of an address", "10.1.0.8", spec.ScopeLink, 0, "10.1.0.8"},
		{"on link of a route", "10.9.3.4", spec.ScopeLink, 1, "10.9.3.4"},
		{"default by gateway", "8.8.8.8", spec.ScopeGlobal, 1, "10.9.0.1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			dst := netip.MustParseAddr(row.dst)
			r, ok := tab.Lookup(dst)
			if !ok || r.Scope != row.scope || r.Port != row.port || tab.NextHop(r, dst).String() != row.next {
				t.Fatalf("Lookup = %+v, %v", r, ok)
			}
			if r4, _ := tab.Lookup4(dst.As4()); r4 != r {
				t.Errorf("Lookup4 = %+v, Lookup = %+v", r4, r)
			}
		})
	}
	if port, ok := tab.Local(netip.MustParseAddr("10.9.0.7")); !ok || port != 1 {
		t.Errorf("Local = %d, %v", port, ok)
	}
	if _, ok := tab.Local(netip.MustParseAddr("172.10.0.2")); ok {
		t.Error("the kernel's address counts as the director's")
	}
	for _, row := range []struct {
		port uint16
		addr string
		want bool
	}{{0, "10.1.0.7", true}, {1, "10.1.0.7", false}, {0, "10.9.0.7", true}, {1, "10.9.0.7", true}, {7, "10.9.0.7", false}, {0, "10.1.0.8", false}} {
		if got := tab.LocalOn(row.port, netip.MustParseAddr(row.addr)); got != row.want {
			t.Errorf("LocalOn(%d, %s) = %v", row.port, row.addr, got)
		}
	}
}

func TestSource(t *testing.T) {
	for _, row := range []struct {
		name  string
		addrs []spec.Address
		dst   string
		want  string
	}{
		{"link of the destination first", []spec.Address{addr("10.0.0.100/32", "dpdk0"), addr("10.0.0.9/32", "dpdk0", sapool), addr("10.0.0.5/16", "dpdk0")}, "10.0.3.1", "10.0.0.5"},
		{"narrower link first", []spec.Address{addr("10.0.0.5/8", "dpdk0"), addr("10.0.0.6/16", "dpdk0")}, "10.0.3.1", "10.0.0.6"},
		{"then a local address", []spec.Address{addr("10.0.0.100/32", "dpdk0"), addr("172.16.0.1/16", "dpdk0"), addr("10.0.0.9/32", "dpdk0", sapool)}, "10.0.3.1", "10.0.0.9"},
		{"then one with a link", []spec.Address{addr("10.0.0.100/32", "dpdk0"), addr("172.16.0.1/16", "dpdk0")}, "10.0.3.1", "172.16.0.1"},
		{"then any of the port", []spec.Address{addr("10.9.9.9/8", "dpdk1"), addr("10.0.0.100/32", "dpdk0")}, "10.0.3.1", "10.0.0.100"},
		{"then any at all", []spec.Address{addr("10.9.9.9/8", "dpdk1")}, "10.0.3.1", "10.9.9.9"},
		{"none", nil, "10.0.3.1", "invalid IP"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := build(t, row.addrs, nil).Source(0, netip.MustParseAddr(row.dst)); got.String() != row.want {
				t.Errorf("Source = %v, want %s", got, row.want)
			}
		})
	}
}

func TestBuildRefuses(t *testing.T) {
	for _, row := range []struct {
		name   string
		addrs  []spec.Address
		routes []spec.Route
		is     error
		says   string
	}{
		{"address on an unknown device", []spec.Address{addr("10.0.0.1/24", "eth7")}, nil, ErrNoDevice,
			`address 10.0.0.1/24 dev eth7: no such device "eth7": name a device of dpvs.conf`},
		{"address twice", []spec.Address{addr("10.0.0.1/24", "dpdk0"), addr("10.0.0.1/32", "dpdk0")}, nil, ErrExists,
			"address 10.0.0.1/32 dev dpdk0: already exists on this device"},
		{"loopback address", []spec.Address{addr("127.0.0.1/8", "dpdk0")}, nil, ErrInvalid,
			"address 127.0.0.1/8 dev dpdk0: invalid parameter: a machine can't have this address"},
		{"multicast address", []spec.Address{addr("224.0.0.1/32", "dpdk0")}, nil, ErrInvalid,
			"address 224.0.0.1/32 dev dpdk0: invalid parameter: a machine can't have this address"},
		{"no address", []spec.Address{{Port: "dpdk0"}}, nil, ErrInvalid,
			"address invalid Prefix dev dpdk0: invalid parameter: not an address"},
		{"route on an unknown device", nil, []spec.Route{net("10.0.0.0/24", "")}, ErrNoDevice,
			`route 10.0.0.0/24 dev : no such device "": name a device of dpvs.conf`},
		{"route twice", nil, []spec.Route{net("10.0.0.0/24", "dpdk0"), net("10.0.0.0/24", "dpdk0", via("10.1.1.1"))}, ErrExists,
			"route 10.0.0.0/24 dev dpdk0: already exists"},
		{"host bits", nil, []spec.Route{net("10.0.0.1/24", "dpdk0")}, ErrInvalid,
			"route 10.0.0.1/24 dev dpdk0: invalid parameter: bits are set behind the prefix length, write 10.0.0.0/24"},
		{"kni_host network", nil, []spec.Route{net("10.0.0.0/24", "dpdk0", scope(spec.ScopeKNIHost))}, ErrInvalid,
			"route 10.0.0.0/24 dev dpdk0: invalid parameter: scope kni_host is for one address, the prefix length must be 32"},
		{"IPv6 gateway", nil, []spec.Route{net("10.0.0.0/24", "dpdk0", via("fe80::1"))}, ErrInvalid,
			"route 10.0.0.0/24 dev dpdk0: invalid parameter: gateway fe80::1 is not an IPv4 address"},
		{"IPv6 source", nil, []spec.Route{net("10.0.0.0/24", "dpdk0", func(r *spec.Route) { r.Src = netip.MustParseAddr("::1") })}, ErrInvalid,
			"route 10.0.0.0/24 dev dpdk0: invalid parameter: source ::1 is not an IPv4 address"},
		{"gateway is a group", nil, []spec.Route{net("10.0.0.0/24", "dpdk0", via("224.0.0.1"))}, ErrInvalid,
			"route 10.0.0.0/24 dev dpdk0: invalid parameter: gateway 224.0.0.1 is not the address of a machine"},
		{"MTU", nil, []spec.Route{net("10.0.0.0/24", "dpdk0", func(r *spec.Route) { r.MTU = 70000 })}, ErrInvalid,
			"route 10.0.0.0/24 dev dpdk0: invalid parameter: mtu 70000 is not between 0 and 65535"},
		{"no prefix", nil, []spec.Route{{Port: "dpdk0"}}, ErrInvalid, "route invalid Prefix dev dpdk0: invalid parameter: not a prefix"},
	} {
		t.Run(row.name, func(t *testing.T) {
			tab, err := Build(twoPorts, row.addrs, row.routes)
			if tab != nil || !errors.Is(err, row.is) || err.Error() != row.says {
				t.Errorf("Build = %v, %v\nwant %s", tab, err, row.says)
			}
		})
	}
}

func TestConfiguredRouteStandsForTheDerivedOne(t *testing.T) {
	tab := build(t, []spec.Address{addr("10.0.0.1/24", "dpdk0")}, []spec.Route{net("10.0.0.0/24", "dpdk0", func(r *spec.Route) { r.MTU = 1300 })})
	r, ok := tab.Lookup4([4]byte{10, 0, 0, 9})
	if !ok || r.MTU != 1300 || len(tab.List()) != 2 {
		t.Errorf("route %+v, %v; list\n%s", r, ok, lines(tab))
	}
}

func TestEqual(t *testing.T) {
	base := func() ([]spec.Address, []spec.Route) {
		return []spec.Address{addr("10.0.0.1/24", "dpdk0")}, []spec.Route{net("0.0.0.0/0", "dpdk1", via("10.9.0.1"))}
	}
	a, r := base()
	tab := build(t, a, r)
	if !tab.Equal(build(t, a, r)) {
		t.Error("the same input gives an unequal table")
	}
	for _, row := range []struct {
		name   string
		change func(a *[]spec.Address, r *[]spec.Route)
	}{
		{"gateway", func(_ *[]spec.Address, r *[]spec.Route) { (*r)[0].Via = netip.MustParseAddr("10.9.0.2") }},
		{"port", func(_ *[]spec.Address, r *[]spec.Route) { (*r)[0].Port = "dpdk0" }},
		{"MTU", func(_ *[]spec.Address, r *[]spec.Route) { (*r)[0].MTU = 1000 }},
		{"one more", func(_ *[]spec.Address, r *[]spec.Route) { *r = append(*r, net("1.0.0.0/8", "dpdk0")) }},
		{"address gone", func(a *[]spec.Address, _ *[]spec.Route) { *a = nil }},
	} {
		a, r := base()
		row.change(&a, &r)
		if tab.Equal(build(t, a, r)) {
			t.Errorf("%s changed and the tables are equal", row.name)
		}
	}
}

// scan is the model: look at every route.
func scan(ports []Port, addrs []spec.Address, routes []spec.Route, dst netip.Addr) (scope spec.Scope, port string, next netip.Addr, ok bool) {
	for _, r := range routes {
		if r.Scope == spec.ScopeKNIHost && r.Prefix.Addr() == dst {
			return spec.ScopeKNIHost, r.Port, dst, true
		}
	}
	for _, a := range addrs {
		if a.Prefix.Addr() == dst {
			return spec.ScopeHost, a.Port, dst, true
		}
	}
	for _, p := range ports {
		if slices.Contains(p.Linux, netip.PrefixFrom(dst, dst.BitLen())) {
			return spec.ScopeKNIHost, p.Name, dst, true
		}
	}
	best := -1
	take := func(p netip.Prefix, s spec.Scope, on string, n netip.Addr) {
		if p.Contains(dst) && p.Bits() > best {
			best, scope, port, next, ok = p.Bits(), s, on, n, true
		}
	}
	stands := func(p netip.Prefix, on string) bool {
		return slices.ContainsFunc(routes, func(r spec.Route) bool { return r.Prefix == p && r.Port == on })
	}
	for _, a := range addrs {
		if !a.Prefix.IsSingleIP() && !stands(a.Prefix.Masked(), a.Port) {
			take(a.Prefix.Masked(), spec.ScopeLink, a.Port, dst)
		}
	}
	for _, r := range routes {
		switch {
		case r.Scope == spec.ScopeKNIHost:
		case r.Via.IsValid():
			take(r.Prefix, spec.ScopeGlobal, r.Port, r.Via)
		default:
			take(r.Prefix, spec.ScopeLink, r.Port, dst)
		}
	}
	return scope, port, next, ok
}

// few makes addresses of which few bits differ, so that prefixes nest and
// destinations hit.
func few(t *rapid.T) (b, c, d byte) {
	return byte(rapid.IntRange(0, 3).Draw(t, "b")) << 6, byte(rapid.IntRange(0, 1).Draw(t, "c")), byte(rapid.IntRange(0, 7).Draw(t, "d"))
}

func TestLookupAgainstScan(t *testing.T) {
	againstScan(t, rapid.Custom(func(t *rapid.T) netip.Addr {
		b, c, d := few(t)
		return netip.AddrFrom4([4]byte{10, b, c, d})
	}), []int{0, 1, 8, 9, 10, 16, 23, 24, 29, 30, 31, 32})
}

func TestLookupAgainstScan6(t *testing.T) {
	againstScan(t, rapid.Custom(func(t *rapid.T) netip.Addr {
		b, c, d := few(t)
		return netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 5: b, 8: c, 15: d})
	}), []int{0, 1, 16, 41, 42, 48, 64, 71, 72, 125, 126, 127, 128})
}

func againstScan(t *testing.T, address *rapid.Generator[netip.Addr], lengths []int) {
	device := rapid.SampledFrom([]string{"dpdk0", "dpdk1"})
	length := rapid.SampledFrom(lengths)
	rapid.Check(t, func(t *rapid.T) {
		var addrs []spec.Address
		var routes []spec.Route
		seen := map[string]bool{}
		for range rapid.IntRange(0, 6).Draw(t, "addresses") {
			a := spec.Address{Prefix: netip.PrefixFrom(address.Draw(t, "addr"), length.Draw(t, "len")), Port: device.Draw(t, "dev")}
			if k := a.Prefix.Addr().String() + a.Port; !seen[k] {
				seen[k] = true
				addrs = append(addrs, a)
			}
		}
		for range rapid.IntRange(0, 10).Draw(t, "routes") {
			r := spec.Route{Prefix: netip.PrefixFrom(address.Draw(t, "net"), length.Draw(t, "len")).Masked(), Port: device.Draw(t, "dev")}
			k := r.Prefix.String() + r.Port
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 1:
				r.Via = address.Draw(t, "via")
			case 2:
				if r.Prefix.IsSingleIP() {
					r.Scope = spec.ScopeKNIHost
					k = "h" + r.Prefix.Addr().String() + r.Port
				}
			}
			if !seen[k] {
				seen[k] = true
				routes = append(routes, r)
			}
		}
		ports := slices.Clone(twoPorts)
		for i := range ports {
			for range rapid.IntRange(0, 3).Draw(t, "linux") {
				a := address.Draw(t, "kni")
				if host := netip.PrefixFrom(a, a.BitLen()); !slices.Contains(ports[i].Linux, host) {
					ports[i].Linux = append(ports[i].Linux, host)
				}
			}
		}
		tab, err := Build(ports, addrs, routes)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			dst := address.Draw(t, "dst")
			r, ok := tab.Lookup(dst)
			scope, port, next, want := scan(ports, addrs, routes, dst)
			if ok != want {
				t.Fatalf("Lookup(%v) found %v, the scan %v", dst, ok, want)
			}
			if ok && (r.Scope != scope || twoPorts[r.Port].Name != port || tab.NextHop(r, dst) != next) {
				t.Fatalf("Lookup(%v) = %+v, the scan says %v %s %v", dst, r, scope, port, next)
			}
		}
	})
}

func TestLookupDoesNotAllocate(t *testing.T) {
	tab := build(t, []spec.Address{addr("10.1.0.7/24", "dpdk0")}, []spec.Route{net("0.0.0.0/0", "dpdk1", via("10.9.0.1"))})
	far, near := netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("10.1.0.9")
	mate := netip.MustParseAddr("fe80::9")
	if n := testing.AllocsPerRun(100, func() {
		r, _ := tab.Lookup4([4]byte{8, 8, 8, 8})
		_ = tab.NextHop(r, far)
		_ = tab.Source(0, near)
		_, _ = tab.Local(near)
		_ = tab.LocalOn(0, near)
		_, _ = tab.Lookup6([16]byte{0x20, 1})
		_, _ = tab.LookupOn(0, mate)
		_ = tab.Source(0, mate)
		_ = tab.TentativeOn(0, mate)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLookup4(b *testing.B) {
	for _, n := range []int{4, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			rnd := rand.New(rand.NewPCG(1, 2))
			var routes []spec.Route
			seen := map[netip.Prefix]bool{}
			for len(routes) < n {
				p := netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(rnd.IntN(223) + 1), byte(rnd.Uint32()), byte(rnd.Uint32()), 0}), 8+rnd.IntN(17)).Masked()
				if !seen[p] {
					seen[p] = true
					routes = append(routes, spec.Route{Prefix: p, Port: "dpdk0"})
				}
			}
			tab := build(b, nil, routes)
			var dsts [1024][4]byte
			for i := range dsts {
				dsts[i] = [4]byte{byte(rnd.IntN(223) + 1), byte(rnd.Uint32()), byte(rnd.Uint32()), byte(rnd.Uint32())}
			}
			i := 0
			for b.Loop() {
				tab.Lookup4(dsts[i&1023])
				i++
			}
		})
	}
}
