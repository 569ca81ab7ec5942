package director

import (
	"net/netip"
	"testing"
	"time"

	"weir/internal/spec"
)

func setTimeouts(t spec.SetTimeouts) func(*spec.Spec) error {
	return func(s *spec.Spec) error { return s.EditTimeouts(t) }
}

// TestSetTimeouts: --set holds for what enters a state from then on, and stays
// over a reload of dpvs.conf.
func TestSetTimeouts(t *testing.T) {
	b := newSmall(t, shape{})
	b.change(twoArm(), func(s *spec.Spec) error {
		return s.EditService(spec.Service{ServiceKey: dns, Scheduler: "rr"}) // no conn-timeout of its own
	})
	of := func(port uint16) time.Duration {
		t.Helper()
		v, ok := b.FindConn(spec.UDP, netip.AddrPortFrom(netip.MustParseAddr("1.2.3.4"), port), dns.Virtual)
		if !ok {
			t.Fatalf("port %d has no connection", port)
		}
		return v.Timeout.Round(time.Second)
	}
	b.asked(1000, "10.0.0.100:53")
	b.change(setTimeouts(spec.SetTimeouts{UDP: 20}))
	b.asked(1001, "10.0.0.100:53")
	tunables := spec.Tunables{Timeouts: spec.DefaultTimeouts(), DefaultTTL: 64, NeighTimeout: 60}
	tunables.Timeouts.UDP.OneWay, tunables.Timeouts.TCP.FinWait = 40, 50
	if err := b.Reload(tunables); err != nil {
		t.Fatal(err)
	}
	b.breathe()
	b.asked(1002, "10.0.0.100:53")
	for port, want := range map[uint16]time.Duration{1000: 300 * time.Second, 1001: 20 * time.Second, 1002: 20 * time.Second} {
		if got := of(port); got != want {
			t.Errorf("port %d: timeout %v, want %v", port, got, want)
		}
	}
	if in, set := b.Timeouts(); in.UDP.Normal != 20 || in.TCP.FinWait != 50 || set != (spec.SetTimeouts{UDP: 20}) {
		t.Errorf("in force: %+v, set: %+v", in, set)
	}
}

// TestFindConn finds every connection that is listed, and no other.
func TestFindConn(t *testing.T) {
	b := newSmall(t, shape{})
	b.change(twoArm())
	for port := range 50 {
		b.asked(1000+port, "10.0.0.100:53")
	}
	n := 0
	b.Conns(func(v *ConnView) bool {
		n++
		got, ok := b.FindConn(v.Proto, v.Client, v.Virtual)
		if !ok || got != *v {
			t.Errorf("%v is found as %v, %v", *v, got, ok)
		}
		if _, ok := b.FindConn(v.Proto, v.Real, v.Local); ok {
			t.Error("the answers' tuple is taken for a client's")
		}
		if _, ok := b.FindConn(spec.TCP, v.Client, v.Virtual); ok {
			t.Error("found with another protocol")
		}
		return true
	})
	if n != 50 {
		t.Errorf("%d connections are listed, there are 50", n)
	}
	if _, ok := b.FindConn(spec.UDP, netip.MustParseAddrPort("[::1]:1"), dns.Virtual); ok {
		t.Error("found with IPv6")
	}
}

// Connections of real servers that have the VIP themselves, or get packets in packets, are
// listed with the real server, not with the VIP that their packets still bear.
func TestConnsNameTheRealServer(t *testing.T) {
	for _, mode := range []spec.Forward{spec.DirectRoute, spec.Tunnel, spec.Masq} {
		b := newSmall(t, shape{})
		b.change(twoArm(), func(s *spec.Spec) error {
			return s.EditDest(dns, spec.Dest{Addr: netip.MustParseAddrPort("192.168.1.2:53"), Forward: mode, Weight: 1})
		})
		b.asked(4000, "10.0.0.100:53")
		want := netip.MustParseAddrPort("192.168.1.2:53")
		n := 0
		b.Conns(func(v *ConnView) bool {
			if n++; v.Real != want {
				t.Errorf("%v: %+v is not of real server %v", mode, *v, want)
			}
			return true
		})
		if n != 1 {
			t.Errorf("%v: %d connections", mode, n)
		}
	}
}
