package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"weir/internal/testkit/netns"
)

// natTutorial is the section "NAT mode (one-arm)", command for command, with its
// slips put right: see natSlips.
const natTutorial = `
# config LAN network on bond0, routes will generate automatically
./dpip addr add 192.168.0.66/24 dev bond0
./dpip addr add 10.140.31.48/20 dev bond0
# add service <VIP:vport> to forwarding, scheduling mode is RR
./ipvsadm -A -t 192.168.0.89:80 -s rr
# add two RSs, forwarding mode is NAT
./ipvsadm -a -t 192.168.0.89:80 -r 10.140.18.33 -m
./ipvsadm -a -t 192.168.0.89:80 -r 10.140.18.34 -m
# add VIP and the route will generate automatically
./dpip addr add 192.168.0.89/32 dev bond0
`

// natSlips are lines of the section that are wrong, and what is said of them.
var natSlips = []struct{ line, want string }{
	{"./ipvsadm -A -t 192.168.0.89:80 -s -rr", "illegal scheduler `-rr' specified\ndid you mean -s rr?\n"},
	{"./ipvsadm -A -t 192.168.0.89:80 -r 10.140.18.33 -m", "Illegal 'real-server' option with the 'add-service' command\ndid you mean -a?\n"},
	{"./ipvsadm -A -t 192.168.0.89:80 -r 10.140.18.34 -m", "Illegal 'real-server' option with the 'add-service' command\ndid you mean -a?\n"},
}

// natServer is what the section has for each real server.
const natServer = "ip route add 192.168.0.0/24 via 10.140.31.48 dev eth0"

// natOneArm is the section's picture: bond0 of dpvs.conf drives another interface.
func natOneArm(t *testing.T, s setup) *director {
	t.Helper()
	s.renamed = true
	d := newOneArm(t, s, "bond0", netns.OneArmOptions{
		Client:  netip.MustParsePrefix("192.168.0.46/24"),
		Servers: []netip.Prefix{netip.MustParsePrefix("10.140.18.33/20"), netip.MustParsePrefix("10.140.18.34/20")},
	})
	for i, rs := range d.net.Servers {
		d.run(rs, natServer)
		d.nginxWith(rs, fmt.Sprintf(`server {
        listen 80;
        add_header X-Client $remote_addr:$remote_port;
        location / { return 200 "Hi, I am 10.140.18.%d.\n"; }
    }`, 33+i))
		d.listening(rs, "127.0.0.1:80")
	}
	d.streamServer(d.rs(1))
	return d
}

// TestTutorialNAT runs the section "NAT mode (one-arm)": first its slips, which
// change nothing, then what is meant.
func TestTutorialNAT(t *testing.T) {
	t.Parallel() // it asks little of the machine
	for _, s := range eachOnce() {
		t.Run(s.String(), func(t *testing.T) {
			d := natOneArm(t, s)
			nothing := d.do("./ipvsadm -S")
			for _, slip := range natSlips {
				if a := d.try(slip.line); a.code != 2 || a.stderr != slip.want || a.stdout != "" {
					t.Errorf("%s: exit code %d, stderr %q, stdout %q; want 2, %q", slip.line, a.code, a.stderr, a.stdout, slip.want)
				}
				if got := d.do("./ipvsadm -S"); got != nothing {
					t.Errorf("%s changed something:\n%s", slip.line, got)
				}
			}
			d.quietly(natTutorial)
			d.prints(map[string]string{
				"./dpip route show": `inet 10.140.31.48/32 via 0.0.0.0 src 0.0.0.0 dev bond0 mtu 1500 tos 0 scope host metric 0 proto auto
inet 192.168.0.66/32 via 0.0.0.0 src 0.0.0.0 dev bond0 mtu 1500 tos 0 scope host metric 0 proto auto
inet 192.168.0.89/32 via 0.0.0.0 src 0.0.0.0 dev bond0 mtu 1500 tos 0 scope host metric 0 proto auto
inet 192.168.0.0/24 via 0.0.0.0 src 192.168.0.66 dev bond0 mtu 1500 tos 0 scope link metric 0 proto auto
inet 10.140.16.0/20 via 0.0.0.0 src 10.140.31.48 dev bond0 mtu 1500 tos 0 scope link metric 0 proto auto
`,
				"./ipvsadm -ln": `IP Virtual Server version 0.0.0 (size=0)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  192.168.0.89:80 rr
  -> 10.140.18.33:80              Masq    1      0          0
  -> 10.140.18.34:80              Masq    1      0          0
`,
			})
			for i := range 6 {
				port := 37177 + i
				out := d.run(d.client(), fmt.Sprintf("curl -sS -i --max-time 20 --local-port %d 192.168.0.89:80", port))
				if !strings.Contains(out, fmt.Sprintf("X-Client: 192.168.0.46:%d\r\n", port)) || !strings.HasSuffix(out, fmt.Sprintf("\r\n\r\nHi, I am 10.140.18.%d.\n", 33+i%2)) {
					t.Errorf("curl from port %d printed %q", port, out)
				}
			}
			d.run(d.client(), "ping -c 3 -i 0.2 -W 5 192.168.0.89")
			d.wholeFrames()
			for port, rport := range map[int]int{8080: 8080, 81: 81} {
				d.do(fmt.Sprintf("./ipvsadm -A -t 192.168.0.89:%d -s rr", port))
				d.do(fmt.Sprintf("./ipvsadm -a -t 192.168.0.89:%d -r 10.140.18.33:%d -m", port, rport))
			}
			const n = 1 << 20
			roleOf[streamResult](d.bed, d.client(), "stream-client 192.168.0.89:8080 %d", n).equal(t, n)
			d.passesRefusals("192.168.0.89:81")
		})
	}
}

// With each of two workers on one of two ports, every answer comes to another worker
// than its request: NAT does not mind.
func TestNATAnswersOnAnotherWorker(t *testing.T) {
	for _, s := range drivers {
		s.workers, s.apart = 2, true
		t.Run(s.String(), func(t *testing.T) {
			d := newDirector(t, s)
			for _, rs := range d.net.Servers {
				d.nginx(rs)
				d.run(rs, "ip route add 10.0.0.0/16 via 192.168.100.1")
			}
			d.quietly(`
./dpip addr add 10.0.0.100/32 dev dpdk1
./dpip route add 10.0.0.0/16 dev dpdk1
./dpip addr add 192.168.100.1/24 dev dpdk0
./ipvsadm -A -t 10.0.0.100:80 -s rr
./ipvsadm -a -t 10.0.0.100:80 -r 192.168.100.2 -m
./ipvsadm -a -t 10.0.0.100:80 -r 192.168.100.3 -m
`)
			// First: a port that the load used would find its old connection, and the
			// real server of that one, not the next in turn.
			d.curl()
			roleOf[loadResult](d.bed, d.client(), "http-load 10.0.0.100:80 500 16 new").ok(t, 500)
			roleOf[loadResult](d.bed, d.client(), "http-load 10.0.0.100:80 2000 16 kept").ok(t, 2000)
			if got := d.workerPackets(); len(got) != 2 || got[0] < 2000 || got[1] < 2000 {
				t.Errorf("the workers received %v packets, want thousands each", got)
			}
		})
	}
}

// workerPackets returns how many packets each worker received.
func (d *director) workerPackets() (got []int) {
	d.t.Helper()
	var list []struct {
		Queues    []string
		RxPackets int `json:"rx_packets"`
	}
	out := d.do("./weir worker show --json")
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		d.t.Fatalf("weir worker show --json printed %q: %v", out, err)
	}
	for _, w := range list {
		if len(w.Queues) > 0 {
			got = append(got, w.RxPackets)
		}
	}
	return got
}
