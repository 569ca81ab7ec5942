package ipvsadm

import (
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"weir/api/weirv1"
)

// The bounds of values, LVS's own.
const (
	maxTimeout        = 31 * 24 * 3600 // seconds
	maxConnTimeout    = 31535999       // seconds; DPVS's timers go no further
	maxWeight         = 65535
	maxThreshold      = math.MaxInt32
	defaultPersistent = 360 // seconds
	defaultScheduler  = "wlc"
)

// number reads a decimal number between least and most.
func number(text string, least, most uint64) (uint32, bool) {
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err == nil && n >= least && n <= most
}

// parseTimeout reads seconds, at least least and at most 31 days.
func parseTimeout(text string, least uint64) (uint32, error) {
	n, ok := number(text, least, maxTimeout)
	if !ok {
		return 0, wrong("invalid timeout value `%s' specified", text)
	}
	return n, nil
}

// ------------------------------------------------------------ which service

func (l *line) setVirtual(proto weirv1.Protocol, arg string) error {
	l.proto, l.virtual = proto, arg
	return nil
}

func (l *line) setTCP(arg string, _ bool) error {
	return l.setVirtual(weirv1.Protocol_PROTOCOL_TCP, arg)
}

func (l *line) setUDP(arg string, _ bool) error {
	return l.setVirtual(weirv1.Protocol_PROTOCOL_UDP, arg)
}

func (l *line) setSCTP(arg string, _ bool) error {
	return l.setVirtual(weirv1.Protocol_PROTOCOL_SCTP, arg)
}

func (l *line) setICMP(arg string, _ bool) error {
	l.needs("an ICMP service")
	return l.setVirtual(weirv1.Protocol_PROTOCOL_ICMP, arg)
}

func (l *line) setICMPv6(arg string, _ bool) error {
	l.needs("an ICMPv6 service")
	return l.setVirtual(weirv1.Protocol_PROTOCOL_ICMPV6, arg)
}

func (l *line) setFwmark(arg string, _ bool) error {
	if _, ok := number(arg, 1, math.MaxUint32); !ok {
		return wrong("invalid fwmark value `%s' specified", arg)
	}
	l.kind = byFwmark
	l.needs("a service by firewall mark")
	return nil
}

func (l *line) setMatch(arg string, _ bool) error {
	m, proto, ok := parseMatch(arg)
	switch {
	case !ok:
		return wrong("illegal match specified")
	case proto == 0:
		return wrong("illegal match specified: it lacks proto=tcp, udp, sctp, icmp or icmpv6")
	}
	l.kind, l.proto = byMatch, proto
	l.service.Key = &weirv1.ServiceKey{Protocol: proto, Match: m}
	return nil
}

func (l *line) setIPv6(string, bool) error {
	if l.kind != byFwmark {
		return wrong("-6 used before -f")
	}
	return nil // setFwmark has noted what is not there yet
}

// -------------------------------------------------------------- its options

func (l *line) setScheduler(arg string, _ bool) error {
	if name := strings.TrimLeft(arg, "-"); name != arg {
		hint := ""
		if name != "" {
			hint = "\ndid you mean -s " + name + "?"
		}
		return wrong("illegal scheduler `%s' specified%s", arg, hint)
	}
	if arg == "" {
		return wrong("illegal scheduler `' specified")
	}
	l.service.Scheduler = arg
	return nil
}

func (l *line) setPersistent(arg string, given bool) (err error) {
	l.service.Persistent = defaultPersistent
	if given {
		l.service.Persistent, err = parseTimeout(arg, 1)
	}
	return err
}

func (l *line) setNetmask(arg string, _ bool) error {
	// Which of the two it has to be is known when the service is.
	if n, ok := number(arg, 1, 128); ok {
		l.service.PersistentMask = strconv.FormatUint(uint64(n), 10)
		return nil
	}
	mask, err := netip.ParseAddr(arg)
	if err != nil || !mask.Is4() {
		return wrong("illegal virtual server persistent mask specified")
	}
	l.service.PersistentMask = mask.String()
	return nil
}

func (l *line) setOps(string, bool) error {
	l.service.OnePacket = true
	return nil
}

func (l *line) setPE(arg string, _ bool) error {
	if arg == "" || strings.HasPrefix(arg, "-") || strings.ContainsAny(arg, " \t\r\n") {
		return wrong("illegal persistence engine `%s' specified", arg)
	}
	l.service.Pe = arg
	return nil
}

func (l *line) setSynproxy(arg string, _ bool) error {
	switch arg {
	case "enable":
		l.service.SynProxy = true
		l.needs("the 'synproxy' option")
	case "disable":
	default:
		return wrong("synproxy switch must be enable or disable")
	}
	return nil
}

func (l *line) setHashTarget(arg string, _ bool) error {
	if arg != "sip" && arg != "qid" {
		return wrong("hash target not support")
	}
	l.service.HashTarget = arg
	return nil
}

func (l *line) setExpireQuiescent(string, bool) error {
	l.service.ExpireQuiescent = true
	return nil
}

func (l *line) setQUIC(string, bool) error {
	l.service.Quic = true
	return nil
}

// destCheckTimes is what --dest-check takes for a detector's own figures:
// "down,up,WAITs,MIN-MAXs" or "down,WAITs".
var destCheckTimes = regexp.MustCompile(`^[0-9]+,([0-9]+,[0-9]+s,[0-9]+-[0-9]+s|[0-9]+s)$`)

func (l *line) setDestCheck(arg string, _ bool) error {
	switch arg {
	case "disable":
		l.service.DestCheck = nil
		return nil
	case "tcp", "udp", "sctp", "ping":
		l.needs("an active health check (dest-check " + arg + ")")
	case "default":
	default:
		if !destCheckTimes.MatchString(arg) {
			return wrong("invalid dest_check config")
		}
	}
	l.service.DestCheck = append(l.service.DestCheck, arg)
	return nil
}

func (l *line) setConnTimeout(arg string, _ bool) error {
	n, ok := number(arg, 0, maxConnTimeout)
	if !ok {
		return wrong("invalid timeout value `%s' specified", arg)
	}
	l.service.ConnTimeout = n
	return nil
}

// proxyProtocols are the words of --proxy-protocol beside disable.
var proxyProtocols = []string{"v1", "v2", "v1-insecure", "v2-insecure"}

func (l *line) setProxyProtocol(arg string, _ bool) error {
	switch {
	case arg == "disable":
	case slices.Contains(proxyProtocols, arg):
		l.service.ProxyProtocol = arg
	default:
		return wrong("proxy protocol must be disable or one of %s", strings.Join(proxyProtocols, " "))
	}
	return nil
}

func (l *line) setTOA(arg string, _ bool) error {
	switch arg {
	case "enable":
	case "disable":
		l.service.NoToa = true
	default:
		return wrong("toa switch must be enable or disable")
	}
	return nil
}

func (l *line) setUOA(arg string, _ bool) error {
	switch arg {
	case "disable":
	case "ipo", "opp":
		l.service.Uoa = arg
	default:
		return wrong("uoa must be disable or one of ipo opp")
	}
	return nil
}

// endpointIndependent is the word of --mapping for one WAN address and port toward
// everybody, beside what is the default.
const endpointIndependent = "endpoint-independent"

func (l *line) setMapping(arg string, _ bool) error {
	switch arg {
	case "address-and-port-dependent":
	case endpointIndependent:
		l.service.EndpointIndependent = true
	default:
		return wrong("mapping must be endpoint-independent or address-and-port-dependent")
	}
	return nil
}

// --------------------------------------------------------- the real server

func (l *line) setRealServer(arg string, _ bool) error {
	l.real = arg
	return nil
}

func (l *line) setForward(f weirv1.Forward) error {
	l.dest.Forward = f
	return nil
}

func (l *line) setMasq(string, bool) error   { return l.setForward(weirv1.Forward_FORWARD_MASQ) }
func (l *line) setTunnel(string, bool) error { return l.setForward(weirv1.Forward_FORWARD_TUNNEL) }
func (l *line) setRoute(string, bool) error  { return l.setForward(weirv1.Forward_FORWARD_ROUTE) }
func (l *line) setFullNAT(string, bool) error {
	return l.setForward(weirv1.Forward_FORWARD_FULLNAT)
}
func (l *line) setSNAT(string, bool) error { return l.setForward(weirv1.Forward_FORWARD_SNAT) }

func (l *line) setWeight(arg string, _ bool) (err error) {
	n, ok := number(arg, 0, maxWeight)
	if !ok {
		return wrong("illegal weight specified")
	}
	l.dest.Weight = n
	return nil
}

func (l *line) setUThreshold(arg string, _ bool) error {
	n, ok := number(arg, 0, maxThreshold)
	if !ok {
		return wrong("illegal u_threshold specified")
	}
	l.dest.UThreshold = n
	return nil
}

func (l *line) setLThreshold(arg string, _ bool) error {
	n, ok := number(arg, 0, maxThreshold)
	if !ok {
		return wrong("illegal l_threshold specified")
	}
	l.dest.LThreshold = n
	return nil
}

// --------------------------------------------------------- local addresses

func (l *line) setLocal(arg string, _ bool) error {
	l.laddr = arg
	return nil
}

func (l *line) setIfname(arg string, _ bool) error {
	if arg == "" || strings.HasPrefix(arg, "-") || strings.ContainsAny(arg, " \t\r\n/") {
		return wrong("illegal device name `%s' specified", arg)
	}
	l.local.Device = arg
	return nil
}

// ------------------------------------------------- listing, synchronisation

func (l *line) setCPU(arg string, _ bool) error {
	if _, ok := number(arg, 0, math.MaxUint16); !ok {
		return wrong("invalid cpu value `%s' specified", arg)
	}
	return wrong("--cpu chooses one worker's table, and all workers of weir share one: leave it out")
}

func (l *line) setSyncid(arg string, _ bool) error {
	if _, ok := number(arg, 0, 255); !ok {
		return wrong("illegal syncid specified")
	}
	return nil
}

func (l *line) setDaemonRole(arg string, _ bool) error {
	if arg == "master" || arg == "backup" {
		return nil
	}
	if l.verb == cmdStartDaemon {
		return wrong("illegal start_daemon parameter specified")
	}
	return wrong("illegal stop_daemon specified")
}
