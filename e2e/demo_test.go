package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// leavings lists what a demo may leave behind.
func leavings(t *testing.T) string {
	t.Helper()
	var found []string
	for _, pattern := range []string{"/run/netns/weir-demo-*", filepath.Join(os.TempDir(), "weir-demo-*")} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, names...)
	}
	processes, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range processes {
		if exe, err := os.Readlink(link); err == nil && exe == program("weir") {
			found = append(found, link)
		}
	}
	return strings.Join(found, "\n")
}

// The demo shows what the README promises, and leaves nothing.
func TestDemo(t *testing.T) {
	before := leavings(t)
	start := time.Now()
	out, err := exec.CommandContext(within(t, 2*patience), program("weir"), "demo").CombinedOutput()
	if err != nil {
		t.Fatalf("weir demo: %v\n%s", err, out)
	}
	t.Logf("%s\n%s", time.Since(start), out)
	for _, row := range shown {
		if !strings.Contains(unpadded(string(out)), row.want) {
			t.Errorf("the demo does not show the answer of %s", row.command)
		}
	}
	for _, want := range []string{"client$ curl 10.0.0.100\n", "I am rs1\nYour ip:port : 192.168.100.200:", "I am rs2\n", "client in TOA : 10.0.0.48:"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the demo does not show %q", want)
		}
	}
	if after := leavings(t); after != before {
		t.Errorf("left behind:\n%s", after)
	}
}

// A demo that is interrupted, however far it came, leaves nothing either.
func TestDemoInterrupted(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
		for _, at := range []string{"The network", "The director", "The tutorial's commands", "The client asks"} {
			t.Run(sig.String()+" at "+at, func(t *testing.T) {
				before := leavings(t)
				out := &lines{}
				cmd := exec.Command(program("weir"), "demo")
				cmd.Stdout, cmd.Stderr = out, out
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				eventually(t, "the demo comes to "+at, func() bool { return strings.Contains(out.String(), at) })
				if err := cmd.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
				if err := cmd.Wait(); err == nil {
					t.Error("an interrupted demo must not end with exit code 0")
				}
				if sig != syscall.SIGKILL { // no program tidies its files after that
					if after := leavings(t); after != before {
						t.Errorf("left behind:\n%s\nit said:\n%s", after, out)
					}
					return
				}
				temp, _ := filepath.Glob(filepath.Join(os.TempDir(), "weir-demo-*"))
				for _, dir := range temp {
					os.RemoveAll(dir)
				}
				eventually(t, "namespaces and processes are gone", func() bool { return leavings(t) == before })
			})
		}
	}
}

// Without root the demo says so in one sentence.
func TestDemoWithoutRoot(t *testing.T) {
	cmd := exec.Command(program("weir"), "demo")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	// nobody may not read the directory that the binaries were built in.
	if err := os.Chmod(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	if err == nil || strings.Count(string(out), "\n") != 1 || !strings.Contains(string(out), "needs root") {
		t.Errorf("weir demo as nobody: %v: %q, want one sentence that says it needs root", err, out)
	}
}
