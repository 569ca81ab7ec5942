package lb

import (
	"weir/internal/flow"
	"weir/internal/lb/forward"
	"weir/internal/lb/laddr"
	"weir/internal/lb/service"
	"weir/internal/lb/template"
	"weir/internal/packet"
	"weir/internal/spec"
	"weir/internal/wire"
)

// outward handles a packet that no service with a virtual address is for: if it
// leads out of this box and a match service covers it, an inside host begins a
// connection with one of the service's WAN addresses (SNAT). All else is none of
// the balancer's business.
func (b *Balancer) outward(p *packet.Packet) packet.Verdict {
	if !b.Tables.Services.Matching() {
		return packet.Continue
	}
	src, dst := ends(p)
	if linkLocal(src) {
		return packet.Continue // a router's packets have no such source
	}
	rt, ok := b.Tables.Routes.Lookup(dst.IP())
	if !ok || rt.Local() {
		return packet.Continue
	}
	svc := b.Tables.Services.Match(&service.Outward{
		Proto: p.Proto, Src: src, Dst: dst,
		SrcPort: uint16(p.Key1), DstPort: uint16(p.Key1 >> 16), In: p.In, Out: rt.Port,
	})
	if svc == nil {
		return packet.Continue
	}
	if (p.Proto == protoTCP || p.Proto == protoSCTP) && !begins(p) {
		return b.refuseMiddle(p)
	}
	if !is6(p) && p.Proto == protoICMP && wire.ICMPv4(p.Data[p.L4:]).Type() != wire.ICMPv4EchoRequest ||
		is6(p) && p.Proto == protoICMPv6 && wire.ICMPv6(p.Data[p.L4:]).Type() != wire.ICMPv6EchoRequest {
		return packet.Continue // an answer to nobody
	}
	o := opening{ends: forward.Ends{
		Proto: p.Proto, Client: src, Virtual: dst,
		ClientPort: uint16(p.Key1), VirtualPort: uint16(p.Key1 >> 16),
	}}
	there := b.hopTo(o.ends.Virtual)
	if there == 0 {
		return p.DropFor(packet.LBNoRouteToDest)
	}
	if v := b.fits(p, int(b.flows.Hops.At(there).MTU), wayOf(src.Is4(), src.Is4(), spec.SNAT), 0); v != packet.Continue {
		return v
	}
	back := b.hopBack(p)
	if back == 0 {
		return p.DropFor(packet.LBNoRouteBack)
	}
	b.makeRoom()
	o.conn = flow.NewConn{Template: template.None, OwnTimeout: svc.ConnTimeout}
	var dest *service.Dest
	var why packet.Reason
	if svc.Mapped {
		dest, why = b.borrowMapped(p, &o, svc)
	} else {
		dest, why = b.borrow(p, &o, svc)
	}
	if dest == nil {
		return p.DropFor(why)
	}
	o.ends.Local, o.ends.LocalPort = o.local.Wire, wirePort(o.lent.Port)
	o.in, o.out = forward.SNAT(&o.ends)
	o.in.NextHop, o.out.NextHop = there, back
	o.conn.Dest, o.conn.Local, o.conn.LocalPort = dest.Index, o.local.Index, o.lent.Port
	if p.Proto == protoTCP && o.lent.Recent {
		o.conn.State |= flow.ConnNoTimestamp
		o.conn.SeqDelta = b.newISN(&o.ends, o.lent.Seen) - wire.TCP(p.Data[p.L4:]).Seq()
	}
	h, key1, v := b.enter(p, &o, svc, dest)
	if h == nil {
		return v
	}
	return b.slow(p, h, key1)
}

// borrow takes a WAN address and a port for a connection, which is its own toward the
// remote end alone. There is a reason if there is no real server.
func (b *Balancer) borrow(p *packet.Packet, o *opening, svc *service.Service) (*service.Dest, packet.Reason) {
	dest, _ := schedule(p, svc)
	if dest == nil {
		return nil, packet.LBNoDest
	}
	o.conn.Pool = laddr.PoolOf(o.ends.Virtual, o.ends.VirtualPort)
	why := b.takeWAN(o, dest)
	if why != packet.NoReason {
		return nil, why
	}
	return dest, why
}

// takeWAN takes a port of a WAN address, from the pool that the connection has.
func (b *Balancer) takeWAN(o *opening, dest *service.Dest) packet.Reason {
	if o.local = dest.WAN.Load(); o.local == nil {
		return packet.LBNoLocalAddr
	}
	var ok bool
	if o.lent, ok = o.local.Take(o.conn.Pool, b.Second); !ok {
		return packet.LBNoLocalPort
	}
	return packet.NoReason
}

// begins reports whether a TCP segment or SCTP packet may begin a connection.
func begins(p *packet.Packet) bool {
	if p.Proto == protoSCTP {
		return beginsSCTP(p)
	}
	return p.TCPFlags&(tcpSYN|tcpACK|tcpRST|tcpFIN) == tcpSYN
}

// refuseMiddle drops a segment or SCTP packet out of the middle of no known
// connection. Who sends a plain ACK hears that there is none.
func (b *Balancer) refuseMiddle(p *packet.Packet) packet.Verdict {
	if p.TCPFlags&(tcpACK|tcpRST|tcpSYN) == tcpACK {
		b.resetSender(p)
	}
	return p.DropFor(packet.LBNoConn)
}
