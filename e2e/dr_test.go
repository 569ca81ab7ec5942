package e2e

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"weir/internal/testkit/netns"
)

// drTutorial is the section "DR Mode (one-arm)", command for command.
const drTutorial = `
# add LAN IP for DPVS, it must be different from VIP
# and must be added before VIP.
./dpip addr add 192.168.100.1/24 dev dpdk0
# add VIP and the route will generate automatically.
./dpip addr add 192.168.100.254/32 dev dpdk0

# route for LAN network, just a hint.
#./dpip route add 192.168.100.0/24 dev dpdk0

# add service <VIP:vport> to forwarding, scheduling mode is RR.
# use ipvsadm --help for more info.
./ipvsadm -A -t 192.168.100.254:80 -s rr

# add two RS for service, forwarding mode is DR
./ipvsadm -a -t 192.168.100.254:80 -r 192.168.100.2 -g
./ipvsadm -a -t 192.168.100.254:80 -r 192.168.100.3 -g
`

// drServer is what the section has for each real server, and what it leaves out:
// Linux obeys arp_ignore of the interface that a request comes in on, and of "all",
// never that of lo.
const drServer = `
ip addr add VIP/32 dev lo
sysctl -w net.ipv4.conf.lo.arp_ignore=1
`

const quietARP = `
sysctl -w net.ipv4.conf.all.arp_ignore=1
sysctl -w net.ipv4.conf.all.arp_announce=2
`

// oneAndTwo are the three ways to the wire with one worker and with two.
func oneAndTwo() (all []setup) {
	for _, s := range drivers {
		two := s
		two.workers, two.queues = 2, 2
		all = append(all, s, two)
	}
	return all
}

// eachOnce are some of oneAndTwo: each way to the wire, and both numbers of workers.
func eachOnce() []setup {
	all := oneAndTwo()
	return []setup{all[0], all[1], all[2], all[5]}
}

// scriptIn runs command lines in a namespace.
func (b *bed) scriptIn(in *netns.Namespace, text string) {
	b.t.Helper()
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			b.run(in, line)
		}
	}
}

// drOneArm is the section's picture, with a client at the address it shows.
func drOneArm(t *testing.T, s setup) *director {
	t.Helper()
	d := newOneArm(t, s, "dpdk0", netns.OneArmOptions{
		Client:  netip.MustParsePrefix("192.168.100.46/24"),
		Servers: []netip.Prefix{netip.MustParsePrefix("192.168.100.2/24"), netip.MustParsePrefix("192.168.100.3/24")},
	})
	d.drServers("192.168.100.254")
	return d
}

// drServers makes the real servers ready.
func (d *director) drServers(vip string) {
	d.t.Helper()
	for _, rs := range d.net.Servers {
		d.scriptIn(rs, strings.ReplaceAll(drServer, "VIP", vip)+quietARP)
		d.nginx(rs)
	}
	d.streamServer(d.rs(1))
}

// quietly runs command lines that print nothing, as the tutorial's do.
func (d *director) quietly(script string) {
	d.t.Helper()
	for line := range strings.Lines(script) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		if got := d.do(line); got != "" {
			d.t.Errorf("%s printed %q, the tutorial's prints nothing", line, got)
		}
	}
}

// prints compares what commands print, blanks at the ends of lines aside.
func (d *director) prints(rows map[string]string) {
	d.t.Helper()
	for command, want := range rows {
		if got := unpadded(d.do(command)); got != want {
			d.t.Errorf("%s printed\n%swant\n%s", command, got, want)
		}
	}
}

// TestTutorialDR runs the section "DR Mode (one-arm)" as written.
func TestTutorialDR(t *testing.T) {
	t.Parallel() // it asks little of the machine
	for _, s := range oneAndTwo() {
		t.Run(s.String(), func(t *testing.T) {
			d := drOneArm(t, s)
			d.quietly(drTutorial)
			d.prints(map[string]string{
				"./dpip addr show": `inet 192.168.100.254/32 scope global dpdk0
     valid_lft forever preferred_lft forever
inet 192.168.100.1/24 scope global dpdk0
     valid_lft forever preferred_lft forever
`,
				"./dpip route show": `inet 192.168.100.1/32 via 0.0.0.0 src 0.0.0.0 dev dpdk0 mtu 1500 tos 0 scope host metric 0 proto auto
inet 192.168.100.254/32 via 0.0.0.0 src 0.0.0.0 dev dpdk0 mtu 1500 tos 0 scope host metric 0 proto auto
inet 192.168.100.0/24 via 0.0.0.0 src 192.168.100.1 dev dpdk0 mtu 1500 tos 0 scope link metric 0 proto auto
`,
				"./ipvsadm -ln": `IP Virtual Server version 0.0.0 (size=0)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  192.168.100.254:80 rr
  -> 192.168.100.2:80             Route   1      0          0
  -> 192.168.100.3:80             Route   1      0          0
`,
			})
			port := d.tcpdump(d.net.LAN, "weir")
			answers := d.tcpdump(d.client(), "eth0")
			d.ask("192.168.100.254", `X-Real-Server: (rs[12])\r\n\r\nYour ip:port : 192\.168\.100\.46:(\d+)\n$`)
			d.run(d.client(), "ping -c 3 -i 0.2 -W 5 192.168.100.254")
			d.vipIsTheDirectors("192.168.100.254")
			port.stop()
			answers.stop()
			port.requestsOnly(80)
			if got := answers.segments("tcp.srcport == 80 && ip.src == 192.168.100.254 && ip.ttl == 64"); len(got) == 0 {
				t.Error("the client got no answer as a real server sends it")
			}
			d.onlyIn("192.168.100.254:80", 6)

			d.drService("192.168.100.254", 8080)
			d.wholeFrames()
			const n = 1 << 20
			roleOf[streamResult](d.bed, d.client(), "stream-client 192.168.100.254:8080 %d", n).equal(t, n)
			d.drService("192.168.100.254", 81)
			d.passesRefusals("192.168.100.254:81")
		})
	}
}

// drService adds a service on a port of a VIP with the first real server behind it.
func (d *director) drService(vip string, port int) {
	d.t.Helper()
	d.do(fmt.Sprintf("./ipvsadm -A -t %s:%d -s rr", vip, port))
	d.do(fmt.Sprintf("./ipvsadm -a -t %s:%d -r 192.168.100.2 -g", vip, port))
}

// ask asks the VIP as the tutorial does, six times: both servers answer in turn, and
// say the client's own port.
func (d *director) ask(url, answer string) {
	d.t.Helper()
	var order []string
	for i := range 6 {
		port := 37177 + i
		out := d.run(d.client(), fmt.Sprintf("curl -sS -i --max-time 20 --local-port %d %s", port, url))
		m := regexp.MustCompile(answer).FindStringSubmatch(out)
		if m == nil || len(m) > 2 && m[2] != fmt.Sprint(port) {
			d.t.Fatalf("curl from port %d printed %q", port, out)
		}
		order = append(order, m[1])
	}
	for i := 1; i < len(order); i++ {
		if order[i] == order[i-1] {
			d.t.Errorf("the servers answered in the order %v, want each in turn", order)
		}
	}
}

// vipIsTheDirectors looks into the client's neighbours, and asks again for all to
// answer who have the VIP.
func (d *director) vipIsTheDirectors(vip string) {
	d.t.Helper()
	mac, err := d.net.Director.MAC(d.lan)
	if err != nil {
		d.t.Fatal(err)
	}
	if out := d.run(d.client(), "ip neigh show "+vip); !strings.Contains(out, " lladdr "+mac.String()+" ") {
		d.t.Errorf("the client knows the VIP so: %q, want the director's %s", out, mac)
	}
	if got := d.whoHas(vip); len(got) != 1 || !got[mac.String()] {
		d.t.Errorf("for the VIP answer %v, want the director's %s alone", got, mac)
	}
}

// whoHas returns the hardware addresses that answer for an address.
func (b *bed) whoHas(addr string) map[string]bool {
	b.t.Helper()
	// Without a count of answers it waits for all, to the end of its time.
	out := b.run(b.client(), "arping -b -w 2 -I eth0 "+addr)
	all := map[string]bool{}
	for _, m := range regexp.MustCompile(`\[([0-9A-Fa-f:]{17})\]`).FindAllStringSubmatch(out, -1) {
		all[strings.ToLower(m[1])] = true
	}
	return all
}

// requestsOnly looks at what the director's port carried for a service: each
// request came and went on, and no answer was there.
func (c *capture) requestsOnly(port int) {
	t := c.bed.t
	t.Helper()
	if got := c.segments(fmt.Sprintf("tcp.srcport == %d", port)); len(got) > 0 {
		t.Errorf("the director's port carried %d answers: %+v", len(got), got[0])
	}
	came := c.segments(fmt.Sprintf("tcp.dstport == %d && ip.ttl == 64", port))
	left := c.segments(fmt.Sprintf("tcp.dstport == %d && ip.ttl == 63", port))
	if len(came) == 0 || len(came) != len(left) {
		t.Errorf("the director's port carried %d requests in and %d out", len(came), len(left))
	}
}

// onlyIn reads the counters of a service: so many connections, and nothing out.
func (d *director) onlyIn(service string, conns int) {
	d.t.Helper()
	out := d.do("./ipvsadm -ln --stats -t " + service)
	m := regexp.MustCompile(`(?m)^TCP +\S+ +(\d+) +(\d+) +(\d+) +(\d+) +(\d+)`).FindStringSubmatch(out)
	if m == nil || m[1] != fmt.Sprint(conns) || m[2] == "0" || m[3] != "0" || m[4] == "0" || m[5] != "0" {
		d.t.Errorf("want %d connections with packets in and none out:\n%s", conns, out)
	}
}

// passesRefusals dials a port that no real server serves, and hears so from it.
func (d *director) passesRefusals(address string) {
	d.t.Helper()
	r := roleOf[loadResult](d.bed, d.client(), "http-load %s 10 2 new", address)
	if r.Requests != 10 || r.Failures != 10 || r.Errors["dial: connect: connection refused"] != 10 {
		d.t.Errorf("10 requests to a closed port gave %+v, want 10 refusals", r)
	}
}

// The section's line for real servers sets arp_ignore of lo, which Linux never asks:
// all three answer for the VIP. docs/dr.md says what it takes instead.
func TestDRServersMustNotAnswerARP(t *testing.T) {
	d := newOneArm(t, one, "dpdk0", netns.OneArmOptions{
		Client:  netip.MustParsePrefix("192.168.100.46/24"),
		Servers: []netip.Prefix{netip.MustParsePrefix("192.168.100.2/24"), netip.MustParsePrefix("192.168.100.3/24")},
	})
	d.quietly(drTutorial)
	for _, rs := range d.net.Servers {
		d.scriptIn(rs, strings.ReplaceAll(drServer, "VIP", "192.168.100.254"))
	}
	if got := d.whoHas("192.168.100.254"); len(got) != 3 {
		t.Errorf("as the tutorial has it, %v answer for the VIP, want all three", got)
	}
	for _, rs := range d.net.Servers {
		d.scriptIn(rs, quietARP)
	}
	if got := d.whoHas("192.168.100.254"); len(got) != 1 {
		t.Errorf("%v answer for the VIP, want the director alone", got)
	}
}

// Where the way to the real servers takes less than the client's link, the director
// tells the client so.
func TestDRPathMTU(t *testing.T) {
	for _, s := range drivers {
		t.Run(s.String(), func(t *testing.T) {
			d := drOneArm(t, s)
			d.do("./dpip addr add 192.168.100.1/32 dev dpdk0")
			d.do("./dpip addr add 192.168.100.254/32 dev dpdk0")
			d.do("./dpip route add 192.168.100.0/24 dev dpdk0 mtu 1300")
			d.drService("192.168.100.254", 8080)
			d.wholeFrames()
			const n = 1 << 20
			roleOf[streamResult](d.bed, d.client(), "stream-client 192.168.100.254:8080 %d", n).equal(t, n)
			if out := d.run(d.client(), "ip route get 192.168.100.254"); !strings.Contains(out, "mtu 1300") {
				t.Errorf("the client must have learnt an MTU of 1300:\n%s", out)
			}
		})
	}
}

// Two-arm, the director has an address on the real servers' side and the VIP on the
// client's; the real servers answer by way of a router of their own.
func TestDRTwoArm(t *testing.T) {
	t.Parallel() // it asks little of the machine
	for _, s := range eachOnce() {
		t.Run(s.String(), func(t *testing.T) {
			d := newDirector(t, s)
			d.drRouter()
			d.drServers("10.0.0.100")
			d.quietly(`
./dpip addr add 10.0.0.100/32 dev dpdk1
./dpip route add 10.0.0.0/16 dev dpdk1
./dpip addr add 192.168.100.1/24 dev dpdk0
./ipvsadm -A -t 10.0.0.100:80 -s rr
./ipvsadm -a -t 10.0.0.100:80 -r 192.168.100.2 -g
./ipvsadm -a -t 10.0.0.100:80 -r 192.168.100.3 -g
`)
			lan := d.tcpdump(d.net.LAN, "weir")
			wan := d.tcpdump(d.client(), "eth0")
			router := d.tcpdump(d.client(), "eth1")
			d.ask("10.0.0.100", `X-Real-Server: (rs[12])\r\n\r\nYour ip:port : 10\.0\.0\.48:(\d+)\n$`)
			d.run(d.client(), "ping -c 3 -i 0.2 -W 5 10.0.0.100")
			for _, c := range []*capture{lan, wan, router} {
				c.stop()
			}
			for _, c := range []*capture{lan, wan} {
				if got := c.segments("tcp.srcport == 80"); len(got) > 0 {
					t.Errorf("%s of %s carried %d answers", c.link, c.in.Name(), len(got))
				}
			}
			if there, here := wan.segments("tcp.dstport == 80"), lan.segments("tcp.dstport == 80 && ip.ttl == 63 && ip.dst == 10.0.0.100"); len(there) == 0 || len(there) != len(here) {
				t.Errorf("the client sent %d segments, the director passed on %d", len(there), len(here))
			}
			if got := router.segments("tcp.srcport == 80 && ip.src == 10.0.0.100"); len(got) == 0 {
				t.Error("no answer came by the router")
			}
			d.onlyIn("10.0.0.100:80", 6)
			d.drService("10.0.0.100", 8080)
			d.wholeFrames()
			const n = 1 << 20
			roleOf[streamResult](d.bed, d.client(), "stream-client 10.0.0.100:8080 %d", n).equal(t, n)
			d.drService("10.0.0.100", 81)
			d.passesRefusals("10.0.0.100:81")
		})
	}
}

// drRouter gives the real servers a router of their own to the client.
func (d *director) drRouter() {
	d.t.Helper()
	router, err := d.net.World.Namespace("router")
	if err != nil {
		d.t.Fatal(err)
	}
	if err := d.net.Join(netns.End{In: router, Name: "eth0"}, netip.MustParsePrefix("192.168.100.253/24")); err != nil {
		d.t.Fatal(err)
	}
	if err := netns.Veth(netns.End{In: router, Name: "eth1"}, netns.End{In: d.client(), Name: "eth1"}); err != nil {
		d.t.Fatal(err)
	}
	d.scriptIn(router, "sysctl -w net.ipv4.ip_forward=1\nip route add 10.0.0.48/32 dev eth1")
	for _, rs := range d.net.Servers {
		d.run(rs, "ip route add default via 192.168.100.253")
	}
}
