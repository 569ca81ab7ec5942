package lb

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"weir/internal/clock"
	"weir/internal/flow"
	"weir/internal/lb/laddr"
	"weir/internal/lb/mapping"
	"weir/internal/lb/sched"
	"weir/internal/lb/service"
	"weir/internal/packet"
	"weir/internal/spec"
)

var inside = netip.MustParseAddr("192.168.1.11")

// remote is one of many remote ends.
func remote(n int) netip.Addr { return netip.AddrFrom4([4]byte{8, 8, byte(n >> 8), byte(n)}) }

// withMapping gives a bed a match service for all TCP and UDP, whose mappings are
// endpoint-independent; its WAN address is the bed's local one, ports 1025 to 1034.
func (b *bed) withMapping() {
	local := b.sh.Locals.At(0)
	b.sh.Mappings.Store(mapping.New(1, 1))
	var all []*service.Service
	for i, proto := range []spec.Proto{spec.TCP, spec.UDP} {
		d := &service.Dest{Index: uint32(10 + i), Addr: netip.AddrPortFrom(lip, 0), Wire: local.Wire}
		d.WAN.Store(local)
		b.sh.Dests[d.Index].Store(d)
		local.Prepare(laddr.MappedPool(uint8(proto)))
		all = append(all, &service.Service{
			Key: spec.ServiceKey{Proto: proto, Match: spec.Match{Family: 4}}, GCD: 1, Mapped: true,
			Dests: []*service.Dest{d}, Modes: []spec.Forward{spec.SNAT}, Candidates: []sched.Candidate{{Weight: 1, Load: &d.Load}},
			State: &service.State{Index: uint32(i)},
			Match: service.Matcher{
				Proto: uint8(proto), SrcPortLast: ^uint16(0), DstPortLast: ^uint16(0), In: service.AnyPort, Out: service.AnyPort,
				SrcFirst: sched.IPv4([4]byte{}), SrcLast: sched.IPv4([4]byte{255, 255, 255, 255}),
				DstFirst: sched.IPv4([4]byte{}), DstLast: sched.IPv4([4]byte{255, 255, 255, 255}),
			},
		})
	}
	tables := *b.Tables
	tables.Services = service.NewTable(all)
	b.SetTables(&tables, b.ports)
}

// wanPorts are the ports that inside ends have outside: each must have one, and no
// two the same.
func wanPorts(t *testing.T, flows *flow.Table) map[uint16]uint16 {
	t.Helper()
	had, owner := map[uint16]uint16{}, map[uint16]uint16{}
	for ci := range flows.Used() {
		c := flows.Conn(ci)
		if s := atomic.LoadUint32(&c.State); s&flow.ConnDying != 0 || c.Timeout == 0 {
			continue
		}
		h := flows.Half(c.In)
		end := wirePort(uint16(atomic.LoadUint64(&h.Key1)))
		if p, ok := had[end]; ok && p != c.LocalPort {
			t.Fatalf("inside port %d goes out as %d and as %d", end, p, c.LocalPort)
		}
		if o, ok := owner[c.LocalPort]; ok && o != end {
			t.Fatalf("port %d is that of inside ports %d and %d", c.LocalPort, o, end)
		}
		had[end], owner[c.LocalPort] = c.LocalPort, end
	}
	return had
}

// TestMappedPorts: as many inside ends as there are ports go out; each to as many
// remotes as it likes. TCP's ports are others than UDP's.
func TestMappedPorts(t *testing.T) {
	b := newBed(t)
	b.withMapping()
	local := b.sh.Locals.At(0)
	for end := range 10 {
		for n := range 5 {
			if v, r := b.input(b.packet(protoUDP, inside, remote(n), uint16(5000+end), 53, 0)); v != packet.Output {
				t.Fatalf("inside port %d to remote %d: %v for %v", 5000+end, n, v, r)
			}
		}
	}
	if got := wanPorts(t, b.flows); len(got) != 10 {
		t.Errorf("%d inside ends have ports: %v", len(got), got)
	}
	if used, _, _ := local.Counts(); used != 10 || b.sh.Mappings.Load().Len() != 10 {
		t.Errorf("%d ports are lent, for %d mappings", used, b.sh.Mappings.Load().Len())
	}
	if v, r := b.input(b.packet(protoUDP, inside, remote(0), 6000, 53, 0)); v != packet.Drop || r != packet.LBNoLocalPort {
		t.Errorf("the eleventh inside end: %v for %v, want a drop for %v", v, r, packet.LBNoLocalPort)
	}
	if v, r := b.input(b.packet(protoTCP, inside, remote(0), 6000, 80, tcpSYN)); v != packet.Output {
		t.Errorf("TCP: %v for %v", v, r)
	}
	for ci := range b.flows.Used() {
		b.End(ci)
		b.End(ci)
	}
	if used, _, _ := local.Counts(); used != 0 || b.sh.Mappings.Load().Len() != 0 {
		t.Errorf("all have ended, and %d ports are lent, for %d mappings", used, b.sh.Mappings.Load().Len())
	}
}

// TestMappingsFull: the cells that an inside end's mapping may lie in are taken.
func TestMappingsFull(t *testing.T) {
	b := newBed(t)
	b.withMapping()
	store := b.sh.Mappings.Load()
	local := b.sh.Locals.At(0)
	for n, taken := uint64(0), 0; taken < 2*mapping.Ways; n++ {
		if _, _, made := store.Add(&mapping.Key{Address: [2]uint64{1, n}}, mapping.Mapping{}); made {
			taken++
		}
	}
	if v, r := b.input(b.packet(protoUDP, inside, remote(0), 5000, 53, 0)); v != packet.Drop || r != packet.LBMappingsFull {
		t.Errorf("%v for %v, want a drop for %v", v, r, packet.LBMappingsFull)
	}
	if used, _, _ := local.Counts(); used != 0 {
		t.Errorf("%d ports are lent for nothing", used)
	}
}

// TestMappingOfAReusedPort: other machines may remember a port that another inside
// end had a moment ago, whoever of them is talked to first.
func TestMappingOfAReusedPort(t *testing.T) {
	b := newBed(t)
	b.withMapping()
	open := func(end uint16, n int) *flow.Conn {
		t.Helper()
		if v, r := b.input(b.packet(protoTCP, inside, remote(n), end, 80, tcpSYN)); v != packet.Output {
			t.Fatalf("%v for %v", v, r)
		}
		key := b.packet(protoTCP, inside, remote(n), end, 80, tcpSYN)
		defer b.pool.Put(key)
		h, _ := b.find(key)
		return b.flows.Conn(h.Conn)
	}
	for n := range 10 {
		if c := open(5000, n); c.State&flow.ConnNoTimestamp != 0 || c.SeqDelta != 0 {
			t.Error("a port that nobody had before is taken for a used one")
		}
		for ci := range b.flows.Used() {
			b.End(ci)
		}
	}
	for n := range 2 {
		if c := open(5001, n); c.State&flow.ConnNoTimestamp == 0 || c.SeqDelta == 0 {
			t.Errorf("remote %d gets the sequence numbers of a client whose port another had a moment ago", n)
		}
	}
	b.Second += laddr.TimeWait
	if c := open(5001, 3); c.State&flow.ConnNoTimestamp != 0 || c.SeqDelta != 0 {
		t.Error("a minute later nobody remembers, and the numbers are still changed")
	}
}

// TestMappingClash: a connection from before the service's mappings were
// endpoint-independent has the tuple. The packet is lost, nothing else.
func TestMappingClash(t *testing.T) {
	b := newBed(t)
	b.withMapping()
	f := flow.TupleOf(flow.AddrOf(remote(7)), b.sh.Locals.At(0).Wire, wirePort(53), wirePort(1025), protoUDP)
	if _, err := b.own.Insert(&f, nil, &flow.NewConn{Timeout: 1000, Local: laddr.None}, b.Now); err != nil {
		t.Fatal(err)
	}
	if v, r := b.input(b.packet(protoUDP, inside, remote(7), 5000, 53, 0)); v != packet.Drop || r != packet.LBConnRace {
		t.Errorf("%v for %v, want a drop for %v", v, r, packet.LBConnRace)
	}
	if used, _, _ := b.sh.Locals.At(0).Counts(); used != 0 || b.sh.Mappings.Load().Len() != 0 {
		t.Errorf("%d ports are lent, for %d mappings", used, b.sh.Mappings.Load().Len())
	}
	if v, r := b.input(b.packet(protoUDP, inside, remote(7), 5000, 53, 0)); v != packet.Output {
		t.Errorf("the sender's next try, with another port: %v for %v", v, r)
	}
}

// TestMappingsOfTwoWorkers: both meet the same inside ends at the same time.
func TestMappingsOfTwoWorkers(t *testing.T) {
	beds := newBeds(t, 2)
	beds[0].withMapping()
	for _, b := range beds {
		b.SetTables(beds[0].Tables, beds[0].ports)
	}
	local, store := beds[0].sh.Locals.At(0), beds[0].sh.Mappings.Load()
	lost := atomic.Int64{}
	for round := range 150 {
		both(func(w int) {
			b := beds[w]
			for n := range 8 {
				end := uint16(5000 + n%4)
				if v, r := b.input(b.packet(protoUDP, inside, remote(round*64+w*32+n), end, 53, 0)); v == packet.Drop && r == packet.LBMappingsFull {
					lost.Add(1) // the other was put off the core while he made the mapping
				} else if v != packet.Output {
					t.Errorf("%v for %v", v, r)
				}
			}
		})
		if got := wanPorts(t, beds[0].flows); len(got) == 0 || store.Len() != len(got) {
			t.Fatalf("%d inside ends have %d mappings", len(got), store.Len())
		}
		var mine [2][]uint32
		for ci := range beds[0].flows.Used() {
			mine[ci%2] = append(mine[ci%2], ci)
		}
		both(func(w int) {
			for _, ci := range mine[w] {
				beds[w].end(ci)
			}
		})
		if used, _, _ := local.Counts(); used != 0 || store.Len() != 0 {
			t.Fatalf("round %d: all have ended, and %d ports are lent, for %d mappings", round, used, store.Len())
		}
		for _, b := range beds {
			b.Now += 2 * clock.PerSecond
			b.own.Begin(b.Now)
			b.Expire()
			b.Expire()
		}
	}
	if lost.Load() > 150 {
		t.Errorf("%d packets found no mapping", lost.Load())
	}
}

// both runs f for two workers at once.
func both(f func(w int)) {
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() { f(w) })
	}
	wg.Wait()
}

func TestMappedPacketsAllocateNothing(t *testing.T) {
	b := newBed(t)
	b.withMapping()
	p := b.packet(protoUDP, inside, remote(1), 5000, 53, 0)
	defer b.pool.Put(p)
	was := append([]byte(nil), p.Data...)
	if a := testing.AllocsPerRun(100, func() {
		copy(p.Data, was)
		if v := b.Input(p); v != packet.Output {
			t.Fatalf("%v for %v", v, p.Reason)
		}
		for ci := range b.flows.Used() {
			b.End(ci)
		}
		b.Now += 2 * clock.PerSecond
		b.Expire()
	}); a != 0 {
		t.Errorf("%v allocations for a connection", a)
	}
}
