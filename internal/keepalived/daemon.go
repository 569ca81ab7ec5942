package keepalived

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"weir/api/weirv1"
	"weir/internal/health"
	"weir/internal/keepalived/vrrp"
)

// Options of the daemon.
type Options struct {
	Path, ID string // of the file; see Read
	Client   weirv1.DirectorClient
	Socket   string // of the director, for the log
	Log      *slog.Logger

	Checks bool // make health checks and keep services
	VRRP   bool // run the stock keepalived for VRRP
	Keep   bool // leave the services to the director at the end

	// Of the stock keepalived: its path, "" to look for it, options for it, and where its
	// files go.
	Program     string
	ProgramArgs []string
	RunDir      string

	// DataFile and StatsFile are what SIGUSR1 and SIGUSR2 write; "": nothing.
	DataFile, StatsFile string

	// Reloading and Reloaded are told of a SIGHUP; nil: nobody is.
	Reloading, Reloaded func()
}

// Daemon is keepalived at work.
type Daemon struct {
	Options
	client    weirv1.DirectorClient
	log       *slog.Logger
	inbox     *inbox
	file      *File
	schedule  *health.Schedule
	standings *standings
	director  *remote
	addresses *addresses
	line      *holding // to the director, without addresses
	program   *vrrp.Program
	starting  bool // the director has not come yet, and its absence was not told
	changed   bool // something that the director may have to hear of
}

// mayTake is how long the director may take to answer before its absence is told.
const mayTake = time.Second

// scriptsEnd is how long scripts may take at the end of the daemon.
const scriptsEnd = 10 * time.Second

// New makes a daemon for a file that was read. It does nothing yet.
func New(o Options, f *File) (*Daemon, error) {
	d := &Daemon{Options: o, client: o.Client, log: o.Log, inbox: newInbox(), file: f, starting: true}
	d.director = &remote{client: o.Client, log: o.Log, flush: f.Conf.Global.Flush && o.Checks}
	d.standings, d.addresses = newStandings(d), newAddresses(d)
	d.director.moved = d.addresses.moved
	if o.VRRP && f.Conf.Stock != "" {
		path, err := vrrp.Find(o.Program)
		if err != nil {
			return nil, err
		}
		d.Program = path
	}
	return d, nil
}

// Run works until ctx ends. SIGHUP reads the file again.
func (d *Daemon) Run(ctx context.Context) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)
	return d.run(ctx, signals)
}

func (d *Daemon) run(ctx context.Context, signals <-chan os.Signal) error {
	d.schedule = health.Start(notices{d})
	d.line = hold(d.client, d.log, "keepalived", nil, d.lineChanged)
	d.line.log = d.log
	if d.Checks {
		d.standings.follow(d.file)
	}
	if err := d.followVRRP(); err != nil {
		d.schedule.Stop()
		d.line.release()
		return err
	}
	d.changed = true
	absent := time.AfterFunc(mayTake, func() { d.inbox.put(d.tellAbsence) })
	defer absent.Stop()
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	for {
		d.work()
		if d.director.again.IsZero() {
			retry.Reset(time.Hour)
		} else {
			retry.Reset(time.Until(d.director.again))
		}
		select {
		case <-ctx.Done():
			d.end()
			return nil
		case <-d.inbox.wake:
		case <-retry.C:
		case s := <-signals:
			d.signal(s)
		}
	}
}

// work takes what has happened, brings it to the director, and then runs the scripts that
// tell of it: what they do may need what it has by then. Without a director they run all the
// same, but at the start, when it is about to answer.
func (d *Daemon) work() {
	d.inbox.drain()
	if !d.changed && (d.director.again.IsZero() || time.Now().Before(d.director.again)) {
		return
	}
	d.changed = false
	d.director.bring(goal{d.file.Plan.Tunnels, d.addresses.routes(), d.standings.wanted()}, d.busy())
	if !d.starting {
		d.standings.runScripts()
	}
}

// busy reports whether scripts are due or under way.
func (d *Daemon) busy() bool {
	if len(d.standings.due) > 0 {
		return true
	}
	for _, v := range d.standings.all {
		if !v.scripts.idle() {
			return true
		}
	}
	return false
}

// lineChanged hears from the line to the director.
func (d *Daemon) lineChanged(there bool) {
	d.inbox.put(func() {
		d.changed = true
		if there {
			d.log.Info("the director is there", "api", d.Socket)
			d.director.arrived()
			d.starting = false
			d.standings.again()
			return
		}
		d.log.Error("the director is gone: everything is applied again when it is back", "api", d.Socket)
		d.director.left()
		d.addresses.settle() // those on tunnels wait until these are there again
	})
}

// tellAbsence says once that nobody is there.
func (d *Daemon) tellAbsence() {
	if d.starting {
		d.starting, d.changed = false, true
		d.log.Warn("the director is not there yet: everything is applied when it comes", "api", d.Socket)
	}
}

// doubt hears that addresses came to the director, or left it.
func (d *Daemon) doubt(bool) {
	d.inbox.put(func() {
		d.changed = true
		d.director.doubt()
		d.director.retry()
	})
}

// followVRRP starts, reloads or stops the stock keepalived as the file has it.
func (d *Daemon) followVRRP() error {
	switch {
	case !d.VRRP:
	case d.file.Conf.Stock == "" && d.program != nil:
		d.program.Stop()
		d.program = nil
	case d.file.Conf.Stock == "":
	case d.program == nil:
		program, err := vrrp.Start(vrrp.Options{
			Path: d.Program, Dir: d.RunDir, Args: d.ProgramArgs, Log: d.log,
			Told: func(instance string, s vrrp.State) { d.inbox.put(func() { d.addresses.told(instance, s) }) },
		}, d.file.Conf)
		if err != nil {
			return err
		}
		d.program = program
	default:
		if err := d.program.Reload(d.file.Conf); err != nil {
			return err
		}
	}
	d.addresses.settle()
	return nil
}

// signal does what a signal asks for.
func (d *Daemon) signal(s os.Signal) {
	switch s {
	case syscall.SIGHUP:
		d.reload()
	case syscall.SIGUSR1, syscall.SIGUSR2:
		d.dump(s)
	}
}

// reload reads the file again. A bad one changes nothing.
func (d *Daemon) reload() {
	if d.Reloading != nil {
		d.Reloading()
	}
	if d.Reloaded != nil {
		defer d.Reloaded()
	}
	next, err := Read(d.Path, d.ID, d.file)
	Tell(d.log, next.Warnings)
	if err == nil && d.VRRP && next.Conf.Stock != "" && d.program == nil {
		d.Program, err = vrrp.Find(d.Program)
	}
	if err != nil {
		d.log.Error(fmt.Sprintf("reload: %s is refused and nothing has changed:\n%v", d.Path, err))
		return
	}
	before := d.file
	d.file, d.changed = next, true
	if d.Checks {
		d.standings.follow(next)
	}
	if before.Conf.Stock == next.Conf.Stock {
		d.addresses.settle()
	} else if err := d.followVRRP(); err != nil {
		d.log.Error(fmt.Sprintf("reload: the stock keepalived: %v", err))
	}
	d.director.retry()
	d.work()
	d.log.Info("reload: done")
}

// Tell logs warnings of a file.
func Tell(log *slog.Logger, warnings []Warning) {
	for _, w := range warnings {
		log.Warn(w.String())
	}
}

// end ends it all: VRRP first, so that another node takes over, then the services, then
// what scripts have to do about it.
func (d *Daemon) end() {
	if d.program != nil {
		d.program.Stop()
	}
	d.addresses.release()
	d.schedule.Stop()
	d.inbox.drain()
	var left goal // with -I
	if d.Keep {
		left = goal{services: d.standings.wanted(), tunnels: d.file.Plan.Tunnels}
	}
	if d.Checks {
		for _, v := range d.standings.all {
			d.standings.farewell(v)
		}
		d.director.flush = d.file.Conf.Global.FlushOnStop && !d.Keep
	}
	d.director.bring(left, false)
	if d.Checks {
		d.standings.runScripts()
		ran := make(chan struct{})
		go func() { d.standings.running.Wait(); close(ran) }()
		select {
		case <-ran:
		case <-time.After(scriptsEnd):
			d.log.Error(fmt.Sprintf("scripts are still running after %v, and are left alone", scriptsEnd))
		}
	}
	d.line.release()
	d.log.Info("keepalived ends")
}
