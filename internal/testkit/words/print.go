package words

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Print says what a frame is, without its link-layer addresses.
func Print(f Frame, s Stations) string {
	d := f.Data
	if len(d) < 14 {
		return fmt.Sprintf("short %x", d)
	}
	kind, rest := binary.BigEndian.Uint16(d[12:]), d[14:]
	front := ""
	for kind == etherVLAN && len(rest) >= 4 {
		front += fmt.Sprintf("vlan %d / ", binary.BigEndian.Uint16(rest))
		kind, rest = binary.BigEndian.Uint16(rest[2:]), rest[4:]
	}
	switch {
	case kind == etherIPv4:
		return front + printIP(rest, &f)
	case kind == etherARP && len(rest) >= 28:
		return front + printARP(rest, s, MAC(d[6:12]))
	}
	return front + fmt.Sprintf("eth type=0x%04x /%s", kind, dataWords(rest))
}

func printARP(a []byte, s Stations, from MAC) string {
	op := binary.BigEndian.Uint16(a[6:])
	sha, spa, tpa := MAC(a[8:14]), addr(a[14:18]), addr(a[24:28])
	mac := ""
	if sha != from {
		mac = " mac=" + s.Name(sha)
	}
	extra := ""
	if len(a) > 28 {
		extra = fmt.Sprintf(" and %d bytes", len(a)-28)
	}
	switch op {
	case 1:
		return fmt.Sprintf("arp request who=%s tell=%s%s%s", tpa, spa, mac, extra)
	case 2:
		return fmt.Sprintf("arp reply is=%s for=%s%s%s", spa, tpa, mac, extra)
	}
	return fmt.Sprintf("arp op=%d", op)
}

// printIP says what an IP packet is. f is nil in the quote of an ICMP error,
// which may be cut.
func printIP(d []byte, f *Frame) string {
	if len(d) < 20 || len(d) < int(d[0]&15)*4 || d[0]&15 < 5 {
		return fmt.Sprintf("ip cut %x", d)
	}
	head := int(d[0]&15) * 4
	var b strings.Builder
	fmt.Fprintf(&b, "ip %s > %s ttl=%d", addr(d[12:16]), addr(d[16:20]), d[8])
	if v := d[1]; v != 0 {
		fmt.Fprintf(&b, " tos=%#x", v)
	}
	if id := binary.BigEndian.Uint16(d[4:]); id != 0 && (f == nil || d[9] != protoICMP) {
		fmt.Fprintf(&b, " id=%d", id)
	}
	frag := binary.BigEndian.Uint16(d[6:])
	if frag&0x4000 != 0 {
		b.WriteString(" df")
	}
	if frag&0x2000 != 0 {
		b.WriteString(" mf")
	}
	if off := int(frag&0x1fff) * 8; off != 0 {
		fmt.Fprintf(&b, " off=%d", off)
	}
	if head > 20 {
		b.WriteString(ipOptionWords(d[20:head]))
	}
	if sum16(d[:head], 0) != 0xffff {
		b.WriteString(" csum=bad")
	}
	length := int(binary.BigEndian.Uint16(d[2:]))
	whole := length == len(d)
	if f != nil && !whole {
		fmt.Fprintf(&b, " len=%d of %d", length, len(d))
		d = d[:max(head, min(length, len(d)))]
	}
	if frag&0x1fff != 0 {
		fmt.Fprintf(&b, " proto=%d / ", d[9])
		b.WriteString(strings.TrimSpace(dataWords(d[head:])))
		return b.String()
	}
	if frag&0x2000 != 0 {
		f = nil // the sum is over the whole datagram
	}
	b.WriteString(" / ")
	b.WriteString(printL4(d, head, f, whole && frag&0x3fff == 0))
	return b.String()
}

func printL4(ip []byte, head int, f *Frame, whole bool) string {
	l4 := ip[head:]
	switch proto := ip[9]; {
	case proto == protoTCP && len(l4) >= 8:
		return printTCP(ip, l4, f, whole)
	case proto == protoUDP && len(l4) >= 8:
		return printUDP(ip, l4, f, whole)
	case proto == protoICMP && len(l4) >= 8:
		return printICMP(l4, f)
	case proto == protoIPIP && len(l4) >= 20:
		return printIP(l4, f)
	case proto == protoOPP:
		return printOPP(ip, l4, f, whole)
	default:
		return strings.TrimSpace(fmt.Sprintf("proto=%d%s", proto, dataWords(l4)))
	}
}

// sumWord says how the L4 checksum is: nothing if it is right.
func sumWord(ip, l4 []byte, at int, f *Frame) string {
	open := pseudo(ip, ip[9], len(l4))
	field := binary.BigEndian.Uint16(l4[at:])
	if f != nil && f.Partial {
		if field != open {
			return " csum=partial-bad"
		}
		return " csum=partial"
	}
	if field == 0 && ip[9] == protoUDP {
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

func printTCP(ip, t []byte, f *Frame, whole bool) string {
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
		s += sumWord(ip, t, 16, f)
	}
	return s
}

func printUDP(ip, u []byte, f *Frame, whole bool) string {
	s := fmt.Sprintf("udp %d > %d", binary.BigEndian.Uint16(u), binary.BigEndian.Uint16(u[2:]))
	n := int(binary.BigEndian.Uint16(u[4:]))
	if n != len(u) && whole {
		s += fmt.Sprintf(" len=%d", n)
	}
	s += gsoWord(f) + dataWords(u[8:])
	if whole && n >= 8 && n <= len(u) {
		s += sumWord(ip, u[:n], 6, f)
	}
	return s
}

func printICMP(m []byte, f *Frame) string {
	name := fmt.Sprintf("type=%d", m[0])
	code := fmt.Sprintf(" code=%d", m[1])
	for n, kind := range icmpKinds {
		if kind[0] != m[0] {
			continue
		}
		if kind[1] == m[1] {
			name, code = n, ""
			break
		}
		if m[0] != 3 {
			name = n
		}
	}
	s := "icmp " + name + code
	first, second := binary.BigEndian.Uint16(m[4:]), binary.BigEndian.Uint16(m[6:])
	if m[0] == 3 {
		if second != 0 {
			s += fmt.Sprintf(" mtu=%d", second)
		}
	} else if first != 0 || second != 0 {
		s += fmt.Sprintf(" id=%d seq=%d", first, second)
	}
	isError := m[0] == 3 || m[0] == 4 || m[0] == 5 || m[0] == 11 || m[0] == 12
	quote := m[8:]
	if isError && len(quote) >= 20 && int(binary.BigEndian.Uint16(quote[2:])) > len(quote) {
		s += fmt.Sprintf(" cut=%d", len(quote))
	}
	if (f != nil) && sum16(m, 0) != 0xffff {
		s += " csum=bad"
	}
	if !isError {
		return s + dataWords(quote)
	}
	return s + " / " + printIP(quote, nil)
}
