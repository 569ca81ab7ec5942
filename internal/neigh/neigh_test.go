package neigh

import (
	"net/netip"
	"testing"

	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/port"
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
	if n := b.out.Pop(ps[:]); n != 1 || ps[0].NextHop != 0 || ps[0].Verdict != packet.Output {
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

func TestInputAnswersForUs(t *testing.T) {
	for _, row := range []struct {
		name   string
		sender netip.Addr
		target netip.Addr
		learnt string
	}{
		{"own address", x, own, "REACHABLE 0200000000aa"},
		{"VIP", x, vip, "REACHABLE 0200000000aa"},
		{"probe", zero, vip, "unknown"},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t, 16)
			v, p := b.arp(wire.ARPRequest, macX, row.sender, row.target)
			want(t, v, p.Reason, packet.Transmit, 0)
			e, a := wire.Ethernet(p.Data), wire.ARP(p.Data[14:])
			if len(p.Data) != 42 || p.Out != 0 || !p.Is(packet.Ours) || e.Destination() != macX || e.Source() != mac0 || e.EtherType() != wire.EtherTypeARP {
				t.Errorf("out %d, frame %x", p.Out, p.Data)
			}
			if a.Operation() != wire.ARPReply || a.SenderHardware() != mac0 || a.SenderProtocol() != row.target.As4() ||
				a.TargetHardware() != macX || a.TargetProtocol() != row.sender.As4() {
				t.Errorf("answer %x", []byte(a))
			}
			b.wantState(x, row.learnt)
		})
	}
}

func TestInputLearnsAndRefuses(t *testing.T) {
	y := netip.MustParseAddr("10.0.0.8")
	foreign := netip.MustParseAddr("172.16.0.1")
	for _, row := range []struct {
		name     string
		known    bool // x is known at macY before
		op       uint16
		sha      port.MAC
		spa, tpa netip.Addr
		reason   packet.Reason
		state    string // of x
	}{
		{"reply to us for what we asked", true, wire.ARPReply, macX, x, own, packet.ARPConsumed, "REACHABLE 0200000000aa"},
		{"reply to us nobody asked for", false, wire.ARPReply, macX, x, own, packet.ARPConsumed, "unknown"},
		{"reply to another", true, wire.ARPReply, macX, x, y, packet.ARPNotOurs, "REACHABLE 0200000000bb"},
		{"gratuitous request, known", true, wire.ARPRequest, macX, x, x, packet.ARPConsumed, "REACHABLE 0200000000aa"},
		{"gratuitous reply, known", true, wire.ARPReply, macX, x, x, packet.ARPConsumed, "REACHABLE 0200000000aa"},
		{"gratuitous, unknown", false, wire.ARPRequest, macX, x, x, packet.ARPConsumed, "unknown"},
		{"request for another", true, wire.ARPRequest, macX, x, y, packet.ARPNotOurs, "REACHABLE 0200000000bb"},
		{"request for our address on another port", true, wire.ARPRequest, macX, x, own1, packet.ARPNotOurs, "REACHABLE 0200000000bb"},
		{"stranger's request is not from this link", false, wire.ARPReply, macX, foreign, own, packet.ARPConsumed, "unknown"},
		{"reverse ARP", true, 3, macX, x, own, packet.ARPMalformed, "REACHABLE 0200000000bb"},
		{"sender is a group", true, wire.ARPReply, port.MAC{1, 0, 0x5e, 0, 0, 1}, x, own, packet.ARPMalformed, "REACHABLE 0200000000bb"},
		{"sender is everybody", true, wire.ARPReply, port.Broadcast, x, own, packet.ARPMalformed, "REACHABLE 0200000000bb"},
		{"sender has no MAC", true, wire.ARPReply, port.MAC{}, x, own, packet.ARPMalformed, "REACHABLE 0200000000bb"},
		{"reply from nobody", true, wire.ARPReply, macX, zero, own, packet.ARPMalformed, "REACHABLE 0200000000bb"},
		{"sender is multicast", true, wire.ARPRequest, macX, netip.MustParseAddr("224.0.0.1"), own, packet.ARPMalformed, "REACHABLE 0200000000bb"},
		{"sender is loopback", true, wire.ARPRequest, macX, netip.MustParseAddr("127.0.0.1"), own, packet.ARPMalformed, "REACHABLE 0200000000bb"},
		{"sender is broadcast", true, wire.ARPRequest, macX, netip.MustParseAddr("255.255.255.255"), own, packet.ARPMalformed, "REACHABLE 0200000000bb"},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t, 16)
			if row.known {
				b.hop(x)
				b.learn(0, x, macY, false)
			}
			v, p := b.arp(row.op, row.sha, row.spa, row.tpa)
			want(t, v, p.Reason, packet.Drop, row.reason)
			b.wantState(x, row.state)
			b.wantOut()
		})
	}
}

// Whoever asks from outside of the link is answered, but not remembered.
func TestStrangerIsAnsweredNotLearnt(t *testing.T) {
	b := newBed(t, 16)
	stranger := netip.MustParseAddr("172.16.0.1")
	v, p := b.arp(wire.ARPRequest, macX, stranger, own)
	want(t, v, p.Reason, packet.Transmit, 0)
	b.wantState(stranger, "unknown")
}

func TestInputShortOrOfAnotherKind(t *testing.T) {
	b := newBed(t, 64)
	for n := range 42 {
		p := b.pool.Get()
		p.Resize(n)
		p.L3 = 14
		v := b.Input(p)
		want(t, v, p.Reason, packet.Drop, packet.ARPMalformed)
		b.pool.Put(p)
	}
	for i := range 6 {
		p := b.pool.Get()
		p.Resize(42)
		p.L3 = 14
		wire.ARP(p.Data[14:]).Put(wire.ARPRequest, macX, x.As4(), port.MAC{}, own.As4())
		p.Data[14+i]++
		v := b.Input(p)
		want(t, v, p.Reason, packet.Drop, packet.ARPMalformed)
		b.pool.Put(p)
	}
}

func TestConflict(t *testing.T) {
	b := newBed(t, 16)
	v, p := b.arp(wire.ARPRequest, macX, vip, vip)
	want(t, v, p.Reason, packet.Drop, packet.ARPConsumed)
	if c := b.confl.Latest(); c.Count != 1 || c.Addr != vip.As4() || c.MAC != macX || c.Port != 0 {
		t.Errorf("%+v", c)
	}
	b.wantState(vip, "unknown")
	// Another of our ports on the same link is no conflict.
	b.arp(wire.ARPRequest, mac1, own1, own)
	if c := b.confl.Latest(); c.Count != 1 {
		t.Errorf("%+v", c)
	}
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

func TestStatic(t *testing.T) {
	b := newBed(t, 16)
	hops := &b.table.Hops
	if err := AddStatic(hops, 0, x, macX, mac0, 1500); err != nil {
		t.Fatal(err)
	}
	if err := AddStatic(hops, 0, x, port.Broadcast, mac0, 1500); err == nil {
		t.Error("the broadcast address was taken as a neighbour's")
	}
	b.arp(wire.ARPReply, macY, x, own) // nobody changes it
	b.pass(10000)
	v, why := b.send(x)
	want(t, v, why, packet.Output, 0)
	b.wantOut()
	b.wantState(x, "REACHABLE 0200000000aa")
	if Housekeep(hops, b.now+10*IdleTime) != 0 {
		t.Error("a static entry was freed")
	}
	l := List(hops, b.now, 60)
	if len(l) != 1 || !l[0].Static || l[0].Addr != x || l[0].MAC != macX || l[0].State != flow.NUDReachable || !l[0].Resolved {
		t.Errorf("%+v", l)
	}
	if !DeleteStatic(hops, 0, x) || DeleteStatic(hops, 0, x) {
		t.Error("deleting a static entry is not true once")
	}
	b.wantState(x, "unknown")
}

func TestHousekeepFreesTheIdle(t *testing.T) {
	b := newBed(t, 16)
	hops := &b.table.Hops
	ref, _ := b.hop(x)
	if Housekeep(hops, b.now) != 0 || Housekeep(hops, b.now+IdleTime-1) != 0 {
		t.Error("a fresh entry was freed")
	}
	b.learn(0, x, macX, false)
	b.now += IdleTime - 1
	b.Tick(b.now)
	b.send(x)
	if Housekeep(hops, b.now+IdleTime-1) != 0 {
		t.Error("an entry in use was freed")
	}
	if l := List(hops, b.now+IdleTime-1, 60); len(l) != 1 || l[0].State != flow.NUDDelay {
		t.Errorf("idle entry is listed as %+v", l)
	}
	if Housekeep(hops, b.now+IdleTime) != 1 || hops.Len() != 0 {
		t.Error("an idle entry was not freed")
	}
	if _, current := hops.Current(ref); current {
		t.Error("flows don't notice")
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

func FuzzARPInput(f *testing.F) {
	good := make([]byte, 42)
	wire.ARP(good[14:]).Put(wire.ARPRequest, macX, x.As4(), port.MAC{}, own.As4())
	f.Add(good)
	reply := make([]byte, 60)
	wire.ARP(reply[14:]).Put(wire.ARPReply, macX, x.As4(), mac0, own.As4())
	f.Add(reply)
	f.Add([]byte{1})
	b := newBed(f, 4)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > packet.SmallFrame-packet.Headroom {
			return
		}
		b.t = t
		defer b.empty(t)
		_, h := b.hop(x)
		h.SetNUD(flow.NUDNone, false)
		b.send(x)
		p := b.pool.Get()
		p.Resize(len(data))
		copy(p.Data, data)
		p.L3 = 14
		switch v := b.Input(p); v {
		case packet.Transmit:
			if len(p.Data) != 42 || wire.Ethernet(p.Data).Source() != mac0 {
				t.Errorf("answer %x", p.Data)
			}
		case packet.Drop:
			if p.Reason == packet.NoReason {
				t.Error("dropped without a reason")
			}
		default:
			t.Errorf("verdict %v", v)
		}
		b.pool.Put(p)
		b.Tick(b.now)
	})
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
