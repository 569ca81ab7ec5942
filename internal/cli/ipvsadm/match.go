package ipvsadm

import (
	"net/netip"
	"strconv"
	"strings"
)

// validMatch reports whether text selects packets: a comma list of proto=, af=, src-range=,
// dst-range=, iif= and oif=, each once, with at least a range or af=. A range that
// cannot be read makes the whole wrong; DPVS took it for "every packet".
func validMatch(text string) bool {
	seen := map[string]bool{}
	for item := range strings.SplitSeq(text, ",") {
		key, arg, ok := strings.Cut(item, "=")
		if !ok || arg == "" || seen[key] {
			return false
		}
		seen[key] = true
		switch key {
		case "proto":
			switch arg {
			case "tcp", "udp", "sctp", "icmp", "icmpv6":
			default:
				return false
			}
		case "af":
			if arg != "ipv4" && arg != "ipv6" {
				return false
			}
		case "src-range", "dst-range":
			if !validRange(arg) {
				return false
			}
		case "iif", "oif":
		default:
			return false
		}
	}
	return seen["src-range"] || seen["dst-range"] || seen["af"]
}

// validRange reports whether text is IP1[-IP2][:P1[-P2]], IPv6 in brackets.
func validRange(text string) bool {
	addrs, ports, hasPorts := strings.Cut(text, ":")
	if strings.HasPrefix(text, "[") {
		inside, after, ok := strings.Cut(text[1:], "]")
		if !ok || after != "" && after[0] != ':' {
			return false
		}
		addrs = inside
		ports, hasPorts = strings.CutPrefix(after, ":")
	}
	low, high, both := strings.Cut(addrs, "-")
	first, err := netip.ParseAddr(low)
	if err != nil {
		return false
	}
	if both {
		last, err := netip.ParseAddr(high)
		if err != nil || last.Is4() != first.Is4() || last.Less(first) {
			return false
		}
	}
	return !hasPorts || validPorts(ports)
}

// validPorts reports whether text is P1[-P2].
func validPorts(text string) bool {
	low, high, both := strings.Cut(text, "-")
	first, err := strconv.ParseUint(low, 10, 16)
	if err != nil {
		return false
	}
	if !both {
		return true
	}
	last, err := strconv.ParseUint(high, 10, 16)
	return err == nil && last >= first
}
