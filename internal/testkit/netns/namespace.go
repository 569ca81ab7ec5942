package netns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"
	vns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Namespace is one network namespace.
type Namespace struct {
	name, full string
	ns         vns.NsHandle
	links      *netlink.Handle
	ipv6       bool // the machine has IPv6

	// starts carries work to the resident: the one thread that lives in the
	// namespace as long as it exists. Programs are started from it because the
	// kernel sends a child's parent-death signal when the thread that made it
	// ends, not the process.
	starts chan func()
	leave  chan struct{} // closed to end the resident
	gone   chan struct{} // closed when the resident has ended

	mu    sync.Mutex
	procs []*Process
	tags  []io.Closer // see Tag
}

func newNamespace(name, full string) (*Namespace, error) {
	n := &Namespace{name: name, full: full, starts: make(chan func()), leave: make(chan struct{}), gone: make(chan struct{})}
	made := make(chan error)
	aside(func() { n.reside(made) })
	if err := <-made; err != nil {
		return nil, err
	}
	var err error
	if n.links, err = netlink.NewHandleAt(n.ns, unix.NETLINK_ROUTE); err != nil {
		return nil, errors.Join(err, n.close())
	}
	if err := n.askNobody(); err != nil {
		return nil, errors.Join(err, n.close())
	}
	if err := n.LinkUp("lo"); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

// askNobody keeps the links to come from asking whether somebody has their IPv6
// addresses already: until a second of silence has said no, they could not be used.
// On a machine that was started without IPv6 there is nothing to do.
func (n *Namespace) askNobody() error {
	for _, of := range []string{"all", "default"} {
		err := n.WriteSysctl("ipv6/conf/"+of+"/accept_dad", "0")
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	n.ipv6 = true
	return nil
}

// reside makes the namespace and stays in it.
func (n *Namespace) reside(made chan<- error) {
	defer close(n.gone)
	var err error
	n.ns, err = vns.NewNamed(n.full)
	made <- err
	if err != nil {
		return
	}
	for {
		select {
		case f := <-n.starts:
			f()
		case <-n.leave:
			return
		}
	}
}

// aside runs f on a thread that ends with it, so that nothing f does to its
// thread is met by others. It is never the main thread: that one can't end, and
// /proc/self would go on showing its namespace.
func aside(f func()) {
	go func() {
		runtime.LockOSThread() // never unlocked: the runtime ends the thread with the goroutine
		if unix.Gettid() != os.Getpid() {
			f()
			return
		}
		placed := make(chan struct{})
		aside(func() { close(placed); f() })
		<-placed // until now the main thread was held here
		runtime.UnlockOSThread()
	}()
}

// close ends the resident thread, the programs and the name.
func (n *Namespace) close() error {
	close(n.leave)
	<-n.gone // from here on nothing is started
	n.mu.Lock()
	procs := n.procs
	n.procs = nil
	n.mu.Unlock()
	for _, p := range procs {
		p.Kill()
	}
	if n.links != nil {
		n.links.Close()
	}
	for _, t := range n.tags {
		_ = t.Close()
	}
	return errors.Join(n.ns.Close(), vns.DeleteNamed(n.full))
}

// Name returns the short name; String the one that `ip netns` shows.
func (n *Namespace) Name() string   { return n.name }
func (n *Namespace) String() string { return n.full }

// Do runs f inside the namespace on a thread that is thrown away afterwards.
// Goroutines that f starts are not inside; sockets that f opens are, for good.
func (n *Namespace) Do(f func() error) error {
	done := make(chan error, 1)
	aside(func() {
		if err := vns.Set(n.ns); err != nil {
			done <- fmt.Errorf("enter namespace %s: %w", n.name, err)
			return
		}
		done <- f()
	})
	return <-done
}

// Listen listens inside the namespace.
func (n *Namespace) Listen(network, address string) (l net.Listener, err error) {
	err = n.Do(func() error {
		l, err = net.Listen(network, address)
		return err
	})
	return l, err
}

// ListenPacket opens a datagram socket inside the namespace.
func (n *Namespace) ListenPacket(network, address string) (c net.PacketConn, err error) {
	err = n.Do(func() error {
		c, err = net.ListenPacket(network, address)
		return err
	})
	return c, err
}

// Dial connects from inside the namespace. address must be an IP address and a
// port: names would be looked up on other threads, outside.
func (n *Namespace) Dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	err = n.Do(func() error {
		var d net.Dialer
		c, err = d.DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// WriteSysctl sets a value under /proc/sys/net of the namespace: key is
// "ipv4/ip_forward" and the like.
func (n *Namespace) WriteSysctl(key, value string) error {
	return n.Do(func() error { return os.WriteFile("/proc/sys/net/"+key, []byte(value), 0o644) })
}

// Start starts cmd inside the namespace and returns a handle on it. The process
// is killed with the namespace, or when our own process dies.
func (n *Namespace) Start(cmd *exec.Cmd) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	// A session of its own: Ctrl-C on the terminal is for us alone, who then
	// end the programs in their order.
	cmd.SysProcAttr.Setsid = true
	p := &Process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	start := func() {
		err := cmd.Start()
		if err == nil {
			n.mu.Lock()
			n.procs = append(n.procs, p)
			n.mu.Unlock()
			go p.reap()
		}
		started <- err
	}
	select {
	case n.starts <- start:
	case <-n.gone:
		return nil, fmt.Errorf("namespace %s is gone", n.name)
	}
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s in namespace %s: %w", cmd.Path, n.name, err)
	}
	return p, nil
}

// Run runs a program inside the namespace to its end and returns its standard
// output. The error of one that fails carries what it wrote to standard error.
func (n *Namespace) Run(ctx context.Context, program string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	p, err := n.Start(cmd)
	if err != nil {
		return "", err
	}
	if err := p.Wait(ctx); err != nil {
		said := strings.TrimSpace(stderr.String())
		return stdout.String(), fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, said)
	}
	return stdout.String(), nil
}
