package e2e

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// onePeerServer is a real server with an agent and the programs that show their
// client: nginx on port 80, one in C on 8081, one in Go on 8082, one for datagrams on 5300.
func onePeerServer(t *testing.T, s setup) *director {
	t.Helper()
	s.servers = 1
	d := newDirector(t, s)
	d.agentOn(d.rs(1), "--uoa", "transparent").run()
	d.nginx(d.rs(1))
	d.start(d.rs(1), d.compiled("tcp_peer"), "8081")
	d.startCmd(d.rs(1), roleCommand("peer-server 8082"))
	d.start(d.rs(1), d.compiled("udp_peer"), "5300")
	d.listening(d.rs(1), "127.0.0.1:8081")
	d.listening(d.rs(1), "127.0.0.1:8082")
	d.listeningUDP(d.rs(1), 5300)
	d.twoArm()
	d.serviceOn("t", 80, 1)
	d.serviceOn("t", 8081, 1)
	d.serviceOn("t", 8082, 1)
	d.serviceTo("u", 5300, 5300, "--uoa ipo --conn-timeout 1", 1)
	d.serviceTo("u", 6300, 5300, "--uoa opp --conn-timeout 1", 1)
	return d
}

// A local port that serves the next client shows that one, and never the client
// that it served before.
func TestClientAddressPortsReused(t *testing.T) {
	s := one
	s.conf = strings.Replace(shortLives, "1025-1424", "1025-7024", 1)
	d := onePeerServer(t, s)
	d.manyAddresses()
	tcp := d.peers("tcp", 4, "10.0.0.100:80", "10.0.0.100:8081")
	udp := d.peers("udp", 2, "10.0.0.100:5300", "10.0.0.100:6300")
	// Each of the services has 6000 ports toward its server, which take turns: with fewer a fast machine runs out of them.
	const n = 2 * 7000
	tcp.until(n)
	udp.until(n)
	tcp.stop().right(t, n)
	udp.stop().right(t, n)
	if used := d.gauge("conns_expired"); used < 1000 {
		t.Errorf("%d connections expired: no port can have come round", used)
	}
}

// Segments of the beginning are lost: what comes next carries the option again, and
// the server's accept waits for it.
func TestClientAddressLossy(t *testing.T) {
	d := onePeerServer(t, one)
	for _, port := range []int{80, 8081, 8082} {
		for n := range 4 {
			if n > 0 {
				// The handshake's ACK, then the first data, then its repetition.
				lost := d.lose("prerouting", fmt.Sprintf("tcp dport %d tcp flags & syn == 0", port), n)
				d.seen(port, nil)
				if got := lost(); got != n {
					t.Errorf("%d segments were lost, want %d", got, n)
				}
			}
			d.seen(port, nil)
		}
	}
}

// seen asks a server whom it sees, and fails the test if that is not the client.
func (d *director) seen(port int, prepare func(fd int) error) {
	d.t.Helper()
	d.seenAt(netip.AddrPortFrom(vip, uint16(port)), prepare)
}

// seenAt is seen for any address.
func (d *director) seenAt(to netip.AddrPort, prepare func(fd int) error) {
	d.t.Helper()
	conn, me := d.dialTo(to, prepare)
	d.seenOn(conn, me, to)
}

// seenOn is seen for a connection that is made already.
func (d *director) seenOn(conn net.Conn, me, to netip.AddrPort) {
	d.t.Helper()
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(requestPatience))
	if _, err := conn.Write(request); err != nil {
		d.t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	_, seen, _ := strings.Cut(string(answer), "Your ip:port : ")
	if err != nil || seenClient(strings.TrimSuffix(seen, "\n")) != me {
		d.t.Errorf("the server behind %s answered %q, %v; the client is %s", to, answer, err, me)
	}
}

// A server that is flooded keeps nothing of a SYN and makes its connection of the
// handshake's ACK alone (SYN cookies).
func TestClientAddressSYNCookies(t *testing.T) {
	d := onePeerServer(t, one)
	if err := d.rs(1).WriteSysctl("ipv4/tcp_syncookies", "2"); err != nil { // for every connection
		t.Fatal(err)
	}
	d.manyAddresses()
	load := d.peers("tcp", 8, "10.0.0.100:80", "10.0.0.100:8081", "10.0.0.100:8082")
	load.until(1000)
	load.stop().right(t, 1000)
	var sent int
	out := d.run(d.rs(1), "nstat -asz TcpExtSyncookiesRecv")
	if _, err := fmt.Sscanf(out[strings.Index(out, "TcpExtSyncookiesRecv"):], "TcpExtSyncookiesRecv %d", &sent); err != nil || sent < 1000 {
		t.Errorf("%d connections were made by a cookie (%v): %s", sent, err, out)
	}
}

// A client that has the data in its SYN (TCP Fast Open) and a server that takes it
// make the connection before any segment with the option comes: the client's
// address, and the PROXY header, must be there all the same.
func TestClientAddressFastOpen(t *testing.T) {
	s := one
	s.servers = 1
	d := newDirector(t, s)
	if err := d.rs(1).WriteSysctl("ipv4/tcp_fastopen", "1027"); err != nil { // both ends, every listener
		t.Fatal(err)
	}
	d.agentOn(d.rs(1)).run()
	d.nginxWith(d.rs(1), fmt.Sprintf(nginxAnswer, "rs1")+nginxProxied)
	d.listening(d.rs(1), "127.0.0.1:80")
	d.proxyServer(1)
	d.twoArm()
	d.serviceOn("t", 80, 1)
	d.serviceTo("t", 8090, 8090, "--proxy-protocol v2", 1)
	d.serviceTo("t", sinkPort, sinkPort, "--proxy-protocol v1", 1)
	fastOpen := func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1) }
	d.start(d.rs(1), d.compiled("tcp_peer"), "8081")
	d.listening(d.rs(1), "127.0.0.1:8081")
	d.serviceOn("t", 8081, 1)
	const times = 50 // the first time the client asks for a cookie
	atClient := d.tcpdump(d.client(), "eth0")
	for range times {
		d.seen(80, fastOpen)
		d.seen(8081, fastOpen)
		d.talk(8090, 2, fastOpen, 0)
		d.talk(sinkPort, 1, fastOpen, 3000)
	}
	atClient.stop()
	withData := 0
	for _, s := range atClient.segments("ip.dst == 10.0.0.100 && tcp.flags.syn == 1 && tcp.option_kind == 34") {
		if s.payload > 0 {
			withData++
		}
	}
	if withData < 4*times-4 {
		t.Errorf("%d SYNs had data, want all of %d but the first", withData, 4*times)
	}
	var made int
	out := d.run(d.rs(1), "nstat -asz TcpExtTCPFastOpenPassive")
	if _, err := fmt.Sscanf(out[strings.Index(out, "TcpExt"):], "TcpExtTCPFastOpenPassive %d", &made); err != nil {
		t.Fatal(err)
	}
	// What speaks the PROXY protocol can't: its header comes with the handshake's end.
	if made < 2*times-2 {
		t.Errorf("%d connections were made by a SYN with data, want %d", made, 2*times-1)
	}
}

// Who does not run in the agent's control group sees what the packets say.
func TestAgentCoversItsGroupAlone(t *testing.T) {
	d := onePeerServer(t, one)
	group := d.groups[d.rs(1)]
	delete(d.groups, d.rs(1))
	d.start(d.rs(1), d.compiled("tcp_peer"), "8091")
	d.listening(d.rs(1), "127.0.0.1:8091")
	d.groups[d.rs(1)] = group
	d.serviceOn("t", 8091, 1)
	d.seen(8081, nil)
	out := d.run(d.client(), "curl -sS --max-time 20 10.0.0.100:8091")
	if !strings.HasPrefix(out, "Your ip:port : 192.168.100.200:") {
		t.Errorf("a program outside the group answered %q, want the local address", out)
	}
}

// Whoever sends the option from elsewhere than the director is not believed.
func TestAgentTrustsTheDirectorAlone(t *testing.T) {
	d := onePeerServer(t, one)
	// A machine on the servers' link asks past the director, with options as the
	// director has them.
	if _, err := d.net.LAN.Run(within(t, patience), "ip", "addr", "add", "192.168.100.77/24", "dev", "switch"); err != nil {
		t.Fatal(err)
	}
	conn, err := d.net.LAN.Dial(within(t, patience), "udp", "192.168.100.2:5300")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sc, err := conn.(*net.UDPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var set error
	option := string([]byte{optUOA, 8, 0x02, 0x9a, 6, 6, 6, 6})
	if err := sc.Control(func(fd uintptr) { set = unix.SetsockoptString(int(fd), unix.IPPROTO_IP, unix.IP_OPTIONS, option) }); err != nil || set != nil {
		t.Fatal(err, set)
	}
	for range 5 {
		if got := d.exchange(conn, "who am I?"); got != conn.LocalAddr().String() {
			t.Errorf("the server believed %q of %s", got, conn.LocalAddr())
		}
	}
}
