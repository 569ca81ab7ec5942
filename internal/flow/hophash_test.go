package flow

import (
	"net/netip"
	"testing"
)

// Neighbours of one link differ in the last bytes of their addresses only: they
// must not crowd in one place of the table.
func TestNeighboursOfOneLinkSpread(t *testing.T) {
	table, err := New(Config{Conns: 1, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	addr := netip.MustParseAddr("10.0.0.1")
	for i := range 4000 {
		if table.Hops.Get(1, addr, [6]byte{}, 1500) == 0 {
			t.Fatalf("no room for neighbour %d, %v", i+1, addr)
		}
		addr = addr.Next()
	}
	if n := table.Hops.Len(); n != 4000 {
		t.Errorf("%d next hops, want 4000", n)
	}
}
