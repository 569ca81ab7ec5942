package lb

import (
	"net/netip"
	"testing"

	"weir/internal/flow"
	"weir/internal/lb/forward"
	"weir/internal/lb/laddr"
	"weir/internal/lb/sched"
	"weir/internal/lb/service"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/route"
	"weir/internal/spec"
)

// TestAddressesThatFoldAlike: another connection's addresses fold to the same word, and
// its ports are the same. Nobody loops: the packet is dropped, and its port given back.
func TestAddressesThatFoldAlike(t *testing.T) {
	b := newBed(t)
	ports := []route.Port{{ID: 0, Name: "lan", MTU: 1500}, {ID: 1, Name: "wan", MTU: 1500}}
	routes, err := route.Build(ports, []spec.Address{
		{Port: "lan", Prefix: netip.MustParsePrefix("2001:db8:1::1/64")}, {Port: "wan", Prefix: netip.MustParsePrefix("2001:db8::1/64")},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	from, virtual, real6 := netip.MustParseAddr("2001:db8::9"), netip.MustParseAddr("2001:db8::100"), netip.MustParseAddr("2001:db8:1::2")
	local, err := b.sh.Locals.Add(netip.MustParseAddr("2001:db8:1::200"))
	if err != nil {
		t.Fatal(err)
	}
	k := spec.ServiceKey{Proto: spec.UDP, Virtual: netip.AddrPortFrom(virtual, 53)}
	d := &service.Dest{Index: 7, Service: k, Addr: netip.AddrPortFrom(real6, 53), Wire: flow.AddrOf(real6), Port: 53}
	b.sh.Dests[7].Store(d)
	local.Prepare(laddr.PoolOf(d.Wire, service.WirePort(53)))
	svc := &service.Service{
		Key: k, GCD: 1, Dests: []*service.Dest{d}, Modes: []spec.Forward{spec.FullNAT}, Candidates: []sched.Candidate{{Weight: 1, Load: &d.Load}},
		Locals: [2][]*laddr.Address{1: {local}}, State: &service.State{},
	}
	tables := *b.Tables
	tables.Services, tables.Routes = service.NewTable([]*service.Service{svc}), routes
	b.SetTables(&tables, &[port.Max]port.Facts{0: {ID: 0, Name: "lan", MTU: 1500}, 1: {ID: 1, Name: "wan", MTU: 1500}})

	in, out := forward.FullNAT(&forward.Ends{
		Proto: protoUDP, Client: flow.AddrOf(from), Virtual: flow.AddrOf(virtual), ClientPort: service.WirePort(5353), VirtualPort: service.WirePort(53),
		Local: local.Wire, LocalPort: service.WirePort(60000), Real: d.Wire, RealPort: service.WirePort(53),
	})
	if _, err := b.own.Insert(&in, &out, &flow.NewConn{Timeout: 1000, Dest: 7}, b.Now); err != nil {
		t.Fatal(err)
	}
	h, _ := b.flows.FindFlow(&in)
	other := b.flows.Wide(h)
	other.Src.Lo ^= 1 << 60 // as if these were the addresses that fold so
	p := b.spoken("ip6 2001:db8::9 > 2001:db8::100 / udp 5353 > 53 data=1")
	p.In = 1
	p.Key0, p.Key1 = flow.Fold(1, addrs6(p)), uint64(service.WirePort(5353))|uint64(service.WirePort(53))<<16|protoUDP<<32
	p.Hash, p.Flags = b.flows.Hash(p.Key0, p.Key1), packet.Keyed|packet.Plain
	if v, r := b.input(p); v != packet.Drop || r != packet.LBConnRace {
		t.Errorf("%v for %v, want a drop for %v", v, r, packet.LBConnRace)
	}
	if used, _, _ := local.Counts(); used != 0 {
		t.Errorf("%d ports are in use", used)
	}
}
