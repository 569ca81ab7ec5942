package health

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
)

// Bounds of an answer: of its header, in bytes, and of its body.
const (
	maxHeader = 64 << 10
	maxBody   = 64 << 20
	// maxSearched is how much of a body is kept to be searched.
	maxSearched = 1 << 20
)

// HTTP is HTTP_GET and SSL_GET: each URL answers with the right code and body. The
// URLs are asked one after the other on connections of their own, and all have to
// be well.
type HTTP struct {
	Way
	Protocol HTTPProtocol
	URLs     []URL
	// TLS makes it SSL_GET. As in stock keepalived the certificate is not looked
	// at, so an expired one passes, unless Roots says who may have signed it.
	TLS bool
	// SNI is the name that is asked for (enable_sni, sni_name). "": none.
	SNI string
	// Own is the certificate that we show to a server that asks for one. nil: none.
	Own *tls.Certificate
	// Compliant makes the check fail where the server ends its answer by closing the
	// connection, without an end of TLS's (tls_compliant; RFC 8446, 6.1): it may have been
	// cut off.
	Compliant bool
	// Roots, if it is there, makes the check fail where the certificate has
	// expired, comes from nobody of these, or is for a name that is not SNI.
	Roots *x509.CertPool
}

// HTTPProtocol is the keyword http_protocol.
type HTTPProtocol uint8

// The protocols: 1.0, 1.0 with "Connection: close" (1.0C), and 1.1, which has it too.
const (
	HTTP10 HTTPProtocol = iota
	HTTP10Close
	HTTP11
)

// URL is what a server is asked for, and what it has to answer.
type URL struct {
	Path string
	// VirtualHost is the Host that is sent. "": the address, and its port if that
	// is not the usual one.
	VirtualHost string
	// Digest is the MD5 of the body, 16 bytes. Empty: the body may be anything, but
	// has to come.
	Digest []byte
	// Status are the codes that are well. Empty means 200 to 299.
	Status []StatusRange
	// Body is what the body has to hold, or with NoBody must not. nil: anything.
	Body   *regexp.Regexp
	NoBody bool
	// MinOffset is the first byte where a match of Body may begin, and MaxOffset the
	// last. MaxOffset 0 means anywhere.
	MinOffset, MaxOffset int
}

// StatusRange is the codes from First to Last, with both.
type StatusRange struct{ First, Last int }

// Probe implements [Probe].
func (h HTTP) Probe(ctx context.Context) Finding {
	for i := range h.URLs {
		u := &h.URLs[i]
		if err := h.get(ctx, u); err != nil {
			return found(fmt.Errorf("%s: %w", u.Path, err))
		}
	}
	return Finding{}
}

func (h *HTTP) get(ctx context.Context, u *URL) error {
	ctx, cancel := h.within(ctx)
	defer cancel()
	l, err := h.dialTCP(ctx)
	if err != nil {
		return err
	}
	defer l.hangUp()
	if !h.TLS {
		return h.ask(l, u)
	}
	wire := &seesEnd{Conn: l}
	c := tls.Client(wire, h.tlsConfig())
	if err := c.Handshake(); err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	if err := h.ask(c, u); err != nil || !h.Compliant {
		return err
	}
	// The answer may be over before the connection is.
	if _, err := io.Copy(io.Discard, io.LimitReader(c, maxBody)); err != nil {
		return fmt.Errorf("TLS: the connection did not come to its end: %w", err)
	}
	if wire.ended {
		return errors.New("TLS: the server closed the connection without an end of TLS's, which tls_compliant asks for")
	}
	return nil
}

// seesEnd notes that the other side closed the connection: TLS, which ends before, does not
// read as far as that.
type seesEnd struct {
	net.Conn
	ended bool
}

func (c *seesEnd) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.ended = c.ended || errors.Is(err, io.EOF)
	return n, err
}

// ask sends the request and judges the answer.
func (h *HTTP) ask(c net.Conn, u *URL) error {
	if _, err := c.Write(h.request(u)); err != nil {
		return err
	}
	return u.judge(c)
}

// request is what stock keepalived sends: rules of web servers know it by its agent.
func (h *HTTP) request(u *URL) []byte {
	var b bytes.Buffer
	version := "1.0"
	if h.Protocol == HTTP11 {
		version = "1.1"
	}
	fmt.Fprintf(&b, "GET %s HTTP/%s\r\nUser-Agent: KeepAliveClient\r\n", u.Path, version)
	if h.Protocol != HTTP10 {
		b.WriteString("Connection: close\r\n")
	}
	host := u.VirtualHost
	if host == "" {
		host = h.host()
	}
	fmt.Fprintf(&b, "Host: %s\r\n\r\n", host)
	return b.Bytes()
}

// host is the address as a Host header has it (RFC 9110, section 7.2).
func (h *HTTP) host() string {
	usual := uint16(80)
	if h.TLS {
		usual = 443
	}
	addr := netip.AddrPortFrom(h.To.Addr().WithZone(""), h.To.Port())
	if addr.Port() != usual {
		return addr.String()
	}
	if addr.Addr().Is6() {
		return "[" + addr.Addr().String() + "]"
	}
	return addr.Addr().String()
}

// judge reads the answer to its end.
func (u *URL) judge(c io.Reader) error {
	limit := &io.LimitedReader{R: c, N: maxHeader}
	answer, err := http.ReadResponse(bufio.NewReader(limit), &http.Request{Method: http.MethodGet})
	if err != nil {
		if limit.N <= 0 {
			return fmt.Errorf("the header of the answer is longer than %d bytes", maxHeader)
		}
		return fmt.Errorf("no answer in HTTP: %w", err)
	}
	defer answer.Body.Close()
	if !u.expects(answer.StatusCode) {
		return fmt.Errorf("status %d, expected %s", answer.StatusCode, u.statusText())
	}
	limit.N = maxBody
	sum := md5.New()
	var kept bytes.Buffer
	body := io.Reader(answer.Body)
	if u.Body != nil {
		body = io.MultiReader(io.TeeReader(io.LimitReader(body, maxSearched), &kept), body)
	}
	// Without a digest nothing is summed up; io.Discard brings a buffer of its own.
	to := io.Discard
	if len(u.Digest) > 0 {
		to = sum
	}
	if _, err := io.Copy(to, body); err != nil {
		return fmt.Errorf("the body did not come to its end: %w", err)
	}
	if limit.N <= 0 {
		return fmt.Errorf("the body is longer than %d bytes", maxBody)
	}
	if len(u.Digest) > 0 {
		if got := sum.Sum(nil); !bytes.Equal(got, u.Digest) {
			return fmt.Errorf("digest %x, expected %x", got, u.Digest)
		}
	}
	return u.search(kept.Bytes())
}

// ok is what is well where nothing is said.
var ok = []StatusRange{{200, 299}}

func (u *URL) status() []StatusRange {
	if len(u.Status) == 0 {
		return ok
	}
	return u.Status
}

func (u *URL) expects(code int) bool {
	for _, r := range u.status() {
		if r.First <= code && code <= r.Last {
			return true
		}
	}
	return false
}

func (u *URL) statusText() string {
	var all []string
	for _, r := range u.status() {
		if r.First == r.Last {
			all = append(all, fmt.Sprint(r.First))
		} else {
			all = append(all, fmt.Sprintf("%d-%d", r.First, r.Last))
		}
	}
	return strings.Join(all, " ")
}

func (h *HTTP) tlsConfig() *tls.Config {
	c := &tls.Config{
		ServerName: h.SNI,
		// Stock does not verify; where Roots asks for it, VerifyConnection does, also
		// without a name, which the library's own way refuses.
		InsecureSkipVerify: true,
		// A server that is old is not down.
		MinVersion: tls.VersionTLS10,
		// A check has no secret: the hybrid key exchange would cost more than all else.
		CurvePreferences:       []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521},
		SessionTicketsDisabled: true,
	}
	if h.Own != nil {
		c.Certificates = []tls.Certificate{*h.Own}
	}
	if h.Roots != nil {
		c.VerifyConnection = h.verify
	}
	return c
}

func (h *HTTP) verify(s tls.ConnectionState) error {
	between := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: h.SNI, Roots: h.Roots, Intermediates: between})
	return err
}
