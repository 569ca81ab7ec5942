package keepalived

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// pidFile is a file that says who runs; the first of a daemon is its lock too.
type pidFile struct {
	f    *os.File
	path string
}

// takePid takes a pid file for this process. One that another keepalived of ours holds is
// refused; one that a dead one left is taken over.
func takePid(path string) (*pidFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("pid file: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		said, _ := io.ReadAll(io.LimitReader(f, 32))
		_ = f.Close()
		return nil, fmt.Errorf("keepalived is already running, with pid %s, says %s: give another with -p for a second one", strings.TrimSpace(string(said)), path)
	}
	if pid := stockRuns(f); pid != 0 {
		_ = f.Close()
		return nil, fmt.Errorf("another keepalived is running, with pid %d, says %s: stop it (systemctl stop keepalived)", pid, path)
	}
	if err = f.Truncate(0); err == nil {
		_, err = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("pid file: %w", err)
	}
	return &pidFile{f, path}, nil
}

// stockRuns returns the pid of a stock keepalived that the file names and that lives, or 0:
// it takes no lock.
func stockRuns(f *os.File) int {
	said, err := io.ReadAll(io.LimitReader(f, 32))
	if err != nil {
		return 0
	}
	pid := 0
	if _, err := fmt.Sscan(string(said), &pid); err != nil || pid == os.Getpid() {
		return 0
	}
	name, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "comm"))
	if err != nil || strings.TrimSpace(string(name)) != "keepalived" {
		return 0
	}
	return pid
}

func (p *pidFile) remove() {
	_ = os.Remove(p.path)
	_ = p.f.Close()
}

// runDir is where the files of the stock keepalived go: beside the pid file, so that two
// daemons do not meet.
func runDir(pid string) string { return beside(pid, ".vrrp") }

// beside is the pid file's name with another ending.
func beside(pid, ending string) string { return strings.TrimSuffix(pid, ".pid") + ending }
