package keepalived

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// dumped sends a signal and returns the file that is written.
func (w *world) dumped(s syscall.Signal, name string) string {
	w.t.Helper()
	path := filepath.Join(filepath.Dir(w.path), name)
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		w.t.Fatal(err)
	}
	w.signals <- s
	var text []byte
	eventually(w.t, name+" is written", func() (there bool) {
		var err error
		text, err = os.ReadFile(path)
		return err == nil
	})
	if i, err := os.Stat(path); err != nil || i.Mode().Perm() != 0o600 {
		w.t.Errorf("%s: %v, %v", path, i.Mode(), err)
	}
	return string(text)
}

// SIGUSR1 and SIGUSR2 write what is and what was; what lies in their way is not followed.
func TestDump(t *testing.T) {
	w := newWorld(t)
	w.begin(service(" quorum 15\n sorry_server 192.168.9.9 80", w.misc(2, ""), w.misc(3, "")))
	w.become(vip, ".2=10 .3=10")
	other := filepath.Join(w.dir, "other")
	rewrite(t, other, "not ours")
	if err := os.Symlink(other, filepath.Join(filepath.Dir(w.path), "keepalived.data.new")); err != nil {
		t.Fatal(err)
	}
	holds := func(text string, lines ...string) {
		t.Helper()
		for _, l := range lines {
			if !strings.Contains(text, l) {
				t.Errorf("it does not say %q:\n%s", l, text)
			}
		}
	}
	holds(w.dumped(syscall.SIGUSR1, "keepalived.data"),
		" director "+w.b.path+": there\n", " TCP 10.0.0.1:80\n   quorum 15, hysteresis 0, live weight 20: held\n", "   sorry server 192.168.9.9:80: not needed\n",
		"   real server 192.168.9.2:80: up, weight 10\n     MISC_CHECK every 50ms, retry 0 after ")
	if text, err := os.ReadFile(other); err != nil || string(text) != "not ours" {
		t.Errorf("a link was followed: %s, %v", text, err)
	}
	w.dies(3)
	w.become(vip, ".9=1")
	holds(w.dumped(syscall.SIGUSR1, "keepalived.data"),
		"live weight 10: lost\n", "   sorry server 192.168.9.9:80: in use\n", "   real server 192.168.9.3:80: down, weight 10\n     why: ", "exit status 1")
	w.lives(3, 0)
	w.become(vip, ".2=10 .3=10")
	holds(w.dumped(syscall.SIGUSR2, "keepalived.stats"),
		"Virtual server: TCP 10.0.0.1:80\n  Quorum gained: 1\n  Quorum lost: 1\n  Last change: 2", "  Real server: 192.168.9.2:80\n    Up: 0\n    Down: 0\n    Failed checks: 0\n",
		"  Real server: 192.168.9.3:80\n    Up: 1\n    Down: 1\n    Failed checks: ")
}
