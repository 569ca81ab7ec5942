package lb

import (
	"weir/internal/flow"
	"weir/internal/lb/laddr"
	"weir/internal/lb/service"
	"weir/internal/packet"
	"weir/internal/spec"
)

// A new connection's outbound half-flow lies where nobody looked before, and one packet at a
// time would wait for each. So connections that a burst begins are opened in two steps. Its
// first one has real servers and local ports chosen for all of them, in the order of their
// packets, and calls in the places that follow from that. When a packet's own turn comes, the
// rest is done with what was chosen for it. Who does not come for it after all, since another
// worker was faster, has it given back at the end of the burst.

// foreseen is what is chosen for the packets of a burst.
type foreseen struct {
	burst []*packet.Packet // that is on its way; nil: none is, or it was gone through already
	ahead flow.Ahead
	n     int // choices
	next  int // of them, the one whose packet is expected next
	left  int // that nobody came for yet
	known [256 / 64]uint64
	of    [maxForeseen]chosen
}

// chosen is what a packet will begin its connection with.
type chosen struct {
	packet *packet.Packet // nil: it came
	hash   uint64
	dest   *service.Dest
	mode   spec.Forward
	booked bool // dest counts the connection as inactive already
	pool   uint8
	lent   laddr.Lent
	local  *laddr.Address // nil: nothing was taken
	near   bool           // the place of its outbound half-flow was called in
}

const maxForeseen = 64

// Expect tells the packets that Input will get, of which the first one that begins a
// connection is worth a look at the others; nil: none. What was chosen for packets of the
// burst before is given back.
func (b *Balancer) Expect(burst []*packet.Packet) {
	f := &b.foreseen
	if f.left > 0 {
		b.giveUp()
	}
	f.burst, f.n, f.next = burst, 0, 0
}

// giveUp gives back what nobody came for.
func (b *Balancer) giveUp() {
	f := &b.foreseen
	for i := range f.of[:f.n] {
		e := &f.of[i]
		if e.packet == nil {
			continue
		}
		e.packet = nil
		if e.booked {
			b.add(&e.dest.Load.Inactive, -1)
		}
		if e.local != nil {
			e.local.Return(e.pool, e.lent, b.Second)
		}
	}
	f.left = 0
}

// foresee chooses for the packets of a burst, from one on that begins a connection to svc,
// those that will begin one to the same service. A persistent client's choice is by what
// those before it did, and a one-packet service's makes no connection of the two.
func (b *Balancer) foresee(p *packet.Packet, svc *service.Service) {
	f := &b.foreseen
	burst := f.burst
	f.burst = nil
	for len(burst) > 0 && burst[0] != p {
		burst = burst[1:]
	}
	if len(burst) < 2 || svc.Persistent != 0 || svc.OnePacket {
		return
	}
	f.known = [len(f.known)]uint64{}
	for i, q := range burst {
		if q == nil || i > 0 && !b.likewise(p, q, svc) {
			continue
		}
		goes := ttl(q) > 1
		if f.knows(q, goes) {
			continue // it will find what the first one made
		}
		e := &f.of[f.n]
		if e.dest, e.mode = schedule(q, svc); e.dest == nil {
			break
		}
		e.packet, e.hash, e.local, e.near, e.booked = q, q.Hash, nil, false, goes
		f.n++
		f.left++
		if goes { // else nothing is made for it
			b.add(&e.dest.Load.Inactive, 1)
			if !b.callIn(q, e, svc) {
				break
			}
		}
		if f.n == maxForeseen {
			break
		}
	}
	f.ahead.Fetch()
}

// callIn takes the local port that a connection will want, if its mode wants one, and calls
// in the place of its outbound half-flow. It reports false if there is no port: whoever comes
// later must not get one that this connection may find free in its turn.
func (b *Balancer) callIn(q *packet.Packet, e *chosen, svc *service.Service) bool {
	real := service.WirePort(e.dest.Port)
	if e.dest.Port == 0 {
		real = uint16(q.Key1 >> 16)
	}
	switch e.mode {
	case spec.FullNAT:
		e.pool = laddr.PoolOf(e.dest.Wire, real)
		if e.local, e.lent = b.tryPort(svc, e.dest, e.pool); e.local == nil {
			return false
		}
		e.near = true
		b.foreseen.ahead.AddTuple(b.flows, e.dest.Wire, e.local.Wire, real, wirePort(e.lent.Port), q.Proto)
	case spec.Masq:
		if src, _ := ends(q); src.Is4() == e.dest.Wire.Is4() {
			e.near = true
			b.foreseen.ahead.AddTuple(b.flows, e.dest.Wire, src, real, uint16(q.Key1), q.Proto)
		}
	default: // of the others nothing is called in
	}
	return true
}

// tryPort is takePort for who asks again if there is none: that does not count then.
func (b *Balancer) tryPort(svc *service.Service, dest *service.Dest, pool uint8) (*laddr.Address, laddr.Lent) {
	locals := svc.Locals[service.Family(dest.Wire)]
	n := len(locals)
	if n == 0 {
		return nil, laddr.Lent{}
	}
	at := int(b.turn(svc, 1)) % n
	for i := range min(n, maxLocals) {
		if lent, ok := locals[at].Try(pool, b.Second); ok {
			for j := range i {
				locals[(at+n-1-j)%n].Miss()
			}
			return locals[at], lent
		}
		if at++; at == n {
			at = 0
		}
	}
	b.turn(svc, -1)
	return nil, laddr.Lent{}
}

// likewise reports whether a packet will begin a connection to svc, as p does.
func (b *Balancer) likewise(p, q *packet.Packet, svc *service.Service) bool {
	if q.Proto != p.Proto || uint16(q.Key1>>16) != uint16(p.Key1>>16) || q.EtherType != p.EtherType || !q.Is(packet.Keyed) || q.Verdict != packet.Continue {
		return false
	}
	if q.Proto != protoUDP && !begins(q) {
		return false
	}
	client, vip := ends(q)
	if _, to := ends(p); vip != to || svc.Lists.Check(client) != packet.NoReason {
		return false
	}
	h, _ := b.find(q)
	return h == nil
}

// knows reports whether a connection will be made of the tuple of a packet before it comes,
// and notes that one will be by it.
func (f *foreseen) knows(q *packet.Packet, makes bool) bool {
	w, bit := &f.known[q.Hash>>6%uint64(len(f.known))], uint64(1)<<(q.Hash%64)
	if *w&bit != 0 {
		for i := range f.of[:f.n] {
			if e := &f.of[i]; e.hash == q.Hash && e.booked {
				return true // or looks like it, which costs it no more than a look ahead
			}
		}
	}
	if makes {
		*w |= bit
	}
	return false
}

// chosenFor returns what was chosen for a packet, which comes for it now, or nil.
func (f *foreseen) chosenFor(p *packet.Packet) *chosen {
	for i := f.next; i < f.n; i++ {
		if e := &f.of[i]; e.packet == p && e.hash == p.Hash {
			e.packet = nil
			f.next = i + 1
			f.left--
			return e
		}
	}
	return nil
}
