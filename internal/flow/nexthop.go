package flow

import (
	"math/bits"
	"net/netip"
	"sync/atomic"
	"unsafe"
)

// MaxNextHops is the bound of the next-hop array, index 0 being nobody.
const MaxNextHops = 1 << 16

// maxBacks bounds the ways back among them: clients, or who makes up MACs, can't
// take the places of real servers and gateways.
const maxBacks = MaxNextHops / 4

// hopProbe is how far a next hop may lie from its hash.
const hopProbe = 64

// Neighbour states (RFC 4861, 7.3.2), in DPVS's words.
const (
	NUDNone      uint8 = iota // never asked
	NUDSend                   // asked, no answer yet (INCOMPLETE)
	NUDReachable              // answered lately
	NUDDelay                  // answered once, to be confirmed
	NUDProbe                  // being confirmed
	NUDFailed                 // did not answer
)

const (
	hopEmpty   = 0
	hopWriting = 1
	hopFreed   = 2
)

// NextHops is the shared array of next hops. Any worker may look up and add;
// fields that change later are single atomic words.
type NextHops struct {
	base  unsafe.Pointer
	used  atomic.Int64
	backs atomic.Int64 // ways back among the used
	paths paths        // of point-to-point devices
}

// At returns the entry a reference names, whatever its generation.
func (n *NextHops) At(ref NextHopRef) *NextHop {
	return (*NextHop)(unsafe.Add(n.base, uintptr(ref&(MaxNextHops-1))*NextHopSize))
}

// Current returns the entry and whether the reference is of its present
// generation: if not, the route has to be looked up again.
func (n *NextHops) Current(ref NextHopRef) (*NextHop, bool) {
	h := n.At(ref)
	return h, ref != 0 && atomic.LoadUint32(&h.State)>>16 == ref>>16
}

// Len returns how many entries are in use.
func (n *NextHops) Len() int { return int(n.used.Load()) }

// Find returns the reference of a neighbour, or 0.
func (n *NextHops) Find(port uint16, addr netip.Addr) NextHopRef {
	return n.probe(port, addr.As16(), 0, nil)
}

// Get returns the reference of the neighbour addr on port, adding it in state
// NUDNone if it is new; 0 when the table has no room. src is the port's MAC,
// mtu the way's. On a point-to-point device it is the machine beyond, whatever the
// address, and resolved from the start.
func (n *NextHops) Get(port uint16, addr netip.Addr, src [6]byte, mtu uint16) NextHopRef {
	if n.IsPointToPoint(port) {
		addr = beyond(addr)
		return n.probe(port, addr.As16(), 0, &hopInit{src: src, mtu: n.fit(port, addr.Is6(), mtu), resolved: true})
	}
	return n.probe(port, addr.As16(), 0, &hopInit{src: src, mtu: mtu})
}

// Back returns the reference of the way back to the machine with this MAC on
// port, for clients to which no route leads. It is resolved from the start.
func (n *NextHops) Back(port uint16, dst, src [6]byte, mtu uint16) NextHopRef {
	var a [16]byte
	copy(a[10:], dst[:])
	if n.IsPointToPoint(port) {
		mtu = n.fit(port, of6(&a, HopBack), mtu)
	}
	return n.probe(port, a, HopBack, &hopInit{src: src, dst: dst, mtu: mtu, resolved: true})
}

type hopInit struct {
	src, dst [6]byte
	mtu      uint16
	resolved bool
}

func hopHash(port uint16, addr *[16]byte, kind uint32) uint64 {
	lo := *(*uint64)(unsafe.Pointer(&addr[0]))
	hi := *(*uint64)(unsafe.Pointer(&addr[8]))
	h := (lo ^ uint64(port)<<1 ^ uint64(kind)<<20) * hashC1
	h ^= h >> 32
	// Both halves of the product: an IPv4 address lies in the top bytes of hi,
	// and its last byte would not reach the low bits of one half alone, so that
	// a whole /24 would share one place.
	up, low := bits.Mul64(h^hi, hashC2)
	h = up ^ low
	return h | 4 // never empty, writing or freed
}

// probe walks the slots a key may lie in. With init it adds the key when it is
// not there.
func (n *NextHops) probe(port uint16, addr [16]byte, kind uint32, init *hopInit) NextHopRef {
	key := hopHash(port, &addr, kind)
again:
	free := uint32(0)
	for i := range uint32(hopProbe) {
		idx := (uint32(key>>8) + i) & (MaxNextHops - 1)
		if idx == 0 {
			continue
		}
		h := n.At(idx)
		k := atomic.LoadUint64(&h.Key)
		for k == hopWriting { // a few stores by another worker
			k = atomic.LoadUint64(&h.Key)
		}
		if k == key && h.Addr == addr && h.Port == port && h.Flags&HopBack == kind {
			gen := atomic.LoadUint32(&h.State) & 0xffff0000
			if atomic.LoadUint64(&h.Key) != key {
				goto again // freed meanwhile: the generation may be another's
			}
			if init != nil && h.MTU != init.mtu {
				h.MTU = init.mtu // the route's has changed
			}
			return idx | gen
		}
		if (k == hopEmpty || k == hopFreed) && free == 0 {
			free = idx
		}
		if k == hopEmpty {
			break
		}
	}
	if init == nil || free == 0 || kind == HopBack && n.backs.Load() >= maxBacks {
		return 0
	}
	h := n.At(free)
	k := atomic.LoadUint64(&h.Key)
	if k != hopEmpty && k != hopFreed || !atomic.CompareAndSwapUint64(&h.Key, k, hopWriting) {
		goto again // another worker took the slot, perhaps for the same key
	}
	h.Addr, h.Port, h.MTU = addr, port, init.mtu
	h.Flags = kind
	if init.resolved && kind == 0 {
		h.Flags = HopStatic // beyond a point-to-point device: never asked
	}
	h.SetSource(init.src)
	h.SetDest(init.dst)
	atomic.StoreUint32(&h.Probes, 0)
	h.Used, h.Confirmed = 0, 0
	atomic.StoreUint32(&h.Asked, 0)
	low := uint32(NUDNone) << 8
	if init.resolved {
		low = uint32(NUDReachable)<<8 | HopResolved
	}
	gen := atomic.LoadUint32(&h.State)&0xffff0000 + 1<<16
	if gen == 0 {
		gen = 1 << 16
	}
	atomic.StoreUint32(&h.State, gen|low)
	atomic.StoreUint64(&h.Key, key)
	n.used.Add(1)
	if kind == HopBack {
		n.backs.Add(1)
	}
	if n.twin(key, free, h) {
		n.Free(free)
		goto again
	}
	return free | gen
}

// twin reports whether h's neighbour has another entry: when one is freed while
// two workers add the same neighbour, they may choose different places. Both
// may see the other and yield.
func (n *NextHops) twin(key uint64, idx uint32, h *NextHop) bool {
	for i := range uint32(hopProbe) {
		other := (uint32(key>>8) + i) & (MaxNextHops - 1)
		if other == idx || other == 0 {
			continue
		}
		o := n.At(other)
		k := atomic.LoadUint64(&o.Key)
		for k == hopWriting {
			k = atomic.LoadUint64(&o.Key)
		}
		if k == key && o.Addr == h.Addr && o.Port == h.Port && o.Flags&HopBack == h.Flags&HopBack {
			return true
		}
		if k == hopEmpty {
			break
		}
	}
	return false
}

// NUD returns the neighbour state.
func (h *NextHop) NUD() uint8 { return uint8(atomic.LoadUint32(&h.State) >> 8) }

// Resolved reports whether the MAC may be used.
func (h *NextHop) Resolved() bool { return atomic.LoadUint32(&h.State)&HopResolved != 0 }

// SetNUD changes neighbour state and Resolved in one store, keeping the generation.
func (h *NextHop) SetNUD(state uint8, resolved bool) {
	low := uint32(state) << 8
	if resolved {
		low |= HopResolved
	}
	for {
		old := atomic.LoadUint32(&h.State)
		if atomic.CompareAndSwapUint32(&h.State, old, old&0xffff0000|low) {
			return
		}
	}
}

// Dest returns the neighbour's MAC.
func (h *NextHop) Dest() (m [6]byte) {
	w := atomic.LoadUint64(&h.DstSrc)
	for i := range m {
		m[i] = byte(w >> (8 * i))
	}
	return m
}

// SetDest sets the neighbour's MAC in one store.
func (h *NextHop) SetDest(m [6]byte) {
	for {
		old := atomic.LoadUint64(&h.DstSrc)
		w := old &^ (1<<48 - 1)
		for i := range m {
			w |= uint64(m[i]) << (8 * i)
		}
		if atomic.CompareAndSwapUint64(&h.DstSrc, old, w) {
			return
		}
	}
}

// SetSource sets the port's own MAC.
func (h *NextHop) SetSource(m [6]byte) {
	for {
		old := atomic.LoadUint64(&h.DstSrc)
		w := old&(1<<48-1) | uint64(m[0])<<48 | uint64(m[1])<<56
		if atomic.CompareAndSwapUint64(&h.DstSrc, old, w) {
			break
		}
	}
	h.SrcRest = uint32(m[2]) | uint32(m[3])<<8 | uint32(m[4])<<16 | uint32(m[5])<<24
}

// IP returns the neighbour's address; the zero Addr for a way back.
func (h *NextHop) IP() netip.Addr {
	if h.Flags&HopBack != 0 {
		return netip.Addr{}
	}
	return netip.AddrFrom16(h.Addr).Unmap()
}

// Range calls f for every entry in use until it returns false.
func (n *NextHops) Range(f func(ref NextHopRef, h *NextHop) bool) {
	for i := uint32(1); i < MaxNextHops; i++ {
		h := n.At(i)
		if atomic.LoadUint64(&h.Key) > hopFreed {
			if !f(i|atomic.LoadUint32(&h.State)&0xffff0000, h) {
				return
			}
		}
	}
}

// Invalidate makes every reference to a routed next hop stale, so that flows
// look their route up again at their next packet. The director calls it after
// it published a table with other routes. Ways back don't come from routes and stay.
func (n *NextHops) Invalidate() {
	n.Range(func(ref NextHopRef, h *NextHop) bool {
		if h.Flags&HopBack == 0 {
			n.bump(h)
		}
		return true
	})
}

// Free takes an entry out: its references become stale. Only the director's
// housekeeping calls it, one at a time.
func (n *NextHops) Free(ref NextHopRef) {
	h := n.At(ref)
	k := atomic.LoadUint64(&h.Key)
	if k <= hopFreed || !atomic.CompareAndSwapUint64(&h.Key, k, hopWriting) {
		return // nobody's already
	}
	n.bump(h)
	h.SetNUD(NUDNone, false)
	atomic.StoreUint64(&h.Key, hopFreed)
	if atomic.LoadUint32(&h.Flags)&HopBack != 0 {
		n.backs.Add(-1)
	}
	n.used.Add(-1)
}

func (n *NextHops) bump(h *NextHop) {
	for {
		old := atomic.LoadUint32(&h.State)
		gen := old&0xffff0000 + 1<<16
		if gen == 0 {
			gen = 1 << 16
		}
		if atomic.CompareAndSwapUint32(&h.State, old, gen|old&0xffff) {
			return
		}
	}
}
