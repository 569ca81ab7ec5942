package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"weir/internal/testkit/netns"
)

// TestMatrixBed judges the matrix's bed and its checks, of both families, with a
// director that is above suspicion: Linux. Its packet filter is FNAT, NAT and SNAT, its
// routing is DR, and its routing into a TUN device that we read is Tunnel. Only from
// one family to the other Linux has no way by itself, but for tunnels.
func TestMatrixBed(t *testing.T) {
	b := &matrixBed{director: &director{bed: newBed(t, netns.TwoArmOptions{Servers: 1})}, front: "dpdk1", back: "dpdk0"}
	b.surround()
	b.linuxMatrix()
	for _, c := range matrixCells() {
		why, err := place(possibles, impossibles, c)
		if err != nil || why != nil || c.mode == fnat && c.pair.before != c.pair.behind {
			continue
		}
		t.Run(c.String(), func(t *testing.T) {
			d := *b
			d.director = &director{bed: b.bed.as(t)}
			d.carries(c)
		})
	}
}

// linuxMatrix puts Linux into the director's place.
func (b *matrixBed) linuxMatrix() {
	b.t.Helper()
	in := b.net.Director
	for key, value := range map[string]string{
		"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1",
		// Answers for DR's and Tunnel's VIPs, which are the real server's.
		"ipv6/conf/dpdk1/proxy_ndp":    "1",
		"ipv4/neigh/dpdk1/proxy_delay": "0", "ipv6/neigh/dpdk1/proxy_delay": "0",
		"ipv4/conf/all/rp_filter": "0", "ipv4/conf/all/send_redirects": "0",
		"ipv4/icmp_ratelimit": "0", "ipv6/icmp/ratelimit": "0",
	} {
		b.must(in.WriteSysctl(key, value))
	}
	for f, at := range map[int][]int{4: {16, 24}, 6: {64, 64}} {
		for _, a := range []netip.Addr{matrixFront[f], matrixWAN[f]} {
			b.must(in.Address("dpdk1", netip.PrefixFrom(a, at[0])))
		}
		for _, a := range []netip.Addr{matrixBack[f], matrixLocal[f]} {
			b.must(in.Address("dpdk0", netip.PrefixFrom(a, at[1])))
		}
	}
	var rules, routes strings.Builder
	for f, family := range map[int]string{4: "ip", 6: "ip6"} {
		fmt.Fprintf(&routes, "route add %s via %s\n", farNet[f], matrixNarrow[f])
		fmt.Fprintf(&routes, "route add %s via %s\n", outsideNet[f], matrixClient[f])
		pair := families{f, f}
		var in, out []string
		for _, mode := range []string{fnat, nat} {
			vip := matrixCell{mode: mode, pair: pair}.vip()
			b.must(b.net.Director.Address("dpdk1", netip.PrefixFrom(vip, bitsOf[f])))
			for port, server := range map[int]byFamily{echoPort: matrixNear, closedPort: matrixNear, rejectedPort: matrixNear, narrowPort: matrixFar} {
				in = append(in, fmt.Sprintf("%s daddr %s meta l4proto { tcp, udp } th dport %d dnat to %s", family, vip, port, server[f]))
			}
			if mode == fnat {
				out = append(out, fmt.Sprintf("oif dpdk0 ct original %s daddr %s snat to %s", family, vip, matrixLocal[f]))
			}
		}
		out = append(out, fmt.Sprintf("oif dpdk1 %s saddr %s snat to %s", family, matrixInside[f], matrixWAN[f]))
		fmt.Fprintf(&rules, "table %s lb {\nchain in { type nat hook prerouting priority dstnat;\n%s\n}\nchain out { type nat hook postrouting priority srcnat;\n%s\n}\n}\n",
			family, strings.Join(in, "\n"), strings.Join(out, "\n"))
	}
	if _, err := in.Run(within(b.t, patience), "nft", rules.String()); err != nil {
		b.t.Fatalf("%v, of these rules:\n%s", err, &rules)
	}
	b.ip(in, routes.String())
	for _, pair := range everyPair {
		b.linuxOneWay(pair)
	}
}

// linuxOneWay routes the VIPs of DR and Tunnel. A narrow way is a second table's.
func (b *matrixBed) linuxOneWay(pair families) {
	b.t.Helper()
	in := b.net.Director
	flag := map[int]string{4: "-4", 6: "-6"}[pair.before]
	way := func(c matrixCell, wide, narrow string) {
		table := 100 + int(c.vip().AsSlice()[len(c.vip().AsSlice())-1])
		b.ip(in, fmt.Sprintf("neigh add proxy %[1]s dev dpdk1\nroute add %[1]s/%[2]d %[3]s\nroute add %[1]s/%[2]d %[4]s table %[5]d\n",
			c.vip(), bitsOf[pair.before], wide, narrow, table))
		for _, proto := range []string{"tcp", "udp"} {
			b.run(in, fmt.Sprintf("ip %s rule add to %s ipproto %s dport %d lookup %d", flag, c.vip(), proto, narrowPort, table))
		}
	}
	if pair.before == pair.behind {
		c := matrixCell{mode: dr, pair: pair}
		via := fmt.Sprintf("via %s dev dpdk0", matrixHolder[pair.behind])
		way(c, via, fmt.Sprintf("%s mtu %d", via, narrowMTU))
	}
	c := matrixCell{mode: tunnel, pair: pair}
	header := map[int]int{4: 20, 6: 40}[pair.behind]
	tun := fmt.Sprintf("encap%d%d", pair.before, pair.behind)
	newEncapsulator(b.t, in, tun, pair, matrixHolder[pair.behind])
	way(c, fmt.Sprintf("dev %s mtu %d", tun, 1500-header), fmt.Sprintf("dev %s mtu %d", tun, narrowMTU-header))
}

// newEncapsulator tunnels what is routed into a TUN device to a machine.
func newEncapsulator(t *testing.T, in *netns.Namespace, name string, pair families, to netip.Addr) {
	t.Helper()
	proto := map[int]int{4: unix.IPPROTO_IPIP, 6: unix.IPPROTO_IPV6}[pair.before]
	var at unix.Sockaddr = &unix.SockaddrInet6{Addr: to.As16()}
	family := unix.AF_INET6
	if pair.behind == 4 {
		at, family = &unix.SockaddrInet4{Addr: to.As4()}, unix.AF_INET
	}
	var ended atomic.Bool
	done := make(chan struct{})
	err := in.Do(func() error {
		tun, err := newTUN(name)
		if err != nil {
			return err
		}
		raw, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, proto)
		if err != nil {
			unix.Close(tun)
			return err
		}
		go func() {
			defer close(done)
			defer unix.Close(tun)
			defer unix.Close(raw)
			buf := make([]byte, 65536)
			for !ended.Load() {
				if n, _ := unix.Poll([]unix.PollFd{{Fd: int32(tun), Events: unix.POLLIN}}, 100); n != 1 {
					continue
				}
				if n, err := unix.Read(tun, buf); err == nil {
					_ = unix.Sendto(raw, buf[:n], 0, at) // what is lost is sent again
				}
			}
		}()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ended.Store(true); <-done })
	if _, err := in.Run(within(t, patience), "ip", "link", "set", name, "up"); err != nil {
		t.Fatal(err)
	}
}
