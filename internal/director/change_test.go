package director

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"weir/internal/lb/service"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/spec"
	"weir/internal/testkit/words"
	"weir/internal/worker"
)

// state is all that a refused change must leave as it was.
type state struct {
	spec      *spec.Spec // the very one
	copy      *spec.Spec // what it said
	snapshot  *worker.Snapshot
	dests     map[destKey]*service.Dest
	states    map[spec.ServiceKey]*serviceState
	locals    []netip.Addr
	lingering []spec.Address
	hops      int
}

func (b *small) state() state {
	locals := b.shared.Locals.Configured()
	slices.SortFunc(locals, netip.Addr.Compare)
	return state{
		spec: b.spec, copy: b.spec.Clone(), snapshot: b.snapshot.Load(), dests: maps.Clone(b.dests.byKey),
		states: maps.Clone(b.states), locals: locals, lingering: slices.Clone(b.lingering),
		hops: b.shared.Flows.Hops.Len(),
	}
}

// unchanged says what differs from before.
func (b *small) unchanged(t *testing.T, before state) {
	t.Helper()
	now := b.state()
	if now.spec != before.spec || !reflect.DeepEqual(now.copy, before.copy) {
		t.Errorf("the wanted state changed:\n%+v\nwas\n%+v", now.copy, before.copy)
	}
	if now.snapshot != before.snapshot {
		t.Error("another snapshot is in force")
	}
	if !maps.Equal(now.dests, before.dests) {
		t.Errorf("the real servers are %v, were %v", now.dests, before.dests)
	}
	if !maps.Equal(now.states, before.states) {
		t.Errorf("the services' states are %v, were %v", now.states, before.states)
	}
	if !slices.Equal(now.locals, before.locals) {
		t.Errorf("local addresses are %v, were %v", now.locals, before.locals)
	}
	if !slices.Equal(now.lingering, before.lingering) {
		t.Errorf("%v lingers, was %v", now.lingering, before.lingering)
	}
	if now.hops != before.hops {
		t.Errorf("%d neighbours, were %d", now.hops, before.hops)
	}
}

// A change is refused as a whole, wherever in it the fault lies: in front of it
// stand edits that touch every table and that alone would be accepted.
func TestRefusedChangeLeavesAll(t *testing.T) {
	web := udp("10.0.0.101:80")
	good := all(
		addAddr("wan", "10.0.0.101/32"), addRoute("172.16.0.0/12", "wan", "10.0.0.253"), station("lan", "192.168.1.9", macRS),
		addService(web, "wlc"), addDest(web, "192.168.1.7:80", 3), addLocal(web, "192.168.1.201"),
		reschedule(dns, "wrr"), addDest(dns, "192.168.1.8:53", 2), noDest(dns, "192.168.1.2:53"), addLocal(dns, "192.168.1.200"),
		noLocal(dns, "192.168.1.210"), noAddr("wan", "10.0.0.100/32"),
		func(s *spec.Spec) error { return s.SetLink("lan", "promisc", "on") },
	)
	none := func(*small) {}
	unknown := udp("10.9.9.9:9")
	for _, tc := range []struct {
		name    string
		prepare func(*small)
		bad     func(*spec.Spec) error
		code    spec.Code
		object  string
	}{
		{"address there already", none, addAddr("wan", "10.0.0.101/24"), spec.Exists, "address"},
		{"address on no device", none, addAddr("moon", "10.1.1.1/24"), spec.NoDevice, "link"},
		{"address not there", none, noAddr("wan", "10.9.9.9/32"), spec.NotExists, "address"},
		{"address in use", none, noAddr("lan", "192.168.1.201/32"), spec.Busy, "address"},
		{"flush of addresses in use", none, func(s *spec.Spec) error { return s.FlushAddresses("lan") }, spec.Busy, "address"},
		{"route there already", none, addRoute("0.0.0.0/0", "wan", "10.0.0.253"), spec.Exists, "route"},
		{"route by ourselves", none, addRoute("172.32.0.0/12", "wan", "10.0.0.1"), spec.Invalid, "route"},
		{"route not there", none, func(s *spec.Spec) error { return s.DeleteRoute(aRoute("9.0.0.0/8", "wan", "")) }, spec.NotExists, "route"},
		{"flush of routes of no device", none, func(s *spec.Spec) error { return s.FlushRoutes("moon") }, spec.NoDevice, "link"},
		{"route that can't be built", none, func(s *spec.Spec) error {
			s.Routes = append(s.Routes, spec.Route{Prefix: netip.MustParsePrefix("9.0.0.0/8"), Port: "moon"})
			return nil
		}, spec.Invalid, "route"},
		{"neighbour there already", none, station("lan", "192.168.1.2", macGW), spec.Exists, "neighbour"},
		{"neighbour of no device", none, noStation("moon", "192.168.1.2"), spec.NoDevice, "link"},
		{"link switch of no kind", none, func(s *spec.Spec) error { return s.SetLink("lan", "colour", "on") }, spec.Invalid, "link"},
		{"link switch refused by Linux", func(b *small) { b.ports[1].link = &port.Link{Name: "weir-none", Index: 1 << 30} },
			func(s *spec.Spec) error { return s.SetLink("wan", "promisc", "on") }, spec.Invalid, "link"},
		{"service there already", none, addService(dns, "rr"), spec.Exists, "service"},
		{"edit of no service", none, reschedule(unknown, "rr"), spec.NotExists, "service"},
		{"end of no service", none, noService(unknown), spec.NotExists, "service"},
		{"scheduler of no kind", none, reschedule(web, "dice"), spec.NotExists, "scheduler"},
		{"scheduler that slipped through", none, func(s *spec.Spec) error { s.Find(web).Scheduler = "dice"; return nil }, spec.NotExists, "scheduler"},
		{"real server there already", none, addDest(web, "192.168.1.7:80", 1), spec.Exists, "dest"},
		{"real server of no service", none, addDest(unknown, "192.168.1.7:80", 1), spec.NotExists, "service"},
		{"edit of no real server", none, weigh(web, "192.168.1.77:80", 1), spec.NotExists, "dest"},
		{"end of no real server", none, noDest(web, "192.168.1.77:80"), spec.NotExists, "dest"},
		{"no room for a real server", func(b *small) { b.dests.next = service.MaxDests - 2 }, addDest(web, "192.168.1.10:80", 1), spec.NoResource, "dest"},
		{"local address there already", none, addLocal(web, "192.168.1.201"), spec.Exists, "laddr"},
		{"local address of another device", none, addLocal(web, "10.0.0.1"), spec.Exists, "laddr"},
		{"end of no local address", none, noLocal(web, "192.168.1.77"), spec.NotExists, "laddr"},
		{"no room for a local address", func(b *small) {
			for a := netip.MustParseAddr("11.0.0.1"); ; a = a.Next() {
				if _, err := b.shared.Locals.Add(a); err != nil {
					return
				}
			}
		}, addLocal(web, "192.168.1.203"), spec.NoResource, "laddr"},
		{"no room for a neighbour", func(b *small) {
			hops := &b.shared.Flows.Hops
			for a := netip.MustParseAddr("11.0.0.1"); hops.Get(1, a, macWAN, 1500) != 0 || hops.Get(0, netip.MustParseAddr("192.168.1.10"), macLAN, 1500) != 0; a = a.Next() {
				hops.Free(hops.Find(0, netip.MustParseAddr("192.168.1.10")))
			}
		}, station("lan", "192.168.1.10", macRS), spec.NoResource, "neighbour"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newSmall(t, shape{})
			b.change(twoArm())
			if got := b.asked(40000, "10.0.0.100:53"); got != "192.168.1.2" {
				t.Fatalf("the first packet went to %q", got)
			}
			// One address lingers.
			b.change(addLocal(dns, "192.168.1.210"), noLocal(dns, "192.168.1.200"))
			tc.prepare(b)
			before := b.state()
			before.locals = slices.DeleteFunc(before.locals, func(a netip.Addr) bool { return a.As4()[0] == 11 })
			err := b.Change(all(good, tc.bad))
			var r *spec.Refusal
			if !errors.As(err, &r) || r.Code != tc.code || r.Object != tc.object || r.Why == "" {
				t.Errorf("refused with %#v, want code %d of %s", err, tc.code, tc.object)
			}
			b.unchanged(t, before)
			if got := b.asked(40000, "10.0.0.100:53"); got != "192.168.1.2" {
				t.Errorf("the connection goes to %q now", got)
			}
		})
	}
}

// What stands in front of the faults above is accepted alone.
func TestAcceptedChangeIsWhole(t *testing.T) {
	b := newSmall(t, shape{})
	b.change(twoArm())
	before := b.state()
	b.change(addDest(dns, "192.168.1.8:53", 2), reschedule(dns, "wrr"))
	now := b.state()
	if now.spec == before.spec || now.snapshot == before.snapshot || !reflect.DeepEqual(before.spec, before.copy) {
		t.Error("the change was made in place")
	}
	if len(now.dests) != 2 || now.states[dns] == before.states[dns] {
		t.Errorf("%d real servers; the state of the scheduler stayed: %v", len(now.dests), now.states[dns] == before.states[dns])
	}
}

// An edit that fails is not asked twice, and its own error comes back.
func TestErrorOfEdit(t *testing.T) {
	b := newSmall(t, shape{})
	before := b.state()
	want := errors.New("no")
	if err := b.Change(func(s *spec.Spec) error { s.Addresses = nil; return want }); err != want {
		t.Errorf("got %v, want the edit's error", err)
	}
	b.unchanged(t, before)
}

// A reload puts the settings in force with all else as it was.
func TestReload(t *testing.T) {
	b := newSmall(t, shape{})
	b.change(twoArm())
	if got := strings.Join(b.fromWAN("ip 1.2.3.4 > 10.0.0.1 / icmp echo id=1 seq=1 data=8"), "\n"); !strings.Contains(got, "echo-reply") && !strings.Contains(got, "icmp") {
		t.Fatalf("no answer to an echo: %q", got)
	}
	before := b.state()
	next := b.tunables
	next.DefaultTTL, next.Forwarding, next.NeighTimeout = 33, true, 7
	next.Timeouts.UDP.OneWay = 5
	if err := b.Reload(next); err != nil {
		t.Fatal(err)
	}
	snap := b.snapshot.Load()
	if snap.TTL != 33 || !snap.Forwarding || snap.Neigh.Reachable != 7 {
		t.Errorf("in force: ttl %d, forwarding %v, reachable %d", snap.TTL, snap.Forwarding, snap.Neigh.Reachable)
	}
	now := b.state()
	if !reflect.DeepEqual(now.copy, before.copy) || !maps.Equal(now.dests, before.dests) || !maps.Equal(now.states, before.states) {
		t.Error("the reload changed more than settings")
	}

	// A refused one changes nothing.
	b.spec.Services[0].Scheduler = "dice"
	worse := next
	worse.DefaultTTL = 1
	if err := b.Reload(worse); err == nil {
		t.Error("a reload onto a broken spec was accepted")
	}
	if b.tunables != next || b.snapshot.Load() != snap {
		t.Error("a refused reload changed the settings")
	}
	b.spec.Services[0].Scheduler = "rr"
}

// Flows look their route up again after a change of routes, and after no other.
func TestChangeOfRoutesInvalidatesNextHops(t *testing.T) {
	for _, tc := range []struct {
		name  string
		edit  func(*spec.Spec) error
		stale bool
	}{
		{"another service", all(addService(udp("10.0.0.100:80"), "rr"), addDest(udp("10.0.0.100:80"), "192.168.1.3:80", 1)), false},
		{"another scheduler", reschedule(dns, "wlc"), false},
		{"another real server", addDest(dns, "192.168.1.3:53", 1), false},
		{"a weight", weigh(dns, "192.168.1.2:53", 0), false},
		{"the end of a real server", noDest(dns, "192.168.1.2:53"), false},
		{"a static neighbour", station("lan", "192.168.1.77", macRS), false},
		{"a link switch", func(s *spec.Spec) error { return s.SetLink("lan", "allmulticast", "on") }, false},
		{"a route", addRoute("9.0.0.0/8", "wan", "10.0.0.253"), true},
		{"the end of a route", func(s *spec.Spec) error { return s.DeleteRoute(aRoute("0.0.0.0/0", "wan", "")) }, true},
		{"an address", addAddr("lan", "192.168.5.1/24"), true},
		{"a local address", addLocal(dns, "192.168.1.201"), true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newSmall(t, shape{})
			b.change(twoArm())
			b.asked(40000, "10.0.0.100:53")
			hops := &b.shared.Flows.Hops
			ref := hops.Find(0, netip.MustParseAddr("192.168.1.2"))
			if _, current := hops.Current(ref); !current {
				t.Fatal("there is no next hop to look at")
			}
			b.change(tc.edit)
			if _, current := hops.Current(ref); current == tc.stale {
				t.Errorf("the next hop is current: %v, want %v", current, !tc.stale)
			}
		})
	}
}

// Static neighbours come and go with the wanted state, and a learnt one that
// becomes static does not change any more.
func TestStatics(t *testing.T) {
	b := newSmall(t, shape{})
	b.change(addAddr("lan", "192.168.1.1/24"))
	show := func() string {
		all, err := b.Neighbours()
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, n := range all {
			lines = append(lines, fmt.Sprintf("%s %s %s static=%v", n.Device, n.Addr, words.Stations{}.Name(words.MAC(n.MAC)), n.Static))
		}
		return strings.Join(lines, ", ")
	}
	for _, step := range []struct {
		name string
		edit func(*spec.Spec) error
		want string
	}{
		{"two added", all(station("lan", "192.168.1.2", macRS), station("wan", "10.0.0.254", macGW)),
			"lan 192.168.1.2 02:00:00:00:02:fe static=true, wan 10.0.0.254 02:00:00:00:01:fe static=true"},
		{"the same address on another device", station("wan", "192.168.1.2", macGW),
			"lan 192.168.1.2 02:00:00:00:02:fe static=true, wan 10.0.0.254 02:00:00:00:01:fe static=true, wan 192.168.1.2 02:00:00:00:01:fe static=true"},
		{"one moved to another MAC in one change", all(noStation("lan", "192.168.1.2"), station("lan", "192.168.1.2", macGW)),
			"lan 192.168.1.2 02:00:00:00:01:fe static=true, wan 10.0.0.254 02:00:00:00:01:fe static=true, wan 192.168.1.2 02:00:00:00:01:fe static=true"},
		{"two removed", all(noStation("lan", "192.168.1.2"), noStation("wan", "192.168.1.2")),
			"wan 10.0.0.254 02:00:00:00:01:fe static=true"},
		{"none left", noStation("wan", "10.0.0.254"), ""},
	} {
		b.change(step.edit)
		if got := show(); got != step.want {
			t.Errorf("%s:\n%s\nwant\n%s", step.name, got, step.want)
		}
	}

	b.fromLAN("eth to=all / arp request who=192.168.1.1 tell=192.168.1.9")
	if got := show(); got != "lan 192.168.1.9 02:00:00:00:02:fe static=false" {
		t.Fatalf("learnt: %q", got)
	}
	b.change(station("lan", "192.168.1.9", macGW))
	b.fromLAN("eth to=all / arp request who=192.168.1.1 tell=192.168.1.9")
	if got := show(); got != "lan 192.168.1.9 02:00:00:00:01:fe static=true" {
		t.Errorf("static and then heard of from elsewhere: %q", got)
	}
}

func TestForgetNeighbour(t *testing.T) {
	b := newSmall(t, shape{})
	b.change(addAddr("lan", "192.168.1.1/24"))
	b.fromLAN("eth to=all / arp request who=192.168.1.1 tell=192.168.1.9")
	ip := netip.MustParseAddr("192.168.1.9")
	if b.ForgetNeighbour("moon", ip) || b.ForgetNeighbour("wan", ip) {
		t.Error("a neighbour was forgotten that is on neither device")
	}
	if !b.ForgetNeighbour("lan", ip) || b.ForgetNeighbour("lan", ip) {
		t.Error("the learnt neighbour is to be forgotten once")
	}
}

// A new address is announced once, on its own link; one that stays is not, nor is
// one that only changes its prefix.
func TestAnnounce(t *testing.T) {
	said := func(dev, ip string) string { return dev + ": arp request who=" + ip + " tell=" + ip }
	for _, workers := range []shape{{}, {workers: 2, lan: []int{0, 1}, wan: []int{1}}} {
		t.Run(fmt.Sprintf("%d workers", max(workers.workers, 1)), func(t *testing.T) {
			b := newSmall(t, workers)
			for _, step := range []struct {
				name string
				edit func(*spec.Spec) error
				want []string
			}{
				{"first", addAddr("lan", "192.168.1.1/24"), []string{said("lan", "192.168.1.1")}},
				{"two at once", all(addAddr("wan", "10.0.0.1/24"), addAddr("wan", "10.0.0.2/32")), []string{said("wan", "10.0.0.1"), said("wan", "10.0.0.2")}},
				{"no address", addRoute("0.0.0.0/0", "wan", "10.0.0.254"), nil},
				{"another prefix", func(s *spec.Spec) error {
					return s.AddAddress(spec.Address{Port: "wan", Prefix: netip.MustParsePrefix("10.0.0.2/24")}, true)
				}, nil},
				{"removed", noAddr("wan", "10.0.0.2/24"), nil},
				{"there again, elsewhere", addAddr("lan", "10.0.0.2/32"), []string{said("lan", "10.0.0.2")}},
				{"moved in one change", all(noAddr("lan", "10.0.0.2/32"), addAddr("wan", "10.0.0.2/32")), []string{said("wan", "10.0.0.2")}},
				{"a local address", all(addService(dns, "rr"), addLocal(dns, "192.168.1.200")), []string{said("lan", "192.168.1.200")}},
			} {
				b.change(step.edit)
				got := b.left()
				for i := range got {
					got[i] = strings.TrimPrefix(strings.Replace(got[i], ": eth to=all / arp", ": arp", 1), " ")
				}
				if !slices.Equal(got, step.want) {
					t.Errorf("%s: %q, want %q", step.name, got, step.want)
				}
			}
		})
	}
}

// Addresses that no packet memory is left to announce are in force all the same,
// and the operator is told.
func TestAnnounceWithoutMemory(t *testing.T) {
	b := newSmall(t, shape{})
	pool := b.workers[0].Pool()
	var held []*packet.Packet
	for p := pool.Get(); p != nil; p = pool.Get() {
		held = append(held, p)
	}
	b.change(addAddr("lan", "192.168.1.1/24"))
	for _, p := range held {
		pool.Put(p)
	}
	if !strings.Contains(b.said.String(), "192.168.1.1 of lan could not be announced") {
		t.Errorf("the log says %q", b.said.String())
	}
	if got := b.fromLAN("eth to=all / arp request who=192.168.1.1 tell=192.168.1.2"); len(got) != 1 {
		t.Errorf("asked for the address: %q", got)
	}
}
