package wire

import "encoding/binary"

// Next header values of extension headers (IANA). Any other ends the chain and
// is the transport's, ESP (50), Mobility (135), HIP (139) and Shim6 (140) too:
// behind those nobody here looks.
const (
	NextHopByHop    uint8 = 0  // RFC 8200, 4.3
	NextRouting     uint8 = 43 // RFC 8200, 4.4
	NextFragment    uint8 = 44 // RFC 8200, 4.5
	NextAH          uint8 = 51 // RFC 4302, 2
	NextNone        uint8 = 59 // RFC 8200, 4.7: what follows says nothing
	NextDestination uint8 = 60 // RFC 8200, 4.6
	extUnit               = 8  // hop-by-hop, routing and destination count their length in these
	extAHMin              = 12 // AH without a check value
)

// Limits of a chain. RFC 8504, 5.3, lets a node have such; what is seen on real
// links has one or two headers of 8 to 40 bytes.
const (
	// IPv6MaxExtensions is the number of extension headers in a packet.
	IPv6MaxExtensions = 8
	// IPv6MaxChain is their length together, in bytes.
	IPv6MaxChain = 512
)

// ChainFault says why a chain of extension headers is refused.
type ChainFault uint8

// What is wrong with a chain.
const (
	ChainOK       ChainFault = iota
	ChainCut                 // a header lies beyond the end of the packet
	ChainTooLong             // more than IPv6MaxExtensions or IPv6MaxChain
	ChainDisorder            // hop-by-hop behind another header, or a second fragment header
	ChainBadAH               // an authentication header shorter than its fixed part
)

// Chain says what lies between the fixed IPv6 header and the transport header.
// Offsets are in bytes from the first byte of the IPv6 header.
type Chain struct {
	// Proto is the first next header value that names no extension header, and
	// Offset where it begins: IPv6Len if there are none. Offset may be the
	// packet's end, and with NextNone nothing at all lies there. In a fragment
	// that is not the first one (IsLater), payload of the original lies there,
	// and Proto is only what its fragment header says, an extension header maybe.
	Proto  uint8
	Offset uint16
	// NextAt is where the byte with Proto stands.
	NextAt uint16
	// Fragment is where the fragment header begins (see IPv6Fragment), 0 if there is
	// none, and FragmentWord its word of offset and flag, 0 if there is none.
	// FragmentNextAt is where the byte stands that names it.
	Fragment       uint16
	FragmentWord   uint16
	FragmentNextAt uint16
	// SplitAt is where a fragment header belongs when the packet is to be
	// fragmented, behind the headers that every fragment repeats (RFC 8200, 4.5),
	// and SplitNextAt where the next header byte in front of it stands.
	SplitAt     uint16
	SplitNextAt uint16
	// Extensions is the number of extension headers.
	Extensions uint8
	// SegmentsLeft is the number of nodes that a routing header still wants to
	// visit: if it is not 0, the header's destination isn't the last one, and
	// the transport's checksum is about another address (RFC 8200, 8.1).
	SegmentsLeft uint8
	// SourceRoute says that there is a routing header of type 0, which nobody
	// may obey any more (RFC 5095).
	SourceRoute bool
}

// IsFragment reports whether the packet is any part of a fragmented one. An
// atomic fragment, which has a fragment header and is whole, is none (RFC 6946).
func (c *Chain) IsFragment() bool { return c.FragmentWord&^ipv6FragReserved != 0 }

// IsLater reports whether the packet is a fragment without the transport header.
func (c *Chain) IsLater() bool { return c.FragmentWord&IPv6OffsetMask != 0 }

// WalkIPv6 follows the next header values from the fixed header, which must be
// there, to the transport header. It looks no further than the payload length
// and the slice, whichever ends first, so that the packet quoted by an ICMP error
// can be walked as well. Of a chain with a fault, nothing is told.
//
// A first fragment without the whole chain in it is ChainCut, as RFC 8200, 4.5
// (RFC 7112) wants. Options in hop-by-hop and destination headers are not looked at.
func WalkIPv6(ip IPv6) (c Chain, f ChainFault) {
	end := min(len(ip), ip.TotalLength())
	at, nextAt := IPv6Len, ipv6Next
	c.SplitAt, c.SplitNextAt = IPv6Len, ipv6Next
	for {
		next := ip[nextAt]
		var n int
		switch next {
		case NextHopByHop, NextRouting, NextDestination, NextFragment, NextAH:
			if at+extUnit > end {
				return Chain{}, ChainCut
			}
			switch next {
			case NextFragment:
				n = IPv6FragmentLen
			case NextAH:
				if n = (int(ip[at+1]) + 2) << 2; n < extAHMin {
					return Chain{}, ChainBadAH
				}
			default:
				n = (int(ip[at+1]) + 1) * extUnit
			}
		default:
			c.Proto, c.Offset, c.NextAt = next, uint16(at), uint16(nextAt)
			return c, ChainOK
		}
		switch {
		case c.Extensions == IPv6MaxExtensions || at+n > IPv6Len+IPv6MaxChain:
			return Chain{}, ChainTooLong
		case at+n > end:
			return Chain{}, ChainCut
		case next == NextHopByHop && at != IPv6Len, next == NextFragment && c.Fragment != 0:
			return Chain{}, ChainDisorder
		}
		c.Extensions++
		switch next {
		case NextHopByHop, NextRouting:
			if next == NextRouting {
				if c.SegmentsLeft == 0 {
					c.SegmentsLeft = ip[at+3]
				}
				c.SourceRoute = c.SourceRoute || ip[at+2] == 0
			}
			if c.Fragment == 0 {
				c.SplitAt, c.SplitNextAt = uint16(at+n), uint16(at)
			}
		case NextFragment:
			c.Fragment, c.FragmentWord, c.FragmentNextAt = uint16(at), IPv6Fragment(ip[at:]).OffsetFlags(), uint16(nextAt)
			if c.IsLater() {
				c.Proto, c.Offset, c.NextAt = ip[at], uint16(at+n), uint16(at)
				return c, ChainOK
			}
		}
		at, nextAt = at+n, at
	}
}

// IPv6Option is one option of a hop-by-hop or destination header in place: Raw is
// type, length and value, or the one byte of a Pad1. It shares the packet's memory.
type IPv6Option struct {
	Type uint8
	Raw  []byte
}

// ipv6Pad1 is the one type without length (RFC 8200, 4.2).
const ipv6Pad1 uint8 = 0

// Value returns what follows type and length.
func (o IPv6Option) Value() []byte {
	if len(o.Raw) < 2 {
		return nil
	}
	return o.Raw[2:]
}

// NextIPv6Option takes the first option off b. ok is false at the end of the list, and
// where an option is longer than what is left.
func NextIPv6Option(b []byte) (o IPv6Option, rest []byte, ok bool) {
	if len(b) == 0 {
		return IPv6Option{}, nil, false
	}
	n := 1
	if b[0] != ipv6Pad1 {
		if len(b) < 2 {
			return IPv6Option{}, nil, false
		}
		n = 2 + int(b[1])
	}
	if n > len(b) {
		return IPv6Option{}, nil, false
	}
	return IPv6Option{b[0], b[:n:n]}, b[n:], true
}

// CutExtension takes the first extension header off b, which begins with one of that
// kind. ok is false for other kinds, and where it is longer than b.
//
//	for kind, b := ip.NextHeader(), []byte(ip[IPv6Len:]); ; {
//		h, rest, ok := wire.CutExtension(kind, b)
//		...
//		kind, b = h[0], rest
func CutExtension(kind uint8, b []byte) (h, rest []byte, ok bool) {
	if len(b) < extUnit {
		return nil, nil, false
	}
	n := IPv6FragmentLen
	switch kind {
	case NextHopByHop, NextRouting, NextDestination:
		n = (int(b[1]) + 1) * extUnit
	case NextAH:
		n = (int(b[1]) + 2) << 2
	case NextFragment:
	default:
		return nil, nil, false
	}
	if n > len(b) {
		return nil, nil, false
	}
	return b[:n:n], b[n:], true
}

// IPv6Fragment is a fragment header and what follows it (RFC 8200, 4.5).
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+---------------+---------------+-------------------------+---+-+
//	|  Next Header  |   Reserved    |     Fragment Offset     |Res|M|
//	+---------------+---------------+-------------------------+---+-+
//	|                         Identification                        |
//	+---------------------------------------------------------------+
type IPv6Fragment []byte

// Offsets in a fragment header, and its length.
const (
	ipv6FragNext  = 0
	ipv6FragWord  = 2
	ipv6FragIdent = 4

	IPv6FragmentLen = 8
)

// The flag behind the fragment offset, as bits of OffsetFlags.
const (
	IPv6MoreFragments uint16 = 0x0001
	IPv6OffsetMask    uint16 = 0xfff8 // an offset in bytes, as it stands there

	ipv6FragReserved uint16 = 0x0006
)

// NextHeader returns the protocol of what the original packet has here.
func (b IPv6Fragment) NextHeader() uint8 { return b[ipv6FragNext] }

// OffsetFlags returns the word of fragment offset and flag.
func (b IPv6Fragment) OffsetFlags() uint16 {
	return binary.BigEndian.Uint16(b[ipv6FragWord : ipv6FragWord+2])
}

// Offset returns where the payload belongs, in bytes: a multiple of 8 up to 65528.
func (b IPv6Fragment) Offset() int { return int(b.OffsetFlags() & IPv6OffsetMask) }

// MoreFragments returns the flag M.
func (b IPv6Fragment) MoreFragments() bool { return b.OffsetFlags()&IPv6MoreFragments != 0 }

// ID returns the identification.
func (b IPv6Fragment) ID() uint32 { return binary.BigEndian.Uint32(b[ipv6FragIdent : ipv6FragIdent+4]) }

// Put writes a whole fragment header. offset is in bytes, a multiple of 8.
func (b IPv6Fragment) Put(next uint8, offset uint16, more bool, id uint32) {
	word := offset & IPv6OffsetMask
	if more {
		word |= IPv6MoreFragments
	}
	b[ipv6FragNext], b[ipv6FragNext+1] = next, 0
	binary.BigEndian.PutUint16(b[ipv6FragWord:ipv6FragWord+2], word)
	binary.BigEndian.PutUint32(b[ipv6FragIdent:ipv6FragIdent+4], id)
}
