package wire

import (
	"encoding/binary"
	"math/bits"
)

// The Internet checksum is the complement of a ones'-complement sum of 16-bit
// big-endian words (RFC 1071). Such a sum does not care about word size or byte
// order as long as carries go round, so Sum adds 64-bit words as the machine
// loads them and swaps the bytes once at the end.

// Sum adds the bytes of b, as big-endian 16-bit words, to acc and returns a sum
// that Fold makes 16 bits of. An odd last byte counts as the high byte of a
// word, so only the last part of a message given in parts may be of odd length.
// b may lie at any address.
func Sum(b []byte, acc uint64) uint64 {
	var s, c uint64
	for len(b) >= 32 {
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[0:8]), 0)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[8:16]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[16:24]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[24:32]), c)
		s += c // can't carry: after one, s is at most 2^64-2
		b = b[32:]
	}
	for len(b) >= 8 {
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[0:8]), 0)
		s += c
		b = b[8:]
	}
	if len(b) > 0 {
		var last uint64
		shift := 0
		if len(b) >= 4 {
			last = uint64(binary.LittleEndian.Uint32(b[0:4]))
			b, shift = b[4:], 32
		}
		for _, x := range b {
			last |= uint64(x) << shift
			shift += 8
		}
		s, c = bits.Add64(s, last, 0)
		s += c
	}
	s, c = bits.Add64(bits.ReverseBytes64(s), acc, 0)
	return s + c
}

// sum20 is the folded sum of an IPv4 header without options.
func sum20(b *[20]byte) uint16 {
	s, c := bits.Add64(binary.LittleEndian.Uint64(b[0:8]), binary.LittleEndian.Uint64(b[8:16]), 0)
	s, c = bits.Add64(s, uint64(binary.LittleEndian.Uint32(b[16:20])), c)
	return bits.ReverseBytes16(Fold(s + c))
}

// Fold makes a sum 16 bits. It is 0 only when all that was added was 0.
func Fold(acc uint64) uint16 {
	acc = acc>>32 + acc&0xffffffff // < 2^33
	acc = acc>>16 + acc&0xffff     // < 2^18
	acc = acc>>16 + acc&0xffff     // <= 0x10002
	return uint16(acc + acc>>16)
}

// Checksum returns the value of a checksum field over b and what acc holds: the
// complement of the folded sum.
func Checksum(b []byte, acc uint64) uint16 { return ^Fold(Sum(b, acc)) }

// PseudoSum4 returns the sum of the pseudo-header that TCP and UDP checksums
// begin with over IPv4 (RFC 9293, 3.1; RFC 768). length is that of the L4 header
// and its data.
func PseudoSum4(src, dst [4]byte, proto uint8, length uint16) uint64 {
	return uint64(binary.BigEndian.Uint32(src[:])) + uint64(binary.BigEndian.Uint32(dst[:])) +
		uint64(proto) + uint64(length)
}

// Update16 returns the checksum field after a 16-bit word of what it covers
// changed from old to new (RFC 1624, eqn 3). All are in host order.
func Update16(sum, old, new uint16) uint16 {
	s := uint32(^sum) + uint32(^old) + uint32(new)
	s = s>>16 + s&0xffff
	return ^uint16(s + s>>16)
}

// Update32 is Update16 for a word of 32 bits that begins at an even offset.
func Update32(sum uint16, old, new uint32) uint16 {
	s := uint64(^sum) + uint64(^old) + uint64(new)
	return ^Fold(s)
}

// l4Field returns the L4 part of a TCP or UDP packet, the offset of the
// checksum field in it and the pseudo-header's sum; nil for anything else and
// for headers that lie about lengths.
func l4Field(ip IPv4) (l4 []byte, at int, pseudo uint64) {
	if len(ip) < IPv4MinLen {
		return nil, 0, 0
	}
	switch ip.Protocol() {
	case ProtoTCP:
		at = tcpChecksum
	case ProtoUDP:
		at = udpChecksum
	default:
		return nil, 0, 0
	}
	start, end := ip.HeaderLength(), int(ip.TotalLength())
	if end > len(ip) || start < IPv4MinLen || start+at+2 > end || ip.IsFragment() {
		return nil, 0, 0
	}
	l4 = ip[start:end]
	if ip.Protocol() == ProtoUDP {
		// A datagram may be shorter than the packet that carries it.
		n := int(UDP(l4).Length())
		if n < UDPLen || n > len(l4) {
			return nil, 0, 0
		}
		l4 = l4[:n]
	}
	return l4, at, PseudoSum4(ip.Src(), ip.Dst(), ip.Protocol(), uint16(len(l4)))
}

// CompleteL4 computes the whole TCP, UDP or SCTP checksum of a packet and stores
// it; a UDP sum of 0 is sent as 0xffff (RFC 768). It reports false, and changes
// nothing, for other protocols, fragments and headers that don't fit.
func CompleteL4(ip IPv4) bool {
	if s := sctpIn(ip); s != nil {
		s.ComputeChecksum()
		return true
	}
	l4, at, pseudo := l4Field(ip)
	if l4 == nil {
		return false
	}
	completeL4(l4, ip.Protocol(), at, pseudo)
	return true
}

// sctpIn returns the SCTP packet in an IPv4 packet, or nil.
func sctpIn(ip IPv4) SCTP {
	if len(ip) < IPv4MinLen || ip.Protocol() != ProtoSCTP || ip.IsFragment() {
		return nil
	}
	start, end := ip.HeaderLength(), int(ip.TotalLength())
	if end > len(ip) || start < IPv4MinLen || start+SCTPLen > end {
		return nil
	}
	return SCTP(ip[start:end])
}

// CompleteL4At is CompleteL4 for a whole TCP segment or UDP datagram that begins
// at offset l4 of a packet and reaches to its end, whatever the IP header says
// lies there.
func CompleteL4At(ip IPv4, l4 int, proto uint8) {
	at := udpChecksum
	if proto == ProtoTCP {
		at = tcpChecksum
	}
	b := ip[l4:]
	completeL4(b, proto, at, PseudoSum4(ip.Src(), ip.Dst(), proto, uint16(len(b))))
}

// completeL4 puts the checksum of b, with a pseudo-header's sum, at an offset of b.
func completeL4(b []byte, proto uint8, at int, pseudo uint64) {
	binary.BigEndian.PutUint16(b[at:], 0)
	sum := Checksum(b, pseudo)
	if sum == 0 && proto == ProtoUDP {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(b[at:], sum)
}

// PartialL4 stores the pseudo-header's folded sum, not complemented, in the TCP
// or UDP checksum field: what Linux calls CHECKSUM_PARTIAL and hands to a device
// that completes it. It reports false as CompleteL4 does.
func PartialL4(ip IPv4) bool {
	l4, at, pseudo := l4Field(ip)
	if l4 == nil {
		return false
	}
	binary.BigEndian.PutUint16(l4[at:], Fold(pseudo))
	return true
}

// IsPartialL4 reports whether the TCP or UDP checksum field holds just the
// pseudo-header's sum. One finished packet in 65535 looks so by chance, and
// completing that one is right as well: the result is the same field.
func IsPartialL4(ip IPv4) bool {
	l4, at, pseudo := l4Field(ip)
	return l4 != nil && binary.BigEndian.Uint16(l4[at:]) == Fold(pseudo)
}

// L4ChecksumOK reports whether the TCP or UDP checksum is right; a UDP checksum
// of 0 counts as right (RFC 768).
func L4ChecksumOK(ip IPv4) bool {
	l4, at, pseudo := l4Field(ip)
	if l4 == nil {
		return false
	}
	if ip.Protocol() == ProtoUDP && binary.BigEndian.Uint16(l4[at:]) == 0 {
		return true
	}
	return Fold(Sum(l4, pseudo)) == 0xffff
}
