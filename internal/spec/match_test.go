package spec

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// TestWANAddresses: what inside hosts can go out with.
func TestWANAddresses(t *testing.T) {
	inside := ServiceKey{Proto: TCP, Match: Match{Family: 4, Src: Range{First: netip.MustParseAddr("192.168.1.0"), Last: netip.MustParseAddr("192.168.1.254")}, Out: "wan"}}
	wan := netip.MustParseAddr("10.0.0.7")
	made := func() *Spec {
		s := base(t)
		for _, err := range []error{
			s.AddAddress(Address{Port: "wan", Prefix: netip.PrefixFrom(wan, 24), SAPool: true}, false),
			s.AddService(Service{ServiceKey: inside, Scheduler: "rr"}),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	for _, row := range []struct {
		name string
		edit func(*Spec) error
		want string // "": no refusal
	}{
		{"with ports", func(s *Spec) error {
			return s.AddDest(inside, Dest{Addr: netip.AddrPortFrom(wan, 0), Forward: SNAT, Weight: 1})
		}, ""},
		{"a real server", func(s *Spec) error { return s.AddDest(inside, Dest{Addr: rs1, Forward: FullNAT}) }, "a match service has WAN addresses for SNAT (-J), not FullNat real servers"},
		{"at a port", func(s *Spec) error { return s.AddDest(inside, Dest{Addr: netip.AddrPortFrom(wan, 80), Forward: SNAT}) }, "10.0.0.7:80: the ports of a WAN address are chosen for each connection: give 10.0.0.7:0"},
		{"of nobody", func(s *Spec) error {
			return s.AddDest(inside, Dest{Addr: netip.MustParseAddrPort("10.0.0.8:0"), Forward: SNAT})
		}, "10.0.0.8 is no address of this box: dpip addr add 10.0.0.8/LEN dev PORT sapool"},
		{"without ports", func(s *Spec) error { return s.AddDest(inside, Dest{Addr: netip.AddrPortFrom(vip, 0), Forward: SNAT}) }, "10.0.0.100 has no ports to give: dpip addr set 10.0.0.100/"},
		{"and a local address", func(s *Spec) error {
			_, err := s.AddLocal(inside, LocalAddress{Addr: lip, Port: "lan"})
			return err
		}, "a match service has no local addresses"},
		{"taken away while in use", func(s *Spec) error {
			if err := s.AddDest(inside, Dest{Addr: netip.AddrPortFrom(wan, 0), Forward: SNAT, Weight: 1}); err != nil {
				return err
			}
			return s.DeleteAddress(netip.PrefixFrom(wan, 24), "wan")
		}, "resource busy: 10.0.0.7 is used by service MATCH tcp,from=192.168.1.0-192.168.1.254:0-0,oif=wan"},
		{"endpoint-independent, of a service with an address", func(s *Spec) error {
			return s.EditService(Service{ServiceKey: web, Scheduler: "rr", EndpointIndependent: true})
		}, "endpoint-independent mapping is for match services (SNAT): leave out --mapping"},
		{"endpoint-independent", func(s *Spec) error {
			if err := s.EditService(Service{ServiceKey: inside, Scheduler: "rr", EndpointIndependent: true}); err != nil {
				return err
			}
			return s.AddDest(inside, Dest{Addr: netip.AddrPortFrom(wan, 0), Forward: SNAT, Weight: 1})
		}, ""},
		{"endpoint-independent in one protocol alone", func(s *Spec) error {
			return errors.Join(goesOut(s, inside, wan, true), goesOut(s, other(inside, UDP), wan, false))
		}, ""},
		{"endpoint-independent in both of two services", func(s *Spec) error {
			return errors.Join(goesOut(s, inside, wan, true), goesOut(s, other(inside, TCP), wan, true))
		}, ""},
		{"endpoint-independent in one of two services", func(s *Spec) error {
			if err := goesOut(s, inside, wan, true); err != nil {
				t.Fatal(err)
			}
			return goesOut(s, other(inside, TCP), wan, false)
		}, "10.0.0.7 is a WAN address of MATCH tcp,from=192.168.1.0-192.168.1.254:0-0,oif=wan too, and both must have the same --mapping: give one of them another address"},
		{"edited so", func(s *Spec) error {
			if err := errors.Join(goesOut(s, inside, wan, false), goesOut(s, other(inside, TCP), wan, false)); err != nil {
				t.Fatal(err)
			}
			return s.EditService(Service{ServiceKey: inside, Scheduler: "rr", EndpointIndependent: true})
		}, "both must have the same --mapping"},
		{"endpoint-independent, and a local address before", func(s *Spec) error {
			if _, err := s.AddLocal(web, LocalAddress{Addr: wan, Port: "wan"}); err != nil {
				t.Fatal(err)
			}
			return goesOut(s, inside, wan, true)
		}, "10.0.0.7 is a local address of TCP 10.0.0.100:80: endpoint-independent mappings need a WAN address of their own"},
		{"endpoint-independent, and a local address afterwards", func(s *Spec) error {
			if err := goesOut(s, inside, wan, true); err != nil {
				t.Fatal(err)
			}
			_, err := s.AddLocal(web, LocalAddress{Addr: wan, Port: "wan"})
			return err
		}, "10.0.0.7 is a WAN address of MATCH tcp,from=192.168.1.0-192.168.1.254:0-0,oif=wan, whose mappings are endpoint-independent: it has no ports for others of TCP"},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := row.edit(made())
			var r *Refusal
			switch {
			case row.want == "" && err != nil:
				t.Fatal(err)
			case row.want != "" && (!errors.As(err, &r) || !strings.Contains(r.Why, row.want)):
				t.Errorf("%v, want %q", err, row.want)
			}
		})
	}
}

// other is a match service beside k.
func other(k ServiceKey, p Proto) ServiceKey {
	k.Proto, k.Match.In = p, "lan"
	return k
}

// goesOut gives a match service, new or not, a mapping and a WAN address.
func goesOut(s *Spec, k ServiceKey, wan netip.Addr, independent bool) error {
	svc := Service{ServiceKey: k, Scheduler: "rr", EndpointIndependent: independent}
	set := s.AddService
	if s.Find(k) != nil {
		set = s.EditService
	}
	if err := set(svc); err != nil {
		return err
	}
	return s.AddDest(k, Dest{Addr: netip.AddrPortFrom(wan, 0), Forward: SNAT, Weight: 1})
}
