package words

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Kinds of TCP options.
const (
	optEnd    = 0
	optNOP    = 1
	optMSS    = 2
	optWScale = 3
	optSACKOK = 4
	optSACK   = 5
	optTS     = 8
	optTOA    = 254
)

// tcpOptions makes the bytes of "mss 1460,nop,ts 1 2,sack 1-2 3-4,toa
// 1.2.3.4:5,hex 0102", ended and filled with zeros to a multiple of 4.
func tcpOptions(text string) (b []byte) {
	if text == "" {
		return nil
	}
	for _, o := range strings.Split(text, ",") {
		w := strings.Fields(o)
		if len(w) == 0 {
			fail("an option without name")
		}
		arg := func(i int) uint32 {
			if i >= len(w) {
				fail("option %s lacks a number", w[0])
			}
			n, err := strconv.ParseUint(w[i], 0, 32)
			if err != nil {
				fail("option %s: %v", w[0], err)
			}
			return uint32(n)
		}
		switch w[0] {
		case "eol":
			b = append(b, optEnd)
		case "nop":
			b = append(b, optNOP)
		case "mss":
			b = binary.BigEndian.AppendUint16(append(b, optMSS, 4), uint16(arg(1)))
		case "wscale":
			b = append(b, optWScale, 3, byte(arg(1)))
		case "sackok":
			b = append(b, optSACKOK, 2)
		case "ts":
			b = binary.BigEndian.AppendUint32(append(b, optTS, 10), arg(1))
			b = binary.BigEndian.AppendUint32(b, arg(2))
		case "sack":
			b = append(b, optSACK, byte(2+8*(len(w)-1)))
			for _, edges := range w[1:] {
				left, right, _ := strings.Cut(edges, "-")
				for _, e := range []string{left, right} {
					n, err := strconv.ParseUint(e, 0, 32)
					if err != nil {
						fail("sack %s: want 1-2", edges)
					}
					b = binary.BigEndian.AppendUint32(b, uint32(n))
				}
			}
		case "toa":
			if len(w) < 2 {
				fail("toa lacks an address")
			}
			a, err := netip.ParseAddrPort(w[1])
			if err != nil {
				fail("toa %s: want 1.2.3.4:5 or [2001:db8::1]:5", w[1])
			}
			b = append(b, toldAddress(optTOA, a)...)
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
	for len(b)%4 != 0 {
		b = append(b, optEnd)
	}
	if len(b) > 40 {
		fail("%d bytes of options: a TCP header has room for 40", len(b))
	}
	return b
}

// optionWords is the inverse of tcpOptions.
func optionWords(b []byte) string {
	var out []string
	for len(b) > 0 {
		switch b[0] {
		case optEnd:
			if strings.Trim(string(b), "\x00") != "" {
				out = append(out, fmt.Sprintf("eol,hex %x", b[1:]))
			}
			return strings.Join(out, ",")
		case optNOP:
			out = append(out, "nop")
			b = b[1:]
			continue
		}
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
			return strings.Join(append(out, fmt.Sprintf("hex %x", b)), ",")
		}
		out = append(out, optionWord(b[:b[1]]))
		b = b[b[1]:]
	}
	return strings.Join(out, ",")
}

func optionWord(o []byte) string {
	v := o[2:]
	switch {
	case o[0] == optMSS && len(v) == 2:
		return fmt.Sprintf("mss %d", binary.BigEndian.Uint16(v))
	case o[0] == optWScale && len(v) == 1:
		return fmt.Sprintf("wscale %d", v[0])
	case o[0] == optSACKOK && len(v) == 0:
		return "sackok"
	case o[0] == optTS && len(v) == 8:
		return fmt.Sprintf("ts %d %d", binary.BigEndian.Uint32(v), binary.BigEndian.Uint32(v[4:]))
	case o[0] == optSACK && len(v)%8 == 0:
		s := "sack"
		for ; len(v) > 0; v = v[8:] {
			s += fmt.Sprintf(" %d-%d", binary.BigEndian.Uint32(v), binary.BigEndian.Uint32(v[4:]))
		}
		return s
	case o[0] == optTOA && (len(v) == 6 || len(v) == 18):
		return fmt.Sprintf("toa %s", netip.AddrPortFrom(addr(v[2:]), binary.BigEndian.Uint16(v)))
	}
	return fmt.Sprintf("hex %x", o)
}
