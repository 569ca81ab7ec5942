// Package director makes the world match a spec: it opens ports, makes workers,
// compiles what is wanted into immutable tables and publishes them.
//
// Enters: a spec.Boot once, spec.Tunables and changes of the spec.Spec for ever.
// Leaves: worker.Snapshot values by one atomic store; views of what is.
// Owns: ports, threads, workers, the flow table, the registries. What changes is
// guarded by mu; workers never take it.
// Drops: nothing; a refused change leaves everything as it was.
package director

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"weir/internal/clock"
	"weir/internal/flow"
	"weir/internal/lb"
	"weir/internal/neigh"
	"weir/internal/packet"
	"weir/internal/pinned"
	"weir/internal/spec"
	"weir/internal/worker"
)

// Director runs ports and workers.
type Director struct {
	log     *slog.Logger
	boot    spec.Boot
	bed     *Bed // nil: Linux interfaces
	started time.Time

	shared    *lb.Shared
	conflicts neigh.Conflicts
	snapshot  atomic.Pointer[worker.Snapshot]
	ports     []*openPort // of the walk: devices of their own, then bonds
	members   []*openPort // devices that are members of a bond
	bonds     []*openBond
	workers   []*worker.Worker
	threads   []*worker.Thread // beside workers: the one that is a worker's own
	announcer int              // worker that announces addresses, in turn

	mu       sync.Mutex // guards what follows: one change at a time
	offload  offload
	spec     *spec.Spec
	tunables spec.Tunables
	dests    destRegistry
	rates    estimator
	states   map[spec.ServiceKey]*serviceState
	// lastService is the number of the service that was added last.
	lastService uint32
	served      []int // by worker: index of the thread that breathes it
	stopped     []bool
	// lingering are local addresses that were removed while connections use
	// them: their links still get an answer, until the last one ended.
	lingering []spec.Address
	probes    map[ownAddr]*probe // duplicate address detection
	closed    bool

	// What is left for the next director, and what was left to us; see record.go.
	keep      *pinned.Dir          // nil: nothing outlives us
	left      []byte               // the record as it was written last
	bootLinks map[string]spec.Link // switches as dpvs.conf has them
	numbers   map[string]uint16    // that the ports had
	began     clock.Tick
	orphans   []spec.Address // held by whom the former director knew

	// reading is held by who reads the flow table beside the workers, so that
	// it is not unmapped meanwhile. Taken after mu.
	reading sync.RWMutex

	quit context.CancelFunc
	done sync.WaitGroup

	wide     chan struct{} // closed by wideOnce when there is a service of IPv6
	wideOnce sync.Once
}

// Notice is the level of the few lines that are logged whatever log_level says:
// what the director got when it started.
const Notice = slog.Level(16)

// New opens the ports and starts the workers. Log lines go to log. On error
// nothing is left behind.
func New(boot spec.Boot, tunables spec.Tunables, log *slog.Logger) (*Director, error) {
	return makeDirector(nil, boot, tunables, log)
}

func makeDirector(bed *Bed, boot spec.Boot, tunables spec.Tunables, log *slog.Logger) (*Director, error) {
	d := &Director{
		log: log, boot: boot, bed: bed, tunables: tunables, started: time.Now(),
		spec:   (&spec.Spec{Links: map[string]spec.Link{}, Bonds: boot.Bonds}).Clone(),
		states: map[spec.ServiceKey]*serviceState{}, wide: make(chan struct{}),
	}
	d.dests.init()
	d.began = d.now()
	if err := d.start(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Director) start() error {
	lanes := d.dataWorkers()
	// The affinity of pinned threads must not shrink the number of processors
	// that the rest of the program may use.
	runtime.GOMAXPROCS(max(runtime.NumCPU(), len(lanes)) + 2)
	left, err := d.findLeft()
	if err != nil {
		return err
	}
	found, err := d.openTable(len(lanes))
	if err != nil {
		return err
	}
	if !found {
		left = nil
	}
	// Both take their time, and packets wait.
	var taken flow.Taken
	var failed error
	var tables sync.WaitGroup
	tables.Go(func() { taken, failed = d.openTables(len(lanes), left) })
	err = d.openPorts()
	tables.Wait()
	if err := errors.Join(failed, err); err != nil {
		return err
	}
	boot := d.spec.Clone()
	d.bootLinks = boot.Links
	if err := d.inherit(left, taken); err != nil {
		return err
	}
	c, err := d.compile(d.spec, d.lingering)
	if err != nil {
		return err
	}
	d.states, d.probes = c.states, c.probes
	d.forgetUnwanted(d.spec)
	if err := d.leave(d.spec, c, d.lingering); err != nil {
		return err
	}
	d.snapshot.Store(c.snap)
	d.joinGroups()
	if err := d.makeWorkers(lanes); err != nil {
		return err
	}
	if err := d.bringUp(left, boot); err != nil {
		return err
	}
	if err := d.startOffload(); err != nil {
		return err
	}
	if err := d.succeed(); err != nil {
		return err
	}
	d.KeepBonds(context.Background()) // a bond whose links are up carries traffic at once, if it needs no LACP
	d.askForAddresses()
	if d.bed == nil {
		if err := d.keepTwins(); err != nil {
			return err
		}
	}
	if d.byHand() {
		return nil
	}
	ctx, quit := context.WithCancel(context.Background())
	d.quit = quit
	d.done.Go(func() { d.runHousekeeping(ctx) })
	d.done.Go(func() { d.runPopulate(ctx) })
	if e := d.offload.engine; e != nil && e.Later() {
		d.done.Go(func() {
			later()
			d.watchOffload()
		})
	}
	if len(d.bonds) > 0 {
		d.done.Go(func() { d.runBonds(ctx) })
	}
	if d.boot.KNI && d.bed == nil {
		d.done.Go(func() { d.runTwins(ctx) })
	}
	return nil
}

// later has the calling goroutine run on a thread of its own that goes after all others: what it
// does is not for packets, and the processors are theirs. The thread ends with the goroutine.
func later() {
	runtime.LockOSThread()
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 19) // it is as well as it was
}

// dataWorkers are the worker blocks that carry packets.
func (d *Director) dataWorkers() (lanes []spec.Worker) {
	for _, w := range d.boot.Workers {
		if w.Type == "slave" {
			lanes = append(lanes, w)
		}
	}
	return lanes
}

func (d *Director) makeWorkers(lanes []spec.Worker) error {
	if len(lanes) == 0 {
		return errors.New("no worker of type slave: nobody would carry packets")
	}
	big := wholeFrames
	for _, p := range d.withMembers(d.ports) {
		if p.group != nil || p.bed != nil {
			big = bigFrames
		}
	}
	for i, lane := range lanes {
		pool, err := packet.NewPool(d.boot.PktPool, big)
		if err != nil {
			return err
		}
		config := worker.Config{Name: lane.Name, ID: i, Pool: pool, Shared: d.shared, Snapshot: &d.snapshot, Conflicts: &d.conflicts, Fragments: d.boot.Fragments}
		if d.bed != nil {
			config.Clock = d.bed.Clock
		}
		d.workers = append(d.workers, worker.New(config))
	}
	worker.GatherWith(d.workers)
	if err := d.openQueues(lanes); err != nil {
		return err
	}
	for i, lane := range lanes {
		d.served = append(d.served, i)
		d.stopped = append(d.stopped, false)
		if d.byHand() {
			continue
		}
		cpu := lane.CPU
		if cpu >= runtime.NumCPU() {
			d.log.Warn(fmt.Sprintf("worker %s: there is no cpu %d here (%d cpus): it runs on any", lane.Name, cpu, runtime.NumCPU()))
			cpu = -1
		}
		t, err := worker.NewThread(lane.Name, cpu, d.tunables.BusyPoll, d.tunables.RTPriority)
		if err != nil {
			return err
		}
		t.Start()
		t.Take(d.workers[i])
		d.threads = append(d.threads, t)
	}
	return nil
}

// bigFrames is how many GSO super-frames a worker may hold, where a port can
// bring any: 64 KiB each, taken only when used.
const bigFrames = 512

// wholeFrames is how many datagrams that came in fragments and are longer than a
// small frame a worker may have in hand otherwise.
const wholeFrames = 64

// ErrClosed is the answer to who comes too late.
var ErrClosed = errors.New("the director has ended")

// Close stops the workers, closes the ports and unmaps the tables. What others
// are doing meanwhile is waited for; later they are refused with ErrClosed. It is
// called once.
func (d *Director) Close() error {
	if d.quit != nil {
		d.quit()
		d.done.Wait()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reading.Lock()
	defer d.reading.Unlock()
	d.closed = true
	for _, t := range d.threads {
		t.Stop()
	}
	err := d.closePorts()
	for _, w := range d.workers {
		w.Close()
		err = errors.Join(err, w.Pool().Close())
	}
	if d.offload.engine != nil {
		err = errors.Join(err, d.offload.engine.Close())
	}
	if d.shared != nil {
		d.closeTables()
	}
	return errors.Join(err, d.keep.Close())
}

// ask runs f on every worker, one after the other, between two breaths.
func (d *Director) ask(f func(i int, w *worker.Worker)) error {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	for i, w := range d.workers {
		if err := d.do(ctx, w, func(w *worker.Worker) { f(i, w) }); err != nil {
			return fmt.Errorf("worker %s does not answer: %w", w.Name, err)
		}
	}
	return nil
}

// do runs f on a worker between two breaths.
func (d *Director) do(ctx context.Context, w *worker.Worker, f func(*worker.Worker)) error {
	if d.byHand() {
		f(w)
		return nil
	}
	return w.Do(ctx, f)
}

// askTimeout is how long a worker may take to come to the end of its breath.
const askTimeout = 5 * time.Second

// Alive reports an error if a worker does not come to the end of its breath.
func (d *Director) Alive() error { return d.ask(func(int, *worker.Worker) {}) }
