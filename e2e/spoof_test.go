package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"weir/internal/testkit/netns"
	"weir/internal/testkit/words"
)

// lies are a client's own option of address, in several ways.
var lies = []string{
	"toa 6.6.6.6:666",
	"nop,nop,toa 6.6.6.6:666,nop,nop",
	"ts 1 0,toa 6.6.6.6:666",
	"toa 6.6.6.6:666,toa 6.6.6.7:667",
	"hex fe14029a20010db8000000000000000000000666",       // an IPv6 one
	"toa 6.6.6.6:666,ts 1 0,sack 1-2,toa 6.6.6.7:667",    // no room for another
	"hex fe04060606060606",                               // another length
	"toa 6.6.6.6:666,toa 6.6.6.6:666,toa 6.6.6.6:666",    // nearly full
	"hex 0101010101010101010101fe08029a06060606,nop,nop", // far behind
}

// Whatever a client writes into option 254, and whenever, a real server never
// finds it; what it finds is the director's.
func TestTOASpoofed(t *testing.T) {
	for name, row := range map[string]struct {
		options string
		carries bool
		seen    string // by a program behind an agent that believes what it reads
	}{
		"TOA":       {"", true, "10.0.0.48:%d\n"},
		"TOA off":   {"--toa disable", false, "192.168.100.200:"},
		"PROXY v1":  {"--proxy-protocol v1", false, "10.0.0.48:%d\n"},
		"PROXY v2i": {"--proxy-protocol v2-insecure", false, "10.0.0.48:%d\n"},
	} {
		for _, s := range []setup{drivers[0], drivers[2]} {
			t.Run(name+" "+s.String(), func(t *testing.T) {
				s.servers = 1
				d := newDirector(t, s)
				d.agentOn(d.rs(1)).run()
				if strings.Contains(row.options, "proxy") {
					d.nginxWith(d.rs(1), strings.Replace(nginxProxied, "8090", "80", 1))
				} else {
					d.nginx(d.rs(1))
				}
				d.listening(d.rs(1), "127.0.0.1:80")
				d.twoArm()
				d.serviceTo("t", 80, 80, row.options, 1)
				atServer := d.tcpdump(d.rs(1), "eth0")
				for i, lie := range lies {
					port := uint16(40000 + i)
					want := row.seen
					if strings.Contains(want, "%d") {
						want = fmt.Sprintf(want, port)
					}
					if got := d.wholeLife(port, lie); strings.Count(got, "Your ip:port : "+want) != 2 {
						t.Errorf("to a client with the option %s the server answered %q, want %q twice", lie, got, want)
					}
				}
				atServer.stop()
				truth := map[uint16]int{}
				for _, seg := range atServer.segments("tcp && !icmp && ip.dst == 192.168.100.2") {
					for _, o := range kind254(seg.options) {
						client, _ := seg.toa()
						if !row.carries || len(kind254(seg.options)) != 1 || client.Addr() != netns.ClientAddr.Addr() {
							t.Errorf("frame %s (syn %v, rst %v, %d bytes) carries %x", seg.frame, seg.syn, seg.rst, seg.payload, o)
						}
						truth[client.Port()]++
					}
				}
				if row.carries && len(truth) != len(lies) {
					t.Errorf("the true client was named on %d of %d connections", len(truth), len(lies))
				}
			})
		}
	}
}

// wholeLife has a connection on which every segment carries a lie: handshake,
// request, acknowledgements, a second request, the end, and something behind it. It
// returns what the server said.
func (d *director) wholeLife(port uint16, lie string) string {
	d.t.Helper()
	return d.handmadeClient(port, 80).wholeLife(lie)
}

func (h *handmade) wholeLife(lie string) string {
	h.t.Helper()
	h.send("S", lie, nil)
	h.hear("the server answers the SYN", func() bool { return h.ack != 0 })
	h.send("A", lie, nil)
	h.send("PA", lie, []byte("GET /1 HTTP/1.1\r\n"))
	h.send("PA", lie, []byte("Host: weir.test\r\n\r\n"))
	answers := func(n int) func() bool {
		return func() bool {
			return strings.Count(string(h.got), "Your ip:port : ") == n && strings.HasSuffix(string(h.got), "\n")
		}
	}
	h.hear("the first answer comes", answers(1))
	h.send("A", lie, nil)
	h.send("PA", lie, []byte("GET /2 HTTP/1.1\r\nHost: weir.test\r\nConnection: close\r\n\r\n"))
	h.hear("the second answer comes", func() bool { return answers(2)() && h.closed })
	h.send("A", lie, nil)
	h.send("FA", lie, nil)
	h.send("A", lie, nil)
	h.send("RA", lie, nil)
	h.send("R", lie, nil)
	return string(h.got)
}

// uoaLies are a client's own IP options.
var uoaLies = map[string]string{
	"alone":               "1f08029a06060606",
	"behind padding":      "010101011f08029a06060606",
	"twice":               "1f08029a060606061f08029b06060607",
	"an IPv6 one":         "1f14029a20010db800000000000000000000066600000000"[:40],
	"between others":      "94040000" + "1f08029a06060606" + "01010101",
	"all there is":        strings.Repeat("1f08029a06060606", 5),
	"with the copied bit": "9f08029a06060606",
	"another length":      "1f04029a",
}

// Whatever a client writes into IP option 31 or sends as protocol 248, a real
// server finds only what the director wrote.
func TestUOASpoofed(t *testing.T) {
	for _, options := range []string{"--uoa ipo", "--uoa opp", "", "--proxy-protocol v2"} {
		t.Run("service "+options, func(t *testing.T) {
			s := one
			s.servers = 1
			d := newDirector(t, s)
			// The server answers whom it sees: behind an agent that believes what it reads.
			if !strings.Contains(options, "proxy") {
				d.agentOn(d.rs(1), "--uoa", "transparent").run()
			}
			d.start(d.rs(1), d.compiled("udp_peer"), "5300")
			d.listeningUDP(d.rs(1), 5300)
			d.twoArm()
			d.serviceTo("u", 5300, 5300, options, 1)
			atServer := d.tcpdump(d.rs(1), "eth0")
			flows := map[string]bool{} // by the ports that Linux gave the clients: it may give one twice
			for name, lie := range uoaLies {
				t.Run(name, func(t *testing.T) { flows[d.as(t).lyingDatagrams(options, lie)] = true })
			}
			flows[d.protocol248()] = true
			atServer.stop()
			carried := map[netip.AddrPort]int{}
			for _, g := range atServer.toServer() {
				if g.wrong != "" {
					t.Errorf("from %s: %s", g.src, g.wrong)
				}
				if strings.Contains(string(g.others), "\x06\x06\x06") || g.carrier != "" && g.client.Addr() != netns.ClientAddr.Addr() {
					t.Errorf("from %s: the option names %s, others are %x", g.src, g.client, g.others)
				}
				if g.carrier != "" {
					carried[g.src]++
				}
			}
			want := 0
			if strings.Contains(options, "uoa") {
				want = len(flows)
			}
			if len(carried) != want {
				t.Errorf("the director's option was on %d flows, want %d: %v", len(carried), want, carried)
			}
			for src, n := range carried {
				if n != 3 {
					t.Errorf("the director's option was on %d datagrams of %s, want 3", n, src)
				}
			}
		})
	}
}

// lyingDatagrams, as the client that it returns, sends ten datagrams with an IP option on each, which a server
// answers with the address that it sees.
func (d *director) lyingDatagrams(options, lie string) (client string) {
	d.t.Helper()
	var raw []byte
	if _, err := fmt.Sscanf(lie, "%x", &raw); err != nil {
		d.t.Fatal(err)
	}
	conn, err := d.client().Dial(within(d.t, patience), "udp", "10.0.0.100:5300")
	if err != nil {
		d.t.Fatal(err)
	}
	defer conn.Close()
	sc, err := conn.(*net.UDPConn).SyscallConn()
	if err != nil {
		d.t.Fatal(err)
	}
	var set error
	if err := sc.Control(func(fd uintptr) { set = unix.SetsockoptString(int(fd), unix.IPPROTO_IP, unix.IP_OPTIONS, string(raw)) }); err != nil || set != nil {
		d.t.Fatal(err, set)
	}
	for i := range 10 {
		got := d.exchange(conn, "who am I?")
		if strings.Contains(options, "uoa") && got != conn.LocalAddr().String() || !strings.Contains(options, "uoa") && !strings.HasPrefix(got, "192.168.100.200:") {
			d.t.Errorf("to datagram %d the server answered %q; the client is %s", i+1, got, conn.LocalAddr())
		}
	}
	return conn.LocalAddr().String()
}

// protocol248 sends packets as a director would, to the VIP: the option carried
// before UDP. They begin no connection and belong to none.
func (d *director) protocol248() (client string) {
	d.t.Helper()
	h := d.handmadeClient(41000, 5300)
	for _, body := range []string{
		"1011000c1f08029a06060606" + "a028" + "14b4" + "00080000",
		"1011000c1f08029a06060606",
		"10",
	} {
		f, err := words.Parse(fmt.Sprintf("ip %s > %s proto=248 / data=0x%s", netns.ClientAddr.Addr(), vip, body), nil, h.from, h.at)
		if err != nil {
			d.t.Fatal(err)
		}
		if err := unix.Sendto(h.fd, f.Data, 0, &h.to); err != nil {
			d.t.Fatal(err)
		}
	}
	// What is sent after them comes after them.
	conn, err := d.client().Dial(within(d.t, patience), "udp", "10.0.0.100:5300")
	if err != nil {
		d.t.Fatal(err)
	}
	defer conn.Close()
	for range 3 {
		d.exchange(conn, "last")
	}
	return conn.LocalAddr().String()
}
