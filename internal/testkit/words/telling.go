package words

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
)

// How a real server is told who its client is, beside TOA: UOA as an IP option
// (uoa=1.2.3.4:5) or as a protocol of its own ("opp 1.2.3.4:5 / udp ..."), and
// the header of the PROXY protocol in front of data
// (proxy=1:1.2.3.4:5>10.0.0.100:80, or proxy=2:...). Addresses of IPv6 stand in
// brackets, as in [2001:db8::1]:5.

const (
	protoOPP       = 248
	protoIPIP      = 4
	protoGRE       = 47
	protoIPv6      = 41
	optUOA         = 31
	proxySignature = "\r\n\r\n\x00\r\nQUIT\n"
)

// proxyHeader makes the bytes of "1:1.2.3.4:5>10.0.0.100:80" for a protocol.
func proxyHeader(text string, proto int) []byte {
	version, ends, _ := strings.Cut(text, ":")
	from, to, _ := strings.Cut(ends, ">")
	src, err1 := netip.ParseAddrPort(from)
	dst, err2 := netip.ParseAddrPort(to)
	if err1 != nil || err2 != nil || src.Addr().Is4() != dst.Addr().Is4() {
		fail("proxy=%s: want VERSION:1.2.3.4:5>6.7.8.9:10", text)
	}
	switch version {
	case "1":
		family := 4
		if src.Addr().Is6() {
			family = 6
		}
		return fmt.Appendf(nil, "PROXY TCP%d %s %s %d %d\r\n", family, src.Addr(), dst.Addr(), src.Port(), dst.Port())
	case "2":
		b := append([]byte(proxySignature), 0x21, 0x11, 0, 12)
		if proto == protoUDP {
			b[13] = 0x12
		}
		if src.Addr().Is6() {
			b[13], b[15] = b[13]+0x10, 36
		}
		b = append(append(b, src.Addr().AsSlice()...), dst.Addr().AsSlice()...)
		b = binary.BigEndian.AppendUint16(b, src.Port())
		return binary.BigEndian.AppendUint16(b, dst.Port())
	}
	fail("proxy=%s: version %q is none", text, version)
	return nil
}

// proxyWords is the inverse of proxyHeader: what the header in front says, and
// what lies behind it.
func proxyWords(b []byte) (words string, rest []byte) {
	line, behind, whole := strings.Cut(string(b), "\r\n")
	if w := strings.Fields(line); whole && len(w) == 6 && w[0] == "PROXY" && w[1] == "TCP4" {
		return fmt.Sprintf(" proxy=1:%s:%s>%s:%s", w[2], w[4], w[3], w[5]), []byte(behind)
	}
	if w := strings.Fields(line); whole && len(w) == 6 && w[0] == "PROXY" && w[1] == "TCP6" {
		return fmt.Sprintf(" proxy=1:[%s]:%s>[%s]:%s", w[2], w[4], w[3], w[5]), []byte(behind)
	}
	if len(b) >= 52 && string(b[:12]) == proxySignature && b[12] == 0x21 && b[13]&0xf0 == 0x20 && b[14] == 0 && b[15] == 36 {
		src := netip.AddrPortFrom(addr(b[16:32]), binary.BigEndian.Uint16(b[48:]))
		dst := netip.AddrPortFrom(addr(b[32:48]), binary.BigEndian.Uint16(b[50:]))
		return fmt.Sprintf(" proxy=2:%s>%s", src, dst), b[52:]
	}
	if len(b) >= 28 && string(b[:12]) == proxySignature && b[12] == 0x21 && b[13]&0xf0 == 0x10 && b[14] == 0 && b[15] == 12 {
		src := netip.AddrPortFrom(addr(b[16:20]), binary.BigEndian.Uint16(b[24:]))
		dst := netip.AddrPortFrom(addr(b[20:24]), binary.BigEndian.Uint16(b[26:]))
		return fmt.Sprintf(" proxy=2:%s>%s", src, dst), b[28:]
	}
	return "", b
}

// ipOptionWords says what the options of an IP header are.
func ipOptionWords(o []byte) string {
	if len(o) == 8 && o[0] == optUOA && o[1] == 8 {
		return fmt.Sprintf(" uoa=%s", netip.AddrPortFrom(addr(o[4:8]), binary.BigEndian.Uint16(o[2:])))
	}
	return fmt.Sprintf(" opts=%x", o)
}

// uoaOption makes the bytes of "1.2.3.4:5".
func uoaOption(text string) []byte {
	a, err := netip.ParseAddrPort(text)
	if err != nil || !a.Addr().Is4() {
		fail("uoa=%s: want 1.2.3.4:5", text)
	}
	return toldAddress(optUOA, a)
}

// toldAddress makes the option that TOA and UOA share.
func toldAddress(kind byte, a netip.AddrPort) []byte {
	ip := a.Addr().AsSlice()
	return append(binary.BigEndian.AppendUint16([]byte{kind, byte(4 + len(ip))}, a.Port()), ip...)
}

// opp makes a header of protocol 248 and the datagram behind it.
func (p *parser) opp(l *layer, rest []string, ip below) []byte {
	w := l.next("the address")
	a, err := netip.ParseAddrPort(w)
	if err != nil {
		fail("opp %s: want 1.2.3.4:5 or [2001:db8::1]:5", w)
	}
	l.done()
	option := toldAddress(optUOA, a)
	b := []byte{0x10, protoUDP, 0, byte(4 + len(option))}
	if a.Addr().Is6() {
		b[0] = 0x20
	}
	_, datagram := p.transport(rest, ip)
	return append(append(b, option...), datagram...)
}

// printOPP says what a packet of protocol 248 is.
func printOPP(ip below, l4 []byte, f *Frame, whole bool) string {
	for version, n := range map[byte]int{0x10: 4, 0x20: 16} {
		head := 8 + n
		if len(l4) >= head+8 && l4[0] == version && l4[1] == protoUDP && int(binary.BigEndian.Uint16(l4[2:])) == head && l4[4] == optUOA && int(l4[5]) == head-4 {
			// UDP's checksum does not know that there is something in front.
			return fmt.Sprintf("opp %s / %s", netip.AddrPortFrom(addr(l4[8:head]), binary.BigEndian.Uint16(l4[6:])), printUDP(ip, l4[head:], f, whole))
		}
	}
	return "opp hex " + hex.EncodeToString(l4)
}
