package flow

import (
	"fmt"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
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
	header, halves, wides, conns, hops []byte
	maps                               []*ebpf.Map // header, halves, wides, hops; BPFArray only
}

const bpfFlagMmapable = 1 << 10

func mapMemory(b Backing, slots, conns int) (*memory, error) {
	m := &memory{}
	var err error
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	for _, r := range []struct {
		name    string
		into    *[]byte
		entries int
		size    int
		shared  bool // an engine in the kernel reads it too
	}{
		{"weir_header", &m.header, 1, HeaderSize, true},
		{"weir_halves", &m.halves, slots, HalfSize, true},
		{"weir_wides", &m.wides, slots, WideSize, true},
		{"weir_hops", &m.hops, MaxNextHops, NextHopSize, true},
		{"weir_conns", &m.conns, conns, ConnSize, false},
	} {
		if b == BPFArray && r.shared {
			*r.into, err = m.mapArray(r.name, r.entries, r.size)
		} else {
			*r.into, err = mapAnonymous(r.entries * r.size)
		}
		if err != nil {
			return nil, fmt.Errorf("flow table: %s, %d MiB: %w", r.name, r.entries*r.size>>20, err)
		}
	}
	return m, nil
}

func mapAnonymous(size int) ([]byte, error) {
	size = (size + 4095) &^ 4095
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, err
	}
	// Advice: without huge pages the table works, 15 % slower at 10 M flows.
	_ = unix.Madvise(b, unix.MADV_HUGEPAGE)
	return b, nil
}

// populateStep is how much Populate takes at once.
const populateStep = 8 << 20

// Populate takes the memory of IPv4's half-flows and of connections from the kernel
// now, which otherwise is done where a worker first writes: 2 MiB are cleared there
// while packets wait. It changes nothing, may run beside the workers, and ends
// early with stop. An error says that the kernel can't (before Linux 5.14).
func (t *Table) Populate(stop <-chan struct{}) error {
	return populate(stop, t.mem.halves, t.mem.conns)
}

// PopulateWide is Populate for the half-flows of IPv6.
func (t *Table) PopulateWide(stop <-chan struct{}) error { return populate(stop, t.mem.wides) }

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
		}
	}
	return nil
}

// Bytes is the size of what Populate takes.
func (t *Table) Bytes() int { return len(t.mem.halves) + len(t.mem.conns) }

// SharedBytes is the size of what an XDP program reads of a BPFArray table for so many
// connections.
func SharedBytes(conns int) int {
	return HeaderSize + slotsFor(conns)*(HalfSize+WideSize) + MaxNextHops*NextHopSize
}

// WideBytes is the size of what PopulateWide takes.
func (t *Table) WideBytes() int { return len(t.mem.wides) }

func (m *memory) mapArray(name string, entries, size int) ([]byte, error) {
	a, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: name, Type: ebpf.Array, KeySize: 4, ValueSize: uint32(size), MaxEntries: uint32(entries), Flags: bpfFlagMmapable,
	})
	if err != nil {
		return nil, err
	}
	m.maps = append(m.maps, a)
	length := (entries*size + 4095) &^ 4095
	return unix.Mmap(a.FD(), 0, length, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

func (m *memory) close() {
	for _, b := range [][]byte{m.header, m.halves, m.wides, m.conns, m.hops} {
		if b != nil {
			_ = unix.Munmap(b)
		}
	}
	for _, a := range m.maps {
		_ = a.Close()
	}
	*m = memory{}
}

func base(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }
