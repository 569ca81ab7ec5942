package port

import (
	"encoding/binary"

	"weir/internal/packet"
	"weir/internal/wire"
)

// VnetHeader is struct virtio_net_hdr, in front of every frame in both
// directions (PACKET_VNET_HDR of packet sockets, IFF_VNET_HDR of a TAP). Its words
// are in the machine's byte order. It is worker-owned.
type VnetHeader struct {
	flags      uint8
	gsoType    uint8
	hdrLen     uint16 // of the headers that every segment gets
	gsoSize    uint16 // payload of a segment
	csumStart  uint16
	csumOffset uint16 // from csumStart
}

// VnetLen is a VnetHeader's length in bytes.
const VnetLen = 10

const vnetNeedsCsum = 1

// ToPacket notes what the kernel says of a received frame, which is as it came: its
// VLAN tags are where they were when the kernel wrote the header. A checksum that
// is not of the outermost TCP or UDP header (of a tunnel's inner packet, say) has no
// flag that tells of it, and is completed here.
func (v *VnetHeader) ToPacket(p *packet.Packet) {
	gso := v.gsoType&^packet.GSOECN != packet.GSONone
	if gso {
		p.Flags |= packet.GSO
		p.GSOType, p.GSOSize = v.gsoType, v.gsoSize
	}
	switch {
	case v.flags&vnetNeedsCsum == 0:
	case gso || v.outermost(p.Data):
		p.Flags |= packet.CsumPartial
	default:
		v.complete(p.Data)
	}
}

// outermost reports whether the checksum is that of the TCP or UDP header right
// behind the frame's IP header.
func (v *VnetHeader) outermost(frame []byte) bool {
	at, proto := transport(frame)
	if at != int(v.csumStart) {
		return false
	}
	return proto == protoTCP && v.csumOffset == tcpChecksum || proto == protoUDP && v.csumOffset == udpChecksum
}

// complete computes the checksum, over what already holds the pseudo-header's sum.
func (v *VnetHeader) complete(frame []byte) {
	start, field := int(v.csumStart), int(v.csumStart)+int(v.csumOffset)
	if field+2 > len(frame) {
		return // the kernel would not have it so
	}
	sum := wire.Checksum(frame[start:], 0)
	if sum == 0 {
		sum = 0xffff // the same in one's complement; 0 means none in UDP (RFC 768)
	}
	binary.BigEndian.PutUint16(frame[field:], sum)
}

// Ethernet, with at most two VLAN tags, and IP headers as far as the transport
// header's place.
const (
	etherLen  = 14
	typeAt    = 12
	tagLen    = 4
	typeIPv4  = 0x0800
	typeIPv6  = 0x86dd
	typeVLAN  = 0x8100
	typeQinQ  = 0x88a8
	ipv4Least = 20
	ipv6Len   = 40
)

// transport returns where the header behind a frame's IP header begins, and its
// protocol; 0 where there is none. Of IPv6 that is the first extension header.
func transport(frame []byte) (at int, proto uint8) {
	if len(frame) < etherLen {
		return 0, 0
	}
	at = etherLen
	kind := binary.BigEndian.Uint16(frame[typeAt:])
	for tags := 0; tags < 2 && (kind == typeVLAN || kind == typeQinQ) && len(frame) >= at+tagLen; tags++ {
		kind = binary.BigEndian.Uint16(frame[at+2:])
		at += tagLen
	}
	switch {
	case kind == typeIPv4 && len(frame) >= at+ipv4Least:
		return at + int(frame[at]&15)*4, frame[at+9]
	case kind == typeIPv6 && len(frame) >= at+ipv6Len:
		return at + ipv6Len, frame[at+6]
	}
	return 0, 0
}

// IP protocols whose checksums the kernel can complete, and where their
// checksum lies.
const (
	protoTCP = 6
	protoUDP = 17

	tcpHeader   = 20 // without options
	tcpChecksum = 16
	tcpOffset   = 12 // the byte with the header's length
	udpChecksum = 6
	udpHeader   = 8
)

// FromPacket tells the kernel what is left to do. It returns false for a packet
// whose flags and offsets don't fit together.
func (v *VnetHeader) FromPacket(p *packet.Packet) bool {
	*v = VnetHeader{}
	if p.Flags&(packet.CsumPartial|packet.GSO) == 0 {
		return true
	}
	headers := int(p.L4)
	var checksum uint16
	switch p.Proto {
	case protoTCP:
		if len(p.Data) < headers+tcpHeader {
			return false
		}
		checksum = tcpChecksum
		headers += max(int(p.Data[headers+tcpOffset]>>4)*4, tcpHeader)
	case protoUDP:
		checksum = udpChecksum
		headers += udpHeader
	default:
		return false
	}
	if p.L4 == 0 || len(p.Data) < headers {
		return false
	}
	if p.Is(packet.CsumPartial) {
		v.flags, v.csumStart, v.csumOffset = vnetNeedsCsum, p.L4, checksum
	}
	if p.Is(packet.GSO) {
		v.gsoType, v.gsoSize, v.hdrLen = p.GSOType, p.GSOSize, uint16(headers)
	}
	return true
}
