package health

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultTimeout is connect_timeout where nothing is said.
const DefaultTimeout = 5 * time.Second

// Way is how to reach a server: the options that all checkers over the network
// have in common.
type Way struct {
	// To is connect_ip and connect_port.
	To netip.AddrPort
	// From is bindto and bind_port. Without an address or a port the kernel
	// chooses it.
	From netip.AddrPort
	// Device is bind_if: what is sent leaves by it, whatever the routes say.
	Device string
	// Mark is fwmark, put on all that is sent. 0: none.
	Mark uint32
	// Timeout is connect_timeout: the whole check (for HTTP, each URL of it) has
	// to be over by then. 0 means [DefaultTimeout].
	Timeout time.Duration
}

// within gives a check its deadline.
func (w Way) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, cmp.Or(w.Timeout, DefaultTimeout))
}

// source is where the check comes from, or no address.
func (w Way) source() netip.AddrPort {
	from := w.From
	if !from.Addr().IsValid() && from.Port() != 0 {
		if w.To.Addr().Is4() {
			return netip.AddrPortFrom(netip.IPv4Unspecified(), from.Port())
		}
		return netip.AddrPortFrom(netip.IPv6Unspecified(), from.Port())
	}
	return from
}

// dialTCP connects. Every read and write on the line fails when ctx ends.
func (w Way) dialTCP(ctx context.Context) (*line, error) {
	var local net.Addr
	if from := w.source(); from.Addr().IsValid() {
		local = net.TCPAddrFromAddrPort(from)
	}
	return w.dial(ctx, "tcp", w.To.String(), local)
}

// dialUDP makes a connected socket, which hears of ICMP errors.
func (w Way) dialUDP(ctx context.Context) (*line, error) {
	var local net.Addr
	if from := w.source(); from.Addr().IsValid() {
		local = net.UDPAddrFromAddrPort(from)
	}
	return w.dial(ctx, "udp", w.To.String(), local)
}

// dialIP makes a raw socket that hears of its peer alone.
func (w Way) dialIP(ctx context.Context, network string) (*line, error) {
	var local net.Addr
	if from := w.From.Addr(); from.IsValid() {
		local = &net.IPAddr{IP: from.AsSlice(), Zone: from.Zone()}
	}
	return w.dial(ctx, network, w.To.Addr().String(), local)
}

func (w Way) dial(ctx context.Context, network, to string, local net.Addr) (*line, error) {
	d := net.Dialer{
		LocalAddr: local,
		// A check is over before the first keep-alive would be due, and has one address.
		KeepAlive: -1, FallbackDelay: -1,
		Control: w.control,
	}
	c, err := d.DialContext(ctx, network, to)
	if err != nil {
		return nil, err
	}
	return hold(ctx, c), nil
}

// control sets what has to be set before bind and connect.
func (w Way) control(network, _ string, raw syscall.RawConn) error {
	var err error
	if outer := raw.Control(func(fd uintptr) { err = w.setOptions(int(fd), network) }); outer != nil {
		return outer
	}
	return err
}

func (w Way) setOptions(fd int, network string) error {
	level, errors := unix.IPPROTO_IP, unix.IP_RECVERR
	if !w.To.Addr().Unmap().Is4() {
		level, errors = unix.IPPROTO_IPV6, unix.IPV6_RECVERR
	}
	if network[:3] == "tcp" {
		if err := w.setPort(fd); err != nil {
			return err
		}
	} else if err := unix.SetsockoptInt(fd, level, errors, 1); err != nil {
		// Without it the kernel keeps "no route to host" from a UDP or raw socket.
		return err
	}
	if w.Device != "" {
		if err := unix.BindToDevice(fd, w.Device); err != nil {
			return err
		}
	}
	if w.Mark != 0 {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(w.Mark))
	}
	return nil
}

// setPort says how the local port is come by. A given one is in TIME_WAIT since
// the check before; a chosen one shall be chosen at connect, where it has to be
// unique for this server only, not for the whole address.
func (w Way) setPort(fd int) error {
	if w.From.Port() != 0 {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
}

// line is a connection that lives no longer than its context.
type line struct {
	net.Conn
	let  func() bool
	gone chan struct{}
}

// past is a deadline that was missed.
var past = time.Unix(1, 0)

func hold(ctx context.Context, c net.Conn) *line {
	l := &line{Conn: c, gone: make(chan struct{})}
	l.let = context.AfterFunc(ctx, func() {
		defer close(l.gone)
		// It fails for a connection that is closed already, which is as good.
		_ = c.SetDeadline(past)
	})
	return l
}

// hangUp closes the connection, and leaves nobody who watches over it.
func (l *line) hangUp() {
	if !l.let() {
		<-l.gone
	}
	// What a check had to say it has said: there is nothing to lose.
	_ = l.Close()
}
