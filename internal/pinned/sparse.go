package pinned

import "golang.org/x/sys/unix"

// Sparse is memory of the process alone, full of zeros, of which a page is taken where it is
// first written to. It lies outside of the Go heap, whose collector waits the longer the
// larger the heap is, used or not.
func Sparse(size int) Memory {
	b, err := unix.Mmap(-1, 0, pages(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		panic(err) // as when there is no memory for a slice
	}
	return Memory{Bytes: b}
}
