package lb

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"

	"weir/internal/flow"
	"weir/internal/lb/forward"
	"weir/internal/lb/laddr"
	"weir/internal/lb/proto"
	"weir/internal/lb/service"
	"weir/internal/packet"
	"weir/internal/wire"
)

// miss handles a packet of no known connection: it begins one, or is refused
// under the reason that fits best.
func (b *Balancer) miss(p *packet.Packet) packet.Verdict {
	// A slot on the way may have been in transit when we looked (flow.empty).
	if h, key1 := b.flows.Find(p.Key0, p.Key1, p.Hash); h != nil {
		return b.slow(p, h, key1)
	}
	vip := uint32(p.Key0 >> 32)
	svc := b.Tables.Services.Lookup(p.Proto, vip, uint16(p.Key1>>16))
	if svc == nil {
		switch {
		case b.Tables.Services.HasLocal(vip):
			return p.DropFor(packet.LBNoConn)
		case b.Tables.Services.HasVIP(vip):
			return p.DropFor(packet.LBNoService)
		}
		return packet.Continue
	}
	if p.Proto == protoTCP && p.TCPFlags&(tcpSYN|tcpACK|tcpRST|tcpFIN) != tcpSYN {
		if p.TCPFlags&(tcpACK|tcpRST|tcpSYN) == tcpACK {
			b.resetSender(p)
		}
		return p.DropFor(packet.LBNoConn)
	}
	return b.open(p, svc)
}

// open makes a connection for its first packet: real server, local address and
// port, the ways there and back, two half-flows. All of it happens here, once.
func (b *Balancer) open(p *packet.Packet, svc *service.Service) packet.Verdict {
	dest := choose(p, svc)
	if dest == nil {
		return p.DropFor(packet.LBNoDest)
	}
	if len(svc.Locals) == 0 {
		return p.DropFor(packet.LBNoLocalAddr)
	}
	toDest := b.hopTo(dest.Wire)
	if toDest == 0 {
		return p.DropFor(packet.LBNoRouteToDest)
	}
	if v := b.fits(p, p.Data[p.L3:], b.flows.Hops.At(toDest), false); v != packet.Continue {
		return v
	}
	back := b.hopBack(p)
	if back == 0 {
		return p.DropFor(packet.LBNoRouteBack)
	}
	b.makeRoom()
	pool := laddr.PoolOf(dest.Wire, service.WirePort(dest.Port))
	local, lent := b.takePort(svc, pool)
	if local == nil {
		return p.DropFor(packet.LBNoLocalPort)
	}
	e := forward.Ends{
		Proto: p.Proto, Client: uint32(p.Key0), Virtual: uint32(p.Key0 >> 32),
		ClientPort: uint16(p.Key1), VirtualPort: uint16(p.Key1 >> 16),
		Local: local.Wire, LocalPort: wirePort(lent.Port), Real: dest.Wire, RealPort: wirePort(dest.Port),
	}
	in, out := forward.FullNAT(&e)
	in.NextHop, out.NextHop = toDest, back
	n := flow.NewConn{Dest: dest.Index, Service: svc.State.Index, Local: local.Index, LocalPort: lent.Port, Pool: pool, OwnTimeout: svc.ConnTimeout}
	if p.Proto == protoUDP {
		in.Fast = svc.Tell == 0
		n.State = uint32(proto.UDPOneWay) | uint32(svc.Tell)
	} else {
		n.State = uint32(proto.TCPNone) | flow.ConnHalfOpen | uint32(svc.Tell)
		if lent.Recent {
			n.State |= flow.ConnNoTimestamp
			n.SeqDelta = b.newISN(&e, lent.Seen) - wire.TCP(p.Data[p.L4:]).Seq()
		}
	}
	n.Timeout = b.Tables.Timeouts.Of(proto.State(n.State&flow.ConnStateMask), svc.ConnTimeout)
	ci, err := b.own.Insert(&in, &out, &n, b.Now)
	if err != nil {
		local.Give(pool, lent.Port, b.Second, lent.Seen)
		switch err {
		case flow.ErrFull:
			return p.DropFor(packet.LBTableFull)
		case flow.ErrExists: // another worker was faster
			if h, key1 := b.flows.Find(p.Key0, p.Key1, p.Hash); h != nil {
				return b.slow(p, h, key1)
			}
		}
		return p.DropFor(packet.LBConnRace)
	}
	dest.Load.Inactive.Add(1)
	if p.Proto == protoTCP {
		b.sh.HalfOpen.Add(1)
		b.half.push(ci, uint32(b.Now))
	}
	b.foresee(svc, dest, pool, p.Proto)
	b.counts[dest.Index].Conns++
	b.stats.NewConns++
	h, key1 := b.flows.Find(p.Key0, p.Key1, p.Hash)
	if h == nil {
		return p.DropFor(packet.LBLateRewrite)
	}
	return b.slow(p, h, key1)
}

// takePort goes round the service's local addresses until one has a port in
// the real server's pool; it looks at 16 at most.
func (b *Balancer) takePort(svc *service.Service, pool uint8) (*laddr.Address, laddr.Lent) {
	n := len(svc.Locals)
	first := int(svc.State.Local.Add(1))
	for i := range min(n, 16) {
		a := svc.Locals[(first+i)%n]
		if lent, ok := a.Take(pool, b.Second); ok {
			return a, lent
		}
	}
	return nil, laddr.Lent{}
}

// foresee calls in the place where the next connection's outbound half-flow will
// lie, if it goes to the same real server: its tuple is known already, client or
// not. It is a guess, and costs nothing but a line of cache when it is wrong.
func (b *Balancer) foresee(svc *service.Service, dest *service.Dest, pool, protocol uint8) {
	a := svc.Locals[(int(svc.State.Local.Load())+1)%len(svc.Locals)]
	if port, ok := a.Peek(pool); ok {
		k0, k1 := flow.Tuple(dest.Wire, a.Wire, wirePort(dest.Port), wirePort(port), protocol)
		b.flows.Touch(k0, k1)
	}
}

// hopBack returns the way to the client of a new connection: by route, or where
// there is none, to the machine its first packet came from.
func (b *Balancer) hopBack(p *packet.Packet) flow.NextHopRef {
	if ref := b.hopTo(uint32(p.Key0)); ref != 0 {
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
		return expected + beyond + uint32(b.flows.Hash(uint64(e.Local)<<32|uint64(e.Real), uint64(e.LocalPort)))&0xffff
	}
	var m [44]byte
	copy(m[:32], b.sh.Secret[:])
	binary.LittleEndian.PutUint32(m[32:], e.Local)
	binary.LittleEndian.PutUint32(m[36:], e.Real)
	binary.LittleEndian.PutUint16(m[40:], e.LocalPort)
	binary.LittleEndian.PutUint16(m[42:], e.RealPort)
	h := sha256.Sum256(m[:])
	return binary.LittleEndian.Uint32(h[:]) + uint32(b.Nanos>>6)
}

func addrOf(w uint32) netip.Addr { return netip.AddrFrom4(be32(w)) }
