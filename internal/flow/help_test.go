package flow

import (
	"iter"
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

// newNarrowTable makes a table that has as few slots for its connections as the largest.
func newNarrowTable(t testing.TB, c Config) *Table {
	t.Helper()
	z, err := c.sizes()
	if err != nil {
		t.Fatal(err)
	}
	z.slots = wholePages(leastSlots(z.conns))
	tab, err := c.create(z)
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

// flowsOf makes the two directions of connection n: the inbound tuple and what a
// packet gets can be told from n alone.
type flowsOf func(n uint32) (in, out Flow)

// pair mixes the kinds of connections; neighbours 2k and 2k+1 are of one kind.
func pair(n uint32) (in, out Flow) { return kinds[n>>1&3].flows(n) }

// kinds of connections, by the families of their two sides.
var kinds = [4]struct {
	name  string
	flows flowsOf
}{{"IPv4", narrow}, {"IPv6", broad}, {"NAT64", nat64}, {"NAT46", nat46}}

func narrow(n uint32) (in, out Flow) { return connect(n, false, false) }
func broad(n uint32) (in, out Flow)  { return connect(n, true, true) }
func nat64(n uint32) (in, out Flow)  { return connect(n, true, false) }
func nat46(n uint32) (in, out Flow)  { return connect(n, false, true) }

// connect is connection n of a client of one family to a real server of one.
func connect(n uint32, client6, real6 bool) (in, out Flow) {
	const client, vip, local, real = 0x0a000000, 0x6400000a, 0xc801a8c0, 0x0201a8c0
	in.tuple(client6, client+n, vip, uint16(n), 80)
	out.tuple(real6, real, local+n>>16, 80, uint16(n))
	out.Reply = true
	in.Cross, out.Cross = client6 != real6, client6 != real6
	whole(&in, &out, uint32(Hash(99, uint64(n), 1)))
	whole(&out, &in, uint32(Hash(99, uint64(n), 2)))
	return in, out
}

// tuple gives f the tuple of these addresses, or of IPv6 ones that end in them.
func (f *Flow) tuple(wide bool, src, dst uint32, sport, dport uint16) {
	end := func(w uint32) Addr { return Addr{Hi: 0xb80d0120, Lo: uint64(w) << 32} }
	if wide {
		*f = TupleOf(end(src), end(dst), sport, dport, 6)
	} else {
		*f = TupleOf(V4(src), V4(dst), sport, dport, 6)
	}
}

// whole fills what a packet gets from one random word, which NewPorts keeps; back is
// the half-flow that comes back.
func whole(f, back *Flow, r uint32) {
	h := Hash(99, uint64(r), f.Key1)
	f.NewPorts, f.DeltaIP, f.DeltaL4, f.NextHop = r, uint16(h>>13), uint16(h>>29), uint32(h>>31)
	switch {
	case f.Wide && !f.Cross:
		f.NewSrc, f.NewDst = Addr{h, h * 3}, Addr{h * 5, h * 7}
	case !f.Wide && f.Cross:
		f.NewSrc, f.NewDst = back.Dst, back.Src
	default:
		f.NewAddrs = h
	}
}

// gets is what Gets has to say of f.
func (f *Flow) gets() (src, dst Addr) {
	if f.Wide != f.Cross {
		return f.NewSrc, f.NewDst
	}
	return V4(uint32(f.NewAddrs)), V4(uint32(f.NewAddrs >> 32))
}

// key is what Key has to say of f.
func (f *Flow) key() (src, dst Addr) {
	if f.Wide {
		return f.Src, f.Dst
	}
	return V4(uint32(f.Key0)), V4(uint32(f.Key0 >> 32))
}

// copied is all that a reader takes from a half-flow.
type copied struct {
	src, dst, newSrc, newDst Addr
	p                        Published
}

// read looks a flow up as a reader must: copy, then ask again. ok is false when the
// half-flow changed meanwhile.
func read(tab *Table, f *Flow) (h *Half, c copied, ok bool) {
	h, key1 := tab.FindFlow(f)
	if h == nil {
		return nil, c, false
	}
	c.src, c.dst = tab.Key(h)
	c.newSrc, c.newDst = tab.Gets(h, key1)
	c.p = h.Load()
	return h, c, h.Same(key1)
}

// torn reports whether what was read of f is not what was inserted.
func (c *copied) torn(f *Flow) bool {
	want := copied{p: c.p}
	want.src, want.dst = f.key()
	want.newSrc, want.newDst = f.gets()
	want.p.Ports, want.p.DeltaIP, want.p.DeltaL4, want.p.NextHop = f.NewPorts, f.DeltaIP, f.DeltaL4, f.NextHop
	return *c != want
}

// find is read of what was inserted as f.
func find(tab *Table, f *Flow) (h *Half, conn uint32, ok, torn bool) {
	h, c, ok := read(tab, f)
	if !ok {
		return h, None, false, false
	}
	return h, c.p.Conn, true, c.torn(f)
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

// allSlots are the numbers of the table's slots, of both arrays.
func allSlots(tab *Table) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for i := range uint32(tab.Slots()) {
			if !yield(i) {
				return
			}
		}
		for i := range uint32(tab.WideSlots()) {
			if !yield(i | WideBit) {
				return
			}
		}
	}
}

// slots counts the table's slots by what they are.
func slots(tab *Table) (empty, valid, pending, dead int) {
	for i := range allSlots(tab) {
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
func checkTable(t testing.TB, tab *Table, live map[uint32]uint32, flows flowsOf) {
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
	type tuple struct {
		src, dst Addr
		k1       uint64
	}
	seen := make(map[tuple]uint32)
	for i := range allSlots(tab) {
		h := tab.Half(i)
		if h.Key1&FlagValid == 0 {
			continue
		}
		k := tuple{k1: h.Key1 & KeyMask}
		k.src, k.dst = tab.Key(h)
		if other, ok := seen[k]; ok {
			t.Fatalf("tuple %x is in slots %#x and %#x", k, other, i)
		}
		seen[k] = i
		if far(tab, i) >= ProbeMax {
			t.Fatalf("slot %#x lies %d behind its home", i, far(tab, i))
		}
		for n := range far(tab, i) {
			if s := i - uint32(n) - 1; tab.Half(s).Key1 == 0 {
				t.Fatalf("slot %#x is valid, and slot %#x between it and its home is empty", i, s)
			}
		}
	}
	if len(seen) != 2*len(live) {
		t.Fatalf("%d valid slots, want %d", len(seen), 2*len(live))
	}
	for n, i := range live {
		in, out := flows(n)
		for _, f := range []*Flow{&in, &out} {
			h, conn, ok, torn := find(tab, f)
			if !ok || torn || conn != i {
				t.Fatalf("connection %d: found %t, torn %t, index %d, want %d", n, ok, torn, conn, i)
			}
			c := tab.Conn(i)
			if s := slotOf(tab, h); s != c.In && s != c.Out || (s == c.Out) != f.Reply {
				t.Fatalf("connection %d: slot %#x is neither of %#x and %#x, or the wrong one", n, s, c.In, c.Out)
			}
			if h.Key1&FlagReply != 0 != f.Reply || h.Key1&FlagCross != 0 != f.Cross || (tab.Wide(h) != nil) != f.Wide {
				t.Fatalf("connection %d: its half-flow's flags, %#x, or its array is wrong", n, h.Key1)
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

// far is how far behind its home a slot's half-flow lies.
func far(t *Table, slot uint32) uint64 {
	h := t.Half(slot)
	homes := t.hdr.Homes
	if slot&WideBit != 0 {
		homes = t.hdr.WideHomes
	}
	return uint64(slot&^WideBit) - uint64(uint32(t.Hash(h.Key0, h.Key1)))*uint64(homes)>>32
}
