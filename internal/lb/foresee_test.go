package lb

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"weir/internal/clock"
	"weir/internal/flow"
	"weir/internal/lb/acl"
	"weir/internal/lb/laddr"
	"weir/internal/lb/sched"
	"weir/internal/lb/service"
	"weir/internal/packet"
	"weir/internal/route"
	"weir/internal/spec"
	"weir/internal/wire"
)

// twin is one of two balancers that get the same packets: with the bursts told, and without.
type twin struct {
	*bed
	dests  []*service.Dest
	svc    *service.Service
	locals []*laddr.Address
}

// place is an address of one of the twins' networks: of clients, of the VIP, of the servers.
func place(v6 bool, network, host byte) netip.Addr {
	if v6 {
		a := netip.MustParseAddr("2001:db8::").As16()
		a[7], a[15] = network, host
		return netip.AddrFrom16(a)
	}
	return netip.AddrFrom4([4]byte{10, network, 2, host})
}

const placeClient, placeVIP, placeServer = 3, 0, 1

func newTwin(t *testing.T, k sched.Kind, mode spec.Forward, v6 bool) *twin {
	w := &twin{bed: newBeds(t, 1)[0]}
	w.svc = &service.Service{
		Key: spec.ServiceKey{Proto: spec.UDP, Virtual: netip.AddrPortFrom(place(v6, placeVIP, 100), 53)}, Scheduler: k, GCD: 1, State: &service.State{},
		Lists: acl.Compile([]netip.Addr{place(v6, placeClient, 9)}, nil),
	}
	var servers []sched.Server
	for i := range 4 {
		at := netip.AddrPortFrom(place(v6, placeServer, byte(2+16*i)), 53) // one pool
		d := &service.Dest{Index: uint32(10 + i), Addr: at, Wire: flow.AddrOf(at.Addr()), Port: 53}
		w.sh.Dests[d.Index].Store(d)
		c := sched.Candidate{Weight: uint32(1 + i%3), Load: &d.Load, Datagrams: true}
		if i == 2 {
			c.Limit, c.Low = 9, 5
		}
		w.dests = append(w.dests, d)
		w.svc.Dests, w.svc.Modes, w.svc.Candidates = append(w.svc.Dests, d), append(w.svc.Modes, mode), append(w.svc.Candidates, c)
		servers = append(servers, sched.Server{Addr: at, Weight: c.Weight})
	}
	if k.Hashes() {
		w.svc.Table = sched.Build(sched.Config{Kind: k, Servers: servers}, nil)
	}
	for i := range 3 {
		a, err := w.sh.Locals.Add(place(v6, placeServer, byte(201+i)))
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			if err := a.Prepare(laddr.PoolOf(w.dests[0].Wire, service.WirePort(53))); err != nil { // of the first one there is none
				t.Fatal(err)
			}
		}
		w.locals = append(w.locals, a)
	}
	w.svc.Locals[service.Family(w.dests[0].Wire)] = w.locals
	tables := *w.Tables
	bits := map[bool]int{false: 24, true: 64}[v6]
	all, err := place(v6, 0, 0).Prefix(0)
	if err != nil {
		t.Fatal(err)
	}
	tables.Routes, err = route.Build([]route.Port{{ID: 0, Name: "lan", MTU: 1500}, {ID: 1, Name: "wan", MTU: 1500}},
		[]spec.Address{{Port: "lan", Prefix: netip.PrefixFrom(place(v6, placeServer, 1), bits)}, {Port: "wan", Prefix: netip.PrefixFrom(place(v6, placeVIP, 1), bits)}},
		[]spec.Route{{Prefix: all, Port: "wan", Via: place(v6, placeVIP, 254)}})
	if err != nil {
		t.Fatal(err)
	}
	tables.Services = service.NewTable([]*service.Service{w.svc})
	w.SetTables(&tables, w.ports)
	return w
}

// counts are all that a connection is counted in.
func (w *twin) counts() (n []int64) {
	n = append(n, int64(w.flows.Len()), int64(w.stats.NewConns), int64(w.svc.State.Cursor.Load()))
	for _, d := range w.dests {
		n = append(n, int64(d.Load.Active.Load()), int64(d.Load.Inactive.Load()), int64(w.Count(d.Index).Conns))
	}
	for _, a := range w.locals {
		used, free, miss := a.Counts()
		n = append(n, int64(used), int64(free), int64(miss))
	}
	return n
}

// What is chosen ahead for a burst is what its packets would get one by one, with bursts of
// whatever there is: connections that are there, twice the same one, clients that are denied,
// packets that may go no further, and too few ports.
func TestBursts(t *testing.T) {
	for k := sched.RR; k <= sched.Conhash; k++ {
		for _, mode := range []spec.Forward{spec.FullNAT, spec.Masq} {
			for _, v6 := range []bool{false, true} {
				name := k.String() + " " + mode.String() + map[bool]string{false: ", IPv4", true: ", IPv6"}[v6]
				t.Run(name, func(t *testing.T) { bursts(t, k, mode, v6) })
			}
		}
	}
}

func bursts(t *testing.T, k sched.Kind, mode spec.Forward, v6 bool) {
	rnd := rand.New(rand.NewPCG(uint64(k), uint64(mode)))
	told, untold := newTwin(t, k, mode, v6), newTwin(t, k, mode, v6)
	ahead := 0
	for round := range 400 {
		type drawn struct {
			from netip.Addr
			port uint16
			to   uint16
			ttl  uint8
		}
		var of []drawn
		for range 1 + rnd.IntN(20) {
			d := drawn{place(v6, placeClient, byte(4+rnd.IntN(6))), uint16(1000 + rnd.IntN(20)), 53, 64}
			switch rnd.IntN(20) {
			case 0:
				d.ttl = 1
			case 1:
				d.to = 54
			}
			of = append(of, d)
		}
		burst := func(w *twin) (all []*packet.Packet) {
			for _, d := range of {
				p := w.datagram(d.from, place(v6, placeVIP, 100), d.port, d.to, d.ttl)
				p.Verdict = packet.Continue
				all = append(all, p)
			}
			return all
		}
		a, b := burst(told), burst(untold)
		told.Expect(a)
		for i := range a {
			v, w := told.Input(a[i]), untold.Input(b[i])
			if v != w || a[i].Reason != b[i].Reason || !bytes.Equal(a[i].Data, b[i].Data) || a[i].NextHop != b[i].NextHop {
				t.Fatalf("round %d, packet %d, %+v: %v for %v, and %v for %v\n%x\n%x", round, i, of[i], v, a[i].Reason, w, b[i].Reason, a[i].Data, b[i].Data)
			}
			told.pool.Put(a[i])
			untold.pool.Put(b[i])
		}
		ahead += told.foreseen.n
		told.Expect(nil)
		if x, y := told.counts(), untold.counts(); !slices.Equal(x, y) {
			t.Fatalf("round %d: counts\n%v\n%v", round, x, y)
		}
		for i := range told.flows.Used() {
			if rnd.IntN(3) == 0 && told.flows.Has(told.flows.Conn(i).In) && told.flows.Conn(i).State&(flow.ConnDying|flow.ConnWhole) == flow.ConnWhole {
				told.End(i)
				untold.End(i)
			}
		}
		for _, w := range []*twin{told, untold} {
			w.Now += clock.PerSecond
			w.Second = laddr.Second(uint64(1000 + 3*round))
			w.own.Begin(w.Now)
			w.Expire()
		}
	}
	if ahead < 1000 {
		t.Errorf("for %d packets alone something was chosen ahead", ahead)
	}
	if n := told.stats.NewConns; n < 500 {
		t.Errorf("%d connections alone were made", n)
	}
}

// datagram is packet for either family.
func (w *twin) datagram(src, dst netip.Addr, sport, dport uint16, ttl uint8) *packet.Packet {
	if src.Is4() {
		p := w.packet(protoUDP, src, dst, sport, dport, 0)
		wire.IPv4(p.Data[14:]).SetTTL(ttl)
		return p
	}
	p := w.pool.Get()
	p.Resize(14 + wire.IPv6Len + wire.UDPLen)
	clear(p.Data)
	p.L3, p.L4, p.EtherType, p.Proto, p.In = 14, 14+wire.IPv6Len, wire.EtherTypeIPv6, protoUDP, 1
	ip := wire.IPv6(p.Data[14:])
	ip.SetVersionClassFlow(0, 0)
	ip.SetPayloadLength(wire.UDPLen)
	ip.SetNextHeader(protoUDP)
	ip.SetHopLimit(ttl)
	ip.SetSrc(src.As16())
	ip.SetDst(dst.As16())
	u := wire.UDP(p.Data[p.L4:])
	u.SetSrcPort(sport)
	u.SetDstPort(dport)
	u.SetLength(wire.UDPLen)
	wire.CompleteL4Over6(ip)
	_, p.Key1 = flow.Tuple(0, 0, service.WirePort(sport), service.WirePort(dport), protoUDP)
	p.Key0 = flow.Fold(w.flows.Seed(), (*[32]byte)(ip[8:40]))
	p.Hash = w.flows.Hash(p.Key0, p.Key1)
	p.Flags = packet.Keyed | packet.Plain
	return p
}

// A packet that does not come for what was chosen for it leaves nothing behind: neither a
// port, nor a connection that its real server counts, nor a port that looks used.
func TestNobodyComes(t *testing.T) {
	b := newBed(t)
	local, d := b.sh.Locals.At(0), b.sh.Dests[0].Load()
	var burst []*packet.Packet
	for i := range uint16(5) {
		p := b.packet(protoTCP, client, vip, 1000+i, 80, tcpSYN)
		p.Verdict = packet.Continue
		burst = append(burst, p)
	}
	b.Expect(burst)
	if v := b.Input(burst[0]); v != packet.Output {
		t.Fatalf("%v for %v", v, burst[0].Reason)
	}
	if used, _, _ := local.Counts(); used != 5 || d.Refs() != 5 {
		t.Errorf("%d ports and %d connections of five", used, d.Refs())
	}
	if v := b.Input(burst[3]); v != packet.Output { // those before it were lost on the way
		t.Fatalf("%v for %v", v, burst[3].Reason)
	}
	b.Expect(nil)
	if used, _, miss := local.Counts(); used != 2 || d.Refs() != 2 || miss != 0 {
		t.Errorf("%d ports and %d connections of two, %d missed", used, d.Refs(), miss)
	}
	pool := laddr.PoolOf(d.Wire, service.WirePort(80))
	for range 8 {
		if l, ok := local.Take(pool, b.Second); !ok || l.Recent {
			t.Errorf("took %+v, %v: want a port that nobody used", l, ok)
		}
	}
	if l, ok := local.Take(pool, b.Second); ok {
		t.Errorf("took %+v: there are ten ports", l)
	}
}

// Another worker makes the connection first, for which something was chosen here.
func TestFasterThanChosen(t *testing.T) {
	beds := newBeds(t, 2)
	one, two := beds[0], beds[1]
	local, d := one.sh.Locals.At(0), one.sh.Dests[1].Load()
	var burst []*packet.Packet
	for i := range uint16(3) {
		p := one.packet(protoUDP, client, vip, 1000+i, 53, 0)
		p.Verdict = packet.Continue
		burst = append(burst, p)
	}
	one.Expect(burst)
	if v := one.Input(burst[0]); v != packet.Output {
		t.Fatalf("%v for %v", v, burst[0].Reason)
	}
	if v, r := two.input(two.packet(protoUDP, client, vip, 1001, 53, 0)); v != packet.Output {
		t.Fatalf("%v for %v", v, r)
	}
	for _, p := range burst[1:] {
		if v := one.Input(p); v != packet.Output {
			t.Fatalf("%v for %v", v, p.Reason)
		}
	}
	one.Expect(nil)
	if used, _, _ := local.Counts(); used != 3 || d.Refs() != 3 || one.flows.Len() != 3 {
		t.Errorf("%d ports, %d connections of the real server, %d in all: want three", used, d.Refs(), one.flows.Len())
	}
}

// The short way to put the client's address into a segment gives what the long one gives.
func TestTOAAhead(t *testing.T) {
	b := newBed(t)
	rnd := rand.New(rand.NewPCG(3, 4))
	stamp := []byte{wire.OptNOP, wire.OptNOP, wire.OptTimestamp, 10, 1, 2, 3, 4, 5, 6, 7, 8}
	sack := append(bytes.Clone(stamp), wire.OptNOP, wire.OptNOP, wire.OptSACK, 10, 9, 9, 9, 9, 8, 8, 8, 8)
	for _, row := range []struct {
		name   string
		client string
		opts   []byte
		mtu    uint16
	}{
		{"IPv4", "1.2.3.4", nil, 1500}, {"IPv4, timestamp", "1.2.3.4", stamp, 1500}, {"IPv4, SACK", "1.2.3.4", sack, 1500},
		{"IPv6", "2001:db8::9", nil, 1500}, {"IPv6, timestamp", "2001:db8::9", stamp, 1500}, {"IPv6, SACK", "2001:db8::9", sack, 1500},
		{"no room", "1.2.3.4", stamp, 60}, {"no room, IPv6", "2001:db8::9", stamp, 60}, {"any room", "1.2.3.4", stamp, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			b.src = flow.AddrOf(netip.MustParseAddr(row.client))
			hop := &flow.NextHop{MTU: row.mtu}
			for range 200 {
				p := segment(b, rnd, row.opts, rnd.IntN(40))
				q := b.pool.Get()
				q.Resize(len(p.Data))
				copy(q.Data, p.Data)
				q.L3, q.L4, q.Key1, q.Proto, q.EtherType = p.L3, p.L4, p.Key1, protoTCP, wire.EtherTypeIPv4
				p.Proto, p.EtherType = protoTCP, wire.EtherTypeIPv4
				p.Flags, q.Flags = packet.Keyed|packet.Plain, packet.Keyed
				if rnd.IntN(8) == 0 {
					p.Flags |= packet.CsumPartial
					q.Flags |= packet.CsumPartial
				}
				if short, long := b.addTOA(p, hop), b.addTOA(q, hop); short != long || !bytes.Equal(p.Data[14:], q.Data[14:]) {
					t.Fatalf("%v %v\n%x\n%x", short, long, p.Data[14:], q.Data[14:])
				}
				b.pool.Put(p)
				b.pool.Put(q)
			}
		})
	}
}

// What is remembered of ways is given up with the routes and with the next hops.
func TestRememberedWays(t *testing.T) {
	b := newBed(t)
	d := b.sh.Dests[0].Load()
	to := flow.AddrOf(client)
	there, back := b.hopToDest(d), b.hopTo(to)
	if there == 0 || back == 0 || b.hopToDest(d) != there || b.hopTo(to) != back {
		t.Fatalf("ways %#x, %#x, then %#x, %#x", there, back, b.hopToDest(d), b.hopTo(to))
	}
	b.flows.Hops.Invalidate()
	there2, back2 := b.hopToDest(d), b.hopTo(to)
	for _, ref := range []flow.NextHopRef{there2, back2} {
		if _, current := b.flows.Hops.Current(ref); !current {
			t.Errorf("way %#x is of a former generation", ref)
		}
	}
	none, err := route.Build(nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	tables := *b.Tables
	tables.Routes = none
	b.SetTables(&tables, b.ports)
	if there, back := b.hopToDest(d), b.hopTo(to); there != 0 || back != 0 {
		t.Errorf("ways %#x, %#x without routes", there, back)
	}
}
