package lb

import (
	"encoding/binary"
	"math/bits"

	"weir/internal/flow"
	"weir/internal/lb/forward"
	"weir/internal/packet"
	"weir/internal/wire"
)

// Packets that become the other family's (RFC 7915): NAT64 and NAT46 in full-NAT.
// Transport headers stay, with other ports, and a checksum that follows by the
// difference; IP options and extension headers go. What lies in front of the IP
// header is not taken along: the link header is written anew when the packet leaves.

// grown is by how much a packet that becomes IPv6 is longer.
const grown = wire.IPv6Len - wire.IPv4MinLen

// mayCut is the size up to which an IPv4 packet that was IPv6 may be fragmented on
// its way, for an IPv6 host need not go below 1280 bytes (RFC 7915, 5.1).
const mayCut = wire.IPv6MinMTU - grown

// fast64 is fast for IPv6 packets that become IPv4.
func (b *Balancer) fast64(p *packet.Packet, w *flow.Wide, key1 uint64) packet.Verdict {
	h := &w.Half
	pub := h.Load()
	if !h.Same(key1) {
		return p.DropFor(packet.LBLateRewrite)
	}
	ref := pub.NextHop
	hop, current := b.flows.Hops.Current(ref)
	if !current {
		r := forward.Rewritten{Addrs: pub.Addrs, How: forward.To4}
		if hop, ref = b.reroute(p, h, key1, &r); hop == nil {
			return p.DropFor(b.noWay(h, key1))
		}
	}
	d := p.Data[p.L3:]
	if d[7] <= 1 {
		return p.RefuseFor(packet.IPTTL)
	}
	if room := int(hop.MTU) + grown; len(d) > room && hop.MTU != 0 {
		if v := b.tooBig(p, d, room, 0, forward.To4); v != packet.Continue {
			return v
		}
	}
	b.count(h, key1, pub.Dest, len(d))
	if key1&flow.FlagReply != 0 && p.Proto == protoTCP {
		b.remember(p, h, d)
	}
	p.NextHop = ref
	if p.Flags&(packet.GSO|packet.Cut) != 0 || len(d) > mayCut+grown {
		return b.toIPv4(p, pub.Addrs, pub.Ports, pub.DeltaIP, pub.DeltaL4)
	}
	// What toIPv4 does, for a small packet without extension headers.
	b.ident++
	ip := (*[wire.IPv6Len + wire.UDPLen]byte)(d)
	was := binary.BigEndian.Uint64(ip[0:8])
	first := first64(was, uint16(len(d)-grown), uint32(bits.ReverseBytes16(b.ident)))
	put64((*[wire.IPv4MinLen]byte)(ip[grown:]), first, second64(first, was, p.Proto, pub.DeltaIP), pub.Addrs)
	l4 := d[wire.IPv6Len:]
	binary.LittleEndian.PutUint32(l4[0:4], pub.Ports)
	if !p.Is(packet.CsumPartial) {
		sum := l4[sumAt(p.Proto):]
		binary.LittleEndian.PutUint16(sum, forward.Moved(binary.LittleEndian.Uint16(sum), pub.DeltaL4))
	}
	p.TrimFront(grown)
	p.L4 = p.L3 + wire.IPv4MinLen
	p.EtherType = wire.EtherTypeIPv4
	return packet.Output
}

// fast46 is fast for IPv4 packets that become IPv6.
func (b *Balancer) fast46(p *packet.Packet, h *flow.Half, key1 uint64) packet.Verdict {
	pub := h.Load()
	dst, src := b.flows.Back(pub.Addrs).LoadKey()
	if !h.Same(key1) {
		return p.DropFor(packet.LBLateRewrite)
	}
	ref := pub.NextHop
	hop, current := b.flows.Hops.Current(ref)
	if !current {
		r := forward.Rewritten{Src: src, Dst: dst, How: forward.To6}
		if hop, ref = b.reroute(p, h, key1, &r); hop == nil {
			return p.DropFor(b.noWay(h, key1))
		}
	}
	d := p.Data[p.L3:]
	if d[8] <= 1 {
		return p.RefuseFor(packet.IPTTL)
	}
	if room := int(hop.MTU) - grown; len(d) > room && hop.MTU != 0 {
		if v := b.tooBig(p, d, room, 0, forward.To6); v != packet.Continue {
			return v
		}
	}
	b.count(h, key1, pub.Dest, len(d))
	if key1&flow.FlagReply != 0 && p.Proto == protoTCP {
		b.remember(p, h, d)
	}
	p.NextHop = ref
	l4, partial := d[wire.IPv4MinLen:], p.Is(packet.CsumPartial)
	sum := l4[sumAt(p.Proto):]
	was := binary.LittleEndian.Uint16(sum)
	if p.Flags&(packet.GSO|packet.Cut) != 0 || !partial && was == 0 || !p.Prepend(grown) {
		return toIPv6(p, src, dst, pub.Ports, pub.DeltaL4)
	}
	// What toIPv6 does, for a packet without options. d keeps its place.
	ip := (*[wire.IPv6Len]byte)(p.Data[p.L3:])
	binary.BigEndian.PutUint64(ip[0:8], 6<<60|uint64(d[1])<<52|uint64(len(d)-wire.IPv4MinLen)<<16|uint64(p.Proto)<<8|uint64(d[8]-1))
	src.Put(ip[8:24])
	dst.Put(ip[24:40])
	binary.LittleEndian.PutUint32(l4[0:4], pub.Ports)
	if !partial {
		binary.LittleEndian.PutUint16(sum, forward.Moved(was, pub.DeltaL4))
	}
	p.L4 = p.L3 + wire.IPv6Len
	p.EtherType = wire.EtherTypeIPv6
	return packet.Output
}

// toIPv4 makes an IPv6 packet an IPv4 one. same is the sum of what is the same in all
// headers (forward.Header4).
func (b *Balancer) toIPv4(p *packet.Packet, addrs uint64, ports uint32, same, deltaL4 uint16) packet.Verdict {
	d := p.Data[p.L3:]
	was := int(p.L4 - p.L3)
	forward.RewriteL4(d[was:], p.Proto, p.Is(packet.CsumPartial), ports, deltaL4)
	size := min(len(d)-was+wire.IPv4MinLen, 65535) // of a super-frame it counts for nothing
	id, fragment := uint16(0), wire.IPv4DontFragment>>8
	if size <= mayCut || p.Is(packet.Cut) {
		b.ident++
		id, fragment = bits.ReverseBytes16(b.ident), 0
	}
	w := binary.BigEndian.Uint64(d[0:8])
	first := first64(w, uint16(size), uint32(id)|uint32(fragment)<<16)
	put64((*[wire.IPv4MinLen]byte)(d[was-wire.IPv4MinLen:]), first, second64(first, w, p.Proto, same), addrs)
	p.TrimFront(was - wire.IPv4MinLen)
	p.L4 = p.L3 + wire.IPv4MinLen
	turned(p, wire.EtherTypeIPv4, wire.IPv4MinLen-was)
	return packet.Output
}

// The IPv4 header of a packet that was IPv6 is three words, read little-endian, here as
// functions small enough to be part of those who call them. was is the first word of
// the IPv6 header, read big-endian.

// first64 is what begins it: version, class, length, and cut, which is identification
// and flags as on the wire.
func first64(was uint64, size uint16, cut uint32) uint64 {
	return 0x45 | was>>44&0xff00 | uint64(bits.ReverseBytes16(size))<<16 | uint64(cut)<<32
}

// second64 is TTL, protocol and checksum; same is the sum of what is the same in all
// headers.
func second64(first, was uint64, proto uint8, same uint16) uint32 {
	ttl := uint32(uint8(was)) - 1
	s := uint32(same) + ttl + uint32(first)&0xff00 + uint32(first)>>16 + uint32(first>>32)&0xffff + uint32(first>>48)
	s = s&0xffff + s>>16
	s += s >> 16
	return ttl | uint32(proto)<<8 | uint32(^uint16(s))<<16
}

// put64 writes it.
func put64(ip *[wire.IPv4MinLen]byte, first uint64, second uint32, addrs uint64) {
	binary.LittleEndian.PutUint64(ip[0:8], first)
	binary.LittleEndian.PutUint32(ip[8:12], second)
	binary.LittleEndian.PutUint64(ip[12:20], addrs)
}

// toIPv6 makes an IPv4 packet an IPv6 one.
func toIPv6(p *packet.Packet, src, dst flow.Addr, ports uint32, deltaL4 uint16) packet.Verdict {
	d := p.Data[p.L3:]
	was := int(p.L4 - p.L3)
	if was > wire.IPv4MinLen && sourceRouted(wire.IPv4(d)) {
		return p.DropFor(packet.IPRouting)
	}
	class, ttl, payload := d[1], d[8]-1, uint16(len(d)-was)
	forward.RewriteL4(d[was:], p.Proto, p.Is(packet.CsumPartial), ports, deltaL4)
	switch n := wire.IPv6Len - was; {
	case n < 0:
		p.TrimFront(-n) // options of 24 bytes and more
	case !p.Prepend(n):
		return p.DropFor(packet.IPTooBig)
	}
	ip := (*[wire.IPv6Len]byte)(p.Data[p.L3:])
	binary.BigEndian.PutUint64(ip[0:8], 6<<60|uint64(class)<<52|uint64(payload)<<16|uint64(p.Proto)<<8|uint64(ttl))
	src.Put(ip[8:24])
	dst.Put(ip[24:40])
	p.L4 = p.L3 + wire.IPv6Len
	turned(p, wire.EtherTypeIPv6, wire.IPv6Len-was)
	if p.Proto == protoUDP && !p.Is(packet.CsumPartial) && wire.UDP(p.Data[p.L4:]).Checksum() == 0 {
		// Over IPv6 there must be one (RFC 8200, 8.1).
		wire.CompleteL4Over6(wire.IPv6(p.Data[p.L3:]))
	}
	return packet.Output
}

// sumAt is where the checksum of a TCP segment or UDP datagram lies in it.
func sumAt(proto uint8) int {
	if proto == protoTCP {
		return 16
	}
	return 6
}

// sourceRouted reports whether a packet shall go on elsewhere than where it is: that
// gets lost with its options (RFC 7915, 4.1).
func sourceRouted(ip wire.IPv4) bool {
	const loose, strict = 131, 137 // RFC 791, 3.1
	for o, rest, ok := wire.NextOption(ip.Options()); ok; o, rest, ok = wire.NextOption(rest) {
		if (o.Kind == loose || o.Kind == strict) && len(o.Raw) > 2 && int(o.Raw[2]) <= len(o.Raw) {
			return true
		}
	}
	return false
}

// turned says that a packet, whose header grew by n bytes, is of another family now.
func turned(p *packet.Packet, kind uint16, n int) {
	p.EtherType = kind
	if p.Flags&(packet.Cut|packet.GSO) == 0 {
		return
	}
	if p.Is(packet.Cut) {
		p.MTU = uint16(int(p.MTU) + n)
	}
	const kinds = packet.GSOTCPv4 ^ packet.GSOTCPv6
	if t := p.GSOType &^ packet.GSOECN; t == packet.GSOTCPv4 || t == packet.GSOTCPv6 {
		p.GSOType ^= kinds
	}
}
