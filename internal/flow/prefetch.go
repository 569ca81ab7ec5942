package flow

import (
	"sync/atomic"
	"unsafe"
)

// Prefetcher collects where the searches of a burst will begin, and brings all
// those lines in at once: their misses overlap instead of following each other.
// With each come the lines behind it, two or three: of a full table two half-flows in five are not
// at home, most of them there, and would be waited for alone (docs/flow-table.md). It is worker-owned.
type Prefetcher struct {
	addrs [128]unsafe.Pointer
	keys  [128]uint64 // of those that Want added
	wides [64]unsafe.Pointer
	n     int
	nwide int
}

// Want adds the home of an IPv4 packet's hash; key1 is its Key1. Beyond 128 homes it
// does nothing.
func (f *Prefetcher) Want(t *Table, key1, hash uint64) {
	if f.n < len(f.addrs) {
		f.addrs[f.n] = t.Home(hash)
		f.keys[f.n] = key1
		f.n++
	}
}

// WantWide is Want for an IPv6 packet: beyond 64.
func (f *Prefetcher) WantWide(t *Table, hash uint64) {
	if f.nwide < len(f.wides) {
		f.wides[f.nwide] = unsafe.Pointer(t.wideHome(hash))
		f.nwide++
	}
}

// Fetch brings the lines in and forgets them.
func (f *Prefetcher) Fetch(t *Table) {
	if f.n > 0 {
		prefetchPath(&f.addrs[0], f.n)
	}
	if f.nwide > 0 {
		prefetchWide(&f.wides[0], f.nwide)
	}
	if t.crossing.Load() {
		prefetch(&f.addrs[0], f.backs(t))
	}
	f.n, f.nwide = 0, 0
}

// backs puts in the place of the lines, which are on their way, those that IPv4 packets
// that become IPv6 read as well, and returns how many: the line of the other half-flow
// that has its addresses.
func (f *Prefetcher) backs(t *Table) (n int) {
	for i, at := range f.addrs[:f.n] {
		h := (*Half)(at)
		w := atomic.LoadUint64(&h.Key1)
		if (w^f.keys[i])&KeyMask != 0 {
			if h, w = near(h, f.keys[i]); h == nil {
				continue
			}
		}
		if w&(FlagCross|FlagTunnel) == FlagCross {
			f.addrs[n] = unsafe.Add(unsafe.Pointer(t.Back(atomic.LoadUint64(&h.NewAddrs))), HalfSize)
			n++
		}
	}
	return n
}

// near looks for packets' half-flow in the three places behind their home, where those
// are that are not at home.
func near(home *Half, key1 uint64) (*Half, uint64) {
	h := home
	for range 3 {
		h = h.next()
		w := atomic.LoadUint64(&h.Key1)
		if (w^key1)&KeyMask == 0 {
			return h, w
		}
		if w == 0 {
			break
		}
	}
	return nil, 0
}

// CallIn calls in the line of a place in memory that will be looked at soon.
func CallIn(at unsafe.Pointer) { prefetch(&at, 1) }

// callIn calls in a connection's record, if there is one of that index.
func (t *Table) callIn(i uint32) {
	if i == None {
		return
	}
	CallIn(unsafe.Pointer(t.Conn(i)))
}

// Touch calls in the lines where a tuple's half-flow will be placed.
func (t *Table) Touch(f *Flow) {
	addrs := [2]unsafe.Pointer{}
	if f.Wide {
		k0 := FoldWords(t.seed, f.Src.Hi, f.Src.Lo, f.Dst.Hi, f.Dst.Lo)
		w := unsafe.Pointer(t.wideHome(t.Hash(k0, f.Key1)))
		addrs[0], addrs[1] = w, unsafe.Add(w, HalfSize)
	} else {
		h := t.Home(t.Hash(f.Key0, f.Key1))
		addrs[0], addrs[1] = h, unsafe.Add(h, HalfSize)
	}
	prefetch(&addrs[0], 2)
}
