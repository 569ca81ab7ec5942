package pipe

import (
	"encoding/binary"
	"sync"

	"golang.org/x/sys/unix"

	"weir/internal/packet"
)

// Room is how many frames wait on a wire before the next is dropped.
const Room = 1024

// frame is a copy of a frame on a wire, with the facts that travel beside one.
type frame struct {
	data    []byte
	flags   packet.Flags // CsumPartial and GSO only
	gsoType uint8
	gsoSize uint16
}

// travels are the flags that a wire carries: those a vnet header would.
const travels = packet.CsumPartial | packet.GSO

// wire carries frames one way, first in first out. It is shared.
type wire struct {
	mu     sync.Mutex
	frames [Room]frame // ring; memory of a frame is kept for the next in its place
	head   int         // oldest
	n      int
	full   uint64 // injected frames for which there was no room; a sender counts its own

	arrived chan struct{} // holds a token when frames came since it was last taken
	waker   int           // eventfd of a worker that may sleep, -1: none
	asleep  bool          // the waker is to be written at the next frame
}

func newWire() *wire { return &wire{arrived: make(chan struct{}, 1), waker: -1} }

// put copies a frame onto the wire and reports whether there was room.
func (w *wire) put(data []byte, flags packet.Flags, gsoType uint8, gsoSize uint16) bool {
	w.mu.Lock()
	ok := w.add(data, flags, gsoType, gsoSize)
	if ok {
		w.wake()
	} else {
		w.full++
	}
	w.mu.Unlock()
	return ok
}

// putBurst copies the packets of a burst, in order, and returns how many at its
// end found no room.
func (w *wire) putBurst(burst []*packet.Packet) (dropped int) {
	w.mu.Lock()
	for _, p := range burst {
		if !w.add(p.Data, p.Flags&travels, p.GSOType, p.GSOSize) {
			dropped++
		}
	}
	if dropped < len(burst) {
		w.wake()
	}
	w.mu.Unlock()
	return dropped
}

func (w *wire) add(data []byte, flags packet.Flags, gsoType uint8, gsoSize uint16) bool {
	if w.n == Room {
		return false
	}
	f := &w.frames[(w.head+w.n)%Room]
	f.data = append(f.data[:0], data...)
	f.flags, f.gsoType, f.gsoSize = flags, gsoType, gsoSize
	w.n++
	return true
}

// one is what an eventfd is written to add 1.
var one = binary.NativeEndian.AppendUint64(nil, 1)

// wake tells who waits that frames have come.
func (w *wire) wake() {
	select {
	case w.arrived <- struct{}{}:
	default:
	}
	if w.asleep && w.waker >= 0 {
		w.asleep = false
		// It can't fail but for a counter of 2^64-2, which was woken long since.
		_, _ = unix.Write(w.waker, one)
	}
}

// get fills burst with packets of the pool. A frame for which there is no memory
// stays on the wire.
func (w *wire) get(burst []*packet.Packet, pool *packet.Pool, in uint16) (n int, bytes uint64) {
	w.mu.Lock()
	for n < len(burst) && w.n > 0 {
		f := &w.frames[w.head]
		p := fit(pool, len(f.data))
		if p == nil {
			break
		}
		p.Resize(len(f.data))
		copy(p.Data, f.data)
		p.Flags, p.GSOType, p.GSOSize, p.In = f.flags, f.gsoType, f.gsoSize, in
		burst[n] = p
		n++
		bytes += uint64(len(f.data))
		w.head = (w.head + 1) % Room
		w.n--
	}
	w.mu.Unlock()
	return n, bytes
}

// fit gets a packet whose memory takes n bytes, or nil.
func fit(pool *packet.Pool, n int) *packet.Packet {
	if n > packet.SmallFrame-packet.Headroom {
		return pool.GetBig()
	}
	return pool.Get()
}

// take empties the wire.
func (w *wire) take() (all []frame) {
	w.mu.Lock()
	for ; w.n > 0; w.n-- {
		all = append(all, w.frames[w.head])
		w.frames[w.head] = frame{} // its memory went with it
		w.head = (w.head + 1) % Room
	}
	w.mu.Unlock()
	return all
}

func (w *wire) drops() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.full
}

// maxFrame is the longest frame an MTU allows: the link header and a VLAN tag
// come on top.
func maxFrame(mtu int) int { return mtu + linkHeader + vlanTag }

const (
	linkHeader = 14
	vlanTag    = 4
)
