package tap

import (
	"errors"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/internal/port"
)

// MaxName is the greatest length of a device's name, in bytes.
const MaxName = unix.IFNAMSIZ - 1

// Bounds of each queue: the frames that wait for the worker, beyond which Linux
// drops, and the bytes of frames that wait somewhere in Linux (in a qdisc behind a
// bridge, say), beyond which Tx drops. The kernel charges a small frame with 768
// bytes or more.
const (
	queueLength = 1024
	sendBuffer  = 4 << 20
)

// What Linux may leave to us in what it sends. USO came with Linux 6.2.
const (
	offloadChecksum = unix.TUN_F_CSUM
	offloadTSO      = unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN
	offloadUSO      = unix.TUN_F_USO4 | unix.TUN_F_USO6
)

// Options of a device.
type Options struct {
	Name   string   // at most MaxName bytes
	Port   string   // whose twin it is: a device that was kept is another's no more
	MAC    port.MAC // the port's
	MTU    int      // in bytes, without the link header: the port's
	Queues int      // one per worker, 1 to port.Max
	// Whole: Linux hands TCP and UDP over in super-frames, to be cut up by the port on
	// whose wire they are to leave or by the worker. Checksums are left open in any case.
	Whole bool
}

// Device is a TAP. It lasts until it and all its queues are closed, or the process
// ends, however it ends; with Keep it outlasts them, for the next to take over.
type Device struct {
	// Link is the Linux interface, as it was when the device was made: down, unless it
	// was taken over. Its SetUp, SetDown and SetMTU are the way to change it.
	Link *port.Link
	// TakenOver: it was there already and has kept its addresses, its routes, whether
	// it is up, and an MTU that somebody gave it. Foreign: it was not made by Create.
	TakenOver, Foreign bool
	// Former is the MAC address that it had then, if that was not the port's.
	Former port.MAC

	port    string
	mtu     int   // the port's
	fds     []int // of each queue; -1 when it was opened
	control int   // a second descriptor of queue 0
	groups  int   // of Linux's list of multicast groups
}

// Create makes a TAP in the calling thread's network namespace, or takes over one
// that is persistent and that nobody has open.
func Create(o Options) (*Device, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("TAP %q: %w", o.Name, err)
	}
	d := &Device{port: o.Port, mtu: o.MTU, control: -1, groups: -1}
	if err := d.create(&o); err != nil {
		return nil, errors.Join(fmt.Errorf("TAP %q: %w", o.Name, err), d.Close())
	}
	return d, nil
}

func (o *Options) check() error {
	switch {
	case o.Name == "" || len(o.Name) > MaxName:
		return fmt.Errorf("an interface name has 1 to %d bytes: give it a shorter one with kni_name", MaxName)
	case o.Name == "." || o.Name == ".." || strings.ContainsAny(o.Name, "/:% \t\n\v\f\r\x00"),
		strings.IndexByte(o.Name, 0xa0) >= 0: // the byte: Linux takes names for Latin-1
		return errors.New("Linux takes no interface name with a space, '/', ':' or '%'")
	case !named(o.Port):
		return fmt.Errorf("a port can't be called %q", o.Port)
	case o.Queues < 1 || o.Queues > port.Max:
		return fmt.Errorf("1 to %d queues, not %d", port.Max, o.Queues)
	case o.MAC == port.MAC{} || o.MAC[0]&1 != 0:
		return fmt.Errorf("%x is no MAC address of an interface", o.MAC)
	}
	return nil
}

func (d *Device) create(o *Options) (err error) {
	for i := range o.Queues {
		fd, err := openTUN()
		if err != nil {
			return err
		}
		d.fds = append(d.fds, fd)
		if i == 0 {
			err = d.first(fd, o)
		} else {
			err = attach(fd, o.Name, 0)
		}
		if err != nil {
			return err
		}
		if err := unix.IoctlSetPointerInt(fd, unix.TUNSETSNDBUF, sendBuffer); err != nil {
			return fmt.Errorf("bound what it sends: %w", err)
		}
	}
	if err := d.setUp(o); err != nil {
		return err
	}
	if d.control, err = unix.FcntlInt(uintptr(d.fds[0]), unix.F_DUPFD_CLOEXEC, 0); err != nil {
		return err
	}
	d.groups, err = unix.Open("/proc/thread-self/net/dev_mcast", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open Linux's list of multicast groups: %w", err)
	}
	return nil
}

// openTUN opens what a queue is made of.
func openTUN() (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("open /dev/net/tun: %w (load the module: modprobe tun; weir needs root, or CAP_NET_ADMIN)", err)
	}
	return fd, nil
}

// first attaches the first queue: to a new device, or to one that was left.
func (d *Device) first(fd int, o *Options) error {
	err := attach(fd, o.Name, unix.IFF_TUN_EXCL)
	if !errors.Is(err, unix.EBUSY) {
		return err
	}
	nl, err := netlink.LinkByName(o.Name)
	if err != nil {
		return fmt.Errorf("ask Linux about the interface that is there: %w", err)
	}
	if err := free(nl); err != nil {
		return err
	}
	of, _, ours := marked(nl)
	if ours && of != o.Port {
		return fmt.Errorf("there is the twin of port %s of that name, with that port's addresses: `weir purge` takes it away, or choose another kni_name", of)
	}
	if err := attach(fd, o.Name, 0); err != nil {
		return err
	}
	d.TakenOver, d.Foreign = true, !ours
	return nil
}

// free says why an interface can't be taken over, or nil.
func free(nl netlink.Link) error {
	name := nl.Attrs().Name
	t, ok := nl.(*netlink.Tuntap)
	switch {
	case !ok:
		return fmt.Errorf("there is an interface of that name, of kind %q: rename it (ip link set dev %s name OTHER), or choose another kni_name", nl.Type(), name)
	case t.Mode != netlink.TUNTAP_MODE_TAP:
		return errors.New("there is a TUN device of that name: remove it, or choose another kni_name")
	case t.Queues+t.DisabledQueues > 0 || t.NonPersist:
		return errors.New("another program has it open: is another weir running? Stop that program, or choose another kni_name")
	case t.Flags&netlink.TUNTAP_MULTI_QUEUE == 0:
		return fmt.Errorf("there is a TAP of that name, and it can have one queue only: remove it (ip link del %s)", name)
	}
	return nil
}

// attach makes fd a queue of a TAP.
func attach(fd int, name string, more uint16) error {
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_MULTI_QUEUE | more)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, r); err != nil {
		if err == unix.EBUSY {
			return err
		}
		return fmt.Errorf("make a queue: %w", err)
	}
	return nil
}

// setUp gives the device what all its queues share.
func (d *Device) setUp(o *Options) error {
	fd := d.fds[0]
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, port.VnetLen); err != nil {
		return fmt.Errorf("set the vnet header's length: %w", err)
	}
	if err := setOffload(fd, o.Whole); err != nil {
		return fmt.Errorf("switch offloads on: %w", err)
	}
	nl, err := netlink.LinkByName(o.Name)
	if err != nil {
		return err
	}
	if t, ok := nl.(*netlink.Tuntap); !ok || t.Queues != o.Queues {
		return errors.New("another program opened it at the same time: stop that program")
	}
	// What is right stays untouched: a change makes Linux forget neighbours.
	if mtu := nl.Attrs().MTU; mtu != o.MTU && !d.chosen(nl) {
		if err := netlink.LinkSetMTU(nl, o.MTU); err != nil {
			return fmt.Errorf("set mtu %d: %w", o.MTU, err)
		}
	}
	if at := nl.Attrs(); len(at.HardwareAddr) != len(o.MAC) || port.MAC(at.HardwareAddr) != o.MAC {
		if d.TakenOver {
			copy(d.Former[:], at.HardwareAddr)
		}
		if err := netlink.LinkSetHardwareAddr(nl, o.MAC[:]); err != nil {
			return fmt.Errorf("set the MAC address %x: %w", o.MAC, err)
		}
	}
	if nl.Attrs().TxQLen != queueLength {
		if err := netlink.LinkSetTxQLen(nl, queueLength); err != nil {
			return fmt.Errorf("set a queue of %d frames: %w", queueLength, err)
		}
	}
	d.Link, err = port.FindLink(o.Name)
	return err
}

func setOffload(fd int, whole bool) error {
	if !whole {
		return unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offloadChecksum)
	}
	err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offloadChecksum|offloadTSO|offloadUSO)
	if err == unix.EINVAL {
		err = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offloadChecksum|offloadTSO)
	}
	return err
}

// Facts returns the facts of the twin as a port. ID and Name are the director's to
// choose.
func (d *Device) Facts(id uint16, name string) port.Facts {
	return port.Facts{
		ID: id, Name: name, IfName: d.Link.Name, IfIndex: d.Link.Index,
		MAC: d.Link.MAC, MTU: d.Link.MTU, Driver: "tap",
		TxCsum: true, TxGSO: true, // RxPartial no: every frame says so itself
		RxQueues: len(d.fds), TxQueues: len(d.fds),
	}
}

// SetCarrier tells Linux whether there is somebody at the other end of the port's
// cable, so that routing daemons learn of it.
func (d *Device) SetCarrier(on bool) error {
	v := 0
	if on {
		v = 1
	}
	if err := unix.IoctlSetPointerInt(d.control, unix.TUNSETCARRIER, v); err != nil {
		return fmt.Errorf("TAP %q: set the carrier: %w", d.Link.Name, err)
	}
	return nil
}

// Close removes the device when its queues are closed too, unless it is kept. Queues
// that were never opened are closed with it.
func (d *Device) Close() (err error) {
	for _, fd := range append(d.fds, d.control, d.groups) {
		if fd >= 0 {
			err = errors.Join(err, unix.Close(fd))
		}
	}
	d.fds, d.control, d.groups = nil, -1, -1
	return err
}
