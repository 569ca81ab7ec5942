//go:build long

package e2e

import (
	"fmt"
	"testing"
)

// narrow is between the director and the branch: a router of Linux's, whose link to the
// branch takes 1300 bytes. It says so of the outer packets, which is all it sees.
const narrow = `
sysctl -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.branch.proxy_arp=1 net.ipv6.conf.branch.proxy_ndp=1
ip link set branch mtu 1300
ip route add 192.168.100.50/32 dev branch
ip -6 route add 2001:db8:100::50/128 dev branch
ip -6 neigh add proxy 2001:db8:100::1 dev branch
`

// beyond leads the outer packets to the router.
const beyond = `
./dpip route add 192.168.100.50/32 via 192.168.100.2 dev dpdk0
./dpip route add 2001:db8:100::50/128 via 2001:db8:100::2 dev dpdk0
`

// TestTunnelPathMTU: a router on the way of a tunnel has less room than the director's
// link, and tells the director, who tells the senders of what is inside (RFC 2003, 5.1;
// RFC 2473, 7 and 8; of GRE over IPv4 and IPv6 alike).
func TestTunnelPathMTU(t *testing.T) {
	guest, err := branch()
	if err != nil {
		t.Fatal(err)
	}
	d := newDirector(t, setup{driver: "afxdp", mode: "native", workers: 2, queues: 2})
	d.tunnelOutside()
	router := d.rs(1)
	t.Cleanup(func() { guest.Unplug(6) })
	if err := guest.Plug(6, router, "branch"); err != nil {
		t.Fatal(err)
	}
	d.scriptIn(router, narrow)
	d.quietly(snatGRE + beyond)
	b := &branchBed{director: d, guest: guest}
	b.in("ip neigh flush all; ip route flush cache; ip -6 route flush cache")
	for _, row := range []tunnelSort{
		{"gre1", 1, false, 1268}, {"ipip1", 2, false, 1280}, {"gre2", 3, false, 1272}, {"gre6", 4, false, 1248}, {"t6", 5, false, 1260},
		// Nobody has to make less than 1280 of IPv6: it travels in fragments of the outer packet.
		{"gre1", 1, true, 1280}, {"gre6", 4, true, 1280}, {"t6", 5, true, 1280},
	} {
		t.Run(fmt.Sprintf("%s inside IPv%d", row.name, map[bool]int{false: 4, true: 6}[row.v6]), func(t *testing.T) {
			b := b.as(t)
			learnt := b.stat("icmp_tunnel")
			b.goesOut(row)
			if !row.v6 && b.stat("icmp_tunnel") == learnt {
				t.Error("the router has said nothing: this shows nothing")
			}
		})
	}
}
