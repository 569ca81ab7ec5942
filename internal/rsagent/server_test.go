package rsagent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Servers in Go, in a process of their own: they say "ready", and then a line for
// each connection or datagram.

func reusePort(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }); e != nil {
		return e
	}
	return err
}

// playTCP is `tcp NETWORK ADDRESS LISTENERS [mptcp]`.
func playTCP(ctx context.Context, args []string) error {
	if len(args) < 3 {
		return errors.New("tcp NETWORK ADDRESS LISTENERS [mptcp]")
	}
	lc := net.ListenConfig{Control: reusePort}
	lc.SetMultipathTCP(slices.Contains(args, "mptcp"))
	var listeners int
	if _, err := fmt.Sscan(args[2], &listeners); err != nil {
		return err
	}
	said := make(chan string)
	for range listeners {
		l, err := lc.Listen(ctx, args[0], args[1])
		if err != nil {
			return err
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					said <- "error " + err.Error()
					return
				}
				said <- "peer remote=" + c.RemoteAddr().String()
				_ = c.Close()
			}
		}()
	}
	fmt.Fprintln(os.Stdout, "ready")
	for {
		fmt.Fprintln(os.Stdout, <-said)
	}
}

// playUDP is `udp NETWORK ADDRESS [connect]`: an echo server, with a socket for all
// clients or one for each.
func playUDP(args []string) error {
	if len(args) < 2 {
		return errors.New("udp NETWORK ADDRESS [connect]")
	}
	lc := net.ListenConfig{Control: reusePort}
	p, err := lc.ListenPacket(context.Background(), args[0], args[1])
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "ready")
	buf := make([]byte, 65536)
	for {
		n, from, err := p.ReadFrom(buf)
		if err != nil {
			return err
		}
		if !slices.Contains(args, "connect") {
			fmt.Fprintf(os.Stdout, "from=%s bytes=%d\n", from, n)
			if _, err := p.WriteTo(buf[:n], from); err != nil {
				return err
			}
			continue
		}
		d := net.Dialer{LocalAddr: p.LocalAddr(), Control: reusePort}
		c, err := d.Dial(args[0], from.String())
		if err != nil {
			return err
		}
		peer, err := getpeername(c.(*net.UDPConn))
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stdout, "from=%s bytes=%d peer=%s\n", from, n, peer)
		if _, err := c.Write(buf[:n]); err != nil {
			return err
		}
		_ = c.Close()
		fmt.Fprintln(os.Stdout, "closed") // what comes now comes to the first socket again
	}
}

// getpeername asks the kernel: Go's own answer is what was dialled.
func getpeername(c *net.UDPConn) (peer string, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return "", err
	}
	var sa unix.Sockaddr
	if e := raw.Control(func(fd uintptr) { sa, err = unix.Getpeername(int(fd)) }); e != nil {
		return "", e
	}
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return (&net.UDPAddr{IP: a.Addr[:], Port: a.Port}).String(), err
	case *unix.SockaddrInet6:
		return (&net.UDPAddr{IP: a.Addr[:], Port: a.Port}).String(), err
	}
	return "", errors.Join(err, fmt.Errorf("getpeername gave %T", sa))
}
