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

	mu     sync.Mutex // guards spaces and closed
	spaces []*Namespace
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
// ends when we end, however that happens, and then it removes our names. It runs
// in a session of its own, so that Ctrl-C on a terminal does not reach it.
func (w *World) startGuard() error {
	const script = `cat >/dev/null; for f in "$1"*; do [ -e "$f" ] && umount -l "$f" && rm -f "$f"; done; exit 0`
	w.guard = exec.Command("/bin/sh", "-c", script, "guard", filepath.Join(namesDir, w.prefix))
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
// all that is in it, and returns when that is done. It may be called again.
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
	w.guardLife.Close()
	errs = append(errs, w.guard.Wait())
	if w.madeDir {
		os.Remove(namesDir) // fails, rightly, when others use it by now
	}
	return errors.Join(errs...)
}

// Left lists the names of namespaces of this world that still exist, for tests
// that prove that none does.
func (w *World) Left() []string {
	entries, err := os.ReadDir(namesDir)
	if err != nil {
		return nil
	}
	var left []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), w.prefix) {
			left = append(left, e.Name())
		}
	}
	return left
}
