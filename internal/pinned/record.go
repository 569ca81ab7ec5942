package pinned

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// A record is some bytes under a name: an array of pages that begins with their number.
// It is replaced by a rename, so that there always is a whole one.

const recordPage = 4096

// Write puts a record in the place of the one of that name.
func (d *Dir) Write(name string, record []byte) (err error) {
	if d == nil {
		return nil
	}
	n := (8 + len(record) + recordPage - 1) / recordPage
	m, err := newArray(name, n, recordPage)
	if err != nil {
		return fmt.Errorf("record %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	b, err := mapShared(m, n*recordPage)
	if err != nil {
		return fmt.Errorf("record %s: %w", name, err)
	}
	binary.LittleEndian.PutUint64(b, uint64(len(record)))
	copy(b[8:], record)
	if err := unix.Munmap(b); err != nil {
		return fmt.Errorf("record %s: %w", name, err)
	}
	next := filepath.Join(d.path, name+"-new")
	if err := d.Unpin(name + "-new"); err != nil { // of one who was killed here
		return fmt.Errorf("record %s: %w", name, err)
	}
	if err := m.Pin(next); err != nil {
		return fmt.Errorf("record %s: %w", name, err)
	}
	if err := os.Rename(next, filepath.Join(d.path, name)); err != nil {
		return fmt.Errorf("record %s: %w", name, err)
	}
	return nil
}

// Read returns the record of that name; os.ErrNotExist if there is none.
func (d *Dir) Read(name string) ([]byte, error) {
	if d == nil {
		return nil, os.ErrNotExist
	}
	m, err := ebpf.LoadPinnedMap(filepath.Join(d.path, name), nil)
	if err != nil {
		return nil, fmt.Errorf("record %s: %w", name, err)
	}
	defer m.Close()
	size := int(m.MaxEntries()) * int(m.ValueSize())
	if m.Type() != ebpf.Array || m.ValueSize() != recordPage || m.Flags()&flagMmapable == 0 {
		return nil, fmt.Errorf("record %s: it is none of ours", name)
	}
	b, err := mapShared(m, size)
	if err != nil {
		return nil, fmt.Errorf("record %s: %w", name, err)
	}
	defer func() { _ = unix.Munmap(b) }()
	n := binary.LittleEndian.Uint64(b)
	if n > uint64(size-8) {
		return nil, fmt.Errorf("record %s: it says to be %d bytes long and is not", name, n)
	}
	return append([]byte(nil), b[8:8+n]...), nil
}
