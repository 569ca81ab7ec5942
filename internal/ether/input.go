package ether

import (
	"encoding/binary"

	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/wire"
)

// groupBit marks multicast and broadcast addresses: the first bit on the wire.
const groupBit = 1

// Ethertypes as they come out of a little-endian load.
const (
	leIPv4 = wire.EtherTypeIPv4>>8 | wire.EtherTypeIPv4&0xff<<8
	leARP  = wire.EtherTypeARP>>8 | wire.EtherTypeARP&0xff<<8
	leIPv6 = wire.EtherTypeIPv6>>8 | wire.EtherTypeIPv6&0xff<<8
	leVLAN = wire.EtherTypeVLAN>>8 | wire.EtherTypeVLAN&0xff<<8
	leQinQ = wire.EtherTypeQinQ>>8 | wire.EtherTypeQinQ&0xff<<8
)

// Input reads the Ethernet header of a frame that came in on p.In: is it for us,
// and what does it carry? It sets L3, EtherType, and the flags Broadcast and
// Multicast. What carries neither IP nor ARP is for Linux, if it wants it.
func (l *Link) Input(p *packet.Packet) packet.Verdict {
	if len(p.Data) < wire.EthernetLen {
		return p.DropFor(packet.EtherShort)
	}
	h := (*[wire.EthernetLen]byte)(p.Data)
	first := binary.LittleEndian.Uint64(h[0:8])
	dst := first & macMask
	src := first>>48 | uint64(binary.LittleEndian.Uint32(h[8:12]))<<16
	own := l.macs[p.In%port.Max]

	if dst != own {
		switch {
		case dst&groupBit == 0:
			return p.DropFor(packet.EtherOtherHost)
		case dst == macMask:
			p.Flags |= packet.Broadcast
		default:
			p.Flags |= packet.Multicast
		}
	}
	if src == own {
		return p.DropFor(packet.EtherLoop)
	}
	p.L3 = wire.EthernetLen
	switch binary.LittleEndian.Uint16(h[12:14]) {
	case leIPv4:
		p.EtherType = wire.EtherTypeIPv4
		return packet.Continue
	case leARP:
		p.EtherType = wire.EtherTypeARP
		return packet.Neighbour
	case leIPv6:
		p.EtherType = wire.EtherTypeIPv6
		return packet.Continue
	case leVLAN, leQinQ:
		return l.tagged(p)
	}
	return l.strange(p, packet.EtherType)
}

// strange gives a frame that nobody here reads to the port's twin, or drops it.
func (l *Link) strange(p *packet.Packet, why packet.Reason) packet.Verdict {
	if l.ports[p.In%port.Max].Twin {
		return p.PuntFor(why)
	}
	return p.DropFor(why)
}
