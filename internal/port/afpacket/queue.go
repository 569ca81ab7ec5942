package afpacket

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"

	"weir/internal/packet"
	"weir/internal/port"
)

var _ port.Queue = (*Queue)(nil)

// Queue is a packet socket. It is worker-owned.
type Queue struct {
	fd       int
	id       uint16
	pool     *packet.Pool
	receiver *receiver // nil: the queue only sends
	sender   sender
	held     int // small frames that wait in the receiver's slots
	group    *Group
	counts   port.Counters
}

// FD is readable when frames wait.
func (q *Queue) FD() int { return q.fd }

// PreparePoll has nothing to prepare: what waits makes FD readable.
func (q *Queue) PreparePoll() bool { return true }

// Flush has nothing to do: Tx has sent everything.
func (q *Queue) Flush() {}

// Held is the number of the pool's frames that wait to be received into.
func (q *Queue) Held() int { return q.held }

// Counters adds the queue's counts to c. It asks the kernel for its own, with
// one system call.
func (q *Queue) Counters(c *port.Counters) {
	var s unix.TpacketStats
	length := uint32(unsafe.Sizeof(s))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(q.fd), unix.SOL_PACKET, unix.PACKET_STATISTICS,
		uintptr(unsafe.Pointer(&s)), uintptr(unsafe.Pointer(&length)), 0)
	if errno == 0 { // only a closed socket has none
		q.counts.Drops[packet.PortRxRingFull] += uint64(s.Drops) // the kernel's begins at 0 again
	}
	c.Add(&q.counts)
}

// Close closes the socket and gives its frames back. What waits in the kernel is
// lost. Counters may still be asked for afterwards.
func (q *Queue) Close() error {
	if q.fd < 0 {
		return nil
	}
	q.Counters(new(port.Counters)) // fetches the kernel's last
	err := unix.Close(q.fd)
	q.fd = -1
	if q.group != nil {
		q.group.leave()
	}
	if r := q.receiver; r != nil {
		for i, f := range r.frames {
			if f != noFrame {
				q.pool.PutFrame(f)
				r.frames[i] = noFrame
			}
		}
		q.held = 0
		err = errors.Join(err, unix.Munmap(r.spill))
		q.receiver = nil
	}
	return err
}
