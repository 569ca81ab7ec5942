package ipvsadm

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"weir/api/weirv1"
)

// resolve turns the addresses of the line into numbers: names of hosts and ports
// are looked up here and nowhere else.
func (l *line) resolve(ctx context.Context, names Names) error {
	if l.given.has(optServiceAddress) && l.kind == byAddress {
		host, port, _, err := endpoint(ctx, names, l.virtual, l.proto, IPv4)
		if err != nil {
			return orIllegal(err, "illegal virtual server address[:port] specified")
		}
		l.service.Key = &weirv1.ServiceKey{Protocol: l.proto, Address: host.String(), Port: uint32(port)}
	}
	// The name of a machine that has addresses of both families is of the service's.
	of := IPv4
	if l.ipv6() {
		of = IPv6
	}
	if l.given.has(optRealServer) {
		host, port, written, err := endpoint(ctx, names, l.real, l.proto, of)
		if err != nil {
			return orIllegal(err, "illegal real server address[:port] specified")
		}
		l.dest.Address, l.dest.Port = host.String(), uint32(port)
		// Without a port it is the service's; and a packet that is not rewritten
		// reaches the real server with the service's port whatever is written here.
		// -d names no mode, so there the port as written counts.
		kept := l.verb != cmdDeleteServer &&
			(l.dest.Forward == weirv1.Forward_FORWARD_ROUTE || l.dest.Forward == weirv1.Forward_FORWARD_TUNNEL)
		if !written || kept {
			l.dest.Port = l.service.Key.Port
		}
	}
	if l.given.has(optLocalAddress) {
		addr, err := hostAddr(ctx, names, l.laddr, of)
		if err != nil {
			return orIllegal(err, "illegal local address")
		}
		l.local.Address = addr.String()
	}
	return nil
}

// ipv6 reports whether the line's service is one of IPv6; it has been resolved.
func (l *line) ipv6() bool {
	key := l.service.GetKey()
	return key.GetMatch().GetFamily() == 6 || strings.Contains(key.GetAddress(), ":")
}

// illegal is an address that cannot be understood; the caller has the sentence.
type illegal struct{}

func (illegal) Error() string { return "illegal address" }

// orIllegal returns err if it is a sentence of its own, else a refusal with text.
func orIllegal(err error, text string) error {
	if errors.As(err, new(illegal)) {
		return wrong("%s", text)
	}
	return err
}

// endpoint reads HOST, HOST:PORT or HOST:NAME, an IPv6 address with a port in brackets;
// written tells whether there was a port, and of which family a name had better be.
func endpoint(ctx context.Context, names Names, text string, proto weirv1.Protocol, of Family) (host netip.Addr, port uint16, written bool, err error) {
	hostText, portText := text, ""
	if _, err := netip.ParseAddr(text); err != nil { // else a bare address, perhaps with colons
		if strings.HasPrefix(text, "[") {
			inside, after, ok := strings.Cut(text[1:], "]")
			if addr, err := netip.ParseAddr(inside); err != nil || !addr.Is6() || !ok || after != "" && after[0] != ':' {
				return netip.Addr{}, 0, false, illegal{}
			}
			hostText, written = inside, after != ""
			portText = strings.TrimPrefix(after, ":")
		} else {
			hostText, portText, written = strings.Cut(text, ":")
		}
	}
	if written {
		if port, err = portNumber(ctx, names, portText, proto); err != nil {
			return netip.Addr{}, 0, false, err
		}
	}
	host, err = hostAddr(ctx, names, hostText, of)
	return host, port, written, err
}

// hostAddr reads an address or looks a host name up: an address of the one family, or
// if there is none one of the other.
func hostAddr(ctx context.Context, names Names, text string, of Family) (netip.Addr, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		if addr.Zone() != "" {
			return netip.Addr{}, illegal{}
		}
		return addr, nil
	}
	// A resolver would take "10.1" or "010.0.0.1" for an address of its own making.
	if strings.Trim(text, "0123456789.") == "" || !nameLike(text) {
		return netip.Addr{}, illegal{}
	}
	for _, f := range [2]Family{of, IPv4 + IPv6 - of} {
		if addr, err := names.Addr(ctx, f, text); err == nil && addr.Is4() == (f == IPv4) {
			return addr, nil
		}
	}
	return netip.Addr{}, illegal{}
}

// portNumber reads a port or looks a service name up.
func portNumber(ctx context.Context, names Names, text string, proto weirv1.Protocol) (uint16, error) {
	if strings.Trim(text, "0123456789") == "" {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return 0, illegal{}
		}
		return uint16(n), nil
	}
	if !nameLike(text) {
		return 0, illegal{}
	}
	port, err := names.Port(ctx, protoWord(proto), text)
	if err != nil {
		return 0, illegal{}
	}
	return port, nil
}

// nameLike reports whether text may be the name of a host or a service.
func nameLike(text string) bool {
	if text == "" || text[0] == '-' {
		return false
	}
	for _, c := range text {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_':
		default:
			return false
		}
	}
	return true
}

// protoWord is the protocol in the words of /etc/services and of connections.
func protoWord(p weirv1.Protocol) string {
	switch p {
	case weirv1.Protocol_PROTOCOL_TCP:
		return "tcp"
	case weirv1.Protocol_PROTOCOL_UDP:
		return "udp"
	case weirv1.Protocol_PROTOCOL_SCTP:
		return "sctp"
	case weirv1.Protocol_PROTOCOL_ICMP:
		return "icmp"
	case weirv1.Protocol_PROTOCOL_ICMPV6:
		return "icmpv6"
	default:
		return "--"
	}
}

// setSockpair reads proto:sip:sport:tip:tport, IPv6 addresses in brackets.
func (l *line) setSockpair(arg string, _ bool) error {
	bad := wrong("illegal sockpair<af:sip:sport:tip:tport> specified")
	proto, pair, _ := strings.Cut(arg, ":")
	switch proto {
	case "tcp":
		l.pair.Protocol = weirv1.Protocol_PROTOCOL_TCP
	case "udp":
		l.pair.Protocol = weirv1.Protocol_PROTOCOL_UDP
	case "sctp":
		l.pair.Protocol = weirv1.Protocol_PROTOCOL_SCTP
	case "icmp":
		l.pair.Protocol = weirv1.Protocol_PROTOCOL_ICMP
	case "icmpv6":
		l.pair.Protocol = weirv1.Protocol_PROTOCOL_ICMPV6
	default:
		return bad
	}
	source, second, ok := cutEndpoint(pair)
	target, err := netip.ParseAddrPort(second)
	if !ok || err != nil || source.Addr().Is4() != target.Addr().Is4() || target.Addr().Zone() != "" {
		return bad
	}
	l.pair.Source, l.pair.Target = source.String(), target.String()
	return nil
}

// cutEndpoint reads ADDRESS:PORT in front of a colon, and returns what is behind that.
func cutEndpoint(text string) (at netip.AddrPort, rest string, ok bool) {
	end := strings.IndexByte(text, ':')
	if strings.HasPrefix(text, "[") {
		end = strings.IndexByte(text, ']') + 1
	}
	if end <= 0 || end == len(text) || text[end] != ':' {
		return at, "", false
	}
	port, rest, ok := strings.Cut(text[end+1:], ":")
	at, err := netip.ParseAddrPort(text[:end+1] + port)
	return at, rest, ok && err == nil && at.Addr().Zone() == ""
}
