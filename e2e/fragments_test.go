package e2e

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"
)

// echoes answers datagrams with themselves until its socket is closed.
func echoes(c net.PacketConn) {
	buf := make([]byte, 65536)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		if _, err := c.WriteTo(buf[:n], from); err != nil {
			return
		}
	}
}

// Datagrams larger than the links' MTU, both ways through full-NAT, between Linux's
// own stacks, which fragment and put together by themselves.
func TestFragments(t *testing.T) {
	setups := append([]setup{{driver: "afxdp", mode: "generic", workers: 2, queues: 2}}, drivers...)
	for _, s := range setups {
		t.Run(s.String(), func(t *testing.T) {
			s.servers = 1
			d := newDirector(t, s)
			server, err := d.rs(1).ListenPacket("udp", ":5300")
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			go echoes(server)
			d.twoArm()
			d.serviceOn("u", 5300, 1)
			ask := func(conn net.Conn, data []byte) error {
				// Nobody repeats a datagram that the kernel lost for want of memory.
				var err error
				for range 5 {
					if _, err = conn.Write(data); err != nil {
						return err
					}
					_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
					buf := make([]byte, 65536)
					var n int
					if n, err = conn.Read(buf); err == nil {
						if !bytes.Equal(buf[:n], data) {
							return fmt.Errorf("%d bytes came back, and not those that went", n)
						}
						return nil
					}
				}
				return err
			}
			conn, err := d.client().Dial(within(t, patience), "udp", netip.AddrPortFrom(vip, 5300).String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			for _, n := range []int{10, 1472, 1473, 8000, 8192, 30000, 65507, 8000, 1} {
				if err := ask(conn, noiseBytes(t, n)); err != nil {
					t.Errorf("%d bytes: %v", n, err)
				}
			}
			d.run(d.client(), "ping -c 3 -i 0.2 -W 5 -s 8000 10.0.0.100")
			if n := d.stat("ip_frag_overlap") + d.stat("ip_fragment"); n != 0 {
				t.Errorf("%d fragments were refused", n)
			}
		})
	}
}
