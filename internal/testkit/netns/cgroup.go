package netns

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// groupPatience is how long the programs of a control group may take to end once
// they were killed.
const groupPatience = 5 * time.Second

// Cgroup is a control group (version 2): eBPF programs attached to its directory
// see the sockets of the programs in it, and of nobody else.
type Cgroup struct {
	dir    string
	handle *os.File
}

// Dir returns the group's directory.
func (c *Cgroup) Dir() string { return c.dir }

// Take makes cmd, which is not yet started, start inside the group. A socket
// belongs to the group that its program is in when it makes it, so a program that
// is moved later keeps its old sockets outside.
func (c *Cgroup) Take(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(c.handle.Fd())
}

// cgroupRoot returns where the first file system of control groups, version 2, is
// mounted.
func cgroupRoot() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", err
	}
	for line := range bytes.Lines(mounts) {
		// device, mount point, type, options, ...
		if f := strings.Fields(string(line)); len(f) > 3 && f[2] == "cgroup2" {
			return f[1], nil
		}
	}
	return "", errors.New("no file system of control groups, version 2, is mounted: " +
		"run `mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified`")
}

// Cgroup makes a control group directly under the root of the file system; it goes
// with the world.
func (w *World) Cgroup(name string) (*Cgroup, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, errors.New("the world of namespaces is closed")
	}
	root, err := cgroupRoot()
	if err != nil {
		return nil, err
	}
	c := &Cgroup{dir: filepath.Join(root, w.prefix+name)}
	if err := os.Mkdir(c.dir, 0o755); err != nil {
		return nil, fmt.Errorf("make a control group: %w", err)
	}
	if c.handle, err = os.Open(c.dir); err != nil {
		return nil, errors.Join(err, os.Remove(c.dir))
	}
	w.groups = append(w.groups, c)
	return c, nil
}

// close kills what is left in the group and removes it.
func (c *Cgroup) close() error {
	c.handle.Close()
	// Since Linux 5.14. Programs of ours have ended by now; theirs may not.
	_ = os.WriteFile(filepath.Join(c.dir, "cgroup.kill"), []byte("1"), 0)
	deadline := time.Now().Add(groupPatience)
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for {
		err := syscall.Rmdir(c.dir)
		if err == nil || errors.Is(err, syscall.ENOENT) {
			return nil
		}
		if !errors.Is(err, syscall.EBUSY) || time.Now().After(deadline) {
			return fmt.Errorf("remove the control group %s: %w", c.dir, err)
		}
		<-poll.C
	}
}

// pinsDir is where the worlds' BPF file systems are mounted.
const pinsDir = "/run"

// Pins mounts a BPF file system of its own under /run and returns its path. What
// is pinned there goes with the world.
func (w *World) Pins(name string) (dir string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return "", errors.New("the world of namespaces is closed")
	}
	dir = filepath.Join(pinsDir, w.prefix+name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	if err := syscall.Mount("bpf", dir, "bpf", 0, ""); err != nil {
		return "", errors.Join(fmt.Errorf("mount a BPF file system (does this kernel have eBPF?): %w", err), os.Remove(dir))
	}
	w.pins = append(w.pins, dir)
	return dir, nil
}

// unpin takes a BPF file system away with all that is pinned in it.
func unpin(dir string) error {
	return errors.Join(syscall.Unmount(dir, syscall.MNT_DETACH), os.Remove(dir))
}
