package wire

import "encoding/binary"

// IPv6 is an IPv6 header and what follows it (RFC 8200, 3).
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-------+---------------+---------------------------------------+
//	|Version| Traffic Class |              Flow Label               |
//	+-------+---------------+-------+---------------+---------------+
//	|        Payload Length         |  Next Header  |   Hop Limit   |
//	+-------------------------------+---------------+---------------+
//	|                                                               |
//	+                                                               +
//	|                         Source Address                        |
//	+                                                               +
//	|                                                               |
//	+                                                               +
//	|                                                               |
//	+---------------------------------------------------------------+
//	|                                                               |
//	+                                                               +
//	|                      Destination Address                      |
//	+                                                               +
//	|                                                               |
//	+                                                               +
//	|                                                               |
//	+---------------------------------------------------------------+
type IPv6 []byte

// Offsets in an IPv6 header, its length, and the MTU that every link has.
const (
	ipv6VersionClassFlow = 0
	ipv6Length           = 4
	ipv6Next             = 6
	ipv6HopLimit         = 7
	ipv6Src              = 8
	ipv6Dst              = 24

	IPv6Len    = 40
	IPv6MinMTU = 1280 // RFC 8200, 5
)

// IPv6FlowMask covers the flow label in the header's first word.
const IPv6FlowMask uint32 = 0xfffff

// IP protocol numbers that IPv6 uses as next headers (IANA); those of the
// extension headers stand beside WalkIPv6.
const (
	ProtoIPv6   uint8 = 41
	ProtoICMPv6 uint8 = 58
	ProtoSCTP   uint8 = 132
)

func (b IPv6) first() uint32 {
	return binary.BigEndian.Uint32(b[ipv6VersionClassFlow : ipv6VersionClassFlow+4])
}

// Version returns 6 for IPv6.
func (b IPv6) Version() uint8 { return b[ipv6VersionClassFlow] >> 4 }

// TrafficClass returns the traffic class (DSCP and ECN).
func (b IPv6) TrafficClass() uint8 { return uint8(b.first() >> 20) }

// FlowLabel returns the flow label: 20 bits, 0 for none (RFC 6437).
func (b IPv6) FlowLabel() uint32 { return b.first() & IPv6FlowMask }

// PayloadLength returns the length in bytes of what follows the header,
// extension headers included; 0 also in a jumbogram (RFC 2675), which no port
// of ours carries.
func (b IPv6) PayloadLength() uint16 { return binary.BigEndian.Uint16(b[ipv6Length : ipv6Length+2]) }

// TotalLength returns the length of header and payload in bytes: 40..65575.
func (b IPv6) TotalLength() int { return IPv6Len + int(b.PayloadLength()) }

// NextHeader returns the protocol of what follows: the transport's, or an
// extension header's (see WalkIPv6).
func (b IPv6) NextHeader() uint8 { return b[ipv6Next] }

// HopLimit returns the hop limit.
func (b IPv6) HopLimit() uint8 { return b[ipv6HopLimit] }

// Src returns the source address.
func (b IPv6) Src() [16]byte { return [16]byte(b[ipv6Src : ipv6Src+16]) }

// Dst returns the destination address.
func (b IPv6) Dst() [16]byte { return [16]byte(b[ipv6Dst : ipv6Dst+16]) }

// Payload returns what follows the header, extension headers included, up to
// PayloadLength, which must have been validated.
func (b IPv6) Payload() []byte { return b[IPv6Len:b.TotalLength()] }

// SetVersionClassFlow sets version 6, the traffic class and the flow label, of
// which the lower 20 bits count.
func (b IPv6) SetVersionClassFlow(class uint8, flow uint32) {
	binary.BigEndian.PutUint32(b[ipv6VersionClassFlow:ipv6VersionClassFlow+4], 6<<28|uint32(class)<<20|flow&IPv6FlowMask)
}

// SetTrafficClass sets the traffic class and leaves the flow label.
func (b IPv6) SetTrafficClass(v uint8) { b.SetVersionClassFlow(v, b.FlowLabel()) }

// SetFlowLabel sets the flow label and leaves the traffic class.
func (b IPv6) SetFlowLabel(v uint32) { b.SetVersionClassFlow(b.TrafficClass(), v) }

// SetPayloadLength sets the length of what follows the header in bytes.
func (b IPv6) SetPayloadLength(v uint16) { binary.BigEndian.PutUint16(b[ipv6Length:ipv6Length+2], v) }

// SetNextHeader sets the protocol of what follows.
func (b IPv6) SetNextHeader(v uint8) { b[ipv6Next] = v }

// SetHopLimit sets the hop limit.
func (b IPv6) SetHopLimit(v uint8) { b[ipv6HopLimit] = v }

// SetSrc sets the source address.
func (b IPv6) SetSrc(a [16]byte) { *(*[16]byte)(b[ipv6Src : ipv6Src+16]) = a }

// SetDst sets the destination address.
func (b IPv6) SetDst(a [16]byte) { *(*[16]byte)(b[ipv6Dst : ipv6Dst+16]) = a }
