package punt

import (
	"encoding/binary"

	"weir/internal/packet"
	"weir/internal/wire"
)

// settle makes a packet's checksum one that a TAP can hand on: open, with flags and
// offsets that say where, or complete. partial: frames come in on the port whose
// checksum was never completed, and nobody said so.
func settle(p *packet.Packet, partial bool) bool {
	const open = packet.CsumPartial | packet.GSO
	if p.Flags&open == 0 && (!partial || p.Is(packet.Keyed)) {
		return true // or it was looked at
	}
	h := headersOf(p.Data)
	if h.l4 == 0 {
		return p.Flags&open == 0 // no transport header, so none with a checksum
	}
	if p.Flags&open == 0 && !h.isPartial(p.Data) {
		return true
	}
	p.L3, p.L4, p.Proto = h.l3, h.l4, h.proto
	if h.proto == wire.ProtoSCTP { // a CRC, which no vnet header tells of
		p.Flags &^= packet.CsumPartial
		return h.complete(p.Data)
	}
	if p.Flags&open == 0 {
		p.Flags |= packet.CsumPartial
	}
	return h.proto == wire.ProtoTCP || h.proto == wire.ProtoUDP
}

// Sent prepares a frame that Linux sent on a twin for the wire of its port: it leaves
// as it is, but for what Linux left to its device, a checksum or cutting it up. It
// says why that can't be.
func Sent(p *packet.Packet) packet.Reason {
	if len(p.Data) < wire.EthernetLen {
		return packet.EtherShort
	}
	p.Out = p.In
	p.Flags |= packet.Linux
	if p.Flags&(packet.CsumPartial|packet.GSO) == 0 {
		return packet.NoReason
	}
	h := headersOf(p.Data)
	if h.l4 == 0 {
		return packet.L4Malformed
	}
	p.L3, p.L4, p.Proto = h.l3, h.l4, h.proto
	return packet.NoReason
}

// headers is where a frame's headers begin, and what its transport is: l4 is 0 if it
// has none, or not all of it.
type headers struct {
	l3, l4 uint16
	proto  uint8
	six    bool
}

// maxTags is how many VLAN tags a frame may have: 802.1ad and 802.1Q.
const maxTags = 2

func headersOf(frame []byte) (h headers) {
	if len(frame) < wire.EthernetLen {
		return h
	}
	at, kind := wire.EthernetLen, wire.Ethernet(frame).EtherType()
	for tags := 0; tags < maxTags && (kind == wire.EtherTypeVLAN || kind == wire.EtherTypeQinQ) && len(frame) >= at+4; tags++ {
		kind = binary.BigEndian.Uint16(frame[at+2:])
		at += 4
	}
	h.l3 = uint16(at)
	switch d := frame[at:]; {
	case kind == wire.EtherTypeIPv4 && len(d) >= wire.IPv4MinLen:
		ip := wire.IPv4(d)
		if n := ip.HeaderLength(); ip.Version() == 4 && n >= wire.IPv4MinLen && n <= len(d) && !ip.IsFragment() {
			h.l4, h.proto = h.l3+uint16(n), ip.Protocol()
		}
	case kind == wire.EtherTypeIPv6 && len(d) >= wire.IPv6Len:
		ip := wire.IPv6(d)
		if c, fault := wire.WalkIPv6(ip); ip.Version() == 6 && fault == wire.ChainOK && !c.IsFragment() {
			h.l4, h.proto, h.six = h.l3+c.Offset, c.Proto, true
		}
	}
	return h
}

// isPartial reports whether the checksum is open: only the pseudo-header's sum, or of
// SCTP nothing.
func (h *headers) isPartial(frame []byte) bool {
	ip := frame[h.l3:]
	switch {
	case h.proto == wire.ProtoSCTP:
		l4 := frame[h.l4:]
		return len(l4) >= wire.SCTPMinLen && wire.SCTP(l4).Checksum() == 0
	case h.proto != wire.ProtoTCP && h.proto != wire.ProtoUDP:
		return false
	case h.six:
		return wire.IsPartialL4Over6(ip)
	}
	return wire.IsPartialL4(ip)
}

func (h *headers) complete(frame []byte) bool {
	if h.six {
		return wire.CompleteL4Over6(frame[h.l3:])
	}
	return wire.CompleteL4(frame[h.l3:])
}
