package keepalived

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// readyEnv tells the process in the background that it is that: the number of the descriptor on
// which it says that it is ready.
const readyEnv = "WEIR_KEEPALIVED_READY"

// background starts this program again in a session of its own, and returns when it has read
// its file: with its exit code if it has found fault with it.
func background(args []string, stdout, stderr io.Writer) int {
	read, write, err := os.Pipe()
	if err != nil {
		fmt.Fprintln(stderr, "keepalived:", err)
		return exitFailed
	}
	defer read.Close()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = "keepalived"
	cmd.Env = append(os.Environ(), readyEnv+"=3")
	cmd.ExtraFiles = []*os.File{write}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	_ = write.Close()
	if err != nil {
		fmt.Fprintln(stderr, "keepalived:", err)
		return exitFailed
	}
	if said, _ := bufio.NewReader(read).ReadString('\n'); strings.TrimSpace(said) == "ready" {
		return exitOK
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code > 0 {
		return code
	}
	return exitFailed
}

// inBackground returns what to call when the file is read, if this process is in the
// background: it lets the one in the foreground go, and with it the terminal.
func inBackground() (ready func(keepStderr bool), is bool) {
	if os.Getenv(readyEnv) == "" {
		return nil, false
	}
	_ = os.Unsetenv(readyEnv)
	syscall.CloseOnExec(3)
	return func(keepStderr bool) {
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err == nil {
			_ = syscall.Dup3(int(null.Fd()), 0, 0)
			_ = syscall.Dup3(int(null.Fd()), 1, 0)
			if !keepStderr {
				_ = syscall.Dup3(int(null.Fd()), 2, 0)
			}
			_ = null.Close()
		}
		pipe := os.NewFile(3, "ready")
		_, _ = pipe.WriteString("ready\n")
		_ = pipe.Close()
		_ = os.Chdir("/")
	}, true
}
