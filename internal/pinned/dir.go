package pinned

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

// Dir is a director's folder of a bpffs. A nil Dir keeps nothing: its mappings are
// anonymous, and go with the process.
type Dir struct {
	path string
	lock *os.File // the folder itself, which one director at a time holds
}

// Head is the name of what says that the folder holds something whole: it is made last,
// or says so when the rest is there.
const Head = "header"

// ErrHeld means that a living director holds the folder.
var ErrHeld = errors.New("a running weir holds it")

// Open makes the folder, if it is not there, and takes its lock. The folder above has
// to lie in a bpffs.
func Open(path string) (*Dir, error) {
	if err := onBPFFS(filepath.Dir(path)); err != nil {
		return nil, err
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("make the folder for what outlives weir: %w", err)
	}
	// Kernels before 5.11 charge maps to RLIMIT_MEMLOCK; later ones ignore it.
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("%w (weir needs root, or CAP_BPF and CAP_SYS_RESOURCE)", err)
	}
	return hold(path)
}

// Find takes the lock of a folder that is there. The error is os.ErrNotExist if there is
// none, and ErrHeld if a director is at work in it.
func Find(path string) (*Dir, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	if err := onBPFFS(path); err != nil {
		return nil, err
	}
	return hold(path)
}

func onBPFFS(dir string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("the folder for what outlives weir: %s: %w", dir, err)
	}
	if fs.Type != unix.BPF_FS_MAGIC {
		return fmt.Errorf("%s is no bpffs, and nothing can outlive weir there: mount one (mount -t bpf bpffs /sys/fs/bpf), or name a folder of one", dir)
	}
	return nil
}

// dying is how long a director that was killed may take to let go of its folder: the
// kernel unmaps its tables before it closes its files.
const dying = 2 * time.Second

func hold(path string) (*Dir, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("the folder for what outlives weir: %w", err)
	}
	for wait := time.Millisecond; ; wait *= 2 {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
			return &Dir{path: path, lock: f}, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || wait > dying {
			break
		}
		time.Sleep(wait)
	}
	_ = f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("%s: %w", path, ErrHeld)
	}
	return nil, fmt.Errorf("lock %s: %w", path, err)
}

// Path returns where the folder is; "" of a nil Dir.
func (d *Dir) Path() string {
	if d == nil {
		return ""
	}
	return d.path
}

// Close lets go of the folder. What is in it stays, and so do the mappings.
func (d *Dir) Close() error {
	if d == nil {
		return nil
	}
	return d.lock.Close()
}

// Clear unpins everything in the folder but the programs on interfaces (links): those go
// when others are in their places. Its memory is the kernel's again when nobody uses it any
// more.
func (d *Dir) Clear() error { return d.clear(links) }

func (d *Dir) clear(but string) error {
	if d == nil {
		return nil
	}
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return fmt.Errorf("clear what outlived weir: %w", err)
	}
	// The head of what is kept goes first: without it the rest is nothing.
	if err := d.Unpin(Head); err != nil {
		return fmt.Errorf("clear what outlived weir: %w", err)
	}
	for _, e := range entries {
		if but != "" && strings.HasPrefix(e.Name(), but) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(d.path, e.Name())); err != nil {
			return fmt.Errorf("clear what outlived weir: %w", err)
		}
	}
	return nil
}

// Remove clears the folder, takes programs off their interfaces, takes it away and lets go
// of it.
func (d *Dir) Remove() error {
	err := d.clear("")
	if err == nil {
		if err = os.Remove(d.path); err != nil {
			err = fmt.Errorf("clear what outlived weir: %w", err)
		}
	}
	return errors.Join(err, d.Close())
}

// Names lists what is pinned under names that begin so.
func (d *Dir) Names(prefix string) (names []string, err error) {
	if d == nil {
		return nil, nil
	}
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, fmt.Errorf("list what outlived weir: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Unpin takes one name away; that it is not there is fine.
func (d *Dir) Unpin(name string) error {
	if d == nil {
		return nil
	}
	if err := os.Remove(filepath.Join(d.path, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// flagMmapable is BPF_F_MMAPABLE (Linux 5.5).
const flagMmapable = 1 << 10

// Memory is an array of records in a mapping.
type Memory struct {
	Bytes []byte
	Map   *ebpf.Map // nil: anonymous memory, of which the kernel's programs see nothing
	Found bool      // it was there before
}

// Close unmaps it. What is pinned stays.
func (m *Memory) Close() {
	if m.Bytes != nil {
		_ = unix.Munmap(m.Bytes)
	}
	if m.Map != nil {
		_ = m.Map.Close()
	}
	*m = Memory{}
}

// Array maps an array of records under a name: the one that is there, or a new one,
// full of zeros. One that is there with other sizes is an error, [Sizes]. Of a nil Dir
// it is anonymous memory, in huge pages where the kernel has them.
func (d *Dir) Array(name string, entries, size int) (Memory, error) {
	if d == nil {
		b, err := Anonymous(entries * size)
		return Memory{Bytes: b}, err
	}
	m, err := d.open(name, entries, size)
	found := err == nil
	if errors.Is(err, os.ErrNotExist) {
		m, err = d.create(name, entries, size)
	}
	if err != nil {
		return Memory{}, err
	}
	b, err := mapShared(m, entries*size)
	if err != nil {
		_ = m.Close()
		return Memory{}, err
	}
	return Memory{Bytes: b, Map: m, Found: found}, nil
}

// Sizes is the error about an array whose sizes are not what was asked for.
type Sizes struct {
	Name                       string
	Entries, Size              int
	WantedEntries, WantedSizes int
}

// Error implements error.
func (e *Sizes) Error() string {
	return fmt.Sprintf("%s has %d records of %d bytes, not %d of %d", e.Name, e.Entries, e.Size, e.WantedEntries, e.WantedSizes)
}

func (d *Dir) open(name string, entries, size int) (*ebpf.Map, error) {
	m, err := ebpf.LoadPinnedMap(filepath.Join(d.path, name), nil)
	if err != nil {
		return nil, err
	}
	if m.Type() != ebpf.Array || int(m.MaxEntries()) != entries || int(m.ValueSize()) != size || m.Flags()&flagMmapable == 0 {
		err := &Sizes{name, int(m.MaxEntries()), int(m.ValueSize()), entries, size}
		_ = m.Close()
		return nil, err
	}
	return m, nil
}

func (d *Dir) create(name string, entries, size int) (*ebpf.Map, error) {
	m, err := newArray(name, entries, size)
	if err != nil {
		return nil, err
	}
	if err := m.Pin(filepath.Join(d.path, name)); err != nil {
		_ = m.Close()
		return nil, err
	}
	return m, nil
}

// Array maps a new array that programs in the kernel can see, and that goes with the process.
func Array(name string, entries, size int) (Memory, error) {
	m, err := newArray(name, entries, size)
	if err != nil {
		return Memory{}, err
	}
	b, err := mapShared(m, entries*size)
	if err != nil {
		_ = m.Close()
		return Memory{}, err
	}
	return Memory{Bytes: b, Map: m}, nil
}

// newArray makes an array that can be mapped, and pins it nowhere.
func newArray(name string, entries, size int) (*ebpf.Map, error) {
	return ebpf.NewMap(&ebpf.MapSpec{
		Name: kernelName(name), Type: ebpf.Array, KeySize: 4, ValueSize: uint32(size), MaxEntries: uint32(entries), Flags: flagMmapable,
	})
}

// kernelName is a name for bpftool: 15 bytes at most.
func kernelName(name string) string {
	n := "weir_" + strings.NewReplacer(".", "_", "-", "_").Replace(name)
	return n[:min(len(n), 15)]
}

func mapShared(m *ebpf.Map, size int) ([]byte, error) {
	return unix.Mmap(m.FD(), 0, pages(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

func pages(size int) int { return (size + 4095) &^ 4095 }

// Anonymous is memory of the process alone, in huge pages where the kernel has them.
func Anonymous(size int) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, pages(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, err
	}
	// Advice: without huge pages all works, a table of 10 M flows 15 % slower.
	_ = unix.Madvise(b, unix.MADV_HUGEPAGE)
	return b, nil
}
