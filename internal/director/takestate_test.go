package director

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/spec"
)

// What else than connections a director leaves.

// A persistent client keeps its real server, whether or not it has a connection.
func TestHeirOfTemplates(t *testing.T) {
	for i := range families {
		f := &families[i]
		t.Run(f.name, func(t *testing.T) {
			s := shape{keep: newKeep(t)}
			a := newSmall(t, s)
			a.change(f.arm)
			other := map[string]string{"ip": "192.168.1.3", "ip6": "2001:db8::3"}[f.ip]
			at := func(real string) string { return netip.AddrPortFrom(netip.MustParseAddr(real), 53).String() }
			a.change(addDest(f.key, at(other), 1), station("lan", other, macRS), func(s *spec.Spec) error {
				v := spec.Service{ServiceKey: f.key, Scheduler: "rr", ConnTimeout: 10, Persistent: 100}
				return s.EditService(v)
			})
			a.pass(3 * time.Second)
			a.left()
			served := map[int]string{}
			real := func(b *small, client, port int) string {
				t.Helper()
				out := b.fromWAN(fmt.Sprintf("%s %s%d > %s / udp %d > 53 data=4", f.ip, f.client, client, f.vip, port))
				if len(out) != 1 {
					t.Fatalf("%v", out)
				}
				return strings.Fields(out[0])[4]
			}
			for c := range 6 {
				served[c] = real(a, c+1, 4000)
			}
			a.pass(13 * time.Second) // no connection is left
			if a.shared.Flows.Len() != 0 {
				t.Fatal("connections are left")
			}
			_ = real(a, 1, 4001) // but one
			for range 2 {
				a.die()
				a = a.heir(s, 40*time.Second)
				v := a.view(f.key)
				if n := v.Dests[0].Templates + v.Dests[1].Templates; n != 6 || a.Gauges().Templates != 6 {
					t.Errorf("%d templates", n)
				}
			}
			for c := range 6 {
				if is := real(a, c+1, 5000); is != served[c] {
					t.Errorf("client %d had %s, and has %s", c, served[c], is)
				}
			}
			// They end in their time, held ones after their connections.
			a.pass(15 * time.Second)
			a.nanos += 80e9
			a.pass(25 * time.Second)
			if n := a.Gauges().Templates; n != 0 || a.shared.Flows.Len() != 0 {
				t.Errorf("%d templates, %d connections are left", n, a.shared.Flows.Len())
			}
		})
	}
}

// An inside end keeps its WAN port toward everybody.
func TestHeirOfMappings(t *testing.T) {
	match := spec.ServiceKey{Proto: spec.UDP, Match: spec.Match{Family: 4, Src: spec.Range{First: netip.MustParseAddr("192.168.1.0"), Last: netip.MustParseAddr("192.168.1.255")}, Out: "wan"}}
	s := shape{keep: newKeep(t)}
	a := newSmall(t, s)
	a.change(twoArm(), func(s *spec.Spec) error {
		if err := s.AddAddress(spec.Address{Port: "wan", Prefix: netip.MustParsePrefix("10.0.0.77/24"), SAPool: true}, false); err != nil {
			return err
		}
		if err := s.AddService(spec.Service{ServiceKey: match, Scheduler: "rr", EndpointIndependent: true, ConnTimeout: 30}); err != nil {
			return err
		}
		return s.AddDest(match, spec.Dest{Addr: netip.MustParseAddrPort("10.0.0.77:0"), Forward: spec.SNAT, Weight: 1})
	})
	a.left()
	wan := func(b *small, to string) string {
		t.Helper()
		out := b.fromLAN(fmt.Sprintf("ip 192.168.1.50 > %s / udp 5000 > 99 data=4", to))
		if len(out) != 1 || !strings.HasPrefix(out[0], "wan: ip 10.0.0.77 > "+to) {
			t.Fatalf("%v", out)
		}
		return portAfter(out[0], "udp")
	}
	port := wan(a, "8.8.8.1")
	for i := range 3 {
		if is := wan(a, fmt.Sprintf("8.8.8.%d", i+2)); is != port {
			t.Fatalf("port %s, then %s", port, is)
		}
		a.die()
		a = a.heir(s, time.Second)
		if g := a.Gauges(); g.Mappings != 1 || g.Conns != uint64(i+2) {
			t.Errorf("%+v", g)
		}
	}
	if is := wan(a, "9.9.9.9"); is != port {
		t.Errorf("port %s, and after a restart %s", port, is)
	}
	if out := a.fromWAN("ip 8.8.8.1 > 10.0.0.77 / udp 99 > " + port + " data=4"); len(out) != 1 {
		t.Errorf("the first answers: %v", out)
	}
	a.pass(40 * time.Second)
	if used, _, _, _ := a.LocalCounts(netip.MustParseAddr("10.0.0.77")); used != 0 || a.Gauges().Mappings != 0 {
		t.Errorf("%d ports, %d mappings are left", used, a.Gauges().Mappings)
	}
}

// What was removed and is in use still goes on being that.
func TestHeirOfWhatWasRemoved(t *testing.T) {
	f := &families[0]
	s := shape{keep: newKeep(t)}
	a := newSmall(t, s)
	a.change(f.arm)
	a.left()
	c := a.begin(f, "udp", 1, "data=4", "data=4", "data=4")
	a.change(noLocal(dns, f.lip), func(s *spec.Spec) error {
		return s.DeleteLocal(f.tcp, spec.LocalAddress{Addr: netip.MustParseAddr(f.lip), Port: "lan"})
	},
		noDest(dns, "192.168.1.2:53"))
	a.change(addDest(dns, "192.168.1.3:53", 1), addDest(dns, "192.168.1.4:53", 1))
	a.left()
	was := a.ways([]conversation{c})
	for range 2 {
		a.die()
		a = a.heir(s, time.Second)
		if is := a.ways([]conversation{c}); !slices.Equal(is, was) {
			t.Errorf("%v, and before %v", is, was)
		}
		if out := a.inject(a.lan, macRS, macLAN, "eth to=all / arp request who=192.168.1.200 tell=192.168.1.2"); len(out) != 1 {
			t.Errorf("the local address that was removed does not answer: %v", out)
		}
		if len(a.dests.leaving) != 1 || len(a.lingering) != 1 {
			t.Errorf("%d real servers leave, %d addresses linger", len(a.dests.leaving), len(a.lingering))
		}
		// The index is not another's.
		a.change(addDest(dns, fmt.Sprintf("192.168.1.%d:53", 5+len(a.view(dns).Dests)), 1))
		a.left()
		seen := map[uint32]bool{a.dests.leaving[0].dest.Index: true}
		for _, d := range a.dests.byKey {
			if seen[d.Index] {
				t.Errorf("index %d twice", d.Index)
			}
			seen[d.Index] = true
		}
	}
	a.pass(14 * time.Second)
	eventually(t, "what was removed is forgotten", func() bool {
		a.pass(time.Second)
		return len(a.dests.leaving) == 0 && len(a.lingering) == 0
	})
}

// Devices that dpvs.conf does not have any more take along what is on them, with a line;
// VLANs and tunnels are as they were, under the numbers that next hops know.
func TestHeirOfDevices(t *testing.T) {
	s := shape{keep: newKeep(t)}
	a := newSmall(t, s)
	a.change(twoArm(), func(s *spec.Spec) error {
		for _, v := range []spec.VLAN{{Name: "v7", Link: "lan", Proto: 0x8100, ID: 7}, {Name: "v8", Link: "lan", Proto: 0x8100, ID: 8}} {
			if err := s.AddVLAN(v); err != nil {
				return err
			}
		}
		return s.AddTunnel(spec.TunnelDevice{Name: "gre1", Kind: spec.TunnelGRE, Remote: netip.MustParseAddr("10.0.0.9")})
	})
	a.change(func(s *spec.Spec) error {
		return s.DeleteVLAN(spec.VLAN{Name: "v7", Link: "lan", Proto: 0x8100, ID: 7})
	}, addAddr("v8", "192.168.8.1/24"), addAddr("gre1", "192.168.9.1/24"))
	id := map[string]uint16{}
	for _, p := range a.ports {
		id[p.facts.Name] = p.facts.ID
	}
	hop := a.shared.Flows.Hops.Get(id["v8"], netip.MustParseAddr("192.168.8.2"), macLAN, 1500)
	a.die()
	a = a.heir(s, time.Second)
	for _, p := range a.ports {
		if was := id[p.facts.Name]; was != p.facts.ID {
			t.Errorf("%s was port %d and is %d", p.facts.Name, was, p.facts.ID)
		}
		delete(id, p.facts.Name)
	}
	if len(id) != 0 {
		t.Errorf("%v are gone", id)
	}
	if _, current := a.shared.Flows.Hops.Current(hop); !current {
		t.Error("a next hop of the VLAN is lost")
	}
	was := a.Spec()
	a.die()

	s.renamed = "other" // in the place of lan
	b := a.heir(s, time.Second)
	for _, want := range []string{"VLAN v8 of lan is not restored", "address 192.168.1.1/24 of lan is not restored", "address 192.168.8.1/24 of v8 is not restored", "neighbour 192.168.1.2 of lan is not restored"} {
		if !strings.Contains(b.said.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, &b.said)
		}
	}
	if _, current := b.shared.Flows.Hops.Current(hop); current {
		t.Error("a next hop of a device that is gone is believed")
	}
	if is := b.Spec(); len(is.Services) != len(was.Services) || is.FindTunnel("gre1") == nil || len(is.VLANs) != 0 {
		t.Errorf("%+v", is)
	}
}

// An address that was probed for need not be again; one that somebody held is his for five
// seconds.
func TestHeirOfAddresses(t *testing.T) {
	s := shape{keep: newKeep(t)}
	a := newSmall(t, s)
	held := []spec.Address{
		{Port: "wan", Prefix: netip.MustParsePrefix("10.0.0.55/32")},
		{Port: "wan", Prefix: netip.MustParsePrefix("10.0.0.56/32")},
		{Port: "wan", Prefix: netip.MustParsePrefix("10.0.0.1/24")}, // by hand too
	}
	a.change(families[0].arm, addAddr("lan", "2001:db8::1/64"), func(s *spec.Spec) error { return s.Hold(held) })
	a.pass(3 * time.Second)
	a.die()
	a = a.heir(s, time.Second)
	if text := a.addresses(); strings.Contains(text, "tentative") || !strings.Contains(text, "10.0.0.55/32") {
		t.Errorf("addresses %s", text)
	}
	a.pass(2 * time.Second)
	a.change(func(s *spec.Spec) error { return s.Hold(held[:1]) }) // he comes again
	a.pass(2 * time.Second)
	if text := a.addresses(); !strings.Contains(text, "10.0.0.55/32") || !strings.Contains(text, "10.0.0.56/32") {
		t.Errorf("addresses %s", text)
	}
	a.pass(3 * time.Second)
	if text := a.addresses(); !strings.Contains(text, "10.0.0.55/32") || strings.Contains(text, "10.0.0.56/32") || !strings.Contains(text, "10.0.0.1/24") {
		t.Errorf("addresses %s", text)
	}
	a.change(func(s *spec.Spec) error { s.Release(held[:1]); return nil })
	if text := a.addresses(); strings.Contains(text, "10.0.0.55/32") {
		t.Errorf("addresses %s", text)
	}
}

// What can't be gone on with is one sentence that says what to do, and stays as it is.
func TestHeirRefuses(t *testing.T) {
	s := shape{keep: newKeep(t)}
	a := newSmall(t, s)
	a.change(families[0].arm)
	a.left()
	c := a.begin(&families[0], "udp", 1, "data=4", "data=4", "data=4")
	alive := s
	if _, err := tryDirector(t, alive); err == nil || !strings.Contains(err.Error(), "a running weir holds it") {
		t.Errorf("while it lives: %v", err)
	}
	a.die()
	for _, row := range []struct {
		name   string
		change func(s *shape)
		says   string
	}{
		{"another size", func(s *shape) { s.pool = 100_000 }, "has room for 1000 connections, and conn_pool_size wants 100000"},
		{"no bpffs", func(s *shape) { s.keep = t.TempDir() + "/weir" }, "is no bpffs"},
	} {
		other := s
		row.change(&other)
		_, err := tryDirector(t, other)
		if err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v", row.name, err)
		}
		var stale *Stale
		if errors.As(err, &stale) != (row.name != "no bpffs") || errors.As(err, &stale) && !strings.Contains(err.Error(), "weir serve --fresh") {
			t.Errorf("%s: %v", row.name, err)
		}
	}
	a = a.heir(s, time.Second)
	if out := a.ways([]conversation{c}); len(out) != 2 {
		t.Errorf("after refusals: %v", out)
	}
	for name, text := range map[string]string{
		"the state that the former weir left has form 2, and this weir writes form 1": `{"Version":2,"Dests":"another type"}`,
		"can't be read":         `{"Version":1,`,
		"has no services in it": `{"Version":1}`,
	} {
		if err := a.keep.Write(recordName, []byte(text)); err != nil {
			t.Fatal(err)
		}
		a.die()
		if _, err := tryDirector(t, s); err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "--fresh") {
			t.Errorf("%s: %v", name, err)
		}
		s.fresh = true
		a = a.heir(s, time.Second)
		s.fresh = false
		if n := len(a.Spec().Services); n != 0 || a.Gauges().Conns != 0 {
			t.Errorf("--fresh: %d services, %d connections", n, a.Gauges().Conns)
		}
		a.change(families[0].arm)
	}
}
