package neigh

import (
	"fmt"
	"net/netip"
	"testing"

	"weir/internal/clock"
	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/route"
	"weir/internal/spec"
	"weir/internal/stat"
	"weir/internal/wire"
)

// The network of the tests: port 0 has 10.0.0.5/24 and the VIP 10.0.0.100, port
// 1 has 192.168.0.5/24. x is a neighbour on port 0. The same with IPv6: port 0 has
// 2001:db8::5/64, the VIP 2001:db8::100 and fe80::10, port 1 has 2001:db8:1::5/64
// and fe80::11; x6 is the neighbour.
var (
	mac0 = port.MAC{2, 0, 0, 0, 0, 0x10}
	mac1 = port.MAC{2, 0, 0, 0, 0, 0x11}
	macX = port.MAC{2, 0, 0, 0, 0, 0xaa}
	macY = port.MAC{2, 0, 0, 0, 0, 0xbb}
	own  = netip.MustParseAddr("10.0.0.5")
	vip  = netip.MustParseAddr("10.0.0.100")
	own1 = netip.MustParseAddr("192.168.0.5")
	x    = netip.MustParseAddr("10.0.0.7")
	zero = netip.IPv4Unspecified()

	own6  = netip.MustParseAddr("2001:db8::5")
	vip6  = netip.MustParseAddr("2001:db8::100")
	own16 = netip.MustParseAddr("2001:db8:1::5")
	ll0   = netip.MustParseAddr("fe80::10")
	ll1   = netip.MustParseAddr("fe80::11")
	x6    = netip.MustParseAddr("2001:db8::7")
	xll   = netip.MustParseAddr("fe80::7")

	facts = [port.Max]port.Facts{0: {ID: 0, Name: "dpdk0", MAC: mac0, MTU: 1500}, 1: {ID: 1, Name: "dpdk1", MAC: mac1, MTU: 1500}}
)

// start is far from 0, so that nothing works because the clock began lately.
const start clock.Tick = 5_000_000

type bed struct {
	t     testing.TB
	table *flow.Table
	pool  *packet.Pool
	out   packet.Outbox
	stats stat.Worker
	confl Conflicts
	now   clock.Tick
	*Cache
}

func newBed(t testing.TB, frames int) *bed {
	t.Helper()
	table, err := flow.New(flow.Config{Conns: 1, Workers: 1, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{t: t, table: table, now: start}
	if b.pool, err = packet.NewPool(frames, 0); err != nil {
		t.Fatal(err)
	}
	b.Cache = New(&table.Hops, b.pool, &b.out, &b.stats, &b.confl)
	b.Ports = &facts
	b.routes(spec.Address{Port: "dpdk0", Prefix: netip.PrefixFrom(own, 24)}, spec.Address{Port: "dpdk0", Prefix: netip.PrefixFrom(vip, 32)},
		spec.Address{Port: "dpdk1", Prefix: netip.PrefixFrom(own1, 24)},
		spec.Address{Port: "dpdk0", Prefix: netip.PrefixFrom(own6, 64)}, spec.Address{Port: "dpdk0", Prefix: netip.PrefixFrom(vip6, 128)},
		spec.Address{Port: "dpdk1", Prefix: netip.PrefixFrom(own16, 64)})
	b.Tick(b.now)
	t.Cleanup(func() {
		b.empty(t)
		table.Close()
		if err := b.pool.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// empty drops what waits and puts back what is in the outbox; then nothing may be
// in use.
func (b *bed) empty(t testing.TB) {
	t.Helper()
	b.Flush()
	b.outbox()
	if n := b.pool.InUse(); n != 0 {
		t.Errorf("%d packets leaked", n)
	}
}

func (b *bed) routes(addrs ...spec.Address) {
	b.t.Helper()
	var err error
	b.Table, err = route.Build([]route.Port{
		{ID: 0, Name: "dpdk0", MTU: 1500, LinkLocal: ll0, Tentative: b.tentative()},
		{ID: 1, Name: "dpdk1", MTU: 1500, LinkLocal: ll1},
	}, addrs, nil)
	if err != nil {
		b.t.Fatal(err)
	}
}

// tentative are the addresses of port 0 that Config says are being probed for.
func (b *bed) tentative() (addrs []netip.Addr) {
	for _, t := range b.Config.Tentative {
		addrs = append(addrs, t.Addr)
	}
	return addrs
}

// pass lets time go by and breathes.
func (b *bed) pass(seconds float64) {
	b.now += clock.Tick(seconds * clock.PerSecond)
	b.Tick(b.now)
}

func (b *bed) hop(a netip.Addr) (flow.NextHopRef, *flow.NextHop) {
	ref := b.table.Hops.Get(0, a, mac0, 1500)
	return ref, b.table.Hops.At(ref)
}

// send makes a packet toward a and gives it to Output.
func (b *bed) send(a netip.Addr) (packet.Verdict, packet.Reason) {
	b.t.Helper()
	p := b.pool.Get()
	if p == nil {
		b.t.Fatal("the test's pool is empty")
	}
	p.Resize(34)
	p.L3 = 14
	p.NextHop, _ = b.hop(a)
	v := b.Output(p)
	why := p.Reason
	if v != packet.Stolen {
		b.pool.Put(p)
	}
	return v, why
}

// outbox empties the outbox and says what was in it.
func (b *bed) outbox() (said []string) {
	var ps [256]*packet.Packet
	for _, p := range ps[:b.out.Pop(ps[:])] {
		said = append(said, b.say(p))
		b.pool.Put(p)
	}
	return said
}

func (b *bed) say(p *packet.Packet) string {
	if p.Verdict == packet.Output {
		return fmt.Sprintf("output to %v", b.table.Hops.At(p.NextHop).IP())
	}
	if p.EtherType == wire.EtherTypeIPv6 {
		return b.say6(p)
	}
	e, a := wire.Ethernet(p.Data), wire.ARP(p.Data[14:])
	if !a.IsEthernetIPv4() || e.EtherType() != wire.EtherTypeARP || !p.Is(packet.Ours) || len(p.Data) != 42 || e.Source() != a.SenderHardware() {
		return fmt.Sprintf("not a good ARP packet: %x", p.Data)
	}
	op := map[uint16]string{1: "who-has", 2: "reply"}[a.Operation()]
	return fmt.Sprintf("%v port %d to %x: %s %v tell %v", p.Verdict, p.Out, e.Destination(), op,
		netip.AddrFrom4(a.TargetProtocol()), netip.AddrFrom4(a.SenderProtocol()))
}

// arp gives an ARP packet that came in on port 0 to Input; the packet comes back
// for inspection and is put back at the end of the test.
func (b *bed) arp(op uint16, sha port.MAC, spa, tpa netip.Addr) (packet.Verdict, *packet.Packet) {
	p := b.pool.Get()
	p.Resize(60) // padded, as from a real wire
	e := wire.Ethernet(p.Data)
	e.SetDestination(mac0)
	e.SetSource(sha)
	e.SetEtherType(wire.EtherTypeARP)
	wire.ARP(p.Data[14:]).Put(op, sha, spa.As4(), port.MAC{}, tpa.As4())
	p.L3, p.EtherType = 14, wire.EtherTypeARP
	b.t.Cleanup(func() { b.pool.Put(p) })
	return b.Input(p), p
}

func (b *bed) state(a netip.Addr) string {
	ref := b.table.Hops.Find(0, a)
	if ref == 0 {
		return "unknown"
	}
	h := b.table.Hops.At(ref)
	name := []string{"NONE", "SEND", "REACHABLE", "DELAY", "PROBE", "FAILED"}[h.NUD()]
	if h.Resolved() {
		m := h.Dest()
		return fmt.Sprintf("%s %x", name, m[:])
	}
	return name
}

func (b *bed) wantState(a netip.Addr, want string) {
	b.t.Helper()
	if got := b.state(a); got != want {
		b.t.Errorf("%v is %s, want %s", a, got, want)
	}
}

func (b *bed) wantOut(want ...string) {
	b.t.Helper()
	got := b.outbox()
	if fmt.Sprint(got) != fmt.Sprint(want) || len(got) != len(want) {
		b.t.Errorf("outbox %q\nwant %q", got, want)
	}
}
