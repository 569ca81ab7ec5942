package ipvsadm

import (
	"strconv"

	"weir/api/weirv1"
)

// serviceOption is the option that selects a service of a protocol.
var serviceOption = map[weirv1.Protocol]string{
	weirv1.Protocol_PROTOCOL_TCP:    "-t",
	weirv1.Protocol_PROTOCOL_UDP:    "-u",
	weirv1.Protocol_PROTOCOL_SCTP:   "--sctp-service",
	weirv1.Protocol_PROTOCOL_ICMP:   "-q",
	weirv1.Protocol_PROTOCOL_ICMPV6: "-1",
}

// forwardOption is the option of a forwarding mode.
var forwardOption = map[weirv1.Forward]string{
	weirv1.Forward_FORWARD_MASQ:    "-m",
	weirv1.Forward_FORWARD_TUNNEL:  "-i",
	weirv1.Forward_FORWARD_ROUTE:   "-g",
	weirv1.Forward_FORWARD_FULLNAT: "-b",
	weirv1.Forward_FORWARD_SNAT:    "-J",
	// The director finds out by itself that a real server is local.
	weirv1.Forward_FORWARD_LOCAL: "-g",
}

// serviceLines returns the lines that make a service anew: -A, then -P, then -a.
func serviceLines(s *weirv1.Service) []string {
	numbers := namer{}
	option := serviceOption[s.GetKey().GetProtocol()]
	virtual := numbers.endpoint(s.GetKey().GetAddress(), s.GetKey().GetPort(), "")
	if s.GetKey().GetMatch() != nil {
		option, virtual = "-H", matchWords(s.GetKey())
	}

	add := []string{"-A", option, virtual, "-s", s.GetScheduler()}
	add = figure(add, "-p", s.GetPersistent())
	if masked(s) {
		add = append(add, "-M", s.GetPersistentMask())
	}
	add = text(add, "--pe", s.GetPe())
	add = flag(add, "--ops", s.GetOnePacket())
	if s.GetSynProxy() {
		add = append(add, "-j", "enable")
	}
	add = text(add, "--hash-target", s.GetHashTarget())
	add = flag(add, "--expire-quiescent", s.GetExpireQuiescent())
	add = flag(add, "--quic", s.GetQuic())
	add = figure(add, "--conn-timeout", s.GetConnTimeout())
	add = text(add, "--proxy-protocol", s.GetProxyProtocol())
	if s.GetNoToa() {
		add = append(add, "--toa", "disable")
	}
	add = text(add, "--uoa", s.GetUoa())
	if s.GetEndpointIndependent() {
		add = append(add, "--mapping", endpointIndependent)
	}
	for _, check := range s.GetDestCheck() {
		add = append(add, "--dest-check", check)
	}
	lines := []string{join(add...)}

	for _, l := range s.GetLocals() {
		lines = append(lines, join("-P", option, virtual, "-z", l.GetAddress(), "-F", l.GetDevice()))
	}
	for _, d := range s.GetDests() {
		server := []string{
			"-a", option, virtual, "-r", numbers.endpoint(d.GetAddress(), d.GetPort(), ""),
			forwardOption[d.GetForward()], "-w", strconv.FormatUint(uint64(d.GetWeight()), 10),
		}
		server = figure(server, "-x", d.GetUThreshold())
		server = figure(server, "-y", d.GetLThreshold())
		lines = append(lines, join(server...))
	}
	return lines
}

// text appends "NAME VALUE" to words unless value is empty.
func text(words []string, name, value string) []string {
	if value == "" {
		return words
	}
	return append(words, name, value)
}

// flag appends name to words if it is on.
func flag(words []string, name string, on bool) []string {
	if !on {
		return words
	}
	return append(words, name)
}
