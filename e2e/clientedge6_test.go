package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"weir/internal/testkit/netns"
)

// mixes are the pairs of families in which IPv6 is on either side.
var mixes = []families{six, sixToFour, fourToSix}

// Segments of the beginning are lost, as in TestClientAddressLossy.
func TestClientAddress6Lossy(t *testing.T) {
	b := newBed6(t)
	var next port6 = 1000
	for _, pair := range mixes {
		for _, port := range []int{8000, 8081, 8082} {
			to := netip.MustParseAddrPort(b.to(&next, "t", pair, port, ""))
			for n := 1; n < 4; n++ {
				lost := b.lose("prerouting", fmt.Sprintf("tcp dport %d tcp flags & syn == 0", port), n)
				b.seenAt(to, nil)
				if got := lost(); got != n {
					t.Errorf("%s: %d segments were lost, want %d", pair, got, n)
				}
			}
			b.seenAt(to, nil)
		}
	}
}

// A server that is flooded, as in TestClientAddressSYNCookies.
func TestClientAddress6SYNCookies(t *testing.T) {
	b := newBed6(t)
	if err := b.rs(1).WriteSysctl("ipv4/tcp_syncookies", "2"); err != nil { // of IPv6 too
		t.Fatal(err)
	}
	var next port6 = 1000
	var tcp []string
	for _, pair := range mixes {
		for _, port := range []int{8000, 8081, 8082} {
			tcp = append(tcp, b.to(&next, "t", pair, port, ""))
		}
	}
	load := b.peers("tcp", 8, tcp...)
	load.until(1000)
	load.stop().right(t, 1000)
	if sent := b.nstat(b.rs(1), "TcpExtSyncookiesRecv"); sent < 1000 {
		t.Errorf("%d connections were made by a cookie", sent)
	}
}

// A client that has its data in the SYN, as in TestClientAddressFastOpen. An IPv6
// client's address has no room beside the cookie: the cookie goes, and the server makes
// the connection as without.
func TestClientAddress6FastOpen(t *testing.T) {
	b := newBed6(t)
	var next port6 = 1000
	fastOpen := func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1) }
	const times = 30 // the first time the client asks for a cookie
	for _, pair := range mixes {
		for _, port := range []int{8000, 8081} {
			to := netip.MustParseAddrPort(b.to(&next, "t", pair, port, ""))
			for range times {
				b.seenAt(to, fastOpen)
			}
		}
	}
	// All but the first of a client's address have data; those of IPv6 are not taken.
	if n := b.nstat(b.rs(1), "TcpExtTCPFastOpenPassive"); n != 2*times-1 {
		t.Errorf("%d connections were made by a SYN with data, want the IPv4 client's %d", n, 2*times-1)
	}
	if n := b.nstat(b.client(), "TcpExtTCPFastOpenActiveFail"); n != 4*times-1 {
		t.Errorf("%d SYNs with data were taken without, want the IPv6 client's %d", n, 4*times-1)
	}
}

// A client and a server that both speak MPTCP, which is what Go's servers do by default.
// Beside an IPv6 client's address its option has no room: that connection falls back to
// TCP. The server sees the client in any case.
func TestClientAddressMPTCP(t *testing.T) {
	b := newBed6(t)
	var next port6 = 1000
	const times = 10
	for _, pair := range everyPair {
		to := netip.MustParseAddrPort(b.to(&next, "t", pair, 8082, ""))
		for range times {
			dialer := net.Dialer{Timeout: requestPatience}
			dialer.SetMultipathTCP(true)
			var conn net.Conn
			err := b.client().Do(func() (err error) {
				conn, err = dialer.DialContext(within(t, patience), "tcp", to.String())
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			b.seenOn(conn, localOf(conn), to)
		}
	}
	// Two of the pairs have clients of IPv4, two of IPv6.
	if n := b.nstat(b.rs(1), "MPTcpExtMPCapableACKRX"); n != 2*times {
		t.Errorf("%d connections were made by MPTCP, want the IPv4 clients' %d", n, 2*times)
	}
	if n := b.nstat(b.rs(1), "MPTcpExtMPCapableFallbackACK"); n != 2*times {
		t.Errorf("%d connections fell back to TCP, want the IPv6 clients' %d", n, 2*times)
	}
}

// nstat reads a counter of a machine's kernel.
func (b *bed) nstat(in *netns.Namespace, name string) (n int) {
	b.t.Helper()
	for line := range strings.Lines(b.run(in, "nstat -asz "+name)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				b.t.Fatal(err)
			}
			return n
		}
	}
	b.t.Fatalf("nstat has no %s", name)
	return 0
}

// Where the client's address has no room beside a datagram's data, an empty one goes
// ahead with it: the server knows the client of that one, and of the large one.
func TestClientAddress6LargeDatagrams(t *testing.T) {
	b := newBed6(t)
	var next port6 = 1000
	const most = 1452 // bytes: with the headers of IPv6 and UDP what the links take
	for _, tt := range []struct {
		pair  families
		port  int
		right func(got string, me netip.AddrPort) bool
	}{
		{six, 5300, func(got string, me netip.AddrPort) bool { return seenClient(got) == me }},
		{sixToFour, 5303, askedRight},
		{fourToSix, 5300, func(got string, me netip.AddrPort) bool { return seenClient(got) == embedded(me) }},
	} {
		t.Run(tt.pair.String(), func(t *testing.T) {
			b := &bed6{director: b.as(t), agent: b.agent}
			to := b.to(&next, "u", tt.pair, tt.port, "--uoa opp")
			conn, err := b.client().Dial(within(t, patience), "udp", to)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			for i := range 5 {
				answers := []string{b.exchange(conn, strings.Repeat("x", most))}
				if i < 3 {
					answers = append(answers, b.hear(conn)) // the empty one was answered first
				}
				for _, got := range answers {
					if !tt.right(got, localOf(conn)) {
						t.Errorf("to datagram %d of %s the server answered %q", i+1, localOf(conn), got)
					}
				}
			}
		})
	}
}
