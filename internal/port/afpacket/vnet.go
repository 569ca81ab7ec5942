package afpacket

import (
	"weir/internal/packet"
)

// vnetHeader is struct virtio_net_hdr, in front of every frame in both
// directions (PACKET_VNET_HDR). Its words are in the machine's byte order.
type vnetHeader struct {
	flags      uint8
	gsoType    uint8
	hdrLen     uint16 // of the headers that every segment gets
	gsoSize    uint16 // payload of a segment
	csumStart  uint16
	csumOffset uint16 // from csumStart
}

const (
	vnetLen       = 10
	vnetNeedsCsum = 1
)

// toPacket notes what the kernel says of a received frame.
func (v *vnetHeader) toPacket(p *packet.Packet) {
	if v.flags&vnetNeedsCsum != 0 {
		p.Flags |= packet.CsumPartial
	}
	if v.gsoType&^packet.GSOECN != packet.GSONone {
		p.Flags |= packet.GSO
		p.GSOType, p.GSOSize = v.gsoType, v.gsoSize
	}
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

// fromPacket tells the kernel what is left to do. It returns false for a packet
// whose flags and offsets don't fit together.
func (v *vnetHeader) fromPacket(p *packet.Packet) bool {
	*v = vnetHeader{}
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
