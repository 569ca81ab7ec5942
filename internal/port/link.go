package port

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Link is what Linux says of one of its interfaces. It is immutable: FindLink
// asks anew.
type Link struct {
	Name    string
	Index   int
	MAC     MAC
	MTU     int  // in bytes, without the link header
	Up      bool // administratively up
	Carrier bool // up, and there is somebody at the other end
	Promisc bool

	// Kind is the kind of a virtual interface ("veth", "bridge", "tun"), "" of
	// a device. Driver is the kernel driver's name; Bus where the device sits,
	// for PCI its address ("0000:03:00.0"), "" where there is no device.
	Kind, Driver, Bus string

	// Queues in use (ethtool -l), at least 1 each.
	RxQueues, TxQueues int

	SpeedMbps  int // 0: unknown
	FullDuplex bool
	Autoneg    bool
}

// Partial reports whether frames may arrive whose L4 checksum was never
// completed, because they come from another program's or kernel's memory and
// not from a wire: veth, virtio, TAP and all other virtual links.
func (l *Link) Partial() bool {
	return l.Kind != "" || l.Bus == "" || l.Driver == "virtio_net"
}

// FindLink asks Linux about an interface of the calling thread's network
// namespace.
func FindLink(name string) (*Link, error) {
	nl, err := netlink.LinkByName(name)
	if err != nil {
		var missing netlink.LinkNotFoundError
		if errors.As(err, &missing) {
			return nil, fmt.Errorf("there is no interface %q here; there are: %s", name, strings.Join(LinkNames(), ", "))
		}
		return nil, fmt.Errorf("ask Linux about interface %q: %w", name, err)
	}
	a := nl.Attrs()
	if len(a.HardwareAddr) != len(MAC{}) {
		return nil, fmt.Errorf("interface %q is no Ethernet link (it is of type %s): a port needs one", name, a.EncapType)
	}
	l := &Link{
		Name:     a.Name,
		Index:    a.Index,
		MAC:      MAC(a.HardwareAddr),
		MTU:      a.MTU,
		Up:       a.RawFlags&flagUp != 0,
		Carrier:  a.RawFlags&flagRunning != 0,
		Promisc:  a.Promisc != 0,
		RxQueues: max(a.NumRxQueues, 1),
		TxQueues: max(a.NumTxQueues, 1),
	}
	if k := nl.Type(); k != "device" {
		l.Kind = k
	}
	if err := l.askEthtool(); err != nil {
		return nil, fmt.Errorf("ask the driver of interface %q: %w", name, err)
	}
	return l, nil
}

// FindLinkOnBus returns the interface whose device sits at a bus address, such
// as the PCI address "0000:03:00.0".
func FindLinkOnBus(bus string) (*Link, error) {
	var seen []string
	for _, name := range LinkNames() {
		l, err := FindLink(name)
		if err != nil || l.Bus == "" {
			continue // not Ethernet, gone since, or no device: not what is looked for
		}
		if l.Bus == bus {
			return l, nil
		}
		seen = append(seen, l.Bus+" ("+l.Name+")")
	}
	if len(seen) == 0 {
		seen = []string{"none at all"}
	}
	return nil, fmt.Errorf("no interface's device sits at %q; there are: %s", bus, strings.Join(seen, ", "))
}

// LinkNames lists the interfaces of the calling thread's network namespace,
// loopback left out, sorted.
func LinkNames() []string {
	links, err := netlink.LinkList()
	if err != nil {
		return nil // asked for to make a sentence or a list: an empty one says enough
	}
	var names []string
	for _, l := range links {
		if l.Attrs().RawFlags&flagLoopback == 0 {
			names = append(names, l.Attrs().Name)
		}
	}
	slices.Sort(names)
	return names
}

// SetUp switches the interface on.
func (l *Link) SetUp() error { return l.set("switch on", netlink.LinkSetUp) }

// SetDown takes the interface out of service.
func (l *Link) SetDown() error { return l.set("switch off", netlink.LinkSetDown) }

// SetPromisc makes the interface take frames for every MAC, or not.
func (l *Link) SetPromisc(on bool) error {
	if on {
		return l.set("make promiscuous", netlink.SetPromiscOn)
	}
	return l.set("make not promiscuous", netlink.SetPromiscOff)
}

// SetAllMulticast makes the interface take all multicast frames, or not.
func (l *Link) SetAllMulticast(on bool) error {
	if on {
		return l.set("let in all multicast", netlink.LinkSetAllmulticastOn)
	}
	return l.set("let in wanted multicast only", netlink.LinkSetAllmulticastOff)
}

// SetMTU sets the interface's MTU in bytes.
func (l *Link) SetMTU(mtu int) error {
	return l.set(fmt.Sprintf("set mtu %d", mtu), func(nl netlink.Link) error { return netlink.LinkSetMTU(nl, mtu) })
}

func (l *Link) set(what string, f func(netlink.Link) error) error {
	nl, err := netlink.LinkByIndex(l.Index)
	if err == nil {
		err = f(nl)
	}
	if err != nil {
		return fmt.Errorf("interface %q: %s: %w", l.Name, what, err)
	}
	return nil
}

// SetMAC gives the interface another MAC address. A driver that can't while the interface is
// up gets it switched off for that moment.
func (l *Link) SetMAC(mac MAC) error {
	err := l.set("set the MAC address", func(nl netlink.Link) error {
		err := netlink.LinkSetHardwareAddr(nl, mac[:])
		if !errors.Is(err, unix.EBUSY) || nl.Attrs().RawFlags&flagUp == 0 {
			return err
		}
		if err := netlink.LinkSetDown(nl); err != nil {
			return err
		}
		return errors.Join(netlink.LinkSetHardwareAddr(nl, mac[:]), netlink.LinkSetUp(nl))
	})
	if err == nil {
		l.MAC = mac
	}
	return err
}
