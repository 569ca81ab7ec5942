package e2e

import (
	"net/netip"
	"testing"
)

// The header names the client and the VIP by the addresses of the client's family,
// whatever the real server's is.
func TestProxyProtocol6(t *testing.T) {
	b := newBed6(t)
	b.proxyServer(1)
	var next port6 = 1000
	for _, pair := range mixes {
		for _, v := range versions[:2] {
			t.Run(pair.String()+" "+v.word, func(t *testing.T) {
				b := &bed6{director: b.as(t), agent: b.agent}
				to := netip.MustParseAddrPort(b.to(&next, "t", pair, sinkPort, "--proxy-protocol "+v.word))
				data := noiseBytes(t, 5000)
				conn, me := b.dialTo(to, nil)
				converse(t, conn, data).holds(t, v.version, me, to, data)
				// What is lost is said again, header and all.
				for _, n := range []int{1, 2} {
					lost := b.lose("prerouting", "tcp dport 9001 meta length > 100", n)
					conn, me := b.dialTo(to, nil)
					converse(t, conn, data).holds(t, v.version, me, to, data)
					if got := lost(); got != n {
						t.Errorf("%d segments were lost, want %d", got, n)
					}
				}
			})
		}
		t.Run(pair.String()+" v2, UDP", func(t *testing.T) {
			b := &bed6{director: b.as(t), agent: b.agent}
			to := netip.MustParseAddrPort(b.to(&next, "u", pair, datagramPort, "--proxy-protocol v2"))
			b.knock(to)
			conn, err := b.client().Dial(within(t, patience), "udp", to.String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			for i := range 5 {
				data := noiseBytes(t, 100)
				got := b.say(conn, data)
				if got.Here != (i == 0) || got.Ahead != 0 {
					t.Errorf("datagram %d: %+v, want a header in the first one", i+1, got)
				}
				got.holds(t, 2, localOf(conn), to, data)
			}
		})
	}
}
