package daemon

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// A session of Weir's own goes before others; one that somebody else leads stays as it is.
func TestSessionGoesBeforeOthers(t *testing.T) {
	for _, own := range []bool{true, false} {
		shell := exec.Command("sh", "-c", `"$0"; :`, os.Args[0])
		shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if own {
			shell = exec.Command(os.Args[0])
			shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		}
		shell.Env = append(os.Environ(), "WEIR_TEST_PRECEDE=1")
		shell.Stderr = os.Stderr
		said, err := shell.Output()
		if err != nil {
			t.Fatal(err)
		}
		want := map[bool]string{true: " nice -20\n", false: " nice 0\n"}[own]
		if !strings.HasSuffix(string(said), want) {
			t.Errorf("a session of its own %v: %q, want %q at its end", own, said, want)
		}
	}
}
