package port

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// An interface whose driver is polled by who takes its packets need not interrupt him: Linux
// holds interrupts back for as long as somebody polls (the kernel's
// Documentation/networking/napi.rst). What it had before is written on the interface, as an
// alternative name that `ip link` shows: it outlasts a process that is killed, and neither the
// interface nor the machine.

// Deferral is how interrupts are held back; the zero value is Linux's own: not at all.
type Deferral struct {
	HardIRQs     int // polls that find nothing before they are on again: napi_defer_hard_irqs
	FlushTimeout int // nanoseconds without a poll after which Linux polls itself: gro_flush_timeout
}

// The files of sysfs that say so.
const (
	deferHardIRQs = "napi_defer_hard_irqs"
	flushTimeout  = "gro_flush_timeout"
)

// String names the values.
func (d Deferral) String() string {
	return fmt.Sprintf("%s %d, %s %d", deferHardIRQs, d.HardIRQs, flushTimeout, d.FlushTimeout)
}

// Deferred is an interface whose interrupts are held back, until Undo.
type Deferred struct {
	link *Link
	mark mark
	dir  *os.File // of the interface in sysfs
}

// dying is how long a process that was killed may take to end.
const dying = 2 * time.Second

var errDeferred = errors.New("a running weir does so already")

// Defer holds the interface's interrupts back. It is of the calling thread's network namespace,
// and one process at a time does so.
func (l *Link) Defer(d Deferral) (_ *Deferred, err error) {
	o := &Deferred{link: l}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("interface %q: hold its interrupts back: %w", l.Name, err), o.close())
		}
	}()
	nl, err := netlink.LinkByIndex(l.Index)
	if err != nil {
		return nil, err
	}
	if o.dir, err = openSysfs(l); err != nil {
		return nil, err
	}
	// What a former process left is not what the interface had.
	if left, ok := markOf(nl); ok {
		if !left.ended(dying) {
			return nil, errDeferred
		}
		if err := left.undo(nl, o.dir); err != nil {
			return nil, err
		}
	}
	if o.mark, err = newMark(l.Index, d); err != nil {
		return nil, err
	}
	if o.mark.was, err = readDeferral(o.dir); err != nil {
		return nil, err
	}
	if err := netlink.LinkAddAltName(nl, o.mark.String()); err != nil {
		return nil, fmt.Errorf("write down what it had: %w", err)
	}
	if err := writeDeferral(o.dir, o.mark.was, d); err != nil {
		return nil, errors.Join(err, o.mark.undo(nl, o.dir))
	}
	return o, nil
}

// Was is what the interface had.
func (o *Deferred) Was() Deferral { return o.mark.was }

// Is is what the interface has instead.
func (o *Deferred) Is() Deferral { return o.mark.is }

// Undo gives the interface back what it had, but where somebody changed that meanwhile.
func (o *Deferred) Undo() error {
	if o == nil || o.dir == nil {
		return nil
	}
	nl, err := netlink.LinkByIndex(o.link.Index)
	if err == nil {
		err = o.mark.undo(nl, o.dir)
	}
	var gone netlink.LinkNotFoundError
	if errors.As(err, &gone) {
		err = nil // and its values with it
	}
	if err != nil {
		err = fmt.Errorf("interface %q: give it %v again: %w", o.link.Name, o.mark.was, err)
	}
	return errors.Join(err, o.close())
}

func (o *Deferred) close() (err error) {
	if o.dir != nil {
		err = o.dir.Close()
	}
	o.dir = nil
	return err
}

// Left is an interface whose interrupts a process held back that has ended.
type Left struct {
	Name string
	Was  Deferral // and is again,
	Held bool     // or a living process has it, and it stays
}

// UndoLeft gives the interfaces of the calling thread's network namespace what they had before
// processes that have ended changed it. Of the interfaces own it is known that no living one has
// them: for those it waits.
func UndoLeft(own ...int) (left []Left, err error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list the interfaces of Linux: %w", err)
	}
	for _, nl := range links {
		m, ok := markOf(nl)
		if !ok {
			continue
		}
		a := nl.Attrs()
		wait := time.Duration(0)
		if slices.Contains(own, a.Index) {
			wait = dying
		}
		l := Left{Name: a.Name, Was: m.was, Held: !m.ended(wait)}
		if !l.Held {
			if failed := undoLeft(nl, m); failed != nil {
				err = errors.Join(err, fmt.Errorf("interface %q: give it %v again: %w", a.Name, m.was, failed))
				continue
			}
		}
		left = append(left, l)
	}
	return left, err
}

func undoLeft(nl netlink.Link, m mark) error {
	dir, err := openSysfs(&Link{Name: nl.Attrs().Name, Index: nl.Attrs().Index})
	if err != nil {
		return err
	}
	return errors.Join(m.undo(nl, dir), dir.Close())
}

// openSysfs opens an interface's folder in a sysfs that shows the calling thread's network
// namespace. /sys may show another, which may have an interface of that name.
func openSysfs(l *Link) (*os.File, error) {
	fs, err := unix.Fsopen("sysfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("look into sysfs (it needs CAP_SYS_ADMIN): %w", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("look into sysfs (it needs CAP_SYS_ADMIN): %w", err)
	}
	mount, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return nil, fmt.Errorf("look into sysfs (it needs CAP_SYS_ADMIN): %w", err)
	}
	defer unix.Close(mount) // an open folder keeps it
	fd, err := unix.Openat(mount, "class/net/"+l.Name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("look into sysfs: %w", err)
	}
	dir := os.NewFile(uintptr(fd), l.Name)
	if index, err := readNumber(dir, "ifindex"); err != nil || index != l.Index {
		return nil, errors.Join(err, dir.Close(), fmt.Errorf("its number is %d in sysfs, not %d: it was renamed", index, l.Index))
	}
	return dir, nil
}

func readDeferral(dir *os.File) (d Deferral, err error) {
	if d.HardIRQs, err = readNumber(dir, deferHardIRQs); err == nil {
		d.FlushTimeout, err = readNumber(dir, flushTimeout)
	}
	return d, err
}

// writeDeferral changes what is from into to. What is neither, somebody else wanted.
func writeDeferral(dir *os.File, from, to Deferral) error {
	now, err := readDeferral(dir)
	if err != nil {
		return err
	}
	if now.FlushTimeout == from.FlushTimeout {
		err = writeNumber(dir, flushTimeout, to.FlushTimeout)
	}
	if now.HardIRQs == from.HardIRQs {
		err = errors.Join(err, writeNumber(dir, deferHardIRQs, to.HardIRQs))
	}
	return err
}

func readNumber(dir *os.File, name string) (int, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%s: this Linux has none: 5.8 and newer do", name)
		}
		return 0, err
	}
	defer unix.Close(fd)
	var b [32]byte
	n, err := unix.Read(fd, b[:])
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	return strconv.Atoi(strings.TrimSpace(string(b[:n])))
}

func writeNumber(dir *os.File, name string, n int) error {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		_, err = unix.Write(fd, strconv.AppendInt(nil, int64(n), 10))
		err = errors.Join(err, unix.Close(fd))
	}
	if err != nil {
		return fmt.Errorf("write %d to %s: %w", n, name, err)
	}
	return nil
}
