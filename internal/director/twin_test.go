package director

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"weir/internal/port"
	"weir/internal/port/pipe"
	"weir/internal/spec"
)

// twinned is a small director whose ports have twins.
func twinned(t *testing.T) *small {
	t.Helper()
	lan := pipe.New(0, "lan.kni", macLAN, 1<<16)
	wan := pipe.New(1, "wan.kni", macWAN, 1<<16)
	return newSmall(t, shape{twin: func(dev string) *pipe.Port {
		if dev == "lan" {
			return lan
		}
		return wan
	}})
}

func up(prefixes ...string) (s TwinState) {
	s.Up = true
	for _, p := range prefixes {
		s.Addresses = append(s.Addresses, netip.MustParsePrefix(p))
	}
	return s
}

// see has Linux do something with the twin of wan.
func (b *small) see(s TwinState) {
	b.t.Helper()
	if err := b.SeeTwins(map[string]TwinState{"wan": s}); err != nil {
		b.t.Fatal(err)
	}
	b.breathe()
}

// What Linux has is known in one step, however much it is, and is no wanted state.
func TestSeeTwins(t *testing.T) {
	b := twinned(t)
	b.change(addAddr("wan", "10.0.0.1/24"), addAddr("lan", "10.9.0.150/32"))
	b.wan.Take()
	scopeOf := func(ip string) string {
		r, ok := b.snapshot.Load().Routes.LookupOn(1, netip.MustParseAddr(ip))
		if !ok {
			return "none"
		}
		return r.Scope.String()
	}
	wanted, generation := b.Spec(), b.snapshot.Load()
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprintf("10.9.0.%d/32", i+1))
	}
	many = append(many, "10.0.0.1/24", "2001:db8::5/64", "fe80::5/64")

	down := up(many...)
	down.Up = false
	b.see(down)
	if got := scopeOf("10.9.0.7"); got != "none" || b.snapshot.Load().Ports[1].Twin {
		t.Errorf("of a twin that is down: %s", got)
	}
	if len(b.wan.Take()) != 0 {
		t.Error("addresses of a twin that is down were announced")
	}
	b.see(up(many...))
	if !b.snapshot.Load().Ports[1].Twin || b.snapshot.Load().Ports[0].Twin {
		t.Error("which twins are up is not known")
	}
	for ip, want := range map[string]string{"10.9.0.7": "kni_host", "10.9.0.200": "kni_host", "10.9.0.150": "host", "10.0.0.1": "host", "2001:db8::5": "kni_host", "fe80::5": "kni_host"} {
		if got := scopeOf(ip); got != want {
			t.Errorf("%s is %s, want %s", ip, got, want)
		}
	}
	// 199 of IPv4 and 2 of IPv6: two of the 203 are Weir's own.
	if n := len(b.wan.Take()); n != 201 {
		t.Errorf("%d frames announced 201 addresses", n)
	}
	if !slices.Equal(b.Spec().Addresses, wanted.Addresses) || len(b.Spec().Routes) != 0 || len(b.Addresses()) != 2 {
		t.Errorf("Linux's addresses are wanted: %+v", b.Spec())
	}
	for _, r := range b.Routes() {
		if r.Scope == spec.ScopeKNIHost {
			t.Errorf("listed: %+v", r)
		}
	}
	if b.snapshot.Load() == generation {
		t.Fatal("nothing changed")
	}

	generation = b.snapshot.Load()
	b.see(up(many...))
	if b.snapshot.Load() != generation {
		t.Error("a look that finds nothing new makes a change")
	}
	b.see(up(append(many[:len(many):len(many)], "10.9.1.1/32")...))
	if frames := b.wan.Take(); len(frames) != 1 {
		t.Errorf("%d frames announce one address", len(frames))
	}
	// A change of what is wanted leaves Linux's addresses alone.
	b.change(noAddr("lan", "10.9.0.150/32"))
	if got := scopeOf("10.9.0.150"); got != "kni_host" {
		t.Errorf("10.9.0.150, given up here and Linux's there: %s", got)
	}
	b.see(up())
	if got := scopeOf("10.9.0.7"); got != "none" {
		t.Errorf("removed: %s", got)
	}
	if v := b.Twins(); len(v) != 2 || v[1].Port != "wan" || v[1].Name != "wan.kni" || !v[1].Up || len(v[1].Addresses) != 0 {
		t.Errorf("the twins are %+v", v)
	}
}

// The groups that Linux listens to are listed as long as its twin is up; a twin that
// was removed is told of once.
func TestTwinGroupsAndEnd(t *testing.T) {
	b := twinned(t)
	ospf := port.MAC{1, 0, 0x5e, 0, 0, 5}
	s := up()
	s.Groups = []port.MAC{ospf}
	b.see(s)
	if g := b.Multicast(); len(g) != 1 || g[0] != (GroupView{Port: "wan", MAC: ospf, Linux: true}) {
		t.Errorf("groups: %+v", g)
	}
	b.seeGroups(map[string][]port.MAC{"wan": {ospf, {1, 0, 0x5e, 0, 0, 6}}})
	if g := b.Multicast(); len(g) != 2 {
		t.Errorf("groups: %+v", g)
	}
	s.Up, s.Gone = false, true
	for range 3 {
		b.see(s)
	}
	if g := b.Multicast(); len(g) != 0 {
		t.Errorf("groups of a twin that is gone: %+v", g)
	}
	if n := strings.Count(b.said.String(), "somebody removed its twin wan.kni"); n != 1 {
		t.Errorf("it is told %d times that the twin is gone:\n%s", n, b.said.String())
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.SeeTwins(map[string]TwinState{"wan": up("10.0.0.9/24")}); err != ErrClosed {
		t.Errorf("after the end: %v", err)
	}
}
