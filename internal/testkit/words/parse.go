package words

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Parse makes a frame of a line. from and to are the link-layer addresses unless
// the line says others.
func Parse(line string, s Stations, from, to MAC) (f Frame, err error) {
	p := parser{stations: s, from: from, to: to, near: to, kind: -1}
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
	for _, tag := range p.tags {
		h = binary.BigEndian.AppendUint32(h, tag)
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
	near     MAC      // who is meant if the line says nothing
	kind     int      // ethertype
	tags     []uint32 // ethertype and number
	cut, pad int
	inner    bool // in the quote of an ICMP error
	frame    Frame
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
		p.tags = append(p.tags, etherVLAN<<16|uint32(portWord(l.next("its number"))))
	case "svlan":
		p.tags = append(p.tags, etherQinQ<<16|uint32(portWord(l.next("its number"))))
	case "arp":
		p.settle(etherARP)
		return p.arp(&l)
	case "ip":
		p.settle(etherIPv4)
		return p.ip(&l, rest)
	case "ip6":
		p.settle(etherIPv6)
		return p.ip6(&l, rest)
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
