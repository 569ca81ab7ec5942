package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"weir/internal/testkit/netns"
)

// certificate writes a self-signed certificate for an address that ends then.
func (b *bed) certificate(name, address string, ends time.Time) (cert, key string) {
	b.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "weir"},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: ends, IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.ParseIP(address)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		b.t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		b.t.Fatal(err)
	}
	cert, key = b.path(name+".crt"), b.path(name+".key")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
	return cert, key
}

// What the checks of TestKeepalivedServersDie say, in seconds.
const (
	checkLoop  = 1.0
	checkRetry = 1
	checkWait  = 0.5
	checkLimit = 1.0
)

// detection is how long a death may go unseen: the check before it was just over; then each
// try that is forgiven takes its time and the wait; and half a second is for the machine, a list and
// a poll of this test.
const detection = time.Duration((checkLoop + (checkRetry+1)*checkLimit + checkRetry*checkWait + 0.5) * float64(time.Second))

// TestKeepalivedServersDie: in each way that a server dies its weight is 0 in time, and when it
// is back it is as before.
//
// It is not beside others: its bound leaves half a second for everything but the checks.
func TestKeepalivedServersDie(t *testing.T) {
	d := newKeepalivedBed(t, drivers[0])
	good, goodKey := d.certificate("good", "192.168.100.2", time.Now().Add(time.Hour))
	old, oldKey := d.certificate("old", "192.168.100.2", time.Now().Add(-time.Hour))
	both := d.path("ca.pem")
	var authorities []byte
	for _, path := range []string{good, old} {
		pem, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		authorities = append(authorities, pem...)
	}
	if err := os.WriteFile(both, authorities, 0o644); err != nil {
		t.Fatal(err)
	}
	blocks := func(body, cert, key string, more string) string {
		return fmt.Sprintf("server {\n listen 80;\n listen 443 ssl;\n ssl_certificate %s;\n ssl_certificate_key %s;\n location / { %s return 200 %q; }\n }", cert, key, more, body)
	}
	rs := d.rs(1)
	var nginx *netns.Process
	serve := func(text string) {
		if nginx != nil {
			nginx.Kill()
		}
		nginx = d.nginxWith(rs, text)
		d.listening(rs, "127.0.0.1:80")
	}
	well := func() { serve(blocks("well", good, goodKey, "")) }
	well()
	// Slow: it takes connections, and is silent.
	slow := func() {
		nginx.Kill()
		nginx = d.startCmd(rs, roleCommand("silent-server 80 443"))
		d.listening(rs, "127.0.0.1:80")
	}
	drop := func(verdict string) func() {
		return func() {
			d.run(rs, "nft add table ip dead")
			d.run(rs, "nft add chain ip dead in { type filter hook input priority 0 ; }")
			d.run(rs, "nft add rule ip dead in tcp dport { 80, 443 } "+verdict)
		}
	}
	lift := func() { d.run(rs, "nft delete table ip dead") }
	const timing = "delay_loop 1\n retry 1\n delay_before_retry 0.5\n connect_timeout 1\n warmup 0\n"
	checker := map[string]string{
		"TCP_CHECK": "TCP_CHECK {\n " + timing + " }\n",
		"HTTP_GET":  "HTTP_GET {\n url {\n path /\n regex ^well$\n }\n " + timing + " }\n",
		"SSL_GET":   "SSL_GET {\n connect_port 443\n url {\n path /\n status_code 200\n }\n " + timing + " }\n",
	}
	var file strings.Builder
	fmt.Fprintf(&file, "SSL {\n ca %s\n}\nlocal_address_group l {\n 192.168.100.200 dpdk0\n}\n", both)
	ports := map[string]int{"TCP_CHECK": 81, "HTTP_GET": 82, "SSL_GET": 83}
	for name, port := range ports {
		fmt.Fprintf(&file, "virtual_server 192.168.100.254 %d {\n protocol TCP\n lb_algo rr\n lb_kind FNAT\n laddr_group_name l\n real_server 192.168.100.2 80 {\n inhibit_on_failure\n weight 7\n %s }\n}\n", port, checker[name])
	}
	d.keepalived(file.String())
	weight := func(check string) string {
		out := d.do(fmt.Sprintf("./ipvsadm -ln -t 192.168.100.254:%d", ports[check]))
		for line := range strings.Lines(out) {
			if words := strings.Fields(line); len(words) > 3 && words[0] == "->" && words[1] == "192.168.100.2:80" {
				return words[3]
			}
		}
		return "none"
	}
	alive := func() {
		t.Helper()
		for check := range ports {
			eventually(t, check+" finds the server alive", func() bool { return weight(check) == "7" })
		}
	}
	eventually(t, "the services are there", func() bool { return strings.Contains(d.do("./ipvsadm -ln"), ":83") })
	for _, way := range []struct {
		name      string
		die, live func()
		seenBy    []string
	}{
		{"RST", drop("reject with tcp reset"), lift, []string{"TCP_CHECK", "HTTP_GET", "SSL_GET"}},
		{"silence", drop("drop"), lift, []string{"TCP_CHECK", "HTTP_GET", "SSL_GET"}},
		{"wrong body", func() { serve(blocks("ill", good, goodKey, "")) }, well, []string{"HTTP_GET"}},
		{"slow", slow, well, []string{"HTTP_GET", "SSL_GET"}},
		{"certificate out of date", func() { serve(blocks("well", old, oldKey, "")) }, well, []string{"SSL_GET"}},
	} {
		t.Run(way.name, func(t *testing.T) {
			d := d.as(t)
			alive()
			way.die()
			died := time.Now()
			for _, check := range way.seenBy {
				eventually(t, check+" sees it", func() bool { return weight(check) == "0" })
				if took := time.Since(died); took > detection {
					t.Errorf("%s saw it after %v, want %v", check, took, detection)
				}
			}
			t.Logf("seen within %v", time.Since(died).Round(time.Millisecond))
			for check := range ports {
				if w := weight(check); w == "0" && !strings.Contains(strings.Join(way.seenBy, " "), check) {
					t.Errorf("%s sees a death that it does not look for", check)
				}
			}
			way.live()
			_ = d
		})
	}
	alive()
}

// silentServer takes connections on ports and says nothing on them.
func silentServer(ports []string) error {
	for _, port := range ports {
		l, err := net.Listen("tcp", ":"+port)
		if err != nil {
			return err
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close() // all of them at the end
			}
		}()
	}
	select {}
}
