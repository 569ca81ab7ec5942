package health

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == serveArg {
		serveForBenchmark()
		return
	}
	goleak.VerifyTestMain(m)
}

// Timeouts of checks: one that nobody shall wait for, and one that passes.
const (
	patient = 20 * time.Second
	hasty   = 60 * time.Millisecond
)

// both are the addresses that servers of the tests have.
var both = []struct{ name, addr string }{{"v4", "127.0.0.1"}, {"v6", "::1"}}

// inBoth runs a test in both families.
func inBoth(t *testing.T, f func(t *testing.T, addr string)) {
	t.Helper()
	for _, b := range both {
		t.Run(b.name, func(t *testing.T) { f(t, b.addr) })
	}
}

// behaviour is what a server does with a connection, which is closed after it. A
// function that returns when the other side has gone is silent.
type behaviour func(c *net.TCPConn)

func says(text string) behaviour {
	return func(c *net.TCPConn) {
		_, _ = bufio.NewReader(c).ReadString('\n')
		_, _ = io.WriteString(c, text)
	}
}

func silent(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }

// resets answers with RST.
func resets(c *net.TCPConn) { _ = c.SetLinger(0) }

// drips says something, and then a byte at a time for ever.
func drips(first string) behaviour {
	return func(c *net.TCPConn) {
		_, err := io.WriteString(c, first)
		for tick := time.NewTicker(hasty / 10); err == nil; <-tick.C {
			_, err = c.Write([]byte("x"))
		}
	}
}

// listen is a server that behaves in some way until the test ends.
func listen(t *testing.T, addr string, b behaviour) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b(c.(*net.TCPConn))
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-ended })
	return netip.MustParseAddrPort(l.Addr().String())
}

// listenUDP is a server that answers each datagram with some others.
func listenUDP(t *testing.T, addr string, answer func(question []byte) [][]byte) netip.AddrPort {
	t.Helper()
	l, err := net.ListenPacket("udp", net.JoinHostPort(addr, "0"))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b := make([]byte, 2000)
		for {
			n, from, err := l.ReadFrom(b)
			if err != nil {
				return
			}
			for _, a := range answer(b[:n]) {
				_, _ = l.WriteTo(a, from)
			}
		}
	}()
	t.Cleanup(func() { l.Close(); <-ended })
	return netip.MustParseAddrPort(l.LocalAddr().String())
}

// closed is a port where nobody listens.
func closed(t *testing.T, network, addr string) netip.AddrPort {
	t.Helper()
	if network == "udp" {
		l, err := net.ListenPacket(network, net.JoinHostPort(addr, "0"))
		must(t, err)
		defer l.Close()
		return netip.MustParseAddrPort(l.LocalAddr().String())
	}
	l, err := net.Listen(network, net.JoinHostPort(addr, "0"))
	must(t, err)
	defer l.Close()
	return netip.MustParseAddrPort(l.Addr().String())
}

// expect asks once: want is a piece of what is wrong, or "" where all is well.
func expect(t *testing.T, p Probe, want string) {
	t.Helper()
	f := p.Probe(context.Background())
	if (f.Err == nil) != (want == "") || f.Err != nil && !strings.Contains(f.Err.Error(), want) {
		t.Errorf("found %v, want %q", f.Err, want)
	}
}
