package lb

import (
	"encoding/binary"

	"weir/internal/flow"
	"weir/internal/lb/forward"
	"weir/internal/packet"
	"weir/internal/wire"
)

// ICMP errors about packets in packets: a router between the director and a tunnel's
// real server quotes the outer one, and knows nobody but the director to tell. Who
// sent the inner one hears of it from the director (RFC 2003, 4; RFC 2473, 8), if the
// quote reaches to the inner one's ports. That what was sent was too big is
// remembered in any case: many routers quote 8 bytes behind the outer header, as
// RFC 792 has it, and the next packet is then refused here, with the right MTU.

// tunnelError handles an error that quotes a packet in a packet.
func (b *Balancer) tunnelError(p *packet.Packet, q *quote) packet.Verdict {
	if rt, ok := b.Tables.Routes.Lookup(q.src.IP()); !ok || !rt.Local() {
		return packet.Continue // another's tunnel, which we forward
	}
	if !errorWhole(p) {
		return p.DropFor(packet.ICMPMalformed)
	}
	outer := wire.IPv4MinLen
	if is6(p) {
		outer = wire.IPv6Len
	}
	if q.l4-q.l3 != outer || !b.Tables.Services.HasTunnel(q.dst) {
		return b.outerError(p)
	}
	why := blame(p)
	if why == packet.ICMPUnwanted {
		return p.DropFor(why)
	}
	whose := b.carries(p, q)
	if whose == packet.ICMPUnrelated {
		if b.Tables.Tunnels {
			return packet.OuterError
		}
		return p.DropFor(whose)
	}
	if why == packet.IPTooBig {
		mtu := toldMTU(p)
		if mtu >= q.whole(p) {
			return p.DropFor(packet.ICMPUnwanted) // what was quoted would fit
		}
		b.learnPath(q.dst, mtu)
		p.MTU = mtu - uint16(outer)
	}
	if whose != packet.NoReason {
		return p.DropFor(whose)
	}
	// What is left is the inner packet, as it was sent here but for its TTL: refusing
	// it tells its sender.
	splice(p, int(p.L3), q.l4-int(p.L3), nil)
	p.EtherType = wire.EtherTypeIPv4
	if q.proto == protoIPv6 {
		p.EtherType = wire.EtherTypeIPv6
	}
	return p.RefuseFor(why)
}

// outerError is about an error that quotes a packet in a packet, or in GRE, from an address
// of ours, and which is none of a real server's tunnel.
func (b *Balancer) outerError(p *packet.Packet) packet.Verdict {
	if b.Tables.Tunnels {
		return packet.OuterError
	}
	return p.PuntIf(b.twin(p), packet.ICMPUnrelated) // of a tunnel of Linux's, perhaps
}

// deviceError is tunnelError for GRE, which tunnel devices alone send.
func (b *Balancer) deviceError(q *quote) packet.Verdict {
	if rt, ok := b.Tables.Routes.Lookup(q.src.IP()); !ok || !rt.Local() || !b.Tables.Tunnels {
		return packet.Continue
	}
	return packet.OuterError
}

// blame is the reason under which the sender of the inner packet hears of an error.
// TTL is the client's own in the outer header too (encapsulate), and so traceroute
// sees the routers of a tunnel. What can't be reached is the VIP's real server,
// whatever it was that a router misses.
func blame(p *packet.Packet) packet.Reason {
	if is6(p) {
		switch m := wire.ICMPv6(p.Data[p.L4:]); {
		case m.Type() == wire.ICMPv6PacketTooBig:
			return packet.IPTooBig
		case m.Type() == wire.ICMPv6TimeExceeded && m.Code() == wire.ICMPv6HopLimitExceeded:
			return packet.IPTTL
		case m.Type() == wire.ICMPv6Unreachable, m.Type() == wire.ICMPv6ParameterProblem && m.Code() == wire.ICMPv6UnknownNext:
			return packet.LBTunnelUnreachable
		}
		return packet.ICMPUnwanted
	}
	switch m := wire.ICMPv4(p.Data[p.L4:]); {
	case m.Type() == wire.ICMPv4Unreachable && m.Code() == wire.ICMPv4FragNeeded:
		return packet.IPTooBig
	case m.Type() == wire.ICMPv4TimeExceeded && m.Code() == 0:
		return packet.IPTTL
	case m.Type() == wire.ICMPv4Unreachable:
		return packet.LBTunnelUnreachable
	}
	return packet.ICMPUnwanted
}

// toldMTU is what the router of a "too big" has room for.
func toldMTU(p *packet.Packet) uint16 {
	if is6(p) {
		return uint16(min(max(wire.ICMPv6(p.Data[p.L4:]).MTU(), wire.IPv6MinMTU), 65535))
	}
	mtu := wire.ICMPv4(p.Data[p.L4:]).NextHopMTU()
	if mtu == 0 {
		mtu = 576 // a router from before RFC 1191 (its section 5)
	}
	return max(mtu, leastPath)
}

// whole is how long a quoted packet was.
func (q *quote) whole(p *packet.Packet) uint16 {
	if is6(p) {
		return uint16(min(wire.IPv6(p.Data[q.l3:]).TotalLength(), 65535))
	}
	return wire.IPv4(p.Data[q.l3:]).TotalLength()
}

// carries finds out whose the inner packet is: NoReason if it is a connection's in
// this very tunnel, ICMPUnrelated if not, ICMPTunnel if the quote does not show it.
func (b *Balancer) carries(p *packet.Packet, q *quote) packet.Reason {
	in := quote{l3: q.l4}
	ip := p.Data[in.l3:]
	switch q.proto {
	case protoIPv6:
		if len(ip) < wire.IPv6Len {
			return packet.ICMPTunnel
		}
		chain, fault := wire.WalkIPv6(ip)
		if fault != wire.ChainOK || chain.IsLater() {
			return packet.ICMPTunnel
		}
		in.l4, in.proto = in.l3+int(chain.Offset), chain.Proto
		in.src, in.dst = flow.AddrAt(ip[8:24]), flow.AddrAt(ip[24:40])
	default:
		h := wire.IPv4(ip)
		if len(h) < wire.IPv4MinLen || h.FragmentOffset() != 0 {
			return packet.ICMPTunnel
		}
		in.l4, in.proto = in.l3+max(h.HeaderLength(), wire.IPv4MinLen), h.Protocol()
		in.src, in.dst = flow.V4(binary.LittleEndian.Uint32(h[12:16])), flow.V4(binary.LittleEndian.Uint32(h[16:20]))
	}
	if len(p.Data) < in.l4+8 {
		return packet.ICMPTunnel
	}
	ports := binary.LittleEndian.Uint32(p.Data[in.l4:])
	if svc := b.Tables.Services.Lookup(in.proto, in.dst, uint16(ports>>16)); svc != nil && svc.OnePacket {
		return packet.ICMPTunnel // it has no connections to know its clients by
	}
	f := flow.TupleOf(in.src, in.dst, uint16(ports), uint16(ports>>16), in.proto)
	h, key1 := b.flows.FindFlow(&f)
	if h == nil || key1&flow.FlagTunnel == 0 {
		return packet.ICMPUnrelated
	}
	var r forward.Rewritten
	if _, ok := b.load(h, key1, &r); !ok || r.To() != q.dst {
		return packet.ICMPUnrelated
	}
	return packet.NoReason
}
