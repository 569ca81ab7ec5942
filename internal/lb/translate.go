package lb

import (
	"encoding/binary"

	"weir/internal/lb/forward"
	"weir/internal/packet"
	"weir/internal/wire"
)

// Packets that become the other family's (RFC 7915): NAT64 and NAT46 in full-NAT.
// Transport headers stay, with other ports, and a checksum that follows by the
// difference; IP options and extension headers go.

// atomicMax is the size up to which an IPv4 packet that was IPv6 may be fragmented on
// its way, for an IPv6 host need not go below 1280 bytes (RFC 7915, 5.1).
const atomicMax = wire.IPv6MinMTU - (wire.IPv6Len - wire.IPv4MinLen)

// toIPv4 makes an IPv6 packet an IPv4 one.
func (b *Balancer) toIPv4(p *packet.Packet, r *forward.Rewritten) packet.Verdict {
	old := wire.IPv6(p.Data[p.L3:])
	was := int(p.L4 - p.L3)
	r.ApplyL4(old[was:], p.Proto, p.Is(packet.CsumPartial))
	var head [wire.IPv4MinLen]byte
	ip := wire.IPv4(head[:])
	size := len(old) - was + wire.IPv4MinLen
	ip.SetVersionIHL(wire.IPv4MinLen)
	ip.SetTOS(old.TrafficClass())
	ip.SetTotalLength(uint16(min(size, 65535))) // of a super-frame it counts for nothing
	if size > atomicMax && !p.Is(packet.Cut) {
		ip.SetFlagsFragment(wire.IPv4DontFragment)
	} else {
		b.ident++
		ip.SetID(b.ident)
	}
	ip.SetTTL(old.HopLimit() - 1)
	ip.SetProtocol(p.Proto)
	binary.LittleEndian.PutUint64(head[12:20], r.Addrs)
	ip.ComputeChecksum()
	splice(p, int(p.L3), was, head[:]) // shorter: there is room
	turned(p, wire.EtherTypeIPv4, wire.IPv4MinLen-was)
	return packet.Output
}

// toIPv6 makes an IPv4 packet an IPv6 one.
func toIPv6(p *packet.Packet, r *forward.Rewritten) packet.Verdict {
	old := wire.IPv4(p.Data[p.L3:])
	was := int(p.L4 - p.L3)
	if was > wire.IPv4MinLen && sourceRouted(old) {
		return p.DropFor(packet.IPRouting)
	}
	r.ApplyL4(old[was:], p.Proto, p.Is(packet.CsumPartial))
	var head [wire.IPv6Len]byte
	ip := wire.IPv6(head[:])
	ip.SetVersionClassFlow(old.TOS(), 0)
	ip.SetPayloadLength(uint16(len(old) - was))
	ip.SetNextHeader(p.Proto)
	ip.SetHopLimit(old.TTL() - 1)
	r.Src.Put(head[8:24])
	r.Dst.Put(head[24:40])
	if !splice(p, int(p.L3), was, head[:]) {
		return p.DropFor(packet.IPTooBig)
	}
	turned(p, wire.EtherTypeIPv6, wire.IPv6Len-was)
	if p.Proto == protoUDP && !p.Is(packet.CsumPartial) && wire.UDP(p.Data[p.L4:]).Checksum() == 0 {
		// Over IPv6 there must be one (RFC 8200, 8.1).
		wire.CompleteL4Over6(wire.IPv6(p.Data[p.L3:]))
	}
	return packet.Output
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
	p.L4 = uint16(int(p.L4) + n)
	if p.Is(packet.Cut) {
		p.MTU = uint16(int(p.MTU) + n)
	}
	const kinds = packet.GSOTCPv4 ^ packet.GSOTCPv6
	if t := p.GSOType &^ packet.GSOECN; t == packet.GSOTCPv4 || t == packet.GSOTCPv6 {
		p.GSOType ^= kinds
	}
}
