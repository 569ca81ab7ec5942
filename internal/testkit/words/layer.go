package words

import (
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
)

// layer is a layer's words taken apart.
type layer struct {
	name  string
	plain []string          // words without =, in order
	named map[string]string // words with =
	opts  string            // what stood in <>
}

func newLayer(text string) layer {
	l := layer{named: map[string]string{}}
	if a := strings.IndexByte(text, '<'); a >= 0 {
		z := a + strings.IndexByte(text[a:], '>')
		if z < a {
			fail("< without >")
		}
		l.opts, text = text[a+1:z], text[:a]+text[z+1:]
	}
	words := strings.Fields(text)
	if len(words) == 0 {
		fail("empty layer")
	}
	if k, v, ok := strings.Cut(words[0], "="); ok { // a bare data=10
		l.name, l.named[k] = k, v
	} else {
		l.name = words[0]
	}
	for _, w := range words[1:] {
		if k, v, ok := strings.Cut(w, "="); ok {
			l.named[k] = v
		} else if w != ">" {
			l.plain = append(l.plain, w)
		}
	}
	return l
}

// take returns a named word and forgets it, so that unknown ones are left over.
func (l *layer) take(k string) (string, bool) {
	v, ok := l.named[k]
	delete(l.named, k)
	return v, ok
}

func (l *layer) number(k string, otherwise int) int {
	v, ok := l.take(k)
	if !ok {
		return otherwise
	}
	n, err := strconv.ParseInt(v, 0, 64)
	if err != nil {
		fail("%s=%s is no number", k, v)
	}
	return int(n)
}

func (l *layer) has(word string) bool {
	for i, w := range l.plain {
		if w == word {
			l.plain = append(l.plain[:i:i], l.plain[i+1:]...)
			return true
		}
	}
	return false
}

func (l *layer) next(what string) string {
	if len(l.plain) == 0 {
		fail("%s: %s is missing", l.name, what)
	}
	w := l.plain[0]
	l.plain = l.plain[1:]
	return w
}

func (l *layer) done() {
	for k := range l.named {
		fail("%s has no %s=", l.name, k)
	}
	if len(l.plain) > 0 {
		fail("%s: %q says nothing here", l.name, l.plain[0])
	}
}

func (l *layer) data() []byte {
	var front []byte
	if v, ok := l.take("proxy"); ok {
		front = proxyHeader(v, map[string]int{"udp": protoUDP}[l.name])
	}
	v, ok := l.take("data")
	if !ok {
		return front
	}
	if h, ok := strings.CutPrefix(v, "0x"); ok {
		b, err := hex.DecodeString(h)
		if err != nil {
			fail("data=%s: %v", v, err)
		}
		return append(front, b...)
	}
	n, phase, _ := strings.Cut(v, "@")
	length, err := strconv.Atoi(n)
	if err != nil {
		fail("data=%s is no length", v)
	}
	at, _ := strconv.Atoi(phase)
	b := make([]byte, length)
	pattern(b, at)
	return append(front, b...)
}

func ipWord(w string) netip.Addr {
	a, err := netip.ParseAddr(w)
	if err != nil || !a.Is4() {
		fail("%q is no IPv4 address", w)
	}
	return a
}

func ip6Word(w string) netip.Addr {
	a, err := netip.ParseAddr(w)
	if err != nil || !a.Is6() || a.Zone() != "" {
		fail("%q is no IPv6 address", w)
	}
	return a
}

// hexWord returns the bytes of a named word in hex digits.
func (l *layer) hexWord(k string, otherwise []byte) []byte {
	v, ok := l.take(k)
	if !ok {
		return otherwise
	}
	b, err := hex.DecodeString(v)
	if err != nil {
		fail("%s=%s: %v", k, v, err)
	}
	return b
}

func portWord(w string) uint16 {
	n, err := strconv.ParseUint(w, 10, 16)
	if err != nil {
		fail("%q is no port", w)
	}
	return uint16(n)
}
