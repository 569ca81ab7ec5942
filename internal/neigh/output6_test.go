package neigh

import (
	"net/netip"
	"testing"

	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/spec"
)

const (
	askX6   = "transmit port 0 to 3333ff000007: ip6 2001:db8::5 > ff02::1:ff00:7 hlim=255 / ns who=2001:db8::7 <sll>"
	probeX6 = "transmit port 0 to 0200000000aa: ip6 2001:db8::5 > 2001:db8::7 hlim=255 / ns who=2001:db8::7 <sll>"
	goX6    = "output to 2001:db8::7"
	answer6 = "ip6 2001:db8::7 > 2001:db8::5 hlim=255 / na is=2001:db8::7 SO <tll>"
)

// specs are addresses of port 0, the first with its link.
func specs(addrs ...netip.Addr) (out []spec.Address) {
	for i, a := range addrs {
		bits := 64
		if i > 0 {
			bits = a.BitLen()
		}
		out = append(out, spec.Address{Port: "dpdk0", Prefix: netip.PrefixFrom(a, bits)})
	}
	return out
}

func TestAskWaitAnswerGo6(t *testing.T) {
	b := newBed(t, 16)
	v, why := b.send(x6)
	want(t, v, why, packet.Stolen, 0)
	v, why = b.send(x6)
	want(t, v, why, packet.Stolen, 0)
	b.wantState(x6, "SEND")
	b.wantOut(askX6) // once, not for every packet

	v, p := b.nd(answer6)
	want(t, v, p.Reason, packet.Drop, packet.NDConsumed)
	b.wantState(x6, "REACHABLE 0200000000aa")
	b.Tick(b.now)
	b.wantOut(goX6, goX6)
	if b.Held() != 0 {
		t.Errorf("%d held", b.Held())
	}
	v, why = b.send(x6)
	want(t, v, why, packet.Output, 0)
}

// Link-local neighbours are each port's own.
func TestAskLinkLocal(t *testing.T) {
	b := newBed(t, 16)
	b.send(xll)
	b.wantOut("transmit port 0 to 3333ff000007: ip6 fe80::10 > ff02::1:ff00:7 hlim=255 / ns who=fe80::7 <sll>")
	ref := b.table.Hops.Get(1, xll, mac1, 1500)
	p := b.pool.Get()
	p.NextHop = ref
	if v := b.Output(p); v != packet.Stolen {
		t.Fatal(v)
	}
	b.wantOut("transmit port 1 to 3333ff000007: ip6 fe80::11 > ff02::1:ff00:7 hlim=255 / ns who=fe80::7 <sll>")
	b.nd("ip6 fe80::7 > fe80::10 hlim=255 / na is=fe80::7 SO <tll>")
	b.wantState(xll, "REACHABLE 0200000000aa")
	if h := b.table.Hops.At(ref); h.Resolved() {
		t.Error("the neighbour of the same number on the other link is known too")
	}
}

// The address to ask from is one of the port itself.
func TestAskFrom(t *testing.T) {
	elsewhere := spec.Address{Port: "dpdk1", Prefix: netip.PrefixFrom(own16, 64)}
	for _, row := range []struct {
		name  string
		addrs []spec.Address
		out   string
	}{
		{"of the link", specs(own6, vip6), askX6},
		{"VIP alone", specs(own6, vip6)[1:], "transmit port 0 to 3333ff000007: ip6 2001:db8::100 > ff02::1:ff00:7 hlim=255 / ns who=2001:db8::7 <sll>"},
		{"link-local rather than another port's", []spec.Address{elsewhere}, "transmit port 0 to 3333ff000007: ip6 fe80::10 > ff02::1:ff00:7 hlim=255 / ns who=2001:db8::7 <sll>"},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t, 16)
			b.routes(row.addrs...)
			b.send(x6)
			b.wantOut(row.out)
		})
	}
	t.Run("nothing but tentative ones", func(t *testing.T) {
		b := newBed(t, 16)
		b.Config.Tentative = []*Tentative{{Addr: own6}, {Addr: ll0}}
		b.routes(specs(own6)...)
		v, why := b.send(x6)
		want(t, v, why, packet.Drop, packet.NeighNoSource)
		b.wantOut()
	})
}

func TestRoundFailsAndANewOneBegins6(t *testing.T) {
	b := newBed(t, 16)
	b.send(x6)
	b.wantOut(askX6)
	b.pass(1.1)
	b.wantOut(askX6)
	b.pass(1.1)
	b.wantOut(askX6)
	b.pass(1.1)
	b.wantOut()
	b.wantState(x6, "FAILED")
	if b.Held() != 0 || b.stats.Drops[packet.NeighFailed] != 1 {
		t.Errorf("%d held, %d counted as failed", b.Held(), b.stats.Drops[packet.NeighFailed])
	}
	v, why := b.send(x6)
	want(t, v, why, packet.Drop, packet.NeighFailed)
	b.pass(1.1)
	v, why = b.send(x6)
	want(t, v, why, packet.Stolen, 0)
	b.wantOut(askX6)
}

func TestConfirmReachable6(t *testing.T) {
	b := newBed(t, 16)
	b.hop(x6)
	b.learn(0, x6, macX, false)
	go1 := func(wantState string, wantOut ...string) {
		t.Helper()
		v, why := b.send(x6)
		want(t, v, why, packet.Output, 0)
		b.wantState(x6, wantState+" 0200000000aa")
		b.wantOut(wantOut...)
	}
	b.pass(59)
	go1("REACHABLE")
	b.pass(2)
	go1("DELAY")
	b.pass(3.1)
	go1("PROBE", probeX6)
	b.pass(1.1)
	go1("PROBE", probeX6)

	// It says that it is there, but not that it heard us: that confirms nothing.
	b.nd("ip6 2001:db8::7 > ff02::1 hlim=255 / na is=2001:db8::7 O <tll>")
	go1("PROBE")
	// It answers.
	b.nd(answer6)
	go1("REACHABLE")

	// It is gone: three probes, then a round to everybody.
	b.pass(61)
	go1("DELAY")
	b.pass(3.1)
	go1("PROBE", probeX6)
	b.pass(1.1)
	go1("PROBE", probeX6)
	b.pass(1.1)
	go1("PROBE", probeX6)
	b.pass(1.1)
	v, why := b.send(x6)
	want(t, v, why, packet.Stolen, 0)
	b.wantState(x6, "SEND")
	b.wantOut(askX6)
}

func TestBoundPerNeighbour6(t *testing.T) {
	b := newBed(t, 300)
	b.Config.QueueLen = 2
	b.send(x6)
	b.send(x6)
	v, why := b.send(x6)
	want(t, v, why, packet.Drop, packet.NeighQueueFull)
	v, why = b.send(netip.MustParseAddr("2001:db8::8"))
	want(t, v, why, packet.Stolen, 0)
	v, why = b.send(x) // IPv4 has queues of its own
	want(t, v, why, packet.Stolen, 0)
}

func TestNoMemoryToAsk6(t *testing.T) {
	b := newBed(t, 2)
	p := b.pool.Get()
	b.send(x6)
	b.wantOut()
	if b.Counters.NotAsked != 1 || b.Counters.Asked != 0 || b.Announce(0, vip6) || b.Probe(0, vip6) {
		t.Errorf("%+v", b.Counters)
	}
	b.pool.Put(p)
	b.pass(1.1)
	b.wantOut(askX6)
}

func TestAnnounce6(t *testing.T) {
	b := newBed(t, 16)
	if !b.Announce(0, vip6) {
		t.Error("not announced")
	}
	b.Config.Router = true
	b.Announce(0, ll0)
	b.wantOut("transmit port 0 to 333300000001: ip6 2001:db8::100 > ff02::1 hlim=255 / na is=2001:db8::100 O <tll>",
		"transmit port 0 to 333300000001: ip6 fe80::10 > ff02::1 hlim=255 / na is=fe80::10 RO <tll>")
	if b.Announce(0, netip.Addr{}) || b.Announce(64, vip6) {
		t.Error("announced no address, or on no port")
	}
	if b.Counters.Announced != 2 {
		t.Errorf("%d counted", b.Counters.Announced)
	}
}

func TestProbe(t *testing.T) {
	b := newBed(t, 16)
	if !b.Probe(0, vip6) || b.Probe(0, vip) {
		t.Error("IPv6 is not probed for, or IPv4 is")
	}
	b.wantOut("transmit port 0 to 3333ff000100: ip6 :: > ff02::1:ff00:100 hlim=255 / ns who=2001:db8::100")
}

func TestAskingDoesNotAllocate6(t *testing.T) {
	b := newBed(t, 8)
	ref, h := b.hop(x6)
	var got [8]*packet.Packet
	if n := testing.AllocsPerRun(100, func() {
		p := b.pool.Get()
		p.NextHop = ref
		h.SetNUD(flow.NUDNone, false)
		if b.Output(p) != packet.Stolen {
			t.Fatal(p.Reason)
		}
		b.learn(0, x6, macX, true)
		b.Tick(b.now)
		b.Announce(0, own6)
		b.Probe(0, own6)
		for _, p := range got[:b.out.Pop(got[:])] {
			b.pool.Put(p)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
