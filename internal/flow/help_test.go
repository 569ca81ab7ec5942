package flow

import (
	"testing"
	"unsafe"

	"weir/internal/clock"
)

// both runs a test on tables of both backings.
func both(t *testing.T, f func(t *testing.T, b Backing)) {
	t.Run("anonymous", func(t *testing.T) { f(t, Anonymous) })
	t.Run("bpf array", func(t *testing.T) { f(t, BPFArray) })
}

func newTable(t testing.TB, c Config) *Table {
	t.Helper()
	tab, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tab.Close)
	return tab
}

// startAt makes a new table believe that it began at tick now.
func startAt(tab *Table, now clock.Tick) {
	tab.newest.Store(uint32(now))
	for _, w := range tab.workers[:tab.nwork] {
		w.wheel.init(tab, now)
	}
}

// pair returns the two directions of connection n: the inbound tuple's words
// and what a packet gets can be told from n alone, and are told by derived.
func pair(n uint32) (in, out Flow) {
	const client, vip, local, real = 0x0a000000, 0x6400000a, 0xc801a8c0, 0x0201a8c0
	in.Key0, in.Key1 = Tuple(client+n, vip, uint16(n), 80, 6)
	out.Key0, out.Key1 = Tuple(real, local+n>>16, 80, uint16(n), 6)
	out.Reply = true
	for _, f := range []*Flow{&in, &out} {
		f.NewAddrs, f.NewPorts, f.DeltaIP, f.DeltaL4, f.NextHop = derived(f.Key0, f.Key1)
	}
	return in, out
}

func derived(k0, k1 uint64) (addrs uint64, ports uint32, ip, l4 uint16, hop NextHopRef) {
	h := Hash(99, k0, k1)
	return h, uint32(h >> 7), uint16(h >> 13), uint16(h >> 29), uint32(h >> 31)
}

// find looks a flow up as a reader must: copy, then ask again. ok is false when
// the half-flow changed meanwhile; torn when the copied words are not the key's.
func find(tab *Table, f *Flow) (h *Half, conn uint32, ok, torn bool) {
	h, key1 := tab.Find(f.Key0, f.Key1, tab.Hash(f.Key0, f.Key1))
	if h == nil {
		return nil, None, false, false
	}
	c := *h
	if !h.Same(key1) {
		return h, None, false, false
	}
	addrs, ports, ip, l4, hop := derived(f.Key0, f.Key1)
	torn = c.Key0 != f.Key0 || c.NewAddrs != addrs || c.NewPorts != ports || c.DeltaIP != ip || c.DeltaL4 != l4 || c.NextHop != hop
	return h, c.Conn, true, torn
}

// free counts the indexes that no connection has and that do not rest.
func free(tab *Table) int {
	n := tab.Conns() - int(min(tab.fresh.Load(), tab.nconns))
	for first := uint32(tab.spare.Load()); first != None; first = tab.Conn(first).Own {
		n += int(tab.chain)
	}
	for _, w := range tab.workers[:tab.nwork] {
		n += w.free.n
	}
	return n
}

// slots counts the table's slots by what they are.
func slots(tab *Table) (empty, valid, pending, dead int) {
	for i := range uint32(tab.Slots()) {
		switch k := tab.Half(i).Key1; {
		case k == 0:
			empty++
		case k&FlagPending != 0:
			pending++
		case k&FlagValid != 0:
			valid++
		default:
			dead++
		}
	}
	return
}

// checkTable checks what must hold while no worker is at work.
func checkTable(t testing.TB, tab *Table, live map[uint32]uint32) {
	t.Helper()
	owned := 0
	for _, w := range tab.workers[:tab.nwork] {
		owned += w.owned
		if w.owned < w.Timers()+w.Resting() {
			t.Fatalf("worker %d owns %d, has %d timers and %d resting", w.id, w.owned, w.Timers(), w.Resting())
		}
	}
	if n := free(tab); n+owned != tab.Conns() {
		t.Fatalf("%d free + %d live, ended or resting is not %d", n, owned, tab.Conns())
	}
	if tab.Len() != len(live) {
		t.Fatalf("Len %d, the model has %d", tab.Len(), len(live))
	}
	type tuple struct{ k0, k1 uint64 }
	seen := make(map[tuple]uint32)
	for i := range uint32(tab.Slots()) {
		h := tab.Half(i)
		if h.Key1&FlagValid == 0 {
			continue
		}
		k := tuple{h.Key0, h.Key1 & KeyMask}
		if other, ok := seen[k]; ok {
			t.Fatalf("tuple %x is in slots %d and %d", k, other, i)
		}
		seen[k] = i
		home := uint32(tab.Hash(k.k0, k.k1) & tab.mask)
		for s := home; s&uint32(tab.mask) != i; s++ {
			if tab.Half(s).Key1 == 0 {
				t.Fatalf("slot %d is valid, and slot %d between it and its home %d is empty", i, s, home)
			}
		}
	}
	if len(seen) != 2*len(live) {
		t.Fatalf("%d valid slots, want %d", len(seen), 2*len(live))
	}
	for n, i := range live {
		in, out := pair(n)
		for _, f := range []*Flow{&in, &out} {
			h, conn, ok, torn := find(tab, f)
			if !ok || torn || conn != i {
				t.Fatalf("connection %d: found %t, torn %t, index %d, want %d", n, ok, torn, conn, i)
			}
			c := tab.Conn(i)
			if s := slotOf(tab, h); s != c.In && s != c.Out || (s == c.Out) != f.Reply {
				t.Fatalf("connection %d: slot %d is neither of %d and %d, or the wrong one", n, s, c.In, c.Out)
			}
			if h.Key1&FlagReply != 0 != f.Reply {
				t.Fatalf("connection %d: reply flag is wrong", n)
			}
		}
	}
}

// slotOf is the slot in which a half-flow lies.
func slotOf(t *Table, h *Half) uint32 {
	if w := t.Wide(h); w != nil {
		return WideBit | uint32((uintptr(unsafe.Pointer(w))-uintptr(t.wides))/WideSize)
	}
	return uint32((uintptr(unsafe.Pointer(h)) - uintptr(t.halves)) / HalfSize)
}
