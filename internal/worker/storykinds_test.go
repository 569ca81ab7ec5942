package worker_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// event is a command of a story that injects packets: what came in, and what left.
type event struct{ in, out []said }

// said is a packet as a story says it: as much of it as tells one forwarding mode
// from another.
type said struct {
	text     string
	family   int    // 4 or 6
	src, dst string // addresses
	sport    string // of an echo the id, for both
	dport    string
	proto    string // tcp, udp, sctp, echo, error; "" of others
	inner    *said  // of an error what it quotes, of a tunnel what is in it
}

var (
	left     = regexp.MustCompile(`^\S+ > \S+: (.*)$`)
	ipLayer  = regexp.MustCompile(`^(ip6?) (\S+) > (\S+)`)
	ports    = regexp.MustCompile(`^(tcp|udp|sctp) (\d+) > (\d+)`)
	echo     = regexp.MustCompile(`^icmp6? echo(?:-reply)? id=(\d+)`)
	icmpKind = regexp.MustCompile(`^icmp6? [a-z-]+`)
)

// eventsOf reads a part of a story.
func eventsOf(part string) (events []event) {
	for _, command := range strings.Split(part, "\n\n") {
		asked, answer, ok := strings.Cut(command, "\n----\n")
		lines := strings.Split(asked, "\n")
		if !ok || !strings.HasPrefix(lines[0], "inject ") {
			continue
		}
		var e event
		for _, l := range lines[1:] {
			if p := readPacket(l); p != nil {
				e.in = append(e.in, *p)
			}
		}
		for _, l := range strings.Split(answer, "\n") {
			if m := left.FindStringSubmatch(l); m != nil {
				if p := readPacket(m[1]); p != nil {
					e.out = append(e.out, *p)
				}
			}
		}
		events = append(events, e)
	}
	return events
}

// readPacket reads an IP packet; of anything else it returns nil.
func readPacket(line string) *said {
	layers := strings.Split(line, " / ")
	m := ipLayer.FindStringSubmatch(layers[0])
	if m == nil {
		return nil
	}
	p := &said{text: line, family: 4, src: m[2], dst: m[3]}
	if m[1] == "ip6" {
		p.family = 6
	}
	for i, l := range layers[1:] {
		rest := strings.Join(layers[i+1:], " / ")
		switch {
		case ipLayer.MatchString(l):
			p.inner = readPacket(rest)
			return p
		case ports.MatchString(l):
			m := ports.FindStringSubmatch(l)
			p.proto, p.sport, p.dport = m[1], m[2], m[3]
			return p
		case echo.MatchString(l):
			p.proto, p.sport = "echo", echo.FindStringSubmatch(l)[1]
			p.dport = p.sport
			return p
		case icmpKind.MatchString(l):
			p.proto = "error"
		}
	}
	return p
}

// kinds says what these events show: "full-NAT 4-4 tcp", "error 6-4", "TOA 6-6".
// A connection through a NAT counts only if its answer finds the way back.
func kinds(events []event) (out []string) {
	note := func(format string, a ...any) {
		if k := fmt.Sprintf(format, a...); !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	for i, e := range events {
		for _, in := range e.in {
			for _, left := range e.out {
				if in.proto == "error" || left.proto == "error" || left.inner != nil && left.inner.proto == "error" {
					if k := errorKind(in, left); k != "" {
						note("%s", k)
					}
					continue
				}
				mode, answered := modeOf(in, left, events[i+1:])
				if mode == "" {
					continue
				}
				if answered {
					note("%s %s", mode, in.proto)
				}
				for _, mark := range []struct{ what, word string }{
					{"TOA", "<toa "}, {"UOA option", " uoa="}, {"UOA protocol", "/ opp "},
					{"PROXY v1 " + in.proto, " proxy=1:"}, {"PROXY v2 " + in.proto, " proxy=2:"},
				} {
					if strings.Contains(left.text, mark.word) && !strings.Contains(in.text, mark.word) {
						note("%s %d-%d", mark.what, in.family, left.family)
					}
				}
				if strings.Contains(in.text, " frag=") && strings.Contains(left.text, " mf") {
					note("fragments %s", mode)
				}
			}
		}
	}
	return out
}

// modeOf says which forwarding mode makes left of in, and whether one of the later
// events is the answer, if answers come back through that mode.
func modeOf(in, left said, later []event) (mode string, answered bool) {
	if left.inner != nil {
		if !sameEnds(*left.inner, in) || left.inner.proto != in.proto {
			return "", false
		}
		return fmt.Sprintf("Tunnel %din%d", in.family, left.family), true
	}
	if in.proto == "" || in.proto != left.proto || left.src == in.dst {
		return "", false
	}
	if sameEnds(in, left) {
		return fmt.Sprintf("DR %d", in.family), true
	}
	for _, e := range later {
		for _, back := range e.in {
			for _, home := range e.out {
				answered = answered || backOf(back, left) && backOf(home, in)
			}
		}
	}
	switch {
	case in.src != left.src && in.dst != left.dst:
		return fmt.Sprintf("full-NAT %d-%d", in.family, left.family), answered
	case in.dst != left.dst:
		return fmt.Sprintf("NAT %d", in.family), answered
	default:
		return fmt.Sprintf("SNAT %d", in.family), answered
	}
}

// backOf says whether a goes from where b went to where b came from.
func backOf(a, b said) bool {
	return a.src == b.dst && a.sport == b.dport && a.dst == b.src && a.dport == b.sport
}

func sameEnds(a, b said) bool {
	return a.src == b.src && a.dst == b.dst && a.sport == b.sport && a.dport == b.dport
}

// errorKind says how an ICMP error was passed on: "error 4-4" if what it quotes
// was rewritten, "error 4 as it is" if not, "error 4 in a tunnel 4in6"; and of one
// that a router sent about a tunnel "error of a tunnel 4in6".
func errorKind(in, left said) string {
	if left.proto == "" && left.inner != nil && in.proto == "error" && left.inner.text[:4] == in.text[:4] {
		return fmt.Sprintf("error %d in a tunnel %din%d", in.family, in.family, left.family)
	}
	if in.proto != "error" || left.proto != "error" || in.inner == nil || left.inner == nil {
		return ""
	}
	switch {
	case in.inner.inner != nil && sameEnds(*in.inner.inner, *left.inner):
		return fmt.Sprintf("error of a tunnel %din%d", left.family, in.family)
	case in.inner.src == left.inner.src && in.inner.dst == left.inner.dst && in.src == left.src && in.dst == left.dst:
		return fmt.Sprintf("error %d as it is", in.family)
	case in.inner.src != left.inner.src || in.inner.dst != left.inner.dst:
		return fmt.Sprintf("error %d-%d", in.family, left.family)
	}
	return ""
}

func TestKindsOfStories(t *testing.T) {
	const syn = "inject wan from=gw\nip 1.2.3.4 > 10.0.0.100 / tcp 40000 > 80 S seq=1\n----\n"
	const synAck = "\n\ninject lan from=rs1\nip 192.168.1.2 > 192.168.1.200 / tcp 80 > 1025 SA seq=1 ack=2\n----\n"
	tests := []struct{ name, part, want string }{
		{"full-NAT", syn + "lan > rs1: ip 192.168.1.200 > 192.168.1.2 ttl=63 / tcp 1025 > 80 S seq=1" + synAck + "wan > gw: ip 10.0.0.100 > 1.2.3.4 ttl=63 / tcp 80 > 40000 SA seq=1 ack=2", "full-NAT 4-4 tcp"},
		{"no answer", syn + "lan > rs1: ip 192.168.1.200 > 192.168.1.2 ttl=63 / tcp 1025 > 80 S seq=1", ""},
		{"another's answer", syn + "lan > rs1: ip 192.168.1.200 > 192.168.1.2 ttl=63 / tcp 1025 > 80 S seq=1" + synAck + "wan > gw: ip 10.0.0.100 > 1.2.3.4 ttl=63 / tcp 80 > 40001 SA seq=1 ack=2", ""},
		{"answered by the director", syn + "wan > gw: ip 10.0.0.100 > 1.2.3.4 ttl=64 / tcp 80 > 40000 R seq=1", ""},
		{"NAT64", "inject wan\nip6 2001:db8::9 > 2001:db8::100 / udp 5 > 53\n----\nlan > rs1: ip 192.168.1.200 > 192.168.1.2 ttl=63 / udp 1025 > 53\n\n" +
			"inject lan\nip 192.168.1.2 > 192.168.1.200 / udp 53 > 1025\n----\nwan > gw: ip6 2001:db8::100 > 2001:db8::9 hlim=63 / udp 53 > 5", "full-NAT 6-4 udp"},
		{"DR", syn + "lan > rs1: ip 1.2.3.4 > 10.0.0.100 ttl=63 / tcp 40000 > 80 S seq=1", "DR 4 tcp"},
		{"tunnel", syn + "lan > rs1: ip6 fd00::1 > fd00::2 hlim=63 flow=0x1 / ip 1.2.3.4 > 10.0.0.100 ttl=63 / tcp 40000 > 80 S seq=1", "Tunnel 4in6 tcp"},
		{"NAT", "inject b\nip 1.2.3.4 > 10.0.0.100 / udp 5 > 53\n----\nb > rs1: ip 1.2.3.4 > 192.168.1.2 ttl=63 / udp 5 > 53\n\n" +
			"inject b\nip 192.168.1.2 > 1.2.3.4 / udp 53 > 5\n----\nb > c: ip 10.0.0.100 > 1.2.3.4 ttl=63 / udp 53 > 5", "NAT 4 udp"},
		{"SNAT of a ping", "inject b\nip 10.0.0.1 > 8.8.8.8 / icmp echo id=7 seq=1\n----\nw > gw: ip 123.1.2.3 > 8.8.8.8 ttl=63 / icmp echo id=1025 seq=1\n\n" +
			"inject w\nip 8.8.8.8 > 123.1.2.3 / icmp echo-reply id=1025 seq=1\n----\nb > c: ip 8.8.8.8 > 10.0.0.1 ttl=63 / icmp echo-reply id=7 seq=1", "SNAT 4 echo"},
		{"TOA", strings.Replace(syn, " S ", " A ", 1) + "lan > rs1: ip6 fd00::1 > fd00::2 hlim=63 / tcp 1025 > 80 A seq=1 <toa 1.2.3.4:40000>", "TOA 4-6"},
		{"error", "inject l\nip 192.168.1.77 > 192.168.1.200 / icmp frag-needed mtu=1300 cut=28 / ip 192.168.1.200 > 192.168.1.2 df / tcp 1025 > 80 A\n----\n" +
			"w > gw: ip6 fd00::1 > fd00::9 hlim=63 / icmp6 too-big mtu=1280 cut=48 / ip6 fd00::9 > fd00::1 / tcp 40000 > 80", "error 4-6"},
		{"error as it is", "inject l\nip 9.9.9.9 > 10.0.0.100 / icmp frag-needed mtu=1400 / ip 10.0.0.100 > 1.2.3.4 df / tcp 80 > 4\n----\n" +
			"l > rs1: ip 9.9.9.9 > 10.0.0.100 ttl=63 / icmp frag-needed mtu=1400 / ip 10.0.0.100 > 1.2.3.4 df / tcp 80 > 4", "error 4 as it is"},
		{"error in a tunnel", "inject l\nip 9.9.9.9 > 10.0.0.100 / icmp frag-needed mtu=1400 / ip 10.0.0.100 > 1.2.3.4 df / tcp 80 > 4\n----\n" +
			"l > rs1: ip6 fd00::1 > fd00::2 hlim=63 / ip 9.9.9.9 > 10.0.0.100 ttl=63 / icmp frag-needed mtu=1400 / ip 10.0.0.100 > 1.2.3.4 df / tcp 80 > 4", "error 4 in a tunnel 4in6"},
		{"error of a tunnel", "inject l\nip6 fd00::fe > fd00::1 / icmp6 too-big mtu=1400 cut=120 / ip6 fd00::1 > fd00::2 / ip 1.2.3.4 > 10.0.0.100 ttl=62 / tcp 4 > 80 A\n----\n" +
			"w > c: ip 10.0.0.100 > 1.2.3.4 ttl=64 / icmp frag-needed mtu=1360 cut=80 / ip 1.2.3.4 > 10.0.0.100 ttl=62 / tcp 4 > 80 A", "error of a tunnel 4in6"},
		{"fragments", "inject l\nip 1.2.3.4 > 10.0.0.101 id=7 frag=0+1000 / udp 5 > 53 data=1992\n----\nl > rs1: ip 1.2.3.4 > 10.0.0.101 ttl=63 id=7 mf / udp 5 > 53 data=992", "DR 4 udp, fragments DR 4"},
		{"what the director says of itself", "inject l\nip 1.2.3.4 > 10.0.0.100 ttl=1 / udp 4 > 53\n----\nl > c: ip 10.0.0.100 > 1.2.3.4 ttl=64 / icmp time-exceeded / ip 1.2.3.4 > 10.0.0.100 ttl=1 / udp 4 > 53", ""},
		{"no packets", "conns\n----\nnothing", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := strings.Join(kinds(eventsOf(tt.part)), ", "); got != tt.want {
				t.Errorf("it shows %q, want %q", got, tt.want)
			}
		})
	}
}
