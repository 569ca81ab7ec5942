package words

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Parse makes a frame of a line. from and to are the link-layer addresses unless
// the line says others.
func Parse(line string, s Stations, from, to MAC) (f Frame, err error) {
	p := parser{stations: s, from: from, to: to, kind: -1}
	defer func() {
		if r := recover(); r != nil {
			w, ok := r.(wrong)
			if !ok {
				panic(r)
			}
			err = fmt.Errorf("%s: in %q", string(w), line)
		}
	}()
	body := p.layers(strings.Split(line, " / "))
	h := append(append([]byte{}, p.to[:]...), p.from[:]...)
	for _, id := range p.vlans {
		h = binary.BigEndian.AppendUint16(h, etherVLAN)
		h = binary.BigEndian.AppendUint16(h, id)
	}
	h = binary.BigEndian.AppendUint16(h, uint16(max(p.kind, 0)))
	p.frame.Data = append(h, body...)
	if p.cut > 0 {
		p.frame.Data = p.frame.Data[:min(p.cut, len(p.frame.Data))]
	}
	p.frame.Data = append(p.frame.Data, make([]byte, p.pad)...)
	return p.frame, nil
}

// wrong is thrown through the parser by the word that can't be read.
type wrong string

func fail(format string, args ...any) { panic(wrong(fmt.Sprintf(format, args...))) }

type parser struct {
	stations Stations
	from, to MAC
	kind     int // ethertype
	vlans    []uint16
	cut, pad int
	inner    bool // in the quote of an ICMP error
	frame    Frame
}

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
		z := strings.LastIndexByte(text, '>')
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
		return l
	}
	l.name = words[0]
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

func portWord(w string) uint16 {
	n, err := strconv.ParseUint(w, 10, 16)
	if err != nil {
		fail("%q is no port", w)
	}
	return uint16(n)
}

// layers makes bytes of what stands behind the link header.
func (p *parser) layers(texts []string) []byte {
	if len(texts) == 0 {
		return nil
	}
	l := newLayer(texts[0])
	rest := texts[1:]
	switch l.name {
	case "eth":
		p.eth(&l)
	case "vlan":
		p.vlans = append(p.vlans, uint16(portWord(l.next("its number"))))
	case "arp":
		p.settle(etherARP)
		return p.arp(&l)
	case "ip":
		p.settle(etherIPv4)
		return p.ip(&l, rest)
	case "data":
		return l.data()
	default:
		fail("no layer is called %q", l.name)
	}
	l.done()
	return p.layers(rest)
}

func (p *parser) settle(kind int) {
	if p.kind < 0 {
		p.kind = kind
	}
}

func (p *parser) station(l *layer, k string, into *MAC) {
	if w, ok := l.take(k); ok {
		m, err := p.stations.MAC(w)
		if err != nil {
			fail("%v", err)
		}
		*into = m
	}
}

func (p *parser) eth(l *layer) {
	p.station(l, "to", &p.to)
	p.station(l, "from", &p.from)
	p.kind = l.number("type", p.kind)
	p.cut, p.pad = l.number("cut", 0), l.number("pad", 0)
}

func (p *parser) arp(l *layer) []byte {
	var op uint16
	var spa, tpa string
	var ok bool
	sha, tha := p.from, MAC{}
	switch kind := l.next("request or reply"); kind {
	case "request":
		op = 1
		tpa, ok = l.take("who")
		spa, _ = l.take("tell")
	case "reply":
		op, tha = 2, p.to
		spa, ok = l.take("is")
		tpa, _ = l.take("for")
	default:
		fail("arp %s: request or reply?", kind)
	}
	if !ok {
		fail("arp: whose address?")
	}
	p.station(l, "mac", &sha)
	op = uint16(l.number("op", int(op)))
	hw := l.number("hw", 1)
	n := l.number("cut", 28)
	l.done()
	b := binary.BigEndian.AppendUint16(nil, uint16(hw))
	b = append(b, 8, 0, 6, 4)
	b = binary.BigEndian.AppendUint16(b, op)
	a := ipWord(spa).As4()
	b = append(append(b, sha[:]...), a[:]...)
	a = ipWord(tpa).As4()
	return append(append(b, tha[:]...), a[:]...)[:n]
}

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
	known, payload := p.transport(rest, b)
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

// transport makes what stands behind an IP header, whose addresses are set.
func (p *parser) transport(texts []string, ip []byte) (proto int, b []byte) {
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
	case "ip":
		return protoIPIP, p.ip(&l, texts[1:])
	case "data":
		return 0, l.data()
	}
	fail("no layer over ip is called %q", l.name)
	return 0, nil
}

var tcpFlagLetters = "FSRPAUEC"

func (p *parser) tcp(l *layer, ip []byte) []byte {
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

func (p *parser) udp(l *layer, ip []byte) []byte {
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
func (p *parser) checksum(b []byte, at int, kind string, ip []byte, proto uint8) {
	open := pseudo(ip, proto, len(b))
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
