package rsagent

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/bpf"
)

// translator keeps the programs that translate the option protocol at the devices
// of one network namespace. It belongs to one goroutine.
type translator struct {
	pins     *pinDir
	options  *Options
	tcx      bool
	programs map[string]*ebpf.Program
	log      *slog.Logger
	at       map[int]string // devices that have a program, with their names
	skipped  map[int]bool   // devices that were said to have none
	filters  *filters       // instead of links, without tcx
	changed  func() error   // writes the record
}

// bare are the link types whose frames begin with the IP header.
var bare = []string{"none", "ipip", "tunnel6", "sit", "gre", "gre6", "ip6gre", "ppp", "rawip"}

// programFor chooses by a device's link layer; "" if we know none for it.
func programFor(d *netlink.LinkAttrs) string {
	switch {
	case d.EncapType == "ether":
		return bpf.RSProgOppEther
	case slices.Contains(bare, d.EncapType):
		return bpf.RSProgOppBare
	}
	return ""
}

// add gives a device its program, if it shall have one.
func (t *translator) add(d *netlink.LinkAttrs) error {
	if name, have := t.at[d.Index]; have {
		if name != d.Name && !t.options.onDevice(d.Name) {
			return t.remove(d.Index) // it was renamed
		}
		t.at[d.Index] = d.Name
		return nil
	}
	if d.EncapType == "loopback" || !t.options.onDevice(d.Name) {
		return nil
	}
	program := programFor(d)
	if program == "" {
		if !t.skipped[d.Index] {
			t.skipped[d.Index] = true
			t.log.Warn("the option protocol is not translated on this device: its link layer is not known", "device", d.Name, "link", d.EncapType)
		}
		return nil
	}
	var err error
	if t.tcx {
		err = t.attach(d.Index, t.programs[program])
	} else {
		err = t.filters.add(d.Index, t.programs[program])
	}
	if errors.Is(err, unix.ENODEV) {
		return nil // it went while we came
	}
	if err != nil {
		return fmt.Errorf("translate the option protocol on %s: %w", d.Name, err)
	}
	t.at[d.Index] = d.Name
	t.log.Info("the option protocol is translated", "device", d.Name)
	if !t.tcx {
		return t.changed()
	}
	return nil
}

// attach pins a link to a device, or gives the link that is there the new program.
func (t *translator) attach(ifindex int, program *ebpf.Program) error {
	pin := t.pins.device(ifindex)
	old, err := link.LoadPinnedLink(pin, nil)
	if err == nil {
		defer letGo(old)
		if info, err := old.Info(); err == nil && info.TCX() != nil && int(info.TCX().Ifindex) == ifindex {
			return old.Update(program)
		}
		// Its device is gone, and this one has got the number.
		if err := old.Unpin(); err != nil {
			return err
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := link.AttachTCX(link.TCXOptions{Interface: ifindex, Program: program, Attach: ebpf.AttachTCXIngress, Anchor: link.Head()})
	if err != nil {
		return err
	}
	defer letGo(l)
	return l.Pin(pin)
}

// remove takes the program of a device, or what is left of it when the device is gone.
func (t *translator) remove(ifindex int) error {
	delete(t.at, ifindex)
	delete(t.skipped, ifindex)
	if t.tcx {
		return detach(t.pins.device(ifindex))
	}
	if !t.filters.forget(ifindex) {
		return nil
	}
	return t.changed()
}

// forgetOthers removes links to devices that have no program now: they are gone, or
// the options do not name them any more.
func (t *translator) forgetOthers() error {
	names, err := pins(t.pins.opp())
	if err != nil {
		return err
	}
	for _, n := range names {
		if i, err := strconv.Atoi(n); err == nil && t.tcx && t.at[i] != "" {
			continue
		}
		if err := detach(t.pins.opp() + "/" + n); err != nil {
			return fmt.Errorf("stop translating the option protocol on device %s: %w", n, err)
		}
	}
	return t.filters.keep(func(i int) bool { return !t.tcx && t.at[i] != "" })
}

// missing lists devices that the options name and that are not there.
func (t *translator) missing() (names []string) {
	for _, want := range t.options.OPPDevices {
		found := false
		for _, have := range t.at {
			found = found || have == want
		}
		if !found {
			names = append(names, want)
		}
	}
	return names
}
