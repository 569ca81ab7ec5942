package main

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rsLookupSize is the bytes of DPVS's struct for getsockopt 2048.
const rsLookupSize = 58

// getsockoptLookup asks getsockopt 2048 a question and returns the answer. x/sys has no
// call that takes a question.
func getsockoptLookup(fd int, question string) (string, error) {
	var both [rsLookupSize]byte
	copy(both[:], question)
	n := uint32(len(both))
	_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_IP, 2048,
		uintptr(unsafe.Pointer(&both)), uintptr(unsafe.Pointer(&n)), 0)
	runtime.KeepAlive(&both)
	if e != 0 {
		return "", e
	}
	return string(both[:n]), nil
}
