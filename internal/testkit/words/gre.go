package words

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// gre makes a GRE header and what it carries: "gre [csum[=bad]] [key=7] [seq=1]
// [type=0x6558] [flags=0x4000]", flags being bits that are set beside those of the words.
func (p *parser) gre(l *layer, rest []string) []byte {
	flags := l.number("flags", 0)
	sum, summed := l.take("csum")
	summed = l.has("csum") || summed
	kind := l.number("type", -1)
	b := make([]byte, 4)
	if summed {
		flags |= 0x8000
		b = append(b, 0, 0, 0, 0)
	}
	if _, ok := l.named["key"]; ok {
		flags |= 0x2000
		b = binary.BigEndian.AppendUint32(b, uint32(l.number("key", 0)))
	}
	if _, ok := l.named["seq"]; ok {
		flags |= 0x1000
		b = binary.BigEndian.AppendUint32(b, uint32(l.number("seq", 0)))
	}
	cut := l.number("cut", -1)
	b = append(b, l.data()...)
	l.done()
	known := 0
	if len(rest) > 0 {
		inner := newLayer(rest[0])
		switch inner.name {
		case "ip":
			known, b = etherIPv4, append(b, p.ip(&inner, rest[1:])...)
		case "ip6":
			known, b = etherIPv6, append(b, p.ip6(&inner, rest[1:])...)
		case "data":
			b = append(b, inner.data()...)
		default:
			fail("no layer over gre is called %q", inner.name)
		}
	}
	if kind < 0 {
		kind = known
	}
	binary.BigEndian.PutUint16(b, uint16(flags))
	binary.BigEndian.PutUint16(b[2:], uint16(kind))
	if summed {
		field := ^sum16(b, 0)
		if sum == "bad" {
			field ^= 0x5555
		}
		binary.BigEndian.PutUint16(b[4:], field)
	}
	if cut >= 0 {
		b = b[:cut]
	}
	return b
}

// isGRE reports whether what stands behind an IP header of protocol 47 carries something
// that is carried: what does not is shown in bytes.
func isGRE(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	kind := binary.BigEndian.Uint16(b[2:])
	return kind == etherIPv4 || kind == etherIPv6 || kind == 0x6558
}

// printGRE says what a GRE header is and carries. whole is false for what is cut.
func printGRE(b []byte, f *Frame, whole bool) string {
	flags, kind := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	s, at := "gre", 4
	word := func(bit uint16, name func(uint32) string) {
		switch {
		case flags&bit == 0:
		case len(b) < at+4:
			s, at = s+" cut", len(b)
		default:
			s += name(binary.BigEndian.Uint32(b[at:]))
			at += 4
		}
	}
	word(0x8000, func(uint32) string {
		if whole && sum16(b, 0) != 0xffff {
			return " csum=bad"
		}
		return " csum"
	})
	word(0x2000, func(v uint32) string { return fmt.Sprintf(" key=%d", v) })
	word(0x1000, func(v uint32) string { return fmt.Sprintf(" seq=%d", v) })
	if other := flags &^ 0xb000; other != 0 {
		s += fmt.Sprintf(" flags=%#x", other)
	}
	inner := b[at:]
	switch {
	case kind == etherIPv4 && len(inner) >= 20:
		return s + " / " + printIP(inner, f)
	case kind == etherIPv6 && len(inner) >= 40:
		return s + " / " + viewer{f: f}.ip6(inner)
	}
	return strings.TrimSpace(s + fmt.Sprintf(" type=%#x", kind) + dataWords(inner))
}
