package wire

import "encoding/binary"

// PseudoSum6 returns the sum of the pseudo-header that TCP, UDP and ICMPv6
// checksums begin with over IPv6 (RFC 8200, 8.1). length is that of the L4 header
// and its data; extension headers don't count. dst is the last destination: not the
// one in the fixed header if a routing header has segments left.
func PseudoSum6(src, dst [16]byte, proto uint8, length uint32) uint64 {
	// Eight words of 32 bits, an 8-bit and a 32-bit one: less than 2^36.
	return sumAddr(&src) + sumAddr(&dst) + uint64(proto) + uint64(length)
}

// sumAddr adds an address as 32-bit words.
func sumAddr(a *[16]byte) uint64 {
	return uint64(binary.BigEndian.Uint32(a[0:4])) + uint64(binary.BigEndian.Uint32(a[4:8])) +
		uint64(binary.BigEndian.Uint32(a[8:12])) + uint64(binary.BigEndian.Uint32(a[12:16]))
}

// UpdateSum returns the checksum field after a part of what it covers, which
// summed to was, sums to now (RFC 1624, eqn 3): Update16 for addresses of
// IPv6, or for a pseudo-header that becomes the other family's. Neither sum may
// be that of a part that is odd in length or place.
func UpdateSum(sum uint16, was, now uint64) uint16 {
	return ^Fold(uint64(^sum) + uint64(^Fold(was)) + uint64(Fold(now)))
}

// l4Field6 is l4Field for IPv6: it finds the TCP or UDP packet behind extension
// headers too. It returns nil also when a routing header has segments left,
// since then the checksum is about another destination.
//
// The home address option of Mobile IPv6 (RFC 6275, 6.3), which moves the source
// elsewhere, is not looked at.
func l4Field6(ip IPv6) (l4 []byte, proto uint8, at int, pseudo uint64) {
	if len(ip) < IPv6Len || ip.TotalLength() > len(ip) {
		return nil, 0, 0, 0
	}
	c, fault := WalkIPv6(ip)
	if fault != ChainOK || c.IsFragment() || c.SegmentsLeft != 0 {
		return nil, 0, 0, 0
	}
	switch c.Proto {
	case ProtoTCP:
		at = tcpChecksum
	case ProtoUDP:
		at = udpChecksum
	default:
		return nil, 0, 0, 0
	}
	l4 = ip[c.Offset:ip.TotalLength()]
	if at+2 > len(l4) {
		return nil, 0, 0, 0
	}
	if c.Proto == ProtoUDP {
		// A datagram may be shorter than the packet that carries it.
		n := int(UDP(l4).Length())
		if n < UDPLen || n > len(l4) {
			return nil, 0, 0, 0
		}
		l4 = l4[:n]
	}
	return l4, c.Proto, at, PseudoSum6(ip.Src(), ip.Dst(), c.Proto, uint32(len(l4)))
}

// sctpIn6 returns the SCTP packet in an IPv6 packet, or nil.
func sctpIn6(ip IPv6) SCTP {
	if len(ip) < IPv6Len || ip.TotalLength() > len(ip) {
		return nil
	}
	c, fault := WalkIPv6(ip)
	if fault != ChainOK || c.Proto != ProtoSCTP || c.IsFragment() || int(c.Offset)+SCTPLen > ip.TotalLength() {
		return nil
	}
	return SCTP(ip[c.Offset:ip.TotalLength()])
}

// CompleteL4Over6 is CompleteL4 for IPv6: it computes the whole TCP, UDP or SCTP checksum
// of a packet, behind extension headers too, and stores it. It reports false, and
// changes nothing, for other protocols, fragments that are not atomic, routing
// headers with segments left and headers that don't fit.
func CompleteL4Over6(ip IPv6) bool {
	if s := sctpIn6(ip); s != nil {
		s.ComputeChecksum()
		return true
	}
	l4, proto, at, pseudo := l4Field6(ip)
	if l4 == nil {
		return false
	}
	completeL4(l4, proto, at, pseudo)
	return true
}

// CompleteL4AtOver6 is CompleteL4Over6 for a whole TCP segment or UDP datagram that
// begins at offset l4 of a packet and reaches to its end, whatever the headers
// before it say lies there.
func CompleteL4AtOver6(ip IPv6, l4 int, proto uint8) {
	at := udpChecksum
	if proto == ProtoTCP {
		at = tcpChecksum
	}
	b := ip[l4:]
	completeL4(b, proto, at, PseudoSum6(ip.Src(), ip.Dst(), proto, uint32(len(b))))
}

// PartialL4Over6 is PartialL4 for IPv6. It reports false as CompleteL4Over6 does.
func PartialL4Over6(ip IPv6) bool {
	l4, _, at, pseudo := l4Field6(ip)
	if l4 == nil {
		return false
	}
	binary.BigEndian.PutUint16(l4[at:], Fold(pseudo))
	return true
}

// IsPartialL4Over6 is IsPartialL4 for IPv6.
func IsPartialL4Over6(ip IPv6) bool {
	l4, _, at, pseudo := l4Field6(ip)
	return l4 != nil && binary.BigEndian.Uint16(l4[at:]) == Fold(pseudo)
}

// L4ChecksumOKOver6 reports whether the TCP or UDP checksum is right. Over IPv6 a
// UDP checksum of 0 is wrong (RFC 8200, 8.1).
func L4ChecksumOKOver6(ip IPv6) bool {
	l4, proto, at, pseudo := l4Field6(ip)
	if l4 == nil || proto == ProtoUDP && binary.BigEndian.Uint16(l4[at:]) == 0 {
		return false
	}
	return Fold(Sum(l4, pseudo)) == 0xffff
}
