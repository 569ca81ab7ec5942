package flow

import (
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

var mac1, mac2 = [6]byte{2, 0, 0, 0, 1, 1}, [6]byte{2, 0, 0, 0, 1, 2}

func TestNextHops(t *testing.T) {
	both(t, func(t *testing.T, b Backing) {
		hops := &newTable(t, Config{Conns: 1, Workers: 1, Backing: b}).Hops
		a4, a6 := netip.MustParseAddr("192.168.1.2"), netip.MustParseAddr("2001:db8::2")
		if ref := hops.Find(1, a4); ref != 0 {
			t.Fatalf("found %#x in an empty table", ref)
		}
		if _, ok := hops.Current(0); ok {
			t.Error("no next hop is current")
		}
		refs := map[NextHopRef]string{}
		for name, get := range map[string]func() NextHopRef{
			"IPv4":                  func() NextHopRef { return hops.Get(1, a4, mac1, 1500) },
			"IPv6":                  func() NextHopRef { return hops.Get(1, a6, mac1, 1500) },
			"another port":          func() NextHopRef { return hops.Get(2, a4, mac1, 1500) },
			"way back":              func() NextHopRef { return hops.Back(1, mac2, mac1, 9000) },
			"way back, other port":  func() NextHopRef { return hops.Back(2, mac2, mac1, 9000) },
			"the way back's number": func() NextHopRef { return hops.Get(1, netip.MustParseAddr("::200:0:102"), mac1, 1500) },
		} {
			ref := get()
			if ref == 0 || refs[ref] != "" {
				t.Errorf("%s: reference %#x, which is also %q", name, ref, refs[ref])
			}
			refs[ref] = name
			if again := get(); again != ref {
				t.Errorf("%s: %#x, then %#x", name, ref, again)
			}
			if _, ok := hops.Current(ref); !ok {
				t.Errorf("%s: not current", name)
			}
		}
		if hops.Len() != len(refs) {
			t.Errorf("Len %d, want %d", hops.Len(), len(refs))
		}
		n := 0
		hops.Range(func(ref NextHopRef, h *NextHop) bool {
			if refs[ref] == "" || hops.At(ref) != h {
				t.Errorf("Range shows %#x", ref)
			}
			n++
			return true
		})
		if n != len(refs) {
			t.Errorf("Range shows %d, want %d", n, len(refs))
		}

		h := hops.At(hops.Find(1, a4))
		if h.IP() != a4 || h.Port != 1 || h.MTU != 1500 || h.NUD() != NUDNone || h.Resolved() || h.Dest() != [6]byte{} {
			t.Errorf("a new neighbour is %v on port %d, MTU %d, state %d, resolved %t, at %x", h.IP(), h.Port, h.MTU, h.NUD(), h.Resolved(), h.Dest())
		}
		h.SetDest(mac2)
		h.SetNUD(NUDReachable, true)
		if h.Dest() != mac2 || h.NUD() != NUDReachable || !h.Resolved() {
			t.Errorf("after the answer: %x, state %d, resolved %t", h.Dest(), h.NUD(), h.Resolved())
		}
		// The Ethernet header as it goes out: destination, then source.
		want := [12]byte{2, 0, 0, 0, 1, 2, 2, 0, 0, 0, 1, 1}
		var got [12]byte
		for i := range 8 {
			got[i] = byte(h.DstSrc >> (8 * i))
		}
		for i := range 4 {
			got[8+i] = byte(h.SrcRest >> (8 * i))
		}
		if got != want {
			t.Errorf("MACs lie as %x, want %x", got, want)
		}
		back := hops.At(hops.Back(1, mac2, mac1, 9000))
		if back.IP().IsValid() || !back.Resolved() || back.Dest() != mac2 || back.NUD() != NUDReachable || back.Flags != HopBack {
			t.Errorf("way back: %v, resolved %t, %x, state %d, flags %d", back.IP(), back.Resolved(), back.Dest(), back.NUD(), back.Flags)
		}
	})
}

func TestNextHopGenerations(t *testing.T) {
	hops := &newTable(t, Config{Conns: 1, Workers: 1}).Hops
	addr := netip.MustParseAddr("192.168.1.2")
	ref, back := hops.Get(0, addr, mac1, 1500), hops.Back(0, mac2, mac1, 1500)
	h := hops.At(ref)
	h.SetDest(mac2)
	h.SetNUD(NUDReachable, true)

	hops.Invalidate()
	if _, ok := hops.Current(ref); ok {
		t.Error("current after Invalidate")
	}
	if _, ok := hops.Current(back); !ok {
		t.Error("a way back does not come from a route: it stays current")
	}
	again := hops.Get(0, addr, mac1, 1500)
	if hops.At(again) != h || again == ref || !h.Resolved() || h.Dest() != mac2 {
		t.Errorf("after Invalidate: %#x for %#x, resolved %t, %x: must be the same neighbour, still known", again, ref, h.Resolved(), h.Dest())
	}

	hops.Free(again)
	if _, ok := hops.Current(again); ok || hops.Find(0, addr) != 0 || hops.Len() != 1 || h.Resolved() {
		t.Errorf("after Free: current %t, found %#x, Len %d, resolved %t", ok, hops.Find(0, addr), hops.Len(), h.Resolved())
	}
	hops.Free(again)
	if hops.Len() != 1 {
		t.Errorf("freed twice: Len %d, want 1", hops.Len())
	}
	third := hops.Get(0, addr, mac1, 1500)
	if third == 0 || third == again || third == ref {
		t.Errorf("new tenant %#x after %#x and %#x", third, ref, again)
	}

	// 65535 changes later the generations begin anew, and none is 0.
	for range 1 << 16 {
		hops.bump(h)
		if atomic.LoadUint32(&h.State)>>16 == 0 {
			t.Fatal("generation 0 names no next hop")
		}
	}
}

// A full table says so, and goes on when there is room.
func TestNextHopsFull(t *testing.T) {
	hops := &newTable(t, Config{Conns: 1, Workers: 1}).Hops
	addr := netip.MustParseAddr("10.0.0.0")
	var refs []NextHopRef
	refused := 0
	for range MaxNextHops * 2 {
		if ref := hops.Get(0, addr, mac1, 1500); ref != 0 {
			refs = append(refs, ref)
		} else {
			refused++
		}
		addr = addr.Next()
	}
	if len(refs) != hops.Len() || len(refs) > MaxNextHops-1 || len(refs) < MaxNextHops*9/10 || refused == 0 {
		t.Errorf("%d next hops, Len %d, %d refused", len(refs), hops.Len(), refused)
	}
	for _, ref := range refs {
		hops.Free(ref)
	}
	if hops.Len() != 0 {
		t.Errorf("Len %d after all were freed", hops.Len())
	}
	if hops.Get(0, addr, mac1, 1500) == 0 {
		t.Error("no room in a table whose entries were all freed")
	}
}

// Many ask for the same neighbours at once while the housekeeping frees some:
// at no moment does a neighbour that stays have two entries, and who got a
// reference that is current holds the neighbour he asked for.
func TestNextHopsConcurrently(t *testing.T) {
	const rounds, asking = 300, 4
	hops := &newTable(t, Config{Conns: 1, Workers: 1}).Hops
	// Addresses whose places overlap.
	var addrs []netip.Addr
	addr := netip.MustParseAddr("10.0.0.0")
	first := addr.As16()
	near := hopHash(0, &first, 0)
	for len(addrs) < 24 {
		a := addr.As16()
		if d := (hopHash(0, &a, 0)>>8 - near>>8) & (MaxNextHops - 1); d < 20 {
			addrs = append(addrs, addr)
		}
		addr = addr.Next()
	}
	var wrong atomic.Int64
	for round := range rounds {
		var wg sync.WaitGroup
		var refs [asking][]NextHopRef
		for id := range asking {
			wg.Go(func() {
				for k := range addrs {
					a := addrs[(k+round*7)%len(addrs)]
					ref := hops.Get(0, a, mac1, 1500)
					h, ok := hops.Current(ref)
					if ip := h.IP(); ok && ip != a {
						if _, still := hops.Current(ref); still {
							wrong.Add(1)
						}
					}
					refs[id] = append(refs[id], ref)
					runtime.Gosched()
				}
			})
		}
		wg.Go(func() { // one at a time frees
			for k := range 12 {
				if ref := hops.Find(0, addrs[(k*5+round)%len(addrs)]); ref != 0 {
					hops.Free(ref)
				}
				runtime.Gosched()
			}
		})
		wg.Wait()
		seen := map[netip.Addr]NextHopRef{}
		hops.Range(func(ref NextHopRef, h *NextHop) bool {
			if other := seen[h.IP()]; other != 0 {
				t.Fatalf("round %d: %v is %#x and %#x", round, h.IP(), other, ref)
			}
			seen[h.IP()] = ref
			return true
		})
		if hops.Len() != len(seen) {
			t.Fatalf("round %d: Len %d, Range shows %d", round, hops.Len(), len(seen))
		}
		// Whoever's reference is current has the one entry there is.
		for id := range asking {
			for _, ref := range refs[id] {
				if h, ok := hops.Current(ref); ok && seen[h.IP()] != ref {
					t.Fatalf("round %d: reference %#x is current, %v is %#x", round, ref, h.IP(), seen[h.IP()])
				}
			}
		}
	}
	if wrong.Load() != 0 {
		t.Errorf("%d references named another neighbour", wrong.Load())
	}
}

// Whoever reads the MAC while it changes sees the one or the other, and neither
// the port's own MAC nor the generation suffers.
func TestSetDestIsWhole(t *testing.T) {
	hops := &newTable(t, Config{Conns: 1, Workers: 1}).Hops
	ref := hops.Get(0, netip.MustParseAddr("10.0.0.1"), mac1, 1500)
	h := hops.At(ref)
	a, b := [6]byte{0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa}, [6]byte{0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb}
	h.SetDest(a)
	var wg sync.WaitGroup
	var done atomic.Bool
	wg.Go(func() {
		for range 200000 {
			h.SetDest(b)
			h.SetNUD(NUDProbe, true)
			h.SetDest(a)
			h.SetNUD(NUDReachable, true)
		}
		done.Store(true)
	})
	wg.Go(func() {
		for !done.Load() {
			h.SetSource(mac2)
			h.SetSource(mac1)
		}
	})
	mixed := 0
	for !done.Load() {
		if m := h.Dest(); m != a && m != b {
			mixed++
		}
		runtime.Gosched()
	}
	wg.Wait()
	if mixed != 0 {
		t.Errorf("%d mixed MACs", mixed)
	}
	if h.Dest() != a {
		t.Errorf("the last MAC set was %x, now %x: lost to SetSource", a, h.Dest())
	}
	if byte(h.DstSrc>>48) != mac1[0] || byte(h.DstSrc>>56) != mac1[1] {
		t.Errorf("source begins %x %x, want %x", byte(h.DstSrc>>48), byte(h.DstSrc>>56), mac1[:2])
	}
	if _, ok := hops.Current(ref); !ok || h.NUD() != NUDReachable {
		t.Errorf("current %t, state %d", ok, h.NUD())
	}
}
