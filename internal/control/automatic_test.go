package control

import (
	"net/netip"
	"slices"
	"testing"

	"weir/internal/route"
	"weir/internal/spec"
)

// TestAutomaticAddresses: those that ports have by themselves are listed, and those
// that were asked for are not listed twice.
func TestAutomaticAddresses(t *testing.T) {
	of := func(p, dev string, scope spec.Scope) route.Listed {
		return route.Listed{Route: route.Route{Prefix: netip.MustParsePrefix(p), Scope: scope}, Dev: dev}
	}
	wanted := &spec.Spec{
		Addresses: []spec.Address{{Prefix: netip.MustParsePrefix("fe80::1/64"), Port: "lan"}},
		Routes:    []spec.Route{{Prefix: netip.MustParsePrefix("fe80::3/128"), Port: "lan", Scope: spec.ScopeHost}},
	}
	got := automatic(wanted, []route.Listed{
		of("10.0.0.1/32", "lan", spec.ScopeHost),
		of("169.254.0.1/32", "lan", spec.ScopeHost),
		of("2001:db8::1/128", "lan", spec.ScopeHost),
		of("fe80::1/128", "lan", spec.ScopeHost),
		of("fe80::1/128", "wan", spec.ScopeHost),
		of("fe80::3/128", "lan", spec.ScopeHost),
		of("fe80::4/128", "lan", spec.ScopeKNIHost),
		of("fe80::/64", "lan", spec.ScopeLink),
	})
	want := []spec.Address{{Prefix: netip.MustParsePrefix("fe80::1/64"), Port: "wan", Scope: spec.ScopeLink}}
	if !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
