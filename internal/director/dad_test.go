package director

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/packet"
	"weir/internal/spec"
)

// addresses tells the addresses with their states.
func (b *small) addresses() string {
	var out []string
	for _, a := range b.Addresses() {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s", a.Port, a.Prefix, a.State)))
	}
	return strings.Join(out, ", ")
}

func (b *small) wantAddresses(want string) {
	b.t.Helper()
	if got := b.addresses(); got != want {
		b.t.Errorf("addresses %s\nwant      %s", got, want)
	}
}

func (b *small) wantLeft(want ...string) {
	b.t.Helper()
	if got := b.left(); !slices.Equal(got, want) {
		b.t.Errorf("left %q\nwant %q", got, want)
	}
}

const (
	probe1  = "lan: ip6 :: > ff02::1:ff00:1 hlim=255 / ns who=2001:db8::1"
	told1   = "lan: ip6 2001:db8::1 > ff02::1 hlim=255 / na is=2001:db8::1 O <tll>"
	toldVIP = "wan: ip6 2001:db8:1::100 > ff02::1 hlim=255 / na is=2001:db8:1::100 O <tll>"
	ask1    = "ip6 2001:db8::9 > ff02::1:ff00:1 hlim=255 / ns who=2001:db8::1 <sll>"
)

// An address with a link is asked for, waited for and then announced; a VIP, which
// has none, is announced at once.
func TestDuplicateDetection(t *testing.T) {
	b := newSmall(t, shape{})
	b.change(all(addAddr("lan", "2001:db8::1/64"), addAddr("wan", "2001:db8:1::100/128")))
	b.wantLeft(probe1, toldVIP)
	b.wantAddresses("lan 2001:db8::1/64 tentative, wan 2001:db8:1::100/128")

	// Tentative: nobody who looks for it is answered, and nothing speaks from it.
	if got := b.fromLAN(ask1); len(got) != 0 {
		t.Errorf("asked for a tentative address: %q", got)
	}
	routes := b.snapshot.Load().Routes
	if a := routes.Source(0, netip.MustParseAddr("2001:db8::9")); a == netip.MustParseAddr("2001:db8::1") {
		t.Error("a tentative address is spoken from")
	}
	// But packets to it are ours already, and the link is there.
	if _, ours := routes.Local(netip.MustParseAddr("2001:db8::1")); !ours {
		t.Error("packets to a tentative address are not ours")
	}
	for _, r := range b.Routes() {
		if !r.Derived {
			t.Errorf("%v, which nobody added, passes for added", r.Prefix)
		}
	}
	b.KeepHouse() // too early
	b.wantAddresses("lan 2001:db8::1/64 tentative, wan 2001:db8:1::100/128")

	b.pass(2 * time.Second)
	b.wantLeft(told1)
	b.wantAddresses("lan 2001:db8::1/64, wan 2001:db8:1::100/128")
	if got := b.fromLAN(ask1); len(got) != 1 || !strings.Contains(got[0], "na is=2001:db8::1 SO <tll>") {
		t.Errorf("asked for the address: %q", got)
	}
	b.pass(10 * time.Second)
	b.wantLeft()
}

func TestDuplicate(t *testing.T) {
	for _, row := range []struct{ name, said string }{
		{"somebody has it", "ip6 2001:db8::1 > ff02::1 hlim=255 / na is=2001:db8::1 O <tll>"},
		{"somebody would like to have it too", "ip6 :: > ff02::1:ff00:1 hlim=255 / ns who=2001:db8::1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newSmall(t, shape{})
			b.change(addAddr("lan", "2001:db8::1/64"))
			b.wantLeft(probe1)
			b.fromLAN(row.said)
			b.pass(5 * time.Second)
			b.wantLeft()
			b.wantAddresses("lan 2001:db8::1/64 duplicate")
			const warn = "address 2001:db8::1 of lan is not used: another machine (02:00:00:00:02:fe) on the link has it"
			if n := strings.Count(b.said.String(), warn); n != 1 {
				t.Errorf("said %d times; the log: %s", n, b.said.String())
			}
			if got := b.fromLAN(ask1); len(got) != 0 {
				t.Errorf("asked for the other machine's address: %q", got)
			}
			routes := b.snapshot.Load().Routes
			if _, ours := routes.Local(netip.MustParseAddr("2001:db8::1")); ours {
				t.Error("the other machine's address is ours")
			}
			if r, ok := routes.Lookup(netip.MustParseAddr("2001:db8::9")); !ok || r.Src.IsValid() {
				t.Errorf("the link: %+v, %v", r, ok)
			}

			// Other changes change nothing; deleted and added, it is tried again.
			b.change(addAddr("lan", "192.168.1.1/24"))
			b.left()
			b.wantAddresses("lan 2001:db8::1/64 duplicate, lan 192.168.1.1/24")
			b.change(noAddr("lan", "2001:db8::1/64"))
			b.change(addAddr("lan", "2001:db8::1/64"))
			b.wantLeft(probe1)
			b.pass(2 * time.Second)
			b.wantLeft(told1)
			b.wantAddresses("lan 192.168.1.1/24, lan 2001:db8::1/64")
		})
	}
}

// What is in use does not become tentative because its prefix length changes.
func TestPrefixChangesAndAddressStays(t *testing.T) {
	b := newSmall(t, shape{})
	set := func(prefix string) {
		b.change(func(s *spec.Spec) error {
			return s.AddAddress(spec.Address{Port: "lan", Prefix: netip.MustParsePrefix(prefix)}, true)
		})
	}
	set("2001:db8::1/128")
	b.wantLeft(told1)
	set("2001:db8::1/64")
	b.wantAddresses("lan 2001:db8::1/64")
	set("2001:db8::1/128")
	b.wantAddresses("lan 2001:db8::1/128")
	b.pass(3 * time.Second)
	b.wantLeft()
}

// Without packet memory the question is put off, and the address waits for it.
func TestProbeWithoutMemory(t *testing.T) {
	b := newSmall(t, shape{})
	pool := b.workers[0].Pool()
	var held []*packet.Packet
	for p := pool.Get(); p != nil; p = pool.Get() {
		held = append(held, p)
	}
	b.change(addAddr("lan", "2001:db8::1/64"))
	b.pass(3 * time.Second)
	b.wantLeft()
	b.wantAddresses("lan 2001:db8::1/64 tentative")
	for _, p := range held {
		pool.Put(p)
	}
	b.pass(time.Second)
	b.wantLeft(probe1)
	b.pass(2 * time.Second)
	b.wantLeft(told1)
	b.wantAddresses("lan 2001:db8::1/64")
}

// Ports with link-local addresses ask for them when the director starts.
func TestLinkLocalAtStart(t *testing.T) {
	b := newSmall(t, shape{ipv6: spec.IPv6{AddrGenMode: spec.AddrGenEUI64}})
	const lan, wan = "fe80::ff:fe00:200", "fe80::ff:fe00:100"
	b.breathe()
	b.wantLeft("lan: ip6 :: > ff02::1:ff00:200 hlim=255 / ns who="+lan, "wan: ip6 :: > ff02::1:ff00:100 hlim=255 / ns who="+wan)
	b.wantAddresses("lan " + lan + "/64 tentative, wan " + wan + "/64 tentative")
	b.pass(2 * time.Second)
	b.wantLeft("lan: ip6 "+lan+" > ff02::1 hlim=255 / na is="+lan+" O <tll>", "wan: ip6 "+wan+" > ff02::1 hlim=255 / na is="+wan+" O <tll>")
	b.wantAddresses("lan " + lan + "/64, wan " + wan + "/64")

	// A gateway by its link-local address.
	b.change(addRoute("::/0", "wan", "fe80::1"))
	r, ok := b.snapshot.Load().Routes.Lookup(netip.MustParseAddr("2600::1"))
	if !ok || r.Gateway != netip.MustParseAddr("fe80::1") || r.Port != 1 {
		t.Errorf("default route %+v, %v", r, ok)
	}
}

// Addresses that do not follow from the MAC can be others; the one that does stays
// unused.
func TestLinkLocalIsAnothers(t *testing.T) {
	for _, row := range []struct {
		mode  string
		tries int
	}{
		{spec.AddrGenEUI64, 1},
		{spec.AddrGenStablePrivacy, 3},
		{spec.AddrGenRandom, 3},
	} {
		t.Run(row.mode, func(t *testing.T) {
			b := newSmall(t, shape{ipv6: spec.IPv6{AddrGenMode: row.mode, StableSecret: [16]byte{1}}})
			seen := map[netip.Addr]bool{}
			for range 5 {
				a := b.Addresses()[0].Prefix.Addr()
				if b.Addresses()[0].State == AddrTentative {
					seen[a] = true
				}
				b.fromLAN(fmt.Sprintf("ip6 %s > ff02::1 hlim=255 / na is=%[1]s O <tll>", a))
				b.KeepHouse()
			}
			b.pass(2 * time.Second)
			if got := b.Addresses()[0]; len(seen) != row.tries || got.State != AddrDuplicate {
				t.Errorf("%d addresses were tried, want %d; at last %s is %s", len(seen), row.tries, got.Prefix, got.State)
			}
			if got := b.Addresses()[1]; got.Port != "wan" || got.State != AddrInUse {
				t.Errorf("the other port's: %+v", got)
			}
		})
	}
}

func TestIPv6Disabled(t *testing.T) {
	b := newSmall(t, shape{ipv6: spec.IPv6{Disable: true, AddrGenMode: spec.AddrGenEUI64}})
	b.change(addAddr("lan", "192.168.1.1/24"))
	b.wantAddresses("lan 192.168.1.1/24")
	if len(b.Multicast()) != 0 {
		t.Errorf("groups: %v", b.Multicast())
	}
	for _, row := range []struct {
		name   string
		object string
		edit   func(*spec.Spec) error
	}{
		{"address", "address", addAddr("lan", "2001:db8::1/64")},
		{"route", "route", addRoute("2001:db8::/64", "lan", "")},
		{"neighbour", "neighbour", station("lan", "2001:db8::9", macRS)},
		{"service", "service", addService(udp("[2001:db8::1]:53"), "rr")},
	} {
		var refusal *spec.Refusal
		if err := b.Change(row.edit); !errors.As(err, &refusal) || refusal.Object != row.object || !strings.Contains(refusal.Why, "IPv6 is switched off") {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

func TestMulticast(t *testing.T) {
	b := newSmall(t, shape{ipv6: spec.IPv6{AddrGenMode: spec.AddrGenEUI64}})
	b.change(all(addAddr("lan", "2001:db8::1/64"), addAddr("lan", "2001:db8::100/128"), addAddr("lan", "2001:db9::1/64"), addAddr("wan", "10.0.0.1/24")))
	var got []string
	for _, g := range b.Multicast() {
		got = append(got, fmt.Sprintf("%s %s %s", g.Port, macString(g.MAC), g.Addr))
	}
	want := []string{
		"lan 33:33:00:00:00:01 ff02::1",
		"lan 33:33:ff:00:00:01 ff02::1:ff00:1",
		"lan 33:33:ff:00:01:00 ff02::1:ff00:100",
		"lan 33:33:ff:00:02:00 ff02::1:ff00:200",
		"wan 33:33:00:00:00:01 ff02::1",
		"wan 33:33:ff:00:01:00 ff02::1:ff00:100",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := newSmall(t, shape{}).Multicast(); len(got) != 0 {
		t.Errorf("ports without IPv6 listen to %v", got)
	}
}
