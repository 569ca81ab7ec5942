package netns

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// namesDir is where ip-netns(8) looks for the names of namespaces.
const namesDir = "/run/netns"

// World is a set of namespaces that come and go together.
type World struct {
	prefix  string
	madeDir bool // namesDir did not exist before

	mu     sync.Mutex // guards what follows
	spaces []*Namespace
	groups []*Cgroup
	pins   []string // where BPF file systems are mounted
	closed bool

	guard     *exec.Cmd
	guardLife io.Closer
}

// New makes an empty world. Its namespaces are named label-PID-NAME, so that
// `ip netns` shows whose they are. The caller must Close it. It needs root.
func New(label string) (*World, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("network namespaces need root: run this with sudo")
	}
	w := &World{prefix: fmt.Sprintf("%s-%d-", label, os.Getpid())}
	if _, err := os.Stat(namesDir); os.IsNotExist(err) {
		if err := os.MkdirAll(namesDir, 0o755); err != nil {
			return nil, err
		}
		w.madeDir = true
	}
	if err := w.startGuard(); err != nil {
		return nil, fmt.Errorf("start the guard of the namespaces: %w", err)
	}
	return w, nil
}

// startGuard starts a process that outlives us by a moment: its standard input
// ends when we end, however that happens, and then it removes our names, pins and
// control groups. It runs in a session of its own, so that Ctrl-C on a terminal
// does not reach it.
func (w *World) startGuard() error {
	const script = `cat >/dev/null
for f in "$1"*; do [ -e "$f" ] && { umount -l "$f" 2>/dev/null; rm -f "$f"; }; done
for d in "$2"*; do [ -d "$d" ] && { umount -l "$d" 2>/dev/null; rmdir "$d"; }; done
[ -n "$3" ] && for d in "$3"*; do
	[ -d "$d" ] && echo 1 >"$d/cgroup.kill"
	for i in 1 2 3 4 5 6 7 8 9 10; do [ -d "$d" ] && ! rmdir "$d" && sleep 0.2; done
done
exit 0`
	groups, err := cgroupRoot() // none is met again where one is asked for
	if err == nil {
		groups = filepath.Join(groups, w.prefix)
	}
	w.guard = exec.Command("/bin/sh", "-c", script, "guard", filepath.Join(namesDir, w.prefix), filepath.Join(pinsDir, w.prefix), groups)
	w.guard.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	life, err := w.guard.StdinPipe()
	if err != nil {
		return err
	}
	w.guardLife = life
	return w.guard.Start()
}

// Namespace makes a namespace called name with its loopback up.
func (w *World) Namespace(name string) (*Namespace, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, errors.New("the world of namespaces is closed")
	}
	if w.find(name) != nil {
		return nil, fmt.Errorf("namespace %s exists already", name)
	}
	n, err := newNamespace(name, w.prefix+name)
	if err != nil {
		return nil, fmt.Errorf("make namespace %s: %w", name, err)
	}
	w.spaces = append(w.spaces, n)
	return n, nil
}

// Get returns the namespace called name, or nil.
func (w *World) Get(name string) *Namespace {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.find(name)
}

func (w *World) find(name string) *Namespace {
	i := slices.IndexFunc(w.spaces, func(n *Namespace) bool { return n.name == name })
	if i < 0 {
		return nil
	}
	return w.spaces[i]
}

// Close stops every program started in the world, removes every namespace with
// all that is in it, every control group and every pin, and returns when that is
// done. It may be called again.
func (w *World) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	var errs []error
	for _, n := range slices.Backward(w.spaces) {
		errs = append(errs, n.close())
	}
	for _, dir := range w.pins {
		errs = append(errs, unpin(dir))
	}
	for _, c := range w.groups {
		errs = append(errs, c.close())
	}
	w.guardLife.Close()
	errs = append(errs, w.guard.Wait())
	if w.madeDir {
		os.Remove(namesDir) // fails, rightly, when others use it by now
	}
	return errors.Join(errs...)
}

// Left lists the namespaces, pins and control groups of this world that still
// exist, for tests that prove that none does.
func (w *World) Left() (left []string) {
	dirs := []string{namesDir, pinsDir}
	if root, err := cgroupRoot(); err == nil {
		dirs = append(dirs, root)
	}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), w.prefix) {
				left = append(left, filepath.Join(dir, e.Name()))
			}
		}
	}
	return left
}
