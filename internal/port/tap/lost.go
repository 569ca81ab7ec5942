package tap

import (
	"encoding/binary"
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// lost asks Linux how many frames it dropped because the device's queues were full,
// without allocating: package netlink would. It is worker-owned, by queue 0.
type lost struct {
	fd      int
	before  uint64 // the count when it was opened
	now     uint64
	request [nlmsgLen + statsLen]byte
	answer  [1024]byte
}

// Lengths of struct nlmsghdr, struct if_stats_msg and struct nlattr; the attribute
// with the counters, and where tx_dropped lies in its struct rtnl_link_stats64
// (linux/if_link.h).
const (
	nlmsgLen       = 16
	statsLen       = 12
	attrLen        = 4
	statsLink64    = 1
	dropsInStats64 = 7 * 8
)

func openLost(index int) (*lost, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	l := &lost{fd: fd}
	r := l.request[:]
	binary.NativeEndian.PutUint32(r[0:], uint32(len(r)))
	binary.NativeEndian.PutUint16(r[4:], unix.RTM_GETSTATS)
	binary.NativeEndian.PutUint16(r[6:], unix.NLM_F_REQUEST)
	binary.NativeEndian.PutUint32(r[nlmsgLen+4:], uint32(index))
	binary.NativeEndian.PutUint32(r[nlmsgLen+8:], 1<<(statsLink64-1))
	if !l.ask() {
		_ = unix.Close(fd)
		return nil, errors.New("it does not answer RTM_GETSTATS (Linux 4.7)")
	}
	l.before = l.now
	return l, nil
}

// count returns how many frames were dropped since it was opened. What Linux does
// not answer, as when the device is gone, is as it was.
func (l *lost) count() uint64 {
	l.ask()
	return l.now - l.before
}

// ask fetches Linux's count and reports whether it answered.
func (l *lost) ask() bool {
	if _, _, errno := unix.Syscall(unix.SYS_WRITE, uintptr(l.fd), uintptr(unsafe.Pointer(&l.request[0])), uintptr(len(l.request))); errno != 0 {
		return false
	}
	n, _, errno := unix.Syscall(unix.SYS_READ, uintptr(l.fd), uintptr(unsafe.Pointer(&l.answer[0])), uintptr(len(l.answer)))
	if errno != 0 {
		return false
	}
	drops, ok := droppedIn(l.answer[:n])
	if ok {
		l.now = drops
	}
	return ok
}

// droppedIn finds tx_dropped in an answer.
func droppedIn(b []byte) (uint64, bool) {
	if len(b) < nlmsgLen+statsLen || binary.NativeEndian.Uint16(b[4:]) != unix.RTM_NEWSTATS {
		return 0, false
	}
	b = b[nlmsgLen+statsLen:]
	for len(b) >= attrLen {
		n, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		if n < attrLen || n > len(b) {
			break
		}
		if kind == statsLink64 && n >= attrLen+dropsInStats64+8 {
			return binary.NativeEndian.Uint64(b[attrLen+dropsInStats64:]), true
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return 0, false
}

func (l *lost) close() { _ = unix.Close(l.fd) }
