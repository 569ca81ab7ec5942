package e2e

import (
	"bytes"
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
	for _, pattern := range []string{
		"/run/netns/weir-demo-*", "/run/weir-demo-*", filepath.Join(os.TempDir(), "weir-demo-*"),
		"/sys/fs/cgroup/weir-demo-*", "/sys/fs/cgroup/*/weir-demo-*",
	} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, names...)
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		exe, _ := os.Readlink(p + "/exe")
		words, _ := os.ReadFile(p + "/cmdline")
		// nginx has the demo's folder among its words.
		if exe == program("weir") || exe == program("weir-rs") || bytes.Contains(words, []byte("weir-demo-")) {
			found = append(found, p)
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
	for _, want := range []string{
		"rs1# ./weir-rs run --trust 192.168.100.200/32 --cgroup ", "rs2# ./weir-rs run --trust 192.168.100.200/32 --cgroup ",
		"client$ curl 10.0.0.100\nYour ip:port : 10.0.0.48:37177\n", "client$ curl 10.0.0.100\nYour ip:port : 10.0.0.48:37179\n",
		"In this order they answered: rs1, rs2, rs1, rs2.\n",
	} {
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
		for _, at := range []string{"The network", "The real servers", "rs2# ./weir-rs", "The director", "The tutorial's commands", "The client asks"} {
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

// Where control groups are not to be had the demo says so in one sentence, and
// leaves nothing.
func TestDemoWithoutCgroups(t *testing.T) {
	before := leavings(t)
	var stdout, stderr bytes.Buffer
	cmd := exec.Command("unshare", "--mount", "sh", "-c", "umount -l -a -t cgroup2 && exec "+program("weir")+" demo")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if said := stderr.String(); err == nil || strings.Count(said, "\n") != 1 || !strings.Contains(said, "weir-rs needs control groups (cgroup v2)") {
		t.Errorf("without cgroup v2 the demo ended with %v and said %q, want one sentence about it\n%s", err, said, &stdout)
	}
	if after := leavings(t); after != before {
		t.Errorf("left behind:\n%s", after)
	}
}

// Where weir-rs can't do its work the demo says why in one sentence, which is
// weir-rs's own, and leaves nothing.
func TestDemoWithoutEBPF(t *testing.T) {
	before := leavings(t)
	dir := t.TempDir()
	for _, name := range []string{"weir", "dpip", "ipvsadm"} {
		if err := os.Link(program(name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	const agent = "#!/bin/sh\necho 'level=INFO msg=hello' >&2\necho 'weir-rs: this kernel has no eBPF' >&2\nexit 1\n"
	if err := os.WriteFile(filepath.Join(dir, "weir-rs"), []byte(agent), 0o755); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.Command(filepath.Join(dir, "weir"), "demo")
	cmd.Stderr = &stderr
	const want = "weir: real server rs1: weir-rs did not start: weir-rs: this kernel has no eBPF\n"
	if err := cmd.Run(); err == nil || stderr.String() != want {
		t.Errorf("the demo ended with %v and said %q, want %q", err, stderr.String(), want)
	}
	if after := leavings(t); after != before {
		t.Errorf("left behind:\n%s", after)
	}
}
