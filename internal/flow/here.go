package flow

import (
	"sync/atomic"
	"unsafe"
)

// What the most common lookup needs, in pieces that the compiler puts in their place and
// keeps in registers: a Published goes by the stack, and the loads of its halves wait for
// the stores.

// Here returns the half-flow that lies where a search for an IPv4 packet begins, whose it
// may be, and its Key1. It is the one of the packet's tuple if Matches and Bears say so:
// for most packets, which are spared a call of Find.
func (t *Table) Here(hash uint64) (*Half, uint64) {
	h := (*Half)(t.Home(hash))
	return h, atomic.LoadUint64(&h.Key1)
}

// Bears reports whether the half-flow is that of these addresses. What it reads may be
// another tenant's by now, which Same tells.
func (h *Half) Bears(k0 uint64) bool { return atomic.LoadUint64(&h.Key0) == k0 }

// Rewrite is Load in four words: the addresses; ports, DeltaIP << 32 and DeltaL4 << 48;
// the next hop; and Dest.
func (h *Half) Rewrite() (addrs, rest uint64, hop NextHopRef, dest uint32) {
	addrs = atomic.LoadUint64(&h.NewAddrs)
	rest = atomic.LoadUint64((*uint64)(unsafe.Pointer(&h.NewPorts)))
	hop = atomic.LoadUint32(&h.NextHop)
	dest = uint32(atomic.LoadUint64((*uint64)(unsafe.Pointer(&h.Conn))) >> 32)
	return addrs, rest, hop, dest
}
