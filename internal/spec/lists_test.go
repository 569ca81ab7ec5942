package spec

import (
	"errors"
	"net/netip"
	"testing"
)

func TestListed(t *testing.T) {
	k := ServiceKey{Proto: TCP, Virtual: netip.MustParseAddrPort("10.0.0.100:80")}
	a, b := netip.MustParseAddr("1.2.3.4"), netip.MustParseAddr("1.2.3.5")
	base := &Spec{}
	if err := base.AddService(Service{ServiceKey: k, Scheduler: "rr", Blacklist: []netip.Addr{a}}); err != nil {
		t.Fatal(err)
	}
	if len(base.Services[0].Blacklist) != 0 {
		t.Error("a service is added with a list")
	}
	if err := base.AddListed(k, Blacklist, a); err != nil {
		t.Fatal(err)
	}
	many := make([]netip.Addr, MaxListed)
	for i := range many {
		many[i] = netip.AddrFrom4([4]byte{11, 0, byte(i >> 8), byte(i)})
	}
	for _, tc := range []struct {
		name string
		edit func(*Spec) error
		code Code
	}{
		{"twice", func(s *Spec) error { return s.AddListed(k, Blacklist, a) }, Exists},
		{"twice at once", func(s *Spec) error { return s.AddListed(k, Whitelist, b, b) }, Exists},
		{"on both", func(s *Spec) error { return s.AddListed(k, Whitelist, a) }, 0},
		{"no such service", func(s *Spec) error { return s.AddListed(ServiceKey{Proto: UDP, Virtual: k.Virtual}, Blacklist, a) }, NotExists},
		{"IPv6", func(s *Spec) error { return s.AddListed(k, Blacklist, netip.MustParseAddr("2001:db8::1")) }, Invalid},
		{"multicast", func(s *Spec) error { return s.AddListed(k, Blacklist, netip.MustParseAddr("224.0.0.1")) }, Invalid},
		{"nobody", func(s *Spec) error { return s.AddListed(k, Blacklist, netip.IPv4Unspecified()) }, Invalid},
		{"too many", func(s *Spec) error { return s.AddListed(k, Blacklist, many...) }, NoResource},
		{"as many as can be", func(s *Spec) error { return s.AddListed(k, Whitelist, many...) }, 0},
		{"delete", func(s *Spec) error { return s.DeleteListed(k, Blacklist, a) }, 0},
		{"delete what is not there", func(s *Spec) error { return s.DeleteListed(k, Blacklist, b) }, NotExists},
		{"delete from the other", func(s *Spec) error { return s.DeleteListed(k, Whitelist, a) }, NotExists},
		{"delete twice at once", func(s *Spec) error { return s.DeleteListed(k, Blacklist, a, a) }, NotExists},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := base.Clone()
			err := tc.edit(s)
			var r *Refusal
			if tc.code == 0 && err != nil || tc.code != 0 && (!errors.As(err, &r) || r.Code != tc.code) {
				t.Errorf("%v, want code %d", err, tc.code)
			}
			if l := base.Services[0].Blacklist; len(l) != 1 || l[0] != a {
				t.Errorf("the list of the original changed: %v", l)
			}
		})
	}
}
