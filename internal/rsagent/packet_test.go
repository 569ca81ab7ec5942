package rsagent

import (
	"encoding/binary"
	"net/netip"
)

// Packets by hand: what the tests send is not what our own code would make.

func sum16(s uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		s += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}

func checksum(s uint32) uint16 {
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return ^uint16(s)
}

// pseudo is the sum of the pseudo header (RFC 9293, RFC 8200).
func pseudo(src, dst netip.Addr, protocol byte, n int) uint32 {
	return sum16(sum16(uint32(protocol)+uint32(n), src.AsSlice()), dst.AsSlice())
}

// ip puts an IP header before a payload: options are IPv4's, and a multiple of four.
func ip(src, dst netip.Addr, protocol byte, options, payload []byte) []byte {
	if src.Is4() {
		h := make([]byte, 20, 20+len(options)+len(payload))
		h = append(h, options...)
		h[0] = 0x40 | byte(len(h)/4)
		binary.BigEndian.PutUint16(h[2:], uint16(len(h)+len(payload)))
		h[6] = 0x40 // don't fragment
		h[8], h[9] = 63, protocol
		copy(h[12:], src.AsSlice())
		copy(h[16:], dst.AsSlice())
		binary.BigEndian.PutUint16(h[10:], checksum(sum16(0, h)))
		return append(h, payload...)
	}
	h := make([]byte, 40, 40+len(payload))
	h[0] = 0x60
	binary.BigEndian.PutUint16(h[4:], uint16(len(payload)))
	h[6], h[7] = protocol, 63
	copy(h[8:], src.AsSlice())
	copy(h[24:], dst.AsSlice())
	return append(h, payload...)
}

// udp makes a datagram with a right checksum.
func udp(src, dst netip.AddrPort, data []byte) []byte {
	d := make([]byte, 8, 8+len(data))
	binary.BigEndian.PutUint16(d, src.Port())
	binary.BigEndian.PutUint16(d[2:], dst.Port())
	binary.BigEndian.PutUint16(d[4:], uint16(8+len(data)))
	d = append(d, data...)
	c := checksum(sum16(pseudo(src.Addr(), dst.Addr(), 17, len(d)), d))
	if c == 0 {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(d[6:], c)
	return d
}

// unsummed is a datagram without checksum, as DPVS sends it behind OPP over IPv4.
func unsummed(d []byte) []byte {
	d[6], d[7] = 0, 0
	return d
}

// flags of TCP.
const (
	fin = 1
	syn = 2
	rst = 4
	psh = 8
	ack = 16
)

// tcp makes a segment; options are padded to a multiple of four by NOPs in front,
// so that a bad option at the end stays at the end.
func tcp(src, dst netip.AddrPort, flags byte, seq, acked uint32, options, data []byte) []byte {
	for len(options)%4 != 0 {
		options = append([]byte{1}, options...)
	}
	s := make([]byte, 20, 60+len(data))
	s = append(s, options...)
	binary.BigEndian.PutUint16(s, src.Port())
	binary.BigEndian.PutUint16(s[2:], dst.Port())
	binary.BigEndian.PutUint32(s[4:], seq)
	if flags&ack != 0 {
		binary.BigEndian.PutUint32(s[8:], acked)
	}
	s[12], s[13] = byte(len(s)/4)<<4, flags
	binary.BigEndian.PutUint16(s[14:], 65535)
	s = append(s, data...)
	binary.BigEndian.PutUint16(s[16:], checksum(sum16(pseudo(src.Addr(), dst.Addr(), 6, len(s)), s)))
	return s
}

// address makes an option of address: TOA (254) or UOA (31).
func address(kind byte, client netip.AddrPort) []byte {
	a := client.Addr().AsSlice()
	o := []byte{kind, byte(4 + len(a)), byte(client.Port() >> 8), byte(client.Port())}
	return append(o, a...)
}

func toaOf(client netip.AddrPort) []byte { return address(254, client) }
func uoaOf(client netip.AddrPort) []byte { return address(31, client) }

// oppOf makes the header of the option protocol around an option.
func oppOf(version byte, option []byte) []byte {
	return append([]byte{version << 4, 17, 0, byte(4 + len(option))}, option...)
}

// parsed is what the tests look at of a packet.
type parsed struct {
	src, dst netip.AddrPort
	protocol byte
	l4       []byte
}

func parse(b []byte) (p parsed, ok bool) {
	var src, dst netip.Addr
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		n := int(b[0]&15) * 4
		if len(b) < n {
			return p, false
		}
		src, dst = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
		p.protocol, p.l4 = b[9], b[n:]
	case len(b) >= 40 && b[0]>>4 == 6:
		src, dst = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
		p.protocol, p.l4 = b[6], b[40:]
	default:
		return p, false
	}
	if p.protocol != 6 && p.protocol != 17 || len(p.l4) < 8 {
		return p, false
	}
	p.src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(p.l4))
	p.dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(p.l4[2:]))
	return p, true
}
