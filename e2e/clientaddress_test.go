package e2e

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"weir/internal/testkit/netns"
)

// nginxPeer is an nginx that answers the client's address, and logs it beside the
// one that the request names.
const nginxPeer = `log_format seen "$remote_addr:$remote_port $args";
    server {
        listen 80 backlog=4096;
        access_log %s seen;
        location / { return 200 "Your ip:port : $remote_addr:$remote_port\n"; }
    }`

// peerLogs are the logs of one real server's programs, the VIP's ports that lead to each,
// and what a line looks like: the first group is the client as the program saw it, the
// second what of the client as it called itself is the same, the third the rest of that.
type peerLogs []struct {
	program string
	ports   []int
	text    func() string
	line    *regexp.Regexp
}

// tcpPeers and udpPeers are the ports of the programs: nginx, one in C, one in Go,
// HAProxy, Python's http.server; dnsmasq, one in C, one in Go.
var (
	tcpPeers = []int{80, 8081, 8082, 8083, 8085}
	udpPeers = []int{53, 5300, 5301}
)

// opp is added to a UDP service's port where it has the carrier opp.
const opp = 1000

// peerServers starts all programs that show their client on a real server. None
// of them knows anything of load balancers.
func (b *bed) peerServers(rs *netns.Namespace) peerLogs {
	b.t.Helper()
	accessLog := b.path("access-" + rs.Name() + ".log")
	b.nginxWith(rs, fmt.Sprintf(nginxPeer, accessLog))
	b.start(rs, b.compiled("tcp_peer"), "8081")
	b.startCmd(rs, roleCommand("peer-server 8082"))
	haproxyLog := b.haproxy(rs)
	pythonLog := &lines{}
	cmd := exec.Command("python3", "testdata/http_peer.py", "8085")
	cmd.Stderr = pythonLog
	b.startCmd(rs, cmd)
	dnsmasqLog := &lines{}
	cmd = exec.Command("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root",
		"--pid-file="+b.path("dnsmasq-"+rs.Name()+".pid"), "--address=/weir.test/192.0.2.1", "--log-queries=extra", "--log-facility=-")
	cmd.Stderr = dnsmasqLog
	b.startCmd(rs, cmd)
	b.start(rs, b.compiled("udp_peer"), "5300")
	b.startCmd(rs, roleCommand("peer-udp 5301"))
	for _, port := range tcpPeers {
		b.listening(rs, fmt.Sprintf("127.0.0.1:%d", port))
	}
	for _, port := range udpPeers {
		b.listeningUDP(rs, port)
	}
	access := func() string {
		text, err := os.ReadFile(accessLog)
		if err != nil {
			b.t.Fatal(err)
		}
		return string(text)
	}
	return peerLogs{
		{"nginx", []int{80}, access, regexp.MustCompile(`(?m)^(\S+) (10\.0\.\S+)()\n`)},
		{"HAProxy", []int{8083}, haproxyLog, regexp.MustCompile(`(?m)^(\S+) \?(10\.0\.\S+)()\n`)},
		// http.server logs no port.
		{"Python's http.server", []int{8085}, pythonLog.String, regexp.MustCompile(`(?m)^(\S+) - - .*"GET /\?(10\.0\.\S+)(:\d+) HTTP`)},
		{"dnsmasq", []int{53, 53 + opp}, func() string {
			// The name has the client as "10-0-4-7.34567.weir.test".
			names := regexp.MustCompile(`query\[A\] (\d+)-(\d+)-(\d+)-(\d+)\.(\d+)\.weir\.test from (\S+)`)
			return names.ReplaceAllString(strings.ReplaceAll(dnsmasqLog.String(), "/", ":"), "query $1.$2.$3.$4:$5 from $6")
		}, regexp.MustCompile(`(?m) (\S+) query (10\.0\.\S+)() from 10\.0`)},
	}
}

// lines are the clients that the i-th program logged, in groups as of peerLogs.
func (logs peerLogs) lines(i int) [][]string {
	return logs[i].line.FindAllStringSubmatch(logs[i].text(), -1)
}

// judgeLogs fails the test unless every line of every log of all real servers shows the
// true client, and there is one for each connection that the loads made to that program.
func judgeLogs(t *testing.T, servers []peerLogs, made map[string][]netip.AddrPort) {
	t.Helper()
	for i, log := range servers[0] {
		asked := map[string]int{}
		for _, port := range log.ports {
			for _, client := range made[fmt.Sprintf("10.0.0.100:%d", port)] {
				asked[client.String()]++
			}
		}
		judgeLog(t, servers, i, asked)
	}
}

// judgeLog judges the logs of the i-th program of all real servers, which each client
// has asked so many times.
func judgeLog(t *testing.T, servers []peerLogs, i int, asked map[string]int) {
	t.Helper()
	program := servers[0][i].program
	var missing []string
	defer func() {
		if len(missing) > 0 {
			t.Errorf("%s has no line of %d clients: %q", program, len(missing), missing[:min(5, len(missing))])
		}
	}()
	// A program may write its line after its answer.
	eventually(t, program+" has logged all", func() bool {
		logged := map[string]int{}
		for _, s := range servers {
			for _, m := range s.lines(i) {
				logged[m[2]+m[3]]++
			}
		}
		missing = nil
		for client, n := range asked {
			if logged[client] < n {
				missing = append(missing, client)
			}
		}
		return len(missing) == 0
	})
	connections, lines, wrong := 0, 0, 0
	for _, n := range asked {
		connections += n
	}
	for _, s := range servers {
		logged := s.lines(i)
		lines += len(logged)
		if len(logged) < 100 {
			t.Errorf("a real server's %s logged %d clients: it had no share", program, len(logged))
		}
		for _, m := range logged {
			if m[1] != m[2] || asked[m[2]+m[3]] == 0 {
				if wrong++; wrong <= 5 {
					t.Errorf("%s logged %q", program, m[0])
				}
			}
		}
	}
	t.Logf("%s logged %d clients of %d connections, %d wrong", program, lines, connections, wrong)
	if connections == 0 || wrong > 0 {
		t.Errorf("of %d connections to %s, %d were logged wrong", connections, program, wrong)
	}
}

// Programs that know nothing of load balancers see their true clients, each of
// thousands of connections from hundreds of addresses, while the agent is killed,
// started again, and replaced.
func TestClientAddress(t *testing.T) {
	d := newDirector(t, two)
	newer := d.newerAgent()
	d.manyAddresses()
	var agents []*agent
	var logs []peerLogs
	for i := range d.net.Servers {
		a := d.agentOn(d.rs(i+1), "--uoa", "transparent")
		if i == 0 { // the programs are there first, then the agent; and the other way round
			logs = append(logs, d.peerServers(a.rs))
			a.run()
		} else {
			a.run()
			logs = append(logs, d.peerServers(a.rs))
		}
		agents = append(agents, a)
	}
	d.twoArm()
	var tcp, udp, dns []string
	for _, port := range tcpPeers {
		d.serviceOn("t", port, 1, 2)
		tcp = append(tcp, fmt.Sprintf("10.0.0.100:%d", port))
	}
	for _, port := range udpPeers {
		d.serviceTo("u", port, port, "--uoa ipo", 1, 2)
		d.serviceTo("u", port+opp, port, "--uoa opp", 1, 2)
		both := []string{fmt.Sprintf("10.0.0.100:%d", port), fmt.Sprintf("10.0.0.100:%d", port+opp)}
		if port == 53 {
			dns = both
		} else {
			udp = append(udp, both...)
		}
	}
	// A machine of two cores has no time for servers of others to wait their turn.
	loads := map[*peers]int{d.peers("tcp", 12, tcp...): 5000, d.peers("udp", 6, udp...): 3500, d.peers("dns", 4, dns...): 1500}
	more := func(parts int) {
		for load, n := range loads {
			load.until(load.answered() + max(n/parts, 2*progressStep))
		}
	}
	more(5)
	for _, a := range agents {
		a.proc.Kill()
	}
	more(5)
	for _, a := range agents {
		a.run()
	}
	more(5)
	for _, a := range agents {
		a.second()
		if err := a.proc.Stop(within(t, patience)); err != nil { // what it attached stays
			t.Errorf("weir-rs ended with %v: %s", err, a.said)
		}
	}
	more(10)
	for _, a := range agents {
		a.runProgram(newer)
		if status := a.do("status"); !strings.Contains(status, "version "+newerVersion) {
			t.Errorf("after an upgrade the status is\n%s", status)
		}
	}
	more(10)
	made := map[string][]netip.AddrPort{}
	for load, n := range loads {
		load.until(n)
		r := load.stop()
		r.right(t, int64(n))
		maps.Copy(made, r.Asked)
	}
	judgeLogs(t, logs, made)

	// The agent is what did it: without one, the same programs see the local address.
	for _, a := range agents {
		if err := a.proc.Stop(within(t, patience)); err != nil {
			t.Errorf("weir-rs ended with %v: %s", err, a.said)
		}
		a.do("stop")
	}
	if out := d.run(d.client(), "curl -sS --max-time 20 10.0.0.100"); !strings.HasPrefix(out, "Your ip:port : 192.168.100.200:") {
		t.Errorf("without an agent nginx answered %q, want the local address", out)
	}
	// And a new one does it again.
	for _, a := range agents {
		a.run()
	}
	for range 2 {
		out := d.run(d.client(), "curl -sS --max-time 20 10.0.0.100")
		if !strings.HasPrefix(out, "Your ip:port : 10.0.0.48:") {
			t.Errorf("with a new agent nginx answered %q, want the client's address", out)
		}
	}
}

// newerVersion is that of newerAgent.
const newerVersion = "the-next-one"

// newerAgent builds weir-rs as another version.
func (b *bed) newerAgent() string {
	b.t.Helper()
	to := b.path("weir-rs-newer")
	cmd := exec.CommandContext(within(b.t, patience), "go", "build", "-ldflags", "-X main.version="+newerVersion, "-o", to, "weir/cmd/weir-rs")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("build a newer weir-rs: %v\n%s", err, out)
	}
	return to
}

// uoaStats is what the tutorial shows of /proc/net/uoa_stats: a line of words and
// a line of numbers, each eight wide.
var uoaStats = regexp.MustCompile(`(?m)^ Success     Miss  Invalid\|UOA  Got     None    Saved Ack-Fail\n((?: *\d+){7})$`)

// TestUOA runs the tutorial's section "UDP Option of Address": a program on the
// real server asks for the real client with one getsockopt, recvfrom is left
// untouched, and the statistics look as printed.
func TestUOA(t *testing.T) {
	for _, carrier := range []string{"ipo", "opp"} {
		t.Run(carrier, func(t *testing.T) {
			s := one
			s.servers = 1
			d := newDirector(t, s)
			a := d.agentOn(d.rs(1), "--uoa", "getsockopt").run()
			said := &lines{}
			cmd := exec.Command(d.compiled("uoa_server"), "5300")
			cmd.Stdout = said
			d.startCmd(d.rs(1), cmd)
			d.listeningUDP(d.rs(1), 5300)
			d.twoArm()
			d.serviceTo("u", 5300, 5300, "--uoa "+carrier, 1)

			conn, err := d.client().Dial(within(t, patience), "udp", "10.0.0.100:5300")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			want := regexp.MustCompile(`^from 192\.168\.100\.200:\d+, real client ` + regexp.QuoteMeta(conn.LocalAddr().String()) + `\n$`)
			const datagrams = 10
			for i := range datagrams {
				if got := d.exchange(conn, "hello"); !want.MatchString(got) {
					t.Errorf("to datagram %d the server answered %q, want %s", i+1, got, want)
				}
			}
			eventually(t, "the server printed the client for each datagram", func() bool {
				return strings.Count(said.String(), "real client "+conn.LocalAddr().String()+"\n") == datagrams
			})

			// Somebody who is no load balancer has no option: a miss.
			near, err := d.rs(1).Dial(within(t, patience), "udp", "127.0.0.1:5300")
			if err != nil {
				t.Fatal(err)
			}
			defer near.Close()
			if got := d.exchange(near, "hello"); !strings.Contains(got, "no real client") {
				t.Errorf("to a datagram from the server itself it answered %q", got)
			}

			text := a.do("stats")
			m := uoaStats.FindStringSubmatch(text)
			if m == nil {
				t.Fatalf("weir-rs stats prints\n%swant it to match\n%s", text, uoaStats)
			}
			var success, miss, invalid, got, none, saved, ackFail int
			if _, err := fmt.Sscan(m[1], &success, &miss, &invalid, &got, &none, &saved, &ackFail); err != nil {
				t.Fatal(err)
			}
			if success != datagrams || miss != 1 || invalid != 0 || got != 3 || saved != 3 || ackFail != 0 {
				t.Errorf("the statistics are\n%swant %d looked up, 1 missed, 3 options got and saved", text, datagrams)
			}
			if want := fmt.Sprintf("%8d %8d %8d %8d %8d %8d %8d", success, miss, invalid, got, none, saved, ackFail); m[1] != want {
				t.Errorf("the numbers are printed as %q, want %q", m[1], want)
			}

			// Many at once, and the agent is killed among them.
			d.manyAddresses()
			load := d.peers("uoa", 8, "10.0.0.100:5300")
			load.until(500)
			a.proc.Kill()
			load.until(1000)
			a.run()
			load.until(1500)
			load.stop().right(t, 1500)
		})
	}
}
