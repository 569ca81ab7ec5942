package wire

import "encoding/binary"

// ICMPv6 is an ICMPv6 message (RFC 4443, 2.1).
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+---------------+---------------+-------------------------------+
//	|     Type      |     Code      |           Checksum            |
//	+---------------+---------------+-------------------------------+
//	|  echo: Identifier, Sequence Number;                           |
//	|  packet too big: MTU; parameter problem: Pointer              |
//	+---------------------------------------------------------------+
//	|  echo: data; errors: as much of the packet as fits in 1280    |
//	+---------------------------------------------------------------+
//
// Neighbour discovery's messages have views of their own (nd.go).
type ICMPv6 []byte

// Offsets in an ICMPv6 message, and the length of its header.
const (
	icmpv6Type     = 0
	icmpv6Code     = 1
	icmpv6Checksum = 2
	icmpv6Word     = 4
	icmpv6Ident    = 4
	icmpv6Sequence = 6

	ICMPv6Len = 8
)

// Types of ICMPv6 messages. Those below 128 are errors.
const (
	ICMPv6Unreachable             uint8 = 1
	ICMPv6PacketTooBig            uint8 = 2
	ICMPv6TimeExceeded            uint8 = 3
	ICMPv6ParameterProblem        uint8 = 4
	ICMPv6EchoRequest             uint8 = 128
	ICMPv6EchoReply               uint8 = 129
	ICMPv6RouterSolicitation      uint8 = 133 // RFC 4861, as those below
	ICMPv6RouterAdvertisement     uint8 = 134
	ICMPv6NeighbourSolicitation   uint8 = 135
	ICMPv6NeighbourAdvertisement  uint8 = 136
	ICMPv6Redirect                uint8 = 137
	icmpv6FirstInformationMessage uint8 = 128
)

// Codes of ICMPv6Unreachable.
const (
	ICMPv6NoRoute            uint8 = 0
	ICMPv6Prohibited         uint8 = 1
	ICMPv6BeyondScope        uint8 = 2
	ICMPv6AddressUnreachable uint8 = 3
	ICMPv6PortUnreachable    uint8 = 4
)

// Codes of ICMPv6TimeExceeded.
const (
	ICMPv6HopLimitExceeded   uint8 = 0
	ICMPv6ReassemblyExceeded uint8 = 1
)

// Codes of ICMPv6ParameterProblem.
const (
	ICMPv6BadField        uint8 = 0
	ICMPv6UnknownNext     uint8 = 1
	ICMPv6UnknownOption   uint8 = 2
	ICMPv6IncompleteChain uint8 = 3 // RFC 7112, 5
)

// Type returns the type.
func (b ICMPv6) Type() uint8 { return b[icmpv6Type] }

// Code returns the code.
func (b ICMPv6) Code() uint8 { return b[icmpv6Code] }

// Checksum returns the checksum field.
func (b ICMPv6) Checksum() uint16 {
	return binary.BigEndian.Uint16(b[icmpv6Checksum : icmpv6Checksum+2])
}

// Ident returns the identifier of an echo.
func (b ICMPv6) Ident() uint16 { return binary.BigEndian.Uint16(b[icmpv6Ident : icmpv6Ident+2]) }

// Sequence returns the sequence number of an echo.
func (b ICMPv6) Sequence() uint16 {
	return binary.BigEndian.Uint16(b[icmpv6Sequence : icmpv6Sequence+2])
}

// MTU returns the MTU in a packet too big message. It may be less than
// IPv6MinMTU: then nobody has to send smaller packets (RFC 8201, 4).
func (b ICMPv6) MTU() uint32 { return binary.BigEndian.Uint32(b[icmpv6Word : icmpv6Word+4]) }

// Pointer returns where in the quoted packet a parameter problem lies, in bytes.
func (b ICMPv6) Pointer() uint32 { return b.MTU() }

// IsError reports whether the message tells of an error with another packet,
// which it quotes (RFC 4443, 2.1).
func (b ICMPv6) IsError() bool { return b.Type() < icmpv6FirstInformationMessage }

// SetType sets the type.
func (b ICMPv6) SetType(v uint8) { b[icmpv6Type] = v }

// SetCode sets the code.
func (b ICMPv6) SetCode(v uint8) { b[icmpv6Code] = v }

// SetChecksum sets the checksum field.
func (b ICMPv6) SetChecksum(v uint16) {
	binary.BigEndian.PutUint16(b[icmpv6Checksum:icmpv6Checksum+2], v)
}

// SetIdent sets the identifier of an echo.
func (b ICMPv6) SetIdent(v uint16) { binary.BigEndian.PutUint16(b[icmpv6Ident:icmpv6Ident+2], v) }

// SetSequence sets the sequence number of an echo.
func (b ICMPv6) SetSequence(v uint16) {
	binary.BigEndian.PutUint16(b[icmpv6Sequence:icmpv6Sequence+2], v)
}

// SetMTU sets the MTU of a packet too big message; in other errors the word is
// unused and 0.
func (b ICMPv6) SetMTU(v uint32) { binary.BigEndian.PutUint32(b[icmpv6Word:icmpv6Word+4], v) }

// SetPointer sets where in the quoted packet a parameter problem lies, in bytes.
func (b ICMPv6) SetPointer(v uint32) { b.SetMTU(v) }

// ComputeChecksum computes the checksum over the pseudo-header of both addresses
// (RFC 4443, 2.3) and the whole message, which is all of b, and stores it.
func (b ICMPv6) ComputeChecksum(src, dst [16]byte) {
	b.SetChecksum(0)
	b.SetChecksum(Checksum(b, PseudoSum6(src, dst, ProtoICMPv6, uint32(len(b)))))
}

// ChecksumOK reports whether the checksum over the pseudo-header and all of b is
// right.
func (b ICMPv6) ChecksumOK(src, dst [16]byte) bool {
	return Fold(Sum(b, PseudoSum6(src, dst, ProtoICMPv6, uint32(len(b))))) == 0xffff
}
