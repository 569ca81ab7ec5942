package words

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Neighbour discovery, as ARP's twin:
//
//	ns who=2001:db8::2 <sll>
//	na is=2001:db8::2 SO <tll gw>
//	rs <sll>
//	ra life=1800 hlim=64 managed <sll,mtu 1500,prefix 2001:db8::/64 LA 3600 1800>
//
// A link-layer address option without an address has the frame's source.

const ndFlagLetters = "RSO"

func (p *parser) nd(l *layer) []byte {
	b := make([]byte, 8)
	switch l.name {
	case "rs":
		b[0] = 133
	case "ra":
		b[0] = 134
		b[4] = byte(l.number("hlim", 64))
		if l.has("managed") {
			b[5] |= 0x80
		}
		if l.has("other") {
			b[5] |= 0x40
		}
		binary.BigEndian.PutUint16(b[6:], uint16(l.number("life", 0)))
		b = binary.BigEndian.AppendUint32(b, uint32(l.number("reach", 0)))
		b = binary.BigEndian.AppendUint32(b, uint32(l.number("retrans", 0)))
	case "ns":
		b[0] = 135
		b = append(b, p.ndTarget(l, "who")...)
	case "na":
		b[0] = 136
		b = append(b, p.ndTarget(l, "is")...)
		for _, c := range l.next("the flags") {
			i := strings.IndexRune(ndFlagLetters, c)
			if i < 0 && c != '-' {
				fail("na: no flag is called %c", c)
			}
			if i >= 0 {
				b[4] |= 0x80 >> i
			}
		}
	}
	return append(b, p.ndOptions(l.opts)...)
}

func (p *parser) ndTarget(l *layer, k string) []byte {
	w, ok := l.take(k)
	if !ok {
		fail("%s: whose address?", l.name)
	}
	return ip6Word(w).AsSlice()
}

// ndOptions makes the bytes of "sll,tll gw,mtu 1500,prefix 2001:db8::/64 LA 3600
// 1800,hex 0102".
func (p *parser) ndOptions(text string) (b []byte) {
	if text == "" {
		return nil
	}
	for _, o := range strings.Split(text, ",") {
		w := append(strings.Fields(o), "", "", "", "", "")
		number := func(s string) uint32 {
			n, err := strconv.ParseUint(s, 0, 32)
			if err != nil {
				fail("option %s: %q is no number", w[0], s)
			}
			return uint32(n)
		}
		switch w[0] {
		case "sll", "tll":
			mac := p.from
			if w[1] != "" {
				var err error
				if mac, err = p.stations.MAC(w[1]); err != nil {
					fail("option %s: %v", w[0], err)
				}
			}
			b = append(append(b, map[string]byte{"sll": 1, "tll": 2}[w[0]], 1), mac[:]...)
		case "mtu":
			b = binary.BigEndian.AppendUint32(append(b, 5, 1, 0, 0), number(w[1]))
		case "prefix":
			a, err := netip.ParsePrefix(w[1])
			if err != nil || !a.Addr().Is6() {
				fail("option prefix %s: want 2001:db8::/64", w[1])
			}
			var flags byte
			if strings.Contains(w[2], "L") {
				flags |= 0x80
			}
			if strings.Contains(w[2], "A") {
				flags |= 0x40
			}
			b = append(b, 3, 4, byte(a.Bits()), flags)
			b = binary.BigEndian.AppendUint32(b, number(w[3]))
			b = binary.BigEndian.AppendUint32(b, number(w[4]))
			b = append(append(b, 0, 0, 0, 0), a.Addr().AsSlice()...)
		case "hex":
			raw, err := hex.DecodeString(w[1])
			if err != nil {
				fail("hex %s: %v", w[1], err)
			}
			b = append(b, raw...)
		default:
			fail("no option is called %q", w[0])
		}
	}
	return b
}

// nd says what a message of neighbour discovery is; nothing if it is none, is too
// short, or says something where nothing is to be said.
func (v viewer) nd(m []byte) string {
	fixed := map[uint8]int{133: 8, 134: 16, 135: 24, 136: 24}[m[0]]
	if fixed == 0 || len(m) < fixed || m[1] != 0 {
		return ""
	}
	word := binary.BigEndian.Uint32(m[4:])
	options := v.ndOptionWords(m[fixed:])
	switch {
	case m[0] == 133 && word == 0:
		return "rs" + options
	case m[0] == 135 && word == 0:
		return fmt.Sprintf("ns who=%s%s", addr(m[8:24]), options)
	case m[0] == 136 && word<<3 == 0:
		flags := ""
		for i, c := range ndFlagLetters {
			if m[4]<<i&0x80 != 0 {
				flags += string(c)
			}
		}
		if flags == "" {
			flags = "-"
		}
		return fmt.Sprintf("na is=%s %s%s", addr(m[8:24]), flags, options)
	case m[0] == 134 && m[5]&0x3f == 0:
		s := fmt.Sprintf("ra life=%d", binary.BigEndian.Uint16(m[6:]))
		if m[4] != 64 {
			s += fmt.Sprintf(" hlim=%d", m[4])
		}
		if n := binary.BigEndian.Uint32(m[8:]); n != 0 {
			s += fmt.Sprintf(" reach=%d", n)
		}
		if n := binary.BigEndian.Uint32(m[12:]); n != 0 {
			s += fmt.Sprintf(" retrans=%d", n)
		}
		if m[5]&0x80 != 0 {
			s += " managed"
		}
		if m[5]&0x40 != 0 {
			s += " other"
		}
		return s + options
	}
	return ""
}

// ndOptionWords is the inverse of ndOptions.
func (v viewer) ndOptionWords(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	var out []string
	for len(b) > 0 {
		if len(b) < 8 || b[1] == 0 || int(b[1])*8 > len(b) {
			out = append(out, fmt.Sprintf("hex %x", b))
			break
		}
		o := b[:int(b[1])*8]
		b = b[len(o):]
		switch {
		case o[0] <= 2 && o[0] >= 1 && len(o) == 8:
			s := []string{"", "sll", "tll"}[o[0]]
			if mac := MAC(o[2:8]); mac != v.from {
				s += " " + v.stations.Name(mac)
			}
			out = append(out, s)
		case o[0] == 5 && len(o) == 8 && o[2] == 0 && o[3] == 0:
			out = append(out, fmt.Sprintf("mtu %d", binary.BigEndian.Uint32(o[4:])))
		case o[0] == 3 && len(o) == 32 && o[2] <= 128 && o[3]&0x3f == 0 && binary.BigEndian.Uint32(o[12:]) == 0:
			flags := ""
			if o[3]&0x80 != 0 {
				flags += "L"
			}
			if o[3]&0x40 != 0 {
				flags += "A"
			}
			if flags == "" {
				flags = "-"
			}
			out = append(out, fmt.Sprintf("prefix %s %s %d %d", netip.PrefixFrom(addr(o[16:32]), int(o[2])), flags, binary.BigEndian.Uint32(o[4:]), binary.BigEndian.Uint32(o[8:])))
		default:
			out = append(out, fmt.Sprintf("hex %x", o))
		}
	}
	return " <" + strings.Join(out, ",") + ">"
}
