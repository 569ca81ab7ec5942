package flow

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"weir/internal/clock"
)

// filled returns a table with n connections of a kind, at most as full as it may be.
func filled(b *testing.B, n uint32, now clock.Tick, flows flowsOf) *Table {
	tab := newTable(b, Config{Conns: int(n), Workers: 1, Seed: 21})
	startAt(tab, now)
	w := tab.Worker(0)
	refused := 0
	for i := range n {
		in, out := flows(i)
		if _, err := w.Insert(&in, &out, &NewConn{Timeout: 1 << 30}, now); err != nil {
			refused++
		}
	}
	if refused > int(n)/1000 {
		b.Fatalf("%d of %d had no place", refused, n)
	}
	return tab
}

// BenchmarkFind looks up connections of a table at random, as a burst does: the
// homes of 32 packets are called in first.
func BenchmarkFind(b *testing.B) {
	for _, n := range []uint32{1_000, 100_000, 1_000_000, 10_000_000} {
		b.Run(fmt.Sprintf("conns=%d", n), func(b *testing.B) {
			tab := filled(b, n, 1<<20, narrow)
			r := rand.New(rand.NewPCG(1, 1))
			type key struct{ k0, k1, hash uint64 }
			keys := make([]key, 1<<16)
			for i := range keys {
				f, out := narrow(r.Uint32N(n))
				if i&1 != 0 {
					f = out
				}
				keys[i] = key{f.Key0, f.Key1, tab.Hash(f.Key0, f.Key1)}
			}
			var ahead Prefetcher
			missed, at := 0, 0
			for b.Loop() {
				if at&31 == 0 {
					for _, k := range keys[at : at+32] {
						ahead.Want(tab, k.k1, k.hash)
					}
					ahead.Fetch(tab)
				}
				k := &keys[at]
				if h, _ := tab.Find(k.k0, k.k1, k.hash); h == nil {
					missed++
				}
				at = (at + 1) & (len(keys) - 1)
			}
			b.ReportMetric(float64(2*tab.Len())/float64(tab.Slots()), "load")
			if missed > b.N/100+100 {
				b.Fatalf("%d of %d not found", missed, b.N)
			}
		})
	}
}

// BenchmarkFindWide is BenchmarkFind of IPv6: fold, hash and search; the addresses
// come out of the packets.
func BenchmarkFindWide(b *testing.B) {
	for _, n := range []uint32{1_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("conns=%d", n), func(b *testing.B) {
			tab := filled(b, n, 1<<20, broad)
			r := rand.New(rand.NewPCG(1, 1))
			type packet struct {
				addrs        [32]byte
				k0, k1, hash uint64
			}
			packets := make([]packet, 1<<16)
			for i := range packets {
				f, out := broad(r.Uint32N(n))
				if i&1 != 0 {
					f = out
				}
				p := &packets[i]
				f.Src.Put(p.addrs[:16])
				f.Dst.Put(p.addrs[16:])
				p.k1 = f.Key1
			}
			var ahead Prefetcher
			missed, at := 0, 0
			for b.Loop() {
				if at&31 == 0 {
					for i := range packets[at : at+32] {
						p := &packets[at+i]
						p.k0 = Fold(tab.Seed(), &p.addrs)
						p.hash = tab.Hash(p.k0, p.k1)
						ahead.WantWide(tab, p.hash)
					}
					ahead.Fetch(tab)
				}
				p := &packets[at]
				if w, _ := tab.FindWide(p.k1, p.hash, &p.addrs); w == nil {
					missed++
				}
				at = (at + 1) & (len(packets) - 1)
			}
			b.ReportMetric(float64(2*tab.Len())/float64(tab.Slots()), "load")
			if missed > b.N/100+100 {
				b.Fatalf("%d of %d not found", missed, b.N)
			}
		})
	}
}

// BenchmarkFold is what an IPv6 packet costs before its hash.
func BenchmarkFold(b *testing.B) {
	var a [32]byte
	var sum uint64
	for b.Loop() {
		sum += Fold(21, &a)
		binary.LittleEndian.PutUint64(a[8:], sum) // one waits for the other
	}
	if sum == 0 {
		b.Fatal("all fold to 0")
	}
}

// BenchmarkInsertRemove is a connection's whole life, rest included, in a table
// that is otherwise half full.
func BenchmarkInsertRemove(b *testing.B) {
	for _, k := range kinds {
		b.Run(k.name, func(b *testing.B) {
			now := clock.Tick(1 << 20)
			tab := filled(b, 500_000, now, k.flows)
			w := tab.Worker(0)
			n := uint32(500_000)
			b.ReportAllocs()
			for b.Loop() {
				n++
				if n&1023 == 0 {
					now += 3
					w.Begin(now)
				}
				in, out := k.flows(n)
				if i, err := w.Insert(&in, &out, &NewConn{Timeout: 1 << 20}, now); err == nil {
					tab.Claim(i)
					w.Remove(i, now)
				}
				if n&63 == 0 {
					w.Advance(now, nil)
				}
			}
		})
	}
}

// A table takes as many connections as it says: none is refused before it has them, and few
// lie beyond the reach of the XDP engine.
func TestPlacesAtRatedFill(t *testing.T) {
	for _, k := range kinds[:2] { // the others fill each array by half
		for _, seed := range []uint64{4, 5, 1 << 63} {
			t.Run(fmt.Sprintf("%s, seed %#x", k.name, seed), func(t *testing.T) { placesAtRatedFill(t, k.flows, seed) })
		}
	}
}

func placesAtRatedFill(t *testing.T, flows flowsOf, seed uint64) {
	tab := newNarrowTable(t, Config{Conns: 150_000, Workers: 1, Seed: seed})
	w := tab.Worker(0)
	refused, distant, n := 0, 0, uint32(0)
	for ; tab.Len() < tab.Conns() && refused < tab.Conns()/100; n++ {
		in, out := flows(n)
		i, err := w.Insert(&in, &out, &NewConn{Timeout: 1 << 30}, 1<<20)
		if err != nil {
			refused++
			continue
		}
		for _, slot := range [2]uint32{tab.Conn(i).In, tab.Conn(i).Out} {
			if far(tab, slot) >= ProbeFast {
				distant++
			}
		}
	}
	t.Logf("%d connections at load 0.73: %d had no place within %d slots, %d half-flows of %d lie beyond %d",
		tab.Len(), refused, ProbeMax, distant, 2*tab.Len(), ProbeFast)
	if refused != 0 || tab.Conns() != 150_000 {
		t.Errorf("%d of %d connections had no place", refused, tab.Conns())
	}
	if distant*50 > 2*tab.Len() {
		t.Errorf("%d of %d half-flows are out of the fast engine's reach, want 1 in 50 at most", distant, 2*tab.Len())
	}
}

// The packet's side of the table allocates nothing.
func TestNoAllocation(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) { noAllocation(t, k.flows) })
	}
}

func noAllocation(t *testing.T, flows flowsOf) {
	tab := newTable(t, Config{Conns: 10000, Workers: 1, Seed: 4})
	w := tab.Worker(0)
	now := clock.Tick(1 << 20)
	startAt(tab, now)
	n := uint32(0)
	conn := NewConn{Timeout: 1 << 20}
	hops := &tab.Hops
	expire := func(uint32) {}
	var ahead Prefetcher
	if a := testing.AllocsPerRun(5000, func() {
		n++
		now += 3
		in, out := flows(n)
		w.Begin(now)
		i, err := w.Insert(&in, &out, &conn, now)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range [2]*Flow{&in, &out} {
			if _, _, ok, torn := find(tab, f); !ok || torn {
				t.Fatal("inserted and not found")
			}
			if hash := tab.Hash(f.Key0, f.Key1); f.Wide {
				ahead.WantWide(tab, hash)
			} else {
				ahead.Want(tab, f.Key1, hash)
			}
			ahead.Fetch(tab)
		}
		tab.SetFast(tab.Conn(i).In, true)
		w.SetTimeout(i, 100, now)
		hops.Back(0, mac1, mac2, 1500)
		tab.Claim(i)
		w.Remove(i, now)
		w.Advance(now, expire)
	}); a != 0 {
		t.Errorf("%v allocations per connection, want 0", a)
	}
}
