package wire

import "encoding/binary"

// Kinds of TCP options (IANA), and the lengths of those that have one only.
const (
	OptEnd           uint8 = 0
	OptNOP           uint8 = 1
	OptMSS           uint8 = 2
	OptWScale        uint8 = 3
	OptSACKPermitted uint8 = 4
	OptSACK          uint8 = 5
	OptTimestamp     uint8 = 8
	OptFastOpen      uint8 = 34 // RFC 7413: a cookie, or asks for one
	// OptTOA carries the client's address to the real server: kind 254 is for
	// experiments (RFC 4727); LVS's TOA puts port and address right behind it.
	OptTOA uint8 = 254

	OptMSSLen       = 4
	OptWScaleLen    = 3
	OptTimestampLen = 10
	OptTOA4Len      = 8
	OptTOA6Len      = 20
)

// Option is one TCP option in place: Raw is kind, length and value, or the one
// byte of a NOP. It shares the packet's memory and may be edited there.
type Option struct {
	Kind uint8
	Raw  []byte
}

// Value returns what follows kind and length.
func (o Option) Value() []byte {
	if len(o.Raw) < 2 {
		return nil
	}
	return o.Raw[2:]
}

// Blank overwrites the option with NOPs.
func (o Option) Blank() {
	for i := range o.Raw {
		o.Raw[i] = OptNOP
	}
}

// NextOption takes the first option off b. ok is false at the end of the list,
// and where an option's length is less than two or more than what is left: what
// lies behind can't be read by anyone. NOPs are options too.
//
//	for o, rest, ok := wire.NextOption(tcp.Options()); ok; o, rest, ok = wire.NextOption(rest) {
func NextOption(b []byte) (o Option, rest []byte, ok bool) {
	if len(b) == 0 || b[0] == OptEnd {
		return Option{}, nil, false
	}
	if b[0] == OptNOP {
		return Option{OptNOP, b[:1:1]}, b[1:], true
	}
	if len(b) < 2 {
		return Option{}, nil, false
	}
	n := int(b[1])
	if n < 2 || n > len(b) {
		return Option{}, nil, false
	}
	return Option{b[0], b[:n:n]}, b[n:], true
}

// FindOption returns the first option of a kind, or false.
func FindOption(b []byte, kind uint8) (Option, bool) {
	for o, rest, ok := NextOption(b); ok; o, rest, ok = NextOption(rest) {
		if o.Kind == kind {
			return o, true
		}
	}
	return Option{}, false
}

// PutTOA4 writes the option that tells a real server the IPv4 client's address:
// FE 08, port and address in network order. b has at least OptTOA4Len bytes.
func PutTOA4(b []byte, port uint16, addr [4]byte) {
	_ = b[OptTOA4Len-1]
	b[0], b[1] = OptTOA, OptTOA4Len
	binary.BigEndian.PutUint16(b[2:4], port)
	*(*[4]byte)(b[4:8]) = addr
}

// PutTOA6 writes the option that tells a real server the IPv6 client's address:
// FE 14, port and address in network order. b has at least OptTOA6Len bytes.
func PutTOA6(b []byte, port uint16, addr [16]byte) {
	_ = b[OptTOA6Len-1]
	b[0], b[1] = OptTOA, OptTOA6Len
	binary.BigEndian.PutUint16(b[2:4], port)
	*(*[16]byte)(b[4:20]) = addr
}
