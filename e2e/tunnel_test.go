package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"weir/internal/testkit/netns"
	"weir/internal/testkit/uml"
)

// tunnelTutorial is the section "Tunnel Mode (one-arm)", command for command.
const tunnelTutorial = `
# config LAN network on dpdk0
./dpip addr add 10.140.16.48/20 dev dpdk0
# config default route, 'src' must be set for tunnel mode
./dpip route add default via 10.140.31.254 src 10.140.16.48 dev dpdk0
# add service <VIP:vport> to forwarding, scheduling mode is RR
./ipvsadm -A -t 10.140.31.48:80 -s rr
# add RS in the same subnet with DPVS, forwarding mode is tunnel
./ipvsadm -a -t 10.140.31.48:80 -r 10.140.18.33 -i
# add another RS in different subnet with DPVS, forwarding mode is tunnel
./ipvsadm -a -t 10.140.31.48:80 -r 10.40.84.170 -i
# add VIP and the route will generate automatically
./dpip addr add 10.140.31.48/32 dev dpdk0
`

// tunnelServer is what the section has for each real server.
const tunnelServer = `
ifconfig tunl0 10.140.31.48 netmask 255.255.255.255 broadcast 10.140.31.48 up
sysctl -w net.ipv4.conf.tunl0.arp_ignore=1
sysctl -w net.ipv4.conf.tunl0.rp_filter=2
`

// tunnelGuest is the guest's setup: two real servers, each in a namespace with a card.
// The ARP lines are not the section's: see drServer.
const tunnelGuest = `set -e
modprobe ipip
server() { # NAME CARD ADDRESS/LENGTH GATEWAY
	ip netns add $1
	ip link set $2 netns $1
	ip netns exec $1 bash -e <<END
		ip link set lo up
		ip link set $2 up
		ip addr add $3 dev $2
		ip route add default via $4
		sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
		` + tunnelServer + `
END
	mkdir /run/nginx-$1
	echo "CONF" | sed "s,DIR,/run/nginx-$1,; s,ADDRESS,${3%/*}," >/run/nginx-$1/nginx.conf
	ip netns exec $1 nginx -p /run/nginx-$1 -c /run/nginx-$1/nginx.conf -e stderr >/dev/null 2>&1 &
}
server rs1 vec0 10.140.18.33/20 10.140.31.254
server rs2 vec1 10.40.84.170/24 10.40.84.1
`

// The machine's kernel need not know IP in IP: all real servers are namespaces of one
// guest with a kernel that does, booted once for all tests.
var kernel = sync.OnceValues(func() (*uml.Guest, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	g, err := uml.Boot(ctx, 8)
	if err == nil {
		booted = g
	}
	return g, err
})

// serversOf boots the guest if nobody has, and sets real servers up in it, once. SELF in
// the script is this program, to play a role.
func serversOf(script string) func() (*uml.Guest, error) {
	return sync.OnceValues(func() (*uml.Guest, error) {
		g, err := kernel()
		if err != nil {
			return nil, err
		}
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
		defer cancel()
		_, err = g.Run(ctx, strings.ReplaceAll(script, "SELF", self))
		return g, err
	})
}

// tunnelServers are the section's real servers.
var tunnelServers = func() func() (*uml.Guest, error) {
	script := tunnelGuest
	for _, rs := range []string{"rs1", "rs2"} {
		script += roleEnv + "=stream-server ip netns exec " + rs + " SELF >/dev/null 2>&1 &\n"
	}
	block := `server { listen 80; location / { return 200 \"Hi, I am ADDRESS.\\n\"; } }`
	return serversOf(strings.ReplaceAll(script, "CONF", fmt.Sprintf(nginxConf, "DIR", block)))
}()

// booted is the guest that kernel has booted, or nil.
var booted *uml.Guest

// tunnelBed is the section's picture: the client and the first real server in the
// director's subnet, the second one behind a router.
type tunnelBed struct {
	*director
	guest  *uml.Guest
	router *netns.Namespace
}

func newTunnelBed(t *testing.T, s setup) *tunnelBed {
	t.Helper()
	guest, err := tunnelServers()
	if err != nil {
		t.Fatal(err)
	}
	d := newOneArm(t, s, "dpdk0", netns.OneArmOptions{Client: netip.MustParsePrefix("10.140.16.99/20")})
	b := &tunnelBed{director: d, guest: guest}
	if b.router, err = d.net.World.Namespace("router"); err != nil {
		t.Fatal(err)
	}
	if err := d.net.Join(netns.End{In: b.router, Name: "eth0"}, netip.MustParsePrefix("10.140.31.254/20")); err != nil {
		t.Fatal(err)
	}
	// The guest's cards: one on the switch, one at the router.
	t.Cleanup(func() { guest.Unplug(0); guest.Unplug(1) })
	if err := errors.Join(guest.Plug(0, d.net.LAN, "rs1"), d.net.LAN.Attach("rs1", "switch"), guest.Plug(1, b.router, "rs2")); err != nil {
		t.Fatal(err)
	}
	b.scriptIn(b.router, "ip addr add 10.40.84.1/24 dev rs2\nsysctl -w net.ipv4.ip_forward=1")
	b.run(b.client(), "ip route add default via 10.140.31.254")
	b.serves("rs1", ":80 ", ":8080 ")
	b.serves("rs2", ":80 ", ":8080 ")
	return b
}

// serves waits until a real server listens on ports. What it knows of another test's
// network is over.
func (b *tunnelBed) serves(rs string, ports ...string) {
	b.t.Helper()
	b.in(rs, "ip neigh flush all; ip route flush cache")
	eventually(b.t, rs+" serves", func() bool {
		out := b.in(rs, "ss -Hltn")
		for _, port := range ports {
			if !strings.Contains(out, port) {
				return false
			}
		}
		return true
	})
}

// in runs a script on a real server.
func (b *tunnelBed) in(rs, script string) string {
	b.t.Helper()
	out, err := b.guest.Run(within(b.t, patience), "ip netns exec "+rs+" bash <<'END'\n"+script+"\nEND")
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// TestTutorialTunnel runs the section "Tunnel Mode (one-arm)" as written, with the
// kernel of another Linux on the real servers.
func TestTutorialTunnel(t *testing.T) {
	for _, s := range eachOnce() {
		t.Run(s.String(), func(t *testing.T) {
			d := newTunnelBed(t, s)
			d.quietly(tunnelTutorial)
			d.prints(map[string]string{
				"./dpip route show": `inet 10.140.16.48/32 via 0.0.0.0 src 0.0.0.0 dev dpdk0 mtu 1500 tos 0 scope host metric 0 proto auto
inet 10.140.31.48/32 via 0.0.0.0 src 0.0.0.0 dev dpdk0 mtu 1500 tos 0 scope host metric 0 proto auto
inet 10.140.16.0/20 via 0.0.0.0 src 10.140.16.48 dev dpdk0 mtu 1500 tos 0 scope link metric 0 proto auto
inet 0.0.0.0/0 via 10.140.31.254 src 10.140.16.48 dev dpdk0 mtu 1500 tos 0 scope global metric 0 proto auto
`,
				"./ipvsadm -ln": `IP Virtual Server version 0.0.0 (size=0)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.140.31.48:80 rr
  -> 10.40.84.170:80              Tunnel  1      0          0
  -> 10.140.18.33:80              Tunnel  1      0          0
`,
			})
			port := d.tcpdump(d.net.LAN, "weir")
			d.ask("10.140.31.48:80", `Hi, I am (10\.140\.18\.33|10\.40\.84\.170)\.\n$`)
			d.askWithTOS("10.140.31.48:80", 0x10)
			d.run(d.client(), "ping -c 3 -i 0.2 -W 5 10.140.31.48")
			port.stop()
			d.outerHeaders(port)
			d.onlyIn("10.140.31.48:80", 7)

			d.wholeFrames()
			d.do("./ipvsadm -A -t 10.140.31.48:8080 -s rr")
			d.do("./ipvsadm -a -t 10.140.31.48:8080 -r 10.140.18.33 -i")
			const n = 1 << 20
			roleOf[streamResult](d.bed, d.client(), "stream-client 10.140.31.48:8080 %d", n).equal(t, n)
			if out := d.run(d.client(), "ip route get 10.140.31.48"); !strings.Contains(out, "mtu 1480") {
				t.Errorf("the client must have learnt an MTU of 1480, 20 less for the outer header:\n%s", out)
			}
			d.do("./ipvsadm -A -t 10.140.31.48:81 -s rr")
			d.do("./ipvsadm -a -t 10.140.31.48:81 -r 10.40.84.170 -i")
			d.passesRefusals("10.140.31.48:81")
		})
	}
}

// askWithTOS sends a request whose packets bear a type of service.
func (b *tunnelBed) askWithTOS(address string, tos int) {
	b.t.Helper()
	conn, err := b.client().Dial(within(b.t, patience), "tcp", address)
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		b.t.Fatal(err)
	}
	if e := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS, tos) }); e != nil || err != nil {
		b.t.Fatal(e, err)
	}
	if got := b.exchange(conn, "GET / HTTP/1.0\r\n\r\n"); !strings.Contains(got, "200 OK") {
		b.t.Errorf("the request with a type of service was answered %q", got)
	}
}

// outerHeaders has tshark judge all that the director encapsulated, and the answers.
func (b *tunnelBed) outerHeaders(c *capture) {
	t := b.t
	t.Helper()
	if got := c.segments("tcp.srcport == 80"); len(got) > 0 {
		t.Errorf("the director's port carried %d answers", len(got))
	}
	fields := []string{"ip.version", "ip.proto", "ip.src", "ip.dst", "ip.ttl", "ip.dsfield", "ip.flags.df", "ip.checksum.status", "ip.len", "tcp.checksum.status"}
	args := []string{"-r", c.file, "-Y", "ip.proto == 4", "-T", "fields", "-E", "aggregator=;", "-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	out, err := exec.CommandContext(within(t, patience), "tshark", args...).Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	seen := map[string]int{}
	for line := range strings.Lines(string(out)) {
		// Each field has the outer header's value and the inner one's.
		f := make([][]string, len(fields))
		for i, column := range strings.Split(strings.TrimSuffix(line, "\n"), "\t") {
			f[i] = strings.Split(column, ";")
		}
		two := true
		for i := range 9 {
			two = two && len(f[i]) == 2
		}
		if !two {
			t.Fatalf("tshark printed %q, want two headers", line)
		}
		outerLen, _ := strconv.Atoi(f[8][0])
		innerLen, _ := strconv.Atoi(f[8][1])
		switch {
		case f[1][0] != "4" || f[1][1] != "6":
			t.Errorf("protocols %v, want TCP in IP", f[1])
		case f[2][0] != "10.140.16.48" || f[2][1] != "10.140.16.99" || f[3][1] != "10.140.31.48":
			t.Errorf("addresses %v to %v", f[2], f[3])
		case f[4][0] != "63" || f[4][1] != "63":
			t.Errorf("TTL %v, want 63 in both", f[4])
		case f[5][0] != f[5][1]:
			t.Errorf("type of service %v, want one", f[5])
		case f[6][0] != f[6][1]:
			t.Errorf("don't-fragment %v, want the inner one's in both", f[6])
		case f[7][0] != sumGood || f[7][1] != sumGood || f[9][0] != sumGood:
			t.Errorf("checksums: %v of the headers, %v of TCP", f[7], f[9])
		case outerLen != innerLen+20:
			t.Errorf("lengths %v, want 20 between them", f[8])
		}
		seen["to "+f[3][0]]++
		seen["tos "+f[5][0]]++
		seen["df "+f[6][0]]++
	}
	for _, what := range []string{"to 10.140.18.33", "to 10.40.84.170", "tos 0x10", "tos 0x00", "df 1"} {
		if seen[what] == 0 {
			t.Errorf("tshark saw no packet %s: %v", what, seen)
		}
	}
}
