package ip

import (
	"net/netip"

	"weir/internal/clock"
	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/route"
	"weir/internal/stat"
	"weir/internal/wire"
)

// DefaultTTL is the TTL of packets made here when none is configured.
const DefaultTTL = 64

// Stack is a worker's IP layer.
type Stack struct {
	// What a breath may change; the worker sets them between two breaths.
	Table      *route.Table
	Forwarding bool // forward IPv4 packets that are neither ours nor a service's
	// Forwarding6 is the same of IPv6.
	Forwarding6 bool
	TTL         uint8 // of packets made here; 0 means DefaultTTL

	Counters Counters

	hops      *flow.NextHops
	seed      uint64 // of flow.Hash
	fold      flow.Folder
	out       *packet.Outbox
	pool      *packet.Pool
	stats     *stat.Worker
	ports     *[port.Max]port.Facts
	rxPartial uint64 // bit per port: Facts.RxPartial
	now       clock.Tick
	errors    bucket
	id        uint16 // identification of the next packet made here
	frags     *assembly
	ids       *IDs
}

// Counters count a worker's ICMP work.
type Counters struct {
	EchoReplies   uint64
	ErrorsSent    uint64
	ErrorsNotMade uint64 // due, but no packet memory, no room in the outbox, or no address to speak from
}

// New returns the IP layer of a worker. seed is the flow table's. ICMP errors
// are made from pool and go to out. Table is to be set before use.
func New(hops *flow.NextHops, seed uint64, ports *[port.Max]port.Facts, pool *packet.Pool, out *packet.Outbox, stats *stat.Worker) *Stack {
	s := &Stack{hops: hops, seed: seed, fold: flow.NewFolder(seed), out: out, pool: pool, stats: stats}
	s.errors.credit = maxCredit
	s.SetPorts(ports)
	return s
}

// SetPorts tells the ports' facts, which nobody changes afterwards. Telling the
// same pointer again costs a compare.
func (s *Stack) SetPorts(ports *[port.Max]port.Facts) {
	if ports == s.ports {
		return
	}
	s.ports = ports
	s.rxPartial = 0
	for i := range ports {
		if ports[i].RxPartial {
			s.rxPartial |= 1 << i
		}
	}
}

// Tick tells the time of a breath, for the rate of ICMP errors and for fragments.
func (s *Stack) Tick(now clock.Tick) {
	s.now = now
	s.expireFragments(now)
}

func (s *Stack) ttl() uint8 {
	if s.TTL == 0 {
		return DefaultTTL
	}
	return s.TTL
}

// ours reports whether an address in p is the director's own: a link-local one, on
// the port that p came in on.
func (s *Stack) ours(p *packet.Packet, a netip.Addr) bool {
	if a.Is6() && a.IsLinkLocalUnicast() {
		return s.Table.LocalOn(p.In, a)
	}
	_, ok := s.Table.Local(a)
	return ok
}

// way sets where an answer to p goes: by route if there is one to the asker,
// else back to the station that p came from. A link-local address says nothing
// without its link, so that such askers are always answered where they asked. It
// reports whether there was room for a next hop.
func (s *Stack) way(answer, p *packet.Packet, asker netip.Addr) bool {
	if _, ok := s.Table.Lookup(asker); ok { // never to a link-local one
		answer.NextHop = 0 // Output routes it
		return true
	}
	if p.L3 < wire.EthernetLen {
		return false
	}
	e := wire.Ethernet(p.Data[p.L3-wire.EthernetLen:])
	in := &s.ports[p.In%port.Max]
	if in.PointToPoint {
		answer.NextHop = s.hops.Get(p.In, route.OtherEnd(asker), in.MAC, uint16(in.MTU))
		return answer.NextHop != 0
	}
	answer.NextHop = s.hops.Back(p.In, e.Source(), in.MAC, uint16(in.MTU))
	return answer.NextHop != 0
}
