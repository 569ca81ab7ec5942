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
	r := forward.Rewritten{Addrs: pub.Addrs, Ports: pub.Ports, DeltaIP: pub.DeltaIP, DeltaL4: pub.DeltaL4, How: forward.To4}
	ref := pub.NextHop
	hop, current := b.flows.Hops.Current(ref)
	if !current {
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
	b.count(p, h, key1, pub.Dest, d)
	p.NextHop = ref
	return b.toIPv4(p, &r)
}

// fast46 is fast for IPv4 packets that become IPv6.
func (b *Balancer) fast46(p *packet.Packet, h *flow.Half, key1 uint64) packet.Verdict {
	pub := h.Load()
	r := forward.Rewritten{Ports: pub.Ports, DeltaL4: pub.DeltaL4, How: forward.To6}
	r.Src, r.Dst = b.flows.Gets(h, key1)
	if !h.Same(key1) {
		return p.DropFor(packet.LBLateRewrite)
	}
	ref := pub.NextHop
	hop, current := b.flows.Hops.Current(ref)
	if !current {
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
	b.count(p, h, key1, pub.Dest, d)
	p.NextHop = ref
	return toIPv6(p, &r)
}

// toIPv4 makes an IPv6 packet an IPv4 one. DeltaIP is the sum of what is the same in
// all headers (forward.Header4).
func (b *Balancer) toIPv4(p *packet.Packet, r *forward.Rewritten) packet.Verdict {
	d := p.Data[p.L3:]
	was := int(p.L4 - p.L3)
	r.ApplyL4(d[was:], p.Proto, p.Is(packet.CsumPartial))
	first := binary.BigEndian.Uint32(d[0:4])
	class, ttl := uint8(first>>20), d[7]-1
	size := len(d) - was + wire.IPv4MinLen
	length := bits.ReverseBytes16(uint16(min(size, 65535))) // of a super-frame it counts for nothing
	id, fragment := uint16(0), uint16(wire.IPv4DontFragment>>8)
	if size <= mayCut || p.Is(packet.Cut) {
		b.ident++
		id, fragment = b.ident, 0
	}
	p.TrimFront(was - wire.IPv4MinLen)
	ip := (*[wire.IPv4MinLen]byte)(p.Data[p.L3:])
	s := uint32(r.DeltaIP) + uint32(class)<<8 + uint32(length) + uint32(id) + uint32(fragment) + uint32(ttl)
	s = s&0xffff + s>>16
	s += s >> 16
	binary.LittleEndian.PutUint64(ip[0:8], 0x45|uint64(class)<<8|uint64(length)<<16|uint64(id)<<32|uint64(fragment)<<48)
	binary.LittleEndian.PutUint32(ip[8:12], uint32(ttl)|uint32(p.Proto)<<8|uint32(^uint16(s))<<16)
	binary.LittleEndian.PutUint64(ip[12:20], r.Addrs)
	p.L4 = p.L3 + wire.IPv4MinLen
	turned(p, wire.EtherTypeIPv4, wire.IPv4MinLen-was)
	return packet.Output
}

// toIPv6 makes an IPv4 packet an IPv6 one.
func toIPv6(p *packet.Packet, r *forward.Rewritten) packet.Verdict {
	d := p.Data[p.L3:]
	was := int(p.L4 - p.L3)
	class, ttl, payload := d[1], d[8]-1, uint16(len(d)-was)
	r.ApplyL4(d[was:], p.Proto, p.Is(packet.CsumPartial))
	switch n := wire.IPv6Len - was; {
	case n < 0:
		p.TrimFront(-n) // options of 24 bytes and more
	case !p.Prepend(n):
		return p.DropFor(packet.IPTooBig)
	}
	ip := (*[wire.IPv6Len]byte)(p.Data[p.L3:])
	binary.BigEndian.PutUint64(ip[0:8], 6<<60|uint64(class)<<52|uint64(payload)<<16|uint64(p.Proto)<<8|uint64(ttl))
	r.Src.Put(ip[8:24])
	r.Dst.Put(ip[24:40])
	p.L4 = p.L3 + wire.IPv6Len
	turned(p, wire.EtherTypeIPv6, wire.IPv6Len-was)
	if p.Proto == protoUDP && !p.Is(packet.CsumPartial) && wire.UDP(p.Data[p.L4:]).Checksum() == 0 {
		// Over IPv6 there must be one (RFC 8200, 8.1).
		wire.CompleteL4Over6(wire.IPv6(p.Data[p.L3:]))
	}
	return packet.Output
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
