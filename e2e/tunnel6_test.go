package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"weir/internal/testkit/netns"
	"weir/internal/testkit/uml"
)

// commandsOf returns the commands of a section of a page of docs/, in its order:
// indented lines, without what they say behind a #.
func commandsOf(page, section string) (string, error) {
	text, err := os.ReadFile("../docs/" + page)
	if err != nil {
		return "", err
	}
	_, rest, found := strings.Cut(string(text), "\n## "+section+"\n")
	if !found {
		return "", fmt.Errorf("docs/%s has no section %q", page, section)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	var commands strings.Builder
	for line := range strings.Lines(rest) {
		if command, ok := strings.CutPrefix(line, "    "); ok {
			command, _, _ = strings.Cut(command, " #")
			commands.WriteString(strings.TrimSpace(command) + "\n")
		}
	}
	return commands.String(), nil
}

// pairsServer is the real server of docs/tunnel.md, with that page's commands. Its Linux
// is as strict about ways back as some distributions make it, so that each line is needed.
var pairsServer = sync.OnceValues(func() (*uml.Guest, error) {
	commands, err := commandsOf("tunnel.md", "The real server")
	if err != nil {
		return nil, err
	}
	return serversOf(`set -e
export -f modprobe
modprobe ip6_tunnel
ip netns add rs3
ip link set vec2 netns rs3
ip netns exec rs3 bash -e <<'END'
	sysctl -w net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.default.rp_filter=1
	ip -batch - <<-'LINKS'
		link set lo up
		link set vec2 up
		addr add 10.140.18.33/20 dev vec2
		addr add 2001:db8:1::33/64 dev vec2 nodad
	LINKS
` + commands + `END
` + roleEnv + "='stream-server :80' ip netns exec rs3 SELF >/dev/null 2>&1 &\n")()
})

// tunnelPairs are the four ways to wrap, and what an outer header leaves of 1500 bytes.
var tunnelPairs = []struct {
	name, vip, server string
	mtu               int
	layers            string // tshark's names of the headers
}{
	{"IPv6 in IPv6", "[2001:db8:1::100]:80", "[2001:db8:1::33]:80", 1460, "ipv6:ipv6"},
	{"IPv6 in IPv4", "[2001:db8:1::100]:80", "10.140.18.33:80", 1480, "ip:ipv6"},
	{"IPv4 in IPv6", "10.140.31.48:80", "[2001:db8:1::33]:80", 1460, "ipv6:ip"},
	{"IPv4 in IPv4", "10.140.31.48:80", "10.140.18.33:80", 1480, "ip:ip"},
}

// newPairsBed is the director with a client and that real server on one switch.
func newPairsBed(t *testing.T, s setup) *tunnelBed {
	t.Helper()
	guest, err := pairsServer()
	if err != nil {
		t.Fatal(err)
	}
	b := &tunnelBed{guest: guest, director: newOneArm(t, s, "dpdk0", netns.OneArmOptions{
		Client: netip.MustParsePrefix("10.140.16.99/20"), Client6: netip.MustParsePrefix("2001:db8:1::99/64"),
	})}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("rs3:\n%s", b.in("rs3", "ip -s neigh; ip -6 route; ss -Htan"))
		}
		guest.Unplug(2)
	})
	if err := errors.Join(guest.Plug(2, b.net.LAN, "rs3"), b.net.LAN.Attach("rs3", "switch")); err != nil {
		t.Fatal(err)
	}
	b.serves("rs3", ":80 ")
	b.in("rs3", "ip -6 neigh flush all; ip -6 route flush cache")
	// Answers take a way of their own, which has to be there before the director is judged.
	for _, client := range []string{"10.140.16.99", "2001:db8:1::99"} {
		eventually(t, "rs3 reaches the client at "+client, func() bool {
			return strings.Contains(b.in("rs3", "ping -c 1 -W 1 "+client+" || true"), " 0% packet loss")
		})
	}
	return b
}

// TestTunnelIPv6 runs all that docs/tunnel.md tells director and real server, for a
// VIP of either family on a real server of either.
func TestTunnelIPv6(t *testing.T) {
	for _, s := range []setup{drivers[0], drivers[2]} {
		t.Run(s.String(), func(t *testing.T) {
			b := newPairsBed(t, s)
			commands, err := commandsOf("tunnel.md", "The director")
			if err != nil {
				t.Fatal(err)
			}
			b.quietly(commands)
			b.prints(map[string]string{
				"./ipvsadm -ln": `IP Virtual Server version 0.0.0 (size=0)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.140.31.48:80 rr
  -> 10.40.84.170:80              Tunnel  1      0          0
  -> 10.140.18.33:80              Tunnel  1      0          0
  -> [2001:db8:1::33]:80          Tunnel  1      0          0
TCP  [2001:db8:1::100]:80 rr
  -> 10.140.18.33:80              Tunnel  1      0          0
  -> [2001:db8:1::33]:80          Tunnel  1      0          0
`,
			})
			// It is behind a router that this picture has not: see TestTutorialTunnel.
			b.do("./ipvsadm -d -t 10.140.31.48:80 -r 10.40.84.170:80")
			port := b.tcpdump(b.net.LAN, "weir")
			for _, vip := range []string{"10.140.31.48", "2001:db8:1::100"} {
				b.run(b.client(), "ping -c 2 -i 0.2 -W 5 "+vip)
			}
			for _, p := range tunnelPairs {
				b.onlyServer(p.vip, p.server)
				b.run(b.client(), "curl -sS -o /dev/null --max-time 20 http://"+p.vip+"/100")
			}
			port.stop()
			b.pairsSeen(port)
			b.vipIsTheDirectors("10.140.31.48")
			mac, err := b.net.Director.MAC(b.lan)
			if err != nil {
				t.Fatal(err)
			}
			if out := b.run(b.client(), "ip neigh show 2001:db8:1::100"); !strings.Contains(out, " lladdr "+mac.String()+" ") {
				t.Errorf("the client knows the VIP of IPv6 so: %q, want the director's %s", out, mac)
			}
			for _, p := range tunnelPairs {
				b.onlyServer(p.vip, p.server)
				b.run(b.client(), "ip route flush cache")
				b.run(b.client(), "ip -6 route flush cache")
				const n = 256 << 10
				roleOf[streamResult](b.bed, b.client(), "stream-client %s %d", p.vip, n).equal(t, n)
				vip := netip.MustParseAddrPort(p.vip).Addr().String()
				if out := b.run(b.client(), "ip route get "+vip); !strings.Contains(out, fmt.Sprintf("mtu %d", p.mtu)) {
					t.Errorf("%s: the client must have learnt an MTU of %d:\n%s", p.name, p.mtu, out)
				}
			}
			b.onlyIn("10.140.31.48:80", 4)
			b.onlyIn("[2001:db8:1::100]:80", 4)
		})
	}
}

// onlyServer leaves one real server with a weight.
func (b *tunnelBed) onlyServer(vip, server string) {
	b.t.Helper()
	for _, p := range tunnelPairs {
		if p.vip == vip {
			weight := 0
			if p.server == server {
				weight = 1
			}
			b.do(fmt.Sprintf("./ipvsadm -e -t %s -r %s -i -w %d", vip, p.server, weight))
		}
	}
}

// pairsSeen has tshark judge the headers of all that was wrapped: what is of the outer
// header and of the inner one is in one column, the outer one's first.
func (b *tunnelBed) pairsSeen(c *capture) {
	t := b.t
	t.Helper()
	if got := c.segments("tcp.srcport == 80"); len(got) > 0 {
		t.Errorf("the director's port carried %d answers", len(got))
	}
	out, err := exec.CommandContext(within(t, patience), "tshark", "-r", c.file, "-Y", "tcp.dstport == 80 && (ip.proto == 4 || ip.proto == 41 || ipv6.nxt == 4 || ipv6.nxt == 41)",
		"-T", "fields", "-E", "aggregator=;", "-E", "separator=|", "-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE",
		"-e", "frame.protocols", "-e", "ip.src", "-e", "ip.dst", "-e", "ip.ttl", "-e", "ip.flags.df", "-e", "ip.checksum.status",
		"-e", "ipv6.src", "-e", "ipv6.dst", "-e", "ipv6.hlim", "-e", "tcp.checksum.status").Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	const (
		mine4, client4, vip4, rs4 = "10.140.16.48", "10.140.16.99", "10.140.31.48", "10.140.18.33"
		mine6, client6, vip6, rs6 = "2001:db8:1::48", "2001:db8:1::99", "2001:db8:1::100", "2001:db8:1::33"
	)
	want := map[string]string{
		"ipv6:ipv6": "||||" + "|" + mine6 + ";" + client6 + "|" + rs6 + ";" + vip6 + "|63;63|1",
		"ip:ipv6":   mine4 + "|" + rs4 + "|63|1|1|" + client6 + "|" + vip6 + "|63|1",
		"ipv6:ip":   client4 + "|" + vip4 + "|63|1|1|" + mine6 + "|" + rs6 + "|63|1",
		"ip:ip":     mine4 + ";" + client4 + "|" + rs4 + ";" + vip4 + "|63;63|1;1|1;1|||" + "|1",
	}
	var seen []string
	for line := range strings.Lines(string(out)) {
		protocols, rest, _ := strings.Cut(strings.TrimSpace(line), "|")
		layers := strings.Split(strings.TrimPrefix(protocols, "eth:ethertype:"), ":tcp")[0]
		if rest = strings.ReplaceAll(rest, "True", "1"); rest != want[layers] {
			t.Errorf("headers %s say\n%s\nwant\n%s", layers, rest, want[layers])
		}
		if !slices.Contains(seen, layers) {
			seen = append(seen, layers)
		}
	}
	for _, p := range tunnelPairs {
		if !slices.Contains(seen, p.layers) {
			t.Errorf("tshark saw no %s, only %v", p.name, seen)
		}
	}
}
