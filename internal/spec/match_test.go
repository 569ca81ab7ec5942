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
