package words

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// SCTP's chunks stand in <>, with what is usual in them left out:
//
//	sctp 40000 > 132 tag=0 <init 7>
//	sctp 132 > 40000 tag=7 <cookie-ack,data 100>
//	sctp 132 > 40000 tag=7 <abort.1,shutdown 0x00000005>
//
// The number of an init is the tag that it offers, that of data the length of the
// user's; 0x begins a value in hex, and a dot flags that are not usual.

var chunkNames = map[uint8]string{
	0: "data", 1: "init", 2: "init-ack", 3: "sack", 4: "heartbeat", 5: "heartbeat-ack", 6: "abort", 7: "shutdown",
	8: "shutdown-ack", 9: "error", 10: "cookie-echo", 11: "cookie-ack", 14: "shutdown-complete",
}

// chunkFlags is usual: data is one whole message.
func chunkFlags(kind uint8) uint8 {
	if kind == 0 {
		return 3
	}
	return 0
}

// chunkValue is the usual value of a chunk that a number describes.
func chunkValue(kind uint8, n uint32) []byte {
	switch kind {
	case 0: // TSN 1, stream 0, sequence 0, no protocol
		b := make([]byte, 12+n)
		b[3] = 1
		pattern(b[12:], 0)
		return b
	case 1, 2: // tag, window, one stream each way, TSN 1
		b := binary.BigEndian.AppendUint32(nil, n)
		return append(b, 0, 0, 0xff, 0xff, 0, 1, 0, 1, 0, 0, 0, 1)
	}
	return nil
}

func (p *parser) sctp(l *layer) []byte {
	b := binary.BigEndian.AppendUint16(nil, portWord(l.next("the source port")))
	b = binary.BigEndian.AppendUint16(b, portWord(l.next("the destination port")))
	b = binary.BigEndian.AppendUint32(b, uint32(l.number("tag", 0)))
	b = append(b, 0, 0, 0, 0)
	if l.opts != "" {
		for _, text := range strings.Split(l.opts, ",") {
			b = append(b, chunk(text)...)
		}
	}
	b = append(b, l.data()...)
	csum, _ := l.take("csum")
	cut := l.number("cut", -1)
	l.done()
	sum := crc32c(b)
	switch csum {
	case "":
	case "bad":
		sum ^= 0x5555
	case "0":
		sum = 0
	case "partial":
		sum = 0
		if !p.inner {
			p.frame.Partial = true
		}
	default:
		fail("csum=%s: bad, partial or 0", csum)
	}
	binary.LittleEndian.PutUint32(b[8:], sum)
	if cut >= 0 {
		b = b[:min(cut, len(b))]
	}
	return b
}

func chunk(text string) []byte {
	w := strings.Fields(text)
	if len(w) == 0 {
		fail("a chunk without name")
	}
	arg := strings.Join(w[1:], "")
	raw := func(digits string) []byte {
		b, err := hex.DecodeString(digits)
		if err != nil {
			fail("chunk %s: %v", w[0], err)
		}
		return b
	}
	if w[0] == "hex" {
		return raw(arg)
	}
	name, dot, dotted := strings.Cut(w[0], ".")
	kind, err := strconv.ParseUint(strings.TrimPrefix(name, "type"), 10, 8)
	for k, n := range chunkNames {
		if n == name {
			kind, err = uint64(k), nil
		}
	}
	if err != nil {
		fail("no chunk is called %q", name)
	}
	flags := chunkFlags(uint8(kind))
	if dotted {
		f, err := strconv.ParseUint(dot, 10, 8)
		if err != nil {
			fail("chunk %s: flags %q are no number", name, dot)
		}
		flags = uint8(f)
	}
	var value []byte
	if digits, is := strings.CutPrefix(arg, "0x"); is {
		value = raw(digits)
	} else if arg != "" {
		n, err := strconv.ParseUint(arg, 10, 32)
		if value = chunkValue(uint8(kind), uint32(n)); err != nil || value == nil {
			fail("chunk %s: %q says nothing here", name, arg)
		}
	}
	b := binary.BigEndian.AppendUint16([]byte{uint8(kind), flags}, uint16(4+len(value)))
	b = append(b, value...)
	return append(b, make([]byte, -len(b)&3)...)
}

func printSCTP(b []byte, whole, partial bool) string {
	s := fmt.Sprintf("sctp %d > %d tag=%d", binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint32(b[4:]))
	if len(b) < 12 {
		return s + fmt.Sprintf(" cut=%d", len(b))
	}
	var out []string
	for rest := b[12:]; len(rest) > 0; {
		n := 0
		if len(rest) >= 4 {
			n = int(binary.BigEndian.Uint16(rest[2:]))
		}
		if n < 4 || n > len(rest) {
			out = append(out, fmt.Sprintf("hex %x", rest))
			break
		}
		out = append(out, chunkWord(rest[:n]))
		rest = rest[min((n+3)&^3, len(rest)):]
	}
	if out != nil {
		s += " <" + strings.Join(out, ",") + ">"
	}
	switch sum := binary.LittleEndian.Uint32(b[8:]); {
	case !whole:
	case partial && sum == 0:
		s += " csum=partial"
	case partial:
		s += " csum=partial-bad"
	case sum == crc32c(b):
	case sum == 0:
		s += " csum=0"
	default:
		s += " csum=bad"
	}
	return s
}

func chunkWord(c []byte) string {
	kind, v := c[0], c[4:]
	s := chunkNames[kind]
	if s == "" {
		s = fmt.Sprintf("type%d", kind)
	}
	if c[1] != chunkFlags(kind) {
		s += fmt.Sprintf(".%d", c[1])
	}
	var n uint32
	switch {
	case len(v) == 0:
		return s
	case kind == 0 && len(v) >= 12:
		n = uint32(len(v) - 12)
	case kind <= 2 && len(v) >= 4:
		n = binary.BigEndian.Uint32(v)
	}
	if usual := chunkValue(kind, n); usual != nil && slices.Equal(usual, v) {
		return fmt.Sprintf("%s %d", s, n)
	}
	return fmt.Sprintf("%s 0x%x", s, v)
}

// crc32c is the checksum of RFC 9260, appendix A, the slow and obvious way, with
// zeros where it stands itself.
func crc32c(b []byte) uint32 {
	crc := ^uint32(0)
	for i, x := range b {
		if i >= 8 && i < 12 {
			x = 0
		}
		crc ^= uint32(x)
		for range 8 {
			if crc&1 != 0 {
				crc = crc>>1 ^ 0x82f63b78
			} else {
				crc >>= 1
			}
		}
	}
	return ^crc
}
