package tap

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A device that is kept (TUNSETPERSIST) outlasts the process: with its addresses, its
// routes, its groups, and the sockets of the programs that use it. While nobody has it
// open it has no carrier, and what Linux sends there is lost as on a cable that was
// pulled. The next process finds it by its name, and knows it by the mark: the alias
// that `ip link` shows.
const (
	markFront = "weir: twin of "
	markMTU   = ", mtu "
)

// named reports whether a mark can name a port.
func named(portName string) bool {
	return portName != "" && len(portName) <= 64 && !strings.ContainsAny(portName, ", \t\n\x00")
}

// marked reads the mark of a device that was kept: whose twin it is, and the MTU that
// the port had.
func marked(nl netlink.Link) (portName string, mtu int, ok bool) {
	text, ok := strings.CutPrefix(nl.Attrs().Alias, markFront)
	if !ok {
		return "", 0, false
	}
	portName, digits, _ := strings.Cut(text, markMTU)
	mtu, err := strconv.Atoi(digits)
	return portName, mtu, err == nil && named(portName)
}

// chosen reports whether somebody gave a device that was kept an MTU of its own, that
// the port can carry.
func (d *Device) chosen(nl netlink.Link) bool {
	_, was, ok := marked(nl)
	return d.TakenOver && ok && nl.Attrs().MTU != was && nl.Attrs().MTU < d.mtu
}

// Keep has the device outlast the process, for the next Create of its name to take it
// over. A foreign one stays as who made it wants it.
func (d *Device) Keep() error {
	if d.Foreign {
		return nil
	}
	nl, err := netlink.LinkByIndex(d.Link.Index)
	if err == nil {
		err = netlink.LinkSetAlias(nl, markFront+d.port+markMTU+strconv.Itoa(d.mtu))
	}
	if err == nil {
		err = unix.IoctlSetInt(d.control, unix.TUNSETPERSIST, 1)
	}
	if err != nil {
		return fmt.Errorf("TAP %q: keep it for the next start: %w", d.Link.Name, err)
	}
	return nil
}

// Forget has the device end with its queues, kept or not.
func (d *Device) Forget() error {
	if d.Foreign {
		return nil
	}
	if err := unix.IoctlSetInt(d.control, unix.TUNSETPERSIST, 0); err != nil {
		return fmt.Errorf("TAP %q: keep it no more: %w", d.Link.Name, err)
	}
	return nil
}

// Kept is a device that outlasts its process.
type Kept struct {
	Name string
	Port string // whose twin it is
	Open bool   // a program has it open
}

// AllKept lists the devices of the calling thread's network namespace that Keep was
// called for.
func AllKept() (all []Kept, err error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list the interfaces of Linux: %w", err)
	}
	for _, nl := range links {
		t, isTAP := nl.(*netlink.Tuntap)
		if of, _, ok := marked(nl); ok && isTAP && t.Mode == netlink.TUNTAP_MODE_TAP {
			all = append(all, Kept{nl.Attrs().Name, of, t.Queues+t.DisabledQueues > 0})
		}
	}
	return all, nil
}

// Remove takes the device away, with its addresses and routes; one that a program has
// open goes when that ends.
func (k *Kept) Remove() error {
	fd, err := openTUN()
	if err != nil {
		return err
	}
	if err = attach(fd, k.Name, 0); err == nil {
		err = unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 0)
	}
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		return fmt.Errorf("TAP %q: remove it: %w", k.Name, err)
	}
	return nil
}
