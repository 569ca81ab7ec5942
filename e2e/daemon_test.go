package e2e

import (
	"context"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// Only its owner may speak to the API.
func TestSocketIsPrivate(t *testing.T) {
	d := newDirector(t, one)
	info, err := os.Stat(d.path("weir.sock"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the socket has mode %o, want 600", info.Mode().Perm())
	}
}

// A second daemon on the same socket is refused and the first goes on.
func TestSecondDaemon(t *testing.T) {
	d := failing(t, one)
	said := &lines{}
	cmd := exec.Command(program("weir"), "serve", "-c", d.path("dpvs.conf"), "-x", d.path("weir.sock"))
	cmd.Stderr = said
	p := d.startCmd(d.net.Director, cmd)
	err := p.Wait(within(t, patience))
	said1 := strings.Split(strings.TrimSpace(said.String()), "\n")
	if last := said1[len(said1)-1]; err == nil || p.ExitCode() != 1 || !strings.Contains(last, "weir.sock") {
		t.Errorf("a second daemon ended with %v and said last %q, want exit status 1 and a word about the socket", err, last)
	}
	t.Log(said1[len(said1)-1])
	d.answered("10.0.0.100")
}

// The end leaves no socket and no lock behind; the next start needs none removed.
func TestEndAndStartAgain(t *testing.T) {
	for _, s := range drivers {
		t.Run(s.String(), func(t *testing.T) {
			d := failing(t, s)
			for range 3 {
				d.answered("10.0.0.100")
				if err := d.daemon.Stop(within(t, patience)); err != nil {
					t.Fatal(err)
				}
				if entries, err := os.ReadDir(d.dir); err != nil || strings.Contains(names(entries), "weir.sock") {
					t.Errorf("left behind: %s (%v)", names(entries), err)
				}
				d.noXDP()
				d.serve()
				d.script(tutorial)
			}
			d.answered("10.0.0.100")
		})
	}
}

func names(entries []os.DirEntry) string {
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

// A reload goes by unnoticed by traffic, also when many come at once and at the
// very first moment.
func TestReloadUnderTraffic(t *testing.T) {
	d := newDirector(t, two)
	for range 10 {
		d.daemon.Signal(syscall.SIGHUP)
	}
	d.nginx(d.rs(1))
	d.nginx(d.rs(2))
	d.script(tutorial)
	kept := d.steady("10.0.0.100:80", 16, "kept")
	fresh := d.steady("10.0.0.100:80", 8, "new")
	for range 5 {
		before := strings.Count(d.log.String(), "reload: done")
		d.daemon.Signal(syscall.SIGHUP)
		eventually(t, "the reload is done", func() bool { return strings.Count(d.log.String(), "reload: done") > before })
		kept.more(200)
		fresh.more(200)
	}
	kept.unharmed()
	fresh.unharmed()
}

// Under systemd's watchdog the daemon says that it lives as long as its workers do.
func TestWatchdog(t *testing.T) {
	s := one
	s.env = []string{"WATCHDOG_USEC=300000"}
	d := newDirector(t, s)
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: d.path("notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer notify.Close()
	ctx := within(t, patience)
	defer context.AfterFunc(ctx, func() { notify.Close() })()
	buf := make([]byte, 4096)
	for seen := 0; seen < 3; {
		n, err := notify.Read(buf)
		if err != nil {
			t.Fatalf("%d signs of life, then: %v", seen, err)
		}
		seen += strings.Count(string(buf[:n]), "WATCHDOG=1")
	}
}

// A cable that is pulled and plugged in again stops traffic only for so long.
func TestLinkDownAndUp(t *testing.T) {
	for _, s := range drivers {
		t.Run(s.String(), func(t *testing.T) {
			d := failing(t, s)
			d.answered("10.0.0.100")
			if err := d.net.LAN.LinkDown("weir"); err != nil {
				t.Fatal(err)
			}
			d.refused("10.0.0.100", 1)
			if err := d.net.LAN.LinkUp("weir"); err != nil {
				t.Fatal(err)
			}
			d.answered("10.0.0.100")
			if err := d.net.Director.LinkDown(d.wan); err != nil {
				t.Fatal(err)
			}
			d.refused("10.0.0.100", 1)
			if err := d.net.Director.LinkUp(d.wan); err != nil {
				t.Fatal(err)
			}
			d.answered("10.0.0.100")
		})
	}
}
