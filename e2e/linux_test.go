package e2e

import (
	"net/netip"
	"testing"

	"weir/internal/testkit/netns"
)

// nftDirector is the director's job as Linux itself can do it: destination NAT in
// turn, source NAT to the local address.
const nftDirector = `
table ip lb {
    chain in {
        type nat hook prerouting priority dstnat
        ip daddr 10.0.0.100 tcp dport 80 dnat to numgen inc mod 2 map { 0 : 192.168.100.2, 1 : 192.168.100.3 }
        ip daddr 10.0.0.100 udp dport 53 dnat to numgen inc mod 2 map { 0 : 192.168.100.2, 1 : 192.168.100.3 }
        ip daddr 10.0.0.100 dnat to 192.168.100.2
    }
    chain out {
        type nat hook postrouting priority srcnat
        oif "dpdk0" snat to 192.168.100.200
    }
}
`

// linuxDirector puts Linux into the director's place.
func (b *bed) linuxDirector() {
	b.t.Helper()
	for link, address := range map[string]string{"dpdk1": "10.0.0.100/16", "dpdk0": "192.168.100.200/24"} {
		if err := b.net.Director.Address(link, netip.MustParsePrefix(address)); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := b.net.Director.WriteSysctl("ipv4/ip_forward", "1"); err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.net.Director.Run(within(b.t, patience), "nft", nftDirector); err != nil {
		b.t.Fatal(err)
	}
}

// TestBed judges the network, the servers and the load generators with a director
// that is above suspicion: what fails here is the bed's fault and not the
// director's.
func TestBed(t *testing.T) {
	b := newBed(t, netns.TwoArmOptions{Queues: 2})
	b.linuxDirector()
	b.manyAddresses()
	for i, rs := range b.net.Servers {
		b.nginx(rs)
		b.dnsmasq(rs, "192.0.2."+rs.Name()[2:])
		if i == 0 {
			b.iperf3(rs)
			b.streamServer(rs)
		}
	}
	t.Run("new connections", func(t *testing.T) {
		r := roleOf[loadResult](b.as(t), b.client(), "http-load 10.0.0.100:80 2000 64 new")
		r.ok(t, 2000)
		if r.Servers["rs1"] != 1000 || r.Servers["rs2"] != 1000 {
			t.Errorf("want half from each server, got %v", r.Servers)
		}
	})
	t.Run("kept connections", func(t *testing.T) {
		roleOf[loadResult](b.as(t), b.client(), "http-load 10.0.0.100:80 20000 64 kept").ok(t, 20000)
	})
	t.Run("streams", func(t *testing.T) {
		const n = 64 << 20
		roleOf[streamResult](b.as(t), b.client(), "stream-client 10.0.0.100:8080 %d", n).equal(t, n)
	})
	t.Run("DNS", func(t *testing.T) {
		roleOf[loadResult](b.as(t), b.client(), "dns-load 10.0.0.100:53 2000 16").ok(t, 2000)
	})
	t.Run("iperf3", func(t *testing.T) { b.as(t).iperf(t) })
	t.Run("a failure is counted", func(t *testing.T) {
		r := roleOf[loadResult](b.as(t), b.client(), "http-load 10.0.0.100:81 10 2 new")
		if r.Requests != 10 || r.Failures != 10 || r.Errors["dial: connect: connection refused"] != 10 {
			t.Errorf("10 requests to a closed port gave %+v, want 10 refusals", r)
		}
	})
	t.Run("a wrong client is counted", func(t *testing.T) {
		b := b.as(t)
		b.start(b.rs(1), b.compiled("tcp_peer"), "8081")
		b.listening(b.rs(1), "127.0.0.1:8081")
		b.start(b.rs(1), b.compiled("udp_peer"), "5300")
		b.listeningUDP(b.rs(1), 5300)
		for kind, target := range map[string]string{"tcp": "10.0.0.100:8081", "udp": "10.0.0.100:5300"} {
			load := b.peers(kind, 4, target)
			load.until(200)
			r := load.stop()
			if r.Failures > 0 || r.Wrong != r.Connections || len(r.Samples) == 0 {
				t.Errorf("%s through NAT gave %+v, want every client wrong", kind, r)
			}
		}
	})
}
