package lb

import (
	"net/netip"
	"testing"

	"weir/internal/clock"
	"weir/internal/flow"
	"weir/internal/lb/laddr"
	"weir/internal/lb/proto"
	"weir/internal/lb/sched"
	"weir/internal/lb/service"
	"weir/internal/lb/template"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/route"
	"weir/internal/spec"
	"weir/internal/stat"
	"weir/internal/wire"
)

// bed is a balancer with one service of each protocol: 10.0.0.100:80 and :53,
// real server 192.168.1.2, local address 192.168.1.200.
type bed struct {
	t     testing.TB
	sh    *Shared
	pool  *packet.Pool
	out   packet.Outbox
	stats stat.Worker
	*Balancer
}

var (
	vip    = netip.MustParseAddr("10.0.0.100")
	lip    = netip.MustParseAddr("192.168.1.200")
	rs     = netip.MustParseAddr("192.168.1.2")
	client = netip.MustParseAddr("1.2.3.4")
)

func newBed(t testing.TB) *bed {
	t.Helper()
	return newBeds(t, 1)[0]
}

// newBeds are beds that share what workers share.
func newBeds(t testing.TB, workers int) (beds []*bed) {
	t.Helper()
	flows, err := flow.New(flow.Config{Conns: 1, Workers: workers, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(flows.Close)
	sh := &Shared{Flows: flows, Templates: template.New(1, 1)}
	if sh.Locals, err = laddr.NewSet(1025, 1034); err != nil {
		t.Fatal(err)
	}
	facts := &[port.Max]port.Facts{0: {ID: 0, Name: "lan", MTU: 1500}, 1: {ID: 1, Name: "wan", MTU: 1500}}
	routes, err := route.Build([]route.Port{{ID: 0, Name: "lan", MTU: 1500}, {ID: 1, Name: "wan", MTU: 1500}},
		[]spec.Address{{Port: "lan", Prefix: netip.MustParsePrefix("192.168.1.1/24")}, {Port: "wan", Prefix: netip.MustParsePrefix("10.0.0.1/24")}},
		[]spec.Route{{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Port: "wan", Via: netip.MustParseAddr("10.0.0.254")}})
	if err != nil {
		t.Fatal(err)
	}
	local, err := sh.Locals.Add(lip)
	if err != nil {
		t.Fatal(err)
	}
	var all []*service.Service
	for i, k := range []spec.ServiceKey{{Proto: spec.TCP, Virtual: netip.AddrPortFrom(vip, 80)}, {Proto: spec.UDP, Virtual: netip.AddrPortFrom(vip, 53)}} {
		d := &service.Dest{Index: uint32(i), Service: k, Addr: netip.AddrPortFrom(rs, k.Virtual.Port()), Wire: flow.AddrOf(rs), Port: k.Virtual.Port()}
		sh.Dests[i].Store(d)
		local.Prepare(laddr.PoolOf(d.Wire, service.WirePort(d.Port)))
		all = append(all, &service.Service{
			Key: k, GCD: 1, Dests: []*service.Dest{d}, Modes: []spec.Forward{spec.FullNAT}, Candidates: []sched.Candidate{{Weight: 1, Load: &d.Load}},
			Locals: [2][]*laddr.Address{{local}}, State: &service.State{}, Tell: service.TellOf(k.Proto == spec.TCP, "", ""),
		})
	}
	for i := range workers {
		b := &bed{t: t, sh: sh}
		if b.pool, err = packet.NewPool(64, 1); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = b.pool.Close() })
		b.Balancer = New(sh, flows.Worker(i), facts, b.pool, &b.out, &b.stats)
		b.SetTables(&Tables{Services: service.NewTable(all), Routes: routes, Timeouts: proto.NewTimeouts(spec.DefaultTimeouts())}, facts)
		b.Now = clock.Now()
		b.Second = laddr.Second(1000)
		flows.Worker(i).Begin(b.Now)
		beds = append(beds, b)
	}
	return beds
}

// packet makes what ip.Input4 would hand over.
func (b *bed) packet(proto uint8, src, dst netip.Addr, sport, dport uint16, tcpFlags uint8) *packet.Packet {
	p := b.pool.Get()
	n := 28
	if proto == wire.ProtoTCP {
		n = 40
	}
	p.Resize(14 + n)
	clear(p.Data)
	p.L3, p.L4, p.EtherType, p.Proto, p.In = 14, 34, wire.EtherTypeIPv4, proto, 1
	ip := wire.IPv4(p.Data[14:])
	ip.SetVersionIHL(20)
	ip.SetTotalLength(uint16(n))
	ip.SetTTL(64)
	ip.SetProtocol(proto)
	ip.SetSrc(src.As4())
	ip.SetDst(dst.As4())
	ip.ComputeChecksum()
	u := wire.UDP(p.Data[34:])
	u.SetSrcPort(sport)
	u.SetDstPort(dport)
	if proto == wire.ProtoTCP {
		t := wire.TCP(p.Data[34:])
		t.SetDataOffset(20)
		t.SetFlags(tcpFlags)
		p.TCPFlags = tcpFlags
	} else {
		u.SetLength(8)
	}
	wire.CompleteL4(ip)
	p.Key0, p.Key1 = flow.Tuple(flow.AddrOf(src).V4(), flow.AddrOf(dst).V4(), service.WirePort(sport), service.WirePort(dport), proto)
	p.Hash = b.flows.Hash(p.Key0, p.Key1)
	p.Flags = packet.Keyed | packet.Plain
	return p
}

// input takes a packet through the balancer and puts it back.
func (b *bed) input(p *packet.Packet) (packet.Verdict, packet.Reason) {
	defer b.pool.Put(p)
	v := b.Input(p)
	if v != packet.Drop && v != packet.Refuse {
		return v, packet.NoReason
	}
	return v, p.Reason
}
