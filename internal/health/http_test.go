package health

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/md5"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestHTTP(t *testing.T) {
	const fine = "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhello"
	sum := md5.Sum([]byte("hello"))
	right, wrong := sum[:], make([]byte, 16)
	inBoth(t, func(t *testing.T, addr string) {
		for _, tc := range []struct {
			name    string
			url     URL
			server  behaviour
			timeout time.Duration
			want    string
		}{
			{"well", URL{}, says(fine), patient, ""},
			{"with its digest", URL{Digest: right}, says(fine), patient, ""},
			{"wrong body", URL{Digest: wrong}, says(fine), patient, "digest 5d41402abc4b2a76b9719d911017c592, expected 000"},
			{"no body", URL{Digest: right}, says("HTTP/1.0 200 OK\r\n\r\n"), patient, "digest d41d8"},
			{"chunked", URL{Digest: right}, says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), patient, ""},
			{"any code of 200 to 299", URL{}, says("HTTP/1.1 299 \r\n\r\n"), patient, ""},
			{"a redirection is not followed", URL{}, says("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"), patient, "status 302, expected 200-299"},
			{"an error", URL{}, says("HTTP/1.1 503 No\r\n\r\n"), patient, "status 503"},
			{"an error that is expected", URL{Status: []StatusRange{{200, 200}, {500, 503}}}, says("HTTP/1.1 503 No\r\n\r\n"), patient, ""},
			{"a code between ranges", URL{Status: []StatusRange{{200, 200}, {500, 503}}}, says("HTTP/1.1 404 No\r\n\r\n"), patient, "expected 200 500-503"},
			{"right code, wrong body", URL{Status: []StatusRange{{200, 200}}, Digest: wrong}, says(fine), patient, "digest"},
			{"the body ends early", URL{}, says("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"), patient, "did not come to its end"},
			{"the header ends early", URL{}, says("HTTP/1.1 200 OK\r\nConte"), patient, "no answer in HTTP"},
			{"nothing", URL{}, says(""), patient, "no answer in HTTP"},
			{"another protocol", URL{}, says("220 mail.example.org ESMTP\r\n"), patient, "no answer in HTTP"},
			{"a header without bound", URL{}, says("HTTP/1.1 200 OK\r\nA: " + strings.Repeat("x", maxHeader)), patient, "longer than 65536"},
			{"RST", URL{}, resets, patient, "reset by peer"},
			{"silence", URL{}, silent, hasty, timedOut},
			{"silence after the header", URL{}, func(c *net.TCPConn) { says("HTTP/1.0 200 OK\r\n\r\n")(c); silent(c) }, hasty, "did not come to its end"},
			{"slow header", URL{}, drips("HTTP/1.0 200 O"), hasty, timedOut},
			{"slow body", URL{}, drips("HTTP/1.0 200 OK\r\n\r\n"), hasty, "did not come to its end"},
		} {
			t.Run(tc.name, func(t *testing.T) {
				tc.url.Path = "/x"
				h := HTTP{Way: Way{To: listen(t, addr, tc.server), Timeout: tc.timeout}, URLs: []URL{tc.url}}
				expect(t, h, tc.want)
			})
		}
		expect(t, HTTP{Way: Way{To: closed(t, "tcp", addr), Timeout: patient}, URLs: []URL{{Path: "/"}}}, "connection refused")
	})
}

// All URLs have to be well; the error says which is not.
func TestURLs(t *testing.T) {
	to := listen(t, "127.0.0.1", func(c *net.TCPConn) {
		line, _ := bufio.NewReader(c).ReadString('\n')
		code := map[bool]int{true: 200, false: 404}[strings.HasPrefix(line, "GET /good")]
		fmt.Fprintf(c, "HTTP/1.0 %d \r\n\r\n", code)
	})
	way := Way{To: to, Timeout: patient}
	expect(t, HTTP{Way: way, URLs: []URL{{Path: "/good"}, {Path: "/good/too"}}}, "")
	expect(t, HTTP{Way: way, URLs: []URL{{Path: "/good"}, {Path: "/bad"}}}, "/bad: status 404")
}

func TestHTTPRequest(t *testing.T) {
	for _, tc := range []struct {
		name string
		http HTTP
		host string
		to   string
		want string
	}{
		{"1.0", HTTP{}, "", "10.0.0.1:80", "GET /p HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nHost: 10.0.0.1\r\n\r\n"},
		{"1.0C", HTTP{Protocol: HTTP10Close}, "", "10.0.0.1:81", "GET /p HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nConnection: close\r\nHost: 10.0.0.1:81\r\n\r\n"},
		{"1.1", HTTP{Protocol: HTTP11}, "a.b", "10.0.0.1:81", "GET /p HTTP/1.1\r\nUser-Agent: KeepAliveClient\r\nConnection: close\r\nHost: a.b\r\n\r\n"},
		{"IPv6", HTTP{}, "", "[fd00::1%eth0]:80", "GET /p HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nHost: [fd00::1]\r\n\r\n"},
		{"IPv6 and a port", HTTP{TLS: true}, "", "[fd00::1]:80", "GET /p HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nHost: [fd00::1]:80\r\n\r\n"},
		{"TLS", HTTP{TLS: true}, "", "10.0.0.1:443", "GET /p HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nHost: 10.0.0.1\r\n\r\n"},
	} {
		tc.http.To = netip.MustParseAddrPort(tc.to)
		if got := string(tc.http.request(&URL{Path: "/p", VirtualHost: tc.host})); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

// makeCertificate makes one that signs itself, for a name, until some time.
func makeCertificate(until time.Time) (tls.Certificate, *x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "rs.example.org"}, DNSNames: []string{"rs.example.org"},
		NotBefore: until.Add(-48 * time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(c)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool, nil
}

func TestTLS(t *testing.T) {
	good, goodPool, err := makeCertificate(time.Now().Add(24 * time.Hour))
	must(t, err)
	expired, expiredPool, err := makeCertificate(time.Now().Add(-time.Hour))
	must(t, err)
	secure := func(c tls.Certificate, sni string) behaviour {
		return func(conn *net.TCPConn) {
			s := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{c}})
			if s.Handshake() != nil || sni != "" && s.ConnectionState().ServerName != sni {
				return
			}
			_, _ = bufio.NewReader(s).ReadString('\n')
			_, _ = io.WriteString(s, "HTTP/1.0 200 OK\r\n\r\nhello")
			s.Close()
		}
	}
	inBoth(t, func(t *testing.T, addr string) {
		for _, tc := range []struct {
			name    string
			server  behaviour
			sni     string
			roots   *x509.CertPool
			timeout time.Duration
			want    string
		}{
			{"well", secure(good, ""), "", nil, patient, ""},
			{"expired: as stock, nobody looks", secure(expired, ""), "", nil, patient, ""},
			{"expired, and somebody looks", secure(expired, ""), "", expiredPool, patient, "expired"},
			{"signed by whom we know", secure(good, "rs.example.org"), "rs.example.org", goodPool, patient, ""},
			{"the same without a name", secure(good, ""), "", goodPool, patient, ""},
			{"signed by somebody else", secure(good, ""), "", expiredPool, patient, "signed by unknown authority"},
			{"for another name", secure(good, ""), "other.example.org", goodPool, patient, "not other.example.org"},
			{"a name is sent", secure(good, "a.b"), "a.b", nil, patient, ""},
			{"no TLS", says("HTTP/1.0 200 OK\r\n\r\nhello"), "", nil, patient, "TLS:"},
			{"RST", resets, "", nil, patient, "reset by peer"},
			{"silence", silent, "", nil, hasty, timedOut},
			{"slow", drips("\x16\x03\x03\x40\x00"), "", nil, hasty, timedOut},
		} {
			t.Run(tc.name, func(t *testing.T) {
				to := listen(t, addr, tc.server)
				expect(t, HTTP{Way: Way{To: to, Timeout: tc.timeout}, TLS: true, SNI: tc.sni, Roots: tc.roots, URLs: []URL{{Path: "/"}}}, tc.want)
			})
		}
	})
}

// tls_compliant: an answer that is cut off is a failure, also where its length was said; one
// that TLS ends is well.
func TestTLSCompliant(t *testing.T) {
	own, _, err := makeCertificate(time.Now().Add(24 * time.Hour))
	must(t, err)
	answers := func(text string, ends bool) behaviour {
		return func(conn *net.TCPConn) {
			s := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{own}})
			r := bufio.NewReader(s)
			for line, err := "", error(nil); line != "\r\n" && err == nil; {
				line, err = r.ReadString('\n')
			}
			_, _ = io.WriteString(s, text)
			if ends {
				_ = s.CloseWrite()
			}
		}
	}
	const plain, measured = "HTTP/1.0 200 OK\r\n\r\nhello", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
	inBoth(t, func(t *testing.T, addr string) {
		for _, tc := range []struct {
			name      string
			text      string
			ends      bool
			compliant bool
			want      string
		}{
			{"ended", plain, true, true, ""},
			{"cut off", plain, false, true, "tls_compliant"},
			{"cut off, and nobody minds", plain, false, false, ""},
			{"ended, with a length", measured, true, true, ""},
			{"cut off, with a length", measured, false, true, "tls_compliant"},
		} {
			t.Run(tc.name, func(t *testing.T) {
				to := listen(t, addr, answers(tc.text, tc.ends))
				expect(t, HTTP{Way: Way{To: to, Timeout: patient}, TLS: true, Compliant: tc.compliant, URLs: []URL{{Path: "/"}}}, tc.want)
			})
		}
	})
}
