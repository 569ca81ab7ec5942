package route

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"weir/internal/spec"
)

// A table knows of a block what the longest match says of each address in it.
func TestBlocks(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 1))
	address := func() (ip [4]byte) {
		// Few places, so that prefixes lie in one another.
		binary.BigEndian.PutUint32(ip[:], uint32(rnd.IntN(8)<<20+rnd.IntN(16)<<29)^1<<uint(rnd.IntN(32)))
		return ip
	}
	for range 200 {
		var addrs []spec.Address
		var routes []spec.Route
		var linux []netip.Prefix
		seen := map[netip.Prefix]bool{}
		for range rnd.IntN(12) {
			p := netip.PrefixFrom(netip.AddrFrom4(address()), rnd.IntN(33))
			switch rnd.IntN(4) {
			case 0:
				if p.Bits() > 0 && !seen[netip.PrefixFrom(p.Addr(), 32)] {
					seen[netip.PrefixFrom(p.Addr(), 32)] = true
					addrs = append(addrs, spec.Address{Port: "dpdk0", Prefix: p})
				}
			case 1:
				linux = append(linux, p)
			default:
				if p = p.Masked(); !seen[p] {
					seen[p] = true
					routes = append(routes, spec.Route{Prefix: p, Port: "dpdk0"})
				}
			}
		}
		table, err := Build([]Port{{ID: 0, Name: "dpdk0", MTU: 1500, Linux: linux}}, addrs, routes)
		if err != nil {
			continue // two of one prefix
		}
		whole := 0
		for i := range uint32(numBlocks) {
			if table.only[i] != nil {
				whole++
			}
			for _, low := range []uint32{0, 1, 1<<19 + rnd.Uint32N(1<<19), 1<<20 - 1} {
				var ip [4]byte
				binary.BigEndian.PutUint32(ip[:], i<<20|low)
				got, ok := table.Lookup4(ip)
				want, there := table.lpm.Lookup(netip.AddrFrom4(ip))
				if got != want || ok != there {
					t.Fatalf("%v: %v %v, want %v %v; routes %v, addresses %v, Linux's %v", netip.AddrFrom4(ip), got, ok, want, there, routes, addrs, linux)
				}
			}
		}
		for range 500 {
			ip := address()
			got, ok := table.Lookup4(ip)
			if want, there := table.lpm.Lookup(netip.AddrFrom4(ip)); got != want || ok != there {
				t.Fatalf("%v: %v %v, want %v %v", netip.AddrFrom4(ip), got, ok, want, there)
			}
		}
		if _, all := table.lpm.Get(netip.MustParsePrefix("0.0.0.0/0")); all && whole == 0 {
			t.Fatal("no block goes along the default route")
		}
	}
}
