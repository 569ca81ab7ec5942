package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"weir/internal/testkit/netns"
)

const (
	// matrixBytes go each way in every cell.
	matrixBytes = 1 << 20
	// large is a datagram that travels in fragments.
	large = 8192
)

// asker returns the machine that asks in a cell, and whom it asks by a port.
func (b *matrixBed) asker(c matrixCell, port int) (*netns.Namespace, netip.Addr) {
	switch {
	case c.mode != snat:
		return b.client(), c.vip()
	case port == narrowPort:
		return b.inside, matrixOutside[c.pair.before]
	}
	return b.inside, matrixClient[c.pair.before]
}

// carries runs all that a cell shows.
func (b *matrixBed) carries(c matrixCell) {
	switch c.proto {
	case tcp:
		b.streams(c, echoPort, matrixBytes)
		b.refusesTCP(c)
		b.errsTCP(c)
	case udp:
		b.datagrams(c)
		b.refusesUDP(c)
		b.errsUDP(c)
		b.echo(c, echoPort, large)
	case icmp:
		b.pings(c)
	}
	b.narrows(c)
}

// streams sends bytes to a server that says them again.
func (b *matrixBed) streams(c matrixCell, port, n int) {
	b.t.Helper()
	in, at := b.asker(c, port)
	conn, err := b.dial(in, "tcp", endpoint(at, port))
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Close()
	b.must(conn.SetDeadline(time.Now().Add(requestPatience)))
	said := noiseBytes(b.t, n)
	sent := make(chan error, 1)
	go func() {
		_, err := conn.Write(said)
		sent <- errors.Join(err, conn.(*net.TCPConn).CloseWrite())
	}()
	heard, err := io.ReadAll(conn)
	if err != nil {
		conn.Close() // the writer's end
	}
	if err := errors.Join(err, <-sent); err != nil || !bytes.Equal(heard, said) {
		b.t.Fatalf("port %d said %d bytes of %d again (%v), and the first wrong one is at %d", port, len(heard), n, err, firstWrong(heard, said))
	}
}

// firstWrong is where two texts begin to differ.
func firstWrong(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// datagrams sends as many bytes, one datagram after the other.
func (b *matrixBed) datagrams(c matrixCell) {
	b.t.Helper()
	const each = 1024
	in, at := b.asker(c, echoPort)
	conn, err := b.dial(in, "udp", endpoint(at, echoPort))
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Close()
	said := noiseBytes(b.t, matrixBytes)
	for i := 0; i < len(said); i += each {
		if err := again(conn, said[i:i+each]); err != nil {
			b.t.Fatalf("datagram %d of %d: %v", i/each, len(said)/each, err)
		}
	}
}

// again sends a datagram until it comes back. Nobody but us repeats what a kernel
// lost; but it must not be lost five times.
func again(conn net.Conn, data []byte) (err error) {
	buf := make([]byte, 65536)
	for range 5 {
		if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
			return err
		}
		var n int
		if _, err = conn.Write(data); err == nil {
			n, err = conn.Read(buf)
		}
		switch {
		case err == nil && bytes.Equal(buf[:n], data):
			return nil
		case err == nil:
			return fmt.Errorf("%d bytes came back for %d, wrong from byte %d", n, len(data), firstWrong(buf[:n], data))
		// Too large for a way that is only now known: the kernel cuts up the next one.
		case !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, syscall.EMSGSIZE):
			return err
		}
	}
	return err
}

// echo sends one datagram of a size to and fro.
func (b *matrixBed) echo(c matrixCell, port, size int) {
	b.t.Helper()
	in, at := b.asker(c, port)
	conn, err := b.dial(in, "udp", endpoint(at, port))
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Close()
	if err := again(conn, noiseBytes(b.t, size)); err != nil {
		b.t.Errorf("a datagram of %d bytes to port %d: %v", size, port, err)
	}
}

// refusesTCP: nobody serves the port, and the client hears the real server's RST.
func (b *matrixBed) refusesTCP(c matrixCell) {
	b.t.Helper()
	in, at := b.asker(c, closedPort)
	conn, err := b.dial(in, "tcp", endpoint(at, closedPort))
	if err == nil {
		conn.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		b.t.Errorf("TCP to a closed port: %v, want connection refused", err)
	}
}

// refusesUDP: nobody serves the port, and the client hears the real server's ICMP error.
func (b *matrixBed) refusesUDP(c matrixCell) {
	b.t.Helper()
	if err := b.errorOf(c, closedPort); !errors.Is(err, syscall.ECONNREFUSED) {
		b.t.Errorf("UDP to a closed port: %v, want connection refused", err)
	}
}

// errorOf sends datagrams until the socket has an error for it.
func (b *matrixBed) errorOf(c matrixCell, port int) error {
	b.t.Helper()
	in, at := b.asker(c, port)
	conn, err := b.dial(in, "udp", endpoint(at, port))
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Close()
	return again(conn, []byte("?"))
}

// rejection is what a program hears of a firewall's ICMP error "administratively
// prohibited", which IPv4 and IPv6 have different words for.
func rejection(family int) error {
	if family == 6 {
		return syscall.EACCES
	}
	return syscall.EHOSTUNREACH
}

// oneWay tells whether real servers answer clients themselves.
func (c matrixCell) oneWay() bool { return c.mode == dr || c.mode == tunnel }

// errsTCP: an ICMP error about a connection reaches who has to know. Where answers
// come by the director, that is the client. Where they do not, the real server is
// told of what became of its answers.
func (b *matrixBed) errsTCP(c matrixCell) {
	b.t.Helper()
	if c.oneWay() {
		b.tellsServer(c)
		return
	}
	in, at := b.asker(c, rejectedPort)
	conn, err := b.dial(in, "tcp", endpoint(at, rejectedPort))
	if err == nil {
		conn.Close()
	}
	if want := rejection(c.pair.before); !errors.Is(err, want) {
		b.t.Errorf("TCP to a port that a firewall rejects: %v, want %v", err, want)
	}
}

// tellsServer: the real server's answers are too large for its way to the client, and
// the router there says so to the VIP, which is the director.
func (b *matrixBed) tellsServer(c matrixCell) {
	b.t.Helper()
	b.forget(b.holder)
	b.streams(c, echoPort, 64<<10)
	if mtu := b.pathMTU(b.holder, matrixClient[c.pair.before], c.vip()); mtu != narrowMTU {
		b.t.Errorf("the real server believes in an MTU of %d to the client, want %d as it was told by way of the director", mtu, narrowMTU)
	}
}

// errsUDP is errsTCP for UDP.
func (b *matrixBed) errsUDP(c matrixCell) {
	b.t.Helper()
	if !c.oneWay() {
		if err := b.errorOf(c, rejectedPort); !errors.Is(err, rejection(c.pair.before)) {
			b.t.Errorf("UDP to a port that a firewall rejects: %v, want %v", err, rejection(c.pair.before))
		}
		return
	}
	in, at := b.asker(c, mutePort)
	conn, err := b.dial(in, "udp", endpoint(at, mutePort))
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Close()
	before := b.refused.Load()
	eventually(b.t, "the real server hears that its answer was refused", func() bool {
		_, err := io.WriteString(conn, "?")
		b.must(err)
		return b.refused.Load() > before
	})
}

// forget makes a machine forget what it learnt of its ways.
func (b *matrixBed) forget(in *netns.Namespace) {
	b.t.Helper()
	b.run(in, "ip -4 route flush cache")
	b.run(in, "ip -6 route flush cache")
}

var mtuOf = regexp.MustCompile(` mtu (\d+)`)

// pathMTU is what a machine believes that the way takes; 0 for what its link takes.
func (b *matrixBed) pathMTU(in *netns.Namespace, to, from netip.Addr) int {
	b.t.Helper()
	line := "ip route get " + to.String()
	if from.IsValid() {
		line += " from " + from.String()
	}
	m := mtuOf.FindStringSubmatch(b.run(in, line))
	if m == nil {
		return 0
	}
	mtu, err := strconv.Atoi(m[1])
	b.must(err)
	return mtu
}

// seenMTU is what the asker must believe of a narrow way: the difference of the
// headers is the director's to know.
func (c matrixCell) seenMTU() int {
	const header4, header6 = 20, 40
	header := map[int]int{4: header4, 6: header6}
	if c.mode == tunnel {
		return narrowMTU - header[c.pair.behind]
	}
	return narrowMTU + header[c.pair.before] - header[c.pair.behind]
}

// optionRoom is what the director may keep for itself of the first segments: TOA's
// option has 8 bytes with an IPv4 client's address, 20 with an IPv6 one's.
const optionRoom = 20

// narrows: the way ends with less than the asker's link takes, he is told so, and
// what he sends arrives all the same.
func (b *matrixBed) narrows(c matrixCell) {
	b.t.Helper()
	in, at := b.asker(c, narrowPort)
	b.forget(in)
	switch c.proto {
	case tcp:
		b.forget(b.holder) // who knows of a narrow way back asks for small segments from the start
		b.streams(c, narrowPort, matrixBytes)
	case udp:
		b.echo(c, narrowPort, 1500-40-8) // the largest that IPv6 sends whole
	case icmp:
		out, err := in.Run(within(b.t, patience), "ping", "-c", "1", "-W", "5", "-M", "do", "-s", "1452", at.String())
		if err == nil {
			b.t.Errorf("a ping too large for the way was answered:\n%s", out)
		}
	}
	want := c.seenMTU()
	if mtu := b.pathMTU(in, at, netip.Addr{}); mtu > want || mtu < want-optionRoom {
		b.t.Errorf("the asker believes in an MTU of %d, want %d, or up to %d less", mtu, want, optionRoom)
	}
}

// pings is ICMP's part: as many bytes as the others, in fragments too, and the error
// of a router behind the director.
func (b *matrixBed) pings(c matrixCell) {
	b.t.Helper()
	in, at := b.asker(c, echoPort)
	const each = 1024
	count := matrixBytes / each
	// ping compares what comes back with what it sent.
	out := b.run(in, fmt.Sprintf("ping -q -f -c %d -s %d -W 5 %s", count, each, at))
	if !strings.Contains(out, fmt.Sprintf(" %d received,", count)) || strings.Contains(out, "wrong data") {
		b.t.Errorf("%d pings of %d bytes: %s", count, each, out)
	}
	if out := b.run(in, fmt.Sprintf("ping -c 3 -i 0.2 -s %d -W 5 %s", large, at)); !strings.Contains(out, " 3 received,") || strings.Contains(out, "wrong data") {
		b.t.Errorf("3 pings of %d bytes: %s", large, out)
	}
	// The director is the first hop, the client, which is outside's router, the second.
	hop := matrixClient[c.pair.before]
	out, err := in.Run(within(b.t, patience), "ping", "-c", "1", "-t", "2", "-W", "5", matrixOutside[c.pair.before].String())
	said := strings.ToLower(out)
	if err == nil || !strings.Contains(said, "from "+hop.String()) || !strings.Contains(said, "exceeded") {
		b.t.Errorf("a ping of two hops printed %q (%v), want that its time was over at %s", out, err, hop)
	}
}
