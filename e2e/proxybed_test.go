package e2e

import (
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/internal/testkit/netns"
)

// vip is the tutorial's virtual address.
var vip = netip.MustParseAddr("10.0.0.100")

// versions are the words of --proxy-protocol.
var versions = []struct {
	word     string
	version  int
	insecure bool
}{{"v1", 1, false}, {"v2", 2, false}, {"v1-insecure", 1, true}, {"v2-insecure", 2, true}}

// nginxProxied is an nginx server that wants a header and answers what it said.
const nginxProxied = `server {
        listen 8090 proxy_protocol backlog=4096;
        client_max_body_size 0;
        location / { return 200 "Your ip:port : $proxy_protocol_addr:$proxy_protocol_port\n"; }
    }`

// haproxyConf are HAProxy's frontends that answer the client's address: 8083 plain,
// 8084 behind a header. They log it, too: to a ring in memory that the socket shows, with
// room for 400,000 lines. A file or a pipe is no witness. A thread of HAProxy's that finds
// another one writing there looks 200 times and gives its line up (its DroppedLogs counts
// it), so that lines are missing of clients that were answered: where a busy disk made writes
// slow, 100 of 183,286. In a ring threads wait: 0 of 179,643 on the same disk.
const haproxyConf = `global
    log ring@peers format raw local0
    stats socket SOCKET mode 600
    stats timeout 1m
    maxconn 8000
ring peers
    format raw
    maxlen 1024
    size 16777216
defaults
    mode http
    log global
    log-format "%ci:%cp %HQ"
    timeout client 60s
    timeout connect 5s
    timeout server 60s
frontend plain
    bind :8083 backlog 4096
    http-request return status 200 content-type text/plain lf-string "Your ip:port : %[src]:%[src_port]\n"
frontend proxied
    bind :8084 accept-proxy backlog 4096
    http-request return status 200 content-type text/plain lf-string "Your ip:port : %[src]:%[src_port]\n"
`

// haproxy starts a real server's HAProxy and returns how to read its log.
func (b *bed) haproxy(rs *netns.Namespace) (log func() string) {
	b.t.Helper()
	conf, socket := b.path("haproxy-"+rs.Name()+".cfg"), b.path("haproxy-"+rs.Name()+".sock")
	if err := os.WriteFile(conf, []byte(strings.Replace(haproxyConf, "SOCKET", socket, 1)), 0o644); err != nil {
		b.t.Fatal(err)
	}
	b.start(rs, "haproxy", "-f", conf, "-db")
	b.listening(rs, "127.0.0.1:8083")
	return func() string {
		b.t.Helper()
		conn, err := net.Dial("unix", socket)
		if err != nil {
			b.t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(conn, "show events peers\n"); err != nil {
			b.t.Fatal(err)
		}
		text, err := io.ReadAll(conn)
		if err != nil {
			b.t.Fatal(err)
		}
		if all := string(text); all == "\n" || strings.HasSuffix(all, "\n\n") {
			return all
		}
		b.t.Fatalf("HAProxy's log ends in %q: it is not whole", text[max(0, len(text)-80):])
		return ""
	}
}

// proxied builds a director with every service of one version, and the servers.
func proxied(t *testing.T, s setup, word string) *director {
	t.Helper()
	s.servers = 1
	d := newDirector(t, s)
	d.nginxWith(d.rs(1), nginxProxied)
	d.listening(d.rs(1), "127.0.0.1:8090")
	d.haproxy(d.rs(1))
	d.proxyServer(1)
	d.twoArm()
	for _, port := range []int{8084, 8090, greeterPort, sinkPort} {
		d.serviceTo("t", port, port, "--proxy-protocol "+word, 1)
	}
	d.wholeFrames()
	return d
}

// dialFrom connects to a port of the VIP; prepare may set the socket's options.
func (d *director) dialFrom(port int, prepare func(fd int) error) (conn net.Conn, me, to netip.AddrPort) {
	d.t.Helper()
	to = netip.AddrPortFrom(vip, uint16(port))
	conn, me = d.dialTo(to, prepare)
	return conn, me, to
}

// dialTo is dialFrom for any address.
func (d *director) dialTo(to netip.AddrPort, prepare func(fd int) error) (conn net.Conn, me netip.AddrPort) {
	d.t.Helper()
	dialer := net.Dialer{Timeout: requestPatience, Control: func(_, _ string, c syscall.RawConn) (err error) {
		if prepare == nil {
			return nil
		}
		if e := c.Control(func(fd uintptr) { err = prepare(int(fd)) }); e != nil {
			return e
		}
		return err
	}}
	err := d.client().Do(func() (err error) {
		conn, err = dialer.DialContext(within(d.t, patience), "tcp", to.String())
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return conn, localOf(conn)
}

// request is some data that a client sends.
var request = []byte("GET / HTTP/1.1\r\nHost: weir.test\r\nConnection: close\r\n\r\n")

func noiseBytes(t *testing.T, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// lose drops the first n packets that match, at a real server, and returns how to
// learn how many there were.
func (d *director) lose(hook, match string, n int) (lost func() int) {
	d.t.Helper()
	rule := fmt.Sprintf("table inet lose { chain %[1]s { type filter hook %[1]s priority -300; %[2]s limit rate 1/day burst %[3]d packets counter drop; }; }", hook, match, n)
	if _, err := d.rs(1).Run(within(d.t, patience), "nft", rule); err != nil {
		d.t.Fatal(err)
	}
	return func() int {
		d.t.Helper()
		out := d.run(d.rs(1), "nft list table inet lose")
		var packets int
		if _, err := fmt.Sscanf(out[strings.Index(out, "counter packets "):], "counter packets %d", &packets); err != nil {
			d.t.Fatalf("%q: %v", out, err)
		}
		d.run(d.rs(1), "nft delete table inet lose")
		return packets
	}
}

// proxyPorts are the servers that a client says something to.
var proxyPorts = []int{sinkPort, 8084, 8090}

// talk connects to a server, says a request in pieces that end at cuts, and more
// where the server takes it, and holds what the server saw to the truth.
func (d *director) talk(port, version int, prepare func(fd int) error, more int, cuts ...int) {
	d.t.Helper()
	conn, me, to := d.dialFrom(port, prepare)
	said := append([]byte{}, request...)
	if port == sinkPort {
		said = append(said, noiseBytes(d.t, more)...)
	}
	var pieces [][]byte
	at := 0
	for _, c := range append(cuts, len(said)) {
		pieces = append(pieces, said[at:c])
		at = c
	}
	if port == sinkPort {
		converse(d.t, conn, pieces...).holds(d.t, version, me, to, said)
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	for _, p := range pieces {
		if _, err := conn.Write(p); err != nil {
			d.t.Fatal(err)
		}
	}
	answer, err := io.ReadAll(conn)
	if want := "Your ip:port : " + me.String() + "\n"; err != nil || !strings.HasSuffix(string(answer), want) {
		d.t.Errorf("the server on port %d answered %q, %v; want %q", port, answer, err, want)
	}
}
