package lb

import (
	"sync/atomic"

	"weir/internal/flow"
)

// Path MTUs toward the real servers of tunnels (RFC 2003, 5.1; RFC 2473, 7.1): what
// routers on the way told about outer packets that were too big. All workers share
// them. There are so many, and one may take the place of another; then it is learnt
// anew.
const pathCells = 4096

// pathAge is for how many seconds one is believed (RFC 1191, 6.3; RFC 8201, 4).
const pathAge = 600

// leastPath is the least that an IPv4 path is believed to take: who forges a smaller
// one wants packets to be small, not to arrive.
const leastPath = 552

// paths holds path MTUs: a word is tag << 32 | MTU << 16 | second, the tag and the
// place being of a hash of the address. Two addresses that have both in common share
// the smaller path.
type paths struct {
	known atomic.Bool // some was learnt, ever
	words [pathCells]atomic.Uint64
}

func (b *Balancer) pathOf(to flow.Addr) (*atomic.Uint64, uint64) {
	h := b.flows.Hash(to.Hi, to.Lo) ^ b.flows.Hash(to.Lo, to.Hi)
	return &b.sh.Paths.words[h%pathCells], h >> 32 << 32
}

// learnPath notes what the way to an address takes, if it is less than was known.
func (b *Balancer) learnPath(to flow.Addr, mtu uint16) {
	w, tag := b.pathOf(to)
	was := w.Load()
	if b.believed(was, tag) && uint16(was>>16) < mtu {
		return
	}
	// Lost to another worker's, it is learnt from the next packet's error.
	w.CompareAndSwap(was, tag|uint64(mtu)<<16|uint64(b.Second))
	b.sh.Paths.known.Store(true)
	atomic.StoreUint32(&b.flows.Header().PathsKnown, 1)
}

func (b *Balancer) believed(w, tag uint64) bool {
	return w != 0 && w&^(1<<32-1) == tag && b.Second-uint16(w) < pathAge
}

// pathTo is how long what carries a packet to the end of a tunnel may be: room, what
// its next hop takes, or what the way there is known to take.
func (b *Balancer) pathTo(to flow.Addr, room int) int {
	if !b.sh.Paths.known.Load() {
		return room
	}
	w, tag := b.pathOf(to)
	if was := w.Load(); b.believed(was, tag) {
		if mtu := int(uint16(was >> 16)); room == 0 || mtu < room {
			return mtu
		}
	}
	return room
}
