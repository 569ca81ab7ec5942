package wire

import "encoding/binary"

// GRE is a GRE header and what follows it (RFC 2784, 2.1, with the extensions of
// RFC 2890, 2). C, K and S say which of the optional words are there, in this order.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-----------------+-----+-------------------------------+
//	|C| |K|S|    Reserved0    | Ver |         Protocol Type         |
//	+-+-+-+-+-----------------+-----+-------------------------------+
//	|      Checksum (optional)      |     Reserved1 (optional)      |
//	+-------------------------------+-------------------------------+
//	|                         Key (optional)                        |
//	+---------------------------------------------------------------+
//	|                   Sequence Number (optional)                  |
//	+---------------------------------------------------------------+
//
// The checksum is over the header and all that follows it; there is no pseudo-header.
type GRE []byte

// Flags of a GRE header, as bits of its first word.
const (
	GREChecksum uint16 = 0x8000
	GREKey      uint16 = 0x2000
	GRESequence uint16 = 0x1000

	// greRefused are the bits that a receiver must know nothing of: routing (RFC 1701),
	// which nobody does any more, the two that RFC 2784, 2.3 forbids beside it, and a
	// version other than 0 (1 is PPTP's, RFC 2637).
	greRefused uint16 = 0x4000 | 0x0c00 | 0x0007
)

// Lengths of a GRE header without options, and with all of them.
const (
	GREMinLen = 4
	GREMaxLen = 16
)

// GRELen returns the length of a header with these flags.
func GRELen(flags uint16) int {
	n := GREMinLen
	for _, f := range [...]uint16{GREChecksum, GREKey, GRESequence} {
		if flags&f != 0 {
			n += 4
		}
	}
	return n
}

// Flags returns which of the optional words are there: GREChecksum, GREKey, GRESequence.
func (b GRE) Flags() uint16 {
	return binary.BigEndian.Uint16(b[0:2]) & (GREChecksum | GREKey | GRESequence)
}

// Valid reports whether b begins with a header of version 0 that is all there and asks
// for nothing but checksum, key and sequence number. Bits that are reserved for the
// future count for nothing (RFC 2784, 2.3.1).
func (b GRE) Valid() bool {
	return len(b) >= GREMinLen && binary.BigEndian.Uint16(b[0:2])&greRefused == 0 && len(b) >= b.HeaderLength()
}

// HeaderLength returns the length of the header with its optional words.
func (b GRE) HeaderLength() int { return GRELen(b.Flags()) }

// ProtocolType returns the ethertype of what follows.
func (b GRE) ProtocolType() uint16 { return binary.BigEndian.Uint16(b[2:4]) }

// at is the offset of an optional word: behind those of the flags that come before.
func (b GRE) at(before uint16) int { return GRELen(b.Flags() & before) }

// Key returns the key; the flag GREKey says whether there is one.
func (b GRE) Key() uint32 {
	at := b.at(GREChecksum)
	return binary.BigEndian.Uint32(b[at : at+4])
}

// Sequence returns the sequence number; the flag GRESequence says whether there is one.
func (b GRE) Sequence() uint32 {
	at := b.at(GREChecksum | GREKey)
	return binary.BigEndian.Uint32(b[at : at+4])
}

// ChecksumOK reports whether the checksum over all of b is right; the flag GREChecksum
// says whether there is one.
func (b GRE) ChecksumOK() bool { return Fold(Sum(b, 0)) == 0xffff }

// Put writes a header with these flags in front of what follows it, up to the end of b,
// and computes the checksum if there is one. Of key and sequence number those count
// whose flag is set.
func (b GRE) Put(flags, protocolType uint16, key, sequence uint32) {
	binary.BigEndian.PutUint16(b[0:2], flags)
	binary.BigEndian.PutUint16(b[2:4], protocolType)
	at := GREMinLen
	if flags&GREChecksum != 0 {
		binary.BigEndian.PutUint32(b[at:at+4], 0)
		at += 4
	}
	if flags&GREKey != 0 {
		binary.BigEndian.PutUint32(b[at:at+4], key)
		at += 4
	}
	if flags&GRESequence != 0 {
		binary.BigEndian.PutUint32(b[at:at+4], sequence)
	}
	if flags&GREChecksum != 0 {
		binary.BigEndian.PutUint16(b[GREMinLen:GREMinLen+2], Checksum(b, 0))
	}
}
