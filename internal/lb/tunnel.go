package lb

import (
	"encoding/binary"

	"weir/internal/flow"
	"weir/internal/lb/forward"
	"weir/internal/packet"
	"weir/internal/wire"
)

// IP protocol numbers of a packet in a packet (RFC 2003, 2473, 4213).
const (
	protoIPIP = 4
	protoIPv6 = 41
)

// encapsulate puts a packet into another one, of either family (RFC 2003, RFC 2473,
// RFC 4213): TTL goes down by one, as it does for everything that is forwarded, and
// TTL, TOS and DF are copied to the outer header. A checksum that is still open is
// completed, for no device would find it in there; a super-frame's are when it is
// cut up.
func encapsulate(p *packet.Packet, r *forward.Rewritten) packet.Verdict {
	if !p.Is(packet.GSO) && !completed(p) {
		return p.DropFor(packet.L4Malformed)
	}
	if r.How == forward.In6 && r.Src == (flow.Addr{}) {
		return p.DropFor(packet.LBNoTunnelFrom)
	}
	in := carried(p)
	inside := len(p.Data) - int(p.L3)
	n := wire.IPv4MinLen
	if r.How == forward.In6 {
		n = wire.IPv6Len
	}
	if !p.Prepend(n) { // the link header is written anew when the packet leaves
		return p.DropFor(packet.IPTooBig)
	}
	p.L4 += uint16(n)
	p.Flags |= packet.Encapsulated
	if p.Is(packet.Cut) && in.proto == protoIPv6 && inside <= wire.IPv6MinMTU {
		// Nobody but its sender makes fragments of it: they are made of what it travels in.
		p.Flags &^= packet.Encapsulated
		p.MTU += uint16(n)
		in.dontFragment = 0
	}
	if r.How == forward.In6 {
		p.EtherType = wire.EtherTypeIPv6
		outer := wire.IPv6(p.Data[p.L3:])
		outer.SetVersionClassFlow(in.class, label(p))
		outer.SetPayloadLength(uint16(min(len(outer)-wire.IPv6Len, 65535))) // of a super-frame it counts for nothing
		outer.SetNextHeader(in.proto)
		outer.SetHopLimit(in.ttl)
		r.Src.Put(outer[8:24])
		r.Dst.Put(outer[24:40])
		return packet.Output
	}
	p.EtherType = wire.EtherTypeIPv4
	outer := wire.IPv4(p.Data[p.L3:])
	outer.SetVersionIHL(wire.IPv4MinLen)
	outer.SetTOS(in.class)
	outer.SetTotalLength(uint16(min(len(outer), 65535))) // likewise
	outer.SetID(in.id)
	outer.SetFlagsFragment(in.dontFragment)
	outer.SetTTL(in.ttl)
	outer.SetProtocol(in.proto)
	binary.LittleEndian.PutUint64(outer[12:20], r.Addrs)
	outer.ComputeChecksum()
	return packet.Output
}

// label is the flow label of what a packet travels in: it keeps a connection on one
// way, and connections apart (RFC 6438). An ICMP error has none.
func label(p *packet.Packet) uint32 {
	if !p.Is(packet.Keyed) {
		return 0
	}
	return uint32(p.Hash >> 32)
}

// inner is what the outer header of a packet in a packet takes from it.
type inner struct {
	class, ttl, proto uint8
	id, dontFragment  uint16
}

// carried lowers the TTL of a packet and returns what the outer header takes.
func carried(p *packet.Packet) inner {
	if is6(p) {
		ip := wire.IPv6(p.Data[p.L3:])
		ip.SetHopLimit(ip.HopLimit() - 1)
		// Nobody fragments an IPv6 packet on its way, nor what it travels in.
		return inner{class: ip.TrafficClass(), ttl: ip.HopLimit(), proto: protoIPv6, dontFragment: wire.IPv4DontFragment}
	}
	ip := wire.IPv4(p.Data[p.L3:])
	ip.SetTTL(ip.TTL() - 1)
	ip.ComputeChecksum()
	return inner{class: ip.TOS(), ttl: ip.TTL(), proto: protoIPIP, id: ip.ID(), dontFragment: ip.FlagsFragment() & wire.IPv4DontFragment}
}
