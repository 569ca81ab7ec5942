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
	"weir/internal/port"
	"weir/internal/testkit/netns"
)

// A veth has no NAPI id, so that there is no busy polling: auto says so, on is refused, and
// sysfs stays as it was. What a weir that was killed left there is undone by the next start,
// whatever that wants, and by purge.
func TestServeNAPIBusyPoll(t *testing.T) {
	net, err := netns.NewTwoArm("napi", netns.TwoArmOptions{Servers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := net.World.Close(); err != nil {
			t.Error(err)
		}
	}()
	inDirector := func(script string) string {
		t.Helper()
		out, err := net.Director.Run(t.Context(), "unshare", "-m", "sh", "-c", "mount -t sysfs none /sys && cd /sys/class/net/dpdk0 && "+script)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(strings.Fields(out), " ")
	}
	const look = "cat napi_defer_hard_irqs gro_flush_timeout"
	leave := "echo 2 > napi_defer_hard_irqs && echo 200000 > gro_flush_timeout && ip link property add dev dpdk0 altname weir-9-of-1-999999999999-napi_defer_hard_irqs-5-2-gro_flush_timeout-7000-200000"
	path := filepath.Join(t.TempDir(), "dpvs.conf")
	write := func(device string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(strings.Replace(conf("log_level INFO", "", ""), "dpdk0 {", "dpdk0 {\n"+device, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct {
		name, device   string
		left           bool
		has, driver    string // no driver: it is refused
		says, saysNone []string
	}{
		{
			"auto", "napi_busy_poll auto", false, "0 0", "afxdp native copy, no busy polling",
			[]string{"device dpdk0: no busy polling, and dpdk0 keeps its interrupts: AF_XDP on interface \\\"dpdk0\\\" queue 0: busy polling: Linux tells the socket no NAPI id (SO_INCOMING_NAPI_ID is 0), so that there is nobody to poll"}, nil,
		},
		{"auto, packet sockets", "napi_busy_poll auto\ndriver afpacket", false, "0 0", ", no busy polling", []string{"packet sockets drive it, which can't"}, nil},
		{
			"on", "napi_busy_poll on", false, "0 0", "",
			[]string{"device dpdk0: napi_busy_poll on can't be (auto goes on without): AF_XDP on interface \"dpdk0\" queue 0: busy polling: Linux tells the socket no NAPI id"}, []string{"weir is ready"},
		},
		{"not said", "", false, "0 0", "afxdp native copy", nil, []string{"busy polling", "NAPI id"}},
		{"left, and not said", "", true, "5 7000", "afxdp native copy", []string{"interface dpdk0 has napi_defer_hard_irqs 5, gro_flush_timeout 7000 again, as before a weir that was killed"}, []string{"busy polling"}},
		{"left, and auto", "napi_busy_poll auto", true, "5 7000", "afxdp native copy, no busy polling", []string{"interface dpdk0 has napi_defer_hard_irqs 5, gro_flush_timeout 7000 again"}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			inDirector("echo 0 > napi_defer_hard_irqs && echo 0 > gro_flush_timeout")
			if row.left {
				inDirector(leave)
			}
			write(row.device)
			socket, said := notified(t)
			var stderr bytes.Buffer // read when the process has ended
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "WEIR_TEST_SERVE="+path, "NOTIFY_SOCKET="+socket)
			cmd.Stderr = &stderr
			p, err := net.Director.Start(cmd)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Kill()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if row.driver != "" {
				next(t, said, "READY=1")
				links, err := client.New(path+".sock").ListLinks(ctx, connect.NewRequest(&weirv1.ListLinksRequest{}))
				if err != nil || len(links.Msg.Links) != 1 || !strings.HasSuffix(links.Msg.Links[0].Driver, row.driver) {
					t.Errorf("links: %v, %v", links, err)
				}
				if got := inDirector(look); got != row.has {
					t.Errorf("while it runs dpdk0 has %s, want %s", got, row.has)
				}
				write(row.device + "\nnapi_busy_poll on\ngro_flush_timeout 50000\ndriver afxdp")
				p.Signal(syscall.SIGHUP)
				next(t, said, "RELOADING=1")
				next(t, said, "READY=1")
				p.Signal(syscall.SIGTERM)
				row.says = append(row.says, "reload: device dpdk0: needs a restart; the running value stays")
			}
			if err := p.Wait(ctx); (err == nil) != (row.driver != "") {
				t.Errorf("it ended with %v", err)
			}
			for _, s := range row.says {
				if !strings.Contains(stderr.String(), s) {
					t.Errorf("it does not say %q, but\n%s", s, &stderr)
				}
			}
			for _, s := range row.saysNone {
				if strings.Contains(stderr.String(), s) {
					t.Errorf("it says %q:\n%s", s, &stderr)
				}
			}
			if got := inDirector(look); got != row.has {
				t.Errorf("at the end dpdk0 has %s, want %s", got, row.has)
			}
		})
	}

	// Purge undoes it as well, but not beside one who lives.
	purge := func(want string) (err error) {
		t.Helper()
		var out bytes.Buffer
		_ = net.Director.Do(func() error { err = Purge(&out, ""); return nil })
		if nothing := "nothing is left of weir\n"; !strings.Contains(out.String(), want) || want != nothing && strings.Contains(out.String(), nothing) {
			t.Errorf("purge says %q, and not %q", out.String(), want)
		}
		return err
	}
	inDirector(leave)
	if err := purge("interface dpdk0 has napi_defer_hard_irqs 5, gro_flush_timeout 7000 again, as before weir\n"); err != nil || inDirector(look) != "5 7000" {
		t.Errorf("purge: %v, and dpdk0 has %s", err, inDirector(look))
	}
	if err := purge("nothing is left of weir\n"); err != nil {
		t.Error(err)
	}
	var held *port.Deferred
	if err := net.Director.Do(func() error {
		l, err := port.FindLink("dpdk0")
		if err == nil {
			held, err = l.Defer(port.Deferral{HardIRQs: 9, FlushTimeout: 90_000})
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := purge(""); err == nil || !strings.Contains(err.Error(), "interface dpdk0 stays as it is: a running weir holds its interrupts back; stop that first") || inDirector(look) != "9 90000" {
		t.Errorf("purge beside one who lives: %v, and dpdk0 has %s", err, inDirector(look))
	}
	if err := net.Director.Do(held.Undo); err != nil || inDirector(look) != "5 7000" {
		t.Errorf("at the end dpdk0 has %s, %v", inDirector(look), err)
	}
}
