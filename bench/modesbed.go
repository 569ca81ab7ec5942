package main

import (
	"net/netip"

	"weir/internal/flow"
	"weir/internal/lb"
	"weir/internal/lb/laddr"
	"weir/internal/lb/proto"
	"weir/internal/lb/sched"
	"weir/internal/lb/service"
	"weir/internal/neigh"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/port/pipe"
	"weir/internal/route"
	"weir/internal/spec"
	"weir/internal/worker"
)

var (
	vip6     = netip.MustParseAddr("2001:db8:1::100")
	rip6     = netip.MustParseAddr("2001:db8:2::2")
	gateway6 = netip.MustParseAddr("2001:db8:1::1")
	remote   = netip.MustParseAddr("198.51.100.1")
	remote6  = netip.MustParseAddr("2001:db8:ff::1")
	wans     = []netip.Addr{netip.MustParseAddr("10.0.0.101"), netip.MustParseAddr("2001:db8:1::101")}
)

// newModeBed makes a director of one worker, with both families on both sides, and
// a UDP service of a mode.
func newModeBed(m mode, flows int) (*bed, error) {
	t, err := flow.New(flow.Config{Conns: flows + flows/8 + 4096, Workers: 1})
	if err != nil {
		return nil, err
	}
	b := &bed{shared: &lb.Shared{Flows: t}}
	if b.shared.Locals, err = laddr.NewSet(laddr.FirstPort, laddr.LastPort); err != nil {
		return nil, err
	}
	if b.pool, err = packet.NewPool(4096, 0); err != nil {
		return nil, err
	}
	facts := &[port.Max]port.Facts{}
	var named []route.Port
	var pipes [2]*pipe.Port
	for i, name := range []string{"dpdk0", "dpdk1"} {
		pipes[i] = pipe.New(uint16(i), name, portMACs[i], 1500)
		facts[i] = pipes[i].Facts()
		named = append(named, route.Port{ID: uint16(i), Name: name, MTU: 1500})
	}
	snap, err := b.compileMode(m, flows, facts, named)
	if err != nil {
		return nil, err
	}
	b.snapshot.Store(snap)
	b.worker = worker.New(worker.Config{Name: "bench", Pool: b.pool, Shared: b.shared, Snapshot: &b.snapshot, Conflicts: &neigh.Conflicts{}})
	for i, p := range pipes {
		if b.queues[i], err = p.Queue(0, b.pool); err != nil {
			return nil, err
		}
		b.worker.AddQueue(uint16(i), b.queues[i])
	}
	for on, all := range map[uint16][]netip.Addr{lan: {rip, rip6}, wan: {gateway, gateway6}} {
		for _, a := range all {
			if err := neigh.AddStatic(&t.Hops, on, a, peerMACs[on], portMACs[on], 1500); err != nil {
				return nil, err
			}
		}
	}
	return b, nil
}

func (b *bed) compileMode(m mode, flows int, facts *[port.Max]port.Facts, named []route.Port) (*worker.Snapshot, error) {
	addrs := []spec.Address{
		{Port: "dpdk1", Prefix: netip.PrefixFrom(vip, 16)},
		{Port: "dpdk0", Prefix: netip.MustParsePrefix("192.168.100.1/16")},
		{Port: "dpdk1", Prefix: netip.PrefixFrom(vip6, 64)},
		{Port: "dpdk0", Prefix: netip.MustParsePrefix("2001:db8:2::1/64")},
	}
	routes := []spec.Route{
		{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Via: gateway, Port: "dpdk1"},
		{Prefix: netip.MustParsePrefix("::/0"), Via: gateway6, Port: "dpdk1"},
	}
	key := spec.ServiceKey{Proto: spec.UDP, Virtual: netip.AddrPortFrom(vip, servicePort)}
	if m.client6 {
		key.Virtual = netip.AddrPortFrom(vip6, servicePort)
	}
	real := netip.AddrPortFrom(rip, servicePort)
	if m.server6 {
		real = netip.AddrPortFrom(rip6, servicePort)
	}
	svc := &service.Service{Scheduler: sched.RR, GCD: 1, Modes: []spec.Forward{m.forward}, State: &service.State{}}
	dest := &service.Dest{}
	if m.forward == spec.SNAT {
		// Inside hosts come through a router.
		key = spec.ServiceKey{Proto: spec.UDP, Match: spec.Match{Family: 4, Out: "dpdk1"}}
		real = netip.AddrPortFrom(wans[0], 0)
		first, last := sched.IPv4([4]byte{}), sched.IPv4([4]byte{255, 255, 255, 255})
		inside := spec.Route{Prefix: netip.MustParsePrefix("10.16.0.0/12"), Via: rip, Port: "dpdk0"}
		if m.client6 {
			key.Match.Family, real = 6, netip.AddrPortFrom(wans[1], 0)
			first, last = sched.Addr{}, sched.Addr{Hi: ^uint64(0), Lo: ^uint64(0)}
			inside = spec.Route{Prefix: netip.MustParsePrefix("2001:db8:cc00::/40"), Via: rip6, Port: "dpdk0"}
		}
		routes = append(routes, inside)
		svc.Match = service.Matcher{
			Proto: uint8(spec.UDP), SrcFirst: first, SrcLast: last, DstFirst: first, DstLast: last,
			SrcPortLast: ^uint16(0), DstPortLast: ^uint16(0), In: service.AnyPort, Out: wan,
		}
	}
	*dest = service.Dest{Addr: real, Wire: flow.AddrOf(real.Addr()), Port: real.Port()}
	b.shared.Dests[0].Store(dest)
	svc.Key, svc.Dests = key, []*service.Dest{dest}
	svc.Candidates = []sched.Candidate{{Weight: 1, Load: &dest.Load, Datagrams: true}}
	take := func(ip netip.Addr, on string) (*laddr.Address, error) {
		a, err := b.shared.Locals.Add(ip)
		if err != nil {
			return nil, err
		}
		for pool := range laddr.Pools {
			a.Prepare(uint8(pool))
		}
		addrs = append(addrs, spec.Address{Port: on, Prefix: netip.PrefixFrom(ip, ip.BitLen()), SAPool: true})
		return a, nil
	}
	switch m.forward {
	case spec.FullNAT:
		family := service.Family(dest.Wire)
		for i := range flows/60000 + 1 {
			ip := netip.AddrFrom4([4]byte{192, 168, 101, byte(1 + i)})
			if m.server6 {
				ip = netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 5: 2, 14: 1, 15: byte(1 + i)})
			}
			a, err := take(ip, "dpdk0")
			if err != nil {
				return nil, err
			}
			svc.Locals[family] = append(svc.Locals[family], a)
		}
	case spec.SNAT:
		a, err := take(real.Addr(), "dpdk1")
		if err != nil {
			return nil, err
		}
		dest.WAN.Store(a)
	}
	table, err := route.Build(named, addrs, routes)
	if err != nil {
		return nil, err
	}
	return &worker.Snapshot{
		Ports: facts, Routes: table, TTL: 64,
		LB: lb.Tables{Services: service.NewTable([]*service.Service{svc}), Routes: table, Timeouts: proto.NewTimeouts(spec.DefaultTimeouts())},
	}, nil
}
