package flow

import (
	"sync/atomic"
	"unsafe"
)

// Prefetcher collects where the searches of a burst will begin, and brings all
// those lines in at once: their misses overlap instead of following each other.
// It is worker-owned.
type Prefetcher struct {
	addrs [128]unsafe.Pointer
	n     int
}

// Want adds the home of a hash. Beyond 128 lines it does nothing.
func (f *Prefetcher) Want(t *Table, hash uint64) {
	if f.n < len(f.addrs) {
		f.addrs[f.n] = t.Home(hash)
		f.n++
	}
}

// WantWide is Want for an IPv6 packet: two lines.
func (f *Prefetcher) WantWide(t *Table, hash uint64) {
	if f.n+1 < len(f.addrs) {
		w := unsafe.Pointer(t.wide(hash))
		f.addrs[f.n], f.addrs[f.n+1] = w, unsafe.Add(w, HalfSize)
		f.n += 2
	}
}

// WantBack adds what an IPv4 packet that becomes IPv6 reads beside its own half-flow:
// the line of the other one that has its addresses. Its own must be on its way (Fetch).
// It looks where such a half-flow is nearly always; elsewhere it adds nothing.
func (f *Prefetcher) WantBack(t *Table, hash, k1 uint64) {
	const near = 4
	for n := range uint64(near) {
		h := (*Half)(t.Home(hash + n))
		w := atomic.LoadUint64(&h.Key1)
		if w == 0 {
			return
		}
		if (w^k1)&KeyMask != 0 {
			continue
		}
		if w&(FlagCross|FlagTunnel) == FlagCross && f.n < len(f.addrs) {
			f.addrs[f.n] = unsafe.Add(unsafe.Pointer(t.Back(atomic.LoadUint64(&h.NewAddrs))), HalfSize)
			f.n++
		}
		return
	}
}

// AllWide reports whether all of n packets were wanted as IPv6 ones.
func (f *Prefetcher) AllWide(n int) bool { return f.n == 2*n }

// Fetch brings the lines in and forgets them.
func (f *Prefetcher) Fetch() {
	prefetch(&f.addrs[0], f.n)
	f.n = 0
}

// ahead calls in what the next connection of a list will need, and the one
// after it: going through a list of connections that nobody looked at for
// seconds is one miss each, not three.
func (t *Table) ahead(i uint32) {
	if i == None {
		return
	}
	c := t.Conn(i)
	addrs := [3]unsafe.Pointer{unsafe.Pointer(t.Half(c.In)), unsafe.Pointer(t.Half(c.Out))}
	n := 2
	if c.Next != None {
		addrs[2] = unsafe.Pointer(t.Conn(c.Next))
		n = 3
	}
	prefetch(&addrs[0], n)
}

// Touch calls in the lines where a tuple's half-flow will be placed.
func (t *Table) Touch(f *Flow) {
	addrs := [2]unsafe.Pointer{}
	if f.Wide {
		k0 := FoldWords(t.seed, f.Src.Hi, f.Src.Lo, f.Dst.Hi, f.Dst.Lo)
		w := unsafe.Pointer(t.wide(t.Hash(k0, f.Key1)))
		addrs[0], addrs[1] = w, unsafe.Add(w, HalfSize)
	} else {
		home := t.Hash(f.Key0, f.Key1)
		addrs[0], addrs[1] = t.Home(home), t.Home(home+1)
	}
	prefetch(&addrs[0], 2)
}
