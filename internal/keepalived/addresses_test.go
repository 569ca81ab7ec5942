package keepalived

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"weir/internal/keepalived/vrrp"
	"weir/internal/spec"
)

// instance is a vrrp_instance in words.
func instance(name, port string, vips ...string) string {
	return fmt.Sprintf("vrrp_instance %s {\n interface %s.kni\n dpdk_interface %s\n virtual_router_id 1\n priority 100\n virtual_ipaddress {\n %s\n }\n}\n", name, port, port, strings.Join(vips, "\n "))
}

// is tells the daemon a state, as the stock program would.
func (w *world) is(instance string, s vrrp.State) {
	w.d.inbox.put(func() { w.d.addresses.told(instance, s) })
}

// has waits until these are the addresses of the director, in any order.
func (w *world) has(want ...string) {
	w.t.Helper()
	slices.Sort(want)
	var got []string
	defer func() {
		if w.t.Failed() {
			w.t.Logf("it has %v", got)
		}
	}()
	eventually(w.t, fmt.Sprintf("the director has %v", want), func() bool {
		got = nil
		for _, a := range w.b.Spec().Addresses {
			got = append(got, a.Prefix.String()+" "+a.Port)
		}
		slices.Sort(got)
		return slices.Equal(got, want)
	})
}

// TestInstances: the addresses of an instance are on its port while it is master, and only then.
func TestInstances(t *testing.T) {
	w := newWorld(t)
	two := instance("A", "dpdk0", "10.0.0.1", "10.0.0.2/24", "2001:db8::1") + instance("B", "dpdk1", "10.0.1.1")
	w.begin(two)
	w.says("the director is there")
	a := []string{"10.0.0.1/32 dpdk0", "10.0.0.2/24 dpdk0", "2001:db8::1/128 dpdk0"}
	both := append(slices.Clone(a), "10.0.1.1/32 dpdk1")
	w.is("A", vrrp.Backup)
	w.is("A", vrrp.Master)
	w.has(a...)
	w.is("B", vrrp.Master)
	w.has(both...)
	for _, s := range []vrrp.State{vrrp.Backup, vrrp.Fault, vrrp.Stopped} {
		w.is("A", s)
		w.has("10.0.1.1/32 dpdk1")
		w.is("A", vrrp.Master)
		w.has(both...)
	}
	w.is("", vrrp.Fault) // the stock program is dead
	w.has()
	w.is("A", vrrp.Master)
	w.is("B", vrrp.Master)
	w.has(both...)
	// The director comes back, and so do they.
	path := w.b.path
	w.b.end()
	w.b = newDirector(t, path)
	w.has(both...)
	// What the file no longer has leaves; what it has anew comes; the rest is not touched.
	rewrite(t, w.path, instance("A", "dpdk0", "10.0.0.1", "10.0.0.3"))
	w.reload()
	w.has("10.0.0.1/32 dpdk0", "10.0.0.3/32 dpdk0")
	w.stop()
	w.has()
}

// TestOneAddressRefused: an address that the director can't take keeps no other from coming, and
// comes when it can.
func TestOneAddressRefused(t *testing.T) {
	w := newWorld(t)
	other := spec.Address{Port: "dpdk1", Prefix: netip.MustParsePrefix("10.0.0.5/24")}
	if err := w.b.Change(func(s *spec.Spec) error { return s.AddAddress(other, false) }); err != nil {
		t.Fatal(err)
	}
	var vips, want []string
	for i := range 20 {
		vips = append(vips, fmt.Sprintf("10.0.0.%d", i+1))
		want = append(want, fmt.Sprintf("10.0.0.%d/32 dpdk0", i+1))
	}
	w.begin(instance("A", "dpdk0", vips...))
	w.is("A", vrrp.Master)
	without := slices.Clone(want)
	without[4] = "10.0.0.5/24 dpdk1"
	w.has(without...)
	w.says("10.0.0.5 is an address of dpdk1")
	if err := w.b.Change(func(s *spec.Spec) error { return s.DeleteAddress(other.Prefix, "dpdk1") }); err != nil {
		t.Fatal(err)
	}
	w.has(want...)
	w.is("A", vrrp.Backup)
	w.has()
}

// TestWANAddressMoves: an address that hosts go out with is one of VRRP: it has ports to give, and
// its service goes and comes with it.
func TestWANAddressMoves(t *testing.T) {
	w := newWorld(t)
	w.begin(instance("A", "dpdk1", "203.0.113.1") +
		"virtual_server match out {\n protocol TCP\n lb_algo rr\n lb_kind SNAT\n src-range 192.168.0.0-192.168.0.9\n real_server 203.0.113.1 0 {\n weight 3\n }\n}\n")
	out := func() bool { return strings.Contains(shown(w.b), "-> 203.0.113.1:0 SNAT 3") }
	for range 3 {
		w.is("A", vrrp.Master)
		eventually(t, "hosts get out", out)
		w.is("A", vrrp.Backup)
		w.has()
		if out() {
			t.Error("hosts get out with an address that has left")
		}
	}
}

// TestSuspended: with ha_suspend servers are asked only while the address is here.
func TestSuspended(t *testing.T) {
	w := newWorld(t)
	w.begin(instance("A", "dpdk0", "10.0.0.1") + service("ha_suspend\n inhibit_on_failure", w.misc(2, "")))
	w.become(vip, ".2=10")
	w.says("health checks are suspended")
	w.dies(2)
	w.is("A", vrrp.Master)
	w.says("health checks are made")
	w.become(vip, ".2=0")
	w.is("A", vrrp.Backup)
	eventually(t, "they are suspended again", func() bool { return strings.Count(w.log.String(), "health checks are suspended") == 2 })
	w.lives(2, 0)
	w.is("A", vrrp.Master)
	w.become(vip, ".2=10")
}

// TestRoutesOfFile: static routes and addresses are there as long as keepalived is, virtual routes
// as long as their instance is master; a route that was there without us stays.
func TestRoutesOfFile(t *testing.T) {
	w := newWorld(t)
	theirs := spec.Route{Prefix: netip.MustParsePrefix("10.7.0.0/16"), Port: "dpdk1", Scope: spec.ScopeLink}
	if err := w.b.Change(func(s *spec.Spec) error { return s.AddRoute(theirs) }); err != nil {
		t.Fatal(err)
	}
	file := func(more string) string {
		return "local_address_group l {\n 192.168.100.200 dpdk1\n}\nstatic_ipaddress {\n 10.9.0.1/24 dev dpdk0\n}\nstatic_routes {\n 10.8.0.0/16 via 10.9.0.254 dev dpdk0\n 10.7.0.0/16 dev dpdk1\n" + more + "}\n" +
			strings.Replace(instance("A", "dpdk0", "10.0.0.1"), " virtual_ipaddress", " virtual_routes {\n 2001:db8:5::/48 via fe80::1\n }\n virtual_ipaddress", 1)
	}
	routes := func(want ...string) {
		t.Helper()
		var got []string
		eventually(t, fmt.Sprintf("the routes are %v", want), func() bool {
			got = nil
			for _, r := range w.b.Spec().Routes {
				got = append(got, r.Prefix.String())
			}
			slices.Sort(got)
			slices.Sort(want)
			return slices.Equal(got, want)
		})
	}
	w.begin(file(""))
	w.has("10.9.0.1/24 dpdk0")
	routes("10.7.0.0/16", "10.8.0.0/16")
	w.is("A", vrrp.Master)
	routes("10.7.0.0/16", "10.8.0.0/16", "2001:db8:5::/48")
	w.is("A", vrrp.Backup)
	routes("10.7.0.0/16", "10.8.0.0/16")
	rewrite(t, w.path, file(" 10.6.0.0/16 dev dpdk1\n"))
	w.reload()
	routes("10.6.0.0/16", "10.7.0.0/16", "10.8.0.0/16")
	w.stop()
	w.has()
	routes("10.7.0.0/16")
}

// TestLeftAtTheEnd: with -I the services stay as they were, whatever omega says.
func TestLeftAtTheEnd(t *testing.T) {
	w := newWorld(t)
	w.begin(service("omega\n quorum_down "+w.note("down"), w.misc(2, "")))
	w.become(vip, ".2=10")
	w.d.inbox.put(func() { w.d.Keep = true })
	w.stop()
	w.become(vip, ".2=10")
	w.written("down")
}
