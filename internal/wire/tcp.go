package wire

import "encoding/binary"

// TCP is a TCP header and what follows it (RFC 9293, 3.1).
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-------------------------------+-------------------------------+
//	|          Source Port          |       Destination Port        |
//	+-------------------------------+-------------------------------+
//	|                        Sequence Number                        |
//	+---------------------------------------------------------------+
//	|                    Acknowledgment Number                      |
//	+-------+-------+-+-+-+-+-+-+-+-+-------------------------------+
//	|  Data |       |C|E|U|A|P|R|S|F|                               |
//	| Offset| Rsrvd |W|C|R|C|S|S|Y|I|            Window             |
//	|       |       |R|E|G|K|H|T|N|N|                               |
//	+-------+-------+-+-+-+-+-+-+-+-+-------------------------------+
//	|           Checksum            |         Urgent Pointer        |
//	+-------------------------------+-------------------------------+
//	|                           [Options]                           |
//	+---------------------------------------------------------------+
type TCP []byte

// Offsets in a TCP header, and the length of one without options.
const (
	tcpSrcPort    = 0
	tcpDstPort    = 2
	tcpSeq        = 4
	tcpAck        = 8
	tcpDataOffset = 12
	tcpFlags      = 13
	tcpWindow     = 14
	tcpChecksum   = 16
	tcpUrgent     = 18

	TCPMinLen = 20
	TCPMaxLen = 60
)

// The control bits.
const (
	TCPFin uint8 = 1 << iota
	TCPSyn
	TCPRst
	TCPPsh
	TCPAck
	TCPUrg
	TCPEce
	TCPCwr
)

// SrcPort returns the source port.
func (b TCP) SrcPort() uint16 { return binary.BigEndian.Uint16(b[tcpSrcPort : tcpSrcPort+2]) }

// DstPort returns the destination port.
func (b TCP) DstPort() uint16 { return binary.BigEndian.Uint16(b[tcpDstPort : tcpDstPort+2]) }

// Seq returns the sequence number.
func (b TCP) Seq() uint32 { return binary.BigEndian.Uint32(b[tcpSeq : tcpSeq+4]) }

// Ack returns the acknowledgment number.
func (b TCP) Ack() uint32 { return binary.BigEndian.Uint32(b[tcpAck : tcpAck+4]) }

// DataOffset returns the length of the header with its options in bytes: 0..60,
// valid from 20.
func (b TCP) DataOffset() int { return int(b[tcpDataOffset]>>4) << 2 }

// Flags returns the control bits.
func (b TCP) Flags() uint8 { return b[tcpFlags] }

// Window returns the window field, not scaled.
func (b TCP) Window() uint16 { return binary.BigEndian.Uint16(b[tcpWindow : tcpWindow+2]) }

// Checksum returns the checksum field.
func (b TCP) Checksum() uint16 { return binary.BigEndian.Uint16(b[tcpChecksum : tcpChecksum+2]) }

// UrgentPointer returns the urgent pointer.
func (b TCP) UrgentPointer() uint16 { return binary.BigEndian.Uint16(b[tcpUrgent : tcpUrgent+2]) }

// Options returns the bytes between the fixed header and the data, cut where
// the slice ends; none when the data offset lies.
func (b TCP) Options() []byte {
	end := min(b.DataOffset(), len(b))
	if end < TCPMinLen {
		return nil
	}
	return b[TCPMinLen:end]
}

// SetSrcPort sets the source port.
func (b TCP) SetSrcPort(v uint16) { binary.BigEndian.PutUint16(b[tcpSrcPort:tcpSrcPort+2], v) }

// SetDstPort sets the destination port.
func (b TCP) SetDstPort(v uint16) { binary.BigEndian.PutUint16(b[tcpDstPort:tcpDstPort+2], v) }

// SetSeq sets the sequence number.
func (b TCP) SetSeq(v uint32) { binary.BigEndian.PutUint32(b[tcpSeq:tcpSeq+4], v) }

// SetAck sets the acknowledgment number.
func (b TCP) SetAck(v uint32) { binary.BigEndian.PutUint32(b[tcpAck:tcpAck+4], v) }

// SetDataOffset sets the header length in bytes, a multiple of four from 20 to
// 60, and clears the reserved bits.
func (b TCP) SetDataOffset(n int) { b[tcpDataOffset] = uint8(n>>2) << 4 }

// SetFlags sets the control bits.
func (b TCP) SetFlags(v uint8) { b[tcpFlags] = v }

// SetWindow sets the window field.
func (b TCP) SetWindow(v uint16) { binary.BigEndian.PutUint16(b[tcpWindow:tcpWindow+2], v) }

// SetChecksum sets the checksum field.
func (b TCP) SetChecksum(v uint16) { binary.BigEndian.PutUint16(b[tcpChecksum:tcpChecksum+2], v) }

// SetUrgentPointer sets the urgent pointer.
func (b TCP) SetUrgentPointer(v uint16) { binary.BigEndian.PutUint16(b[tcpUrgent:tcpUrgent+2], v) }
