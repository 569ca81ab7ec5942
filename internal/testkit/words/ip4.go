package words

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

func (p *parser) ip(l *layer, rest []string) []byte {
	src, dst := ipWord(l.next("the source")).As4(), ipWord(l.next("the destination")).As4()
	b := make([]byte, 20)
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	b[8] = byte(l.number("ttl", 64))
	b[1] = byte(l.number("tos", 0))
	binary.BigEndian.PutUint16(b[4:], uint16(l.number("id", 0)))
	frag := uint16(l.number("off", 0) / 8)
	if l.has("df") {
		frag |= 0x4000
	}
	if l.has("mf") {
		frag |= 0x2000
	}
	binary.BigEndian.PutUint16(b[6:], frag)
	if v, ok := l.take("uoa"); ok {
		b = append(b, uoaOption(v)...)
	}
	if v, ok := l.take("opts"); ok {
		o, err := hex.DecodeString(v)
		if err != nil || len(o)%4 != 0 {
			fail("opts=%s: hex digits of a multiple of 4 bytes", v)
		}
		b = append(b, o...)
	}
	b[0] = byte(l.number("ver", 4))<<4 | byte(l.number("ihl", len(b)))>>2
	proto := l.number("proto", -1)
	length := l.number("len", -1)
	csum, _ := l.take("csum")
	part, isPart := l.take("frag")
	l.done()
	known, payload := p.transport(rest, over4(b))
	if isPart {
		payload = fragment(b, payload, part)
	}
	if proto < 0 {
		proto = known
	}
	b[9] = byte(proto)
	head := len(b)
	b = append(b, payload...)
	if length < 0 {
		length = len(b)
	}
	binary.BigEndian.PutUint16(b[2:], uint16(length))
	sum := ^sum16(b[:head], 0)
	if csum == "bad" {
		sum ^= 0x5555
	}
	binary.BigEndian.PutUint16(b[10:], sum)
	return b
}

// fragment makes of a whole datagram's payload the part "OFFSET+LENGTH", and its
// header say so.
func fragment(header, payload []byte, part string) []byte {
	var off, n int
	if k, _ := fmt.Sscanf(part, "%d+%d", &off, &n); k != 2 || off%8 != 0 || off >= len(payload) {
		fail("frag=%s: offset, a multiple of 8, and length, as in 0+1480", part)
	}
	end := min(off+n, len(payload))
	word := binary.BigEndian.Uint16(header[6:])&0x4000 | uint16(off/8)
	if end < len(payload) {
		word |= 0x2000
	}
	binary.BigEndian.PutUint16(header[6:], word)
	return payload[off:end]
}

// icmpKinds are the messages that have a name.
var icmpKinds = map[string][2]uint8{
	"echo": {8, 0}, "echo-reply": {0, 0}, "net-unreachable": {3, 0}, "host-unreachable": {3, 1}, "port-unreachable": {3, 3},
	"frag-needed": {3, 4}, "quench": {4, 0}, "redirect": {5, 1}, "time-exceeded": {11, 0}, "parameter": {12, 0},
	"timestamp": {13, 0},
}

func (p *parser) icmp(l *layer, rest []string) []byte {
	name := l.next("the message's name")
	kind, ok := icmpKinds[name]
	if !ok {
		fail("icmp: no message is called %q", name)
	}
	b := make([]byte, 8)
	b[0], b[1] = kind[0], uint8(l.number("code", int(kind[1])))
	if kind[0] == 3 {
		binary.BigEndian.PutUint16(b[6:], uint16(l.number("mtu", 0)))
	} else {
		binary.BigEndian.PutUint16(b[4:], uint16(l.number("id", 0)))
		binary.BigEndian.PutUint16(b[6:], uint16(l.number("seq", 0)))
	}
	cut := l.number("cut", -1)
	csum, _ := l.take("csum")
	b = append(b, l.data()...)
	l.done()
	if len(rest) > 0 {
		p.inner = true
		quote := p.layers(rest)
		p.inner = false
		if cut >= 0 {
			quote = quote[:cut]
			cut = -1
		}
		b = append(b, quote...)
	}
	sum := ^sum16(b, 0)
	if csum == "bad" {
		sum ^= 0x5555
	}
	binary.BigEndian.PutUint16(b[2:], sum)
	if cut >= 0 {
		b = b[:cut]
	}
	return b
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
	b.WriteString(printL4(over4(d), d[9], d[head:], f, whole && frag&0x3fff == 0))
	return b.String()
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
