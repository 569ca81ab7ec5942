package afxdp

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ring is one of a socket's four rings: memory shared with the kernel, one side
// produces, the other consumes. Indexes only grow, and wrap at 2^32.
//
// A 32-bit atomic load and store of the indexes are all the ordering that is
// needed, on every architecture: Go's are sequentially consistent.
type ring struct {
	producer, consumer, flags *uint32

	base unsafe.Pointer
	mask uint32
	size uint32

	// Our own index, and what the kernel's was when we last looked.
	prod, cons uint32

	mem []byte
}

// desc is struct xdp_desc.
type desc struct {
	addr    uint64 // offset in the UMEM
	len     uint32
	options uint32
}

const (
	descSize = 16 // of the receive and the transmit ring
	addrSize = 8  // of the fill and the completion ring
)

// mapRing maps a ring of n entries, of entry bytes each, from its socket.
func mapRing(fd int, page int64, off unix.XDPRingOffset, n uint32, entry uint64) (ring, error) {
	mem, err := unix.Mmap(fd, page, int(off.Desc+uint64(n)*entry), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return ring{}, err
	}
	at := unsafe.Pointer(&mem[0])
	return ring{
		producer: (*uint32)(unsafe.Add(at, off.Producer)),
		consumer: (*uint32)(unsafe.Add(at, off.Consumer)),
		flags:    (*uint32)(unsafe.Add(at, off.Flags)),
		base:     unsafe.Add(at, off.Desc),
		mask:     n - 1,
		size:     n,
		mem:      mem,
	}, nil
}

func (r *ring) unmap() {
	if r.mem != nil {
		// It can only fail for memory that was never mapped.
		_ = unix.Munmap(r.mem)
		r.mem = nil
	}
}

func (r *ring) desc(i uint32) *desc { return (*desc)(unsafe.Add(r.base, uintptr(i&r.mask)*descSize)) }
func (r *ring) addr(i uint32) *uint64 {
	return (*uint64)(unsafe.Add(r.base, uintptr(i&r.mask)*addrSize))
}

// Consuming (receive and completion rings).

// waiting returns how many entries wait at r.cons. It looks at the kernel's
// index only when fewer than want are known of.
func (r *ring) waiting(want uint32) uint32 {
	n := r.prod - r.cons
	if n < want {
		r.prod = atomic.LoadUint32(r.producer)
		n = r.prod - r.cons
	}
	return n
}

// consumed gives n entries back to the kernel.
func (r *ring) consumed(n uint32) {
	r.cons += n
	atomic.StoreUint32(r.consumer, r.cons)
}

// Producing (fill and transmit rings).

// room returns how many entries are free at r.prod. It looks at the kernel's
// index only when fewer than want are known of.
func (r *ring) room(want uint32) uint32 {
	n := r.size - (r.prod - r.cons)
	if n < want {
		r.cons = atomic.LoadUint32(r.consumer)
		n = r.size - (r.prod - r.cons)
	}
	return n
}

// publish shows the kernel all entries before r.prod.
func (r *ring) publish() { atomic.StoreUint32(r.producer, r.prod) }

// pending returns how many entries the kernel has not taken yet.
func (r *ring) pending() uint32 {
	if r.prod != r.cons {
		r.cons = atomic.LoadUint32(r.consumer)
	}
	return r.prod - r.cons
}

// wantsWakeup reports whether the kernel does nothing about the ring until it is
// called.
func (r *ring) wantsWakeup() bool { return atomic.LoadUint32(r.flags)&unix.XDP_RING_NEED_WAKEUP != 0 }
