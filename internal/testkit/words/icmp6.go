package words

import (
	"encoding/binary"
	"fmt"
)

// icmp6Kinds are the messages that have a name; those of neighbour discovery are
// layers of their own.
var icmp6Kinds = map[string][2]uint8{
	"no-route": {1, 0}, "prohibited": {1, 1}, "beyond-scope": {1, 2}, "address-unreachable": {1, 3}, "port-unreachable": {1, 4},
	"too-big": {2, 0}, "time-exceeded": {3, 0}, "reassembly": {3, 1},
	"parameter": {4, 0}, "next-header": {4, 1}, "option": {4, 2}, "incomplete-chain": {4, 3},
	"echo": {128, 0}, "echo-reply": {129, 0},
}

// What stands in the second word of a message.
const (
	echoRequest6 = 128
	echoReply6   = 129
	tooBig6      = 2
	parameter6   = 4
)

func isEcho6(kind uint8) bool { return kind == echoRequest6 || kind == echoReply6 }

func (p *parser) icmp6(l *layer, rest []string, ip below) []byte {
	var b []byte
	cut := -1
	switch l.name {
	case "icmp6":
		b, cut = p.message6(l)
	default:
		b = p.nd(l)
	}
	csum, _ := l.take("csum")
	b = append(b, l.data()...)
	l.done()
	if len(rest) > 0 {
		p.inner = true
		quote := p.layers(rest)
		p.inner = false
		if cut >= 0 {
			quote = quote[:min(cut, len(quote))]
			cut = -1
		}
		b = append(b, quote...)
	}
	sum := ^sum16(b, uint32(ip.pseudo(protoICMP6, len(b))))
	if csum == "bad" {
		sum ^= 0x5555
	}
	binary.BigEndian.PutUint16(b[2:], sum)
	if cut >= 0 {
		b = b[:min(cut, len(b))]
	}
	return b
}

// message6 makes a message without its data, and says where it is cut.
func (p *parser) message6(l *layer) (b []byte, cut int) {
	cut = l.number("cut", -1)
	if kind := l.number("type", -1); kind >= 0 {
		return []byte{byte(kind), byte(l.number("code", 0)), 0, 0}, cut
	}
	name := l.next("the message's name")
	kind, ok := icmp6Kinds[name]
	if !ok {
		fail("icmp6: no message is called %q", name)
	}
	b = []byte{kind[0], byte(l.number("code", int(kind[1]))), 0, 0}
	if isEcho6(kind[0]) {
		b = binary.BigEndian.AppendUint16(b, uint16(l.number("id", 0)))
		return binary.BigEndian.AppendUint16(b, uint16(l.number("seq", 0))), cut
	}
	word := 0
	switch kind[0] {
	case tooBig6:
		word = l.number("mtu", 0)
	case parameter6:
		word = l.number("ptr", 0)
	}
	return binary.BigEndian.AppendUint32(b, uint32(word)), cut
}

// icmp6 says what a message is.
func (v viewer) icmp6(ip below, m []byte, whole bool) string {
	csum := ""
	if v.f != nil && whole && sum16(m, uint32(ip.pseudo(protoICMP6, len(m)))) != 0xffff {
		csum = " csum=bad"
	}
	if s := v.nd(m); s != "" {
		return s + csum
	}
	s := ""
	for n, kind := range icmp6Kinds {
		if kind[0] == m[0] && kind[1] == m[1] && len(m) >= 8 {
			s = "icmp6 " + n
		}
	}
	if s == "" {
		return fmt.Sprintf("icmp6 type=%d code=%d%s%s", m[0], m[1], dataWords(m[4:]), csum)
	}
	word, body := binary.BigEndian.Uint32(m[4:]), m[8:]
	switch kind := m[0]; {
	case isEcho6(kind):
		return fmt.Sprintf("%s id=%d seq=%d%s%s", s, word>>16, word&0xffff, dataWords(body), csum)
	case kind == tooBig6:
		s += fmt.Sprintf(" mtu=%d", word)
	case word != 0:
		s += fmt.Sprintf(" ptr=%d", word)
	}
	if len(body) >= 40 && int(binary.BigEndian.Uint16(body[4:]))+40 > len(body) {
		s += fmt.Sprintf(" cut=%d", len(body))
	}
	return s + csum + " / " + viewer{nil, v.stations, v.from}.ip6(body)
}
