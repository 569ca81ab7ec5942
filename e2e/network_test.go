package e2e

import (
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The director answers pings to its addresses on both sides.
func TestEcho(t *testing.T) {
	for _, s := range drivers {
		t.Run(s.String(), func(t *testing.T) {
			d := newDirector(t, s)
			d.script(tutorial)
			d.run(d.client(), "ping -c 3 -i 0.2 -W 5 10.0.0.100")
			d.run(d.client(), "ping -c 3 -i 0.2 -W 5 -s 1400 10.0.0.100")
			d.run(d.rs(1), "ping -c 3 -i 0.2 -W 5 192.168.100.200")
		})
	}
}

// A UDP server that is gone answers with an ICMP error, and the client hears it as
// if it had sent to that server itself.
func TestServerDeadUDP(t *testing.T) {
	d := newDirector(t, one)
	d.script(tutorial)
	d.serviceOn("u", 53, 1)
	conn, err := d.client().Dial(within(t, patience), "udp", "10.0.0.100:53")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	eventually(t, "the client hears that the port is closed", func() bool {
		if _, err := conn.Write([]byte("?")); errors.Is(err, syscall.ECONNREFUSED) {
			return true
		}
		conn.SetReadDeadline(time.Now().Add(time.Second))
		_, err := conn.Read(make([]byte, 1))
		return errors.Is(err, syscall.ECONNREFUSED)
	})
}

// A connection on which nothing was said for its timeout ends with a reset on both
// sides.
func TestIdleConnectionIsReset(t *testing.T) {
	for name, row := range map[string]struct{ say, hear string }{
		"after nothing but the handshake": {"", ""},
		"after an answer":                 {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK"},
	} {
		t.Run(name, func(t *testing.T) {
			s := one
			s.conf = "ipvs_defs {\n    tcp {\n        timeout {\n            established 2\n        }\n    }\n}\n"
			d := failing(t, s)
			conn, err := d.client().Dial(within(t, patience), "tcp", "10.0.0.100:80")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, row.say); err != nil {
				t.Fatal(err)
			}
			// Sooner than Go's first keep-alive, which would be answered with a
			// reset as well.
			conn.SetReadDeadline(time.Now().Add(12 * time.Second))
			var heard []byte
			buf := make([]byte, 4096)
			for err == nil {
				var n int
				n, err = conn.Read(buf)
				heard = append(heard, buf[:n]...)
			}
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the client's connection ended with %v, want a reset", err)
			}
			if !strings.HasPrefix(string(heard), row.hear) {
				t.Errorf("the client heard %q", heard)
			}
			eventually(t, "the servers' connections end", func() bool {
				return d.run(d.rs(1), "ss -Htn state established") == "" && d.run(d.rs(2), "ss -Htn state established") == ""
			})
		})
	}
}

// A real server that comes back with another network card, and says so with a
// gratuitous ARP, goes on being served.
func TestNeighbourMoves(t *testing.T) {
	d := newDirector(t, one)
	d.nginx(d.rs(1))
	d.script(tutorial)
	d.do("./ipvsadm -d -t 10.0.0.100:80 -r 192.168.100.3")
	kept := d.steady("10.0.0.100:80", 4, "kept")
	d.run(d.rs(1), "ip link set eth0 address 02:00:00:00:12:34")
	d.run(d.rs(1), "arping -c 1 -U -I eth0 192.168.100.2")
	kept.more(500)
	kept.unharmed()
	if out := d.do("./dpip neigh show"); !strings.Contains(out, "mac: 02:00:00:00:12:34") {
		t.Errorf("the neighbour's new address is not shown:\n%s", out)
	}
}

// Where a route's MTU is less than the link's, senders are told and streams pass.
func TestPathMTU(t *testing.T) {
	for _, s := range drivers {
		t.Run(s.String(), func(t *testing.T) {
			d := newDirector(t, s)
			d.streamServer(d.rs(1))
			d.do("./dpip addr add 10.0.0.100/32 dev dpdk1")
			d.do("./dpip route add 10.0.0.0/16 dev dpdk1 mtu 1400")
			d.do("./dpip route add 192.168.100.0/24 dev dpdk0 mtu 1300")
			d.serviceOn("t", 8080, 1)
			d.wholeFrames()
			const n = 4 << 20
			roleOf[streamResult](d.bed, d.client(), "stream-client 10.0.0.100:8080 %d", n).equal(t, n)
			if out := d.run(d.client(), "ip route get 10.0.0.100"); !strings.Contains(out, "mtu 1300") && !strings.Contains(out, "mtu 1292") {
				t.Errorf("the client must have learnt an MTU of 1300, or 8 less with the option of address:\n%s", out)
			}
			if out := d.run(d.rs(1), "ip route get 192.168.100.200"); !strings.Contains(out, "mtu 1400") {
				t.Errorf("the server must have learnt an MTU of 1400:\n%s", out)
			}
		})
	}
}
