package wire

import "encoding/binary"

// IPv4 is an IPv4 header and what follows it (RFC 791, 3.1).
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-------+-------+---------------+-------------------------------+
//	|Version|  IHL  |Type of Service|          Total Length         |
//	+-------+-------+---------------+-----+-------------------------+
//	|         Identification        |Flags|      Fragment Offset    |
//	+---------------+---------------+-----+-------------------------+
//	|  Time to Live |    Protocol   |         Header Checksum       |
//	+---------------+---------------+-------------------------------+
//	|                         Source Address                        |
//	+---------------------------------------------------------------+
//	|                      Destination Address                      |
//	+-----------------------------------------------+---------------+
//	|                    Options                    |    Padding    |
//	+-----------------------------------------------+---------------+
type IPv4 []byte

// Offsets in an IPv4 header, and the length of one without options.
const (
	ipv4VersionIHL = 0
	ipv4TOS        = 1
	ipv4Length     = 2
	ipv4ID         = 4
	ipv4Fragment   = 6
	ipv4TTL        = 8
	ipv4Protocol   = 9
	ipv4Checksum   = 10
	ipv4Src        = 12
	ipv4Dst        = 16

	IPv4MinLen = 20
)

// The flags in front of the fragment offset, as bits of FlagsFragment.
const (
	IPv4DontFragment  uint16 = 0x4000
	IPv4MoreFragments uint16 = 0x2000
	IPv4OffsetMask    uint16 = 0x1fff // in units of 8 bytes
)

// IP protocol numbers (IANA).
const (
	ProtoICMP uint8 = 1
	ProtoIPIP uint8 = 4
	ProtoTCP  uint8 = 6
	ProtoUDP  uint8 = 17
	ProtoGRE  uint8 = 47 // over IPv6 too
	ProtoOSPF uint8 = 89
)

// Version returns 4 for IPv4.
func (b IPv4) Version() uint8 { return b[ipv4VersionIHL] >> 4 }

// HeaderLength returns the length of the header with its options in bytes
// (four times the field IHL): 0..60, valid from 20.
func (b IPv4) HeaderLength() int { return int(b[ipv4VersionIHL]&0xf) << 2 }

// TOS returns the type of service (DSCP and ECN).
func (b IPv4) TOS() uint8 { return b[ipv4TOS] }

// TotalLength returns the length of header and payload in bytes.
func (b IPv4) TotalLength() uint16 { return binary.BigEndian.Uint16(b[ipv4Length : ipv4Length+2]) }

// ID returns the identification.
func (b IPv4) ID() uint16 { return binary.BigEndian.Uint16(b[ipv4ID : ipv4ID+2]) }

// FlagsFragment returns the word of flags and fragment offset.
func (b IPv4) FlagsFragment() uint16 {
	return binary.BigEndian.Uint16(b[ipv4Fragment : ipv4Fragment+2])
}

// DontFragment returns the flag DF.
func (b IPv4) DontFragment() bool { return b.FlagsFragment()&IPv4DontFragment != 0 }

// IsFragment reports whether the packet is any part of a fragmented one.
func (b IPv4) IsFragment() bool {
	return b.FlagsFragment()&(IPv4MoreFragments|IPv4OffsetMask) != 0
}

// FragmentOffset returns where the payload belongs, in bytes.
func (b IPv4) FragmentOffset() int { return int(b.FlagsFragment()&IPv4OffsetMask) << 3 }

// TTL returns the time to live.
func (b IPv4) TTL() uint8 { return b[ipv4TTL] }

// Protocol returns the protocol of the payload.
func (b IPv4) Protocol() uint8 { return b[ipv4Protocol] }

// Checksum returns the header checksum field.
func (b IPv4) Checksum() uint16 { return binary.BigEndian.Uint16(b[ipv4Checksum : ipv4Checksum+2]) }

// Src returns the source address.
func (b IPv4) Src() [4]byte { return [4]byte(b[ipv4Src : ipv4Src+4]) }

// Dst returns the destination address.
func (b IPv4) Dst() [4]byte { return [4]byte(b[ipv4Dst : ipv4Dst+4]) }

// Options returns the bytes between the fixed header and the payload.
func (b IPv4) Options() []byte { return b[IPv4MinLen:b.HeaderLength()] }

// Payload returns what follows the header, up to TotalLength. Both must have
// been validated.
func (b IPv4) Payload() []byte { return b[b.HeaderLength():b.TotalLength()] }

// SetVersionIHL sets version 4 and the header length in bytes, a multiple of
// four from 20 to 60.
func (b IPv4) SetVersionIHL(headerLength int) { b[ipv4VersionIHL] = 4<<4 | uint8(headerLength>>2) }

// SetTOS sets the type of service.
func (b IPv4) SetTOS(v uint8) { b[ipv4TOS] = v }

// SetTotalLength sets the length of header and payload in bytes.
func (b IPv4) SetTotalLength(v uint16) { binary.BigEndian.PutUint16(b[ipv4Length:ipv4Length+2], v) }

// SetID sets the identification.
func (b IPv4) SetID(v uint16) { binary.BigEndian.PutUint16(b[ipv4ID:ipv4ID+2], v) }

// SetFlagsFragment sets the word of flags and fragment offset.
func (b IPv4) SetFlagsFragment(v uint16) {
	binary.BigEndian.PutUint16(b[ipv4Fragment:ipv4Fragment+2], v)
}

// SetTTL sets the time to live.
func (b IPv4) SetTTL(v uint8) { b[ipv4TTL] = v }

// SetProtocol sets the protocol of the payload.
func (b IPv4) SetProtocol(v uint8) { b[ipv4Protocol] = v }

// SetChecksum sets the header checksum field.
func (b IPv4) SetChecksum(v uint16) {
	binary.BigEndian.PutUint16(b[ipv4Checksum:ipv4Checksum+2], v)
}

// SetSrc sets the source address.
func (b IPv4) SetSrc(a [4]byte) { *(*[4]byte)(b[ipv4Src : ipv4Src+4]) = a }

// SetDst sets the destination address.
func (b IPv4) SetDst(a [4]byte) { *(*[4]byte)(b[ipv4Dst : ipv4Dst+4]) = a }

// ComputeChecksum computes the header checksum and stores it.
func (b IPv4) ComputeChecksum() {
	b.SetChecksum(0)
	b.SetChecksum(Checksum(b[:b.HeaderLength()], 0))
}

// ChecksumOK reports whether the header checksum is right. The header, options
// included, must be there.
func (b IPv4) ChecksumOK() bool {
	if b[ipv4VersionIHL]&0xf == 5 {
		return sum20((*[20]byte)(b[:20])) == 0xffff
	}
	return Fold(Sum(b[:b.HeaderLength()], 0)) == 0xffff
}
