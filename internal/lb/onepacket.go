package lb

import (
	"weir/internal/clock"
	"weir/internal/flow"
	"weir/internal/lb/forward"
	"weir/internal/lb/laddr"
	"weir/internal/lb/proto"
	"weir/internal/lb/service"
	"weir/internal/lb/template"
	"weir/internal/packet"
	"weir/internal/spec"
)

// answerWait is how long an answer to a datagram of a one-packet service may take:
// its way back, in full-NAT with a local port, is kept for so long.
const answerWait = 5 * clock.PerSecond

// onePacket forwards a datagram of a service that schedules every one anew (--ops).
// There is no inbound half-flow, so that the next one comes here again. With DR and
// Tunnel nothing is kept at all.
func (b *Balancer) onePacket(p *packet.Packet, svc *service.Service) packet.Verdict {
	dest, mode := schedule(p, svc)
	if dest == nil {
		return p.DropFor(packet.LBNoDest)
	}
	var o opening
	o.begin(p, svc, dest, template.None)
	if v := b.ways(p, &o, svc, dest, mode); v != packet.Continue {
		return v
	}
	if why := b.shape(p, &o, svc, dest, mode); why != packet.NoReason {
		return p.DropFor(why)
	}
	if !o.oneWay {
		if why := b.awaitAnswer(&o, dest, mode); why != packet.NoReason {
			return p.DropFor(why)
		}
	}
	if optioned(p) {
		b.blankUOA(p)
	}
	d := p.Data[p.L3:]
	t := b.accounts.of(dest.Index)
	t.conns++
	t.add(0, uint64(len(d)))
	p.NextHop = o.in.NextHop
	r := forward.Rewritten{
		Addrs: o.in.NewAddrs, Ports: o.in.NewPorts, DeltaIP: o.in.DeltaIP, DeltaL4: o.in.DeltaL4,
		Src: o.in.NewSrc, Dst: o.in.NewDst, How: wayOf(o.ends.Client.Is4(), dest.Wire.Is4(), mode),
	}
	return b.become(p, &r)
}

// awaitAnswer makes a connection of the outbound half alone. In NAT the one of an
// earlier datagram of the same client port to the same real server does as well.
func (b *Balancer) awaitAnswer(o *opening, dest *service.Dest, mode spec.Forward) packet.Reason {
	n := &o.conn
	if n.OwnTimeout == 0 {
		n.OwnTimeout = uint32(answerWait)
	}
	n.State |= uint32(proto.UDPOneWay)
	n.Timeout = n.OwnTimeout
	var keeper *flow.Flow
	if o.out.Cross && !o.out.Wide {
		keeper = keeps(o)
	}
	_, err := b.own.Insert(&o.out, keeper, n, b.Now)
	if err == nil {
		b.add(&dest.Load.Inactive, 1)
		b.stats.NewConns++
		return packet.NoReason
	}
	b.giveBack(o)
	switch {
	case err == flow.ErrFull:
		return packet.LBTableFull
	case err == flow.ErrExists && mode == spec.Masq:
		h, key1 := b.flows.FindFlow(&o.out)
		if h == nil {
			break
		}
		var r forward.Rewritten
		if _, ok := b.load(h, key1, &r); !ok {
			break
		}
		if r.Addrs != o.out.NewAddrs || r.Src != o.out.NewSrc || r.Dst != o.out.NewDst || r.Ports != o.out.NewPorts {
			return packet.LBNATClash
		}
		h.Last = uint32(b.Now)
		return packet.NoReason
	}
	return packet.LBConnRace
}

// keeps is the half-flow in which an answer of IPv4 finds the addresses of its IPv6
// client. No packet bears its tuple: it is not that of the client's datagrams, which
// are all scheduled anew, but the local port's, under a protocol that is none.
func keeps(o *opening) *flow.Flow {
	const none = 255 // reserved (IANA)
	f := flow.TupleOf(o.ends.Client, o.ends.Virtual, o.ends.LocalPort, uint16(o.conn.Local<<4)|uint16(o.conn.Pool), none)
	return &f
}

// giveBack returns what a connection borrowed that is not made after all, since somebody
// else has its tuple: its port counts as used.
func (b *Balancer) giveBack(o *opening) {
	o.lent.Recent = true
	b.release(o)
}

// release returns what a connection borrowed that was not even tried.
func (b *Balancer) release(o *opening) {
	if o.counted != nil {
		b.add(&o.counted.Load.Inactive, -1)
		o.counted = nil
	}
	if o.conn.Pool >= laddr.Pools {
		b.unmap(o.conn.Template, o.conn.Pool, o.lent.Seen)
		return
	}
	if o.local != nil {
		o.local.Return(o.conn.Pool, o.lent, b.Second)
	}
	b.letGo(o.conn.Template)
}

// begin begins a connection to a real server. One without a port of its own is
// asked at the client's.
func (o *opening) begin(p *packet.Packet, svc *service.Service, dest *service.Dest, held uint32) {
	e := &o.ends
	e.Proto, e.ClientPort, e.VirtualPort = p.Proto, uint16(p.Key1), uint16(p.Key1>>16)
	e.Client, e.Virtual = ends(p)
	e.Real, e.RealPort = dest.Wire, wirePort(dest.Port)
	if dest.Port == 0 {
		e.RealPort = e.VirtualPort
	}
	n := &o.conn
	n.Dest, n.Template, n.Local, n.OwnTimeout = dest.Index, held, laddr.None, svc.ConnTimeout
}
