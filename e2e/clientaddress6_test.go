package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"weir/internal/testkit/netns"
)

// nginx6 listens as its users have it: on a socket of each family, on one for both,
// and on one for both that wants a PROXY header.
const nginx6 = `server {
        listen 80 backlog=4096;
        listen [::]:80 backlog=4096;
        listen [::]:8000 ipv6only=off backlog=4096;
        location / { return 200 "Your ip:port : $remote_addr:$remote_port\n"; }
    }
    server {
        listen [::]:8090 ipv6only=off proxy_protocol backlog=4096;
        location / { return 200 "Your ip:port : $proxy_protocol_addr:$proxy_protocol_port\n"; }
    }`

// bed6 is a real server with an agent and the programs that show their client, and a
// director that has IPv6 and IPv4 on both sides.
type bed6 struct {
	*director
	agent *agent
}

// The ends of bed6. The VIPs are those of a pair's clients.
var (
	vip6Of = map[int]netip.Addr{4: vip, 6: netip.MustParseAddr("2001:db8:10::100")}
	lip6Of = map[int]netip.Addr{4: netip.MustParseAddr("192.168.100.200"), 6: netip.MustParseAddr("2001:db8:100::200")}
	rs6Of  = map[int]netip.Addr{4: netns.ServerAddr(0), 6: netns.ServerAddr6(0)}
)

// newBed6 builds it. Programs with sockets of IPv6 take IPv4 on them too.
func newBed6(t *testing.T) *bed6 {
	t.Helper()
	s := two
	s.servers = 1
	d := newDirector(t, s)
	b := &bed6{director: d, agent: d.agentOn(d.rs(1), "--uoa", "transparent", "--nat64-getsockopt")}
	rs := d.rs(1)
	if err := rs.WriteSysctl("ipv4/tcp_fastopen", "1027"); err != nil { // of IPv6 too: both ends, every listener
		t.Fatal(err)
	}
	d.nginxWith(rs, nginx6)
	d.start(rs, d.compiled("tcp_peer"), "8081", "6")
	d.startCmd(rs, roleCommand("peer-server 8082"))
	d.start(rs, d.compiled("toa_server"), "8086")
	d.start(rs, d.compiled("udp_peer"), "5300", "6")
	d.startCmd(rs, roleCommand("peer-udp 5301"))
	d.start(rs, d.compiled("uoa_server"), "5302")
	d.start(rs, d.compiled("uoa_server"), "5303", "6")
	b.agent.run()
	for _, port := range []int{80, 8000, 8081, 8082, 8086, 8090} {
		d.listening(rs, fmt.Sprintf("127.0.0.1:%d", port))
	}
	for _, port := range []int{5300, 5301, 5302, 5303} {
		d.listeningUDP(rs, port)
	}
	for _, f := range []int{4, 6} {
		d.do(fmt.Sprintf("./dpip addr add %s/%d dev dpdk1", matrixFront[f], map[int]int{4: 16, 6: 64}[f]))
		d.do(fmt.Sprintf("./dpip addr add %s/%d dev dpdk0", matrixBack[f], map[int]int{4: 24, 6: 64}[f]))
		d.do(fmt.Sprintf("./dpip addr add %s/%d dev dpdk1", vip6Of[f], bitsOf[f]))
	}
	d.manyAddresses()
	d.manyAddresses6()
	return b
}

// port6 is the VIP's port of the next service.
type port6 int

// to adds a service with a port of the real server behind it, and returns its address.
// proto is "t" or "u".
func (b *bed6) to(next *port6, proto string, pair families, port int, options string) string {
	b.t.Helper()
	*next++
	at := endpoint(vip6Of[pair.before], int(*next))
	b.do(fmt.Sprintf("./ipvsadm -A -%s %s -s rr %s", proto, at, options))
	b.do(fmt.Sprintf("./ipvsadm -a -%s %s -r %s -b", proto, at, endpoint(rs6Of[pair.behind], port)))
	b.do(fmt.Sprintf("./ipvsadm --add-laddr -z %s -%s %s -F dpdk0", lip6Of[pair.behind], proto, at))
	return at
}

// Programs that know nothing of load balancers see their true clients where IPv6 is on
// either side of the director, as far as docs/real-servers.md says; those that ask as
// DPVS's modules want it get to know all.
func TestClientAddress6(t *testing.T) {
	b := newBed6(t)
	var next port6 = 1000
	var tcp, toa, udp, udp46, uoa []string
	for _, port := range []int{80, 8081, 8082} { // nginx, C, Go
		tcp = append(tcp, b.to(&next, "t", six, port, ""), b.to(&next, "t", fourToSix, port, ""))
	}
	for _, port := range []int{8000, 8081, 8082} {
		tcp = append(tcp, b.to(&next, "t", sixToFour, port, ""))
	}
	for _, pair := range []families{six, sixToFour, fourToSix} {
		for _, v := range versions[:2] {
			tcp = append(tcp, b.to(&next, "t", pair, 8090, "--proxy-protocol "+v.word))
		}
	}
	toa = append(toa, b.to(&next, "t", sixToFour, 8086, ""))
	for _, carrier := range []string{"--uoa ipo", "--uoa opp"} {
		for _, port := range []int{5300, 5301} { // C, Go
			udp = append(udp, b.to(&next, "u", six, port, carrier))
			udp46 = append(udp46, b.to(&next, "u", fourToSix, port, carrier))
		}
		uoa = append(uoa, b.to(&next, "u", sixToFour, 5302, carrier), b.to(&next, "u", sixToFour, 5303, carrier))
	}
	plain6, plain64 := b.to(&next, "t", six, 80, ""), b.to(&next, "t", sixToFour, 80, "")
	udp64 := b.to(&next, "u", sixToFour, 5300, "--uoa opp")

	// For each pair of families some thousand connections, and as many flows.
	loads := map[string]struct {
		*peers
		n int
	}{
		"tcp":   {b.peers("tcp", 12, tcp...), 3 * 1050},
		"toa":   {b.peers("toa", 2, toa...), 500},
		"udp":   {b.peers("udp", 4, udp...), 1000},
		"udp46": {b.peers("udp46", 4, udp46...), 1000},
		"uoa":   {b.peers("uoa", 4, uoa...), 1000},
	}
	for _, load := range loads {
		load.until(load.n)
	}
	for name, load := range loads {
		t.Log(name)
		load.stop().right(t, int64(load.n))
	}

	// What can't be: an IPv6 client on a socket that answers by IPv4.
	if got := b.curl(plain64); !strings.HasPrefix(got, "Your ip:port : 192.168.100.200:") {
		t.Errorf("by NAT64 nginx answered on its IPv4 socket %q, want the local address", got)
	}
	conn, err := b.client().Dial(within(t, patience), "udp", udp64)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := b.exchange(conn, "who am I?"); !strings.HasPrefix(got, "[::ffff:192.168.100.200]:") {
		t.Errorf("by NAT64 the UDP server answered %q, want the local address", got)
	}
	b.counted6()

	// The agent is what did it.
	if got := b.curl(plain6); !strings.HasPrefix(got, "Your ip:port : 2001:db8:10::48:") {
		t.Errorf("nginx answered %q, want the client's address", got)
	}
	if err := b.agent.proc.Stop(within(t, patience)); err != nil {
		t.Errorf("weir-rs ended with %v: %s", err, b.agent.said)
	}
	b.agent.do("stop")
	if got := b.curl(plain6); !strings.HasPrefix(got, "Your ip:port : 2001:db8:100::200:") {
		t.Errorf("without an agent nginx answered %q, want the local address", got)
	}
}

// curl asks the VIP from the client's own address.
func (b *bed6) curl(address string) string {
	b.t.Helper()
	return b.run(b.client(), "curl -gsS --max-time 20 http://"+address+"/")
}

// counted6 holds what the agent counted to what happened: every pair of families, and
// nothing that was not believed or not known. (The test itself has connected to the
// server that asks for NAT64's clients: a nat64_miss.)
func (b *bed6) counted6() {
	b.t.Helper()
	status := b.agent.do("status")
	for _, name := range []string{
		"toa_ipv6", "toa_nat64", "toa_nat46", "uoa_ipv6", "uoa_nat64", "uoa_nat46",
		"udp_recv_nat46", "udp_recv_nat64", "peer_family", "nat64_hit", "uoa_asked_hit", "opp_ipv4", "opp_ipv6",
	} {
		if !strings.Contains(status, "\n"+name+" ") {
			b.t.Errorf("%s was not counted", name)
		}
	}
	for _, word := range []string{"_malformed", "_untrusted", "_refused", "uoa_asked_miss", "_invalid"} {
		if strings.Contains(status, word) {
			b.t.Errorf("something was counted as %s", word)
		}
	}
	if b.t.Failed() {
		b.t.Log(status)
	}
}
