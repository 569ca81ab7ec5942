//go:build amd64 || arm64

package flow

import "unsafe"

// prefetch asks the processor to load a line at each of n addresses.
//
//go:noescape
func prefetch(addrs *unsafe.Pointer, n int)
