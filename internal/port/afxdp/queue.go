package afxdp

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"weir/bpf"
	"weir/internal/packet"
	"weir/internal/port"
)

var _ port.Queue = (*Queue)(nil)

// Queue is a socket on one queue pair of an interface. It is worker-owned.
type Queue struct {
	rx, fill       ring
	tx, completion ring

	trains *trains // nil: none are sent

	pool     *packet.Pool
	fd       int
	id       uint16
	zeroCopy bool
	polls    bool // the driver is polled by our calls (BusyPoll)
	down     bool // the last wake-up found the interface down

	maxLen  int // longest frame sent, without VLAN tag
	target  int // frames to have in the kernel for receiving
	reserve int // frames left to the stages when memory is short

	rxHeld int // frames between fill ring and receive ring
	txHeld int // frames between transmit ring and completion ring
	// inside has a bit for every frame that lies in our rings or the kernel:
	// after a close nobody else could say which those are.
	inside []uint64

	touched uint32 // what touch loaded: nobody reads it

	counts       port.Counters
	drops        *bpf.XskRedirectDrops // counted by the program
	tooBigBefore uint64

	program *Program
	umem    *UMEM
	queue   int
}

// toKernel and fromKernel note who has a frame.
func (q *Queue) toKernel(frame uint32)   { q.inside[frame/64] |= 1 << (frame % 64) }
func (q *Queue) fromKernel(frame uint32) { q.inside[frame/64] &^= 1 << (frame % 64) }

// FD is readable when frames wait in the receive ring.
func (q *Queue) FD() int { return q.fd }

// PreparePoll makes sure that the kernel has been told all it needs to go on
// while we sleep.
func (q *Queue) PreparePoll() bool {
	if q.rx.waiting(1) > 0 {
		return false
	}
	q.Flush()
	// What the kernel could not send yet must be tried again soon, unless
	// nothing can be sent at all.
	return q.tx.pending() == 0 || q.down
}

// Driver says what this queue got: "afxdp native copy" and the like.
func (q *Queue) Driver() string { return "afxdp " + q.program.modeName(q.zeroCopy) }

// Held is the number of the pool's frames in rings and kernel.
func (q *Queue) Held() int { return q.rxHeld + q.txHeld }

// Counters adds the queue's counts to c. It asks the kernel for its own, with
// one system call.
func (q *Queue) Counters(c *port.Counters) {
	c.Add(&q.counts)
	c.Drops[packet.PortRxTooBig] += atomicLoad(&q.drops.TooBig) - q.tooBigBefore

	var s unix.XDPStatistics
	if getsockopt(q.fd, unix.XDP_STATISTICS, unsafe.Pointer(&s), unsafe.Sizeof(s)) != nil {
		return // only a closed socket has none
	}
	c.Drops[packet.PortRxRingFull] += s.Rx_ring_full
	c.Drops[packet.PortTxError] += s.Tx_invalid_descs
	c.Drops[packet.PortRxError] += s.Rx_invalid_descs
	if q.zeroCopy {
		// Here the kernel counts how often it found the fill ring empty, which
		// loses nothing by itself. Frames that the device then had no memory
		// for are in its own counters (ethtool -S).
		c.Drops[packet.PortRxError] += s.Rx_dropped
		return
	}
	// In copy mode every frame that found the fill ring empty is in both counters.
	noFrame := min(s.Rx_fill_ring_empty_descs, s.Rx_dropped)
	c.Drops[packet.PortRxNoFrame] += noFrame
	c.Drops[packet.PortRxError] += s.Rx_dropped - noFrame
}

// Close ends receiving and sending and gives all frames back to the pool.
// Frames that wait in the rings are lost; Flush before. Counters may still be
// asked for afterwards.
func (q *Queue) Close() error {
	if q.fd < 0 {
		return nil
	}
	var last port.Counters
	q.Counters(&last)
	q.counts, q.drops, q.tooBigBefore = last, new(bpf.XskRedirectDrops), 0
	q.umem.queues = slices.DeleteFunc(q.umem.queues, func(o *Queue) bool { return o == q })
	err := q.shut()
	if e := q.program.leave(); err == nil {
		err = e
	}
	return err
}

// shut closes the socket and takes the frames back.
//
// In copy mode the kernel touches them no more when close returns. In zero-copy
// mode the device lets go of them in the background; until then they must not
// be used for anything else, so we wait, and rather lose them than share them.
func (q *Queue) shut() error {
	err := q.unmap()
	if q.zeroCopy {
		if e := q.awaitRelease(); e != nil {
			return errors.Join(err, fmt.Errorf("AF_XDP on interface %q queue %d: the device still uses %d frames, which are lost: %w", q.program.at.Name, q.queue, q.Held(), e))
		}
	}
	for i, word := range q.inside {
		for ; word != 0; word &= word - 1 {
			q.pool.PutFrame(uint32(i*64 + bits.TrailingZeros64(word)))
		}
		q.inside[i] = 0
	}
	q.rxHeld, q.txHeld = 0, 0
	return err
}

// awaitRelease returns when the device's queue is free again: when another
// socket, with memory of its own, can be bound to it.
func (q *Queue) awaitRelease() error {
	memory, err := packet.NewPool(2, 0)
	if err != nil {
		return err
	}
	probe := &Queue{program: q.program, umem: NewUMEM(memory), pool: memory, queue: q.queue, fd: -1}
	err = probe.bindAs(false, 2*port.Burst, 2*port.Burst)
	return errors.Join(err, probe.unmap(), memory.Close())
}

// unmap closes the socket and unmaps its rings.
func (q *Queue) unmap() error {
	for _, r := range []*ring{&q.rx, &q.fill, &q.tx, &q.completion} {
		r.unmap()
	}
	q.trains.close()
	q.trains = nil
	if q.fd < 0 {
		return nil
	}
	err := unix.Close(q.fd)
	q.fd = -1
	return err
}

func atomicLoad(n *uint64) uint64 { return atomic.LoadUint64(n) }

func setsockopt(fd, option int, value unsafe.Pointer, size uintptr) error {
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_XDP, uintptr(option), uintptr(value), size, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func getsockopt(fd, option int, value unsafe.Pointer, size uintptr) error {
	length := uint32(size)
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_XDP, uintptr(option), uintptr(value), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
