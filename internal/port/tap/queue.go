package tap

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"weir/internal/packet"
	"weir/internal/port"
)

var _ port.Queue = (*Queue)(nil)

// Queue is one of a device's queues. It is worker-owned.
type Queue struct {
	fd   int
	id   uint16
	pool *packet.Pool
	gone bool // the device was removed under us

	// What readv and writev use, one frame at a time: the vnet header, the frame, and
	// for what is received and longer than a small frame, the rest.
	vnet   port.VnetHeader
	pieces [3]unix.Iovec
	spill  []byte
	frame  uint32 // the small frame to receive into, or noFrame

	lost   *lost // of the whole device; nil but in queue 0
	counts port.Counters
}

const noFrame = ^uint32(0)

// A frame that does not fit into a small one goes on in the spill area, so that a
// small packet never costs a big frame.
const (
	smallPart = packet.SmallFrame - packet.Headroom
	spillPart = packet.BigFrame - packet.Headroom - smallPart
)

// Open opens queue i, once, for the pool's worker; id is Facts.ID, for Packet.In.
// Call it in the device's network namespace.
func (d *Device) Open(i int, pool *packet.Pool, id uint16) (*Queue, error) {
	if i < 0 || i >= len(d.fds) || d.fds[i] < 0 {
		return nil, fmt.Errorf("TAP %q: there is no queue %d to open: it has %d, each to be opened once", d.Link.Name, i, len(d.fds))
	}
	q := &Queue{fd: d.fds[i], id: id, pool: pool, spill: make([]byte, spillPart), frame: noFrame}
	if i == 0 {
		var err error
		if q.lost, err = openLost(d.Link.Index); err != nil {
			return nil, fmt.Errorf("TAP %q: ask Linux what it dropped: %w", d.Link.Name, err)
		}
	}
	d.fds[i] = -1
	return q, nil
}

// FD is readable when frames wait; -1 when the device is gone.
func (q *Queue) FD() int {
	if q.gone {
		return -1
	}
	return q.fd
}

// PreparePoll has nothing to prepare: what waits makes FD readable.
func (q *Queue) PreparePoll() bool { return true }

// Flush has nothing to do: Tx has sent everything.
func (q *Queue) Flush() {}

// Held is 1 when a frame of the pool waits to be received into.
func (q *Queue) Held() int {
	if q.frame == noFrame {
		return 0
	}
	return 1
}

// Counters adds the queue's counts to c. Linux counts what it dropped for all
// queues together: queue 0 asks for it, with two system calls, and has it all.
func (q *Queue) Counters(c *port.Counters) {
	if q.lost != nil {
		q.counts.Drops[packet.PortRxRingFull] = q.lost.count()
	}
	c.Add(&q.counts)
}

// Close closes the queue and gives its frame back. What waits in it is lost.
// Counters may still be asked for afterwards.
func (q *Queue) Close() error {
	if q.fd < 0 {
		return nil
	}
	if q.lost != nil {
		q.counts.Drops[packet.PortRxRingFull] = q.lost.count() // the last
		q.lost.close()
		q.lost = nil
	}
	if q.frame != noFrame {
		q.pool.PutFrame(q.frame)
		q.frame = noFrame
	}
	err := unix.Close(q.fd)
	q.fd, q.gone = -1, true
	return err
}

func (q *Queue) drop(p *packet.Packet, r packet.Reason) {
	q.counts.Drops[r]++
	p.Pool().Put(p)
}

// io reads or writes one frame, in the first n pieces. It never waits, so Go's scheduler is
// not told: told, it would take the processor's share of Go from us whenever it looks just then.
func (q *Queue) io(call uintptr, n int) (int, unix.Errno) {
	did, _, errno := unix.RawSyscall(call, uintptr(q.fd), uintptr(unsafe.Pointer(&q.pieces[0])), uintptr(n))
	return int(did), errno
}

func piece(base *byte, n int) unix.Iovec {
	v := unix.Iovec{Base: base}
	v.SetLen(n)
	return v
}

func (q *Queue) vnetPiece() unix.Iovec {
	return piece((*byte)(unsafe.Pointer(&q.vnet)), port.VnetLen)
}
