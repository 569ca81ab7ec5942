package wire

import "encoding/binary"

// UDP is a UDP header and what follows it (RFC 768).
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-------------------------------+-------------------------------+
//	|          Source Port          |       Destination Port        |
//	+-------------------------------+-------------------------------+
//	|            Length             |           Checksum            |
//	+-------------------------------+-------------------------------+
type UDP []byte

// Offsets in a UDP header, and its length.
const (
	udpSrcPort  = 0
	udpDstPort  = 2
	udpLength   = 4
	udpChecksum = 6

	UDPLen = 8
)

// SrcPort returns the source port.
func (b UDP) SrcPort() uint16 { return binary.BigEndian.Uint16(b[udpSrcPort : udpSrcPort+2]) }

// DstPort returns the destination port.
func (b UDP) DstPort() uint16 { return binary.BigEndian.Uint16(b[udpDstPort : udpDstPort+2]) }

// Length returns the length of header and data in bytes.
func (b UDP) Length() uint16 { return binary.BigEndian.Uint16(b[udpLength : udpLength+2]) }

// Checksum returns the checksum field; 0 means the sender computed none.
func (b UDP) Checksum() uint16 { return binary.BigEndian.Uint16(b[udpChecksum : udpChecksum+2]) }

// SetSrcPort sets the source port.
func (b UDP) SetSrcPort(v uint16) { binary.BigEndian.PutUint16(b[udpSrcPort:udpSrcPort+2], v) }

// SetDstPort sets the destination port.
func (b UDP) SetDstPort(v uint16) { binary.BigEndian.PutUint16(b[udpDstPort:udpDstPort+2], v) }

// SetLength sets the length of header and data in bytes.
func (b UDP) SetLength(v uint16) { binary.BigEndian.PutUint16(b[udpLength:udpLength+2], v) }

// SetChecksum sets the checksum field.
func (b UDP) SetChecksum(v uint16) { binary.BigEndian.PutUint16(b[udpChecksum:udpChecksum+2], v) }
