package neigh

import (
	"net/netip"
	"testing"

	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/wire"
)

const (
	askX   = "transmit port 0 to ffffffffffff: who-has 10.0.0.7 tell 10.0.0.5"
	probeX = "transmit port 0 to 0200000000aa: who-has 10.0.0.7 tell 10.0.0.5"
	goX    = "output to 10.0.0.7"
)

// want checks a verdict.
func want(t *testing.T, v packet.Verdict, why packet.Reason, wantV packet.Verdict, wantWhy packet.Reason) {
	t.Helper()
	if v != wantV || why != wantWhy {
		t.Errorf("%v (%v), want %v (%v)", v, why, wantV, wantWhy)
	}
}

func TestAskWaitAnswerGo(t *testing.T) {
	b := newBed(t, 16)
	v, why := b.send(x)
	want(t, v, why, packet.Stolen, 0)
	v, why = b.send(x)
	want(t, v, why, packet.Stolen, 0)
	b.wantState(x, "SEND")
	b.wantOut(askX) // once, not for every packet
	if b.Held() != 2 {
		t.Errorf("%d held", b.Held())
	}

	v, p := b.arp(wire.ARPReply, macX, x, own)
	want(t, v, p.Reason, packet.Drop, packet.ARPConsumed)
	b.wantState(x, "REACHABLE 0200000000aa")
	b.Tick(b.now) // the same tick: the answer is noticed at once
	b.wantOut(goX, goX)
	if b.Held() != 0 {
		t.Errorf("%d held", b.Held())
	}
	v, why = b.send(x)
	want(t, v, why, packet.Output, 0)
}

func TestAnswerLearntByAnotherWorker(t *testing.T) {
	b := newBed(t, 16)
	b.send(x)
	b.wantOut(askX)
	_, h := b.hop(x) // as the other worker does it
	h.SetDest(macX)
	h.SetNUD(flow.NUDReachable, true)
	b.now++
	b.Tick(b.now)
	b.wantOut(goX)
}

func TestRoundFailsAndANewOneBegins(t *testing.T) {
	b := newBed(t, 16)
	b.send(x)
	b.wantOut(askX)
	b.pass(0.5)
	b.wantOut()
	b.pass(0.6)
	b.wantOut(askX)
	b.pass(1.1)
	b.wantOut(askX)
	b.wantState(x, "SEND")
	if b.Held() != 1 {
		t.Errorf("%d held", b.Held())
	}
	b.pass(1.1)
	b.wantOut()
	b.wantState(x, "FAILED")
	if b.Held() != 0 || b.stats.Drops[packet.NeighFailed] != 1 {
		t.Errorf("%d held, %d counted as failed", b.Held(), b.stats.Drops[packet.NeighFailed])
	}

	v, why := b.send(x) // within the second
	want(t, v, why, packet.Drop, packet.NeighFailed)
	b.wantOut()
	b.pass(1.1)
	v, why = b.send(x)
	want(t, v, why, packet.Stolen, 0)
	b.wantOut(askX)
	b.wantState(x, "SEND")
}

// A round that nobody watched (its packets were dropped at a bound) is old when
// the next packet comes.
func TestForgottenRoundBeginsAnew(t *testing.T) {
	b := newBed(t, 16)
	b.send(x)
	b.wantOut(askX)
	b.Flush()
	if b.stats.Drops[packet.PortDown] != 1 || b.Held() != 0 {
		t.Errorf("flush: %d held, %d counted", b.Held(), b.stats.Drops[packet.PortDown])
	}
	b.pass(100)
	b.send(x)
	b.wantOut(askX)
	b.pass(1.1)
	b.pass(1.1)
	b.wantOut(askX, askX)
	b.wantState(x, "SEND")
}

func TestConfirmReachable(t *testing.T) {
	b := newBed(t, 16)
	_, h := b.hop(x)
	b.learn(0, x, macX, false)
	b.wantState(x, "REACHABLE 0200000000aa")
	go1 := func(wantState string, wantOut ...string) {
		t.Helper()
		v, why := b.send(x)
		want(t, v, why, packet.Output, 0)
		b.wantState(x, wantState+" 0200000000aa")
		b.wantOut(wantOut...)
	}
	b.pass(59)
	go1("REACHABLE")
	b.pass(2)
	go1("DELAY")
	b.pass(2)
	go1("DELAY")
	b.pass(1.1)
	go1("PROBE", probeX)
	go1("PROBE")
	b.pass(1.1)
	go1("PROBE", probeX)

	// It answers.
	b.arp(wire.ARPReply, macX, x, own)
	go1("REACHABLE")

	// It is gone: three probes, then a round to everybody, then failed.
	b.pass(61)
	go1("DELAY")
	b.pass(3.1)
	go1("PROBE", probeX)
	b.pass(1.1)
	go1("PROBE", probeX)
	b.pass(1.1)
	go1("PROBE", probeX)
	b.pass(1.1)
	v, why := b.send(x)
	want(t, v, why, packet.Stolen, 0)
	b.wantState(x, "SEND")
	b.wantOut(askX)
	for range 3 {
		b.pass(1.1)
	}
	b.wantState(x, "FAILED")
	if h.Resolved() {
		t.Error("a failed neighbour is still resolved")
	}
}

func TestReachableTimeIsConfigured(t *testing.T) {
	b := newBed(t, 16)
	b.Config.Reachable = 5
	b.hop(x)
	b.learn(0, x, macX, false)
	b.pass(6)
	b.send(x)
	b.wantState(x, "DELAY 0200000000aa")
}

func TestBoundPerNeighbour(t *testing.T) {
	b := newBed(t, 300)
	for i := range DefaultQueueLen {
		if v, why := b.send(x); v != packet.Stolen {
			t.Fatalf("packet %d: %v %v", i, v, why)
		}
	}
	v, why := b.send(x)
	want(t, v, why, packet.Drop, packet.NeighQueueFull)
	v, why = b.send(netip.MustParseAddr("10.0.0.8"))
	want(t, v, why, packet.Stolen, 0)
	b.Config.QueueLen = 2
	b.send(netip.MustParseAddr("10.0.0.8"))
	v, why = b.send(netip.MustParseAddr("10.0.0.8"))
	want(t, v, why, packet.Drop, packet.NeighQueueFull)
}

func TestBoundInAll(t *testing.T) {
	b := newBed(t, 2100)
	to := netip.MustParseAddr("10.0.0.101")
	for i := range MaxHeld {
		if i%100 == 99 {
			to = to.Next()
		}
		if v, why := b.send(to); v != packet.Stolen {
			t.Fatalf("packet %d: %v %v", i, v, why)
		}
	}
	v, why := b.send(to)
	want(t, v, why, packet.Drop, packet.NeighQueueFull)
	if b.Held() != MaxHeld {
		t.Errorf("%d held", b.Held())
	}
	waiting := 0
	b.Waiting(func(_ flow.NextHopRef, n int) { waiting += n })
	if waiting != MaxHeld {
		t.Errorf("Waiting tells of %d", waiting)
	}
}

// More packets are released than the outbox takes: the rest follows.
func TestReleaseBeyondTheOutbox(t *testing.T) {
	b := newBed(t, 1000)
	b.Config.QueueLen = 1000
	for range 600 {
		b.send(x)
	}
	b.outbox()
	b.arp(wire.ARPReply, macX, x, own)
	total := 0
	for range 4 {
		b.Tick(b.now)
		total += len(b.outbox())
	}
	if total != 600 || b.Held() != 0 {
		t.Errorf("%d released, %d held", total, b.Held())
	}
}

// Routes changed while packets waited: their next hop is looked up again.
func TestStaleNextHopIsRoutedAgain(t *testing.T) {
	b := newBed(t, 16)
	b.send(x)
	b.outbox()
	b.table.Hops.Invalidate()
	b.pass(0.1)
	var ps [4]*packet.Packet
	if n := b.out.Pop(ps[:]); n != 1 || ps[0].Verdict != packet.Anew {
		t.Fatalf("%d packets", n)
	}
	b.pool.Put(ps[0])
}

func TestNoSource(t *testing.T) {
	b := newBed(t, 16)
	b.routes()
	v, why := b.send(x)
	want(t, v, why, packet.Drop, packet.NeighNoSource)
	b.wantOut()
}

func TestNoMemoryToAsk(t *testing.T) {
	b := newBed(t, 2)
	p := b.pool.Get()
	b.send(x)
	b.wantOut()
	if b.Counters.NotAsked != 1 || b.Counters.Asked != 0 {
		t.Errorf("%+v", b.Counters)
	}
	b.pool.Put(p)
	b.pass(1.1)
	b.wantOut(askX)
}

func TestAnnounce(t *testing.T) {
	b := newBed(t, 16)
	if !b.Announce(0, vip) {
		t.Error("not announced")
	}
	b.wantOut("transmit port 0 to ffffffffffff: who-has 10.0.0.100 tell 10.0.0.100")
	for b.Announce(0, vip) {
	}
	if b.out.Len() != 15 && b.out.Len() != 16 {
		t.Errorf("%d announced with 16 frames", b.out.Len())
	}
}

func TestOutputResolvedDoesNotAllocate(t *testing.T) {
	b := newBed(t, 4)
	p := b.pool.Get()
	defer b.pool.Put(p)
	p.NextHop, _ = b.hop(x)
	b.learn(0, x, macX, false)
	if n := testing.AllocsPerRun(200, func() {
		b.now++
		b.Tick(b.now)
		if b.Output(p) != packet.Output {
			t.Fatal(p.Reason)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAskingDoesNotAllocate(t *testing.T) {
	b := newBed(t, 8)
	ref, h := b.hop(x)
	var got [8]*packet.Packet
	if n := testing.AllocsPerRun(100, func() {
		p := b.pool.Get()
		p.NextHop = ref
		h.SetNUD(flow.NUDNone, false)
		if b.Output(p) != packet.Stolen {
			t.Fatal(p.Reason)
		}
		b.learn(0, x, macX, true)
		b.Tick(b.now)
		for _, p := range got[:b.out.Pop(got[:])] {
			b.pool.Put(p)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkOutputResolved(b *testing.B) {
	bed := newBed(b, 4)
	p := bed.pool.Get()
	defer bed.pool.Put(p)
	p.NextHop, _ = bed.hop(x)
	bed.learn(0, x, macX, false)
	for b.Loop() {
		bed.Output(p)
	}
}
