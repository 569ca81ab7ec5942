package wire

import (
	"bytes"
	"encoding/binary"
	"net/netip"
)

// The PROXY protocol (haproxy.org, proxy-protocol.txt, 2020/03/05): a header in
// front of a connection's data that says whose connection it is.
//
// Version 1 is a line:
//
//	PROXY TCP4 10.0.0.48 10.0.0.100 37177 80\r\n
//
// Version 2 is binary:
//
//	 0                                              11
//	+--------------------------------------------------+
//	| 0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A   signature  |
//	+------------+------------+------------------------+
//	| 2, command | fam, proto | length of what follows |
//	+------------+------------+------------------------+
//	| source and destination address, both ports, TLVs |
//	+--------------------------------------------------+

// Lengths of PROXY headers in bytes.
const (
	// ProxyMax is the longest header that AppendProxy makes: a line of
	// version 1 (specification, 2.1).
	ProxyMax = 107
	// ProxyV2Len is the fixed part of version 2.
	ProxyV2Len = 16

	proxyV2Addr4 = 12
	proxyV2Addr6 = 36
	proxyV2Unix  = 216
)

var proxySignature = [12]byte{0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a}

// ProxyHeader is what a header says. The zero Source stands for a header that
// names nobody: UNKNOWN of version 1, LOCAL or AF_UNSPEC of version 2.
type ProxyHeader struct {
	Version     uint8 // 1 or 2
	Proto       uint8 // ProtoTCP or ProtoUDP
	Source      netip.AddrPort
	Destination netip.AddrPort
}

// AppendProxy appends the header to b. Both addresses must be of one family and
// without zone; version 1 knows TCP alone. It allocates nothing if b has room for
// ProxyMax bytes.
func AppendProxy(b []byte, h *ProxyHeader) []byte {
	if h.Version == 1 {
		return appendProxy1(b, h)
	}
	b = append(b, proxySignature[:]...)
	src, dst := h.Source.Addr(), h.Destination.Addr()
	const local, proxy = 0x20, 0x21
	transport := byte(1) // SOCK_STREAM
	if h.Proto == ProtoUDP {
		transport = 2 // SOCK_DGRAM
	}
	switch {
	case !src.IsValid():
		return append(b, local, 0, 0, 0)
	case src.Is4():
		b = append(b, proxy, 0x10|transport, 0, proxyV2Addr4)
		s, d := src.As4(), dst.As4()
		b = append(append(b, s[:]...), d[:]...)
	default:
		b = append(b, proxy, 0x20|transport, 0, proxyV2Addr6)
		s, d := src.As16(), dst.As16()
		b = append(append(b, s[:]...), d[:]...)
	}
	b = binary.BigEndian.AppendUint16(b, h.Source.Port())
	return binary.BigEndian.AppendUint16(b, h.Destination.Port())
}

func appendProxy1(b []byte, h *ProxyHeader) []byte {
	src := h.Source.Addr()
	switch {
	case !src.IsValid():
		return append(b, "PROXY UNKNOWN\r\n"...)
	case src.Is4():
		b = append(b, "PROXY TCP4 "...)
	default:
		b = append(b, "PROXY TCP6 "...)
	}
	b = append(src.AppendTo(b), ' ')
	b = append(h.Destination.Addr().AppendTo(b), ' ')
	b = append(appendDecimal(b, h.Source.Port()), ' ')
	return append(appendDecimal(b, h.Destination.Port()), '\r', '\n')
}

func appendDecimal(b []byte, v uint16) []byte {
	var d [5]byte
	i := len(d)
	for {
		i--
		d[i] = '0' + byte(v%10)
		if v /= 10; v == 0 {
			return append(b, d[i:]...)
		}
	}
}

// ParseProxy reads the header that b begins with and returns its length. ok is
// false when b begins with none, with a part of one, or with one that breaks the
// specification's rules.
func ParseProxy(b []byte) (h ProxyHeader, n int, ok bool) {
	if len(b) >= ProxyV2Len && [12]byte(b[:12]) == proxySignature {
		return parseProxy2(b)
	}
	const prefix = "PROXY "
	if len(b) < len(prefix) || string(b[:len(prefix)]) != prefix {
		return h, 0, false
	}
	return parseProxy1(b)
}

func parseProxy2(b []byte) (h ProxyHeader, n int, ok bool) {
	h.Version = 2
	n = ProxyV2Len + int(binary.BigEndian.Uint16(b[14:16]))
	command := b[12] & 0xf
	if b[12]>>4 != 2 || command > 1 || n > len(b) {
		return h, 0, false
	}
	switch b[13] & 0xf {
	case 0, 1:
		h.Proto = ProtoTCP
	case 2:
		h.Proto = ProtoUDP
	default:
		return h, 0, false
	}
	a := b[ProxyV2Len:n]
	switch b[13] >> 4 {
	case 0: // AF_UNSPEC
		return h, n, true
	case 1:
		if len(a) < proxyV2Addr4 {
			return h, 0, false
		}
		if command == 1 {
			h.Source = netip.AddrPortFrom(netip.AddrFrom4([4]byte(a[0:4])), binary.BigEndian.Uint16(a[8:10]))
			h.Destination = netip.AddrPortFrom(netip.AddrFrom4([4]byte(a[4:8])), binary.BigEndian.Uint16(a[10:12]))
		}
	case 2:
		if len(a) < proxyV2Addr6 {
			return h, 0, false
		}
		if command == 1 {
			h.Source = netip.AddrPortFrom(netip.AddrFrom16([16]byte(a[0:16])), binary.BigEndian.Uint16(a[32:34]))
			h.Destination = netip.AddrPortFrom(netip.AddrFrom16([16]byte(a[16:32])), binary.BigEndian.Uint16(a[34:36]))
		}
	case 3: // AF_UNIX: names nobody that a packet could come from
		if len(a) < proxyV2Unix {
			return h, 0, false
		}
	default:
		return h, 0, false
	}
	return h, n, true
}

func parseProxy1(b []byte) (h ProxyHeader, n int, ok bool) {
	h.Version, h.Proto = 1, ProtoTCP
	end := bytes.IndexByte(b[:min(len(b), ProxyMax)], '\n')
	if end < 1 || b[end-1] != '\r' {
		return h, 0, false
	}
	n = end + 1
	line := b[len("PROXY ") : end-1]
	family, rest, _ := cutSpace(line)
	if string(family) == "UNKNOWN" {
		return h, n, true // the rest of the line is to be ignored (2.1)
	}
	var word [4][]byte
	for i := range word {
		var more bool
		word[i], rest, more = cutSpace(rest)
		if more != (i < len(word)-1) {
			return h, 0, false
		}
	}
	six := string(family) == "TCP6"
	if !six && string(family) != "TCP4" {
		return h, 0, false
	}
	src, ok1 := parseAddr(word[0], six)
	dst, ok2 := parseAddr(word[1], six)
	sport, ok3 := parseDecimal(word[2])
	dport, ok4 := parseDecimal(word[3])
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return h, 0, false
	}
	h.Source, h.Destination = netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)
	return h, n, true
}

// cutSpace returns what lies before the first space, what lies behind it, and
// whether there was one.
func cutSpace(b []byte) (before, after []byte, found bool) { return bytes.Cut(b, []byte{' '}) }

// parseAddr reads an address as version 1 has it.
func parseAddr(b []byte, six bool) (netip.Addr, bool) {
	if six {
		return parseAddr6(b)
	}
	return parseAddr4(b)
}

// parseAddr6 reads an IPv6 address without zone (RFC 4291, 2.2). netip.ParseAddr
// wants a string and makes its errors on the heap: a client could have us do both
// for every connection.
func parseAddr6(b []byte) (netip.Addr, bool) {
	var a [16]byte
	n, gap := 0, -1
	if len(b) >= 2 && b[0] == ':' && b[1] == ':' {
		gap, b = 0, b[2:]
	}
	for len(b) > 0 {
		end := bytes.IndexByte(b, ':')
		if end < 0 {
			end = len(b)
		}
		word := b[:end]
		if bytes.IndexByte(word, '.') >= 0 {
			v4, ok := parseAddr4(word)
			if !ok || end != len(b) || n > 12 {
				return netip.Addr{}, false
			}
			four := v4.As4()
			n += copy(a[n:], four[:])
			break
		}
		v, ok := parseHex(word)
		if !ok || n == len(a) {
			return netip.Addr{}, false
		}
		binary.BigEndian.PutUint16(a[n:], v)
		n += 2
		if end == len(b) {
			break
		}
		b = b[end+1:]
		switch {
		case len(b) == 0:
			return netip.Addr{}, false // ends in one colon
		case b[0] == ':' && gap >= 0:
			return netip.Addr{}, false // a second ::
		case b[0] == ':':
			gap, b = n, b[1:]
		}
	}
	if (gap < 0) != (n == len(a)) {
		return netip.Addr{}, false
	}
	if gap >= 0 {
		tail := n - gap
		copy(a[len(a)-tail:], a[gap:n])
		clear(a[gap : len(a)-tail])
	}
	return netip.AddrFrom16(a), true
}

// parseHex reads a group of an IPv6 address.
func parseHex(b []byte) (v uint16, ok bool) {
	if len(b) == 0 || len(b) > 4 {
		return 0, false
	}
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		v = v<<4 | uint16(c)
	}
	return v, true
}

func parseAddr4(b []byte) (netip.Addr, bool) {
	var a [4]byte
	for i := range a {
		dot := bytes.IndexByte(b, '.')
		if i == 3 {
			dot = len(b)
		}
		if dot < 1 || dot > 3 {
			return netip.Addr{}, false
		}
		v, ok := parseDecimal(b[:dot])
		if !ok || v > 255 {
			return netip.Addr{}, false
		}
		a[i] = byte(v)
		b = b[min(dot+1, len(b)):]
	}
	return netip.AddrFrom4(a), true
}

// parseDecimal reads a number up to 65535 without leading zeros.
func parseDecimal(b []byte) (uint16, bool) {
	if len(b) == 0 || len(b) > 5 || len(b) > 1 && b[0] == '0' {
		return 0, false
	}
	v := uint32(0)
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + uint32(c-'0')
	}
	return uint16(v), v <= 65535
}
