package netns

import (
	"context"
	"os/exec"
	"syscall"
)

// Process is a program that runs in a namespace.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has been reaped
	err  error         // what Wait said; read after done
}

// reap waits for the end, whoever brings it about.
func (p *Process) reap() {
	p.err = p.cmd.Wait()
	close(p.done)
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Ended tells whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Err returns how the process ended: nil, or an *exec.ExitError. Only after Done.
func (p *Process) Err() error { return p.err }

// ExitCode returns the exit code; -1 while the process runs or when a signal ended it.
func (p *Process) ExitCode() int {
	if !p.Ended() {
		return -1
	}
	return p.cmd.ProcessState.ExitCode()
}

// Wait waits for the end. When ctx ends first, the process is killed and the
// context's cause returned.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		p.Kill()
		return context.Cause(ctx)
	}
}

// Signal sends sig; a process that has ended already is no error.
func (p *Process) Signal(sig syscall.Signal) { _ = p.cmd.Process.Signal(sig) }

// Kill kills the process and waits until it is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Stop asks the process to end with SIGTERM and waits; when ctx ends first it is
// killed. It returns how the process ended.
func (p *Process) Stop(ctx context.Context) error {
	p.Signal(syscall.SIGTERM)
	return p.Wait(ctx)
}
