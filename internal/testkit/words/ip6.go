package words

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Next header values of extension headers.
const (
	nextHop     = 0
	nextRouting = 43
	nextFrag    = 44
	nextAH      = 51
	nextNone    = 59
	nextDst     = 60
)

func (p *parser) ip6(l *layer, rest []string) []byte {
	src, dst := ip6Word(l.next("the source")), ip6Word(l.next("the destination"))
	if g := dst.As16(); g[0] == 0xff && !p.inner && p.to == p.near { // RFC 2464, 7
		p.to = MAC{0x33, 0x33, g[12], g[13], g[14], g[15]}
	}
	b := make([]byte, 8, 40)
	b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
	binary.BigEndian.PutUint32(b, uint32(l.number("ver", 6))<<28|uint32(l.number("tc", 0))<<20|uint32(l.number("flow", 0)))
	b[7] = byte(l.number("hlim", 64))
	next, length := l.number("nh", -1), l.number("len", -1)
	part, isPart := l.take("frag")
	id := l.number("id", 0)
	l.done()
	known, payload := p.behind6(rest, over6(b))
	if isPart {
		payload = fragment6(known, payload, part, id)
		known = nextFrag
	}
	if next < 0 {
		next = known
	}
	if length < 0 {
		length = len(payload)
	}
	b[6] = byte(next)
	binary.BigEndian.PutUint16(b[4:], uint16(length))
	return append(b, payload...)
}

// fragment6 is fragment for IPv6: it puts the fragment header in front as well.
func fragment6(proto int, payload []byte, part string, id int) []byte {
	header := make([]byte, 8)
	payload = fragment(header, payload, part) // the word stands where IPv4 has it
	word := binary.BigEndian.Uint16(header[6:])
	b := []byte{byte(proto), 0}
	b = binary.BigEndian.AppendUint16(b, word<<3|word>>13)
	b = binary.BigEndian.AppendUint32(b, uint32(id))
	return append(b, payload...)
}

// behind6 makes what stands behind an IPv6 header or one of its extensions.
func (p *parser) behind6(texts []string, ip below) (proto int, b []byte) {
	if len(texts) == 0 {
		return nextNone, nil
	}
	l := newLayer(texts[0])
	switch l.name {
	case "hop", "dst", "routing", "frag", "ah":
		return p.extension(&l, texts[1:], ip)
	case "none":
		b = l.data()
		l.done()
		return nextNone, b
	case "icmp6", "ns", "na", "rs", "ra":
		return protoICMP6, p.icmp6(&l, texts[1:], ip)
	}
	return p.transport(texts, ip)
}

// padding is the two bytes that every extension header begins with, and an
// option that says nothing.
var padding = []byte{1, 4, 0, 0, 0, 0}

func (p *parser) extension(l *layer, rest []string, ip below) (proto int, b []byte) {
	next := l.number("nh", -1)
	b = make([]byte, 2)
	switch l.name {
	case "hop", "dst":
		proto = map[string]int{"hop": nextHop, "dst": nextDst}[l.name]
		b = append(b, l.hexWord("opts", padding)...)
	case "routing":
		proto = nextRouting
		b = append(b, byte(l.number("type", 0)), byte(l.number("left", 0)))
		b = append(b, l.hexWord("opts", make([]byte, 4))...)
	case "frag":
		proto = nextFrag
		word := uint16(l.number("off", 0)) | uint16(l.number("res", 0))<<1
		if l.has("mf") {
			word |= 1
		}
		b = binary.BigEndian.AppendUint16(b, word)
		b = binary.BigEndian.AppendUint32(b, uint32(l.number("id", 0)))
	case "ah":
		proto = nextAH
		b = append(b, 0, 0)
		b = binary.BigEndian.AppendUint32(b, uint32(l.number("spi", 0)))
		b = binary.BigEndian.AppendUint32(b, uint32(l.number("seq", 0)))
		b = append(b, l.hexWord("icv", make([]byte, 12))...)
	}
	switch units := len(b)/8 - 1; l.name {
	case "frag":
	case "ah":
		b[1] = byte(l.number("len", len(b)/4-2))
	default:
		n := l.number("len", -1)
		if len(b)%8 != 0 && n < 0 {
			fail("%s: %d bytes: a multiple of 8 with the two in front, or say len=", l.name, len(b))
		}
		if n < 0 {
			n = units
		}
		b[1] = byte(n)
	}
	l.done()
	known, payload := p.behind6(rest, ip)
	if next < 0 {
		next = known
	}
	b[0] = byte(next)
	return proto, append(b, payload...)
}

// viewer says what stands in an IPv6 packet. f is nil in the quote of an ICMP
// error, which may be cut.
type viewer struct {
	f        *Frame
	stations Stations
	from     MAC // the frame's source
}

func (v viewer) ip6(d []byte) string {
	if len(d) < 40 || d[0]>>4 != 6 {
		return fmt.Sprintf("ip6 cut %x", d)
	}
	ip := over6(d)
	s := fmt.Sprintf("ip6 %s > %s hlim=%d", addr(ip.src), addr(ip.dst), d[7])
	first := binary.BigEndian.Uint32(d)
	if tc := uint8(first >> 20); tc != 0 {
		s += fmt.Sprintf(" tc=%#x", tc)
	}
	if flow := first & 0xfffff; flow != 0 {
		s += fmt.Sprintf(" flow=%#x", flow)
	}
	length := int(binary.BigEndian.Uint16(d[4:]))
	next, payload := d[6], d[40:]
	whole := length == len(payload)
	if v.f != nil && !whole {
		s += fmt.Sprintf(" len=%d of %d", length, len(payload))
		payload = payload[:min(length, len(payload))]
	}
	for {
		words, n := extensionWords(next, payload)
		if n == 0 {
			break
		}
		s += " / " + words
		if next == nextFrag {
			word := binary.BigEndian.Uint16(payload[2:])
			whole = whole && word&^6 == 0
			if word&^7 != 0 { // the rest is no header
				s += fmt.Sprintf(" nh=%d", payload[0])
				if len(payload) > n {
					s += " /" + dataWords(payload[n:])
				}
				return s
			}
		}
		next, payload = payload[0], payload[n:]
	}
	switch {
	case next == nextNone && len(payload) == 0:
		return s
	case next == nextNone:
		return s + " / none" + dataWords(payload)
	case next == protoICMP6 && len(payload) >= 4:
		return s + " / " + v.icmp6(ip, payload, whole)
	}
	return s + " / " + printL4(ip, next, payload, v.f, whole)
}

// extensionWords says what the extension header in front is, and its length; 0
// if it is none that can be read.
func extensionWords(next uint8, b []byte) (s string, n int) {
	if len(b) < 8 {
		return "", 0
	}
	n = (int(b[1]) + 1) * 8
	switch next {
	case nextFrag:
		n = 8
	case nextAH:
		n = (int(b[1]) + 2) * 4
	case nextHop, nextDst, nextRouting:
	default:
		return "", 0
	}
	if n > len(b) || next == nextAH && n < 12 {
		return "", 0
	}
	switch next {
	case nextHop, nextDst:
		s = map[uint8]string{nextHop: "hop", nextDst: "dst"}[next]
		if string(b[2:n]) != string(padding) {
			s += fmt.Sprintf(" opts=%x", b[2:n])
		}
	case nextRouting:
		s = fmt.Sprintf("routing type=%d left=%d", b[2], b[3])
		if strings.Trim(string(b[4:n]), "\x00") != "" || n != 8 {
			s += fmt.Sprintf(" opts=%x", b[4:n])
		}
	case nextFrag:
		word := binary.BigEndian.Uint16(b[2:])
		s = fmt.Sprintf("frag id=%d", binary.BigEndian.Uint32(b[4:]))
		if off := word &^ 7; off != 0 {
			s += fmt.Sprintf(" off=%d", off)
		}
		if word&1 != 0 {
			s += " mf"
		}
		if res := word >> 1 & 3; res != 0 {
			s += fmt.Sprintf(" res=%d", res)
		}
	case nextAH:
		s = fmt.Sprintf("ah spi=%d seq=%d", binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:]))
		if string(b[12:n]) != string(make([]byte, 12)) {
			s += fmt.Sprintf(" icv=%x", b[12:n])
		}
	}
	return s, n
}
