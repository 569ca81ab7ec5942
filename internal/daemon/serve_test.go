package daemon

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"connectrpc.com/connect"

	"weir/api/client"
	"weir/api/weirv1"
	"weir/internal/spec"
	"weir/internal/testkit/netns"
)

// brokenService can't be compiled.
var brokenService = spec.Service{Scheduler: "dice"}

// The life of a daemon as systemd sees it, on real interfaces: READY when the
// API answers, RELOADING and READY around a reload, signs of life, STOPPING, and
// at the end nothing left.
func TestServe(t *testing.T) {
	for _, driver := range []string{"afpacket", "afxdp"} {
		t.Run(driver, func(t *testing.T) {
			net, err := netns.NewTwoArm("daemon", netns.TwoArmOptions{Servers: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := net.World.Close(); err != nil {
					t.Error(err)
				}
			}()
			dir := t.TempDir()
			path := filepath.Join(dir, "dpvs.conf")
			text := strings.Replace(conf("log_level INFO", "<init> device dpdk1 {\ndriver "+driver+"\n}", "default_ttl 64"), "dpdk0 {", "dpdk0 {\ndriver "+driver, 1)
			text = strings.Replace(text, "port dpdk0 {\n}", "port dpdk0 {\n}\nport dpdk1 {\n}", 1)
			write := func(text string) {
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			write(text)
			socket, said := notified(t)
			var stderr bytes.Buffer // read when the process has ended
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "WEIR_TEST_SERVE="+path, "NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=300000")
			cmd.Stderr = &stderr
			p, err := net.Director.Start(cmd)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				p.Kill()
				if t.Failed() {
					t.Log(stderr.String())
				}
			}()
			next(t, said, "READY=1")
			c := client.New(path + ".sock")
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			v, err := c.GetVersion(ctx, connect.NewRequest(&weirv1.GetVersionRequest{}))
			if err != nil || v.Msg.Version != "test" {
				t.Fatalf("when it was ready it answered %v, %v", v, err)
			}
			links, err := c.ListLinks(ctx, connect.NewRequest(&weirv1.ListLinksRequest{}))
			if err != nil || len(links.Msg.Links) != 2 || !links.Msg.Links[0].Up || !strings.Contains(links.Msg.Links[1].Driver, driver) {
				t.Errorf("links: %v, %v", links, err)
			}
			next(t, said, "WATCHDOG=1")

			for _, tc := range []struct{ name, text, log string }{
				{"good", strings.Replace(text, "16384", "32768", 1), "reload: pktpool_size: needs a restart"},
				{"bad", "rubbish", "reload: " + path + " is refused and nothing has changed"},
			} {
				write(tc.text)
				p.Signal(syscall.SIGHUP)
				if s := next(t, said, "RELOADING=1"); !strings.Contains(s, "\nMONOTONIC_USEC=") {
					t.Errorf("%s reload: %q without the time", tc.name, s)
				}
				next(t, said, "READY=1")
			}
			next(t, said, "WATCHDOG=1")
			p.Signal(syscall.SIGTERM)
			next(t, said, "STOPPING=1")
			if err := p.Wait(ctx); err != nil {
				t.Errorf("it ended with %v", err)
			}
			for _, want := range []string{"weir is ready", "reload: pktpool_size: needs a restart", "reload: done", path + " is refused and nothing has changed", "weir ends"} {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("the log does not say %q", want)
				}
			}
			if files, err := filepath.Glob(filepath.Join(dir, "*sock*")); err != nil || len(files) != 0 {
				t.Errorf("left behind: %v, %v", files, err)
			}
			for _, dev := range []string{"dpdk0", "dpdk1"} {
				if id, err := net.Director.XDP(dev); err != nil || id != 0 {
					t.Errorf("XDP program %d stays on %s, %v", id, dev, err)
				}
			}
		})
	}
}

// A daemon that can't start says why and leaves nothing.
func TestServeRefused(t *testing.T) {
	dir := t.TempDir()
	path, sock := filepath.Join(dir, "dpvs.conf"), filepath.Join(dir, "s")
	for _, tc := range []struct{ name, text, want string }{
		{"no file", "", "dpvs.conf"},
		{"not a configuration", "rubbish", "is refused"},
		{"no such interface", strings.ReplaceAll(conf("", "", ""), "dpdk0", "weir-none"), `there is no interface "weir-none" here`},
		{"log file can't be", conf("log_file "+filepath.Join(dir, "none", "x"), "", ""), "log_file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.text != "" {
				if err := os.WriteFile(path, []byte(tc.text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			err := Serve(t.Context(), Options{Config: path, Socket: sock})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want an error with %q", err, tc.want)
			}
			if files, err := filepath.Glob(sock + "*"); err != nil || len(files) != 0 {
				t.Errorf("left behind: %v, %v", files, err)
			}
		})
	}
	if err := os.WriteFile(path, []byte(conf("", "", "")), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Serve(t.Context(), Options{Config: path, Socket: sock, Metrics: "here"}); err == nil || !strings.Contains(err.Error(), "--metrics here: want ADDRESS:PORT") {
		t.Errorf("an address of metrics that is none: %v", err)
	}
}
