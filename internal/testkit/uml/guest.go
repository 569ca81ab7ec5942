package uml

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

//go:embed guest/init
var initScript []byte

//go:embed guest/xstate.c
var xstateC []byte

// memory is the guest's, kept in a file of /dev/shm that grows as it is used.
const memory = "128M"

// Guest is a running kernel. Its methods are for one goroutine at a time.
type Guest struct {
	dir     string
	cmd     *exec.Cmd
	console io.WriteCloser
	lines   chan string // of the console; closed at its end
	cards   []*card
	scripts int

	guard     *exec.Cmd
	guardLife io.Closer

	mu  sync.Mutex
	log bytes.Buffer // all that the console said
}

// Boot boots a guest with network cards vec0, vec1 and so on, plugged in nowhere.
// It waits until the guest takes scripts. The caller must Close it.
func Boot(ctx context.Context, cards int) (_ *Guest, err error) {
	kernel, err := exec.LookPath("linux.uml")
	if err != nil {
		return nil, errors.New("user-mode Linux is missing: apt-get install user-mode-linux")
	}
	g := &Guest{lines: make(chan string, 1024)}
	// The guest's /run is its own, the host's /var/tmp it can read.
	if g.dir, err = os.MkdirTemp("/var/tmp", "weir-uml-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.Close())
		}
	}()
	preload, err := g.install(ctx)
	if err != nil {
		return nil, err
	}
	args := []string{
		"mem=" + memory, "quiet", "rootfstype=hostfs", "rootflags=/", "ro", "init=" + g.path("init"),
		"con0=fd:0,fd:1", "con=null", "umid=guest", "uml_dir=" + g.dir + "/",
	}
	g.cmd = exec.Command(kernel)
	for i := range cards {
		c, theirs, err := newCard()
		if err != nil {
			return nil, err
		}
		g.cards = append(g.cards, c)
		g.cmd.ExtraFiles = append(g.cmd.ExtraFiles, theirs)
		defer theirs.Close()
		args = append(args, fmt.Sprintf("vec%d:transport=fd,fd=%d,mac=02:55:4d:4c:00:%02x,depth=128,gro=0", i, 3+i, i))
	}
	g.cmd.Args = append(g.cmd.Args, args...)
	g.cmd.Env = append(os.Environ(), "LD_PRELOAD="+preload, "TMPDIR=/dev/shm")
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if g.console, err = g.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	said, err := g.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := g.cmd.Start(); err != nil {
		return nil, err
	}
	if err := g.startGuard(); err != nil {
		return nil, fmt.Errorf("start the guard of the guest: %w", err)
	}
	go g.listen(said)
	if _, err := g.await(ctx, "weir-ready"); err != nil {
		return nil, fmt.Errorf("user-mode Linux does not boot: %w\n%s", err, g.Console())
	}
	return g, nil
}

// startGuard starts a process that outlives us by a moment: its standard input ends
// when we end, however that happens, and then it kills the kernel's process group, in
// which its helpers are, and removes the folder.
func (g *Guest) startGuard() error {
	// No "--" before the group: dash's kill refuses it.
	const script = `cat >/dev/null; kill -KILL "-$1" 2>/dev/null; rm -rf "$2"`
	g.guard = exec.Command("/bin/sh", "-c", script, "guard", strconv.Itoa(g.cmd.Process.Pid), g.dir)
	g.guard.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	life, err := g.guard.StdinPipe()
	if err != nil {
		return err
	}
	g.guardLife = life
	return g.guard.Start()
}

// install writes what the guest needs to its folder, and returns the preload.
func (g *Guest) install(ctx context.Context) (preload string, err error) {
	if err := os.Chmod(g.dir, 0o755); err != nil {
		return "", err
	}
	source := g.path("xstate.c")
	if err := errors.Join(os.WriteFile(g.path("init"), initScript, 0o755), os.WriteFile(source, xstateC, 0o644)); err != nil {
		return "", err
	}
	preload = g.path("xstate.so")
	if out, err := exec.CommandContext(ctx, "gcc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", preload, source).CombinedOutput(); err != nil {
		return "", fmt.Errorf("gcc: %w\n%s", err, out)
	}
	// modprobe looks below a root for lib/modules.
	modules, err := filepath.Glob("/usr/lib/uml/modules/*")
	if err != nil || len(modules) != 1 {
		return "", fmt.Errorf("want one folder of modules in /usr/lib/uml/modules, there are %d", len(modules))
	}
	if err := os.MkdirAll(g.path("lib/modules"), 0o755); err != nil {
		return "", err
	}
	return preload, os.Symlink(modules[0], g.path("lib/modules/"+filepath.Base(modules[0])))
}

func (g *Guest) path(name string) string { return filepath.Join(g.dir, name) }

// listen reads the console to its end.
func (g *Guest) listen(said io.Reader) {
	defer close(g.lines)
	r := bufio.NewReader(said)
	for {
		line, err := r.ReadString('\n')
		g.mu.Lock()
		g.log.WriteString(line)
		g.mu.Unlock()
		if i := strings.Index(line, "weir-"); i >= 0 {
			g.lines <- strings.TrimSpace(line[i:])
		}
		if err != nil {
			return
		}
	}
}

// Console returns all that the guest's console said.
func (g *Guest) Console() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.log.String()
}

// await waits for a line of the console that begins with a word and returns the rest.
func (g *Guest) await(ctx context.Context, word string) (string, error) {
	for {
		select {
		case line, ok := <-g.lines:
			if !ok {
				return "", errors.New("the guest ended")
			}
			if rest, ok := strings.CutPrefix(line, word); ok {
				return strings.TrimSpace(rest), nil
			}
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

// Run runs a bash script in the guest, as root, and returns what it prints, errors
// included. A script that fails is an error. `modprobe` in it finds the guest's modules.
func (g *Guest) Run(ctx context.Context, script string) (string, error) {
	if g.dir == "" {
		return "", errors.New("the guest is closed")
	}
	g.scripts++
	name := g.path(fmt.Sprintf("%d.sh", g.scripts))
	text := "modprobe() { command modprobe -d " + g.dir + " \"$@\"; }\n" + script + "\n"
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		return "", err
	}
	if _, err := io.WriteString(g.console, name+"\n"); err != nil {
		return "", err
	}
	rest, err := g.await(ctx, "weir-done")
	if err != nil {
		return "", fmt.Errorf("the guest gives no answer to %q: %w\n%s", script, err, g.Console())
	}
	code, coded, _ := strings.Cut(rest, " ")
	out, err := base64.StdEncoding.DecodeString(coded)
	if err != nil {
		return "", fmt.Errorf("the guest answered %q: %w", rest, err)
	}
	if n, err := strconv.Atoi(code); err != nil || n != 0 {
		return string(out), fmt.Errorf("in the guest %q: exit code %s\n%s", script, code, out)
	}
	return string(out), nil
}

// Close ends the guest and removes what it left. It may be called again.
func (g *Guest) Close() error {
	if g.dir == "" {
		return nil
	}
	if g.cmd != nil && g.cmd.Process != nil {
		g.console.Close()
		// The whole group, for its helpers are in it. SIGTERM would let it shut down,
		// and one that is interrupted at the wrong place while it does so spins for ever.
		_ = unix.Kill(-g.cmd.Process.Pid, unix.SIGKILL)
		for range g.lines { // until the console has ended
		}
		_ = g.cmd.Wait() // it ends by our signal
	}
	for _, c := range g.cards {
		c.close()
	}
	dir := g.dir
	g.dir = ""
	if g.guard != nil && g.guard.Process != nil {
		g.guardLife.Close()
		return errors.Join(g.guard.Wait(), os.RemoveAll(dir))
	}
	return os.RemoveAll(dir)
}
