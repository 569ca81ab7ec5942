package port

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Nap waits like poll(2), for d at most, and is over early where a signal comes. Go's scheduler is
// not told: told, it gives this thread's share of Go to others, and a thread that wakes for a
// packet waits until it has one again, for as long as 70 ms on a busy machine. d should be short:
// Go's own thread looks after the others 100 to 1,000 times a second while somebody naps. The
// collector need not wait for the end: its signal ends the nap.
func Nap(fds []unix.PollFd, d time.Duration) {
	t := unix.NsecToTimespec(int64(d))
	_, _, _ = unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(unsafe.SliceData(fds))), uintptr(len(fds)), uintptr(unsafe.Pointer(&t)), 0, 0, 0)
}
