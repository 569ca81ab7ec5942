package words

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// transport makes what stands behind an IP header.
func (p *parser) transport(texts []string, ip below) (proto int, b []byte) {
	if len(texts) == 0 {
		return 0, nil
	}
	l := newLayer(texts[0])
	switch l.name {
	case "tcp":
		return protoTCP, p.tcp(&l, ip)
	case "udp":
		return protoUDP, p.udp(&l, ip)
	case "icmp":
		return protoICMP, p.icmp(&l, texts[1:])
	case "sctp":
		return protoSCTP, p.sctp(&l)
	case "opp":
		return protoOPP, p.opp(&l, texts[1:], ip)
	case "proto": // what has no name of its own
		proto = l.number("proto", 0)
		b = l.data()
		l.done()
		return proto, b
	case "ip":
		return protoIPIP, p.ip(&l, texts[1:])
	case "ip6":
		return protoIPv6, p.ip6(&l, texts[1:])
	case "gre":
		return protoGRE, p.gre(&l, texts[1:])
	case "data":
		return 0, l.data()
	}
	fail("no layer over ip is called %q", l.name)
	return 0, nil
}

var tcpFlagLetters = "FSRPAUEC"

func (p *parser) tcp(l *layer, ip below) []byte {
	b := make([]byte, 20)
	binary.BigEndian.PutUint16(b[0:], portWord(l.next("the source port")))
	binary.BigEndian.PutUint16(b[2:], portWord(l.next("the destination port")))
	for _, c := range l.next("the flags") {
		i := strings.IndexRune(tcpFlagLetters, c)
		if i < 0 && c != '-' {
			fail("tcp: no flag is called %c", c)
		}
		if i >= 0 {
			b[13] |= 1 << i
		}
	}
	binary.BigEndian.PutUint32(b[4:], uint32(l.number("seq", 0)))
	binary.BigEndian.PutUint32(b[8:], uint32(l.number("ack", 0)))
	binary.BigEndian.PutUint16(b[14:], uint16(l.number("win", 65535)))
	b = append(b, tcpOptions(l.opts)...)
	b[12] = byte(l.number("doff", len(b))>>2) << 4
	if n := l.number("gso", 0); n != 0 && !p.inner {
		p.frame.GSOType, p.frame.GSOSize = gsoTCPv4, uint16(n)
		if ip.is6() {
			p.frame.GSOType = gsoTCPv6
		}
	}
	csum, _ := l.take("csum")
	cut := l.number("cut", -1)
	b = append(b, l.data()...)
	l.done()
	p.checksum(b, 16, csum, ip, protoTCP)
	if cut >= 0 {
		b = b[:cut]
	}
	return b
}

func (p *parser) udp(l *layer, ip below) []byte {
	b := make([]byte, 8)
	binary.BigEndian.PutUint16(b[0:], portWord(l.next("the source port")))
	binary.BigEndian.PutUint16(b[2:], portWord(l.next("the destination port")))
	b = append(b, l.data()...)
	n := l.number("len", len(b))
	binary.BigEndian.PutUint16(b[4:], uint16(n))
	if size := l.number("gso", 0); size != 0 && !p.inner {
		p.frame.GSOType, p.frame.GSOSize = gsoUDPL4, uint16(size)
	}
	csum, _ := l.take("csum")
	cut := l.number("cut", -1)
	l.done()
	if n < 8 || n > len(b) {
		n = len(b)
	}
	p.checksum(b[:n], 6, csum, ip, protoUDP)
	if cut >= 0 {
		b = b[:cut]
	}
	return b
}

// checksum puts the checksum at an offset of an L4 header.
func (p *parser) checksum(b []byte, at int, kind string, ip below, proto uint8) {
	open := ip.pseudo(proto, len(b))
	sum := ^sum16(b, uint32(open))
	if sum == 0 && proto == protoUDP {
		sum = 0xffff
	}
	switch kind {
	case "":
	case "bad":
		sum ^= 0x5555
	case "0":
		sum = 0
	case "open":
		sum = open
	case "partial":
		sum = open
		if !p.inner {
			p.frame.Partial = true
		}
	default:
		fail("csum=%s: bad, partial, open or 0", kind)
	}
	binary.BigEndian.PutUint16(b[at:], sum)
}

// printL4 says what stands behind an IP header. whole is false for what is cut or
// a fragment: such has no checksum to look at.
func printL4(ip below, proto uint8, l4 []byte, f *Frame, whole bool) string {
	switch {
	case proto == protoTCP && len(l4) >= 8:
		return printTCP(ip, l4, f, whole)
	case proto == protoUDP && len(l4) >= 8:
		return printUDP(ip, l4, f, whole)
	case proto == protoSCTP && len(l4) >= 8:
		return printSCTP(l4, whole, f != nil && f.Partial)
	case proto == protoICMP && len(l4) >= 8:
		return printICMP(l4, f)
	case proto == protoIPIP && len(l4) >= 20:
		return printIP(l4, f)
	case proto == protoIPv6 && len(l4) >= 40:
		return viewer{f: f}.ip6(l4)
	case proto == protoGRE && isGRE(l4):
		return printGRE(l4, f, whole)
	case proto == protoOPP:
		return printOPP(ip, l4, f, whole)
	default:
		return strings.TrimSpace(fmt.Sprintf("proto=%d%s", proto, dataWords(l4)))
	}
}

// sumWord says how the L4 checksum is: nothing if it is right.
func sumWord(ip below, proto uint8, l4 []byte, at int, f *Frame) string {
	open := ip.pseudo(proto, len(l4))
	field := binary.BigEndian.Uint16(l4[at:])
	if f != nil && f.Partial {
		if field != open {
			return " csum=partial-bad"
		}
		return " csum=partial"
	}
	if field == 0 && proto == protoUDP {
		return " csum=0"
	}
	if sum16(l4, uint32(open)) != 0xffff {
		return " csum=bad"
	}
	return ""
}

func gsoWord(f *Frame) string {
	if f == nil || f.GSOType == 0 {
		return ""
	}
	return fmt.Sprintf(" gso=%d", f.GSOSize)
}

func printTCP(ip below, t []byte, f *Frame, whole bool) string {
	ports := fmt.Sprintf("tcp %d > %d", binary.BigEndian.Uint16(t), binary.BigEndian.Uint16(t[2:]))
	seq := binary.BigEndian.Uint32(t[4:])
	if len(t) < 20 || int(t[12]>>4)*4 > len(t) || t[12]>>4 < 5 {
		return fmt.Sprintf("%s seq=%d cut=%d", ports, seq, len(t))
	}
	flags := ""
	for i, c := range tcpFlagLetters {
		if t[13]>>i&1 != 0 {
			flags += string(c)
		}
	}
	if flags == "" {
		flags = "-"
	}
	s := fmt.Sprintf("%s %s seq=%d", ports, flags, seq)
	if ack := binary.BigEndian.Uint32(t[8:]); t[13]&16 != 0 || ack != 0 {
		s += fmt.Sprintf(" ack=%d", ack)
	}
	if w := binary.BigEndian.Uint16(t[14:]); w != 65535 {
		s += fmt.Sprintf(" win=%d", w)
	}
	head := int(t[12]>>4) * 4
	if head > 20 {
		s += " <" + optionWords(t[20:head]) + ">"
	}
	s += gsoWord(f) + dataWords(t[head:])
	if whole {
		s += sumWord(ip, protoTCP, t, 16, f)
	}
	return s
}

func printUDP(ip below, u []byte, f *Frame, whole bool) string {
	s := fmt.Sprintf("udp %d > %d", binary.BigEndian.Uint16(u), binary.BigEndian.Uint16(u[2:]))
	n := int(binary.BigEndian.Uint16(u[4:]))
	if n != len(u) && whole {
		s += fmt.Sprintf(" len=%d", n)
	}
	s += gsoWord(f) + dataWords(u[8:])
	if whole && n >= 8 && n <= len(u) {
		s += sumWord(ip, protoUDP, u[:n], 6, f)
	}
	return s
}
