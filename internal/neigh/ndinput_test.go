package neigh

import (
	"net/netip"
	"sync/atomic"
	"testing"

	"weir/internal/clock"
	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/testkit/words"
	"weir/internal/wire"
)

func TestNDInputAnswersForUs(t *testing.T) {
	for _, row := range []struct {
		name, in, out string
		of            netip.Addr // the asker
		learnt        string
	}{
		{
			"own address", "ip6 2001:db8::7 > ff02::1:ff00:5 hlim=255 / ns who=2001:db8::5 <sll>",
			"transmit port 0 to 0200000000aa: ip6 2001:db8::5 > 2001:db8::7 hlim=255 / na is=2001:db8::5 SO <tll>", x6, "REACHABLE 0200000000aa",
		},
		{
			"VIP", "ip6 2001:db8::7 > ff02::1:ff00:100 hlim=255 / ns who=2001:db8::100 <sll>",
			"transmit port 0 to 0200000000aa: ip6 2001:db8::100 > 2001:db8::7 hlim=255 / na is=2001:db8::100 SO <tll>", x6, "REACHABLE 0200000000aa",
		},
		{
			"link-local", "ip6 fe80::7 > ff02::1:ff00:10 hlim=255 / ns who=fe80::10 <sll>",
			"transmit port 0 to 0200000000aa: ip6 fe80::10 > fe80::7 hlim=255 / na is=fe80::10 SO <tll>", xll, "REACHABLE 0200000000aa",
		},
		{
			"is it still there, without option", "ip6 2001:db8::7 > 2001:db8::5 hlim=255 / ns who=2001:db8::5",
			"transmit port 0 to 0200000000aa: ip6 2001:db8::5 > 2001:db8::7 hlim=255 / na is=2001:db8::5 SO <tll>", x6, "unknown",
		},
		{
			"the option counts, not the frame", "ip6 2001:db8::7 > 2001:db8::5 hlim=255 / ns who=2001:db8::5 <sll y>",
			"transmit port 0 to 0200000000bb: ip6 2001:db8::5 > 2001:db8::7 hlim=255 / na is=2001:db8::5 SO <tll>", x6, "REACHABLE 0200000000bb",
		},
		{
			"somebody would like to have it", "ip6 :: > ff02::1:ff00:100 hlim=255 / ns who=2001:db8::100",
			"transmit port 0 to 333300000001: ip6 2001:db8::100 > ff02::1 hlim=255 / na is=2001:db8::100 O <tll>", x6, "unknown",
		},
		{
			"unknown options are passed over", "ip6 2001:db8::7 > ff02::1:ff00:5 hlim=255 / ns who=2001:db8::5 <hex 0e01020304050607,sll>",
			"transmit port 0 to 0200000000aa: ip6 2001:db8::5 > 2001:db8::7 hlim=255 / na is=2001:db8::5 SO <tll>", x6, "REACHABLE 0200000000aa",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t, 16)
			v, p := b.nd(row.in)
			if v != packet.Transmit || b.say6(p) != row.out {
				t.Errorf("%v %v: %s\nwant %s", v, p.Reason, b.say6(p), row.out)
			}
			b.wantState(row.of, row.learnt)
			if b.Counters.Answered != 1 {
				t.Errorf("%d counted as answered", b.Counters.Answered)
			}
		})
	}
}

// A director that forwards says so; a packet with extension headers in front is
// answered by one without.
func TestNDAnswerOfARouter(t *testing.T) {
	b := newBed(t, 16)
	b.Config.Router = true
	f, err := words.Parse("ip6 2001:db8::7 > ff02::1:ff00:5 hlim=255 / dst / ns who=2001:db8::5 <sll>", stations, words.MAC(macX), words.MAC(mac0))
	if err != nil {
		t.Fatal(err)
	}
	p := b.raw6(f.Data)
	defer b.pool.Put(p)
	p.L4 += 8
	p.Verdict = b.Input(p)
	const say = "transmit port 0 to 0200000000aa: ip6 2001:db8::5 > 2001:db8::7 hlim=255 / na is=2001:db8::5 RSO <tll>"
	if got := b.say6(p); got != say {
		t.Errorf("%s\nwant %s", got, say)
	}
}

// What an advertisement changes (RFC 4861, 7.2.5, and the table in appendix C). A
// state with ! is to be confirmed when something goes there.
func TestAdvertisement(t *testing.T) {
	const to = "ip6 2001:db8::7 > 2001:db8::5 hlim=255 / na is=2001:db8::7 "
	const toAll = "ip6 2001:db8::7 > ff02::1 hlim=255 / na is=2001:db8::7 "
	const none, asked, known = "unknown", "SEND", "REACHABLE 0200000000bb"
	for _, row := range []struct {
		name, before, in string
		reason           packet.Reason
		after            string
	}{
		{"answer to what we asked", asked, to + "SO <tll>", packet.NDConsumed, "REACHABLE 0200000000aa"},
		{"a proxy's answer", asked, to + "S <tll>", packet.NDConsumed, "REACHABLE 0200000000aa"},
		{"an announcement while we ask", asked, toAll + "O <tll>", packet.NDConsumed, "REACHABLE 0200000000aa!"},
		{"an answer that does not say where", asked, to + "SO", packet.NDConsumed, "SEND"},
		{"nobody asked for it", none, to + "SO <tll>", packet.NDConsumed, "unknown"},
		{"an announcement of a stranger", none, toAll + "O <tll>", packet.NDConsumed, "unknown"},
		{"confirmed", known, to + "SO <tll y>", packet.NDConsumed, known},
		{"confirmed without saying where", known, to + "S", packet.NDConsumed, known},
		{"moved, solicited", known, to + "SO <tll>", packet.NDConsumed, "REACHABLE 0200000000aa"},
		{"moved, announced", known, toAll + "O <tll>", packet.NDConsumed, "REACHABLE 0200000000aa!"},
		{"announced where it was", known, toAll + "O <tll y>", packet.NDConsumed, known},
		{"another that may not override", known, to + "S <tll>", packet.NDConsumed, known + "!"},
		{"of a router", known, to + "RSO <tll>", packet.NDConsumed, "REACHABLE 0200000000aa"},
		{"to another machine", known, "ip6 2001:db8::7 > 2001:db8::8 hlim=255 / na is=2001:db8::7 SO <tll>", packet.NDNotOurs, known},
		{"solicited and to a group", known, toAll + "SO <tll>", packet.NDMalformed, known},
		{"from nobody", known, "ip6 :: > ff02::1 hlim=255 / na is=2001:db8::7 O <tll>", packet.NDMalformed, known},
		{"of a group", known, "ip6 2001:db8::7 > 2001:db8::5 hlim=255 / na is=ff02::7 SO <tll>", packet.NDMalformed, known},
		{"at a group's address", known, to + "SO <tll 33:33:00:00:00:01>", packet.NDMalformed, known},
		{"at no address", known, to + "SO <tll 00:00:00:00:00:00>", packet.NDMalformed, known},
		{"at an address of another kind", known, to + "SO <hex 02020304050607080910111213141516>", packet.NDMalformed, known},
		{"option of length 0", known, to + "SO <hex 0200030405060708>", packet.NDMalformed, known},
		{"wrong checksum", known, "ip6 2001:db8::7 > 2001:db8::5 hlim=255 / na is=2001:db8::7 SO <tll> csum=bad", packet.NDMalformed, known},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t, 16)
			switch row.before {
			case asked:
				b.send(x6)
			case known:
				b.hop(x6)
				b.learn(0, x6, macY, false)
			}
			b.outbox()
			v, p := b.nd(row.in)
			want(t, v, p.Reason, packet.Drop, row.reason)
			got := b.state(x6)
			if ref := b.table.Hops.Find(0, x6); ref != 0 {
				if h := b.table.Hops.At(ref); h.Resolved() && !b.fresh(h) {
					got += "!"
				}
			}
			if got != row.after {
				t.Errorf("%s is %s, want %s", x6, got, row.after)
			}
		})
	}
}

func TestSolicitationRefused(t *testing.T) {
	for _, row := range []struct {
		name, in string
		reason   packet.Reason
	}{
		{"for another", "ip6 2001:db8::7 > ff02::1:ff00:8 hlim=255 / ns who=2001:db8::8 <sll>", packet.NDNotOurs},
		{"for our address on another port", "ip6 2001:db8::7 > ff02::1:ff00:5 hlim=255 / ns who=2001:db8:1::5 <sll>", packet.NDNotOurs},
		{"for the other port's link-local", "ip6 fe80::7 > ff02::1:ff00:11 hlim=255 / ns who=fe80::11 <sll>", packet.NDNotOurs},
		{"for a group", "ip6 2001:db8::7 > ff02::1:ff00:5 hlim=255 / ns who=ff02::5 <sll>", packet.NDMalformed},
		{"from a group", "ip6 ff02::7 > ff02::1:ff00:5 hlim=255 / ns who=2001:db8::5 <sll>", packet.NDMalformed},
		{"from loopback", "ip6 ::1 > ff02::1:ff00:5 hlim=255 / ns who=2001:db8::5 <sll>", packet.NDMalformed},
		{"from nobody with an option", "ip6 :: > ff02::1:ff00:5 hlim=255 / ns who=2001:db8::5 <sll>", packet.NDMalformed},
		{"from nobody, not to the group", "ip6 :: > 2001:db8::5 hlim=255 / ns who=2001:db8::5", packet.NDMalformed},
		{"from everybody's MAC", "ip6 2001:db8::7 > ff02::1:ff00:5 hlim=255 / ns who=2001:db8::5 <sll all>", packet.NDMalformed},
		{"router solicitation", "ip6 fe80::7 > ff02::2 hlim=255 / rs <sll>", packet.NDNotOurs},
		{"router advertisement", "ip6 fe80::7 > ff02::1 hlim=255 / ra life=1800 <sll,prefix 2001:db8::/64 LA 3600 1800>", packet.NDNotOurs},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t, 16)
			v, p := b.nd(row.in)
			want(t, v, p.Reason, packet.Drop, row.reason)
			b.wantState(x6, "unknown")
			b.wantOut()
		})
	}
}

func TestNDShort(t *testing.T) {
	b := newBed(t, 16)
	whole, err := words.Parse("ip6 2001:db8::7 > ff02::1:ff00:5 hlim=255 / ns who=2001:db8::5 <sll>", stations, words.MAC(macX), words.MAC(mac0))
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole.Data) {
		p := b.raw6(whole.Data[:n])
		p.L4 = uint16(min(54, n))
		v := b.Input(p)
		want(t, v, p.Reason, packet.Drop, packet.NDMalformed)
		b.pool.Put(p)
	}
}

// Whoever asks from outside of the link is answered, but not remembered.
func TestStrangerIsAnsweredNotLearnt6(t *testing.T) {
	b := newBed(t, 16)
	v, p := b.nd("ip6 2600::1 > ff02::1:ff00:5 hlim=255 / ns who=2001:db8::5 <sll>")
	want(t, v, p.Reason, packet.Transmit, 0)
	b.wantState(netip.MustParseAddr("2600::1"), "unknown")
}

// A neighbour that asks us is where it says, but has not answered us yet: it is
// asked itself when something goes there.
func TestAskerIsConfirmedWhenUsed(t *testing.T) {
	b := newBed(t, 16)
	b.nd("ip6 2001:db8::7 > ff02::1:ff00:5 hlim=255 / ns who=2001:db8::5 <sll>")
	if l := List(&b.table.Hops, b.now, DefaultReachable); len(l) != 1 || l[0].Addr != x6 || l[0].State != flow.NUDDelay {
		t.Errorf("listed as %+v", l)
	}
	v, why := b.send(x6)
	want(t, v, why, packet.Output, 0)
	b.wantState(x6, "DELAY 0200000000aa")
	b.pass(3.1)
	b.send(x6)
	b.wantState(x6, "PROBE 0200000000aa")
	b.wantOut(probeX6)
}

func TestConflict6(t *testing.T) {
	for _, row := range []struct {
		name, in string
		addr     netip.Addr
	}{
		{"says so", "ip6 2001:db8::100 > ff02::1 hlim=255 / na is=2001:db8::100 O <tll>", vip6},
		{"asks from it", "ip6 2001:db8::100 > ff02::1:ff00:5 hlim=255 / ns who=2001:db8::5 <sll>", vip6},
		{"of the port's link-local", "ip6 fe80::10 > ff02::1 hlim=255 / na is=fe80::10 O <tll>", ll0},
		{"of another port's address", "ip6 2001:db8:1::5 > ff02::1 hlim=255 / na is=2001:db8:1::5 O <tll>", own16},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t, 16)
			v, p := b.nd(row.in)
			want(t, v, p.Reason, packet.Drop, packet.NDConsumed)
			if c := b.confl.Latest(); c.Count != 1 || c.Addr != row.addr || c.MAC != macX || c.Port != 0 {
				t.Errorf("%+v", c)
			}
			b.wantState(row.addr, "unknown")
		})
	}
	b := newBed(t, 16)
	b.nd("ip6 2001:db8:1::5 > ff02::1 hlim=255 / na is=2001:db8:1::5 O <tll p1>") // our other port, on the same link
	b.nd("ip6 fe80::11 > ff02::1 hlim=255 / na is=fe80::11 O <tll>")              // the same number on another link
	if c := b.confl.Latest(); c.Count != 0 {
		t.Errorf("%+v", c)
	}
}

// A tentative address (RFC 4862, 5.4): it is neither answered for nor spoken
// from, and who has it or would like to have it is noted.
func TestTentative(t *testing.T) {
	const isTaken = true
	for _, row := range []struct {
		name, in string
		reason   packet.Reason
		taken    bool
	}{
		{"somebody has it", "ip6 2001:db8::5 > ff02::1 hlim=255 / na is=2001:db8::5 O <tll>", packet.NDConsumed, isTaken},
		{"a proxy says that somebody has it", "ip6 2001:db8::9 > ff02::1 hlim=255 / na is=2001:db8::5 - <tll>", packet.NDConsumed, isTaken},
		{"somebody would like to have it too", "ip6 :: > ff02::1:ff00:5 hlim=255 / ns who=2001:db8::5", packet.NDConsumed, isTaken},
		{"somebody asks from it", "ip6 2001:db8::5 > ff02::1:ff00:100 hlim=255 / ns who=2001:db8::100 <sll>", packet.NDConsumed, isTaken},
		{"somebody asks for it", "ip6 2001:db8::7 > ff02::1:ff00:5 hlim=255 / ns who=2001:db8::5 <sll>", packet.NDNotOurs, !isTaken},
		{"our other port, on the same link", "eth from=p1 / ip6 :: > ff02::1:ff00:5 hlim=255 / ns who=2001:db8::5", packet.NDConsumed, !isTaken},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t, 16)
			tentative := &Tentative{Port: 0, Addr: own6}
			b.Config.Tentative = []*Tentative{{Port: 1, Addr: own6}, {Port: 0, Addr: x6}, tentative}
			b.routes(specs(own6, vip6)...)
			v, p := b.nd(row.in)
			want(t, v, p.Reason, packet.Drop, row.reason)
			by, taken := tentative.Taken()
			if taken != row.taken || taken && by != macX {
				t.Errorf("taken %v by %x", taken, by)
			}
			if c := b.confl.Latest(); c.Count != 0 {
				t.Errorf("a conflict: %+v", c)
			}
			for _, other := range b.Config.Tentative[:2] {
				if _, taken := other.Taken(); taken {
					t.Errorf("%v counts as taken", other.Addr)
				}
			}
		})
	}
}

func TestStaticKeepsItsMAC6(t *testing.T) {
	b := newBed(t, 16)
	if err := AddStatic(&b.table.Hops, 0, x6, macX, mac0, 1500); err != nil {
		t.Fatal(err)
	}
	b.nd("ip6 2001:db8::7 > 2001:db8::5 hlim=255 / na is=2001:db8::7 SO <tll y>")
	b.nd("ip6 2001:db8::7 > ff02::1:ff00:5 hlim=255 / ns who=2001:db8::5 <sll y>")
	b.pass(10000)
	v, why := b.send(x6)
	want(t, v, why, packet.Output, 0)
	b.wantOut()
	b.wantState(x6, "REACHABLE 0200000000aa")
}

func TestNDInputDoesNotAllocate(t *testing.T) {
	b := newBed(t, 16)
	f, err := words.Parse("ip6 2001:db8::7 > ff02::1:ff00:5 hlim=255 / ns who=2001:db8::5 <sll>", stations, words.MAC(macX), words.MAC(mac0))
	if err != nil {
		t.Fatal(err)
	}
	g, err := words.Parse("ip6 2001:db8::7 > 2001:db8::5 hlim=255 / na is=2001:db8::7 SO <tll>", stations, words.MAC(macX), words.MAC(mac0))
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		p := b.raw6(f.Data)
		if b.Input(p) != packet.Transmit {
			t.Fatal(p.Reason)
		}
		b.pool.Put(p)
		p = b.raw6(g.Data)
		b.Input(p)
		b.pool.Put(p)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzND(f *testing.F) {
	for _, line := range []string{
		"ip6 2001:db8::7 > ff02::1:ff00:5 hlim=255 / ns who=2001:db8::5 <sll>",
		"ip6 :: > ff02::1:ff00:5 hlim=255 / ns who=2001:db8::5",
		"ip6 2001:db8::7 > 2001:db8::5 hlim=255 / na is=2001:db8::7 SO <tll>",
		"ip6 fe80::7 > ff02::1 hlim=255 / ra life=1800 <sll,prefix 2001:db8::/64 LA 3600 1800>",
	} {
		frame, err := words.Parse(line, stations, words.MAC(macX), words.MAC(mac0))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(frame.Data, uint16(54), true)
	}
	f.Add([]byte{1}, uint16(3), false)
	b := newBed(f, 4)
	f.Fuzz(func(t *testing.T, data []byte, l4 uint16, right bool) {
		if len(data) < 54 || len(data) > packet.SmallFrame-packet.Headroom {
			return // ip.Input6 has read the header
		}
		b.t = t
		defer b.empty(t)
		_, h := b.hop(x6)
		h.SetNUD(flow.NUDNone, false)
		b.send(x6)
		p := b.raw6(data)
		p.L4 = l4
		ip := wire.IPv6(p.Data[14:])
		if end := 14 + ip.TotalLength(); right && end <= len(data) && int(l4)+8 <= end {
			wire.ICMPv6(p.Data[l4:end]).ComputeChecksum(ip.Src(), ip.Dst()) // what a fuzzer never finds
		}
		switch v := b.Input(p); v {
		case packet.Transmit:
			p.Verdict = v
			if ip := wire.IPv6(p.Data[14:]); len(p.Data) != 86 || ip.TotalLength() != 72 || !wire.ICMPv6(p.Data[54:]).ChecksumOK(ip.Src(), ip.Dst()) || wire.Ethernet(p.Data).Source() != mac0 {
				t.Errorf("answer %s", b.say6(p))
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
		if at := atomic.LoadUint32(&h.Confirmed); h.Resolved() && clock.Tick(at) > b.now {
			t.Errorf("confirmed in the future: %d", at)
		}
	})
}
