package director

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/packet"
	"weir/internal/port/pipe"
	"weir/internal/spec"
)

// whoHas asks on the lan for an address and reports whether anybody answers.
func (b *small) whoHas(ip string) bool {
	b.t.Helper()
	b.left()
	return len(b.fromLAN("eth to=all / arp request who="+ip+" tell=192.168.1.2")) > 0
}

func (b *small) listed(ip string) bool {
	a := netip.MustParseAddr(ip)
	for _, r := range b.Routes() {
		if r.Prefix.Addr() == a {
			return true
		}
	}
	return b.Spec().FindAddress(a) != nil
}

// A local address that is removed while connections use it is no longer listed,
// gets no new connection, and answers ARP until the last one ended: else the real
// servers could not answer.
func TestRemovedLocalAddressLingers(t *testing.T) {
	for _, tc := range []struct {
		name   string
		remove []func(*spec.Spec) error
	}{
		{"unbound", []func(*spec.Spec) error{noLocal(dns, "192.168.1.200")}},
		{"with its service", []func(*spec.Spec) error{noService(dns)}},
		{"with all services", []func(*spec.Spec) error{func(s *spec.Spec) error { s.FlushServices(); return nil }}},
		{"with other changes after it", []func(*spec.Spec) error{noService(dns), addAddr("wan", "10.0.0.7/32"), addRoute("9.0.0.0/8", "lan", "192.168.1.9")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newSmall(t, shape{})
			b.change(twoArm())
			b.asked(40000, "10.0.0.100:53")
			for _, e := range tc.remove {
				b.change(e)
			}
			b.KeepHouse()
			if !b.whoHas("192.168.1.200") {
				t.Error("it does not answer ARP while a connection uses it")
			}
			if b.listed("192.168.1.200") {
				t.Error("it is listed")
			}
			if _, _, _, ok := b.LocalCounts(netip.MustParseAddr("192.168.1.200")); ok {
				t.Error("it has figures like an address that is there")
			}
			if out := b.fromLAN("ip 192.168.1.2 > 192.168.1.200 / udp 53 > 1025 data=4"); len(out) != 1 || !strings.Contains(out[0], "wan: ip 10.0.0.100 > 1.2.3.4") {
				t.Errorf("the real server's answer left as %q", out)
			}
			b.pass(8 * time.Second)
			if !b.whoHas("192.168.1.200") {
				t.Error("it went before the connection")
			}
			b.pass(12 * time.Second)
			if n := b.shared.Flows.Len(); n != 0 {
				t.Fatalf("%d connections last", n)
			}
			if b.whoHas("192.168.1.200") || len(b.lingering) != 0 {
				t.Error("it answers when the last connection has ended")
			}
			if _, ok := b.shared.Locals.InUse(netip.MustParseAddr("192.168.1.200")); ok {
				t.Error("its ports are kept")
			}
			if !b.whoHas("192.168.1.1") {
				t.Error("an address that stays went with it")
			}
		})
	}
}

// One that comes back in time has its connections and its ports still.
func TestLingeringAddressComesBack(t *testing.T) {
	b := newSmall(t, shape{})
	b.change(twoArm())
	b.asked(40000, "10.0.0.100:53")
	b.change(noLocal(dns, "192.168.1.200"))
	b.KeepHouse()
	b.left()
	if err := b.Change(addLocal(dns, "192.168.1.200")); err != nil {
		t.Fatal(err)
	}
	b.breathe()
	if got := b.left(); len(got) != 1 || !strings.Contains(got[0], "who=192.168.1.200 tell=192.168.1.200") {
		t.Errorf("announced: %q", got)
	}
	if used, free, _, ok := b.LocalCounts(netip.MustParseAddr("192.168.1.200")); !ok || used != 1 || free != 1032175 {
		t.Errorf("used %d, free %d, there: %v; its connection lives", used, free, ok)
	}
	if !b.listed("192.168.1.200") || len(b.lingering) != 0 {
		t.Error("it is not listed")
	}
	// The port in use is not given twice.
	out := b.fromWAN("ip 1.2.3.4 > 10.0.0.100 / udp 40001 > 53 data=4")
	if len(out) != 1 || !strings.Contains(out[0], "udp 1026 > 53") {
		t.Errorf("the next connection left as %q, want port 1026", out)
	}
	b.pass(20 * time.Second)
	if used, _, _, ok := b.LocalCounts(netip.MustParseAddr("192.168.1.200")); !ok || used != 0 || !b.whoHas("192.168.1.200") {
		t.Errorf("when the connections ended: used %d, there: %v", used, ok)
	}
}

// One that nobody uses goes at once.
func TestUnusedLocalAddressGoesAtOnce(t *testing.T) {
	b := newSmall(t, shape{})
	b.change(twoArm())
	b.change(noLocal(dns, "192.168.1.200"))
	if b.whoHas("192.168.1.200") || b.listed("192.168.1.200") {
		t.Error("an address that nobody uses stays")
	}
}

// A worker in the middle of a breath may give a port of a local address that was
// removed a moment ago. The address is not forgotten before that breath ended:
// its index would go to another, and the port come back to the wrong one.
func TestAddressIsNotForgottenInMidBreath(t *testing.T) {
	inBreath, goOn := make(chan struct{}), make(chan struct{})
	var begin atomic.Bool
	packets := frame(t, macGW, macWAN, "ip 1.2.3.4 > 10.0.0.100 / udp 40000 > 53 data=4")
	b := newSmall(t, shape{threads: true, opened: func(dev string, q *pipe.Queue, pool *packet.Pool) {
		if dev != "wan" {
			return
		}
		q.Source = func(burst []*packet.Packet) int {
			if !begin.CompareAndSwap(true, false) {
				return 0
			}
			close(inBreath)
			<-goOn
			burst[0] = pool.Get()
			burst[0].Resize(len(packets))
			copy(burst[0].Data, packets)
			return 1
		}
	}})
	b.change(twoArm())
	begin.Store(true)
	<-inBreath
	// The worker has the old snapshot in its hands now.
	kept := make(chan error, 1)
	go func() {
		err := b.Change(noLocal(dns, "192.168.1.200"))
		b.KeepHouse()
		kept <- err
	}()
	// Go on when that is done, or waits for the breath to end.
	for waits := 0; waits < 1000 && len(kept) == 0; {
		if b.mu.TryLock() {
			b.mu.Unlock()
			waits = 0
		} else {
			waits++
		}
	}
	close(goOn)
	if err := <-kept; err != nil {
		t.Fatal(err)
	}
	eventually(t, "the connection is there", func() bool { return b.shared.Flows.Len() == 1 })
	if used, ok := b.shared.Locals.InUse(netip.MustParseAddr("192.168.1.200")); !ok || used != 1 {
		t.Errorf("the local address of the connection: %d ports used, known: %v", used, ok)
	}
}
