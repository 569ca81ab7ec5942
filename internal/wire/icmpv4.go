package wire

import "encoding/binary"

// ICMPv4 is an ICMP message (RFC 792).
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+---------------+---------------+-------------------------------+
//	|     Type      |     Code      |           Checksum            |
//	+---------------+---------------+-------------------------------+
//	|  echo: Identifier, Sequence Number;                           |
//	|  fragmentation needed: unused, Next-Hop MTU (RFC 1191)        |
//	+---------------------------------------------------------------+
//	|  echo: data; errors: IP header and the first payload bytes    |
//	+---------------------------------------------------------------+
type ICMPv4 []byte

// Offsets in an ICMP message, and the length of its header.
const (
	icmpv4Type     = 0
	icmpv4Code     = 1
	icmpv4Checksum = 2
	icmpv4Ident    = 4
	icmpv4Sequence = 6

	ICMPv4Len = 8
)

// Types of ICMP messages.
const (
	ICMPv4EchoReply        uint8 = 0
	ICMPv4Unreachable      uint8 = 3
	ICMPv4SourceQuench     uint8 = 4
	ICMPv4Redirect         uint8 = 5
	ICMPv4EchoRequest      uint8 = 8
	ICMPv4TimeExceeded     uint8 = 11
	ICMPv4ParameterProblem uint8 = 12
)

// Codes of ICMPv4Unreachable.
const (
	ICMPv4NetUnreachable  uint8 = 0
	ICMPv4HostUnreachable uint8 = 1
	ICMPv4PortUnreachable uint8 = 3
	ICMPv4FragNeeded      uint8 = 4
)

// Type returns the type.
func (b ICMPv4) Type() uint8 { return b[icmpv4Type] }

// Code returns the code.
func (b ICMPv4) Code() uint8 { return b[icmpv4Code] }

// Checksum returns the checksum field.
func (b ICMPv4) Checksum() uint16 {
	return binary.BigEndian.Uint16(b[icmpv4Checksum : icmpv4Checksum+2])
}

// Ident returns the identifier of an echo.
func (b ICMPv4) Ident() uint16 { return binary.BigEndian.Uint16(b[icmpv4Ident : icmpv4Ident+2]) }

// Sequence returns the sequence number of an echo.
func (b ICMPv4) Sequence() uint16 {
	return binary.BigEndian.Uint16(b[icmpv4Sequence : icmpv4Sequence+2])
}

// NextHopMTU returns the MTU in a fragmentation needed message; 0 from routers
// older than RFC 1191.
func (b ICMPv4) NextHopMTU() uint16 { return b.Sequence() }

// IsError reports whether the message tells of an error with another packet,
// which it quotes (RFC 1122, 3.2.2).
func (b ICMPv4) IsError() bool {
	switch b.Type() {
	case ICMPv4Unreachable, ICMPv4SourceQuench, ICMPv4Redirect, ICMPv4TimeExceeded, ICMPv4ParameterProblem:
		return true
	}
	return false
}

// SetType sets the type.
func (b ICMPv4) SetType(v uint8) { b[icmpv4Type] = v }

// SetCode sets the code.
func (b ICMPv4) SetCode(v uint8) { b[icmpv4Code] = v }

// SetChecksum sets the checksum field.
func (b ICMPv4) SetChecksum(v uint16) {
	binary.BigEndian.PutUint16(b[icmpv4Checksum:icmpv4Checksum+2], v)
}

// SetIdent sets the identifier of an echo.
func (b ICMPv4) SetIdent(v uint16) { binary.BigEndian.PutUint16(b[icmpv4Ident:icmpv4Ident+2], v) }

// SetSequence sets the sequence number of an echo.
func (b ICMPv4) SetSequence(v uint16) {
	binary.BigEndian.PutUint16(b[icmpv4Sequence:icmpv4Sequence+2], v)
}

// SetNextHopMTU sets the MTU of a fragmentation needed message.
func (b ICMPv4) SetNextHopMTU(v uint16) { b.SetSequence(v) }

// ComputeChecksum computes the checksum over the whole message, which is all of
// b, and stores it.
func (b ICMPv4) ComputeChecksum() {
	b.SetChecksum(0)
	b.SetChecksum(Checksum(b, 0))
}

// ChecksumOK reports whether the checksum over all of b is right.
func (b ICMPv4) ChecksumOK() bool { return Fold(Sum(b, 0)) == 0xffff }
