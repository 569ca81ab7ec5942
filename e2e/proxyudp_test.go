package e2e

import (
	"encoding/json"
	"net"
	"net/netip"
	"testing"
	"time"
)

// UDP: the first datagram of a flow has the header, and no other.
func TestProxyUDP(t *testing.T) {
	liar := netip.MustParseAddrPort("6.6.6.6:666")
	for _, word := range []string{"v2", "v2-insecure"} {
		for _, s := range drivers {
			t.Run(word+" "+s.String(), func(t *testing.T) {
				s.servers = 1
				d := newDirector(t, s)
				d.proxyServer(1)
				d.twoArm()
				d.serviceTo("u", datagramPort, datagramPort, "--proxy-protocol "+word, 1)
				to := netip.AddrPortFrom(vip, datagramPort)
				// A datagram that waits for ARP may be overtaken by the next one: ask once.
				d.knock(to)
				for name, row := range map[string]struct {
					first  string
					data   int // bytes behind the client's own header
					ahead  int
					source netip.AddrPort // the true client's where it is none
				}{
					"small":            {"", 10, 0, netip.AddrPort{}},
					"empty":            {"", 0, 1, netip.AddrPort{}},
					"just fits":        {"", 1500 - 20 - 8 - 28, 0, netip.AddrPort{}},
					"just too large":   {"", 1500 - 20 - 8 - 27, 1, netip.AddrPort{}},
					"a whole frame":    {"", 1500 - 20 - 8, 1, netip.AddrPort{}},
					"with a header":    {proxyV2(2, liar, to), 10, 0, map[bool]netip.AddrPort{true: liar}[word == "v2-insecure"]},
					"with half of one": {proxyV2(2, liar, to)[:20], 0, 0, netip.AddrPort{}},
				} {
					t.Run(name, func(t *testing.T) {
						d := d.as(t)
						conn, err := d.client().Dial(within(t, patience), "udp", to.String())
						if err != nil {
							t.Fatal(err)
						}
						defer conn.Close()
						source := row.source
						if !source.IsValid() {
							source = netip.MustParseAddrPort(conn.LocalAddr().String())
						}
						data := noiseBytes(t, row.data)
						if name == "empty" {
							// A server can't tell it from a header that goes ahead.
							if _, err := conn.Write(nil); err != nil {
								t.Fatal(err)
							}
						} else {
							said := append([]byte(row.first), data...)
							if len(row.first) > 0 && len(row.first) < 28 {
								data = said
							}
							got := d.say(conn, said)
							if got.Ahead != row.ahead || got.Here != (row.ahead == 0) {
								t.Errorf("%d headers went ahead, one was in the datagram: %v; want %d", got.Ahead, got.Here, row.ahead)
							}
							got.holds(t, 2, source, to, data)
						}
						for range 5 {
							more := noiseBytes(t, 100)
							got := d.say(conn, more)
							if got.Here || got.Ahead != row.ahead {
								t.Errorf("a header came again: %+v", got)
							}
							got.holds(t, 2, source, to, more)
						}
					})
				}
			})
		}
	}
}

// knock makes the director learn its neighbours.
func (d *director) knock(to netip.AddrPort) {
	d.t.Helper()
	conn, err := d.client().Dial(within(d.t, patience), "udp", to.String())
	if err != nil {
		d.t.Fatal(err)
	}
	defer conn.Close()
	d.exchange(conn, "hello")
}

// say sends one datagram and returns what the server reports of it.
func (d *director) say(conn net.Conn, data []byte) (r proxyReport) {
	d.t.Helper()
	conn.SetDeadline(time.Now().Add(requestPatience))
	if _, err := conn.Write(data); err != nil {
		d.t.Fatal(err)
	}
	buf := make([]byte, 64<<10)
	n, err := conn.Read(buf)
	if err == nil {
		err = json.Unmarshal(buf[:n], &r)
	}
	if err != nil {
		d.t.Fatalf("no answer to a datagram of %d bytes: %v", len(data), err)
	}
	return r
}
