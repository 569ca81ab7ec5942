package main

import (
	"net/netip"
	"sync/atomic"

	"weir/internal/flow"
	"weir/internal/lb"
	"weir/internal/lb/laddr"
	"weir/internal/lb/proto"
	"weir/internal/lb/sched"
	"weir/internal/lb/service"
	"weir/internal/neigh"
	"weir/internal/packet"
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

// newModeBed makes a director of one worker, with both families on both sides, clients
// beyond a device, and a UDP service of a mode.
func newModeBed(m mode, on device, flows int) (*bed, error) {
	t, err := flow.New(flow.Config{Conns: flows + flows/2 + 4096, Workers: 1})
	if err != nil {
		return nil, err
	}
	b := &bed{shared: &lb.Shared{Flows: t}, snapshot: new(atomic.Pointer[worker.Snapshot])}
	if b.shared.Locals, err = laddr.NewSet(laddr.FirstPort, laddr.LastPort); err != nil {
		return nil, err
	}
	if b.pool, err = packet.NewPool(4096, 0); err != nil {
		return nil, err
	}
	l, err := on.lay(b)
	if err != nil {
		return nil, err
	}
	snap, err := b.compileMode(m, flows, l)
	if err != nil {
		return nil, err
	}
	b.snapshot.Store(snap)
	b.worker = worker.New(worker.Config{Name: "bench", Pool: b.pool, Shared: b.shared, Snapshot: b.snapshot, Conflicts: &neigh.Conflicts{}})
	if err := b.open(lan, nil); err != nil {
		return nil, err
	}
	return b, b.open(wan, on.bond)
}

func (b *bed) compileMode(m mode, flows int, l *laid) (*worker.Snapshot, error) {
	link, clients := l.on(l.link), l.on(l.clients)
	addrs := []spec.Address{
		{Port: link, Prefix: netip.PrefixFrom(vip, 16)},
		{Port: "dpdk0", Prefix: netip.MustParsePrefix("192.168.100.1/16")},
		{Port: link, Prefix: netip.PrefixFrom(vip6, 64)},
		{Port: "dpdk0", Prefix: netip.MustParsePrefix("2001:db8:2::1/64")},
	}
	for _, ends := range [][2]netip.Addr{ends4, ends6} {
		addrs = append(addrs, spec.Address{Port: link, Prefix: netip.PrefixFrom(ends[0], ends[0].BitLen())})
	}
	routes := []spec.Route{
		{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Via: gateway, Port: clients},
		{Prefix: netip.MustParsePrefix("::/0"), Via: gateway6, Port: clients},
	}
	if l.facts[l.clients].PointToPoint {
		routes[0].Via, routes[1].Via = netip.Addr{}, netip.Addr{}
	}
	key := spec.ServiceKey{Proto: spec.UDP, Virtual: netip.AddrPortFrom(vip, servicePort)}
	if m.tcp {
		key.Proto = spec.TCP
	}
	if m.client6 {
		key.Virtual = netip.AddrPortFrom(vip6, servicePort)
	}
	real := netip.AddrPortFrom(rip, servicePort)
	if m.server6 {
		real = netip.AddrPortFrom(rip6, servicePort)
	}
	svc := &service.Service{Scheduler: sched.RR, GCD: 1, Modes: []spec.Forward{m.forward}, State: &service.State{}, Tell: service.TellOf(m.tcp, "", "")}
	dest := &service.Dest{}
	if m.forward == spec.SNAT {
		// Inside hosts come through a router.
		key = spec.ServiceKey{Proto: spec.UDP, Match: spec.Match{Family: 4, Out: clients}}
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
			SrcPortLast: ^uint16(0), DstPortLast: ^uint16(0), In: service.AnyPort, Out: l.clients,
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
		a, err := take(real.Addr(), link)
		if err != nil {
			return nil, err
		}
		dest.WAN.Store(a)
	case spec.Masq, spec.Local, spec.Tunnel, spec.DirectRoute: // borrow nothing
	}
	table, err := route.Build(l.named, addrs, routes)
	if err != nil {
		return nil, err
	}
	return &worker.Snapshot{
		Ports: l.facts, Routes: table, Tunnels: l.tunnels, TTL: 64,
		LB: lb.Tables{Services: service.NewTable([]*service.Service{svc}), Routes: table, Timeouts: proto.NewTimeouts(spec.DefaultTimeouts())},
	}, nil
}
