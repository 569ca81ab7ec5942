package ipvsadm

import (
	"net/netip"
	"strconv"
	"strings"

	"weir/api/weirv1"
)

// matchProtocols are the words of proto=.
var matchProtocols = map[string]weirv1.Protocol{
	"tcp": weirv1.Protocol_PROTOCOL_TCP, "udp": weirv1.Protocol_PROTOCOL_UDP, "sctp": weirv1.Protocol_PROTOCOL_SCTP,
	"icmp": weirv1.Protocol_PROTOCOL_ICMP, "icmpv6": weirv1.Protocol_PROTOCOL_ICMPV6,
}

// parseMatch reads what selects packets: a comma list of proto=, af=, src-range=,
// dst-range=, iif= and oif=, each once, with at least a range or af=. A range that
// cannot be read makes the whole wrong; DPVS took it for "every packet".
func parseMatch(text string) (m *weirv1.Match, proto weirv1.Protocol, ok bool) {
	m = &weirv1.Match{}
	seen := map[string]bool{}
	for item := range strings.SplitSeq(text, ",") {
		key, arg, found := strings.Cut(item, "=")
		if !found || arg == "" || seen[key] {
			return nil, 0, false
		}
		seen[key], ok = true, true
		switch key {
		case "proto":
			proto, ok = matchProtocols[arg]
		case "af":
			m.Family, ok = map[string]uint32{"ipv4": 4, "ipv6": 6}[arg], arg == "ipv4" || arg == "ipv6"
		case "src-range":
			m.Src, ok = parseRange(arg)
		case "dst-range":
			m.Dst, ok = parseRange(arg)
		case "iif":
			m.Iif = arg
		case "oif":
			m.Oif = arg
		default:
			ok = false
		}
		if !ok {
			return nil, 0, false
		}
	}
	for _, r := range []*weirv1.AddressRange{m.Src, m.Dst} {
		if r == nil {
			continue
		}
		family := uint32(4)
		if strings.Contains(r.First, ":") {
			family = 6
		}
		if m.Family == 0 {
			m.Family = family
		}
		if m.Family != family {
			return nil, 0, false
		}
	}
	return m, proto, m.Family != 0
}

// parseRange reads IP1[-IP2][:P1[-P2]], IPv6 in brackets.
func parseRange(text string) (*weirv1.AddressRange, bool) {
	addrs, ports, hasPorts := strings.Cut(text, ":")
	if strings.HasPrefix(text, "[") {
		inside, after, ok := strings.Cut(text[1:], "]")
		if !ok || after != "" && after[0] != ':' {
			return nil, false
		}
		addrs = inside
		ports, hasPorts = strings.CutPrefix(after, ":")
	}
	low, high, both := strings.Cut(addrs, "-")
	if !both {
		high = low
	}
	first, err1 := netip.ParseAddr(low)
	last, err2 := netip.ParseAddr(high)
	if err1 != nil || err2 != nil || first.Zone() != "" || last.Zone() != "" || last.Is4() != first.Is4() || last.Less(first) {
		return nil, false
	}
	r := &weirv1.AddressRange{First: first.String(), Last: last.String()}
	if !hasPorts {
		return r, true
	}
	low, high, both = strings.Cut(ports, "-")
	if !both {
		high = low
	}
	a, err1 := strconv.ParseUint(low, 10, 16)
	b, err2 := strconv.ParseUint(high, 10, 16)
	r.FirstPort, r.LastPort = uint32(a), uint32(b)
	return r, err1 == nil && err2 == nil && b >= a
}

// matchWords is the inverse of parseMatch, for -S.
func matchWords(k *weirv1.ServiceKey) string {
	m := k.GetMatch()
	var out []string
	add := func(word, arg string) {
		if arg != "" {
			out = append(out, word+"="+arg)
		}
	}
	add("proto", protoWord(k.GetProtocol()))
	if m.GetSrc() == nil && m.GetDst() == nil {
		add("af", map[uint32]string{4: "ipv4", 6: "ipv6"}[m.GetFamily()])
	}
	add("src-range", rangeWords(m.GetSrc(), false))
	add("dst-range", rangeWords(m.GetDst(), false))
	add("iif", m.GetIif())
	add("oif", m.GetOif())
	return strings.Join(out, ",")
}

// matchName is how a match service is listed: "tcp,from=A-B:0-0,oif=dpdk1". One of IPv6
// that has no range says so.
func matchName(k *weirv1.ServiceKey) string {
	m := k.GetMatch()
	out := protoWord(k.GetProtocol())
	if m.GetFamily() == 6 && m.GetSrc() == nil && m.GetDst() == nil {
		out += ",af=ipv6"
	}
	for _, w := range [][2]string{
		{"from", rangeWords(m.GetSrc(), true)}, {"to", rangeWords(m.GetDst(), true)}, {"iif", m.GetIif()}, {"oif", m.GetOif()},
	} {
		if w[1] != "" {
			out += "," + w[0] + "=" + w[1]
		}
	}
	return out
}

// rangeWords is a range as it is written, or with ports always, as it is listed.
func rangeWords(r *weirv1.AddressRange, ports bool) string {
	if r == nil {
		return ""
	}
	out := r.GetFirst() + "-" + r.GetLast()
	if strings.Contains(r.GetFirst(), ":") {
		out = "[" + out + "]"
	}
	if ports || r.GetLastPort() != 0 {
		out += ":" + strconv.Itoa(int(r.GetFirstPort())) + "-" + strconv.Itoa(int(r.GetLastPort()))
	}
	return out
}
