package rsagent

import (
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// notifications is systemd's end of sd_notify(3).
func notifications(t *testing.T) <-chan string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	said := make(chan string, 1024)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			said <- string(buf[:n])
		}
	}()
	return said
}

// hear waits for a notification that begins so.
func hear(t *testing.T, said <-chan string, prefix string) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case s := <-said:
			if strings.HasPrefix(s, prefix) {
				return
			}
		case <-deadline:
			t.Fatalf("systemd did not hear %s", prefix)
		}
	}
}

// TestLifeAsAService: ready, alive, not killed by SIGHUP, stopping; and one line about
// what stays.
func TestLifeAsAService(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			b := newBed(t)
			said := notifications(t)
			t.Setenv("WATCHDOG_USEC", "300000")
			agent := b.agent(t, b.options(), lacks{})
			hear(t, said, "READY=1\nSTATUS=attached to "+b.group.Dir())
			hear(t, said, "WATCHDOG=1")
			agent.Signal(syscall.SIGHUP)
			agent.line(t, "time=")
			hear(t, said, "WATCHDOG=1")
			agent.end(t, sig)
			hear(t, said, "STOPPING=1")
			if err := agent.Err(); err != nil {
				t.Errorf("the agent ended with %v", err)
			}
			want := "weir-rs ends; what it attached stays attached: `weir-rs stop' detaches it"
			// Its last words may still be in the pipe.
			eventually(t, "its farewell", func() bool { return strings.Contains(agent.text(), want) })
			if s := b.status(t); s.Running || len(s.Hooks) != 3 {
				t.Errorf("after the end: running %t, hooks %v", s.Running, s.Hooks)
			}
		})
	}
}

// TestTheWatchdogSeesWhatIsDetached: an agent whose programs are gone is not alive.
func TestTheWatchdogSeesWhatIsDetached(t *testing.T) {
	b := newBed(t)
	said := notifications(t)
	t.Setenv("WATCHDOG_USEC", "300000")
	agent := b.agent(t, b.options(), lacks{})
	hear(t, said, "WATCHDOG=1")
	if err := detach((&pinDir{path: b.pin}).link("sockops")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the complaint", func() bool { return strings.Contains(agent.text(), "sockops is not attached any more") })
	for drained := false; !drained; {
		select {
		case <-said:
		default:
			drained = true
		}
	}
	// Two more complaints, and no sign of life between them.
	eventually(t, "more complaints", func() bool { return strings.Count(agent.text(), "sockops is not attached any more") >= 3 })
	select {
	case s := <-said:
		t.Errorf("systemd heard %q", s)
	default:
	}
}
