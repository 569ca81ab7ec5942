package tunnel

import (
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/wire"
)

// maxFront is the longest that goes in front of a packet: IPv6 and all of GRE.
const maxFront = wire.IPv6Len + wire.GREMaxLen

// header is a device's outer header as far as it is the same for all packets.
type header struct {
	bytes [maxFront]byte
	ip, n int // length of the IP header, and with GRE
}

func (h *header) make(d *Device) {
	h.n = d.Overhead()
	h.ip = wire.IPv4MinLen
	if !d.From.IsValid() || !d.Remote.IsValid() || d.From.Is4() != d.Remote.Is4() {
		return // it only receives
	}
	if d.is6() {
		h.ip = wire.IPv6Len
		ip := wire.IPv6(h.bytes[:])
		ip.SetVersionClassFlow(d.TOS&^ecnMask, 0)
		ip.SetHopLimit(d.TTL)
		ip.SetSrc(d.From.As16())
		ip.SetDst(d.Remote.As16())
		ip.SetNextHeader(wire.ProtoGRE)
		return
	}
	ip := wire.IPv4(h.bytes[:])
	ip.SetVersionIHL(wire.IPv4MinLen)
	ip.SetTOS(d.TOS &^ ecnMask)
	ip.SetFlagsFragment(wire.IPv4DontFragment)
	ip.SetTTL(d.TTL)
	ip.SetProtocol(wire.ProtoGRE)
	ip.SetSrc(d.From.As4())
	ip.SetDst(d.Remote.As4())
}

// Numbers reports whether a device numbers what it sends, so that one worker alone is to
// send by it.
func (s *Stage) Numbers(id uint16) bool {
	d := s.table.Of(id)
	return d != nil && d.Out&Sequence != 0
}

// Output puts a packet that is to leave by a device, p.Out, into the device's headers,
// in the place of its link header, and gives it the next hop on the way to the other
// end: Output, with Tunnelled set. Its checksums are complete, and it is no super-frame.
//
// TTL is the device's or the inner packet's, TOS likewise; the inner ECN mark is the
// outer one's too (RFC 6040, 4.1). The outer packet must not be fragmented on its way:
// a router that can't carry it tells so, which Error learns from. Whether the inner
// packet fits was seen to where it was routed, by the MTU of its next hop; what is
// longer all the same, because nobody need make IPv6 packets shorter than 1280 bytes,
// is sent in fragments of the outer one.
func (s *Stage) Output(p *packet.Packet) packet.Verdict {
	d := s.table.Of(p.Out)
	if d == nil || s.ports[p.Out%port.Max].Down {
		return p.DropFor(packet.PortDown)
	}
	switch {
	case !d.Remote.IsValid():
		return p.DropFor(packet.TunnelNoRemote)
	case d.Way.Loops:
		return p.DropFor(packet.TunnelLoop)
	case !d.Way.Hop.IsValid():
		return p.DropFor(packet.TunnelNoRoute)
	}
	inner := p.Data[p.L3:]
	class, ttl, kind, proto := inner[1], wire.IPv4(inner).TTL(), wire.EtherTypeIPv4, wire.ProtoIPIP
	if inner[0]>>4 == 6 {
		class, ttl, kind, proto = wire.IPv6(inner).TrafficClass(), wire.IPv6(inner).HopLimit(), wire.EtherTypeIPv6, wire.ProtoIPv6
	}
	label := uint32(0) // keeps a connection on one way, and connections apart (RFC 6438)
	if p.Is(packet.Keyed) {
		label = uint32(p.Hash >> 32)
	}
	count := &s.counts[d.Port%port.Max]
	count.TxPackets++
	count.TxBytes += uint64(len(p.Data))
	p.TrimFront(int(p.L3))
	if !p.Prepend(d.front.n) {
		return p.DropFor(packet.IPTooBig)
	}
	copy(p.Data[:d.front.ip], d.front.bytes[:d.front.ip])
	if d.Kind == GRE {
		proto = wire.ProtoGRE
		var number uint32
		if d.Out&Sequence != 0 {
			number = d.State.sent.Add(1) - 1
		}
		wire.GRE(p.Data[d.front.ip:]).Put(d.Out, kind, d.OutKey, number)
	}
	p.L3, p.L4, p.Proto = 0, uint16(d.front.ip), proto
	p.Flags = packet.Tunnelled
	p.NextHop = s.hops.Get(d.Way.Port, d.Way.Hop, s.ports[d.Way.Port%port.Max].MAC, uint16(min(d.Way.MTU, 65535)))
	if p.NextHop == 0 {
		return p.DropFor(packet.NeighTableFull)
	}
	class &= d.classMask()
	if d.is6() {
		s.finish6(p, d, class, ttl, label)
	} else {
		s.finish4(p, d, class, ttl)
	}
	return packet.Output
}

// classMask is what of an inner packet's TOS goes to the outer header.
func (d *Device) classMask() uint8 {
	if d.TOS&1 != 0 {
		return 0xff
	}
	return ecnMask
}

func (s *Stage) finish4(p *packet.Packet, d *Device, class, ttl uint8) {
	p.EtherType = wire.EtherTypeIPv4
	ip := wire.IPv4(p.Data)
	if d.TOS&1 == 0 {
		class |= d.TOS &^ ecnMask
	}
	ip.SetTOS(class)
	ip.SetTotalLength(uint16(len(ip)))
	ip.SetProtocol(p.Proto)
	if d.TTL == 0 {
		ip.SetTTL(ttl)
	}
	if room := s.room(d); len(ip) > room && p.CutTo(room, false) {
		ip.SetFlagsFragment(0)
	}
	ip.ComputeChecksum()
}

func (s *Stage) finish6(p *packet.Packet, d *Device, class, ttl uint8, label uint32) {
	p.EtherType = wire.EtherTypeIPv6
	ip := wire.IPv6(p.Data)
	if d.TOS&1 == 0 {
		class |= d.TOS &^ ecnMask
	}
	ip.SetVersionClassFlow(class, label&wire.IPv6FlowMask)
	ip.SetPayloadLength(uint16(len(ip) - wire.IPv6Len))
	ip.SetNextHeader(p.Proto)
	if d.TTL == 0 {
		ip.SetHopLimit(ttl)
	}
	if room := s.room(d); len(ip) > room {
		p.CutTo(room, false)
	}
}

// room is how long an outer packet may be: what the way there takes, or is known to.
func (s *Stage) room(d *Device) int {
	room := d.Way.MTU
	if known := s.hops.PathOf(d.Port); known != 0 {
		room = min(room, int(known)+d.front.n)
	}
	return room
}
