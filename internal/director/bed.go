package director

import (
	"log/slog"

	"weir/internal/clock"
	"weir/internal/flow"
	"weir/internal/lb/laddr"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/port/afxdp"
	"weir/internal/spec"
	"weir/internal/worker"
)

// Bed is what a director lies on in place of Linux interfaces, and if wanted in
// place of threads and the clock: tests hold the ends of its ports in memory.
type Bed struct {
	Ports []BedPort // in place of boot.Devices
	// ByHand: there are no threads and no housekeeping. Who made the director
	// breathes its workers, between its calls, in the same goroutine.
	ByHand bool
	Clock  func() uint64 // nanoseconds; nil: CLOCK_MONOTONIC
	// Engine: there is a second engine, whose programs a test runs itself (Engine). The
	// loopback interface stands for all ports.
	Engine bool
	// Seed of the flow table's hash; if not 0, sequence numbers have no secret
	// either, so that a test sees the same ones always.
	Seed uint64
}

// BedPort is a port that is there already.
type BedPort struct {
	Facts  port.Facts
	Owners []int // by queue: the worker that serves it
	// Carrier, if set, says whether the link is up, of a member of a bond. boot.Bonds
	// says what is one.
	Carrier func() bool
	Open    func(queue int, pool *packet.Pool) (port.Queue, error)
	// Twin opens a worker's queue of the port's .kni twin; nil: there is none. SeeTwins
	// says what Linux would.
	Twin func(worker int, pool *packet.Pool) (port.Queue, error)
}

// NewOn is New on a bed.
func NewOn(bed Bed, boot spec.Boot, tunables spec.Tunables, log *slog.Logger) (*Director, error) {
	return makeDirector(&bed, boot, tunables, log)
}

// Lanes returns the workers, to be breathed by hand.
func (d *Director) Lanes() []*worker.Worker { return d.workers }

// Engine returns the second engine, nil if there is none.
func (d *Director) Engine() *afxdp.Engine { return d.offload.engine }

// Facts returns those of all ports, by their numbers.
func (d *Director) Facts() *[port.Max]port.Facts { return d.snapshot.Load().Ports }

// Flows returns the flow table.
func (d *Director) Flows() *flow.Table { return d.shared.Flows }

func (d *Director) openBedPorts() {
	for i := range d.bed.Ports {
		p := &d.bed.Ports[i]
		o := &openPort{facts: p.Facts, bed: p}
		if p.Twin != nil {
			o.twin = &twin{name: p.Facts.Name + ".kni", open: func(i int, w *worker.Worker) (port.Queue, error) { return p.Twin(i, w.Pool()) }}
		}
		o.ownMAC = p.Facts.MAC
		d.keepPort(o)
	}
}

func (d *Director) byHand() bool { return d.bed != nil && d.bed.ByHand }

// now is the time as the workers see it.
func (d *Director) now() clock.Tick {
	if d.bed != nil && d.bed.Clock != nil {
		return clock.Tick(d.bed.Clock() >> clock.Shift)
	}
	return clock.Now()
}

// second is the workers' stamp of the time in seconds.
func (d *Director) second() uint16 {
	if d.bed != nil && d.bed.Clock != nil {
		return laddr.Second(d.bed.Clock() / 1e9)
	}
	return laddr.Second(clock.Nanos() / 1e9)
}
