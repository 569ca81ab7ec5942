package director

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/internal/port"
)

// Linux tells by netlink when an address or a link changes, and that is all its words
// are used for: the director then lists what is, compares, and changes what differs.
// So a lost message costs no more than the time until the next look.

const (
	// groupsEvery is how often multicast groups are looked at: kernels before 6.14 tell
	// nobody of those. At every lookEvery-th time all is looked at, without a word of
	// Linux's.
	groupsEvery = 200 * time.Millisecond
	lookEvery   = 5
	// After a word the look comes at once: who puts an address on a twin speaks from it in
	// the next millisecond. But a program that moves many addresses goes on for a while:
	// where atOnce looks were within settleMost, the next waits until nothing was said for
	// settle, but no longer than settleMost.
	atOnce     = 8
	settle     = 5 * time.Millisecond
	settleMost = 50 * time.Millisecond
	// heard is the socket buffer for Linux's words, in bytes: of some thousand addresses.
	heard = 1 << 20
)

// runTwins follows what Linux does with the twins, until ctx ends.
func (d *Director) runTwins(ctx context.Context) {
	for ctx.Err() == nil {
		if err := d.followTwins(ctx); err != nil {
			d.log.Warn("Linux is asked again what addresses are on the .kni twins", "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(groupsEvery):
			}
		}
	}
}

// followTwins does so until messages of Linux's were lost; they are subscribed to again
// before the next look.
func (d *Director) followTwins(ctx context.Context) error {
	done := make(chan struct{})
	defer close(done)
	addrs, links := make(chan netlink.AddrUpdate, 64), make(chan netlink.LinkUpdate, 64)
	lost := make(chan error, 2)
	tell := func(err error) {
		select {
		case lost <- err:
		default:
		}
	}
	err := netlink.AddrSubscribeWithOptions(addrs, done, netlink.AddrSubscribeOptions{ErrorCallback: tell, ReceiveBufferSize: heard, ReceiveBufferForceSize: true})
	if err != nil {
		return fmt.Errorf("hear of addresses: %w", err)
	}
	defer func() { go swallow(addrs) }()
	err = netlink.LinkSubscribeWithOptions(links, done, netlink.LinkSubscribeOptions{ErrorCallback: tell, ReceiveBufferSize: heard, ReceiveBufferForceSize: true})
	if err != nil {
		return fmt.Errorf("hear of links: %w", err)
	}
	defer func() { go swallow(links) }()
	tick := time.NewTicker(groupsEvery)
	defer tick.Stop()
	told := ""
	var last recent
	for n := 0; ; n++ {
		var err error
		if n%lookEvery == 0 {
			err = d.lookAtTwins()
		} else {
			err = d.lookAtGroups()
		}
		if err != nil && err.Error() != told {
			told = err.Error()
			d.log.Warn("what Linux says of the .kni twins is not in force", "err", err)
		}
		spoken := false
		select {
		case <-ctx.Done():
			return nil
		case err := <-lost:
			return err
		case <-tick.C:
		case _, spoken = <-addrs:
		case _, spoken = <-links:
		}
		if spoken {
			if last.many(time.Now()) {
				hush(ctx, addrs, links)
			}
			n = -1 // look at all
		}
	}
}

// recent has the times of the last words after which was looked, the oldest first.
type recent [atOnce]time.Time

// many notes a word, and reports whether it is one of many.
func (r *recent) many(now time.Time) bool {
	first := r[0]
	copy(r[:], r[1:])
	r[atOnce-1] = now
	return now.Sub(first) < settleMost
}

// hush returns when nothing was said for a while.
func hush(ctx context.Context, addrs chan netlink.AddrUpdate, links chan netlink.LinkUpdate) {
	most := time.NewTimer(settleMost)
	defer most.Stop()
	for {
		quiet := time.NewTimer(settle)
		more := false
		select {
		case <-ctx.Done():
		case <-most.C:
		case <-quiet.C:
		case _, more = <-addrs:
		case _, more = <-links:
		}
		quiet.Stop()
		if !more {
			return
		}
	}
}

// swallow lets who writes to a channel that nobody reads any more come to his end.
func swallow[T any](c chan T) {
	for range c {
	}
}

// lookAtTwins lists what Linux has on the twins and puts it in force, and tells Linux
// whether the ports' cables lead anywhere.
func (d *Director) lookAtTwins() error {
	ports := d.watched() // before Linux is asked: what is made meanwhile is not in its answer
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list the addresses of Linux: %w", err)
	}
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list the interfaces of Linux: %w", err)
	}
	flags := map[int]uint32{} // by index
	for _, l := range links {
		flags[l.Attrs().Index] = l.Attrs().RawFlags
		d.keepMAC(ports, l)
	}
	seen := map[string]TwinState{}
	for _, p := range ports {
		at := p.twin.device.Link.Index
		is, there := flags[at]
		s := TwinState{Up: is&unix.IFF_UP != 0, Gone: !there}
		for i := range addrs {
			if a := &addrs[i]; a.LinkIndex == at && used(a) {
				ip, _ := netip.AddrFromSlice(a.IP)
				bits, _ := a.Mask.Size()
				s.Addresses = append(s.Addresses, netip.PrefixFrom(ip.Unmap(), bits))
			}
		}
		slices.SortFunc(s.Addresses, func(x, y netip.Prefix) int { return x.Addr().Compare(y.Addr()) })
		if s.Groups, err = p.twin.groups(); err != nil {
			return err
		}
		seen[p.facts.Name] = s
		if carrier := p.runs(flags); there && carrier != p.twin.carrier {
			if err := p.twin.device.SetCarrier(carrier); err != nil {
				return err
			}
			p.twin.carrier = carrier
		}
	}
	return d.SeeTwins(seen)
}

// runs reports whether a port's cable leads anywhere, by the flags of the interfaces.
func (p *openPort) runs(flags map[int]uint32) bool {
	for p.over != nil {
		p = p.over
	}
	if p.bond != nil {
		p.bond.mu.Lock()
		defer p.bond.mu.Unlock()
		return p.bond.carries
	}
	return flags[p.link.Index]&unix.IFF_RUNNING != 0
}

// watched are the ports that have a twin.
func (d *Director) watched() (ports []*openPort) {
	for _, p := range d.portList() {
		if p.twin != nil {
			ports = append(ports, p)
		}
	}
	return ports
}

// lookAtGroups lists what multicast groups Linux listens to on the twins, and puts it
// in force.
func (d *Director) lookAtGroups() error {
	seen := map[string][]port.MAC{}
	for _, p := range d.watched() {
		groups, err := p.twin.groups()
		if err != nil {
			return err
		}
		seen[p.facts.Name] = groups
	}
	d.seeGroups(seen)
	return nil
}

// groups lists the multicast groups that Linux listens to on the twin, sorted.
func (t *twin) groups() ([]port.MAC, error) {
	groups, err := t.device.Groups()
	slices.SortFunc(groups, func(x, y port.MAC) int { return bytes.Compare(x[:], y[:]) })
	return groups, err
}

// keepMAC gives a twin its port's MAC again, if udev or somebody gave it another: what
// comes to the port would be another machine's to Linux.
func (d *Director) keepMAC(ports []*openPort, l netlink.Link) {
	for _, p := range ports {
		if p.twin.device.Link.Index != l.Attrs().Index || bytes.Equal(l.Attrs().HardwareAddr, p.facts.MAC[:]) {
			continue
		}
		d.log.Warn(fmt.Sprintf("device %s: somebody gave its twin %s the MAC address %s: it gets the port's again (tell udev to leave it alone: docs/kni.md)", p.facts.Name, p.twin.name, l.Attrs().HardwareAddr))
		if err := netlink.LinkSetHardwareAddr(l, p.facts.MAC[:]); err != nil {
			d.log.Warn(fmt.Sprintf("device %s: its twin %s keeps another MAC address", p.facts.Name, p.twin.name), "err", err)
		}
	}
}

// used reports whether Linux uses an address: it is not still looking whether another
// machine has it, and did not find that one has.
func used(a *netlink.Addr) bool {
	const optimistic = unix.IFA_F_OPTIMISTIC // used while it is looked for
	return a.Flags&unix.IFA_F_DADFAILED == 0 && (a.Flags&unix.IFA_F_TENTATIVE == 0 || a.Flags&optimistic != 0)
}
