package director

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"weir/internal/clock"
	"weir/internal/lb/proto"
	"weir/internal/neigh"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/spec"
	"weir/internal/worker"
)

// runHousekeeping does once a second what has time: forget what nobody uses,
// and tell the operator about packets that are being lost.
func (d *Director) runHousekeeping(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var losses losses
	var conflicts uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		d.KeepHouse()
		losses.tell(d)
		if c := d.conflicts.Latest(); c.Count != conflicts {
			conflicts = c.Count
			d.log.Warn(fmt.Sprintf("another machine (%s) claims our address %s on %s", macString(c.MAC), c.Addr, nameOf(d.portList(), c.Port)))
		}
	}
}

// KeepHouse forgets what nobody uses any more, and follows the rates. A bed that is breathed by hand
// does it by hand.
func (d *Director) KeepHouse() {
	d.settleAddresses()
	d.keepOffload()
	idle := d.longestIdle()
	d.forgetNeighbours(idle)
	d.forgetPaths()
	d.recoverDests()
	d.forgetTemplates()
	d.forgetDests()
	d.forgetLocals()
	d.populateLocals()
	d.forgetOrphans()
	d.estimateRates()
}

// forgetNeighbours forgets idle next hops, but not while a change makes one static.
func (d *Director) forgetNeighbours(idle uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	neigh.Housekeep(&d.shared.Flows.Hops, d.now(), idle)
}

// longestIdle is more than the ticks any connection may be idle.
func (d *Director) longestIdle() uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.spec.SetTimeouts.Over(d.tunables.Timeouts)
	longest := max(t.TCP.Established, t.TCP.SynSent, t.TCP.SynRecv, t.TCP.FinWait, t.TCP.TimeWait, t.TCP.Close,
		t.TCP.CloseWait, t.TCP.LastAck, t.TCP.Listen, t.UDP.OneWay, t.UDP.Normal, slices.Max(proto.SCTPSeconds[:]))
	for i := range d.spec.Services {
		longest = max(longest, d.spec.Services[i].ConnTimeout)
	}
	return min(clock.FromSeconds(longest)+60*clock.PerSecond, 1<<31-1)
}

func macString(m port.MAC) string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// localPages is how many pages of local ports are taken in a second at most: those of a
// quarter million. A page may take 50 µs, so few are taken at once: who changes local
// addresses waits for those.
const localPages, localPagesAtOnce = 1024, 16

// populateLocals has the memory ready that ports in use will come back to.
func (d *Director) populateLocals() {
	for pages := 0; pages < localPages && d.shared.Locals.Populate(localPagesAtOnce); pages += localPagesAtOnce {
	}
}

// forgetLocals gives up removed local addresses whose last connection ended.
func (d *Director) forgetLocals() {
	d.mu.Lock()
	defer d.mu.Unlock()
	// A breath that began before the last change may still take ports of an
	// address that is gone: when all have seen the change, none does.
	if err := d.ask(func(_ int, w *worker.Worker) { w.Refresh() }); err != nil {
		d.log.Warn("removed local addresses stay", "err", err)
		return
	}
	d.shared.Locals.Sweep()
	for _, a := range d.lingering {
		if used, ok := d.shared.Locals.InUse(a.Prefix.Addr()); !ok || used == 0 {
			if err := d.apply(d.spec.Clone()); err != nil {
				d.log.Error("removed local addresses stay", "err", err)
			}
			return
		}
	}
}

func (d *Director) forgetDests() {
	d.mu.Lock()
	defer d.mu.Unlock()
	gone := d.dests.gone(time.Now())
	if len(gone) == 0 {
		return
	}
	err := d.ask(func(_ int, w *worker.Worker) {
		for _, dest := range gone {
			w.LB().ZeroCount(dest.Index)
		}
	})
	if err != nil {
		d.log.Warn("the counters of removed real servers stay", "err", err)
		return // their indexes are not used again
	}
	for _, dest := range gone {
		d.shared.ZeroFormer(dest.Index)
		if d.offload.engine != nil {
			d.offload.engine.ZeroDest(dest.Index)
		}
		d.shared.Dests[dest.Index].Store(nil)
		d.dests.reuse(dest.Index)
	}
}

// losses remembers what was said about drops: each reason is told of when it
// first grows and then at most once a minute, with what was lost since.
type losses struct {
	total [packet.NumReasons]uint64
	told  [packet.NumReasons]uint64
	when  [packet.NumReasons]time.Time
}

// harmless reasons are normal on any link and are only counted.
var harmless = map[packet.Reason]bool{
	packet.EtherOtherHost: true, packet.EtherType: true, packet.EtherVLAN: true, packet.ARPNotOurs: true, packet.ARPConsumed: true,
	packet.NDNotOurs: true, packet.NDConsumed: true,
	packet.IPMulticast: true, packet.IPVersion: true, packet.IPScope: true, packet.IPNotOurs: true, packet.IPNoListener: true, packet.ICMPUnwanted: true,
	packet.EtherLoop: true, packet.BondInactive: true,
}

func (l *losses) tell(d *Director) {
	drops, err := d.Drops()
	if err != nil {
		d.log.Error(err.Error())
		return
	}
	now := time.Now()
	for r := range drops {
		reason := packet.Reason(r)
		n := drops[r]
		if n == l.told[r] || harmless[reason] || now.Sub(l.when[r]) < time.Minute {
			continue
		}
		d.log.Warn(fmt.Sprintf("packets are dropped: %s: %s", reason, reason.Text()), "count", n-l.told[r])
		l.told[r], l.when[r] = n, now
		if reason == packet.PortRxTooBig {
			d.warnTooBig()
		}
	}
	l.total = drops
}

// warnTooBig names the command that helps, once for each port.
func (d *Director) warnTooBig() {
	for _, p := range d.devices(d.portList()) {
		if p.program == nil || p.warned {
			continue
		}
		var c port.Counters
		_ = d.ask(func(i int, w *worker.Worker) {
			for _, q := range p.queues {
				if q.worker == i {
					q.queue.Counters(&c)
				}
			}
		})
		if c.Drops[packet.PortRxTooBig] > 0 {
			p.warned = true
			d.log.Warn(p.program.Warning())
		}
	}
}

// touchLater is how long a director that found its table looks after its packets first.
const touchLater = 10 * time.Second

// runPopulate takes the flow table's memory beside the workers, if twice as much is
// free: else it is taken as connections come. Then it has the engine prepare the same
// memory for its programs. The part of IPv6, which is larger, is taken when there is a
// service of IPv6.
func (d *Director) runPopulate(ctx context.Context) {
	flows, engine := d.shared.Flows, d.offload.engine
	need, needWide := uint64(flows.Bytes()), uint64(flows.WideBytes())
	if d.keep != nil {
		// All of it was taken when it was made; what is left is to write to its pages.
		need, needWide = 0, 0
		if flows.Header().Takeovers > 0 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(touchLater):
			}
		}
	}
	d.populate(ctx, need, flows.Populate)
	if engine != nil {
		d.populate(ctx, 0, engine.Touch)
	}
	select {
	case <-ctx.Done():
		return
	case <-d.wide:
	}
	d.populate(ctx, needWide, flows.PopulateWide)
	if engine != nil {
		d.populate(ctx, 0, engine.TouchWide)
	}
}

func (d *Director) populate(ctx context.Context, need uint64, take func(stop <-chan struct{}) error) {
	if free := memAvailable(); free < 2*need {
		d.log.Log(ctx, Notice, fmt.Sprintf("the flow table's %d MiB are taken as connections come: %d MiB are free; a smaller conn_pool_size lets them be taken at the start", need>>20, free>>20))
		return
	}
	if err := take(ctx.Done()); err != nil {
		d.log.Info("memory is taken as connections come", "err", err)
	}
}

// populateWide has the flow table's part of IPv6 taken, once there is a service that
// needs it.
func (d *Director) populateWide(s *spec.Spec) {
	for i := range s.Services {
		v := &s.Services[i]
		if v.Virtual.Addr().Is6() || v.Match.Family == 6 || slices.ContainsFunc(v.Dests, func(t spec.Dest) bool { return t.Addr.Addr().Is6() }) {
			d.wideOnce.Do(func() { close(d.wide) })
			return
		}
	}
}

// memAvailable is what Linux could give in bytes, 0 if it does not say.
func memAvailable() uint64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		var kib uint64
		if n, _ := fmt.Sscanf(line, "MemAvailable: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	return 0
}
