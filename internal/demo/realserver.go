package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"weir/internal/testkit/netns"
)

// localAddress is the director's address that real servers see, and from which
// weir-rs believes what is said of a client.
const localAddress = "192.168.100.200"

// nginxConf is the tutorial's server: it answers in plain text with the client's
// address, as any program gets it. The header says which server answered. The
// single process dies with its parent, which a master and its workers would not.
const nginxConf = `daemon off;
master_process off;
user root;
pid %[1]s/nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path %[1]s/body;
    proxy_temp_path %[1]s/proxy;
    fastcgi_temp_path %[1]s/fastcgi;
    uwsgi_temp_path %[1]s/uwsgi;
    scgi_temp_path %[1]s/scgi;
    server {
        listen 80;
        default_type text/plain;
        add_header X-Real-Server %[2]s;
        location / {
            return 200 "Your ip:port : $remote_addr:$remote_port\n";
        }
    }
}
`

// realServers starts nginx on each real server, and weir-rs beside it.
func (s *stage) realServers(ctx context.Context) error {
	s.title("The real servers: nginx as Debian has it, and weir-rs")
	s.say("nginx answers every request with\n\n    %s\n\n", `return 200 "Your ip:port : $remote_addr:$remote_port\n";`)
	s.say("and weir-rs has the kernel tell it the client's own address. Here both run in a\n" +
		"control group; without --cgroup and --pin weir-rs serves the whole machine.\n\n")
	for _, rs := range s.world.Servers {
		if err := s.startServer(ctx, rs); err != nil {
			return fmt.Errorf("real server %s: %w", rs.Name(), err)
		}
	}
	return nil
}

func (s *stage) startServer(ctx context.Context, rs *netns.Namespace) error {
	group, err := s.world.World.Cgroup(rs.Name())
	if err != nil {
		return fmt.Errorf("weir-rs needs control groups (cgroup v2), where it hears of new connections: %w", err)
	}
	pins, err := s.world.World.Pins(rs.Name() + "-pins")
	if err != nil {
		return fmt.Errorf("weir-rs needs a BPF file system, where it pins its programs: %w", err)
	}
	if err := s.startNginx(ctx, rs, group); err != nil {
		return err
	}
	return s.startAgent(ctx, rs, group, filepath.Join(pins, "weir-rs"))
}

// startNginx starts it inside the group and waits until it can be asked.
func (s *stage) startNginx(ctx context.Context, rs *netns.Namespace, group *netns.Cgroup) error {
	dir := s.path(rs.Name())
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, dir, rs.Name()), 0o644); err != nil {
		return err
	}
	var said bytes.Buffer
	cmd := exec.Command("nginx", "-p", dir, "-c", conf, "-e", "stderr")
	cmd.Stdout, cmd.Stderr = &said, &said
	group.Take(cmd)
	p, err := rs.Start(cmd)
	if err != nil {
		return err
	}
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for {
		if c, err := rs.Dial(ctx, "tcp", "127.0.0.1:80"); err == nil {
			return c.Close()
		}
		select {
		case <-p.Done():
			return errors.New("nginx did not start: " + lastLine(said.String()))
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-poll.C:
		}
	}
}

// startAgent starts weir-rs for the group and waits until it says that it is ready.
func (s *stage) startAgent(ctx context.Context, rs *netns.Namespace, group *netns.Cgroup, pins string) error {
	args := []string{"run", "--trust", localAddress + "/32", "--cgroup", group.Dir(), "--pin", pins}
	s.say("%s# ./weir-rs %s\n", rs.Name(), strings.Join(args, " "))
	notify, err := listenNotify(s.path("notify-" + rs.Name()))
	if err != nil {
		return err
	}
	defer func() { _ = notify.Close() }()
	var said bytes.Buffer
	cmd := exec.Command(s.weirRS, args...)
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.Env = notify.environ()
	p, err := rs.Start(cmd)
	if err != nil {
		return err
	}
	if !notify.ready(ctx, p) {
		p.Kill() // from here on nobody writes what it said
		return errors.New("weir-rs did not start: " + lastLine(said.String()))
	}
	return nil
}

// lastLine is what a program said at its end, which is why it ended.
func lastLine(said string) string {
	said = strings.TrimSpace(said)
	return said[strings.LastIndexByte(said, '\n')+1:]
}

// notifySocket is where a program says that it is ready, the way systemd's
// services do, sd_notify(3).
type notifySocket struct{ *net.UnixConn }

func listenNotify(path string) (notifySocket, error) {
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	return notifySocket{c}, err
}

// environ returns our environment with the socket's address.
func (n notifySocket) environ() []string {
	return append(os.Environ(), "NOTIFY_SOCKET="+n.LocalAddr().String())
}

// ready waits until the program is ready; it returns false if the program or ctx
// ends before. The socket serves once.
func (n notifySocket) ready(ctx context.Context, p *netns.Process) bool {
	end := func() { _ = n.Close() } // makes Read return
	defer context.AfterFunc(ctx, end)()
	go func() { <-p.Done(); end() }()
	buf := make([]byte, 4096)
	for {
		length, err := n.Read(buf)
		if err != nil {
			return false
		}
		if bytes.Contains(buf[:length], []byte("READY=1")) {
			return true
		}
	}
}
