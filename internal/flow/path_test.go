package flow

import (
	"net/netip"
	"testing"
)

func TestPointToPoint(t *testing.T) {
	tab, err := New(Config{Conns: 100, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Close()
	n := &tab.Hops
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.9.9.9")
	a6 := netip.MustParseAddr("2001:db8::1")
	const tunnel, real = 5, 1
	n.SetPointToPoint(tunnel, true)

	v4, v6 := n.Get(tunnel, a, [6]byte{}, 1476), n.Get(tunnel, a6, [6]byte{}, 1476)
	if v4 == 0 || n.Get(tunnel, b, [6]byte{}, 1476) != v4 || v6 == v4 {
		t.Fatalf("next hops %#x and %#x: one of each family", v4, v6)
	}
	if h := n.At(v4); !h.Resolved() || h.Flags&HopStatic == 0 || h.MTU != 1476 {
		t.Errorf("next hop %+v is to be asked for", h)
	}
	if n.Get(real, a, [6]byte{}, 1500) == n.Get(real, b, [6]byte{}, 1500) {
		t.Error("two neighbours of a link are one")
	}
	back4, back6 := n.Back(tunnel, BeyondMAC(false), [6]byte{}, 1476), n.Back(tunnel, BeyondMAC(true), [6]byte{}, 1476)

	mtus := func() (m [4]uint16) {
		for i, ref := range []NextHopRef{v4, v6, back4, back6} {
			m[i] = n.At(ref).MTU
		}
		return m
	}
	for _, step := range []struct {
		name   string
		mtu    uint16
		second uint16
		want   bool
		mtus   [4]uint16
	}{
		{"first", 1400, 100, true, [4]uint16{1400, 1400, 1400, 1400}},
		{"more", 1450, 110, false, [4]uint16{1400, 1400, 1400, 1400}},
		{"less, and less than any IPv6 packet may be asked to be", 1200, 120, true, [4]uint16{1200, 1280, 1200, 1280}},
	} {
		if got := n.LearnPath(tunnel, step.mtu, step.second); got != step.want || mtus() != step.mtus {
			t.Errorf("%s: learnt %v, MTUs %v, want %v", step.name, got, mtus(), step.mtus)
		}
	}
	if n.LearnPath(real, 1400, 100) {
		t.Error("a path was learnt for a port that is a link")
	}
	if got := n.At(n.Get(tunnel, b, [6]byte{}, 1476)).MTU; got != 1200 {
		t.Errorf("another look at the route gives an MTU of %d", got)
	}
	if got := [2]int{n.Fit(tunnel, false, 1476), n.Fit(tunnel, true, 1476)}; got != [2]int{1200, 1280} {
		t.Errorf("fits %v", got)
	}

	n.ForgetPaths(719, 600)
	if n.PathOf(tunnel) != 1200 {
		t.Error("forgot a path that was learnt 599 seconds ago")
	}
	n.ForgetPaths(720, 600)
	if _, current := n.Current(v4); n.PathOf(tunnel) != 0 || current {
		t.Error("a path of ten minutes ago is believed still")
	}
	if got := n.At(n.Get(tunnel, b, [6]byte{}, 1476)).MTU; got != 1476 {
		t.Errorf("then the MTU is %d", got)
	}
	n.SetPointToPoint(tunnel, false)
	if n.IsPointToPoint(tunnel) || n.Fit(tunnel, true, 1000) != 1000 {
		t.Error("a port that is gone is a tunnel still")
	}
}
