package rsagent

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// filters are what kernels without tcx have: a qdisc clsact at each device, and a
// filter in it. They outlive the agent by themselves, so the record says where they are.
type filters struct {
	at     []int // devices with our filter
	qdiscs []int // of these, those whose clsact we made
}

// Our filter among others of the device: the first in order, and with a handle of
// its own, so that it replaces none but ours.
const (
	filterPriority = 1
	filterHandle   = protoOPP
	filterName     = "weir_rs_opp"

	protoOPP = 248
)

func clsact(ifindex int) *netlink.Clsact {
	return &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: ifindex, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}}
}

func filterOf(ifindex, fd int) *netlink.BpfFilter {
	return &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: ifindex, Parent: netlink.HANDLE_MIN_INGRESS, Handle: filterHandle,
			Protocol: unix.ETH_P_ALL, Priority: filterPriority,
		},
		Fd: fd, Name: filterName, DirectAction: true,
	}
}

// add puts a filter with a program at a device, in place of the one of before.
func (f *filters) add(ifindex int, program *ebpf.Program) error {
	switch err := netlink.QdiscAdd(clsact(ifindex)); {
	case err == nil:
		f.qdiscs = append(f.qdiscs, ifindex)
	case !errors.Is(err, unix.EEXIST):
		return fmt.Errorf("qdisc clsact: %w", err)
	}
	if !slices.Contains(f.at, ifindex) {
		f.at = append(f.at, ifindex)
	}
	if err := netlink.FilterReplace(filterOf(ifindex, program.FD())); err != nil {
		return fmt.Errorf("filter of priority %d: %w: `tc filter show dev DEVICE ingress' says who else has it", filterPriority, err)
	}
	return nil
}

// forget strikes a device off the list, because it is gone.
func (f *filters) forget(ifindex int) bool {
	is := func(i int) bool { return i == ifindex }
	known := slices.ContainsFunc(f.at, is)
	f.at = slices.DeleteFunc(f.at, is)
	f.qdiscs = slices.DeleteFunc(f.qdiscs, is)
	return known
}

// keep removes our filters from all devices but some.
func (f *filters) keep(wanted func(ifindex int) bool) error {
	var errs []error
	for _, i := range slices.Clone(f.at) {
		if wanted(i) {
			continue
		}
		if err := f.remove(i); err != nil {
			errs = append(errs, fmt.Errorf("remove the filter of device %d: %w", i, err))
			continue
		}
		f.forget(i)
	}
	return errors.Join(errs...)
}

// remove takes our filter from a device, and the qdisc if we made it and nobody
// else uses it.
func (f *filters) remove(ifindex int) error {
	l, err := netlink.LinkByIndex(ifindex)
	if gone := (netlink.LinkNotFoundError{}); errors.As(err, &gone) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := netlink.FilterDel(filterOf(ifindex, -1)); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) {
		return err
	}
	if !slices.Contains(f.qdiscs, ifindex) {
		return nil
	}
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		others, err := netlink.FilterList(l, parent)
		if err != nil || len(others) > 0 {
			return err
		}
	}
	if err := netlink.QdiscDel(clsact(ifindex)); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}
