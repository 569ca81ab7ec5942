package afxdp

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"weir/internal/packet"
	"weir/internal/port"
)

// refillBatch is how many frames must be missing before the fill ring is
// touched: its cache lines are the kernel's most of the time.
const refillBatch = port.Burst / 2

// Rx makes packets of the frames that wait in the receive ring.
func (q *Queue) Rx(burst []*packet.Packet) int {
	if len(burst) > port.Burst {
		burst = burst[:port.Burst]
	}
	n := min(q.rx.waiting(uint32(len(burst))), uint32(len(burst)))
	if n == 0 {
		if !q.polls {
			return 0
		}
		if n = min(q.pollRx(uint32(len(burst))), uint32(len(burst))); n == 0 {
			return 0
		}
	}
	q.touch(n)
	var bytes uint64
	for i := range n {
		d := q.rx.desc(q.rx.cons + i)
		frame := uint32(d.addr / packet.SmallFrame)
		q.fromKernel(frame)
		p := q.pool.Wrap(frame, int(d.addr%packet.SmallFrame), int(d.len))
		p.In = q.id
		burst[i] = p
		bytes += uint64(d.len)
	}
	q.rx.consumed(n)
	q.rxHeld -= int(n)
	q.counts.RxPackets += uint64(n)
	q.counts.RxBytes += bytes
	q.refill()
	return int(n)
}

// touch loads the first word of the next n frames. Another processor has just written
// them: asked for all at once they come together, not one after the other as each is
// looked at.
func (q *Queue) touch(n uint32) {
	arena := unsafe.Pointer(unsafe.SliceData(q.pool.Arena()))
	var words uint32
	for i := range n {
		words |= *(*uint32)(unsafe.Add(arena, q.rx.desc(q.rx.cons+i).addr))
	}
	q.touched = words
}

// refill gives the kernel empty frames to receive into. When memory is short
// the stages come first: the kernel then drops, and counts, new frames.
func (q *Queue) refill() {
	n := min(q.target-q.rxHeld, q.pool.FreeFrames()-q.reserve)
	if n < refillBatch && (n <= 0 || q.rxHeld > 0) {
		return
	}
	// The ring is never too small: it has at least target entries.
	n = min(n, int(q.fill.room(uint32(n))))
	for range n {
		frame, ok := q.pool.TakeFrame()
		if !ok {
			break // reserve says that it can't be
		}
		q.toKernel(frame)
		*q.fill.addr(q.fill.prod) = uint64(frame) * packet.SmallFrame
		q.fill.prod++
		q.rxHeld++
	}
	q.fill.publish()
	if q.fill.wantsWakeup() {
		q.wakeRx()
	}
}

// wakeRx tells the driver that the fill ring has frames, which only zero-copy drivers
// ask for, and polls it where there is busy polling. It never waits: see wakeTx.
func (q *Queue) wakeRx() {
	// Its errors are those of the next sendto, which counts them.
	_, _, _ = unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(q.fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
}
