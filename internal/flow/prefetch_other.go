//go:build !amd64 && !arm64

package flow

import "unsafe"

var touched uint64

// prefetch loads a word at each of n addresses: independent loads overlap.
func prefetch(addrs *unsafe.Pointer, n int) {
	var s uint64
	for _, a := range unsafe.Slice(addrs, n) {
		s += *(*uint64)(a)
	}
	touched = s
}

// prefetch2, prefetchPath and prefetchWide load the first line alone: this is the slow way
// anyway.
func prefetch2(addrs *unsafe.Pointer, n int) { prefetch(addrs, n) }

func prefetchPath(addrs *unsafe.Pointer, n int) { prefetch(addrs, n) }

func prefetchWide(addrs *unsafe.Pointer, n int) { prefetch(addrs, n) }
