package rsagent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"

	"weir/bpf"
)

// unlimit lifts the limit of locked memory, of which maps are a part before Linux 5.11.
func unlimit() error {
	if err := rlimit.RemoveMemlock(); err != nil {
		return fmt.Errorf("lift the limit of locked memory: %w: start weir-rs with LimitMEMLOCK=infinity", err)
	}
	return nil
}

// load loads the programs that the options want. Maps that are pinned already are
// used again, with all that is in them; the others are made and pinned.
func load(p *pinDir, o *Options, f *abilities) (*ebpf.Collection, error) {
	spec, err := bpf.LoadRS()
	if err != nil {
		return nil, fmt.Errorf("read our own programs: %w", err)
	}
	if err := configure(spec, o, f); err != nil {
		return nil, err
	}
	c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{Maps: ebpf.MapOptions{PinPath: p.maps()}})
	if errors.Is(err, ebpf.ErrMapIncompatible) {
		return nil, fmt.Errorf("%w: what is pinned in %s is not what this weir-rs would make; run `weir-rs stop', then start again", err, p.path)
	}
	if err != nil {
		return nil, fmt.Errorf("load the programs: %w", err)
	}
	return c, nil
}

// configure leaves in spec what the options want, and sets the constants.
func configure(spec *ebpf.CollectionSpec, o *Options, f *abilities) error {
	programs := []string{bpf.RSProgOppEther, bpf.RSProgOppBare}
	if !o.opp() {
		programs = nil
	}
	for _, h := range hooks(o, f) {
		programs = append(programs, h.program)
	}
	for name := range spec.Programs {
		if !slices.Contains(programs, name) {
			delete(spec.Programs, name)
		}
	}
	maps := wantedMaps(o, f)
	for name, m := range spec.Maps {
		switch {
		case slices.Contains(maps, name):
			m.Pinning = ebpf.PinByName
		case slices.Contains(outlive, name):
			delete(spec.Maps, name)
		}
	}
	// Each flow has two entries; see bpf/rs/flow.h.
	if m := spec.Maps[bpf.RSMapUoaClients]; m != nil {
		m.MaxEntries = uint32(2 * o.Entries)
	}
	if m := spec.Maps[bpf.RSMapUoaReturns]; m != nil {
		m.MaxEntries = uint32(o.Entries)
	}
	for name, value := range map[string]any{
		bpf.RSVarHaveNetnsCookie: f.netns,
		bpf.RSVarHaveMptcp:       f.mptcp,
		bpf.RSVarHaveRegisters:   f.registers,
		bpf.RSVarHaveSetRetval:   f.setRetval,
		bpf.RSVarSaveSyn:         o.SaveSYN,
		bpf.RSVarUoaDropEmpty:    o.DropEmpty,
		bpf.RSVarUoaTimeout:      uint64(o.Timeout.Nanoseconds()),
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return nil
}

// outlive are all maps that may outlive an agent.
var outlive = []string{
	bpf.RSMapCounters, bpf.RSMapTrusted, bpf.RSMapToaClients, bpf.RSMapUoaClients, bpf.RSMapUoaReturns, bpf.RSMapLastPeers,
}

// checkEntries refuses to change the size of tables that are in use: the kernel
// can't, and new ones would forget all clients.
func checkEntries(before *record, o *Options) error {
	if before == nil || before.UOA == "" || before.UOA == Off || o.UOA == Off || before.Entries == o.Entries {
		return nil
	}
	return fmt.Errorf("--uoa-entries %d: the tables that are pinned in %s have room for %d, which can't be changed while they are in use: "+
		"keep that number, or run `weir-rs stop' first (UDP clients known are forgotten)", o.Entries, o.PinDir, before.Entries)
}

// dropMaps lets go of maps that the options need no more.
func dropMaps(p *pinDir, o *Options, f *abilities) error {
	names, err := pins(p.maps())
	if err != nil {
		return err
	}
	wanted := wantedMaps(o, f)
	for _, n := range names {
		if slices.Contains(wanted, n) {
			continue
		}
		if err := os.Remove(filepath.Join(p.maps(), n)); err != nil {
			return fmt.Errorf("remove a map that is not needed any more: %w", err)
		}
	}
	return nil
}
