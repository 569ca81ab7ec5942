package vrrp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"weir/internal/config/keepalivedconf"
)

// Options of the program.
type Options struct {
	Path string       // of the stock keepalived
	Dir  string       // of its own, which is made
	Args []string     // further options for it
	Log  *slog.Logger // what it says goes there too
	// Told hears of each state of an instance, in order, from one goroutine at a time;
	// "" as the instance means all of them.
	Told func(instance string, s State)
}

// How long it waits before it starts a program again that died, and how long that has to
// live for the next wait to be short.
const (
	shortest = time.Second
	longest  = 30 * time.Second
	healthy  = time.Minute
)

// stopping is how long the program may take to say goodbye: it waits a second itself.
const stopping = 5 * time.Second

// Program is the stock keepalived, kept alive.
type Program struct {
	o    Options
	fifo *os.File

	mu      sync.Mutex
	process *os.Process // nil while there is none
	told    sync.Mutex  // guards calls of o.Told

	stop    chan struct{}
	stopped chan struct{} // nobody watches any more
	read    chan struct{} // nobody reads the FIFO any more
}

func (o *Options) file() string { return filepath.Join(o.Dir, "keepalived.conf") }
func (o *Options) pipe() string { return filepath.Join(o.Dir, "notify") }

// Start writes the file and starts the program.
func Start(o Options, conf *keepalivedconf.Config) (*Program, error) {
	p := &Program{o: o, stop: make(chan struct{}), stopped: make(chan struct{}), read: make(chan struct{})}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	if err := write(&o, conf); err != nil {
		return nil, err
	}
	if err := p.openFIFO(); err != nil {
		return nil, err
	}
	go p.listen()
	go p.watch()
	return p, nil
}

// write puts the stock program's file in its place. It holds auth_pass.
func write(o *Options, conf *keepalivedconf.Config) error {
	var text bytes.Buffer
	if err := conf.WriteStockFor(&text, o.pipe()); err != nil {
		return err
	}
	next := o.file() + ".new"
	if err := os.WriteFile(next, text.Bytes(), 0o600); err != nil {
		return err
	}
	return os.Rename(next, o.file())
}

// Check has the stock program judge the file that it would get, and returns what it says:
// "" if it has nothing to say.
func Check(path string, conf *keepalivedconf.Config) (string, error) {
	dir, err := os.MkdirTemp("", "keepalived-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	o := Options{Path: path, Dir: dir}
	if err := write(&o, conf); err != nil {
		return "", err
	}
	said, err := exec.Command(path, "--vrrp", "-t", "-f", o.file()).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return "", err
	}
	return strings.TrimSpace(string(said)), nil
}

// Reload gives the program another file. It reads it and keeps its states.
func (p *Program) Reload(conf *keepalivedconf.Config) error {
	if err := write(&p.o, conf); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process == nil {
		return nil // it will read the file when it is started again
	}
	return p.process.Signal(syscall.SIGHUP)
}

// Signal hands a signal on to the program, if it is there.
func (p *Program) Signal(s os.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process == nil {
		return nil
	}
	return p.process.Signal(s)
}

// Stop ends the program, which tells the other nodes, and returns when it has.
func (p *Program) Stop() {
	close(p.stop)
	<-p.stopped
	_ = p.fifo.SetReadDeadline(time.Unix(1, 0))
	<-p.read
	_ = p.fifo.Close()
	for _, name := range []string{p.o.pipe(), p.o.file(), p.pid("keepalived"), p.pid("vrrp")} {
		_ = os.Remove(name) // the pid files are the program's own to remove
	}
	_ = os.Remove(p.o.Dir)
}

func (p *Program) pid(name string) string { return filepath.Join(p.o.Dir, name+".pid") }

// openFIFO makes the FIFO. Open for both ways, it never comes to its end.
func (p *Program) openFIFO() error {
	path := p.o.pipe()
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		return fmt.Errorf("make the FIFO %s: %w", path, err)
	}
	var err error
	p.fifo, err = os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
	return err
}

// listen tells what the program writes to the FIFO.
func (p *Program) listen() {
	defer close(p.read)
	lines := bufio.NewScanner(p.fifo)
	for lines.Scan() {
		if instance, s, ok := parse(lines.Text()); ok {
			p.tell(instance, s)
		}
	}
}

func (p *Program) tell(instance string, s State) {
	p.told.Lock()
	defer p.told.Unlock()
	p.o.Told(instance, s)
}

// watch starts the program again and again. Its thread lives as long as the program: the
// kernel sends the signal of the parent's death when the thread ends that made the child.
func (p *Program) watch() {
	runtime.LockOSThread()
	defer close(p.stopped)
	wait := shortest
	for {
		began := time.Now()
		err := p.run()
		select {
		case <-p.stop:
			p.tell("", Stopped)
			return
		default:
		}
		p.tell("", Fault)
		if time.Since(began) > healthy {
			wait = shortest
		}
		p.o.Log.Error(fmt.Sprintf("vrrp: the stock keepalived ended, and is started again in %v", wait), "err", err)
		select {
		case <-p.stop:
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, longest)
	}
}

// run runs the program once, to its end.
func (p *Program) run() error {
	cmd := exec.Command(p.o.Path, append([]string{
		"--vrrp", "--dont-fork", "--log-console", "--no-syslog", "--use-file=" + p.o.file(),
		"--pid=" + p.pid("keepalived"), "--vrrp_pid=" + p.pid("vrrp"),
	}, p.o.Args...)...)
	// Its children end with it, by themselves.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	said, says, err := os.Pipe()
	if err != nil {
		return err
	}
	defer said.Close()
	cmd.Stderr = says
	for _, name := range []string{"keepalived", "vrrp"} {
		_ = os.Remove(p.pid(name)) // of one that was killed
	}
	err = cmd.Start()
	_ = says.Close()
	if err != nil {
		return err
	}
	p.hold(cmd.Process)
	relayed := make(chan struct{})
	go func() { defer close(relayed); p.relay(said) }()
	ended := make(chan struct{})
	go func() {
		select {
		case <-p.stop:
			_ = cmd.Process.Signal(syscall.SIGTERM)
			select {
			case <-time.After(stopping):
				_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			case <-ended:
			}
		case <-ended:
		}
	}()
	err = cmd.Wait()
	close(ended)
	p.hold(nil)
	// What it left behind in its group would go on as master; the group may be empty.
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
	_ = said.SetReadDeadline(time.Now().Add(stopping))
	<-relayed
	return err
}

func (p *Program) hold(process *os.Process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.process = process
}

// dated is the date that the program puts before its lines, "Fri Nov 27 20:35:23 2026: ".
const dated = len("Fri Nov 27 20:35:23 2026: ")

// relay copies the program's log into ours.
func (p *Program) relay(said io.Reader) {
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		line := lines.Text()
		if len(line) > dated && line[dated-2:dated] == ": " {
			line = line[dated:]
		}
		p.o.Log.Info("vrrp: " + line)
	}
}
