package rsagent

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"

	"weir/bpf"
)

// sweepEvery is the time between two looks for UDP clients that nobody used, at most;
// with a short timeout it is a twelfth of that.
const sweepEvery = 30 * time.Second

// Serve keeps the agent's house until ctx ends: devices that come and go, UDP
// clients that nobody used, systemd's watchdog. SIGHUP changes nothing.
func (a *Agent) Serve(ctx context.Context) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	sweeps := time.NewTicker(min(sweepEvery, a.options.Timeout/12))
	defer sweeps.Stop()
	var alive <-chan time.Time
	if every, err := systemd.SdWatchdogEnabled(false); err == nil && every > 0 {
		t := time.NewTicker(every / 3)
		defer t.Stop()
		alive = t.C
	}
	a.log.Info("weir-rs is ready", "version", a.options.Version, "cgroup", a.cgroup.path, "uoa", a.options.UOA,
		"trust", a.options.Trust, "pin", a.pins.path)
	notify(systemd.SdNotifyReady + "\nSTATUS=attached to " + a.cgroup.path)
	defer notify(systemd.SdNotifyStopping)
	for {
		select {
		case <-ctx.Done():
			a.log.Info("weir-rs ends; what it attached stays attached: `weir-rs stop' detaches it", "pin", a.pins.path)
			return nil
		case <-hup:
			a.log.Info("there is nothing to reload: options are on the command line, and a restart leaves no gap")
		case u, ok := <-a.devices.updates:
			if !ok {
				a.devices.updates = nil // the reason comes by lost
				continue
			}
			a.devices.serve(&u)
		case why := <-a.devices.lost:
			a.devices.again(why)
		case <-sweeps.C:
			if err := a.sweep(); err != nil {
				a.log.Error("UDP clients that nobody uses stay", "error", err)
			}
		case <-alive:
			// Whoever detaches behind our back has a reason, but wants to hear of it.
			if err := a.attached(); err != nil {
				a.log.Error("not everything is attached: start weir-rs again", "error", err)
				continue
			}
			notify(systemd.SdNotifyWatchdog)
		}
	}
}

// sweep removes UDP clients that nobody used for the timeout.
func (a *Agent) sweep() error {
	if m := a.collection.Maps[bpf.RSMapUoaClients]; m != nil {
		if _, err := sweep[bpf.RSFlowKey](m, a.options.Timeout); err != nil {
			return err
		}
	}
	if m := a.collection.Maps[bpf.RSMapUoaReturns]; m != nil {
		if _, err := sweep[bpf.RSClientKey](m, a.options.Timeout); err != nil {
			return err
		}
	}
	return nil
}

// attached reports what should be attached and is not.
func (a *Agent) attached() error {
	for _, h := range hooks(&a.options, a.features) {
		l, err := hookInfo(a.pins.link(h.name))
		if err != nil {
			return fmt.Errorf("%s is not attached any more: %w", h.name, err)
		}
		if l.cgroup != a.cgroup.id {
			return fmt.Errorf("%s is not attached any more: the cgroup %s is gone", h.name, a.cgroup.path)
		}
	}
	return nil
}

// notify tells systemd, if it listens.
func notify(state string) { _, _ = systemd.SdNotify(false, state) }
