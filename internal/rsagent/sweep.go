package rsagent

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"weir/bpf"
)

// sweepBatch is how many entries are read in one system call.
const sweepBatch = 1024

// monotonic is the clock of bpf_ktime_get_ns, in ns.
func monotonic() (uint64, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0, fmt.Errorf("read the clock: %w", err)
	}
	return uint64(ts.Nano()), nil
}

// idle reports whether an entry does not answer any more.
func idle(e *bpf.RSEntry, now uint64, timeout time.Duration) bool {
	return now > e.Used && now-e.Used > uint64(timeout.Nanoseconds())
}

// each calls f with all entries of a table, a batch at a time.
func each[K any](m *ebpf.Map, f func(k *K, e *bpf.RSEntry) error) error {
	keys, entries := make([]K, sweepBatch), make([]bpf.RSEntry, sweepBatch)
	var at ebpf.MapBatchCursor
	for {
		n, err := m.BatchLookup(&at, keys, entries, nil)
		done := errors.Is(err, ebpf.ErrKeyNotExist)
		if err != nil && !done {
			return err
		}
		for i := range n {
			if err := f(&keys[i], &entries[i]); err != nil {
				return err
			}
		}
		if done {
			return nil
		}
	}
}

// sweep removes entries that do not answer any more and returns how many.
func sweep[K any](m *ebpf.Map, timeout time.Duration) (swept int, err error) {
	now, err := monotonic()
	if err != nil {
		return 0, err
	}
	err = each(m, func(k *K, e *bpf.RSEntry) error {
		if !idle(e, now, timeout) {
			return nil
		}
		// A new datagram may have renewed it since the batch was read. One that does
		// so in the microsecond from here is forgotten; the next of the flow's three
		// datagrams with UOA makes up for it.
		var again bpf.RSEntry
		switch err := m.Lookup(k, &again); {
		case errors.Is(err, ebpf.ErrKeyNotExist):
			return nil
		case err != nil:
			return err
		case !idle(&again, now, timeout):
			return nil
		}
		if err := m.Delete(k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
		swept++
		return nil
	})
	if err != nil {
		return swept, fmt.Errorf("sweep UDP clients: %w", err)
	}
	return swept, nil
}

// remove removes all entries that are not wanted.
func remove[K any](m *ebpf.Map, unwanted func(*K, *bpf.RSEntry) bool) error {
	err := each(m, func(k *K, e *bpf.RSEntry) error {
		if !unwanted(k, e) {
			return nil
		}
		if err := m.Delete(k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("forget UDP clients: %w", err)
	}
	return nil
}

// countFlows returns how many UDP flows of a table still answer. Each has an entry
// with its local address and one without, and the former are counted.
func countFlows(m *ebpf.Map, timeout time.Duration) (flows int, err error) {
	now, err := monotonic()
	if err != nil {
		return 0, err
	}
	err = each(m, func(k *bpf.RSFlowKey, e *bpf.RSEntry) error {
		if k.Local.W != [4]uint32{} && !idle(e, now, timeout) {
			flows++
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("count UDP clients: %w", err)
	}
	return flows, nil
}
