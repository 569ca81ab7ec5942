package wire

import (
	"encoding/binary"
	"hash/crc32"
)

// SCTP is an SCTP packet: the common header and its chunks (RFC 9260, 3.1).
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-------------------------------+-------------------------------+
//	|      Source Port Number       |    Destination Port Number    |
//	+-------------------------------+-------------------------------+
//	|                       Verification Tag                        |
//	+---------------------------------------------------------------+
//	|                           Checksum                            |
//	+---------------------------------------------------------------+
//
// The checksum is a CRC32c over header and chunks; there is no pseudo-header. So
// a new address changes nothing, and new ports change it by what ChangePorts says.
type SCTP []byte

// Offsets in an SCTP common header, and its length.
const (
	sctpSrcPort  = 0
	sctpDstPort  = 2
	sctpTag      = 4
	sctpChecksum = 8

	SCTPLen = 12
)

// castagnoli is the table of the CRC (RFC 9260, appendix A). The library uses
// the processor's instruction where there is one.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sctpNoChecksum stands in for the field; an array on the stack would escape.
var sctpNoChecksum [4]byte

// SrcPort returns the source port.
func (b SCTP) SrcPort() uint16 { return binary.BigEndian.Uint16(b[sctpSrcPort : sctpSrcPort+2]) }

// DstPort returns the destination port.
func (b SCTP) DstPort() uint16 { return binary.BigEndian.Uint16(b[sctpDstPort : sctpDstPort+2]) }

// VerificationTag returns the tag that the receiver chose; 0 in a packet with INIT.
func (b SCTP) VerificationTag() uint32 { return binary.BigEndian.Uint32(b[sctpTag : sctpTag+4]) }

// Checksum returns the checksum field as a CRC32c, which alone of all fields
// lies there with its low byte first (RFC 9260, appendix A).
func (b SCTP) Checksum() uint32 { return binary.LittleEndian.Uint32(b[sctpChecksum : sctpChecksum+4]) }

// Chunks returns what follows the common header (see NextSCTPChunk).
func (b SCTP) Chunks() []byte { return b[SCTPLen:] }

// SetSrcPort sets the source port; ComputeChecksum has to follow.
func (b SCTP) SetSrcPort(v uint16) { binary.BigEndian.PutUint16(b[sctpSrcPort:sctpSrcPort+2], v) }

// SetDstPort sets the destination port; ComputeChecksum has to follow.
func (b SCTP) SetDstPort(v uint16) { binary.BigEndian.PutUint16(b[sctpDstPort:sctpDstPort+2], v) }

// SetVerificationTag sets the tag; ComputeChecksum has to follow.
func (b SCTP) SetVerificationTag(v uint32) { binary.BigEndian.PutUint32(b[sctpTag:sctpTag+4], v) }

// SetChecksum sets the checksum field to a CRC32c.
func (b SCTP) SetChecksum(v uint32) {
	binary.LittleEndian.PutUint32(b[sctpChecksum:sctpChecksum+4], v)
}

// sctpZeros is fed to the CRC for what does not change.
var sctpZeros [4096]byte

// ChangePorts sets both ports, source | destination << 16, each as on the wire, read
// little-endian, and lets the checksum follow by the difference: a CRC is linear, so
// that of the old ports XOR the new ones, with zeros for all the rest, is what has to
// be XORed to it. A packet that came damaged stays damaged. It costs what a pass over
// a packet costs that lies in the cache.
//
// n is the length of the whole packet. b may be less of it, as in an ICMP error: its
// first 4 bytes, or 12 with the checksum.
func (b SCTP) ChangePorts(ports uint32, n int) {
	was := binary.LittleEndian.Uint32(b[0:4])
	binary.LittleEndian.PutUint32(b[0:4], ports)
	if was == ports || len(b) < SCTPLen {
		return
	}
	crc := was ^ ports
	for range 4 {
		crc = castagnoli[uint8(crc)] ^ crc>>8
	}
	crc = ^crc // the library keeps it so
	for n -= 4; n > 0; n -= len(sctpZeros) {
		crc = crc32.Update(crc, castagnoli, sctpZeros[:min(n, len(sctpZeros))])
	}
	b.SetChecksum(b.Checksum() ^ ^crc)
}

// crc returns the CRC32c over all of b with 0 in place of the checksum field.
func (b SCTP) crc() uint32 {
	sum := crc32.Update(0, castagnoli, b[:sctpChecksum])
	sum = crc32.Update(sum, castagnoli, sctpNoChecksum[:])
	return crc32.Update(sum, castagnoli, b[SCTPLen:])
}

// ComputeChecksum computes the checksum over the whole packet, which is all of b
// with its padding, and stores it.
func (b SCTP) ComputeChecksum() { b.SetChecksum(b.crc()) }

// ChecksumOK reports whether the checksum over all of b is right.
func (b SCTP) ChecksumOK() bool { return b.Checksum() == b.crc() }

// Types of SCTP chunks (RFC 9260, 3.2).
const (
	SCTPData             uint8 = 0
	SCTPInit             uint8 = 1
	SCTPInitAck          uint8 = 2
	SCTPSack             uint8 = 3
	SCTPHeartbeat        uint8 = 4
	SCTPHeartbeatAck     uint8 = 5
	SCTPAbort            uint8 = 6
	SCTPShutdown         uint8 = 7
	SCTPShutdownAck      uint8 = 8
	SCTPError            uint8 = 9
	SCTPCookieEcho       uint8 = 10
	SCTPCookieAck        uint8 = 11
	SCTPShutdownComplete uint8 = 14
)

// SCTPReflected is the flag T of ABORT and SHUTDOWN COMPLETE: the verification
// tag is the sender's, sent back (RFC 9260, 8.5.1).
const SCTPReflected uint8 = 1

// sctpChunkMin is the length of a chunk without a value. SCTPMinLen is that of a packet
// with one: there is none without chunks (RFC 9260, 3).
const (
	sctpChunkMin = 4

	SCTPMinLen = SCTPLen + sctpChunkMin
)

// SCTPChunk is one chunk in place: Raw is type, flags, length and value, without
// the padding. It shares the packet's memory.
//
//	+---------------+---------------+-------------------------------+
//	|  Chunk Type   |  Chunk Flags  |         Chunk Length          |
//	+---------------+---------------+-------------------------------+
//	|                          Chunk Value                          |
//	+---------------------------------------------------------------+
type SCTPChunk struct {
	Type  uint8
	Flags uint8
	Raw   []byte
}

// Value returns what follows type, flags and length.
func (c SCTPChunk) Value() []byte { return c.Raw[sctpChunkMin:] }

// InitiateTag returns the tag that the sender of an INIT or INIT ACK chose: the
// verification tag of what it is sent. False for other chunks, for one that is
// too short to be read and for the tag 0, which nobody may choose (RFC 9260, 3.3.2).
func (c SCTPChunk) InitiateTag() (tag uint32, ok bool) {
	if c.Type != SCTPInit && c.Type != SCTPInitAck || len(c.Raw) < sctpChunkMin+16 {
		return 0, false
	}
	tag = binary.BigEndian.Uint32(c.Raw[sctpChunkMin : sctpChunkMin+4])
	return tag, tag != 0
}

// NextSCTPChunk takes the first chunk off b with its padding. ok is false at the
// end of the list, where rest is empty, and where a chunk's length is less than 4
// or more than what is left, where rest is not empty. Padding that the last chunk
// lacks is not missed. A chunk has 4 bytes at least, so a packet of 1500 bytes has
// 367 at most; who need not see all stops sooner.
//
//	for c, rest, ok := wire.NextSCTPChunk(p.Chunks()); ok; c, rest, ok = wire.NextSCTPChunk(rest) {
func NextSCTPChunk(b []byte) (c SCTPChunk, rest []byte, ok bool) {
	if len(b) < sctpChunkMin {
		return SCTPChunk{}, b, false
	}
	n := int(binary.BigEndian.Uint16(b[2:4]))
	if n < sctpChunkMin || n > len(b) {
		return SCTPChunk{}, b, false
	}
	return SCTPChunk{b[0], b[1], b[:n:n]}, b[min((n+3)&^3, len(b)):], true
}
