package lb

import (
	"encoding/binary"

	"weir/internal/flow"
	"weir/internal/lb/forward"
	"weir/internal/packet"
	"weir/internal/wire"
)

// ICMP errors about connections between the families (RFC 7915, 4.2 and 5.2): the
// message becomes the other family's, and so does the packet that it quotes, whose
// transport header was put right already. Where it comes from in the network of the
// one family has no address in the other: it comes from where the connection's
// packets come from, so that its receiver believes it.

// errorTo4 makes an ICMPv6 error an ICMP one.
func (b *Balancer) errorTo4(p *packet.Packet, q *quote, r *forward.Rewritten) packet.Verdict {
	old, m := wire.IPv6(p.Data[p.L3:]), wire.ICMPv6(p.Data[p.L4:])
	var head [wire.IPv4MinLen + wire.ICMPv4Len + wire.IPv4MinLen]byte
	ip, e, quoted := wire.IPv4(head[:wire.IPv4MinLen]), wire.ICMPv4(head[wire.IPv4MinLen:wire.IPv4MinLen+wire.ICMPv4Len]), wire.IPv4(head[wire.IPv4MinLen+wire.ICMPv4Len:])
	if !kindTo4(e, m) {
		return p.DropFor(packet.ICMPUnwanted)
	}
	if m.Type() == wire.ICMPv6Unreachable || m.Type() == wire.ICMPv6TimeExceeded {
		p.Resize(q.l3 + withoutExtensions(m, 4, 8, len(p.Data)-q.l3, q.l4-q.l3))
	}
	was := wire.IPv6(p.Data[q.l3:])
	header4(quoted, was.TrafficClass(), int(was.PayloadLength())-(q.l4-q.l3-wire.IPv6Len), was.HopLimit(), q.proto, r.To(), r.From())
	quoted.SetFlagsFragment(wire.IPv4DontFragment)
	quoted.ComputeChecksum()
	front, at := int(p.L3), q.l4-int(p.L3)
	data := len(p.Data) - q.l4
	header4(ip, old.TrafficClass(), wire.ICMPv4Len+wire.IPv4MinLen+data, old.HopLimit()-1, protoICMP, r.From(), r.To())
	b.ident++
	ip.SetID(b.ident)
	ip.ComputeChecksum()
	splice(p, front, at, head[:]) // shorter: there is room
	p.EtherType, p.Proto, p.L4 = wire.EtherTypeIPv4, protoICMP, p.L3+wire.IPv4MinLen
	if p.Is(packet.Cut) {
		p.MTU -= grown // as it was counted for IPv6
	}
	wire.ICMPv4(p.Data[p.L4:]).ComputeChecksum()
	return packet.Output
}

// errorTo6 makes an ICMP error an ICMPv6 one.
func (b *Balancer) errorTo6(p *packet.Packet, q *quote, r *forward.Rewritten) packet.Verdict {
	old, m := wire.IPv4(p.Data[p.L3:]), wire.ICMPv4(p.Data[p.L4:])
	var head [wire.IPv6Len + wire.ICMPv6Len + wire.IPv6Len]byte
	ip, e, quoted := wire.IPv6(head[:wire.IPv6Len]), wire.ICMPv6(head[wire.IPv6Len:wire.IPv6Len+wire.ICMPv6Len]), wire.IPv6(head[wire.IPv6Len+wire.ICMPv6Len:])
	if !kindTo6(e, m, wire.IPv4(p.Data[q.l3:])) {
		return p.DropFor(packet.ICMPUnwanted)
	}
	p.Resize(q.l3 + withoutExtensions(m, 5, 4, len(p.Data)-q.l3, q.l4-q.l3)) // of ICMP, all errors alike
	was := wire.IPv4(p.Data[q.l3:])
	header6(quoted, was.TOS(), int(was.TotalLength())-was.HeaderLength(), was.TTL(), q.proto, r.To(), r.From())
	front, at := int(p.L3), q.l4-int(p.L3)
	// No error is longer than the least MTU (RFC 4443, 2.4 c).
	if most := wire.IPv6MinMTU - len(head); len(p.Data)-q.l4 > most {
		p.Resize(q.l4 + most)
	}
	header6(ip, old.TOS(), wire.ICMPv6Len+wire.IPv6Len+len(p.Data)-q.l4, old.TTL()-1, protoICMPv6, r.From(), r.To())
	if !splice(p, front, at, head[:]) {
		return p.DropFor(packet.IPTooBig)
	}
	p.EtherType, p.Proto, p.L4 = wire.EtherTypeIPv6, protoICMPv6, p.L3+wire.IPv6Len
	ip = wire.IPv6(p.Data[p.L3:])
	wire.ICMPv6(p.Data[p.L4:]).ComputeChecksum(ip.Src(), ip.Dst())
	return packet.Output
}

func header4(ip wire.IPv4, class uint8, payload int, ttl, proto uint8, src, dst flow.Addr) {
	ip.SetVersionIHL(wire.IPv4MinLen)
	ip.SetTOS(class)
	ip.SetTotalLength(uint16(wire.IPv4MinLen + payload))
	ip.SetTTL(ttl)
	ip.SetProtocol(proto)
	binary.LittleEndian.PutUint32(ip[12:16], src.V4())
	binary.LittleEndian.PutUint32(ip[16:20], dst.V4())
}

func header6(ip wire.IPv6, class uint8, payload int, ttl, proto uint8, src, dst flow.Addr) {
	ip.SetVersionClassFlow(class, 0)
	ip.SetPayloadLength(uint16(payload))
	ip.SetNextHeader(proto)
	ip.SetHopLimit(ttl)
	src.Put(ip[8:24])
	dst.Put(ip[24:40])
}
