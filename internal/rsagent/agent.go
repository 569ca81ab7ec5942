package rsagent

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"weir/bpf"
)

// Agent is a running agent. What it attached outlives it.
type Agent struct {
	options    Options
	features   *abilities
	cgroup     cgroup
	pins       *pinDir
	record     *recordMap
	before     *record // of an earlier agent
	said       record  // what the record says
	collection *ebpf.Collection
	translator *translator
	devices    *devices
	log        *slog.Logger
}

// Start attaches everything, or takes over what an earlier agent has attached, and
// returns when it is in force. A first start that fails leaves nothing; one that
// fails while it takes over leaves programs attached, old or new, and says why.
func Start(o Options, k Kernel, log *slog.Logger) (_ *Agent, err error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	a := &Agent{options: o, log: log}
	if err := k.Capable(); err != nil {
		return nil, err
	}
	if err := unlimit(); err != nil {
		return nil, err
	}
	if a.features, err = probe(k); err != nil {
		return nil, err
	}
	if a.cgroup, err = findCgroup(k, o.Cgroup); err != nil {
		return nil, err
	}
	if a.pins, err = makePinDir(o.PinDir); err != nil {
		if errors.Is(err, errRuns) {
			err = fmt.Errorf("an agent runs already with the pins in %s: one is enough; end it first", o.PinDir)
		}
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.undo())
		}
	}()
	if a.record, a.before, err = takeRecord(a.pins); err != nil {
		return nil, err
	}
	if err := checkEntries(a.before, &a.options); err != nil {
		return nil, err
	}
	if a.collection, err = load(a.pins, &a.options, a.features); err != nil {
		return nil, err
	}
	if err := a.takeOver(a.before); err != nil {
		return nil, err
	}
	a.tell(a.before)
	return a, nil
}

// takeOver brings what is attached in line with the options.
func (a *Agent) takeOver(before *record) error {
	netns, err := ownNetns()
	if err != nil {
		return err
	}
	a.translator = &translator{
		pins: a.pins, options: &a.options, tcx: a.features.tcx, programs: a.collection.Programs, log: a.log,
		at: map[int]string{}, skipped: map[int]bool{}, filters: &filters{}, changed: a.writeRecord,
	}
	a.said = record{Since: time.Now(), Netns: netns}
	if before != nil {
		a.said.Since = before.Since
		if before.Netns != 0 && before.Netns != netns {
			if err := a.moveNetns(before); err != nil {
				return err
			}
		} else {
			a.translator.filters.at, a.translator.filters.qdiscs = before.Filters, before.Qdiscs
		}
	}
	a.fillRecord()
	// From here on the record may say more than is attached, never less.
	if err := a.writeRecord(); err != nil {
		return err
	}
	// Trust first: a program must not run before it knows whom to believe.
	gone, err := syncTrust(a.collection.Maps[bpf.RSMapTrusted], a.options.Trust)
	if err != nil {
		return err
	}
	if gone > 0 {
		if err := forgetUntrusted(a.collection.Maps, a.options.Trust); err != nil {
			return err
		}
	}
	if err := attachHooks(a.pins, a.cgroup, a.collection.Programs, hooks(&a.options, a.features)); err != nil {
		return err
	}
	if a.devices, err = watchDevices(a.translator); err != nil {
		return err
	}
	if err := dropMaps(a.pins, &a.options, a.features); err != nil {
		return err
	}
	return a.writeRecord()
}

// moveNetns lets go of the devices of another network namespace, where the agent
// of before ran. Links can be let go from here, filters can't.
func (a *Agent) moveNetns(before *record) error {
	if len(before.Filters) > 0 {
		return fmt.Errorf("the agent of before ran in another network namespace and left filters at its devices: run `weir-rs stop --pin %s' there first", a.pins.path)
	}
	names, err := pins(a.pins.opp())
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := detach(a.pins.opp() + "/" + n); err != nil {
			return err
		}
	}
	if len(names) > 0 {
		a.log.Warn("the agent of before ran in another network namespace: its devices are let go", "devices", len(names))
	}
	return nil
}

func (a *Agent) fillRecord() {
	o := &a.options
	a.said.Layout, a.said.Version, a.said.PID, a.said.Started = layout, o.Version, os.Getpid(), time.Now()
	a.said.Cgroup, a.said.UOA, a.said.NAT64 = a.cgroup.path, o.UOA, o.sockopt()
	a.said.SaveSYN, a.said.DropEmpty, a.said.Entries, a.said.Timeout = o.SaveSYN, o.DropEmpty, o.Entries, o.Timeout
	a.said.Trust, a.said.OPPDevices, a.said.Features = o.Trust, o.OPPDevices, a.features.list(o)
}

func (a *Agent) writeRecord() error {
	a.said.Filters, a.said.Qdiscs = a.translator.filters.at, a.translator.filters.qdiscs
	return a.record.write(&a.said)
}

// tell says once, in the log, what is in force.
func (a *Agent) tell(before *record) {
	for _, f := range a.said.Features {
		if f.Have {
			a.log.Info("feature", "name", f.Name, "have", f.Have, "text", f.Text)
		} else {
			a.log.Warn("feature", "name", f.Name, "have", f.Have, "text", f.Text)
		}
	}
	if before != nil && before.Version != "" {
		a.log.Info("what an earlier agent attached is taken over, without a gap", "version", before.Version, "since", before.Since.Format(time.RFC3339))
	}
}

// undo ends a start that failed.
func (a *Agent) undo() error {
	var errs []error
	fresh := a.record != nil && a.before == nil
	if fresh && a.translator != nil {
		errs = append(errs, a.translator.filters.keep(func(int) bool { return false }))
	}
	if a.before != nil {
		errs = append(errs, a.record.write(a.before))
	}
	a.free()
	if fresh {
		errs = append(errs, a.pins.clear())
	}
	return errors.Join(append(errs, a.pins.undo())...)
}

// free gives back what the process holds; what is pinned stays.
func (a *Agent) free() {
	if a.devices != nil {
		a.devices.close()
		a.devices = nil
	}
	if a.collection != nil {
		a.collection.Close()
		a.collection = nil
	}
	if a.record != nil {
		_ = a.record.Close()
		a.record = nil
	}
}

// Close ends the agent and leaves what is attached attached.
func (a *Agent) Close() {
	a.free()
	a.pins.release()
}

// ownNetns identifies the network namespace of the process.
func ownNetns() (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		return 0, fmt.Errorf("find out our network namespace: %w", err)
	}
	return st.Ino, nil
}
