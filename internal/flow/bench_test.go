package flow

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"weir/internal/clock"
)

// filled returns a table with n connections, at most as full as it may be.
func filled(b *testing.B, n uint32, now clock.Tick) *Table {
	tab := newTable(b, Config{Conns: int(n), Workers: 1, Seed: 21})
	startAt(tab, now)
	w := tab.Worker(0)
	refused := 0
	for i := range n {
		in, out := pair(i)
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
			tab := filled(b, n, 1<<20)
			r := rand.New(rand.NewPCG(1, 1))
			type key struct{ k0, k1, hash uint64 }
			keys := make([]key, 1<<16)
			for i := range keys {
				f, out := pair(r.Uint32N(n))
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
						ahead.Want(tab, k.hash)
					}
					ahead.Fetch()
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

// BenchmarkInsertRemove is a connection's whole life, rest included, in a table
// that is otherwise half full.
func BenchmarkInsertRemove(b *testing.B) {
	now := clock.Tick(1 << 20)
	tab := filled(b, 500_000, now)
	w := tab.Worker(0)
	n := uint32(500_000)
	b.ReportAllocs()
	for b.Loop() {
		n++
		if n&1023 == 0 {
			now += 3
			w.Begin(now)
		}
		in, out := pair(n)
		if i, err := w.Insert(&in, &out, &NewConn{Timeout: 1 << 20}, now); err == nil {
			tab.Claim(i)
			w.Remove(i, now)
		}
		if n&63 == 0 {
			w.Advance(now, nil)
		}
	}
}

// A table takes as many connections as it says: at its rated fill hardly a tuple
// finds no place, and few lie beyond the reach of the XDP engine.
func TestPlacesAtRatedFill(t *testing.T) {
	tab := newTable(t, Config{Conns: 300_000, Workers: 1, Seed: 4})
	w := tab.Worker(0)
	refused, far, n := 0, 0, uint32(0)
	for ; tab.Len() < tab.Conns() && refused < tab.Conns()/100; n++ {
		in, out := pair(n)
		i, err := w.Insert(&in, &out, &NewConn{Timeout: 1 << 30}, 1<<20)
		if err != nil {
			refused++
			continue
		}
		for _, slot := range [2]uint32{tab.Conn(i).In, tab.Conn(i).Out} {
			h := tab.Half(slot)
			if (uint64(slot)-tab.Hash(h.Key0, h.Key1))&tab.mask >= ProbeFast {
				far++
			}
		}
	}
	t.Logf("%d connections at load 0.75: %d had no place within %d slots, %d half-flows of %d lie beyond %d",
		tab.Len(), refused, ProbeMax, far, 2*tab.Len(), ProbeFast)
	if refused*500 > tab.Conns() {
		t.Errorf("%d of %d connections had no place, want 1 in 500 at most", refused, tab.Conns())
	}
	if far*20 > 2*tab.Len() {
		t.Errorf("%d of %d half-flows are out of the fast engine's reach, want 1 in 20 at most", far, 2*tab.Len())
	}
}

// The packet's side of the table allocates nothing.
func TestNoAllocation(t *testing.T) {
	tab := newTable(t, Config{Conns: 10000, Workers: 1, Seed: 4})
	w := tab.Worker(0)
	now := clock.Tick(1 << 20)
	startAt(tab, now)
	n := uint32(0)
	in, out := pair(0)
	conn := NewConn{Timeout: 1 << 20}
	hops := &tab.Hops
	expire := func(uint32) {}
	if a := testing.AllocsPerRun(5000, func() {
		n++
		now += 3
		in.Key0, out.Key0 = uint64(n), uint64(n)<<32
		w.Begin(now)
		i, err := w.Insert(&in, &out, &conn, now)
		if err != nil {
			t.Fatal(err)
		}
		if h, key1 := tab.Find(in.Key0, in.Key1, tab.Hash(in.Key0, in.Key1)); h == nil || !h.Same(key1) {
			t.Fatal("inserted and not found")
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
