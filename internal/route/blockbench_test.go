package route

import (
	"net/netip"
	"testing"

	"weir/internal/spec"
)

// BenchmarkDefaultRoute is what a client of the default route costs, with and without blocks.
func BenchmarkDefaultRoute(b *testing.B) {
	table, err := Build([]Port{{ID: 0, Name: "dpdk0", MTU: 1500}}, []spec.Address{{Port: "dpdk0", Prefix: netip.MustParsePrefix("10.0.0.100/16")}},
		[]spec.Route{{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.0.0.1"), Port: "dpdk0"}})
	if err != nil {
		b.Fatal(err)
	}
	for _, row := range []struct {
		name   string
		lookup func(ip [4]byte) (*Route, bool)
	}{
		{"blocks", table.Lookup4},
		{"longest match", func(ip [4]byte) (*Route, bool) { return table.lpm.Lookup(netip.AddrFrom4(ip)) }},
	} {
		b.Run(row.name, func(b *testing.B) {
			for i := range b.N {
				if _, ok := row.lookup([4]byte{10, 16 | byte(i>>16)&15, byte(i >> 8), byte(i)}); !ok {
					b.Fatal("no route")
				}
			}
		})
	}
}
