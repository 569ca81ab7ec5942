package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The web server and its client are processes of ours with one thread each that waits
// in epoll: they cost little beside the kernel's TCP, and the same in every run.

const (
	webPort   = 80
	iperfPort = 5201
)

// What the client asks for and what it must get, byte by byte.
var (
	requestKept   = []byte("GET / HTTP/1.1\r\nHost: bench\r\n\r\n")
	requestClosed = []byte("GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
	body          = strings.Repeat("weir bench peers", 4)
	answerKept    = []byte(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	answerClosed  = []byte(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body))
)

// poller is an epoll set, edge-triggered.
type poller struct {
	fd     int
	events [256]unix.EpollEvent
}

// raiseFiles lets this process, and those that it starts, have many sockets.
func raiseFiles() error {
	const files = 20000
	var has unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &has); err != nil || has.Cur >= files {
		return err
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: files, Max: max(files, has.Max)}); err != nil {
		return fmt.Errorf("raise the number of open files to %d (ulimit -n): %w", files, err)
	}
	return nil
}

// settle binds this goroutine to the generator's processor and makes it an epoll set.
func settle() (*poller, error) {
	if err := raiseFiles(); err != nil {
		return nil, err
	}
	runtime.LockOSThread()
	// The other processor is the balancer's: not the collector's, nor the scheduler's.
	if err := bindAll(generatorCPU); err != nil {
		return nil, err
	}
	debug.SetGCPercent(seldom)
	return newPoller()
}

// bindAll has all threads of this process run on a processor, and those that are born of them.
func bindAll(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	return setAll(&set)
}

func setAll(set *unix.CPUSet) error {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, task := range tasks {
		id, err := strconv.Atoi(task.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(id, set); err != nil && err != unix.ESRCH {
			return fmt.Errorf("bind thread %d: %w", id, err)
		}
	}
	return nil
}

// seldom has memory collected once in some 100 MB: in a run of short connections, once a minute.
const seldom = 3000

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	return &poller{fd: fd}, err
}

func (p *poller) add(fd int, events uint32) error {
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events | unix.EPOLLET, Fd: int32(fd)})
}

// wait waits for timeout ms, or for ever at -1.
func (p *poller) wait(timeout int) ([]unix.EpollEvent, error) {
	// Go's scheduler is not told: it would look after this thread thousands of times a second.
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), uintptr(timeout), 0, 0)
	return p.came(n, e)
}

// came is what a call of epoll's said.
func (p *poller) came(n uintptr, e unix.Errno) ([]unix.EpollEvent, error) {
	switch e {
	case 0:
		return p.events[:n], nil
	case unix.EINTR:
		return nil, nil
	}
	return nil, fmt.Errorf("epoll (Linux 5.11): %w", e)
}

// listen opens a listening socket.
func listen(at netip.AddrPort) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); err != nil {
		return -1, fmt.Errorf("listen on %s: %w", at, err)
	}
	return fd, unix.Listen(fd, 4096)
}

// peersServer answers requests until it is killed. It says a line when it can.
func peersServer() error {
	p, err := settle()
	if err != nil {
		return err
	}
	l, err := listen(netip.AddrPortFrom(netip.IPv4Unspecified(), webPort))
	if err != nil {
		return err
	}
	if err := p.add(l, unix.EPOLLIN); err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "listening")
	begun := make(map[int][]byte) // requests of which a part has come
	buf := make([]byte, 4096)
	for {
		events, err := p.wait(-1)
		if err != nil {
			return err
		}
		for _, e := range events {
			fd := int(e.Fd)
			if fd == l {
				if err := p.accept(l); err != nil {
					return err
				}
				continue
			}
			for serveOne(fd, buf, begun) {
			}
		}
	}
}

// accept takes all connections that wait.
func (p *poller) accept(l int) error {
	for {
		fd, _, err := unix.Accept4(l, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch err {
		case nil:
			_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
			if err := p.add(fd, unix.EPOLLIN); err != nil {
				return err
			}
		case unix.EAGAIN:
			return nil
		case unix.EINTR, unix.ECONNABORTED:
		default:
			return fmt.Errorf("accept: %w", err)
		}
	}
}

// serveOne reads once from a connection and answers a request that is whole; it
// reports whether there may be more to read.
func serveOne(fd int, buf []byte, begun map[int][]byte) bool {
	n, err := unix.Read(fd, buf)
	switch {
	case err == unix.EAGAIN:
		return false
	case err == unix.EINTR:
		return true
	case err != nil || n == 0:
		delete(begun, fd)
		_ = unix.Close(fd)
		return false
	}
	request := buf[:n]
	if part := begun[fd]; part != nil {
		request = append(part, request...)
		delete(begun, fd)
	}
	switch {
	case bytes.Equal(request, requestKept):
		_, err = unix.Write(fd, answerKept)
	case bytes.Equal(request, requestClosed):
		_, _ = unix.Write(fd, answerClosed)
		err = unix.EPIPE // this was all
	case len(request) < len(requestClosed) && !bytes.HasSuffix(request, []byte("\r\n\r\n")):
		begun[fd] = bytes.Clone(request)
	default:
		err = unix.EBADMSG
	}
	if err != nil {
		_ = unix.Close(fd)
		return false
	}
	return n == len(buf)
}
