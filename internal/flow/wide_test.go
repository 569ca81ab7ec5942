package flow

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"unsafe"

	"weir/internal/clock"
)

// What a half-flow's packets get is found wherever it lies.
func TestGets(t *testing.T) {
	a6, b6 := AddrOf(netip.MustParseAddr("2001:db8::a")), AddrOf(netip.MustParseAddr("2001:db8::b"))
	c6, d6 := AddrOf(netip.MustParseAddr("2001:db8::c")), AddrOf(netip.MustParseAddr("2001:db8::d"))
	a4, b4 := AddrOf(netip.MustParseAddr("192.0.2.1")), AddrOf(netip.MustParseAddr("192.0.2.2"))
	c4, d4 := AddrOf(netip.MustParseAddr("192.0.2.3")), AddrOf(netip.MustParseAddr("192.0.2.4"))
	to4 := func(f Flow, src, dst Addr) Flow {
		f.NewAddrs, _ = Tuple(src.V4(), dst.V4(), 0, 0, 0)
		f.Cross = f.Wide
		return f
	}
	to6 := func(f Flow, src, dst Addr) Flow {
		f.NewSrc, f.NewDst, f.Cross = src, dst, !f.Wide
		return f
	}
	into := func(f Flow) Flow {
		f.Tunnel = true
		return f
	}
	in6, in4 := TupleOf(a6, b6, 1, 2, 6), TupleOf(a4, b4, 1, 2, 6)
	out6, out4 := TupleOf(c6, d6, 3, 4, 6), TupleOf(c4, d4, 3, 4, 6)
	alone := Flow{}
	for _, r := range []struct {
		name             string
		in, out          Flow
		inSrc, inDst     Addr
		outSrc, outDst   Addr
		inWide, outCross bool
	}{
		{"IPv4", to4(in4, d4, c4), to4(out4, b4, a4), d4, c4, b4, a4, false, false},
		{"IPv6", to6(in6, d6, c6), to6(out6, b6, a6), d6, c6, b6, a6, true, false},
		{"IPv6 to IPv4", to4(in6, d4, c4), to6(out4, b6, a6), d4, c4, b6, a6, true, true},
		{"IPv4 to IPv6", to6(in4, d6, c6), to4(out6, b4, a4), d6, c6, b4, a4, false, true},
		{"IPv4 in IPv4", into(to4(in4, d4, c4)), alone, d4, c4, Addr{}, Addr{}, false, false},
		{"IPv6 in IPv6", into(to6(in6, d6, c6)), alone, d6, c6, Addr{}, Addr{}, true, false},
		{"IPv6 in IPv4", into(to4(in6, d4, c4)), alone, d4, c4, Addr{}, Addr{}, true, false},
		{"IPv4 in IPv6, which nobody keeps", into(to6(in4, d6, c6)), alone, Addr{}, Addr{}, Addr{}, Addr{}, false, false},
	} {
		t.Run(r.name, func(t *testing.T) {
			tab := newTable(t, Config{Conns: 1, Workers: 1, Seed: 8})
			now := clock.Tick(1 << 20)
			startAt(tab, now)
			out := &r.out
			if r.out == alone {
				out = nil
			}
			i, err := tab.Worker(0).Insert(&r.in, out, &NewConn{Timeout: 100}, now)
			if err != nil {
				t.Fatal(err)
			}
			check := func(f *Flow, slot uint32, src, dst Addr) {
				h, key1 := tab.FindFlow(f)
				if h == nil || h != tab.Half(slot) {
					t.Fatalf("%+v is not found in slot %#x", f, slot)
				}
				if s, d := tab.Gets(h, key1); s != src || d != dst {
					t.Errorf("gets %v, %v, want %v, %v", s.IP(), d.IP(), src.IP(), dst.IP())
				}
				wantSrc, wantDst := f.key()
				if s, d := tab.Key(h); s != wantSrc || d != wantDst {
					t.Errorf("bears %v, %v, want %v, %v", s.IP(), d.IP(), wantSrc.IP(), wantDst.IP())
				}
				if key1&FlagCross != 0 != f.Cross || key1&FlagTunnel != 0 != f.Tunnel {
					t.Errorf("key word %#x, Cross %t, Tunnel %t", key1, f.Cross, f.Tunnel)
				}
			}
			c := tab.Conn(i)
			check(&r.in, c.In, r.inSrc, r.inDst)
			if out == nil {
				if c.Out != c.In {
					t.Errorf("an outbound half-flow in slot %#x, want none", c.Out)
				}
				return
			}
			check(out, c.Out, r.outSrc, r.outDst)
		})
	}
}

// Whoever points into another half-flow leaves before it does: while he is there
// the other one's slot has not even begun to rest.
func TestWhoPointsToAnotherLeavesFirst(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			tab := newTable(t, Config{Conns: 1, Workers: 1, Seed: 8})
			now := clock.Tick(1 << 20)
			startAt(tab, now)
			in, out := k.flows(1)
			i, err := tab.Worker(0).Insert(&in, &out, &NewConn{Timeout: 100}, now)
			if err != nil {
				t.Fatal(err)
			}
			c := tab.Conn(i)
			first, second := c.leaving()
			if first+second != c.In+c.Out || first == second {
				t.Fatalf("%#x and %#x leave, the half-flows are %#x and %#x", first, second, c.In, c.Out)
			}
			if h := tab.Half(second); tab.Wide(h) == nil && h.Key1&FlagCross != 0 {
				t.Errorf("slot %#x has its addresses in %#x, which leaves before it", second, first)
			}
		})
	}
}

// publish makes valid what its worker placed, and nothing else: not the tenant who
// moves into the slot after the connection ended and the slot rested.
func TestPublishOnlyOnesOwn(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			tab := newTable(t, Config{Conns: 1, Workers: 2, Seed: 8})
			now := clock.Tick(1 << 20)
			startAt(tab, now)
			f, _ := k.flows(1)
			slot, err := tab.Worker(0).place(&f, 1, 1, new(uint32), now)
			if err != nil {
				t.Fatal(err)
			}
			word := tab.pending(slot)
			tab.kill(slot, now) // its packets' first, while its worker sleeps
			tab.publish(slot, word)
			if h, _ := tab.FindFlow(&f); h != nil {
				t.Fatal("a connection that ended is found")
			}
			now += 2 * Rest
			if again, err := tab.Worker(1).place(&f, 2, 2, new(uint32), now); err != nil || again != slot {
				t.Fatalf("the next tenant gets slot %#x, %v, want %#x", again, err, slot)
			}
			tab.publish(slot, word)
			if h, _ := tab.FindFlow(&f); h != nil {
				t.Fatal("a half-flow that another worker has not finished is found")
			}
			tab.publish(slot, tab.pending(slot))
			if h, _ := tab.FindFlow(&f); h == nil {
				t.Fatal("placed, published and not found")
			}
		})
	}
}

// Addresses come out as they went in.
func TestAddr(t *testing.T) {
	for _, s := range []string{"0.0.0.0", "192.0.2.1", "255.255.255.255", "::", "::1", "2001:db8::1:2", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::ffff:0:0:1"} {
		ip := netip.MustParseAddr(s)
		a := AddrOf(ip)
		var b [16]byte
		a.Put(b[:])
		if a.IP() != ip || a.Is4() != ip.Is4() || b != ip.As16() || AddrAt(b[:]) != a {
			t.Errorf("%s: comes out as %v, IPv4 %t, bytes %x", s, a.IP(), a.Is4(), b)
		}
		if ip.Is4() {
			b4 := ip.As4()
			if k0, _ := Tuple(a.V4(), 0, 0, 0, 0); V4(a.V4()) != a || [4]byte{byte(k0), byte(k0 >> 8), byte(k0 >> 16), byte(k0 >> 24)} != b4 {
				t.Errorf("%s: the word is %#x", s, a.V4())
			}
		}
	}
	if a := AddrOf(netip.Addr{}); a != (Addr{}) {
		t.Errorf("no address is %v", a)
	}
}

// TestBacks: once there are IPv4 half-flows that become IPv6, Fetch also brings in the
// lines that their packets read of the other half, wherever theirs lies near its home,
// and no others.
func TestBacks(t *testing.T) {
	for _, row := range []struct {
		name  string
		flows flowsOf
		cross bool
	}{{"IPv4", narrow, false}, {"IPv6", broad, false}, {"NAT64", nat64, true}, {"NAT46", nat46, true}, {"all", pair, true}} {
		t.Run(row.name, func(t *testing.T) {
			const n = 8000
			tab := newTable(t, Config{Conns: n, Workers: 1, Seed: 5})
			for i := range uint32(n) {
				in, out := row.flows(i)
				if _, err := tab.Worker(0).Insert(&in, &out, &NewConn{Timeout: 1000}, clock.Now()); err != nil {
					t.Fatal(err)
				}
			}
			if got := tab.crossing.Load(); got != row.cross {
				t.Errorf("crossing is %v", got)
			}
			displaced, wanted := 0, 0
			for first := uint32(0); first < n; first += 16 {
				var f Prefetcher
				var want []unsafe.Pointer
				for i := range uint32(16) {
					in, out := row.flows(first + i)
					for _, x := range []*Flow{&in, &out} {
						h, key1 := tab.FindFlow(x)
						if x.Wide {
							f.WantWide(tab, tab.Hash(h.Key0, h.Key1))
							continue
						}
						f.Want(tab, x.Key1, tab.Hash(x.Key0, x.Key1))
						away := far(tab, slotOf(tab, h))
						if key1&FlagCross != 0 && away <= 3 {
							back, _ := tab.FindFlow(map[bool]*Flow{true: &out, false: &in}[x == &in])
							want = append(want, unsafe.Pointer(&tab.Wide(back).Src))
							displaced += int(min(away, 1))
						}
					}
					f.Want(tab, 99, 77) // nobody's
				}
				if got := f.addrs[:f.backs(tab)]; !slices.Equal(got, want) {
					t.Fatalf("lines %v, want %v", got, want)
				}
				wanted += len(want)
				f.Fetch(tab)
			}
			if row.cross && (displaced < 100 || wanted < n/4) {
				t.Errorf("%d lines, %d of flows that are not at home: too few to tell", wanted, displaced)
			}
		})
	}
}

// A table that has less room for IPv6 takes as many connections of it as it says, those
// that rest counted; of two families each is half a one. IPv4 has all its room.
func TestWideConns(t *testing.T) {
	c := Config{Conns: 3000, WideConns: 400, Workers: 2, Seed: 8, Keep: openKeep(t, newKeep(t))}
	tab, _, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	if tab.WideConns() != 400 || tab.WideSlots() >= tab.Slots()/3 || tab.SharedBytes() != c.SharedBytes() {
		t.Fatalf("%d connections of IPv6, %d slots and %d wide ones, %d bytes", tab.WideConns(), tab.Slots(), tab.WideSlots(), tab.SharedBytes())
	}
	now := clock.Tick(1 << 20)
	startAt(tab, now)
	last := uint32(0)
	fill := func(flows flowsOf, want int) (all []uint32) {
		t.Helper()
		for {
			last++
			in, out := flows(last)
			i, err := tab.Worker(int(last)%2).Insert(&in, &out, &NewConn{Timeout: 1 << 30}, now)
			if err == nil {
				all = append(all, i)
				continue
			}
			if !errors.Is(err, ErrFull) || len(all) != want {
				t.Fatalf("%d connections and then %v, want %d", len(all), err, want)
			}
			return all
		}
	}
	end := func(all []uint32) {
		for _, i := range all {
			tab.Claim(i)
			tab.Worker(0).Remove(i, now)
		}
	}
	rest := func() {
		for range 2 {
			now += Rest + 1
			for range 20 {
				for i := range 2 {
					tab.Worker(i).Begin(now)
					tab.Worker(i).Advance(now, nil)
				}
			}
		}
	}
	six := fill(broad, 400)
	if !tab.WideScarce() {
		t.Error("there is no room for IPv6, and it is not scarce")
	}
	end(six[:10])
	fill(broad, 0) // those that ended rest
	rest()
	fill(nat64, 20)
	end(six[10:60])
	rest()
	if tab.WideScarce() {
		t.Error("an eighth is free, and IPv6 is scarce")
	}
	in, out := broad(last + 1000)
	for _, want := range []error{nil, ErrExists, ErrExists} {
		if i, err := tab.Worker(0).Insert(&in, &out, &NewConn{Timeout: 1 << 30}, now); !errors.Is(err, want) {
			t.Fatalf("%v, want %v", err, want)
		} else if err == nil {
			six = append(six, i)
		}
	}
	tab.Close()
	tab, found, err := Open(c)
	if err != nil || !found {
		t.Fatalf("found %t, %v", found, err)
	}
	defer func() { tab.Close() }()
	tab.TakeOver(now)
	rest() // of some nobody knows whether they still did
	six = append(six[60:], fill(broad, 49)...)
	end(six)
	rest()
	fill(nat46, 780)
	fill(narrow, 3000-800)
}
