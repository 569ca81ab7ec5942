package spec

import (
	"fmt"
	"net/netip"
	"strings"
)

// Range is a span of addresses and ports, ends included. The zero Range is every
// address and port; LastPort 0 is every port.
type Range struct {
	First, Last         netip.Addr
	FirstPort, LastPort uint16
}

// Match selects packets by what they are, for services without a virtual address
// (SNAT). What is zero matches all. It is a service's key together with Proto.
type Match struct {
	Family   uint8 // 4 or 6; 0: none, and the service is no match service
	Src, Dst Range
	In, Out  string // ports: the one a packet came in on, the one its route leads to
}

// IsMatch reports whether the service is selected by match.
func (k ServiceKey) IsMatch() bool { return k.Match != Match{} }

// String returns "192.168.0.1-192.168.0.9:0-0", as ipvsadm lists it.
func (r Range) String() string {
	if !r.First.IsValid() {
		return ""
	}
	first, last := r.First.String(), r.Last.String()
	if r.First.Is6() {
		return fmt.Sprintf("[%s-%s]:%d-%d", first, last, r.FirstPort, r.LastPort)
	}
	return fmt.Sprintf("%s-%s:%d-%d", first, last, r.FirstPort, r.LastPort)
}

// String returns "tcp,from=192.168.0.1-192.168.0.9:0-0,oif=dpdk1", as ipvsadm lists
// a match service behind the word MATCH.
func (k ServiceKey) matchString() string {
	out := strings.ToLower(k.Proto.String())
	if k.Match.Family == 6 && k.Match.Src == (Range{}) && k.Match.Dst == (Range{}) {
		out += ",af=ipv6"
	}
	add := func(word, what string) {
		if what != "" {
			out += "," + word + "=" + what
		}
	}
	add("from", k.Match.Src.String())
	add("to", k.Match.Dst.String())
	add("iif", k.Match.In)
	add("oif", k.Match.Out)
	return out
}

// of reports whether an address is one of the match's family, as packets have it.
func (m *Match) of(a netip.Addr) bool {
	if m.Family == 4 {
		return a.Is4()
	}
	return a.Is6() && !a.Is4In6() && a.Zone() == ""
}

// check refuses a match that can't select anything.
func (m *Match) check() error {
	if m.Family != 4 && m.Family != 6 {
		return refuse(Invalid, "service", "address family %d: use af=ipv4 or af=ipv6", m.Family)
	}
	for _, r := range [2]struct {
		name string
		r    Range
	}{{"src-range", m.Src}, {"dst-range", m.Dst}} {
		switch {
		case r.r == Range{}:
		case !m.of(r.r.First) || !m.of(r.r.Last):
			return refuse(Invalid, "service", "%s %s-%s: give two IPv%d addresses", r.name, r.r.First, r.r.Last, m.Family)
		case r.r.Last.Less(r.r.First) || r.r.LastPort < r.r.FirstPort:
			return refuse(Invalid, "service", "%s %s: the end lies before the beginning", r.name, r.r)
		}
	}
	return nil
}
