package lb

import (
	"sync/atomic"

	"weir/internal/flow"
	"weir/internal/lb/laddr"
	"weir/internal/lb/sched"
	"weir/internal/lb/service"
	"weir/internal/packet"
	"weir/internal/spec"
)

// A new connection's outbound half-flow lies where nobody looked before, and a local
// address's next port mostly too: one would wait for both. But which they are can be
// foreseen, for all connections that a burst begins. So its first one calls in what the
// others will need as well. A guess that is wrong, since another worker was faster, costs
// lines of cache and nothing else.

// foreseen is what is foreseen of a burst.
type foreseen struct {
	burst []*packet.Packet // that is on its way; nil: none is, or it was looked at already
	ahead flow.Ahead
	n     int
	of    [maxForeseen]struct {
		local *laddr.Address
		dest  *service.Dest
		port  uint16 // of the real server
		pool  uint8
		nth   uint32 // of the pool's ports
		proto uint8
	}
}

const maxForeseen = 64

// Expect tells the packets that Input will get, of which the first one that begins a
// connection is worth a look at the others; nil: none.
func (b *Balancer) Expect(burst []*packet.Packet) { b.foreseen.burst, b.foreseen.n = burst, 0 }

// foresee looks from a packet on, which begins a connection to svc, at what its burst will
// begin. All of one service are foreseen, as which most bursts are.
func (b *Balancer) foresee(p *packet.Packet, svc *service.Service) {
	f := &b.foreseen
	burst := f.burst
	f.burst = nil
	for len(burst) > 0 && burst[0] != p {
		burst = burst[1:]
	}
	if len(burst) == 0 || svc.Persistent != 0 || svc.OnePacket {
		return
	}
	var cursor atomic.Uint64
	cursor.Store(svc.State.Cursor.Load())
	local := int(svc.State.Local.Load())
	to, ports := p.Key0>>32, uint32(p.Key1)>>16
	for i, q := range burst {
		if q == nil || i > 0 && (q.Proto != p.Proto || uint32(q.Key1)>>16 != ports || q.EtherType != p.EtherType || !is6(p) && q.Key0>>32 != to || !b.opens(q)) {
			continue
		}
		k := sched.Key{Port: wirePort(uint16(q.Key1))}
		if svc.Table != nil {
			src, dst := ends(q)
			k.Client, k.Virtual = sched.FromWire(src), sched.FromWire(dst)
		}
		dest, mode := svc.Foresee(&k, &cursor)
		if dest == nil || mode != spec.FullNAT {
			continue
		}
		locals := svc.Locals[service.Family(dest.Wire)]
		if len(locals) == 0 {
			continue
		}
		local++
		real := service.WirePort(dest.Port)
		if dest.Port == 0 {
			real = uint16(q.Key1 >> 16)
		}
		e := &f.of[f.n]
		e.local, e.dest, e.port, e.proto = locals[local%len(locals)], dest, real, q.Proto
		e.pool, e.nth = laddr.PoolOf(dest.Wire, real), 0
		for j := f.n - len(locals); j >= 0; j -= len(locals) {
			if o := &f.of[j]; o.pool == e.pool && o.local == e.local {
				e.nth = o.nth + 1
				break
			}
		}
		f.ahead.Add(e.local.Where(e.pool, e.nth))
		if f.n++; f.n == maxForeseen {
			break
		}
	}
	f.ahead.Fetch()
	for i := range f.of[:f.n] {
		e := &f.of[i]
		if port, ok := e.local.Peek(e.pool, e.nth); ok {
			t := flow.TupleOf(e.dest.Wire, e.local.Wire, e.port, wirePort(port), e.proto)
			f.ahead.AddFlow(b.flows, &t)
		}
	}
	f.ahead.Fetch()
}

// opens reports whether a packet looks as if it began a connection.
func (b *Balancer) opens(p *packet.Packet) bool {
	if !p.Is(packet.Keyed) || p.Verdict != packet.Continue {
		return false
	}
	switch p.Proto {
	case protoTCP, protoSCTP:
		return begins(p)
	case protoUDP:
		h, _ := b.find(p)
		return h == nil
	}
	return false
}
