package flow

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"weir/internal/pinned"
)

// Backing says where a table's memory comes from. Both kinds pass the same tests.
type Backing uint8

const (
	// Anonymous memory, in huge pages where the kernel has them.
	Anonymous Backing = iota
	// BPFArray maps, which an XDP program can read: 4 KiB pages, and charged
	// to the memory cgroup in full when they are made. Kernel 5.5 or later.
	BPFArray
)

// memory is a table's mappings. They lie outside of the Go heap.
type memory struct {
	header, halves, wides, conns, hops pinned.Memory
}

// part is one of a table's arrays.
type part struct {
	name    string
	into    *pinned.Memory
	entries int
	size    int
	shared  bool // an engine in the kernel reads it too
}

func (m *memory) parts(z sizes) []part {
	return []part{
		{pinned.Head, &m.header, 1, HeaderSize, true},
		{"halves", &m.halves, z.slots, HalfSize, true},
		{"wides", &m.wides, z.wides, WideSize, true},
		{"hops", &m.hops, MaxNextHops, NextHopSize, true},
		{"conns", &m.conns, z.conns, ConnSize, false},
	}
}

// mapMemory makes new arrays, which outlive the process in keep unless that is nil.
func mapMemory(b Backing, keep *pinned.Dir, z sizes) (*memory, error) {
	m := &memory{}
	for _, r := range m.parts(z) {
		var err error
		switch {
		case keep != nil:
			*r.into, err = keep.Array(r.name, r.entries, r.size)
		case b == BPFArray && r.shared:
			*r.into, err = pinned.Array(r.name, r.entries, r.size)
		default:
			r.into.Bytes, err = pinned.Anonymous(r.entries * r.size)
		}
		if err != nil {
			m.close()
			return nil, fmt.Errorf("flow table: %s, %d MiB: %w", r.name, r.entries*r.size>>20, err)
		}
	}
	return m, nil
}

// populateStep is how much Populate takes at once.
const populateStep = 8 << 20

// pageSize is the smallest page there is.
const pageSize = 4096

// Populate takes the memory of IPv4's half-flows and of connections from the kernel
// now, which otherwise is done where a worker first writes: 2 MiB are cleared there
// while packets wait. It changes nothing, may run beside the workers, and ends
// early with stop. An error says that the kernel can't (before Linux 5.14).
func (t *Table) Populate(stop <-chan struct{}) error {
	return populate(stop, t.mem.halves.Bytes, t.mem.conns.Bytes)
}

// PopulateWide is Populate for the half-flows of IPv6.
func (t *Table) PopulateWide(stop <-chan struct{}) error { return populate(stop, t.mem.wides.Bytes) }

func populate(stop <-chan struct{}, all ...[]byte) error {
	for _, b := range all {
		for ; len(b) > 0; b = b[min(populateStep, len(b)):] {
			select {
			case <-stop:
				return nil
			default:
			}
			if err := unix.Madvise(b[:min(populateStep, len(b))], unix.MADV_POPULATE_WRITE); err != nil {
				return fmt.Errorf("flow table: populate: %w", err)
			}
			touch(b[:min(populateStep, len(b))])
		}
	}
	return nil
}

// touch writes to each page, and changes nothing. A page that a BPF map has is there and
// mapped, but a hypervisor that keeps page tables of its own (shadow paging, PVM) does its
// part when the page is first written through this address: 40 to 70 µs where a worker
// opens a connection.
func touch(b []byte) {
	for ; len(b) > 0; b = b[min(pageSize, len(b)):] {
		atomic.AddUint64((*uint64)(unsafe.Pointer(unsafe.SliceData(b))), 0)
	}
}

// Bytes is the size of what Populate takes.
func (t *Table) Bytes() int { return len(t.mem.halves.Bytes) + len(t.mem.conns.Bytes) }

// SharedBytes is the size of what an XDP program reads of a BPFArray table that is made like
// this.
func (c *Config) SharedBytes() int {
	z, err := c.sizes()
	if err != nil {
		return 0 // there is no such table
	}
	return z.shared()
}

func (z sizes) shared() (n int) {
	for _, p := range new(memory).parts(z) {
		if p.shared {
			n += p.entries * p.size
		}
	}
	return n
}

// SharedBytes is the size of what an XDP program reads of a table.
func (t *Table) SharedBytes() int {
	z := sizes{slots: t.Slots(), wides: t.WideSlots(), conns: t.Conns()}
	return z.shared()
}

// WideBytes is the size of what PopulateWide takes.
func (t *Table) WideBytes() int { return len(t.mem.wides.Bytes) }

func (m *memory) close() {
	for _, r := range m.parts(sizes{}) {
		r.into.Close()
	}
}

func base(m *pinned.Memory) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(m.Bytes)) }
