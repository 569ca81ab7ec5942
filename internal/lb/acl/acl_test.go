package acl

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"weir/internal/flow"
	"weir/internal/packet"
)

// TestAgainstMaps compares the compiled lists with what is obviously right.
func TestAgainstMaps(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		// Few addresses, so that they meet; neighbours, so that cells crowd.
		addr := rapid.Custom(func(rt *rapid.T) netip.Addr {
			net, host := rapid.SampledFrom([]byte{1, 10, 192}).Draw(rt, "net"), rapid.Byte().Draw(rt, "host")
			if rapid.Bool().Draw(rt, "six") {
				return netip.AddrFrom16([16]byte{0: 0x20, 1: net, 15: host})
			}
			return netip.AddrFrom4([4]byte{net, 0, 0, host})
		})
		black := rapid.SliceOfN(addr, 0, 200).Draw(rt, "black")
		white := rapid.SliceOfN(addr, 0, 200).Draw(rt, "white")
		in := func(list []netip.Addr) map[netip.Addr]bool {
			m := map[netip.Addr]bool{}
			for _, a := range list {
				m[a] = true
			}
			return m
		}
		isBlack, isWhite := in(black), in(white)
		l := Compile(black, white)
		for _, a := range append(rapid.SliceOfN(addr, 100, 100).Draw(rt, "clients"), append(black, white...)...) {
			want := packet.NoReason
			switch {
			case isBlack[a]:
				want = packet.LBBlacklisted
			case len(white) > 0 && !isWhite[a]:
				want = packet.LBNotWhitelisted
			}
			if got := l.Check(flow.AddrOf(a)); got != want {
				rt.Fatalf("%s: %v, want %v", a, got, want)
			}
		}
	})
}

func TestNobodyIsListed(t *testing.T) {
	l := Compile(nil, nil)
	if l != nil || l.Check(flow.V4(1)) != packet.NoReason {
		t.Error("empty lists deny somebody")
	}
	one := []netip.Addr{netip.MustParseAddr("1.2.3.4")}
	if r := Compile(one, nil).Check(flow.V4(0)); r != packet.NoReason {
		t.Errorf("0.0.0.0 is on a blacklist: %v", r)
	}
	if r := Compile(nil, one).Check(flow.Addr{}); r != packet.LBNotWhitelisted {
		t.Errorf("0.0.0.0 is on a whitelist: %v", r)
	}
}

func TestAllocations(t *testing.T) {
	var list []netip.Addr
	for i := range 1000 {
		list = append(list, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
	}
	l := Compile(list, list)
	if n := testing.AllocsPerRun(100, func() { l.Check(flow.V4(0x01020304)); l.Check(flow.AddrOf(list[7])) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCheck(b *testing.B) {
	for _, n := range []int{1, 1000, 65536} {
		b.Run(map[int]string{1: "1", 1000: "1000", 65536: "65536"}[n], func(b *testing.B) {
			var list []netip.Addr
			for i := range n {
				list = append(list, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
			}
			l := Compile(list, nil)
			for i := range b.N {
				l.Check(flow.V4(uint32(i) * 2654435761))
			}
		})
	}
}
