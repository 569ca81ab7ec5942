package e2e

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The ports of the server that reads PROXY protocol headers.
const (
	greeterPort  = 9000 // TCP: greets the client by its address, then echoes
	sinkPort     = 9001 // TCP: reads to the end, then reports
	datagramPort = 9002 // UDP: reports each datagram
)

// proxySignature begins a header of version 2.
const proxySignature = "\r\n\r\n\x00\r\nQUIT\n"

// proxyHeader is a PROXY protocol header as a server reads it: written after the
// specification (proxy-protocol.txt of HAProxy), not after what the director does.
type proxyHeader struct {
	Version      int
	Source, Dest netip.AddrPort // invalid: the header names none
}

// readProxyHeader reads a header of either version off a stream.
func readProxyHeader(r *bufio.Reader) (h proxyHeader, err error) {
	first, err := r.Peek(6)
	if err != nil {
		return h, err
	}
	if string(first) == "PROXY " {
		line, err := r.ReadString('\n')
		if err != nil || len(line) > 107 {
			return h, fmt.Errorf("a header of version 1 that does not end: %q", line)
		}
		return parseProxyV1(line)
	}
	head, err := r.Peek(16)
	if err != nil || string(head[:12]) != proxySignature {
		return h, fmt.Errorf("no header: %q", head)
	}
	whole := make([]byte, 16+binary.BigEndian.Uint16(head[14:]))
	if _, err := io.ReadFull(r, whole); err != nil {
		return h, err
	}
	h, _, err = parseProxyV2(whole)
	return h, err
}

func parseProxyV1(line string) (h proxyHeader, err error) {
	h.Version = 1
	text, ok := strings.CutSuffix(line, "\r\n")
	words := strings.Split(text, " ")
	switch {
	case !ok || len(words) < 2:
	case words[1] == "UNKNOWN":
		return h, nil
	case len(words) != 6 || words[1] != "TCP4" && words[1] != "TCP6":
	default:
		var err1, err2 error
		h.Source, err1 = netip.ParseAddrPort(net.JoinHostPort(words[2], words[4]))
		h.Dest, err2 = netip.ParseAddrPort(net.JoinHostPort(words[3], words[5]))
		if err := errors.Join(err1, err2); err != nil {
			return h, err
		}
		return h, nil
	}
	return h, fmt.Errorf("a wrong header of version 1: %q", line)
}

// parseProxyV2 takes a header apart and returns how long it is.
func parseProxyV2(b []byte) (h proxyHeader, length int, err error) {
	if len(b) < 16 || string(b[:12]) != proxySignature {
		return h, 0, errors.New("no header of version 2")
	}
	length = 16 + int(binary.BigEndian.Uint16(b[14:]))
	h.Version = 2
	if length > len(b) || b[12]>>4 != 2 || b[12]&15 > 1 {
		return h, 0, fmt.Errorf("a wrong header of version 2: %x", b[:min(len(b), 64)])
	}
	if b[12]&15 == 0 { // LOCAL
		return h, length, nil
	}
	switch family := b[13] >> 4; {
	case family == 0:
	case family == 1 && length >= 28:
		h.Source = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[16:])), binary.BigEndian.Uint16(b[24:]))
		h.Dest = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[20:])), binary.BigEndian.Uint16(b[26:]))
	case family == 2 && length >= 52:
		h.Source = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[16:])), binary.BigEndian.Uint16(b[48:]))
		h.Dest = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[32:])), binary.BigEndian.Uint16(b[50:]))
	default:
		return h, 0, fmt.Errorf("a header of version 2 for family %d of %d bytes", family, length)
	}
	return h, length, nil
}

// proxyV1 and proxyV2 write headers, as a client does that pretends to be a proxy.
func proxyV1(source, dest netip.AddrPort) string {
	return fmt.Sprintf("PROXY TCP4 %s %s %d %d\r\n", source.Addr(), dest.Addr(), source.Port(), dest.Port())
}

func proxyV2(transport byte, source, dest netip.AddrPort) string {
	b := append([]byte(proxySignature), 0x21, 0x10|transport, 0, 12)
	s, d := source.Addr().As4(), dest.Addr().As4()
	b = append(append(b, s[:]...), d[:]...)
	b = binary.BigEndian.AppendUint16(b, source.Port())
	return string(binary.BigEndian.AppendUint16(b, dest.Port()))
}

// proxyReport is what a server got behind a header.
type proxyReport struct {
	proxyHeader
	Bytes int64
	Sum   string // SHA-256
	Begin string // the first bytes
	Error string

	// Of a datagram: whether the header was in it, and how many headers came in
	// datagrams of their own on this flow.
	Here  bool
	Ahead int
}

const beginning = 40

// got completes a report.
func (r *proxyReport) got(data io.Reader) {
	sum := sha256.New()
	var begin bytes.Buffer
	buf := make([]byte, 256<<10)
	for {
		n, err := data.Read(buf)
		r.Bytes += int64(n)
		sum.Write(buf[:n])
		begin.Write(buf[:min(n, max(0, beginning-begin.Len()))])
		if err == io.EOF {
			break
		}
		if err != nil {
			r.Error = err.Error()
			break
		}
	}
	r.Sum, r.Begin = hex.EncodeToString(sum.Sum(nil)), begin.String()
}

// holds fails the test unless a report names these addresses and this data.
func (r proxyReport) holds(t *testing.T, version int, source, dest netip.AddrPort, data []byte) {
	t.Helper()
	if r.Error != "" {
		t.Errorf("the server failed: %s", r.Error)
	}
	if r.Version != version || r.Source != source || r.Dest != dest {
		t.Errorf("the server read version %d, %s to %s; want version %d, %s to %s", r.Version, r.Source, r.Dest, version, source, dest)
	}
	sum := sha256.Sum256(data)
	if r.Bytes != int64(len(data)) || r.Sum != hex.EncodeToString(sum[:]) {
		t.Errorf("the server got %d bytes that begin with %q; want %d bytes that begin with %q",
			r.Bytes, r.Begin, len(data), data[:min(len(data), beginning)])
	}
}

// proxyServer serves all ports.
func proxyServer() error {
	greeter, err1 := net.Listen("tcp", ":"+strconv.Itoa(greeterPort))
	sink, err2 := net.Listen("tcp", ":"+strconv.Itoa(sinkPort))
	datagrams, err3 := net.ListenPacket("udp", ":"+strconv.Itoa(datagramPort))
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	var wg sync.WaitGroup
	wg.Go(func() { acceptAll(greeter, greet) })
	wg.Go(func() { acceptAll(sink, swallow) })
	wg.Go(func() { reportDatagrams(datagrams) })
	wg.Wait()
	return errors.New("a listener ended")
}

func acceptAll(l net.Listener, serve func(net.Conn) error) {
	for {
		conn, err := l.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return
		}
		go func() {
			defer conn.Close()
			if err := serve(conn); err != nil {
				fmt.Fprintln(os.Stderr, conn.RemoteAddr(), err)
			}
		}()
	}
}

// greet speaks first, as mail servers do, once it knows whom it greets.
func greet(conn net.Conn) error {
	r := bufio.NewReader(conn)
	h, err := readProxyHeader(r)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "220 version %d, %s to %s\n", h.Version, h.Source, h.Dest); err != nil {
		return err
	}
	_, err = io.Copy(conn, r)
	return err
}

// swallow reports what came when the client has said all.
func swallow(conn net.Conn) error {
	r := bufio.NewReader(conn)
	var report proxyReport
	var err error
	if report.proxyHeader, err = readProxyHeader(r); err != nil {
		report.Error = err.Error()
	}
	report.got(r)
	return json.NewEncoder(conn).Encode(report)
}

// reportDatagrams answers each datagram with data in it; one that is a header alone
// is remembered for its flow, as it would be by a server that is written for it.
func reportDatagrams(conn net.PacketConn) {
	flows := map[string]*proxyReport{}
	buf := make([]byte, 64<<10)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return
		}
		flow := flows[from.String()]
		if flow == nil {
			flow = &proxyReport{}
			flows[from.String()] = flow
		}
		data := buf[:n]
		h, length, err := parseProxyV2(data)
		if err == nil {
			flow.proxyHeader, data = h, data[length:]
			if len(data) == 0 {
				flow.Ahead++
				continue
			}
		}
		report := *flow
		report.Here = err == nil
		report.got(bytes.NewReader(data))
		answer, err := json.Marshal(report)
		if err == nil {
			_, err = conn.WriteTo(answer, from)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
}

// proxyServer starts it on a real server.
func (d *director) proxyServer(i int) {
	d.t.Helper()
	d.startCmd(d.rs(i), roleCommand("proxy-server"))
	// The sink would take a probe for a client; look at the sockets instead.
	for _, port := range []string{"-t sport = :9000", "-t sport = :9001", "-u sport = :9002"} {
		eventually(d.t, "the server listens", func() bool { return d.run(d.rs(i), "ss -Hln "+port) != "" })
	}
}

// The reader of headers takes what the specification shows and nothing else.
func TestProxyHeader(t *testing.T) {
	source, dest := netip.MustParseAddrPort("10.0.0.48:37177"), netip.MustParseAddrPort("10.0.0.100:80")
	both := proxyHeader{Source: source, Dest: dest}
	v6 := "PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n"
	for name, row := range map[string]struct {
		text string
		want proxyHeader
		ok   bool
	}{
		"version 1":                {"PROXY TCP4 10.0.0.48 10.0.0.100 37177 80\r\nGET", proxyHeader{1, source, dest}, true},
		"version 1, written":       {proxyV1(source, dest), proxyHeader{1, source, dest}, true},
		"version 1, IPv6":          {v6, proxyHeader{1, netip.MustParseAddrPort("[2001:db8::1]:1"), netip.MustParseAddrPort("[2001:db8::2]:2")}, true},
		"version 1, unknown":       {"PROXY UNKNOWN\r\n", proxyHeader{Version: 1}, true},
		"version 1, no CR":         {"PROXY TCP4 10.0.0.48 10.0.0.100 37177 80\nGET", proxyHeader{}, false},
		"version 1, no port":       {"PROXY TCP4 10.0.0.48 10.0.0.100 37177\r\n", proxyHeader{}, false},
		"version 1, two spaces":    {"PROXY TCP4  10.0.0.48 10.0.0.100 37177 80\r\n", proxyHeader{}, false},
		"version 2":                {proxySignature + "\x21\x11\x00\x0c\x0a\x00\x00\x30\x0a\x00\x00\x64\x91\x39\x00\x50", proxyHeader{2, both.Source, both.Dest}, true},
		"version 2, written":       {proxyV2(1, source, dest) + "data", proxyHeader{2, source, dest}, true},
		"version 2, with more":     {proxySignature + "\x21\x11\x00\x0f\x0a\x00\x00\x30\x0a\x00\x00\x64\x91\x39\x00\x50\x04\x00\x00", proxyHeader{2, source, dest}, true},
		"version 2, local":         {proxySignature + "\x20\x00\x00\x00", proxyHeader{Version: 2}, true},
		"version 2, short":         {proxySignature + "\x21\x11\x00\x04\x0a\x00\x00\x30", proxyHeader{}, false},
		"version 2, cut":           {proxySignature + "\x21\x11\x00\x0c\x0a\x00", proxyHeader{}, false},
		"version 3":                {proxySignature + "\x31\x11\x00\x0c\x0a\x00\x00\x30\x0a\x00\x00\x64\x91\x39\x00\x50", proxyHeader{}, false},
		"no header":                {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", proxyHeader{}, false},
		"the local address's data": {"PROXIED", proxyHeader{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readProxyHeader(bufio.NewReader(strings.NewReader(row.text)))
			if (err == nil) != row.ok || row.ok && got != row.want {
				t.Errorf("read %+v, %v; want %+v, %v", got, err, row.want, row.ok)
			}
		})
	}
}

// converse says something to the sink in pieces and returns what it reports.
func converse(t *testing.T, conn net.Conn, pieces ...[]byte) (r proxyReport) {
	t.Helper()
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	for _, p := range pieces {
		if _, err := conn.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err == nil {
		err = json.Unmarshal(answer, &r)
	}
	if err != nil {
		t.Fatalf("the sink answered %q: %v", answer, err)
	}
	return r
}
