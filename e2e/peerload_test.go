package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weir/internal/testkit/netns"
)

// manyClients are the addresses of the client's machine that the loads below
// leave from, in turn; see manyAddresses.
var manyClients = netip.MustParsePrefix("10.0.4.0/22")

// manyClients6 are those that it has of IPv6; see manyAddresses6.
var manyClients6 = netip.MustParsePrefix("2001:db8:4::/118")

// manyAddresses gives the client's machine all of manyClients: what is routed as
// local is answered for in ARP and may be a socket's source.
func (b *bed) manyAddresses() {
	b.t.Helper()
	b.run(b.client(), "ip route add local "+manyClients.String()+" dev lo")
}

// manyAddresses6 gives it all of manyClients6. Linux does not answer for them in
// neighbour discovery: the director has a route to them by the client's own address.
func (d *director) manyAddresses6() {
	d.t.Helper()
	d.run(d.client(), "ip -6 route add local "+manyClients6.String()+" dev lo")
	if err := d.client().WriteSysctl("ipv6/ip_nonlocal_bind", "1"); err != nil {
		d.t.Fatal(err)
	}
	d.do("./dpip route add " + manyClients6.String() + " via " + netns.ClientAddr6.Addr().String() + " dev dpdk1")
}

// greatestDatagrams is how many datagrams a flow of UDP has at most: beyond the
// first three, which carry the option of address.
const greatestDatagrams = 5

// peerResult is what a load heard from servers that say which client they see.
type peerResult struct {
	Connections, Failures, Wrong int64
	Clients                      int                         // different source addresses
	Errors                       map[string]int64            // the failures by what they were
	Targets                      map[string]int64            // the connections by where they went
	Asked                        map[string][]netip.AddrPort // the clients of those, each as often as it asked
	Samples                      []string                    // the first wrong answers
	Slowest, Took                time.Duration
}

// right fails the test unless there were at least n connections, and each showed
// the server its true client.
func (r peerResult) right(t *testing.T, n int64) {
	t.Helper()
	t.Logf("%d connections from %d addresses, %d failed, %d wrong, %.0f/s, slowest %s, by service %v",
		r.Connections, r.Clients, r.Failures, r.Wrong, float64(r.Connections)/r.Took.Seconds(), r.Slowest.Round(time.Millisecond), r.Targets)
	if r.Failures > 0 || r.Wrong > 0 {
		t.Errorf("%d failures: %v; %d wrong: %q", r.Failures, r.Errors, r.Wrong, r.Samples)
	}
	if r.Connections < n {
		t.Errorf("%d connections, want at least %d", r.Connections, n)
	}
	if n >= 1000 && r.Clients < 200 {
		t.Errorf("they came from %d addresses: that is not many", r.Clients)
	}
}

// askKinds are the kinds of load. Each makes one connection, and returns where it left from.
var askKinds = map[string]func(source netip.Addr, target string) (me netip.AddrPort, err error){
	"tcp": askTCP, "toa": askTOA, "udp": askUDP, "udp46": askUDP46, "uoa": askUOA, "dns": askDNS,
}

// peerLoad is a load that goes on until SIGTERM: KIND CONCURRENCY ADDRESS... The
// addresses take turns.
func peerLoad(args []string) (peerResult, error) {
	if len(args) < 3 {
		return peerResult{}, errors.New("peer-load KIND CONCURRENCY ADDRESS...")
	}
	ask := askKinds[args[0]]
	clients, err := strconv.Atoi(args[1])
	if ask == nil || err != nil {
		return peerResult{}, fmt.Errorf("peer-load: %q", args)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	l := &askers{ask: ask, targets: args[2:]}
	l.result = peerResult{Errors: map[string]int64{}, Targets: map[string]int64{}, Asked: map[string][]netip.AddrPort{}}
	l.sources = map[netip.Addr]bool{}
	start := time.Now()
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for ctx.Err() == nil {
				l.one()
			}
		})
	}
	wg.Wait()
	l.result.Took, l.result.Clients = time.Since(start), len(l.sources)
	return l.result, nil
}

type askers struct {
	ask     func(source netip.Addr, target string) (netip.AddrPort, error)
	targets []string
	turn    atomic.Int64

	mu      sync.Mutex
	result  peerResult
	sources map[netip.Addr]bool
}

// wrongPeer is an answer that names another client than the true one.
type wrongPeer struct{ got, want string }

func (w wrongPeer) Error() string { return fmt.Sprintf("%q, want %s", w.got, w.want) }

// one makes one connection from the next address to the next service.
func (l *askers) one() {
	turn := l.turn.Add(1)
	target := l.targets[turn%int64(len(l.targets))]
	source := clientAddress(int(turn)*37, target)
	begin := time.Now()
	me, err := l.ask(source, target)
	took := time.Since(begin)

	l.mu.Lock()
	defer l.mu.Unlock()
	r := &l.result
	r.Connections++
	r.Targets[target]++
	r.Asked[target] = append(r.Asked[target], me)
	r.Slowest = max(r.Slowest, took)
	l.sources[source] = true
	var wrong wrongPeer
	switch {
	case errors.As(err, &wrong):
		r.Wrong++
		if len(r.Samples) < 10 {
			r.Samples = append(r.Samples, target+": "+wrong.Error())
		}
	case err != nil:
		r.Failures++
		r.Errors[target+": "+reason(err)]++
	}
	if r.Connections%progressStep == 0 {
		fmt.Fprintf(os.Stdout, "answered %d\n", r.Connections)
	}
}

// clientAddress returns one of manyClients or, for a target of IPv6, of manyClients6:
// neither the first nor the last.
func clientAddress(i int, target string) netip.Addr {
	many := manyClients
	if strings.HasPrefix(target, "[") {
		many = manyClients6
	}
	a := many.Addr().AsSlice()
	n := 1 + i%(1<<(len(a)*8-many.Bits())-2)
	last := len(a) - 1
	a[last-1], a[last] = a[last-1]+byte(n>>8), byte(n)
	addr, _ := netip.AddrFromSlice(a)
	return addr
}

// seenClient reads an address with its port as programs write it: with brackets or
// without, and an IPv4 one of an IPv6 socket as ::ffff:a.b.c.d.
func seenClient(text string) netip.AddrPort {
	i := max(0, strings.LastIndexByte(text, ':'))
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text[:i], "["), "]"))
	port, e := strconv.ParseUint(text[min(i+1, len(text)):], 10, 16)
	if err != nil || e != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(port))
}

// localOf is where a connection leaves from.
func localOf(conn net.Conn) netip.AddrPort { return netip.MustParseAddrPort(conn.LocalAddr().String()) }

// embedded is a client as transparent UDP shows one of IPv4 that comes by IPv6
// (docs/real-servers.md; RFC 6052, section 2.2).
func embedded(client netip.AddrPort) netip.AddrPort {
	a := netip.MustParseAddr("64:ff9b::").As16()
	copy(a[12:], client.Addr().AsSlice())
	return netip.AddrPortFrom(netip.AddrFrom16(a), client.Port())
}

// askTCP asks an HTTP server once for the client that it sees.
func askTCP(source netip.Addr, target string) (netip.AddrPort, error) {
	return askHTTP(source, target, func(got string, me netip.AddrPort) bool {
		seen, ok := strings.CutPrefix(got, "Your ip:port : ")
		return ok && seenClient(strings.TrimSuffix(seen, "\n")) == me
	})
}

// askTOA asks the server that asks for the client by getsockopt.
func askTOA(source netip.Addr, target string) (netip.AddrPort, error) {
	return askHTTP(source, target, askedRight)
}

// askedRight judges an answer of the servers that ask for the client by getsockopt.
func askedRight(got string, me netip.AddrPort) bool {
	from, real, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(got, "from "), "\n"), ", real client ")
	return ok && seenClient(from).Addr() == netip.MustParseAddr("192.168.100.200") && seenClient(real) == me
}

// askHTTP asks an HTTP server once. The request names the client, so that the
// server's log can be judged as well.
func askHTTP(source netip.Addr, target string, right func(got string, me netip.AddrPort) bool) (me netip.AddrPort, err error) {
	d := net.Dialer{Timeout: requestPatience, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))}
	conn, err := d.Dial("tcp", target)
	if err != nil {
		return me, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(requestPatience)); err != nil {
		return me, err
	}
	me = localOf(conn)
	if _, err := fmt.Fprintf(conn, "GET /?%s HTTP/1.1\r\nHost: weir.test\r\nConnection: close\r\n\r\n", me); err != nil {
		return me, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return me, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return me, err
	}
	if got := string(body); !right(got, me) {
		return me, wrongPeer{got, me.String()}
	}
	return me, nil
}

// dialUDP makes a socket from a source address.
func dialUDP(source netip.Addr, target string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(source, 0))}
	conn, err := d.Dial("udp", target)
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(requestPatience))
	}
	return conn, err
}

// askUDP has a conversation of one to greatestDatagrams with a server that answers
// the client's address. Each datagram is sent once.
func askUDP(source netip.Addr, target string) (netip.AddrPort, error) {
	return talkUDP(source, target, func(got string, me netip.AddrPort) bool { return seenClient(got) == me })
}

// askUDP46 has one by NAT46.
func askUDP46(source netip.Addr, target string) (netip.AddrPort, error) {
	return talkUDP(source, target, func(got string, me netip.AddrPort) bool { return seenClient(got) == embedded(me) })
}

// talkUDP sends one to greatestDatagrams, each of which must be answered right.
func talkUDP(source netip.Addr, target string, right func(got string, me netip.AddrPort) bool) (me netip.AddrPort, err error) {
	conn, err := dialUDP(source, target)
	if err != nil {
		return me, err
	}
	defer conn.Close()
	me = localOf(conn)
	buf := make([]byte, 2048)
	for range 1 + rand.IntN(greatestDatagrams) {
		if _, err := io.WriteString(conn, "who am I?"); err != nil {
			return me, err
		}
		n, err := conn.Read(buf)
		if err != nil {
			return me, err
		}
		if got := string(buf[:n]); !right(got, me) {
			return me, wrongPeer{got, me.String()}
		}
	}
	return me, nil
}

// askUOA has such a conversation with the server that asks for the client by
// getsockopt.
func askUOA(source netip.Addr, target string) (netip.AddrPort, error) {
	return talkUDP(source, target, askedRight)
}

// askDNS asks for a name that tells the client, for the server's log to be judged.
func askDNS(source netip.Addr, target string) (me netip.AddrPort, err error) {
	conn, err := dialUDP(source, target)
	if err != nil {
		return me, err
	}
	defer conn.Close()
	me = localOf(conn)
	name := fmt.Sprintf("%s.%d.weir.test.", strings.ReplaceAll(me.Addr().String(), ".", "-"), me.Port())
	for id := range uint16(1 + rand.IntN(greatestDatagrams)) {
		if _, err := queryFor(conn, id+1, name); err != nil {
			return me, err
		}
	}
	return me, nil
}

// peerServer is an HTTP server in Go that answers the client's address: PORT.
func peerServer(args []string) error {
	if len(args) != 1 {
		return errors.New("peer-server PORT")
	}
	return http.ListenAndServe(":"+args[0], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "Your ip:port : %s\n", r.RemoteAddr)
	}))
}

// peerUDP answers datagrams with the sender's address: PORT.
func peerUDP(args []string) error {
	if len(args) != 1 {
		return errors.New("peer-udp PORT")
	}
	conn, err := net.ListenPacket("udp", ":"+args[0])
	if err != nil {
		return err
	}
	buf := make([]byte, 2048)
	for {
		_, from, err := conn.ReadFrom(buf)
		if err != nil {
			return err
		}
		peer := netip.MustParseAddrPort(from.String())
		peer = netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port())
		if _, err := conn.WriteTo([]byte(peer.String()), from); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
}

// peers is a load that a test runs beside what it does.
type peers struct{ steady }

// peers starts one; its connections go to the targets in turn.
func (b *bed) peers(kind string, clients int, targets ...string) *peers {
	b.t.Helper()
	p := &peers{steady{bed: b, out: &lines{}}}
	cmd := roleCommand("peer-load %s %d %s", kind, clients, strings.Join(targets, " "))
	cmd.Stdout = p.out
	p.load = b.startCmd(b.client(), cmd)
	return p
}

// until waits until there were n connections.
func (p *peers) until(n int) {
	p.bed.t.Helper()
	eventually(p.bed.t, fmt.Sprintf("there were %d connections", n), func() bool { return p.answered() >= n || p.load.Ended() })
}

// stop ends the load and returns what it heard.
func (p *peers) stop() (r peerResult) {
	p.bed.t.Helper()
	p.end(&r)
	return r
}
