package health

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// maxDNS is the longest answer over UDP without extensions, in bytes (RFC 1035,
// section 2.3.4).
const maxDNS = 512

// DNS is DNS_CHECK: the server answers a question over UDP without an error. As in
// stock keepalived, an answer that has no records is one.
type DNS struct {
	Way
	// Type is the number of a record type, see [DNSType]. 0 means SOA.
	Type uint16
	// Name is the domain, with or without the dot at its end. "" is the root.
	Name string
}

// dnsTypes are the types that stock keepalived knows (RFC 1035, section 3.2.2; RFC
// 3596, section 2.1; RFC 4034, sections 2 and 3).
var dnsTypes = map[string]uint16{
	"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "MX": 15, "TXT": 16, "AAAA": 28, "RRSIG": 46, "DNSKEY": 48,
}

// DNSType returns the number of a record type, and whether DNS_CHECK knows it.
func DNSType(name string) (number uint16, known bool) {
	number, known = dnsTypes[strings.ToUpper(name)]
	return number, known
}

// Probe implements [Probe].
func (d DNS) Probe(ctx context.Context) Finding {
	id := uint16(rand.Uint32())
	question, err := d.question(id)
	if err != nil {
		return found(err)
	}
	ctx, cancel := d.within(ctx)
	defer cancel()
	l, err := d.dialUDP(ctx)
	if err != nil {
		return found(err)
	}
	defer l.hangUp()
	if _, err := l.Write(question); err != nil {
		return found(err)
	}
	for answer := make([]byte, maxDNS); ; {
		n, err := l.Read(answer)
		if err != nil {
			return found(err)
		}
		if mine, err := judgeDNS(answer[:n], id); mine {
			return found(err)
		}
	}
}

func (d *DNS) question(id uint16) ([]byte, error) {
	name, err := dnsmessage.NewName(strings.TrimSuffix(d.Name, ".") + ".")
	if err != nil {
		return nil, fmt.Errorf("the name %q cannot be asked for: %w", d.Name, err)
	}
	m := dnsmessage.Message{
		Header: dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{{
			Name: name, Type: dnsmessage.Type(cmp.Or(d.Type, uint16(dnsmessage.TypeSOA))), Class: dnsmessage.ClassINET,
		}},
	}
	return m.Pack()
}

// judgeDNS reports whether a message answers question id, and what it says. Others
// are waited over: an answer to an earlier check may come late.
func judgeDNS(message []byte, id uint16) (mine bool, err error) {
	var p dnsmessage.Parser
	h, err := p.Start(message)
	if err != nil || h.ID != id || !h.Response {
		return false, nil
	}
	if h.RCode != dnsmessage.RCodeSuccess {
		return true, fmt.Errorf("the answer's code is %d (%s)", h.RCode, strings.TrimPrefix(h.RCode.String(), "RCode"))
	}
	return true, nil
}
