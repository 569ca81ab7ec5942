package spec

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

func heldAt(prefix string, sapool bool) Address {
	return Address{Port: "wan", Prefix: netip.MustParsePrefix(prefix), SAPool: sapool}
}

// codeOf is the code of a refusal, 0 of none.
func codeOf(err error) Code {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Code
	}
	return 0
}

// TestHold: an address that is held and added by hand stays until both are gone, in every
// order, and is what the one who is left wanted it to be.
func TestHold(t *testing.T) {
	for _, family := range []struct{ name, host, net string }{{"IPv4", "10.0.0.9/32", "10.0.0.9/24"}, {"IPv6", "2001:db8::9/128", "2001:db8::9/64"}} {
		held, byHand := heldAt(family.host, false), heldAt(family.net, true)
		hold := func(s *Spec) error { return s.Hold([]Address{held}) }
		release := func(s *Spec) error { s.Release([]Address{held}); return nil }
		add := func(s *Spec) error { return s.AddAddress(byHand, false) }
		set := func(s *Spec) error { return s.AddAddress(byHand, true) }
		del := func(s *Spec) error { return s.DeleteAddress(byHand.Prefix, "wan") }
		flush := func(s *Spec) error { return s.FlushAddresses("wan") }
		for _, row := range []struct {
			name   string
			do     []func(*Spec) error
			code   Code   // of the last
			prefix string // in the end; "": none
			pool   bool
		}{
			{"held", []func(*Spec) error{hold}, 0, family.host, false},
			{"held and let go", []func(*Spec) error{hold, release}, 0, "", false},
			{"held twice, let go once", []func(*Spec) error{hold, hold, release}, 0, family.host, false},
			{"held twice, let go twice", []func(*Spec) error{hold, hold, release, release}, 0, "", false},
			{"let go more often than held", []func(*Spec) error{hold, release, release}, 0, "", false},
			{"held, added", []func(*Spec) error{hold, add}, 0, family.net, true},
			{"held, set", []func(*Spec) error{hold, set}, 0, family.net, true},
			{"held, added twice", []func(*Spec) error{hold, add, add}, Exists, family.net, true},
			{"held, added, let go", []func(*Spec) error{hold, add, release}, 0, family.net, true},
			{"held, added, deleted", []func(*Spec) error{hold, add, del}, 0, family.host, false},
			{"held, added, flushed", []func(*Spec) error{hold, add, flush}, 0, family.host, false},
			{"held, added, let go, deleted", []func(*Spec) error{hold, add, release, del}, 0, "", false},
			{"held, added, deleted, let go", []func(*Spec) error{hold, add, del, release}, 0, "", false},
			{"added, held", []func(*Spec) error{add, hold}, 0, family.net, true},
			{"added, held, let go", []func(*Spec) error{add, hold, release}, 0, family.net, true},
			{"added, held, deleted", []func(*Spec) error{add, hold, del}, 0, family.host, false},
			{"added, held, deleted, let go", []func(*Spec) error{add, hold, del, release}, 0, "", false},
			{"held, deleted", []func(*Spec) error{hold, del}, Busy, family.host, false},
			{"held, flushed", []func(*Spec) error{hold, flush}, 0, family.host, false},
		} {
			t.Run(family.name+" "+row.name, func(t *testing.T) {
				s := &Spec{Ports: []string{"wan", "lan"}}
				var err error
				for i, do := range row.do {
					if err = do(s); err != nil && i < len(row.do)-1 {
						t.Fatal(err)
					}
				}
				if codeOf(err) != row.code {
					t.Errorf("the last ended with %v, want code %d", err, row.code)
				}
				a := s.FindAddress(held.Prefix.Addr())
				switch {
				case row.prefix == "" && a != nil:
					t.Errorf("there is %v", *a)
				case row.prefix == "":
				case a == nil:
					t.Error("it is gone")
				case a.Prefix.String() != row.prefix || a.SAPool != row.pool:
					t.Errorf("it is %v", *a)
				}
			})
		}
	}
}

// TestHoldRefused: what can't be held changes nothing.
func TestHoldRefused(t *testing.T) {
	many := make([]Address, MaxHeld+1)
	for _, row := range []struct {
		name string
		a    []Address
		code Code
	}{
		{"no such port", []Address{{Port: "dmz", Prefix: netip.MustParsePrefix("10.0.0.9/32")}}, NoDevice},
		{"on another port", []Address{{Port: "lan", Prefix: netip.MustParsePrefix("10.0.0.1/32")}}, Exists},
		{"a group", []Address{heldAt("224.0.0.1/32", false)}, Invalid},
		{"ports of a link-local one", []Address{heldAt("fe80::1/64", true)}, Invalid},
		{"too many", many, NoResource},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := &Spec{Ports: []string{"wan", "lan"}}
			if err := s.AddAddress(heldAt("10.0.0.1/24", false), false); err != nil {
				t.Fatal(err)
			}
			if err := s.Clone().Hold(row.a); codeOf(err) != row.code {
				t.Errorf("%v, want code %d", err, row.code)
			}
		})
	}
}

// TestReleaseTakesAlong: a service can't send from an address that has left.
func TestReleaseTakesAlong(t *testing.T) {
	s := &Spec{Ports: []string{"wan", "lan"}}
	ip := netip.MustParseAddr("10.0.0.9")
	if err := s.Hold([]Address{heldAt("10.0.0.9/32", true)}); err != nil {
		t.Fatal(err)
	}
	out := ServiceKey{Proto: TCP, Match: Match{Family: 4, Out: "wan"}}
	full := ServiceKey{Proto: TCP, Virtual: netip.MustParseAddrPort("10.0.0.9:80")}
	for _, k := range []ServiceKey{out, full} {
		if err := s.AddService(Service{ServiceKey: k, Scheduler: "rr"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.AddDest(out, Dest{Addr: netip.AddrPortFrom(ip, 0), Forward: SNAT, Weight: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddLocal(full, LocalAddress{Addr: ip, Port: "wan"}); err != nil {
		t.Fatal(err)
	}
	s.Release([]Address{heldAt("10.0.0.9/32", true)})
	if a := s.FindAddress(ip); a != nil || len(s.Find(out).Dests) != 0 || len(s.Find(full).Locals) != 0 {
		t.Errorf("left are %v, %v, %v", a, s.Find(out).Dests, s.Find(full).Locals)
	}
}

// TestHoldModel: after any order of holding, letting go, adding and deleting, an address is
// there exactly if somebody wants it.
func TestHoldModel(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 1))
	s := &Spec{Ports: []string{"wan"}}
	holders, byHand := map[string]int{}, map[string]bool{}
	for range 20000 {
		a := heldAt(fmt.Sprintf("10.0.0.%d/32", 1+r.IntN(5)), r.IntN(2) == 0)
		key := a.Prefix.String()
		switch r.IntN(4) {
		case 0:
			if err := s.Hold([]Address{a}); err != nil {
				t.Fatal(err)
			}
			holders[key]++
		case 1:
			if s.Release([]Address{a}); holders[key] > 0 {
				holders[key]--
			}
		case 2:
			err := s.AddAddress(a, false)
			if (err == nil) == byHand[key] {
				t.Fatalf("add of %s, by hand %v: %v", key, byHand[key], err)
			}
			byHand[key] = true
		case 3:
			err := s.DeleteAddress(a.Prefix, "wan")
			if (err == nil) != byHand[key] {
				t.Fatalf("delete of %s, by hand %v: %v", key, byHand[key], err)
			}
			byHand[key] = false
		}
		there := slices.ContainsFunc(s.Addresses, func(o Address) bool { return o.Prefix == a.Prefix })
		if there != (byHand[key] || holders[key] > 0) {
			t.Fatalf("%s is there: %v, by hand %v, held by %d", key, there, byHand[key], holders[key])
		}
	}
}
