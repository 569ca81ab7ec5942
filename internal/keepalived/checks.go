package keepalived

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"time"

	"weir/internal/config/keepalivedconf"
	"weir/internal/health"
)

// checks makes checks of what the file says.
type checks struct {
	global  keepalivedconf.Global
	trust   trust
	targets map[health.Server]health.Target
}

// leastDelay is the least time between tries: a file may say 0.
const leastDelay = time.Millisecond

// real makes the checks of a real server.
func (c *checks) real(vs *keepalivedconf.VirtualServer, rs *keepalivedconf.RealServer) error {
	t := health.Target{Weight: int(rs.Weight)}
	for i := range rs.Checkers {
		k := &rs.Checkers[i]
		probes, err := c.probes(k)
		if err != nil {
			return err
		}
		for _, p := range probes {
			t.Checks = append(t.Checks, health.Check{
				Probe: p, DelayLoop: k.DelayLoop, Retry: int(min(k.Retry, 1<<30)), DelayBeforeRetry: max(k.DelayBeforeRetry, leastDelay),
				Warmup: k.Warmup, Alpha: k.Alpha,
			})
		}
	}
	c.targets[nameOf(vs, rs)] = t
	return errors.Join(c.runnable(&rs.NotifyUp), c.runnable(&rs.NotifyDown))
}

// probes makes the probes of one checker: SMTP_CHECK has one for each host.
func (c *checks) probes(k *keepalivedconf.Checker) ([]health.Probe, error) {
	way := wayOf(&k.Endpoint)
	switch k.Kind {
	case keepalivedconf.TCPCheck:
		return []health.Probe{health.TCP{Way: way}}, nil
	case keepalivedconf.PingCheck:
		return []health.Probe{health.Ping{Way: way}}, nil
	case keepalivedconf.HTTPGet, keepalivedconf.SSLGet:
		h, err := c.http(k, way)
		return []health.Probe{h}, err
	case keepalivedconf.DNSCheck:
		number, known := health.DNSType(k.DNS.Type)
		if !known {
			return nil, fmt.Errorf("DNS_CHECK: type %s is not known", k.DNS.Type)
		}
		return []health.Probe{health.DNS{Way: way, Type: number, Name: k.DNS.Name}}, nil
	case keepalivedconf.UDPCheck:
		u := &k.UDP
		return []health.Probe{health.UDP{
			Way: way, Payload: u.Payload, RequireReply: u.RequireReply, MinReply: int(u.MinLength), MaxReply: int(u.MaxLength),
			Reply: u.Reply, ReplyMask: u.ReplyMask,
		}}, nil
	case keepalivedconf.SMTPCheck:
		hosts := k.SMTP.Hosts
		if len(hosts) == 0 {
			hosts = []keepalivedconf.Endpoint{k.Endpoint}
		}
		var all []health.Probe
		for i := range hosts {
			all = append(all, health.SMTP{Way: wayOf(&hosts[i]), Helo: k.SMTP.Helo})
		}
		return all, nil
	case keepalivedconf.MiscCheck:
		s := &k.Misc.Script
		who, err := c.credential(s)
		if err != nil {
			return nil, err
		}
		if err := c.runnable(s); err != nil {
			return nil, err
		}
		return []health.Probe{health.Misc{
			Command: command(s.Command), Timeout: cmp.Or(k.Misc.Timeout, k.DelayLoop), Dynamic: k.Misc.Dynamic, Credential: who,
		}}, nil
	}
	return nil, fmt.Errorf("%s is not known", k.Kind)
}

func wayOf(e *keepalivedconf.Endpoint) health.Way {
	return health.Way{To: e.Connect, From: e.Bind, Device: e.BindPort, Mark: e.Mark, Timeout: e.ConnectTimeout}
}

func (c *checks) http(k *keepalivedconf.Checker, way health.Way) (health.HTTP, error) {
	h := health.HTTP{Way: way, TLS: k.Kind == keepalivedconf.SSLGet}
	switch k.HTTP.Protocol {
	case "1.0C":
		h.Protocol = health.HTTP10Close
	case "1.1":
		h.Protocol = health.HTTP11
	}
	if h.TLS {
		h.Roots, h.Own, h.Compliant = c.trust.roots, c.trust.own, k.HTTP.TLSCompliant
		if k.HTTP.SNI {
			h.SNI = cmp.Or(k.HTTP.SNIName, k.HTTP.VirtualHost)
		}
	}
	for i := range k.HTTP.URLs {
		u := &k.HTTP.URLs[i]
		h.Compliant = h.Compliant || h.TLS && u.TLSCompliant
		out := health.URL{
			Path: u.Path, VirtualHost: cmp.Or(u.VirtualHost, k.HTTP.VirtualHost),
			NoBody: u.RegexNoMatch, MinOffset: int(min(u.MinOffset, 1<<30)), MaxOffset: int(min(u.MaxOffset, 1<<30)),
		}
		for _, s := range u.Status {
			out.Status = append(out.Status, health.StatusRange{First: int(s.First), Last: int(s.Last)})
		}
		var err error
		if out.Digest, err = hex.DecodeString(u.Digest); err != nil {
			return h, fmt.Errorf("digest %s: %w", u.Digest, err)
		}
		if u.Regex != "" {
			if out.Body, err = regexp.Compile(u.Regex); err != nil {
				return h, fmt.Errorf("regex %s: %w", u.Regex, err)
			}
		}
		h.URLs = append(h.URLs, out)
	}
	return h, nil
}

// trust is what the block SSL says: whose certificates are believed, and our own.
type trust struct {
	files [3][]byte // as read: what is the same next time is the same trust
	roots *x509.CertPool
	own   *tls.Certificate
	err   error
}

func trustOf(t *keepalivedconf.TLS) (out trust) {
	read := func(i int, path string) {
		if path == "" || out.err != nil {
			return
		}
		out.files[i], out.err = os.ReadFile(path)
	}
	read(0, t.CA)
	read(1, t.Certificate)
	read(2, t.Key)
	if out.err != nil {
		return out
	}
	if t.CA != "" {
		out.roots = x509.NewCertPool()
		if !out.roots.AppendCertsFromPEM(out.files[0]) {
			out.err = fmt.Errorf("ca %s holds no certificate in PEM", t.CA)
			return out
		}
	}
	switch {
	case t.Password != "" && t.Key != "":
		out.err = errors.New("password: keys with a password are not read: write the key without (openssl pkey)")
	case t.Certificate != "":
		key := out.files[2]
		if t.Key == "" {
			key = out.files[1]
		}
		pair, err := tls.X509KeyPair(out.files[1], key)
		out.own, out.err = &pair, err
	}
	return out
}

// keep takes over from the file before what is the same: a check with another pool of the
// same certificates would be another check, and begin anew.
func (f *File) keep(before *File) {
	for name, t := range f.targets {
		old, there := before.targets[name]
		if !there {
			continue
		}
		for i := range t.Checks {
			h, is := t.Checks[i].Probe.(health.HTTP)
			if !is || h.Roots == nil && h.Own == nil {
				continue
			}
			for j := range old.Checks {
				o, is := old.Checks[j].Probe.(health.HTTP)
				if is && samePool(h.Roots, o.Roots) && reflect.DeepEqual(h.Own, o.Own) {
					h.Roots, h.Own = o.Roots, o.Own
					t.Checks[i].Probe = h
					break
				}
			}
		}
	}
}

func samePool(a, b *x509.CertPool) bool { return a == b || a != nil && b != nil && a.Equal(b) }
