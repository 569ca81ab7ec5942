package daemon

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// All threads go before others, and a session of Weir's own does; one that somebody else leads
// stays as it is.
func TestPrecede(t *testing.T) {
	for session, line := range map[string]string{"its own": `exec "$0"`, "a shell's": `"$0"; :`} {
		t.Run(session, func(t *testing.T) {
			cmd := exec.Command("sh", "-c", line, os.Args[0])
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			cmd.Env = append(os.Environ(), "WEIR_TEST_PRECEDE=1")
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			said := strings.Split(strings.TrimSpace(string(out)), "\n")
			group, threads := said[len(said)-1], said[:len(said)-1]
			want := map[string]string{"its own": " nice -20", "a shell's": " nice 0"}[session]
			if !strings.HasSuffix(group, want) {
				t.Errorf("the session is %q, want%s", group, want)
			}
			if len(threads) < 2 { // Go has some from the beginning
				t.Errorf("%d threads", len(threads))
			}
			behind := 0
			for _, thread := range threads {
				switch thread {
				case "-20 <nil>":
				case "behind others 19 <nil>":
					behind++
				default:
					t.Errorf("a thread's nice value is %s", thread)
				}
			}
			if behind != 1 {
				t.Errorf("%d threads are behind others still, want the one that was", behind)
			}
		})
	}
}
