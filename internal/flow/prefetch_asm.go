//go:build amd64 || arm64

package flow

import "unsafe"

// prefetch asks the processor to load a line at each of n addresses, into the cache that it
// can be asked to load many into at once.
//
//go:noescape
func prefetch(addrs *unsafe.Pointer, n int)

// prefetch2 asks for two lines at each of n addresses, prefetchPath for as many as a search
// that begins there is likely to read: three or four half-flows of IPv4, a line each;
// prefetchWide is that for IPv6: two of its half-flows, two lines each.
//
//go:noescape
func prefetch2(addrs *unsafe.Pointer, n int)

//go:noescape
func prefetchPath(addrs *unsafe.Pointer, n int)

//go:noescape
func prefetchWide(addrs *unsafe.Pointer, n int)
