package wire

import "encoding/binary"

// Types of neighbour discovery options (IANA), and the lengths of those that are
// read here, in bytes.
const (
	NDSourceLink uint8 = 1 // RFC 4861, 4.6.1
	NDTargetLink uint8 = 2 // RFC 4861, 4.6.1
	NDPrefixInfo uint8 = 3 // RFC 4861, 4.6.2
	NDMTU        uint8 = 5 // RFC 4861, 4.6.4

	ndOptionUnit      = 8 // lengths are in these
	ndLinkOptionLen   = 8 // of Ethernet (RFC 2464, 6)
	ndPrefixOptionLen = 32
	ndMTUOptionLen    = 8
)

// NDOption is one option in place: Raw is type, length and value. It shares the
// packet's memory.
type NDOption struct {
	Type uint8
	Raw  []byte
}

// NextNDOption takes the first option off b. ok is false at the end of the list,
// where rest is empty, and where an option's length is 0 or more than what is left,
// where rest is not empty. An option has 8 bytes at least, so a list has no more
// than an eighth of the packet's bytes.
//
//	for o, rest, ok := wire.NextNDOption(ns.Options()); ok; o, rest, ok = wire.NextNDOption(rest) {
func NextNDOption(b []byte) (o NDOption, rest []byte, ok bool) {
	if len(b) < ndOptionUnit {
		return NDOption{}, b, false
	}
	n := int(b[1]) * ndOptionUnit
	if n == 0 || n > len(b) {
		return NDOption{}, b, false
	}
	return NDOption{b[0], b[:n:n]}, b[n:], true
}

// NDOptionsOK reports whether a list can be read to its end: a message with one
// that can't is to be discarded as a whole (RFC 4861, 4.6 and 6.1).
func NDOptionsOK(b []byte) bool {
	_, rest, ok := NextNDOption(b)
	for ok {
		_, rest, ok = NextNDOption(rest)
	}
	return len(rest) == 0
}

// FindNDOption returns the first option of a type, or false.
func FindNDOption(b []byte, kind uint8) (NDOption, bool) {
	for o, rest, ok := NextNDOption(b); ok; o, rest, ok = NextNDOption(rest) {
		if o.Type == kind {
			return o, true
		}
	}
	return NDOption{}, false
}

// Link returns the address in an NDSourceLink or NDTargetLink; false for other
// options and for addresses that are not Ethernet's.
//
//	+---------------+---------------+-------------------------------+
//	|     Type      |   Length 1    |                               |
//	+---------------+---------------+      Link-Layer Address       +
//	|                                                               |
//	+---------------------------------------------------------------+
func (o NDOption) Link() (mac [6]byte, ok bool) {
	if o.Type != NDSourceLink && o.Type != NDTargetLink || len(o.Raw) != ndLinkOptionLen {
		return mac, false
	}
	return [6]byte(o.Raw[2:8]), true
}

// putNDLink writes a link-layer address option of ndLinkOptionLen bytes.
func putNDLink(b []byte, kind uint8, mac [6]byte) {
	b[0], b[1] = kind, ndLinkOptionLen/ndOptionUnit
	*(*[6]byte)(b[2:8]) = mac
}

// MTU returns the link's MTU in an NDMTU, in bytes; false for other options. It
// is what the router says: less than IPv6MinMTU is to be ignored (RFC 4861, 6.3.4).
//
//	+---------------+---------------+-------------------------------+
//	|    Type 5     |   Length 1    |           Reserved            |
//	+---------------+---------------+-------------------------------+
//	|                              MTU                              |
//	+---------------------------------------------------------------+
func (o NDOption) MTU() (mtu uint32, ok bool) {
	if o.Type != NDMTU || len(o.Raw) != ndMTUOptionLen {
		return 0, false
	}
	return binary.BigEndian.Uint32(o.Raw[4:8]), true
}

// NDPrefix is what a prefix information option says.
type NDPrefix struct {
	Addr       [16]byte
	Bits       uint8  // 0..128
	OnLink     bool   // its addresses are neighbours
	Autonomous bool   // it may be used for own addresses (RFC 4862)
	Valid      uint32 // seconds; all ones: for ever
	Preferred  uint32 // seconds; all ones: for ever
}

// Prefix returns what an NDPrefixInfo says; false for other options and for
// prefixes longer than 128 bits.
//
//	+---------------+---------------+---------------+-+-+-----------+
//	|    Type 3     |   Length 4    | Prefix Length |L|A| Reserved1 |
//	+---------------+---------------+---------------+-+-+-----------+
//	|                        Valid Lifetime                         |
//	+---------------------------------------------------------------+
//	|                      Preferred Lifetime                       |
//	+---------------------------------------------------------------+
//	|                           Reserved2                           |
//	+---------------------------------------------------------------+
//	|                       Prefix (16 bytes)                       |
//	+---------------------------------------------------------------+
func (o NDOption) Prefix() (p NDPrefix, ok bool) {
	if o.Type != NDPrefixInfo || len(o.Raw) != ndPrefixOptionLen || o.Raw[2] > 128 {
		return p, false
	}
	return NDPrefix{
		Addr:       [16]byte(o.Raw[16:32]),
		Bits:       o.Raw[2],
		OnLink:     o.Raw[3]&0x80 != 0,
		Autonomous: o.Raw[3]&0x40 != 0,
		Valid:      binary.BigEndian.Uint32(o.Raw[4:8]),
		Preferred:  binary.BigEndian.Uint32(o.Raw[8:12]),
	}, true
}
