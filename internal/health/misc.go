package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"
)

// grace is how long a program may take to end once it was told to.
const grace = 2 * time.Second

// Misc is MISC_CHECK: a program's exit code says how the server is. 0 is well;
// with Dynamic 2 to 255 are too, and the weight is the code less 2; all else is a
// failure. What the program prints goes nowhere.
type Misc struct {
	// Command is misc_path, split into words. No shell sees it.
	Command []string
	// Timeout is misc_timeout: the program and what it started in its process
	// group are then told to end, and 2 s later killed. 0 means [DefaultTimeout].
	Timeout time.Duration
	// Dynamic is misc_dynamic.
	Dynamic bool
	// Credential is whom it runs as (user). nil: as we do.
	Credential *syscall.Credential
}

// Probe implements [Probe].
func (m Misc) Probe(ctx context.Context) Finding {
	if len(m.Command) == 0 {
		return found(errors.New("misc_path names no program"))
	}
	limit := cmp.Or(m.Timeout, DefaultTimeout)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, m.Command[0], m.Command[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: m.Credential}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = grace
	err := cmd.Run()
	if ctx.Err() != nil {
		if cmd.Process != nil {
			// The group may be empty by now.
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
		return found(fmt.Errorf("%s: %w after %v", m.Command[0], ctx.Err(), limit))
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return found(err)
	}
	return m.judge(cmd.ProcessState.ExitCode())
}

// judge reads an exit code; it is -1 if the program was killed.
func (m *Misc) judge(code int) Finding {
	switch {
	case code == 0:
		return Finding{}
	case m.Dynamic && code >= 2:
		return Finding{Weighs: true, Weight: code - 2}
	case code < 0:
		return found(fmt.Errorf("%s was killed", m.Command[0]))
	default:
		return found(fmt.Errorf("%s: exit status %d", m.Command[0], code))
	}
}
