package health

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// serveArg makes the test binary the server of the benchmarks: in a process of its
// own, so that its time is not counted.
const serveArg = "serve-for-benchmark"

// serveForBenchmark answers TCP, HTTP, HTTPS and UDP until its input ends.
func serveForBenchmark() {
	var addrs []string
	serve := func(b func(net.Conn)) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		addrs = append(addrs, l.Addr().String())
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() { b(c); c.Close() }()
			}
		}()
	}
	hello := func(c net.Conn) {
		_, _ = bufio.NewReader(c).ReadString('\n')
		_, _ = io.WriteString(c, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhello")
	}
	serve(func(net.Conn) {})
	serve(hello)
	own, _, err := makeCertificate(time.Now().Add(time.Hour))
	if err != nil {
		panic(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{own}}
	serve(func(c net.Conn) { s := tls.Server(c, config); hello(s); s.Close() })
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() {
		for b := make([]byte, 600); ; {
			n, from, err := u.ReadFrom(b)
			if err != nil {
				return
			}
			b[2] |= 0x80 // an answer, if it was a question of DNS
			_, _ = u.WriteTo(b[:n], from)
		}
	}()
	addrs = append(addrs, u.LocalAddr().String())
	fmt.Fprintln(os.Stderr, strings.Join(addrs, " "))
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// benchServer starts it and returns its addresses: TCP, HTTP, HTTPS, UDP.
func benchServer(b *testing.B) (addrs []netip.AddrPort) {
	b.Helper()
	cmd := exec.Command("/proc/self/exe", serveArg)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StderrPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	for _, a := range strings.Fields(line) {
		addrs = append(addrs, netip.MustParseAddrPort(a))
	}
	return addrs
}

// cpu is the processor's time that this process has used, in both worlds.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// count is a user who counts the failures.
type count struct{ failed atomic.Int64 }

func (*count) Up(Server)                     {}
func (*count) Down(Server, error)            {}
func (*count) Weigh(Server, int)             {}
func (c *count) Failed(Server, Check, error) { c.failed.Add(1) }

// telling closes done when so many checks were made.
type telling struct {
	probe Probe
	left  *atomic.Int64
	done  chan struct{}
}

func (t telling) Probe(ctx context.Context) Finding {
	f := t.probe.Probe(ctx)
	if t.left.Add(-1) == 0 {
		close(t.done)
	}
	return f
}

// BenchmarkThousandServers runs the real schedule: 1,000 servers, each every 3 s. It
// prints the processor's time for a check and what part of a core that is at 333 a
// second. Take -benchtime 3000x, for nine seconds of each.
func BenchmarkThousandServers(b *testing.B) {
	addrs := benchServer(b)
	way := func(i int) Way { return Way{To: addrs[i], Timeout: patient} }
	for _, kind := range []struct {
		name  string
		probe Probe
	}{
		{"TCP_CHECK", TCP{way(0)}},
		{"HTTP_GET", HTTP{Way: way(1), URLs: []URL{{Path: "/"}}}},
		{"SSL_GET", HTTP{Way: way(2), TLS: true, URLs: []URL{{Path: "/"}}}},
		{"UDP_CHECK", UDP{Way: way(3), RequireReply: true}},
		{"DNS_CHECK", DNS{Way: way(3)}},
		{"PING_CHECK", Ping{way(0)}},
	} {
		b.Run(kind.name, func(b *testing.B) {
			const servers, loop = 1000, 3 * time.Second
			var left atomic.Int64
			left.Store(int64(b.N))
			done, n := make(chan struct{}), &count{}
			s := Start(n)
			defer s.Stop()
			began := cpu(b)
			for i := range servers {
				c := NewCheck(telling{kind.probe, &left, done}, loop)
				if err := s.Set(Server(fmt.Sprint(i)), Target{Checks: []Check{c}}); err != nil {
					b.Fatal(err)
				}
			}
			<-done
			each := (cpu(b) - began) / time.Duration(b.N)
			if f := n.failed.Load(); f > 0 {
				b.Fatalf("%d checks failed", f)
			}
			b.ReportMetric(float64(each)/1e3, "cpu-µs/check")
			b.ReportMetric(100*each.Seconds()*servers/loop.Seconds(), "%core")
			b.ReportMetric(0, "ns/op")
		})
	}
}
