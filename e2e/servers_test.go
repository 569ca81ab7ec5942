package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"weir/internal/testkit/netns"
)

// nginxConf is the frame around some server blocks. The single process dies with
// its parent, which a master and its workers would not.
const nginxConf = `daemon off;
master_process off;
user root;
pid %[1]s/nginx.pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
    access_log off;
    keepalive_requests 10000000;
    keepalive_timeout 600s;
    client_body_temp_path %[1]s/body;
    proxy_temp_path %[1]s/proxy;
    fastcgi_temp_path %[1]s/fastcgi;
    uwsgi_temp_path %[1]s/uwsgi;
    scgi_temp_path %[1]s/scgi;
    default_type text/plain;
    %[2]s
}
`

// nginxAnswer answers like the tutorial's server; a header says who answered.
const nginxAnswer = `server {
        listen 80 backlog=4096;
        add_header X-Real-Server %s;
        location / { return 200 "Your ip:port : $remote_addr:$remote_port\n"; }
    }`

// nginx starts a real server's nginx.
func (b *bed) nginx(rs *netns.Namespace) *netns.Process {
	b.t.Helper()
	p := b.nginxWith(rs, fmt.Sprintf(nginxAnswer, rs.Name()))
	b.listening(rs, "127.0.0.1:80")
	return p
}

// nginxWith starts a real server's nginx with some server blocks.
func (b *bed) nginxWith(rs *netns.Namespace, blocks string) *netns.Process {
	b.t.Helper()
	dir := b.path("nginx-" + rs.Name())
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, dir, blocks), 0o644); err != nil {
		b.t.Fatal(err)
	}
	return b.start(rs, "nginx", "-p", dir, "-c", conf, "-e", "stderr")
}

// dnsmasq starts a real server's DNS server: it knows weir.test, at an address
// that tells the server.
func (b *bed) dnsmasq(rs *netns.Namespace, answer string) *netns.Process {
	b.t.Helper()
	p := b.start(rs, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
		"--user=root", "--pid-file="+b.path("dnsmasq-"+rs.Name()+".pid"), "--address=/weir.test/"+answer)
	b.listening(rs, "127.0.0.1:53")
	return p
}

// iperf3 starts a real server's iperf3 on port 5201.
func (b *bed) iperf3(rs *netns.Namespace) *netns.Process {
	b.t.Helper()
	said := &lines{}
	cmd := exec.Command("iperf3", "-s", "--forceflush")
	cmd.Stdout, cmd.Stderr = said, said
	b.iperfs[rs] = said
	b.t.Cleanup(func() {
		if b.t.Failed() {
			b.t.Logf("iperf3 in %s said:\n%s", rs.Name(), said)
		}
	})
	return b.startCmd(rs, cmd)
}

// streamServer starts a real server's stream server on port 8080.
func (b *bed) streamServer(rs *netns.Namespace) *netns.Process {
	b.t.Helper()
	p := b.startCmd(rs, roleCommand("stream-server"))
	b.listening(rs, "127.0.0.1:8080")
	return p
}
