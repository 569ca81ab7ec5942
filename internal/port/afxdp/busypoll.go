package afxdp

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A driver brings frames when an interrupt, or a timer, has Linux poll it: its NAPI instance. With
// busy polling the worker's calls do that, on the worker's own processor, and interrupts wait for
// as long as it calls (port.Deferral). It needs Linux 5.11, and a NAPI instance that the socket
// knows: Linux tells it from 6.14 on at bind (in copy mode from 6.15 and 6.14.9), of drivers that name each
// queue's; 6.13 never does; until 6.12 with the first frame, which is too late here, but in zero-copy,
// from 6.0 on, with the first sendto.

// busyPollMicros is SO_BUSY_POLL. AF_XDP polls once in a call however long this is, if it is not 0.
const busyPollMicros = 20

// ErrNoNAPI says that there is no instance to poll.
var ErrNoNAPI = errors.New("Linux tells the socket no NAPI id (SO_INCOMING_NAPI_ID is 0), so that there is nobody to poll")

// BusyPoll has Linux poll the driver when the queue's worker asks for frames or sends some: up to
// budget frames in a call. 0 ends that. It is called by the queue's worker, or before that runs.
// On error the driver is polled as ever.
func (q *Queue) BusyPoll(budget int) error {
	err := q.busyPoll(budget)
	q.polls = budget > 0 && err == nil
	if err != nil {
		// With the options and a NAPI id that comes later, Linux would poll in each call.
		_ = preferBusyPoll(q.fd, 0)
		return fmt.Errorf("AF_XDP on interface %q queue %d: busy polling: %w", q.program.at.Name, q.queue, err)
	}
	return nil
}

func (q *Queue) busyPoll(budget int) error {
	err := preferBusyPoll(q.fd, budget)
	if err != nil || budget == 0 {
		return err
	}
	q.wakeTx() // see above
	switch id, err := unix.GetsockoptInt(q.fd, unix.SOL_SOCKET, unix.SO_INCOMING_NAPI_ID); {
	case err != nil:
		return fmt.Errorf("ask for the NAPI id: %w", err)
	case id == 0:
		return ErrNoNAPI
	}
	return nil
}

// preferBusyPoll sets a socket's options.
func preferBusyPoll(fd, budget int) error {
	on, micros := 0, 0
	if budget > 0 {
		on, micros = 1, busyPollMicros
	}
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PREFER_BUSY_POLL, on)
	if errors.Is(err, unix.ENOPROTOOPT) {
		return errors.New("this Linux has no preferred busy polling: 5.11 and newer do, with CONFIG_NET_RX_BUSY_POLL")
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BUSY_POLL, micros)
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BUSY_POLL_BUDGET, budget)
	}
	if err != nil {
		return fmt.Errorf("set its options (it needs CAP_NET_ADMIN): %w", err)
	}
	return nil
}

// pollRx polls the driver, once, and returns how many frames wait then.
func (q *Queue) pollRx(want uint32) uint32 {
	q.wakeRx()
	return q.rx.waiting(want)
}

// wakeDriver has the driver send what polling it did not: that of one that sends in a NAPI
// instance of its own, as virtio_net's does. With busy polling sendto wakes none in zero-copy;
// poll(2) does.
func (q *Queue) wakeDriver() {
	fds := [1]unix.PollFd{{Fd: int32(q.fd), Events: unix.POLLOUT}}
	var now unix.Timespec
	_, _, _ = unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds[0])), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
}
