package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"

	"weir/bpf"
	"weir/internal/testkit/netns"
)

// receipts knows whose the time is that the kernel spends receiving (bpf/charge.bpf.c), for
// Linux charges whatever process that interrupts: on veth the one that sent.
type receipts struct {
	objects bpf.ChargeObjects
	links   []link.Link
}

// netnsOf is a network namespace by its inode, as the kernel's own records have it.
func netnsOf(in *netns.Namespace) (inode uint32, err error) {
	err = in.Do(func() error {
		at, err := os.Stat("/proc/thread-self/ns/net")
		if err != nil {
			return err
		}
		inode = uint32(at.Sys().(*syscall.Stat_t).Ino)
		return nil
	})
	return inode, err
}

// openReceipts begins to charge, for a balancer in a network namespace, with its processes.
func openReceipts(netns uint32, processes []int) (_ *receipts, err error) {
	r := new(receipts)
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("charge softirqs to whose they are: %w", err), r.close())
		}
	}()
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, err
	}
	spec, err := bpf.LoadCharge()
	if err != nil {
		return nil, err
	}
	if err := spec.Variables[bpf.ChargeVarNetns].Set(netns); err != nil {
		return nil, err
	}
	var own [4]uint32
	if len(processes) > len(own) {
		return nil, fmt.Errorf("a balancer of %d processes: %d are known at most", len(processes), len(own))
	}
	for i, pid := range processes {
		own[i] = uint32(pid)
	}
	if err := spec.Variables[bpf.ChargeVarProcesses].Set(own); err != nil {
		return nil, err
	}
	if err := spec.LoadAndAssign(&r.objects, nil); err != nil {
		return nil, err
	}
	for _, p := range []*ebpf.Program{r.objects.Leave, r.objects.Polled, r.objects.Receive, r.objects.Enter} {
		l, err := link.AttachTracing(link.TracingOptions{Program: p})
		if err != nil {
			return nil, err
		}
		r.links = append(r.links, l)
	}
	return r, nil
}

// read says what the balancer's processes were charged with for others, and others for it.
func (r *receipts) read() (lent, borrowed time.Duration, err error) {
	if r == nil {
		return 0, 0, nil
	}
	var each []bpf.ChargeCharged
	if err := r.objects.Charged.Lookup(uint32(0), &each); err != nil {
		return 0, 0, fmt.Errorf("read whose softirqs are: %w", err)
	}
	for _, c := range each {
		lent, borrowed = lent+time.Duration(c.Lent), borrowed+time.Duration(c.Borrowed)
	}
	return lent, borrowed, nil
}

func (r *receipts) close() (err error) {
	for _, l := range r.links {
		err = errors.Join(err, l.Close())
	}
	if r.objects.Charged != nil {
		err = errors.Join(err, r.objects.Close())
	}
	return err
}
