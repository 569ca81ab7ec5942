package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"weir/internal/testkit/netns"
)

// errorCount is how many ICMP errors a server's socket heard.
type errorCount struct{ atomic.Int64 }

// answerers starts the servers: they are sockets of the machines and goroutines of
// the test. A UDP server has a socket for each of its addresses, so that it answers
// from the one that it was asked at.
func (b *matrixBed) answerers() {
	b.t.Helper()
	for _, s := range []struct {
		in    *netns.Namespace
		ports []int
		addrs []netip.Addr
	}{
		{b.near, []int{echoPort, mutePort}, addrsOf(matrixNear)},
		{b.far, []int{narrowPort}, addrsOf(matrixFar)},
		{b.holder, []int{echoPort, narrowPort}, b.held()},
		{b.client(), []int{echoPort}, addrsOf(matrixClient)},
		{b.outside, []int{narrowPort}, addrsOf(matrixOutside)},
	} {
		for _, port := range s.ports {
			b.echoTCP(s.in, port)
			for _, a := range s.addrs {
				b.echoUDP(s.in, endpoint(a, port), &errorCount{})
			}
		}
	}
	b.refused = &errorCount{}
	for _, a := range b.held() {
		b.echoUDP(b.holder, endpoint(a, mutePort), b.refused)
	}
}

func addrsOf(a byFamily) []netip.Addr { return []netip.Addr{a[4], a[6]} }

// held are the VIPs that holder has.
func (b *matrixBed) held() (all []netip.Addr) {
	for _, mode := range []string{dr, tunnel} {
		for _, vip := range matrixVIPs[mode] {
			all = append(all, netip.MustParseAddr(vip))
		}
	}
	return all
}

// echoTCP says again what it hears, on a port of all addresses.
func (b *matrixBed) echoTCP(in *netns.Namespace, port int) {
	b.t.Helper()
	l, err := in.Listen("tcp", fmt.Sprintf(":%d", port))
	b.must(err)
	b.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c) // the client sees how far it came
			}()
		}
	}()
}

// echoUDP says datagrams again until the test ends, and counts refusals.
func (b *matrixBed) echoUDP(in *netns.Namespace, address string, refused *errorCount) {
	b.t.Helper()
	c, err := in.ListenPacket("udp", address)
	b.must(err)
	b.t.Cleanup(func() { c.Close() })
	b.must(hearErrors(c))
	go refused.echoes(c)
}

// hearErrors makes a socket hear the ICMP errors that its datagrams caused, as a
// connected one does.
func hearErrors(c net.PacketConn) error {
	raw, err := c.(*net.UDPConn).SyscallConn()
	if err != nil {
		return err
	}
	level, option := unix.IPPROTO_IP, unix.IP_RECVERR
	if c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().Is6() {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVERR
	}
	return errors.Join(raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, 1) }), err)
}

// echoes says datagrams again and counts the refusals. Other errors about its answers
// it takes as they come: who asked asks again.
func (n *errorCount) echoes(c net.PacketConn) {
	buf := make([]byte, 65536)
	for {
		got, from, err := c.ReadFrom(buf)
		if err == nil {
			_, err = c.WriteTo(buf[:got], from)
		}
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			n.Add(1)
		case errors.Is(err, net.ErrClosed):
			return
		}
	}
}

// dial connects from a machine.
func (b *matrixBed) dial(in *netns.Namespace, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), requestPatience)
	defer cancel()
	return in.Dial(ctx, network, address)
}

// newDecapsulator unpacks what is tunnelled to a machine, for a kernel that has no
// tunnel devices: raw sockets take IPv4 and IPv6 out of either, and a TUN device
// gives it to the machine's own stack. TestTutorialTunnel has the devices themselves.
func newDecapsulator(t *testing.T, in *netns.Namespace) {
	t.Helper()
	err := in.Do(func() error {
		tun, err := newTUN("decap0")
		if err != nil {
			return err
		}
		t.Cleanup(func() { unix.Close(tun) })
		for _, outer := range []int{unix.AF_INET, unix.AF_INET6} {
			for _, inner := range []int{unix.IPPROTO_IPIP, unix.IPPROTO_IPV6} {
				// Blocking: closing them wakes no reader, a timeout does.
				fd, err := unix.Socket(outer, unix.SOCK_RAW|unix.SOCK_CLOEXEC, inner)
				if err != nil {
					return fmt.Errorf("raw socket for protocol %d: %w", inner, err)
				}
				// As far as the machine lets us: what is lost is sent again.
				_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20)
				if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}); err != nil {
					return err
				}
				d := &decapsulator{fd: fd, tun: tun, outer: outer, done: make(chan struct{})}
				go d.run()
				t.Cleanup(func() {
					d.ended.Store(true)
					<-d.done
				})
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Run(within(t, patience), "ip", "link", "set", "decap0", "up"); err != nil {
		t.Fatal(err)
	}
	if err := in.WriteSysctl("ipv4/conf/decap0/rp_filter", "0"); err != nil {
		t.Fatal(err)
	}
}

// decapsulator takes packets of one protocol out of those of one family.
type decapsulator struct {
	fd, tun int
	outer   int // AF_INET or AF_INET6
	ended   atomic.Bool
	done    chan struct{}
}

func (d *decapsulator) run() {
	defer close(d.done)
	defer unix.Close(d.fd)
	buf := make([]byte, 65536)
	for !d.ended.Load() {
		n, _, err := unix.Recvfrom(d.fd, buf, 0)
		if err != nil {
			continue
		}
		packet := buf[:n]
		if d.outer == unix.AF_INET {
			// A raw socket of IPv4 gives the header as well, one of IPv6 does not.
			packet = packet[int(packet[0]&15)*4:]
		}
		_, _ = unix.Write(d.tun, packet) // what the stack refuses is lost, as on a wire
	}
}

// newTUN makes a TUN device without a header of its own.
func newTUN(name string) (fd int, err error) {
	if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		return -1, fmt.Errorf("/dev/net/tun: %w", err)
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("make the TUN device %s: %w", name, err)
	}
	return fd, nil
}
