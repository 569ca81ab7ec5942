package afxdp

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"weir/internal/packet"
	"weir/internal/port"
)

// In copy mode the kernel sends one frame after the other, and where the other end is a stack of
// the same machine each has a softirq to itself and goes all the way up to the socket alone. A
// bulk stream's frames come in trains; those go by a packet socket beside the ring, which takes
// each train as one super-frame.

const (
	// trainLeast is how many packets are worth a system call of their own.
	trainLeast = 4
	// trainsRest is how many trains go by the ring after one that Linux did not take.
	trainsRest = 256
)

// trains is what sends them. It is worker-owned.
type trains struct {
	fd     int
	rest   int // so many are not tried
	train  port.Train
	header unix.Msghdr
	pieces [2 + port.Burst]unix.Iovec // vnet header, headers, payloads
}

// openTrains opens the socket for them; nil if there is none to be had, which costs speed alone.
func openTrains(ifindex int) *trains {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	for _, o := range []struct{ level, option, value int }{
		{unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1},
		// By the same way as the ring's frames, which no queueing discipline sees: so they stay in
		// order. By it Linux takes no train that it had to cut up itself, and says ENOBUFS.
		{unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1},
		{unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer},
	} {
		if err = unix.SetsockoptInt(fd, o.level, o.option, o.value); err != nil {
			break
		}
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: ifindex})
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil
	}
	t := &trains{fd: fd}
	t.pieces[0] = unix.Iovec{Base: (*byte)(unsafe.Pointer(&t.train.Vnet)), Len: port.VnetLen}
	t.header.Iov = &t.pieces[0]
	return t
}

// mayBegin reports whether a burst may begin with a train, by what costs nothing to know.
func (t *trains) mayBegin(burst []*packet.Packet) bool {
	if t == nil || len(burst) < trainLeast || len(burst[0].Data) < port.TrainLeast {
		return false
	}
	if t.rest > 0 {
		t.rest--
		return false
	}
	return true
}

func (t *trains) close() {
	if t != nil {
		_ = unix.Close(t.fd) // it holds nothing that could be lost
	}
}

// sendTrain sends the train that a burst begins with, and returns how many packets that were: 0
// if there is none, or it could not be sent. What lies in the ring goes first.
func (q *Queue) sendTrain(burst []*packet.Packet) int {
	t := q.trains
	t.train.Couple(burst, trainLeast)
	n := t.train.Packets
	if n == 0 || len(burst[0].Data) > q.maxLen {
		return 0
	}
	q.tx.publish()
	if q.tx.pending() > 0 {
		q.Flush()
		if q.tx.pending() > 0 {
			return 0
		}
	}
	t.pieces[1] = unix.Iovec{Base: &t.train.Head[0], Len: uint64(len(t.train.Head))}
	var bytes uint64
	for i, p := range burst[:n] {
		d := t.train.Payload(p)
		t.pieces[2+i] = unix.Iovec{Base: &d[0], Len: uint64(len(d))}
		bytes += uint64(len(p.Data))
	}
	t.header.Iovlen = uint64(2 + n)
	if _, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(t.fd), uintptr(unsafe.Pointer(&t.header)), unix.MSG_DONTWAIT); errno != 0 {
		t.rest = trainsRest // tso is off, or the link is down: the ring says which
		return 0
	}
	q.counts.TxPackets += uint64(n)
	q.counts.TxBytes += bytes
	for _, p := range burst[:n] {
		p.Pool().Put(p)
	}
	return n
}
