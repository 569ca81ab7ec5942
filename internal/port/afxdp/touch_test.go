package afxdp

import (
	"bytes"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

// Every page is written to, and nothing is changed.
func TestTouch(t *testing.T) {
	if err := rlimit.RemoveMemlock(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name         string
		size, values uint32
		pages        int
	}{
		{"half-flows", 64, 64 * 3 * touchPages, 3 * touchPages},
		{"half-flows and a piece of a page", 64, 64*3*touchPages + 1, 3*touchPages + 1},
		{"wide half-flows", 128, 32*touchPages - 1, touchPages},
		{"one value", 32, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: c.size, MaxEntries: c.values, Flags: unix.BPF_F_MMAPABLE})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			b, err := unix.Mmap(m.FD(), 0, c.pages*pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = unix.Munmap(b) }()
			for i := range b {
				b[i] = byte(i>>8 ^ i)
			}
			before := bytes.Clone(b)
			if pages, err := touchMap(nil, m); err != nil || pages != c.pages {
				t.Errorf("%d pages were written to (%v), want %d", pages, err, c.pages)
			}
			if !bytes.Equal(b, before) {
				t.Error("the map was changed")
			}
			stop := make(chan struct{})
			close(stop)
			if pages, err := touchMap(stop, m); err != nil || pages != 0 {
				t.Errorf("told to stop: %d pages were written to (%v), want none", pages, err)
			}
		})
	}
}
