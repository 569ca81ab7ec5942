// Package daemon is `weir serve`: the file, the director, the API and the
// signals of a system service, for as long as it runs.
//
// Enters: the path of dpvs.conf, signals.
// Leaves: a running director; READY and WATCHDOG for systemd.
// Owns: the process: its log, its socket.
// Drops: nothing.
// See: sd_notify(3).
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"weir/internal/config/dpvsconf"
	"weir/internal/control"
	"weir/internal/director"
	"weir/internal/metrics"
	"weir/internal/pinned"
)

// Options of the daemon.
type Options struct {
	Config  string // path of dpvs.conf
	Socket  string // path of the API's socket
	Version string
	Metrics string // host:port where Prometheus finds /metrics; "": nowhere

	// Keep is the folder of a bpffs where connections and services outlive the process;
	// "": they don't; KeepAuto: one that goes by the socket. Fresh: what an earlier one
	// left is thrown away.
	Keep  string
	Fresh bool
}

// KeepAuto is the folder that pinned.Place says.
const KeepAuto = "auto"

// collector settings: the walk makes no garbage and its tables are outside of
// the heap, so that collections can be few.
const gcPercent = 400

// Serve runs until ctx ends or a signal asks for the end. SIGHUP reads the file
// again: what may change at run time does, all of it or nothing.
func Serve(ctx context.Context, o Options) error {
	debug.SetGCPercent(gcPercent)
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP) // before anybody is told that we are ready
	defer signal.Stop(hup)
	conf, warnings, err := dpvsconf.Parse(o.Config)
	if err != nil {
		return fmt.Errorf("%s is refused:\n%w", o.Config, err)
	}
	log, err := openLog(&conf.Tunables)
	if err != nil {
		return err
	}
	defer log.close()
	slog.SetDefault(log.Logger)
	for _, w := range warnings {
		log.Warn(w.String())
	}
	listener, lock, err := control.Listen(o.Socket)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(o.Socket); _ = os.Remove(o.Socket + ".lock"); _ = lock.Close() }()
	var scraped net.Listener
	if o.Metrics != "" {
		if scraped, err = metrics.Listen(o.Metrics); err != nil {
			_ = listener.Close()
			return err
		}
		defer func() { _ = scraped.Close() }() // of a start that fails; else it is closed by then
	}
	if os.Geteuid() != 0 && !capable() {
		_ = listener.Close()
		return errors.New("weir needs root, or the capabilities CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF")
	}
	conf.Boot.Keep, conf.Boot.Fresh = o.Keep, o.Fresh
	if o.Keep == KeepAuto {
		if conf.Boot.Keep, err = pinned.Place(o.Socket); err != nil {
			_ = listener.Close()
			return err
		}
	}
	d, err := director.New(conf.Boot, conf.Tunables, log.Logger)
	if err != nil {
		_ = listener.Close()
		return err
	}
	// Not before: of a start most is for later packets, and others have the processor meanwhile.
	if err := precede(conf.Tunables.Nice); err != nil {
		log.Warn("packets may wait while other programs have the processor: give Weir CAP_SYS_NICE, or say nice 0 in dpvs.conf", "err", err)
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	served, scrapes := make(chan error, 1), make(chan struct{})
	serving, endServing := context.WithCancel(context.Background())
	go func() { served <- control.New(d, o.Version).Serve(serving, listener) }()
	go func() {
		defer close(scrapes)
		if scraped == nil {
			return
		}
		if err := metrics.Serve(serving, scraped, d, o.Version); err != nil {
			log.Error(err.Error())
		}
	}()
	tell(systemd.SdNotifyReady)
	log.Log(ctx, director.Notice, "weir is ready", "version", o.Version, "api", o.Socket, "config", o.Config)

	err = wait(ctx, d, conf, log, o.Config, hup, served)
	tell(systemd.SdNotifyStopping)
	endServing()
	if err == nil {
		err = <-served
	}
	<-scrapes
	return errors.Join(err, d.Close())
}

// wait serves signals and systemd's watchdog until the end.
func wait(ctx context.Context, d *director.Director, conf *dpvsconf.Config, log *logger, path string, hup <-chan os.Signal, served <-chan error) error {
	var alive <-chan time.Time
	if every, err := systemd.SdWatchdogEnabled(false); err == nil && every > 0 {
		t := time.NewTicker(every / 3)
		defer t.Stop()
		alive = t.C
	}
	for {
		select {
		case <-ctx.Done():
			log.Info("weir ends")
			return nil
		case err := <-served:
			return fmt.Errorf("the API ended: %w", err)
		case <-hup:
			tell(reloading())
			reload(d, conf, log, path)
			tell(systemd.SdNotifyReady)
		case <-alive:
			// Only a director whose every worker breathes is alive.
			if err := d.Alive(); err != nil {
				log.Error(err.Error())
				continue
			}
			tell(systemd.SdNotifyWatchdog)
		}
	}
}

func reload(d *director.Director, conf *dpvsconf.Config, log *logger, path string) {
	next, warnings, err := dpvsconf.Parse(path)
	if err != nil {
		log.Error(fmt.Sprintf("reload: %s is refused and nothing has changed: %v", path, err))
		return
	}
	for _, w := range warnings {
		log.Warn("reload: " + w.String())
	}
	for _, what := range dpvsconf.Diff(conf, next) {
		log.Warn("reload: " + what + ": needs a restart; the running value stays")
	}
	// What needs a restart stays, so that the next reload names it again.
	next.Tunables.BusyPoll, next.Tunables.Nice, next.Tunables.RTPriority = conf.Tunables.BusyPoll, conf.Tunables.Nice, conf.Tunables.RTPriority
	next.Tunables.LogTimestamp = conf.Tunables.LogTimestamp
	newLog, err := log.open(&next.Tunables)
	if err == nil {
		if err = d.Reload(next.Tunables); err != nil {
			newLog.drop()
		}
	}
	if err != nil {
		log.Error(fmt.Sprintf("reload: refused and nothing has changed: %v", err))
		return
	}
	newLog.use()
	conf.Tunables = next.Tunables
	log.Info("reload: done")
}

// reloading is systemd's message of Type=notify-reload, which wants the time.
func reloading() string {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return fmt.Sprintf("%s\nMONOTONIC_USEC=%d", systemd.SdNotifyReloading, ts.Nano()/1000)
}

// tell notifies systemd, if it listens.
func tell(state string) { _, _ = systemd.SdNotify(false, state) }

// capable reports whether the process has what it needs without being root.
func capable() bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&hdr, &data[0]) != nil {
		return false
	}
	for _, c := range []uint{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_BPF} {
		if data[c/32].Effective>>(c%32)&1 == 0 {
			return false
		}
	}
	return true
}
