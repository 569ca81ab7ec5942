package keepalivedconf

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/internal/config/block"
	"weir/internal/spec"
)

// What stock bounds.
const (
	maxWeight     = 65535
	maxPersistent = 31 * 86400 // seconds
	// defaultPersistent is what persistence_timeout without a value means.
	defaultPersistent = 360
)

// schedulers are Weir's; others are those that only the kernel has.
var (
	schedulers = []string{"rr", "wrr", "lc", "wlc", "sed", "nq", "fo", "sh", "dh", "mh", "conhash"}
	others     = []string{"lblc", "lblcr", "ovf", "twos"}
)

// inherited is what a real server has from its virtual server and a checker
// from its real server, nil where nothing was said.
type inherited struct {
	connectTimeout, delayBeforeRetry, warmup, delayLoop *time.Duration
	retry                                               *uint32
	alpha, inhibit                                      bool
	weight                                              uint32
	method                                              Method
	host                                                string
	logAll                                              bool
}

// timing are the keywords that all three levels have.
func (r *reader) timing(in *inherited, leastRetry uint64) rules {
	return rules{
		"connect_timeout":    r.timer(&in.connectTimeout, time.Microsecond),
		"delay_loop":         r.timer(&in.delayLoop, time.Microsecond),
		"delay_before_retry": r.timer(&in.delayBeforeRetry, 0),
		"warmup":             r.timer(&in.warmup, 0),
		"retry": r.number(leastRetry, maxUint32, func(v uint64) {
			n := uint32(v)
			in.retry = &n
		}),
		"alpha": r.flag(&in.alpha),
	}
}

// serverReader is one virtual_server while it is read.
type serverReader struct {
	*reader
	vs    VirtualServer
	in    inherited
	place serverPlace
	reals []*node // read last: what they inherit may stand below them
	said  map[string]block.Pos
}

// server reads a virtual_server.
func (r *reader) server(n *node) {
	s := &serverReader{
		reader: r,
		vs:     VirtualServer{Quorum: 1},
		in:     inherited{weight: 1, logAll: r.cfg.Global.LogAllFailures},
		place:  serverPlace{pos: n.pos, reals: make(map[netip.AddrPort]block.Pos)},
		said:   make(map[string]block.Pos),
	}
	if !n.isBlock() {
		r.errorf(n.pos, "virtual_server needs a block: write \"virtual_server IP PORT { ... }\"")
		return
	}
	if !s.target(n) {
		return
	}
	before := len(r.errors)
	rs := s.rules()
	for word, do := range rs {
		rs[word] = func(c *node) {
			s.said[word] = c.pos
			do(c)
		}
	}
	r.read("virtual_server", n.block, rs)
	s.defaults(n)
	for _, c := range s.reals {
		s.real(c)
	}
	if len(r.errors) == before {
		s.check(n)
	}
	r.cfg.Servers = append(r.cfg.Servers, s.vs)
	r.servers = append(r.servers, s.place)
}

// target reads what stands behind the word virtual_server.
func (s *serverReader) target(n *node) (ok bool) {
	t := &s.vs.Target
	if len(n.args) == 0 {
		s.errorf(n.pos, "virtual_server needs an address and a port, or one of group NAME, fwmark N, match NAME")
		return false
	}
	switch word := n.args[0]; word {
	case "group", "match":
		if len(n.args) != 2 || n.args[1] == "" {
			s.errorf(n.pos, "virtual_server %s needs one name", word)
			return false
		}
		if word == "group" {
			t.Group = n.args[1]
			return true
		}
		t.Label = n.args[1]
		s.in.method.Forward = spec.SNAT
		return true
	case "fwmark":
		t.Mark, ok = s.markOf(n, n.args[1:])
	default:
		t.Virtual, ok = s.endpoint(n, n.args)
	}
	return ok
}

// rules is the grammar of a virtual_server.
func (s *serverReader) rules() rules {
	r, vs := s.reader, &s.vs
	rs := r.timing(&s.in, 1)
	more := rules{
		"ip_family":               r.choice(&vs.Family, "inet", "inet6"),
		"lb_algo":                 s.scheduler,
		"lvs_sched":               s.scheduler,
		"lb_kind":                 r.method(&s.in.method),
		"lvs_method":              r.method(&s.in.method),
		"protocol":                s.protocol,
		"ops":                     r.flag(&vs.OnePacket),
		"persistence_engine":      r.text(&vs.PE),
		"persistence_timeout":     s.persistence,
		"persistence_granularity": s.granularity,
		"ha_suspend":              r.flag(&vs.HASuspend),
		"smtp_alert":              r.ignored("no mail is sent; quorum_up, quorum_down, notify_up and notify_down can"),
		"virtualhost":             r.text(&s.in.host),
		"snmp_name":               r.ignored("there is no SNMP; see the metrics"),
		"omega":                   r.flag(&vs.Omega),
		"quorum":                  r.uint32(&vs.Quorum, 1, maxUint32),
		"hysteresis":              r.uint32(&vs.Hysteresis, 0, maxUint32),
		"quorum_up":               r.script(&vs.QuorumUp),
		"quorum_down":             r.script(&vs.QuorumDown),
		"inhibit_on_failure":      r.flag(&s.in.inhibit),
		"weight":                  r.uint32(&s.in.weight, 1, maxWeight),
		"sorry_server":            s.sorry,
		"sorry_server_inhibit":    r.flag(&vs.Sorry.Inhibit),
		"sorry_server_lvs_method": r.method(&vs.Sorry.Method),
		"real_server":             func(n *node) { s.reals = append(s.reals, n) },

		// DPVS's.
		"syn_proxy":             r.flag(&vs.SynProxy),
		"expire_quiescent_conn": r.flag(&vs.ExpireQuiescent),
		"quic":                  r.flag(&vs.QUIC),
		"establish_timeout":     r.uint32(&vs.ConnTimeout, 1, maxPersistent),
		"proxy_protocol":        s.proxyProtocol,
		"hash_target":           r.choice(&vs.HashTarget, "sip", "qid"),
		"laddr_group_name":      s.groupName(&vs.LocalGroup, &s.place.local),
		"daddr_group_name":      s.groupName(&vs.DenyGroup, &s.place.deny),
		"waddr_group_name":      s.groupName(&vs.AllowGroup, &s.place.allow),
		"src-range":             s.matchRange(&vs.Match.Src),
		"dst-range":             s.matchRange(&vs.Match.Dst),
		"iif":                   r.text(&vs.Match.In),
		"oif":                   r.text(&vs.Match.Out),
		"bps":                   r.ignored("services have no limit of bits"),
		"limit_proportion":      r.ignored("services have no limit of bits"),
		"vip_bind_dev":          r.ignored("DPVS does nothing with it either"),

		// Weir's.
		"uoa": r.choice(&vs.UOA, "ipo", "opp"),
	}
	for _, flag := range []string{"hashed", "flag-1", "flag-2", "flag-3", "sh-port", "sh-fallback", "mh-port", "mh-fallback"} {
		more[flag] = func(n *node) {
			on := false
			r.flag(&on)(n)
			vs.Flags = slices.DeleteFunc(vs.Flags, func(f string) bool { return f == flag })
			if on {
				vs.Flags = append(vs.Flags, flag)
			}
		}
	}
	for word, do := range more {
		rs[word] = do
	}
	return rs
}

func (s *serverReader) scheduler(n *node) {
	if len(n.args) == 1 && slices.Contains(others, n.args[0]) {
		s.errorf(n.pos, "%s %s is a scheduler of the kernel only: use one of %s", n.keyword, n.args[0], strings.Join(schedulers, ", "))
		return
	}
	s.choice(&s.vs.Scheduler, schedulers...)(n)
}

var protocols = map[string]spec.Proto{"TCP": spec.TCP, "UDP": spec.UDP, "SCTP": spec.SCTP, "ICMP": spec.ICMP, "ICMPV6": spec.ICMPv6}

func (s *serverReader) protocol(n *node) {
	name := ""
	if s.choice(&name, "TCP", "UDP", "SCTP", "ICMP", "ICMPV6")(n); name != "" {
		s.vs.Proto = protocols[name]
	}
}

func (s *serverReader) proxyProtocol(n *node) {
	v := ""
	if s.choice(&v, "v1", "v2", "v1-insecure", "v2-insecure", "disable")(n); v != "disable" {
		s.vs.ProxyProtocol = v
	}
}

// persistence reads seconds; the bare keyword means six minutes.
func (s *serverReader) persistence(n *node) {
	if len(n.args) == 0 && !n.isBlock() {
		s.vs.Persistent = defaultPersistent
		return
	}
	s.uint32(&s.vs.Persistent, 1, maxPersistent)(n)
}

// granularity reads a mask, or for IPv6 its length.
func (s *serverReader) granularity(n *node) {
	v, ok := s.one(n)
	if !ok {
		return
	}
	if bits, err := strconv.ParseUint(v, 10, 8); err == nil && bits >= 1 && bits <= 128 {
		s.vs.PersistentMask = spec.Mask(netip.IPv6Unspecified(), int(bits))
		return
	}
	a, err := netip.ParseAddr(v)
	if err != nil || !a.Is4() || spec.MaskBits(a) <= 0 {
		s.errorf(n.pos, "%s %s is neither a mask like 255.255.255.0 nor, for IPv6, a length from 1 to 128", n.keyword, shown(v))
		return
	}
	s.vs.PersistentMask = a
}

// groupName reads the name of a group and remembers where.
func (s *serverReader) groupName(dst *string, at *block.Pos) rule {
	return func(n *node) {
		s.text(dst)(n)
		*at = n.pos
	}
}

// matchRange reads the range of a match.
func (s *serverReader) matchRange(dst *spec.Range) rule {
	return func(n *node) {
		v, ok := s.one(n)
		if !ok {
			return
		}
		m, bad := parseMatchRange(v)
		if bad {
			s.errorf(n.pos, "%s %s is not a range IP-IP or IP-IP:PORT-PORT ([IP-IP]:PORT-PORT for IPv6)", n.keyword, shown(v))
			return
		}
		*dst = m
	}
}

// parseMatchRange reads "IP[-IP][:P[-P]]", with brackets round IPv6 where ports follow.
func parseMatchRange(v string) (out spec.Range, bad bool) {
	addrs, ports := v, ""
	if inside, bracketed := strings.CutPrefix(v, "["); bracketed {
		var closed bool
		if addrs, ports, closed = strings.Cut(inside, "]"); !closed || ports != "" && ports[0] != ':' {
			return out, true
		}
		ports = strings.TrimPrefix(ports, ":")
	} else if strings.Count(v, ":") == 1 {
		addrs, ports, _ = strings.Cut(v, ":")
	}
	from, to, ranged := strings.Cut(addrs, "-")
	if !ranged {
		to = from
	}
	first, err1 := netip.ParseAddr(from)
	last, err2 := netip.ParseAddr(to)
	if err1 != nil || err2 != nil || first.Is4() != last.Is4() || last.Less(first) || first.Is4In6() || first.Zone()+last.Zone() != "" {
		return out, true
	}
	if !ranged && first.IsUnspecified() {
		// "0.0.0.0:1-1024" is the ports of every address.
		last = lastOf(netip.PrefixFrom(first, 0))
	}
	out = spec.Range{First: first, Last: last}
	if ports != "" {
		lo, hi, two := strings.Cut(ports, "-")
		if !two {
			hi = lo
		}
		p1, err1 := strconv.ParseUint(lo, 10, 16)
		p2, err2 := strconv.ParseUint(hi, 10, 16)
		if err1 != nil || err2 != nil || p2 < p1 {
			return out, true
		}
		out.FirstPort, out.LastPort = uint16(p1), uint16(p2)
	}
	return out, false
}

// methods are the words of lb_kind.
var methods = map[string]spec.Forward{
	"NAT": spec.Masq, "DR": spec.DirectRoute, "TUN": spec.Tunnel, "FNAT": spec.FullNAT, "SNAT": spec.SNAT,
}

// method reads lb_kind: a word, and for TUN "type ipip|gre|gue port N" and how
// checksums are kept.
func (r *reader) method(dst *Method) rule {
	return func(n *node) {
		if n.isBlock() || len(n.args) == 0 {
			r.errorf(n.pos, "%s needs one of NAT, DR, TUN, FNAT, SNAT", n.keyword)
			return
		}
		forward, known := methods[strings.ToUpper(n.args[0])]
		if !known {
			r.errorf(n.pos, "%s %s is not one of NAT, DR, TUN, FNAT, SNAT", n.keyword, shown(n.args[0]))
			return
		}
		m := Method{Forward: forward}
		if rest := n.args[1:]; len(rest) > 0 {
			if forward != spec.Tunnel || !r.tunnelOptions(n, rest, &m) {
				r.errorf(n.pos, "%s: write \"%s\", or \"TUN type ipip\", \"TUN type gre\" or \"TUN type gue port N\"", n.keyword, strings.ToUpper(n.args[0]))
				return
			}
			if m.Tunnel == "ipip" {
				m.Tunnel = ""
			}
		}
		*dst = m
	}
}

func (r *reader) tunnelOptions(n *node, args []string, m *Method) bool {
	for i := 0; i < len(args); i++ {
		var ok bool
		switch args[i] {
		case "type":
			if i++; i == len(args) || !slices.Contains([]string{"ipip", "gue", "gre"}, args[i]) {
				return false
			}
			m.Tunnel = args[i]
		case "port":
			if i++; i == len(args) {
				return false
			}
			if m.Port, ok = r.portOf(n, args[i], 1); !ok {
				return false
			}
		case "nocsum", "csum", "remcsum":
			m.Checksum = args[i]
		default:
			return false
		}
	}
	return (m.Port != 0) == (m.Tunnel == "gue") && (m.Checksum == "" || m.Tunnel == "gue" || m.Tunnel == "gre" && m.Checksum != "remcsum")
}

func (s *serverReader) sorry(n *node) {
	if n.isBlock() {
		s.errorf(n.pos, "sorry_server takes an address and a port, not a block")
		return
	}
	if a, ok := s.endpoint(n, n.args); ok {
		s.vs.Sorry.Addr = a
	}
}

// defaults fills in what was not said; stock says so too.
func (s *serverReader) defaults(n *node) {
	vs := &s.vs
	if vs.Proto == 0 && !s.was("protocol") {
		s.warnf(n.pos, "virtual_server has no protocol: it is for UDP")
		vs.Proto = spec.UDP
	}
	if vs.Scheduler == "" && !s.was("lb_algo", "lvs_sched") {
		s.warnf(n.pos, "virtual_server has no lb_algo: it is wlc")
		vs.Scheduler = "wlc"
	}
	if !s.was("lb_kind", "lvs_method") && vs.Label == "" {
		s.warnf(n.pos, "virtual_server has no lb_kind: it is NAT")
	}
	vs.Method = s.in.method
	vs.Alpha = s.in.alpha
	if vs.Sorry.Method == (Method{}) && !s.was("sorry_server_lvs_method") && vs.Sorry.Addr.IsValid() {
		vs.Sorry.Method = vs.Method
	}
	slices.Sort(vs.Flags)
}

// was reports whether one of the keywords was said.
func (s *serverReader) was(words ...string) bool {
	return slices.ContainsFunc(words, func(w string) bool { _, ok := s.said[w]; return ok })
}
