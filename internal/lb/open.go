package lb

import (
	"crypto/sha256"
	"encoding/binary"
	"sync/atomic"
	"unsafe"

	"weir/internal/flow"
	"weir/internal/lb/forward"
	"weir/internal/lb/laddr"
	"weir/internal/lb/proto"
	"weir/internal/lb/service"
	"weir/internal/lb/template"
	"weir/internal/packet"
	"weir/internal/spec"
	"weir/internal/wire"
)

// miss handles a packet of no known connection: it begins one, or is refused
// under the reason that fits best.
func (b *Balancer) miss(p *packet.Packet) packet.Verdict {
	if b.flows.Workers() > 1 {
		// A slot on the way may have been in transit when we looked (flow.empty).
		if h, key1 := b.find(p); h != nil {
			return b.slow(p, h, key1)
		}
	}
	if p.Proto == protoICMP || p.Proto == protoICMPv6 {
		return b.outward(p)
	}
	client, vip := ends(p)
	svc := b.Tables.Services.Lookup(p.Proto, vip, uint16(p.Key1>>16))
	if svc == nil {
		switch {
		case b.Tables.Services.HasLocal(vip):
			return p.PuntIf(b.twin(p), packet.LBNoConn)
		case b.Tables.Services.HasVIP(vip):
			if why := b.defended(p, packet.LBNoService); why != packet.LBNoService {
				return p.DropFor(why)
			}
			return p.PuntIf(b.twin(p), packet.LBNoService)
		}
		return b.outward(p)
	}
	if why := svc.Lists.Check(client); why != packet.NoReason {
		return p.DropFor(why)
	}
	if (p.Proto == protoTCP || p.Proto == protoSCTP) && !begins(p) && !b.mayTakeOver(p, svc) {
		v := b.refuseMiddle(p)
		p.Reason = b.defended(p, p.Reason)
		return v
	}
	if svc.OnePacket {
		return b.onePacket(p, svc)
	}
	h, key1, v := b.open(p, svc)
	if h == nil {
		return v
	}
	return b.slow(p, h, key1)
}

// twin reports whether the port that p came in on has a Linux twin that is up: what the
// balancer has no use for is Linux's, which may listen there.
func (b *Balancer) twin(p *packet.Packet) bool { return b.ports[p.In].Twin }

// Serves reports whether the balancer has a use for packets to p's destination: a
// service or a local address.
func (b *Balancer) Serves(p *packet.Packet) bool {
	_, dst := endsOf(p)
	return b.Tables.Services.HasVIP(dst) || b.Tables.Services.HasLocal(dst)
}

// defended is the reason to drop what a VIP gets and does not serve: otherwise, or
// that dpvs.conf says so.
func (b *Balancer) defended(p *packet.Packet, otherwise packet.Reason) packet.Reason {
	switch {
	case p.Proto == protoTCP && b.Tables.DefenceTCP:
		return packet.LBDefenceTCP
	case p.Proto == protoUDP && b.Tables.DefenceUDP:
		return packet.LBDefenceUDP
	}
	return otherwise
}

// opening is a connection that is about to be made.
type opening struct {
	ends    forward.Ends
	in, out flow.Flow
	oneWay  bool // there is no outbound half
	conn    flow.NewConn
	local   *laddr.Address // what full-NAT borrows, and its port
	lent    laddr.Lent
	counted *service.Dest // nil: its real server does not count it yet
}

// open makes a connection for its first packet: real server, what the forwarding
// mode borrows, the ways there and back, the half-flows. All of it happens here, once.
// It returns the inbound half-flow, which has not seen the packet yet; else the verdict.
func (b *Balancer) open(p *packet.Packet, svc *service.Service) (*flow.Half, uint64, packet.Verdict) {
	if b.foreseen.burst != nil {
		b.foresee(p, svc)
	}
	var o opening
	var dest *service.Dest
	var mode spec.Forward
	held := template.None
	if e := b.foreseen.chosenFor(p); e != nil {
		dest, mode, o.conn.Near = e.dest, e.mode, e.near
		if e.booked {
			o.counted = dest
		}
		if e.local != nil {
			o.local, o.lent, o.conn.Pool = e.local, e.lent, e.pool
		}
	} else if dest, mode, held = b.choose(p, svc); dest == nil {
		if p.Proto == protoTCP && !begins(p) {
			return nil, 0, b.refuseMiddle(p)
		}
		return nil, 0, p.DropFor(packet.LBNoDest)
	}
	o.begin(p, svc, dest, held)
	if v := b.ways(p, &o, svc, dest, mode); v != packet.Continue {
		b.release(&o)
		return nil, 0, v
	}
	b.makeRoom()
	if why := b.shape(p, &o, svc, dest, mode); why != packet.NoReason {
		b.release(&o)
		return nil, 0, p.DropFor(why)
	}
	return b.enter(p, &o, svc, dest)
}

// enter makes the connection, and returns the half-flow that its first packet goes by.
func (b *Balancer) enter(p *packet.Packet, o *opening, svc *service.Service, dest *service.Dest) (*flow.Half, uint64, packet.Verdict) {
	switch p.Proto {
	case protoTCP:
		o.conn.State |= flow.ConnHalfOpen
		if begins(p) {
			// The state that the SYN leads to, so that the wheel begins with its timeout.
			d := proto.Inbound
			if o.oneWay {
				d = proto.OneWay
			}
			o.conn.State |= uint32(proto.NextTCP(proto.TCPNone, p.TCPFlags, d))
		}
	case protoSCTP:
		o.conn.State |= uint32(proto.SCTPNone) | flow.ConnHalfOpen
	default:
		o.in.Fast = o.conn.State&^flow.ConnOneWay == 0
		o.conn.State |= uint32(proto.UDPOneWay)
	}
	o.conn.Timeout = b.Tables.Timeouts.Of(proto.State(o.conn.State&flow.ConnStateMask), svc.ConnTimeout)
	out := &o.out
	if o.oneWay {
		out = nil
	}
	ci, err := b.own.Insert(&o.in, out, &o.conn, b.Now)
	if err != nil {
		b.giveBack(o)
		switch err {
		case flow.ErrFull:
			return nil, 0, p.DropFor(packet.LBTableFull)
		case flow.ErrExists: // another worker was faster
			if h, key1 := b.find(p); h != nil {
				return h, key1, packet.Continue
			}
			if o.local == nil && !o.oneWay {
				return nil, 0, p.DropFor(packet.LBNATClash)
			}
		}
		return nil, 0, p.DropFor(packet.LBConnRace)
	}
	if o.counted == nil {
		b.add(&dest.Load.Inactive, 1)
	}
	if o.conn.State&flow.ConnHalfOpen != 0 {
		b.sh.HalfOpen.add(b.own.ID(), 1)
		b.half.push(ci, uint32(b.Now))
	}
	b.accounts.of(dest.Index).conns++
	b.stats.NewConns++
	if p.Proto == protoTCP && !begins(p) {
		b.stats.TakenOver++
	}
	h := b.flows.Half(atomic.LoadUint32(&b.flows.Conn(ci).In))
	key1 := atomic.LoadUint64(&h.Key1)
	if !flow.Matches(key1, p.Key1) {
		return nil, 0, p.DropFor(packet.LBLateRewrite) // it ended already
	}
	return h, key1, packet.Continue
}

// ways finds the way to the real server and, where answers come by here, the way
// back; the packet has to fit the one there. It is Continue when all is well.
func (b *Balancer) ways(p *packet.Packet, o *opening, svc *service.Service, dest *service.Dest, mode spec.Forward) packet.Verdict {
	if mode == spec.FullNAT && len(svc.Locals[service.Family(dest.Wire)]) == 0 {
		return p.DropFor(packet.LBNoLocalAddr)
	}
	if o.in.NextHop = b.hopToDest(dest); o.in.NextHop == 0 {
		return p.DropFor(packet.LBNoRouteToDest)
	}
	how, room := wayOf(o.ends.Client.Is4(), dest.Wire.Is4(), mode), int(b.flows.Hops.At(o.in.NextHop).MTU)
	if mode == spec.Tunnel {
		room = b.pathTo(dest.Wire, room)
	}
	if v := b.fits(p, room, how, 0); v != packet.Continue {
		return v
	}
	if linkLocal(o.ends.Client) && mode != spec.FullNAT && (mode != spec.DirectRoute || b.flows.Hops.At(o.in.NextHop).Port != p.In) {
		// A real server on another link could not answer it, and must not see it.
		return p.DropFor(packet.IPScope)
	}
	if o.oneWay = mode == spec.DirectRoute || mode == spec.Tunnel; o.oneWay {
		return packet.Continue
	}
	if o.out.NextHop = b.hopBack(p); o.out.NextHop == 0 {
		return p.DropFor(packet.LBNoRouteBack)
	}
	return packet.Continue
}

// wayOf is what becomes of a client's packets to a real server.
func wayOf(from4, to4 bool, mode spec.Forward) forward.How {
	var key1 uint64
	if from4 != to4 {
		key1 |= flow.FlagCross
	}
	if mode == spec.Tunnel {
		key1 |= flow.FlagTunnel
	}
	return forward.HowOf(!from4, key1)
}

// shape makes the half-flows of a forwarding mode. Full-NAT takes a local port for
// them; the others borrow nothing, and leave the client's address where it is.
func (b *Balancer) shape(p *packet.Packet, o *opening, svc *service.Service, dest *service.Dest, mode spec.Forward) packet.Reason {
	there, back := o.in.NextHop, o.out.NextHop
	switch mode {
	case spec.DirectRoute:
		if !b.onLink(dest.Wire) {
			return packet.LBDestNotOnLink
		}
		o.in = forward.Direct(&o.ends)
	case spec.Tunnel:
		from := b.tunnelFrom(dest.Wire)
		if from == (flow.Addr{}) {
			return packet.LBNoTunnelFrom
		}
		o.in = forward.Tunnel(&o.ends, from)
	case spec.Masq:
		o.in, o.out = forward.NAT(&o.ends)
	case spec.FullNAT:
		pool := laddr.PoolOf(dest.Wire, o.ends.RealPort)
		if o.local == nil { // else it was chosen ahead
			if o.local, o.lent = b.takePort(svc, dest, pool); o.local == nil {
				return packet.LBNoLocalPort
			}
		}
		o.ends.Local, o.ends.LocalPort = o.local.Wire, wirePort(o.lent.Port)
		forward.FullNATInto(&o.ends, &o.in, &o.out)
		o.conn.Local, o.conn.LocalPort, o.conn.Pool = o.local.Index, o.lent.Port, pool
		o.conn.State = uint32(svc.Tell)
		if p.Proto == protoTCP && o.lent.Recent {
			o.conn.State |= flow.ConnNoTimestamp
			o.conn.SeqDelta = b.newISN(&o.ends, o.lent.Seen) - wire.TCP(p.Data[p.L4:]).Seq()
		}
	default: // the others are not shaped here
	}
	if o.oneWay {
		o.conn.State |= flow.ConnOneWay
	}
	o.in.NextHop, o.out.NextHop = there, back
	return packet.NoReason
}

// onLink reports whether a real server is a neighbour: the route to it has no
// gateway, and no tunnel, which has no MACs.
func (b *Balancer) onLink(real flow.Addr) bool {
	rt, ok := b.Tables.Routes.Lookup(real.IP())
	return ok && !rt.Gateway.IsValid() && !b.ports[rt.Port].PointToPoint
}

// tunnelFrom is the address that tunnelled packets to a real server come from: the
// route's src, or the one to speak from on its port; the zero Addr if there is none but VIPs.
func (b *Balancer) tunnelFrom(real flow.Addr) flow.Addr {
	dst := real.IP()
	rt, ok := b.Tables.Routes.Lookup(dst)
	if !ok {
		return flow.Addr{}
	}
	src := rt.Src
	if !src.IsValid() {
		src = b.Tables.Routes.Source(rt.Port, dst)
	}
	from := flow.AddrOf(src)
	// Never a VIP: the real server has it too, and drops what comes from itself. An
	// address that is better may be tentative for a second yet.
	if src.Is4() != dst.Is4() || b.Tables.Services.HasVIP(from) {
		return flow.Addr{}
	}
	return from
}

// takePort goes round the service's local addresses of the real server's family
// until one has a port in its pool; it looks at maxLocals at most.
func (b *Balancer) takePort(svc *service.Service, dest *service.Dest, pool uint8) (*laddr.Address, laddr.Lent) {
	locals := svc.Locals[service.Family(dest.Wire)]
	n := len(locals)
	first := int(b.turn(svc, 1))
	for i := range min(n, maxLocals) {
		a := locals[(first+i)%n]
		if lent, ok := a.Take(pool, b.Second); ok {
			return a, lent
		}
	}
	return nil, laddr.Lent{}
}

// maxLocals is how many local addresses are tried for a connection.
const maxLocals = 16

// turn moves a service's local addresses on by n.
func (b *Balancer) turn(svc *service.Service, n int32) uint32 {
	at := &svc.State.Local
	if b.flows.Workers() > 1 {
		return at.Add(uint32(n))
	}
	flow.Bump32((*int32)(unsafe.Pointer(at)), n)
	return at.Load()
}

// hopBack returns the way to the client of a new connection: by route, or where
// there is none, to the machine its first packet came from.
func (b *Balancer) hopBack(p *packet.Packet) flow.NextHopRef {
	src, _ := ends(p)
	if ref := b.hopTo(src); ref != 0 {
		return ref
	}
	in := &b.ports[p.In]
	return b.flows.Hops.Back(p.In, wire.Ethernet(p.Data).Source(), in.MAC, uint16(in.MTU))
}

// newISN is the initial sequence number of a connection whose local port the
// real server may still remember. A server in TIME_WAIT takes a SYN only beyond
// what it expected of the former connection (RFC 9293, 3.6.1; RFC 6191): expected,
// if that is known, else a number that grows with time, 64 ns a step (RFC 6528).
func (b *Balancer) newISN(e *forward.Ends, expected uint32) uint32 {
	if expected != 0 {
		const beyond = 1 << 17 // any window the former connection can have had open
		return expected + beyond + uint32(b.flows.Hash(e.Local.Lo^e.Real.Lo^e.Local.Hi^e.Real.Hi, uint64(e.LocalPort)))&0xffff
	}
	var m [68]byte
	copy(m[:32], b.sh.Secret[:])
	e.Local.Put(m[32:])
	e.Real.Put(m[48:])
	binary.LittleEndian.PutUint16(m[64:], e.LocalPort)
	binary.LittleEndian.PutUint16(m[66:], e.RealPort)
	h := sha256.Sum256(m[:])
	return binary.LittleEndian.Uint32(h[:]) + uint32(b.Nanos>>6)
}
