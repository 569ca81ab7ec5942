package keepalivedconf

import (
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

var kinds = []Kind{TCPCheck, HTTPGet, SSLGet, UDPCheck, DNSCheck, MiscCheck, SMTPCheck, PingCheck}

// What counts where nothing is said, at any level.
const (
	defaultDelayLoop      = 60 * time.Second
	defaultConnectTimeout = 5 * time.Second
	defaultMaxReply       = 255
	smtpPort              = 25
	dnsPort               = 53
)

// checker reads one checker of a real server.
func (s *serverReader) checker(n *node, rs *RealServer, in inherited) {
	if !n.isBlock() || len(n.args) > 0 {
		s.errorf(n.pos, "%s is a block: write \"%s { ... }\"", n.keyword, n.keyword)
		return
	}
	c := Checker{Kind: Kind(n.keyword), LogAllFailures: in.logAll}
	e := Endpoint{Connect: rs.Addr}
	rules := s.timing(&in, 0)
	delete(rules, "connect_timeout")
	rules["log_all_failures"] = s.flag(&c.LogAllFailures)
	add := func(more map[string]rule) {
		for word, do := range more {
			rules[word] = do
		}
	}
	if c.Kind != MiscCheck {
		add(s.endpointRules(&e, &in.connectTimeout))
	}
	var hosts []*node
	switch c.Kind {
	case HTTPGet, SSLGet:
		c.HTTP.Protocol = "1.0"
		c.HTTP.VirtualHost = in.host
		add(s.httpRules(&c, rules))
	case SMTPCheck:
		c.SMTP.Helo = "smtpchecker.keepalived.org"
		add(map[string]rule{
			"helo_name": s.text(&c.SMTP.Helo),
			"host":      func(h *node) { hosts = append(hosts, h) },
		})
	case DNSCheck:
		c.DNS = DNS{"SOA", "."}
		add(map[string]rule{
			"type": s.choice(&c.DNS.Type, "A", "NS", "CNAME", "SOA", "MX", "TXT", "AAAA"),
			"name": s.text(&c.DNS.Name),
		})
	case MiscCheck:
		add(s.miscRules(&c.Misc))
	case UDPCheck:
		c.UDP.MaxLength = defaultMaxReply
		add(s.udpRules(&c.UDP))
	case TCPCheck, PingCheck: // no keywords of their own
	}
	before := len(s.errors)
	s.read(n.keyword, n.block, rules)
	s.settle(&c, e, in)
	for _, h := range hosts {
		s.host(h, &c)
	}
	if len(s.errors) == before {
		s.checkChecker(n, &c)
	}
	rs.Checkers = append(rs.Checkers, c)
}

// endpointRules are the keywords that say whom to speak to.
func (s *serverReader) endpointRules(e *Endpoint, timeout **time.Duration) map[string]rule {
	port := func(at *netip.AddrPort) rule {
		return s.number(1, 65535, func(v uint64) { *at = netip.AddrPortFrom(at.Addr(), uint16(v)) })
	}
	return map[string]rule{
		"connect_ip":      s.addr(func(a netip.Addr) { e.Connect = netip.AddrPortFrom(a, e.Connect.Port()) }),
		"connect_port":    port(&e.Connect),
		"bindto":          s.addr(func(a netip.Addr) { e.Bind = netip.AddrPortFrom(a, e.Bind.Port()) }),
		"bind_port":       port(&e.Bind),
		"bind_if":         s.text(&e.BindPort),
		"fwmark":          s.uint32(&e.Mark, 0, maxUint32),
		"connect_timeout": s.timer(timeout, time.Microsecond),
	}
}

// settle fills in what no level said.
func (s *serverReader) settle(c *Checker, e Endpoint, in inherited) {
	or := func(p *time.Duration, d time.Duration) time.Duration {
		if p != nil {
			return *p
		}
		return d
	}
	c.Endpoint = e
	c.Alpha = in.alpha
	c.DelayLoop = or(in.delayLoop, defaultDelayLoop)
	c.Warmup = or(in.warmup, c.DelayLoop)
	retry, delay := uint32(1), time.Second
	switch c.Kind {
	case DNSCheck:
		retry, delay = 3, c.DelayLoop
		if c.Connect.Port() == 0 {
			c.Connect = netip.AddrPortFrom(c.Connect.Addr(), dnsPort)
		}
	case HTTPGet, SSLGet:
		delay = 3 * time.Second
	case MiscCheck:
		retry = 0
		c.Endpoint = Endpoint{}
	case SMTPCheck:
		if c.Connect.Port() == 0 {
			c.Connect = netip.AddrPortFrom(c.Connect.Addr(), smtpPort)
		}
	case TCPCheck, UDPCheck, PingCheck: // as said above
	}
	if c.Kind != MiscCheck {
		c.ConnectTimeout = or(in.connectTimeout, defaultConnectTimeout)
	}
	if c.Retry = retry; in.retry != nil {
		c.Retry = *in.retry
	}
	c.DelayBeforeRetry = or(in.delayBeforeRetry, delay)
}

// host reads a host block of SMTP_CHECK; what it does not say is the checker's.
func (s *serverReader) host(n *node, c *Checker) {
	if !n.isBlock() || len(n.args) > 0 {
		s.errorf(n.pos, "host is a block: write \"host { connect_ip IP }\"")
		return
	}
	e := c.Endpoint
	var timeout *time.Duration
	s.read("host", n.block, s.endpointRules(&e, &timeout))
	if timeout != nil {
		e.ConnectTimeout = *timeout
	}
	c.SMTP.Hosts = append(c.SMTP.Hosts, e)
}

func (s *serverReader) httpRules(c *Checker, rules rules) map[string]rule {
	more := map[string]rule{
		"nb_get_retry":  rules["retry"], // its old name
		"virtualhost":   s.text(&c.HTTP.VirtualHost),
		"http_protocol": s.choice(&c.HTTP.Protocol, "1.0", "1.0C", "1.1"),
		"fast_recovery": s.flag(&c.HTTP.FastRecovery),
		"tls_compliant": s.flag(&c.HTTP.TLSCompliant),
	}
	more["url"] = func(n *node) {
		if !n.isBlock() || len(n.args) > 0 {
			s.errorf(n.pos, "url is a block: write \"url { path / }\"")
			return
		}
		c.HTTP.URLs = append(c.HTTP.URLs, s.url(n))
	}
	if c.Kind == SSLGet {
		more["enable_sni"] = s.flag(&c.HTTP.SNI)
		more["sni_name"] = s.text(&c.HTTP.SNIName)
	}
	return more
}

// url reads one page to look at.
func (s *serverReader) url(n *node) URL {
	u := URL{Path: "/"}
	var options []string
	s.read("url", n.block, rules{
		"path":             s.text(&u.Path),
		"virtualhost":      s.text(&u.VirtualHost),
		"digest":           s.digest(&u.Digest),
		"status_code":      s.status(&u.Status),
		"regex":            s.text(&u.Regex),
		"regex_no_match":   s.flag(&u.RegexNoMatch),
		"regex_options":    s.regexOptions(&options),
		"regex_min_offset": s.uint32(&u.MinOffset, 0, maxUint32),
		"regex_max_offset": s.uint32(&u.MaxOffset, 1, maxUint32),
		"regex_stack":      s.ignored("expressions need no stack"),
		"tls_compliant":    s.flag(&u.TLSCompliant),
	})
	if u.Path == "" || strings.ContainsAny(u.Path, " \t\r\n") {
		s.errorf(n.pos, "url: path %s is empty or holds a space: write %%20", shown(u.Path))
	}
	if u.Regex != "" {
		re, err := pattern(u.Regex, options)
		if err != nil {
			s.errorf(n.pos, "url: regex %s %v", shown(u.Regex), err)
		}
		u.Regex = re
	}
	return u
}

func (s *serverReader) digest(dst *string) rule {
	return func(n *node) {
		v, ok := s.one(n)
		if !ok {
			return
		}
		if b, err := hex.DecodeString(v); err != nil || len(b) != 16 {
			s.errorf(n.pos, "digest %s is not the 32 hexadecimal digits of an MD5 sum, as genhash prints it", shown(v))
			return
		}
		*dst = strings.ToLower(v)
	}
}

// status reads codes and spans of codes.
func (s *serverReader) status(dst *[]StatusSpan) rule {
	return func(n *node) {
		*dst = nil
		if len(n.args) == 0 || n.isBlock() {
			s.errorf(n.pos, "status_code needs codes: write \"status_code 200-299 301\"")
			return
		}
		for _, v := range n.args {
			lo, hi, two := strings.Cut(v, "-")
			if !two {
				hi = lo
			}
			first, err1 := strconv.ParseUint(lo, 10, 16)
			last, err2 := strconv.ParseUint(hi, 10, 16)
			if err1 != nil || err2 != nil || first < 100 || last > 999 || last < first {
				s.errorf(n.pos, "status_code %s is not a code from 100 to 999, or FIRST-LAST", shown(v))
				continue
			}
			*dst = append(*dst, StatusSpan{uint16(first), uint16(last)})
		}
	}
}

func (s *serverReader) miscRules(m *Misc) map[string]rule {
	return map[string]rule{
		"misc_path": func(n *node) {
			user, group := m.Script.User, m.Script.Group
			s.script(&m.Script)(n)
			if m.Script.User == "" {
				m.Script.User, m.Script.Group = user, group
			}
		},
		"misc_timeout": func(n *node) {
			if v, ok := s.one(n); ok {
				if d, ok := s.seconds(n, v, 0); ok {
					m.Timeout = d
				}
			}
		},
		"misc_dynamic": s.flag(&m.Dynamic),
		"user": func(n *node) {
			if len(n.args) == 0 || len(n.args) > 2 || n.isBlock() {
				s.errorf(n.pos, "user takes a user and perhaps a group")
				return
			}
			m.Script.User, m.Script.Group = n.args[0], ""
			if len(n.args) == 2 {
				m.Script.Group = n.args[1]
			}
		},
	}
}

func (s *serverReader) udpRules(u *UDP) map[string]rule {
	return map[string]rule{
		"payload": func(n *node) {
			b, mask, ok := hexBytes(n.args)
			if !ok || len(b) == 0 || n.isBlock() || !full(mask) {
				s.errorf(n.pos, "payload needs hexadecimal digits")
				return
			}
			u.Payload = b
		},
		"require_reply": func(n *node) {
			b, mask, ok := hexBytes(n.args)
			if !ok || n.isBlock() {
				s.errorf(n.pos, "require_reply takes hexadecimal digits, and X for a digit that may be any")
				return
			}
			u.RequireReply, u.Reply, u.ReplyMask = true, b, mask
		},
		"min_reply_length": s.uint32(&u.MinLength, 0, 65535),
		"max_reply_length": s.uint32(&u.MaxLength, 0, 65535),
	}
}

// hexBytes reads words of hexadecimal digits as stock does: pairs are bytes, the
// last of an odd number is a byte of its own, and X is any digit.
func hexBytes(args []string) (b, mask []byte, ok bool) {
	for _, word := range strings.Fields(strings.Join(args, " ")) {
		for i := 0; i < len(word); i += 2 {
			digits := word[i:min(i+2, len(word))]
			v, m := byte(0), byte(0)
			if len(digits) == 1 {
				m = 0xf0
			}
			for _, d := range []byte(digits) {
				v, m = v<<4, m<<4
				if d == 'x' || d == 'X' {
					continue
				}
				h, err := strconv.ParseUint(string(rune(d)), 16, 8)
				if err != nil {
					return nil, nil, false
				}
				v, m = v|byte(h), m|0xf
			}
			if len(digits) == 1 {
				m |= 0xf0
			}
			b, mask = append(b, v), append(mask, m)
		}
	}
	return b, mask, true
}

func full(mask []byte) bool {
	for _, m := range mask {
		if m != 0xff {
			return false
		}
	}
	return true
}

// checkChecker holds a checker whose lines are all well formed.
func (s *serverReader) checkChecker(n *node, c *Checker) {
	needsPort := c.Kind != MiscCheck && c.Kind != PingCheck
	switch {
	case needsPort && c.Connect.Port() == 0:
		s.errorf(n.pos, "%s has no port to connect to: write connect_port", n.keyword)
	case c.Bind.Addr().IsValid() && c.Bind.Addr().Is4() != c.Connect.Addr().Is4():
		s.errorf(n.pos, "%s: bindto %s is not of the family of %s", n.keyword, c.Bind.Addr(), c.Connect.Addr())
	case c.Kind == MiscCheck && c.Misc.Script.Command == "":
		s.errorf(n.pos, "MISC_CHECK needs a program: write misc_path")
	case (c.Kind == HTTPGet || c.Kind == SSLGet) && len(c.HTTP.URLs) == 0:
		s.errorf(n.pos, "%s needs a page to get: write \"url { path / }\"", n.keyword)
	case c.UDP.MinLength > c.UDP.MaxLength:
		s.errorf(n.pos, "UDP_CHECK: min_reply_length %d is greater than max_reply_length %d", c.UDP.MinLength, c.UDP.MaxLength)
	case c.Kind == DNSCheck && (c.DNS.Name == "" || len(c.DNS.Name) > 255):
		s.errorf(n.pos, "DNS_CHECK: name %s is not a name of at most 255 bytes", shown(c.DNS.Name))
	}
}
