package director

import (
	"net/netip"
	"strings"
	"testing"

	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/spec"
)

func listed(k spec.ServiceKey, kind spec.ListKind, clients ...string) func(*spec.Spec) error {
	return func(s *spec.Spec) error { return s.AddListed(k, kind, addrs(clients)...) }
}

func unlisted(k spec.ServiceKey, kind spec.ListKind, clients ...string) func(*spec.Spec) error {
	return func(s *spec.Spec) error { return s.DeleteListed(k, kind, addrs(clients)...) }
}

func addrs(clients []string) (out []netip.Addr) {
	for _, c := range clients {
		out = append(out, netip.MustParseAddr(c))
	}
	return out
}

// through reports whether a client's datagram reaches the real server, and why not.
func (b *small) through(client string, port string) (bool, packet.Reason) {
	b.t.Helper()
	b.left() // announcements
	before, err := b.Drops()
	if err != nil {
		b.t.Fatal(err)
	}
	out := b.fromWAN("ip " + client + " > 10.0.0.100 / udp " + port + " > 53 data=4")
	after, err := b.Drops()
	if err != nil {
		b.t.Fatal(err)
	}
	for r := range after {
		if after[r] != before[r] {
			return false, packet.Reason(r)
		}
	}
	return len(out) == 1 && strings.HasPrefix(out[0], "lan: ip "), packet.NoReason
}

// TestLists follows two clients, one with a connection and one without, through
// changes of the lists.
func TestLists(t *testing.T) {
	b := newSmall(t, shape{})
	b.change(twoArm())
	const a, c = "1.2.3.4", "1.2.3.5"
	want := func(what string, wantA, wantC packet.Reason) {
		t.Helper()
		// The first port of a has a connection from the start, the second never had one.
		for _, x := range []struct {
			client, port string
			why          packet.Reason
		}{{a, "1000", wantA}, {c, "1000", wantC}} {
			if ok, why := b.through(x.client, x.port); why != x.why || ok != (x.why == packet.NoReason) {
				t.Errorf("%s: %s port %s: through %v, dropped for %v, want %v", what, x.client, x.port, ok, why, x.why)
			}
		}
	}
	const no, black, white = packet.NoReason, packet.LBBlacklisted, packet.LBNotWhitelisted
	if ok, why := b.through(a, "1000"); !ok {
		t.Fatal(why)
	}
	b.change(listed(dns, spec.Blacklist, a))
	want("a is black", black, no)
	b.change(listed(dns, spec.Whitelist, a))
	want("and white: the blacklist comes first", black, white)
	b.change(unlisted(dns, spec.Blacklist, a))
	want("a is white", no, white)
	b.change(listed(dns, spec.Whitelist, c))
	want("both are white", no, no)
	b.change(unlisted(dns, spec.Whitelist, a))
	want("c is white", white, no)
	b.change(unlisted(dns, spec.Whitelist, c))
	want("nobody is on a list", no, no)
	if n := b.Gauges().Conns; n != 2 {
		t.Errorf("%d connections: want the two that there were all the time", n)
	}
	b.change(listed(dns, spec.Blacklist, a), reschedule(dns, "wrr"))
	want("lists stay with -E", black, no)
	b.change(noService(dns), twoArmAgain())
	want("a new service has no lists", no, no)
	b.change(listed(udp("10.0.0.100:54"), spec.Blacklist, a))
	want("another service's", no, no)
}

// twoArmAgain makes the service of twoArm anew, and one beside it.
func twoArmAgain() func(*spec.Spec) error {
	other := udp("10.0.0.100:54")
	return all(addService(dns, "rr"), addDest(dns, "192.168.1.2:53", 1), addLocal(dns, "192.168.1.200"),
		addService(other, "rr"), addDest(other, "192.168.1.2:54", 1), addLocal(other, "192.168.1.200"))
}

// TestDeniedIsNotFast: only what is denied loses the fast way, and gets it back.
func TestDeniedIsNotFast(t *testing.T) {
	b := newSmall(t, shape{})
	b.change(twoArm())
	for _, c := range []string{"1.2.3.4", "1.2.3.5"} {
		if ok, why := b.through(c, "1000"); !ok {
			t.Fatal(why)
		}
	}
	fast := func() (n int) {
		f := b.shared.Flows
		for i := range f.Used() {
			if f.Half(f.Conn(i).In).Key1&flow.FlagFast != 0 {
				n++
			}
		}
		return n
	}
	if n := fast(); n != 2 {
		t.Fatalf("%d connections are fast, want 2", n)
	}
	b.change(listed(dns, spec.Blacklist, "1.2.3.4"))
	if n := fast(); n != 1 {
		t.Errorf("%d connections are fast with one of two denied", n)
	}
	b.change(unlisted(dns, spec.Blacklist, "1.2.3.4"))
	if ok, why := b.through("1.2.3.4", "1000"); !ok {
		t.Error(why)
	}
	if n := fast(); n != 2 {
		t.Errorf("%d connections are fast after all were taken again", n)
	}
}
