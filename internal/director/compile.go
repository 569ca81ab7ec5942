package director

import (
	"net/netip"
	"slices"

	"weir/internal/clock"
	"weir/internal/flow"
	"weir/internal/lb"
	"weir/internal/lb/laddr"
	"weir/internal/lb/mapping"
	"weir/internal/lb/proto"
	"weir/internal/lb/sched"
	"weir/internal/lb/service"
	"weir/internal/neigh"
	"weir/internal/port"
	"weir/internal/route"
	"weir/internal/spec"
	"weir/internal/worker"
)

// compiled is what becomes of a spec: what workers look things up in, and what
// of the services outlives that.
type compiled struct {
	snap   *worker.Snapshot
	states map[spec.ServiceKey]*serviceState
	probes map[ownAddr]*probe
}

// compile turns a spec into the tables in which workers look things up. It adds
// to the registries what is new, and if it fails takes that back.
func (d *Director) compile(s *spec.Spec, lingering []spec.Address) (c *compiled, err error) {
	if d.boot.IPv6.Disable {
		if err := refuse6(s); err != nil {
			return nil, err
		}
	}
	probes := d.probesFor(s)
	ports := &[port.Max]port.Facts{}
	named := make([]route.Port, len(d.ports))
	for i, p := range d.ports {
		ports[p.facts.ID] = p.factsNow(s)
		named[i] = route.Port{
			ID: p.facts.ID, Name: p.facts.Name, MTU: p.facts.MTU, PointToPoint: p.facts.PointToPoint, LinkLocal: p.linkLocal, Linux: p.linuxAddresses(),
			Tentative: inState(probes, p.facts.Name, AddrTentative), Duplicate: inState(probes, p.facts.Name, AddrDuplicate),
		}
	}
	addresses := append(s.Addresses[:len(s.Addresses):len(s.Addresses)], lingering...)
	routes, err := route.Build(named, addresses, s.Routes)
	if err == nil && len(s.Tunnels) > 0 {
		d.compileTunnels(s, routes, ports) // for their MTUs, which their routes have
		for i := range named {
			named[i].MTU = ports[named[i].ID].MTU
		}
		routes, err = route.Build(named, addresses, s.Routes)
	}
	if err != nil {
		return nil, &spec.Refusal{Code: spec.Invalid, Object: "route", Why: err.Error()}
	}
	defer func() {
		if err != nil {
			d.forgetUnwanted(d.spec)
		}
	}()
	locals := map[netip.Addr]*laddr.Address{}
	for _, a := range s.Addresses {
		if !a.SAPool {
			continue
		}
		l, err := d.shared.Locals.Add(a.Prefix.Addr())
		if err != nil {
			return nil, &spec.Refusal{Code: spec.NoResource, Object: "laddr", Why: err.Error()}
		}
		if p := probes[ownAddr{a.Port, a.Prefix.Addr()}]; p == nil || p.state != AddrDuplicate {
			locals[a.Prefix.Addr()] = l // else another machine has it: nothing comes from there
		}
	}
	services := make([]*service.Service, 0, len(s.Services))
	states := make(map[spec.ServiceKey]*serviceState, len(s.Services))
	for i := range s.Services {
		st := d.stateOf(&s.Services[i])
		states[s.Services[i].ServiceKey] = st
		svc, err := d.compileService(&s.Services[i], st, locals)
		if err != nil {
			return nil, err
		}
		services = append(services, svc)
	}
	return &compiled{states: states, probes: probes, snap: &worker.Snapshot{
		Ports:   ports,
		Routes:  routes,
		Tunnels: d.compileTunnels(s, routes, ports),
		Neigh: neigh.Config{
			Reachable: d.tunables.NeighTimeout, QueueLen: d.boot.NeighQueue,
			Router: d.tunables.Forwarding6, Tentative: tentative(probes),
		},
		Forwarding:  d.tunables.Forwarding,
		Forwarding6: d.tunables.Forwarding6,
		TTL:         d.tunables.DefaultTTL,
		LB: lb.Tables{
			Services: service.NewTable(services),
			Routes:   routes,
			Timeouts: proto.NewTimeouts(s.SetTimeouts.Over(d.tunables.Timeouts)),
			UOATrail: uint32(d.tunables.UOATrail),

			QuiescentTemplates: d.tunables.QuiescentTemplates,
			DefenceTCP:         d.tunables.DefenceTCP,
			DefenceUDP:         d.tunables.DefenceUDP,
			Tunnels:            len(s.Tunnels) > 0,
		},
	}}, nil
}

// refuse6 refuses what is of IPv6, where dpvs.conf says that there is none.
func refuse6(s *spec.Spec) error {
	var object string
	switch {
	case slices.ContainsFunc(s.Addresses, func(a spec.Address) bool { return a.Prefix.Addr().Is6() }):
		object = "address"
	case slices.ContainsFunc(s.Routes, func(r spec.Route) bool { return r.Prefix.Addr().Is6() }):
		object = "route"
	case slices.ContainsFunc(s.Neighbours, func(n spec.Neighbour) bool { return n.Addr.Is6() }):
		object = "neighbour"
	case slices.ContainsFunc(s.Services, func(v spec.Service) bool { return v.Virtual.Addr().Is6() }):
		object = "service"
	default:
		return nil
	}
	return &spec.Refusal{Code: spec.NotSupported, Object: object, Why: "IPv6 is switched off: write ipv6_defs { disable off } into dpvs.conf and start weir again"}
}

// linger finds the addresses that s gives up, or gave up earlier, and that
// connections still use.
func (d *Director) linger(s *spec.Spec) (kept []spec.Address) {
	for _, a := range append(d.lingering[:len(d.lingering):len(d.lingering)], d.spec.Addresses...) {
		if !a.SAPool || s.FindAddress(a.Prefix.Addr()) != nil || !slices.Contains(s.Ports, a.Port) {
			continue // of a device that is gone nothing can be reached any more
		}
		if used, ok := d.shared.Locals.InUse(a.Prefix.Addr()); ok && used > 0 && !slices.Contains(kept, a) {
			// Alone: its prefix is no route any more.
			a.Prefix = netip.PrefixFrom(a.Prefix.Addr(), a.Prefix.Addr().BitLen())
			kept = append(kept, a)
		}
	}
	return kept
}

// stateOf returns what of a service goes on: its number alone if it has another
// scheduler.
func (d *Director) stateOf(s *spec.Service) *serviceState {
	if st := d.states[s.ServiceKey]; st != nil && st.scheduler == s.Scheduler {
		return st
	}
	st := &serviceState{scheduler: s.Scheduler}
	if old := d.states[s.ServiceKey]; old != nil {
		st.state.Index = old.state.Index
	} else {
		d.lastService++
		st.state.Index = d.lastService
	}
	return st
}

func (d *Director) compileService(s *spec.Service, st *serviceState, locals map[netip.Addr]*laddr.Address) (*service.Service, error) {
	kind, err := sched.Parse(s.Scheduler)
	if err != nil {
		return nil, &spec.Refusal{Code: spec.NotExists, Object: "scheduler", Why: err.Error()}
	}
	svc := &service.Service{Key: s.ServiceKey, Scheduler: kind, State: &st.state, ConnTimeout: clock.FromSeconds(s.ConnTimeout)}
	svc.QUIC, svc.HashID = s.QUIC, kind == sched.Conhash && s.HashTarget == "qid"
	svc.Mapped = s.EndpointIndependent
	if s.IsMatch() {
		svc.Match = d.matcher(s.ServiceKey)
	}
	svc.Tell = service.TellOf(s.Proto == spec.TCP && !s.NoTOA, s.UOA, s.ProxyProtocol)
	svc.Lists = st.compileLists(s)
	svc.Persistent, svc.Mask = clock.FromSeconds(s.Persistent), flow.Addr{Hi: ^uint64(0), Lo: ^uint64(0)}
	if s.PersistentMask.IsValid() {
		svc.Mask = flow.AddrOf(s.PersistentMask)
	}
	if s.PersistentMask.Is4() {
		svc.Mask.Hi, svc.Mask.Lo = ^uint64(0), svc.Mask.Lo|uint64(^uint32(0)) // what makes it an IPv4 address stays
	}
	svc.OnePacket, svc.Quiescent = s.OnePacket, s.ExpireQuiescent
	for _, l := range s.Locals {
		a := locals[l.Addr]
		if a == nil {
			continue
		}
		svc.Locals[service.Family(a.Wire)] = append(svc.Locals[service.Family(a.Wire)], a)
	}
	var servers []sched.Server
	for i := range s.Dests {
		sd := &s.Dests[i]
		dest, _, err := d.dests.get(&d.shared.Dests, destKey{s.ServiceKey, sd.Addr})
		if err != nil {
			return nil, err
		}
		dest.Place.Store(uint32(i))
		svc.Dests = append(svc.Dests, dest)
		svc.Modes = append(svc.Modes, sd.Forward)
		svc.Candidates = append(svc.Candidates, sched.Candidate{Weight: sd.Weight, Limit: sd.UThreshold, Low: sd.LThreshold, Datagrams: s.Proto == spec.UDP, Load: &dest.Load})
		servers = append(servers, sched.Server{Addr: sd.Addr, Weight: sd.Weight})
		svc.GCD = gcd(svc.GCD, sd.Weight)
		if sd.Forward == spec.SNAT {
			wan := locals[sd.Addr.Addr()]
			dest.WAN.Store(wan)
			if wan != nil {
				if err := d.prepareWAN(wan, s); err != nil {
					return nil, noPorts(err)
				}
			}
		}
		for _, l := range svc.Locals[service.Family(dest.Wire)] {
			if err := prepare(l, dest); err != nil {
				return nil, noPorts(err)
			}
		}
	}
	if kind.Hashes() {
		st.table = sched.Build(sched.Config{Kind: kind, Servers: servers}, st.table)
		svc.Table = st.table
		svc.TakesOver = s.Proto == spec.TCP && !slices.ContainsFunc(svc.Modes, func(m spec.Forward) bool { return m != spec.DirectRoute && m != spec.Tunnel })
	}
	return svc, nil
}

// matcher compiles what packets a match service is for.
func (d *Director) matcher(k spec.ServiceKey) service.Matcher {
	m := service.Matcher{
		Proto: uint8(k.Proto), SrcPortLast: ^uint16(0), DstPortLast: ^uint16(0),
		In: service.AnyPort, Out: service.AnyPort,
	}
	first4, last4 := sched.IPv4([4]byte{}), sched.IPv4([4]byte{255, 255, 255, 255})
	// A range of zeros is every address of the family, as in 0.0.0.0:1-1024. IPv6
	// packets have no addresses that stand for IPv4 ones.
	span := func(r spec.Range, first, last *sched.Addr, firstPort, lastPort *uint16) {
		switch {
		case r.First.IsValid() && !r.Last.IsUnspecified():
			*first, *last = sched.AddrOf(r.First), sched.AddrOf(r.Last)
		case k.Match.Family == 6:
			*last = sched.Addr{Hi: ^uint64(0), Lo: ^uint64(0)}
		default:
			*first, *last = first4, last4
		}
		if r.LastPort != 0 {
			*firstPort, *lastPort = r.FirstPort, r.LastPort
		}
	}
	span(k.Match.Src, &m.SrcFirst, &m.SrcLast, &m.SrcPortFirst, &m.SrcPortLast)
	span(k.Match.Dst, &m.DstFirst, &m.DstLast, &m.DstPortFirst, &m.DstPortLast)
	if p := d.portByName(k.Match.In); p != nil {
		m.In = p.facts.ID
	}
	if p := d.portByName(k.Match.Out); p != nil {
		m.Out = p.facts.ID
	}
	return m
}

// prepareWAN makes the pools that a match service's connections may want of a WAN
// address, and the store of mappings if they need one.
func (d *Director) prepareWAN(wan *laddr.Address, s *spec.Service) error {
	if s.EndpointIndependent {
		if d.shared.Mappings.Load() == nil {
			d.shared.Mappings.Store(mapping.New(mappingsFor(d.shared.Flows.Conns()), d.shared.Flows.Seed()))
		}
		return wan.Prepare(laddr.MappedPool(uint8(s.Proto)))
	}
	return prepareAll(wan) // who will be asked is not known
}

func prepareAll(a *laddr.Address) error {
	for pool := range laddr.Pools {
		if err := a.Prepare(uint8(pool)); err != nil {
			return err
		}
	}
	return nil
}

func noPorts(err error) error {
	return &spec.Refusal{Code: spec.NoResource, Object: "laddr", Why: err.Error()}
}

// mappingsFor is how many endpoint-independent mappings there may be beside so many
// connections: half as many, in 64 MiB at most.
func mappingsFor(conns int) int { return min(max(conns/2, 1024), 1<<19) }

// prepare makes the pools of a local address that a real server's connections may
// want: one that is asked at the client's port, all.
func prepare(l *laddr.Address, dest *service.Dest) error {
	if dest.Port != 0 {
		return l.Prepare(laddr.PoolOf(dest.Wire, service.WirePort(dest.Port)))
	}
	return prepareAll(l)
}

func gcd(a, b uint32) uint32 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// forgetUnwanted takes out of the registries what a spec does not name.
func (d *Director) forgetUnwanted(s *spec.Spec) {
	dests := map[destKey]bool{}
	for i := range s.Services {
		svc := &s.Services[i]
		for _, sd := range svc.Dests {
			dests[destKey{svc.ServiceKey, sd.Addr}] = true
		}
	}
	for k := range d.dests.byKey {
		if !dests[k] {
			d.dests.drop(k)
		}
	}
	pools := map[netip.Addr]bool{}
	for _, a := range s.Addresses {
		if a.SAPool {
			pools[a.Prefix.Addr()] = true
		}
	}
	for _, ip := range d.shared.Locals.Configured() {
		if !pools[ip] {
			d.shared.Locals.Remove(ip)
		}
	}
}
