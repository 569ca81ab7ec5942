//go:build amd64 || arm64

package flow

import "unsafe"

// prefetch asks the processor to load a line at each of n addresses.
//
//go:noescape
func prefetch(addrs *unsafe.Pointer, n int)

// prefetch2 asks for two lines at each of n addresses, prefetch4 for four.
//
//go:noescape
func prefetch2(addrs *unsafe.Pointer, n int)

//go:noescape
func prefetch4(addrs *unsafe.Pointer, n int)
