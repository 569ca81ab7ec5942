package director

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"weir/internal/flow"
	"weir/internal/lb"
	"weir/internal/neigh"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/route"
	"weir/internal/spec"
	"weir/internal/stat"
	"weir/internal/worker"
)

// Views of what is: for the API, made when asked for.

// Uptime is how long the director runs.
func (d *Director) Uptime() time.Duration { return time.Since(d.started) }

// Routes lists all routes in force in dpip's order.
func (d *Director) Routes() []route.Listed {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.DeleteFunc(d.snapshot.Load().Routes.List(), func(l route.Listed) bool {
		return l.Local() && slices.ContainsFunc(d.lingering, func(a spec.Address) bool { return a.Prefix == l.Prefix })
	})
}

// LocalCounts returns the figures of a local address; ok is false if it is none.
func (d *Director) LocalCounts(ip netip.Addr) (used, free, miss uint64, ok bool) {
	a := d.shared.Locals.Find(ip)
	if a == nil {
		return 0, 0, 0, false
	}
	used, free, miss = a.Counts()
	return used, free, miss, true
}

// Count is what was carried to and from a real server.
type Count = lb.DestCount

// DestView is a real server with its load and counts.
type DestView struct {
	spec.Dest
	Active, Inactive int32
	Templates        int32 // of persistent clients
	Overloaded       bool
	Inhibited        bool // found down by the passive check
	Count            Count
	Rates            Rates
}

// ServiceView is a service with its real servers.
type ServiceView struct {
	spec.Service
	Dests []DestView
}

// Services returns the services wanted for by keep, in order of insertion.
func (d *Director) Services(keep func(spec.ServiceKey) bool) ([]ServiceView, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []ServiceView
	var index []uint32
	for i := range d.spec.Services {
		svc := &d.spec.Services[i]
		if !keep(svc.ServiceKey) {
			continue
		}
		v := ServiceView{Service: *svc}
		for _, sd := range svc.Dests {
			dest := d.dests.byKey[destKey{svc.ServiceKey, sd.Addr}]
			dv := DestView{Dest: sd, Active: max(dest.Load.Active.Load(), 0), Inactive: max(dest.Load.Inactive.Load(), 0)}
			dv.Overloaded = sd.UThreshold != 0 && (dest.Load.Overloaded.Load() || uint32(dv.Active+dv.Inactive) >= sd.UThreshold)
			dv.Rates = d.rates.get(dest)
			dv.Templates, dv.Inhibited = max(dest.Load.Templates.Load(), 0), dest.Load.Inhibited.Load()
			v.Dests = append(v.Dests, dv)
			index = append(index, dest.Index)
		}
		out = append(out, v)
	}
	counts, err := d.counts(index)
	if err != nil {
		return nil, err
	}
	for i := range out {
		for j := range out[i].Dests {
			out[i].Dests[j].Count, counts = counts[0], counts[1:]
		}
	}
	return out, nil
}

// countLot is how many counts a worker copies in one breath.
const countLot = 1024

// counts sums the workers' counts of real servers.
func (d *Director) counts(index []uint32) ([]Count, error) {
	sum := make([]Count, len(index))
	for i, dest := range index {
		sum[i] = d.shared.Former(dest)
	}
	for from := 0; from < len(index); from += countLot {
		lot := index[from:min(from+countLot, len(index))]
		err := d.ask(func(_ int, w *worker.Worker) {
			for i, dest := range lot {
				c, s := w.LB().Count(dest), &sum[from+i]
				s.Conns += c.Conns
				s.InPkts += c.InPkts
				s.InBytes += c.InBytes
				s.OutPkts += c.OutPkts
				s.OutBytes += c.OutBytes
			}
		})
		if err != nil {
			return nil, err
		}
	}
	if d.offload.engine != nil {
		for i, dest := range index {
			c, s := d.offload.engine.Dest(dest), &sum[i]
			s.InPkts += c.InPkts
			s.InBytes += c.InBytes
			s.OutPkts += c.OutPkts
			s.OutBytes += c.OutBytes
		}
	}
	return sum, nil
}

// Zero clears the counts of the services wanted for by keep.
func (d *Director) Zero(keep func(spec.ServiceKey) bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var index []uint32
	for k, dest := range d.dests.byKey {
		if keep(k.service) {
			index = append(index, dest.Index)
			d.rates.zero(dest)
		}
	}
	for _, i := range index {
		d.shared.ZeroFormer(i)
		if d.offload.engine != nil {
			d.offload.engine.ZeroDest(i)
		}
	}
	return d.ask(func(_ int, w *worker.Worker) {
		for _, i := range index {
			w.LB().ZeroCount(i)
		}
	})
}

// NeighbourView is an entry of the neighbour table.
type NeighbourView struct {
	Device   string
	Addr     netip.Addr
	MAC      port.MAC // valid if Resolved
	State    string   // NONE SEND REACHABLE DELAY PROBE FAILED
	Resolved bool
	Static   bool
	Queued   int // packets that wait for it
}

var nudNames = map[uint8]string{
	flow.NUDNone: "NONE", flow.NUDSend: "SEND", flow.NUDReachable: "REACHABLE",
	flow.NUDDelay: "DELAY", flow.NUDProbe: "PROBE", flow.NUDFailed: "FAILED",
}

// Neighbours lists the neighbour table by device and address.
func (d *Director) Neighbours() ([]NeighbourView, error) {
	ports := d.portList()
	d.reading.RLock()
	defer d.reading.RUnlock()
	if d.closed {
		return nil, ErrClosed
	}
	queued := map[uint32]int{} // by index of the next hop
	err := d.ask(func(_ int, w *worker.Worker) {
		w.Neigh().Waiting(func(hop flow.NextHopRef, packets int) { queued[hop%flow.MaxNextHops] += packets })
	})
	entries := neigh.List(&d.shared.Flows.Hops, d.now(), d.snapshot.Load().Neigh.Reachable)
	slices.SortFunc(entries, func(a, b neigh.Entry) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), a.Addr.Compare(b.Addr))
	})
	out := make([]NeighbourView, 0, len(entries))
	for _, e := range entries {
		if e.Addr.IsUnspecified() {
			continue // the other end of a tunnel
		}
		out = append(out, NeighbourView{
			Device: nameOf(ports, e.Port), Addr: e.Addr, MAC: e.MAC, State: nudNames[e.State],
			Resolved: e.Resolved, Static: e.Static, Queued: queued[e.Ref%flow.MaxNextHops],
		})
	}
	return out, err
}

// WorkerView is a worker with its counts.
type WorkerView struct {
	Name, Type string
	CPU        int
	Running    bool
	ServedBy   string
	Queues     []QueueView
	Stats      stat.Worker
	Ports      port.Counters
	PoolFree   int
	PoolTotal  int
	Timers     int
	Resting    int
	Held       int
}

// QueueView is a queue that a worker serves.
type QueueView struct {
	Port   string
	Number int
}

// Workers lists the workers of the data plane.
func (d *Director) Workers() ([]WorkerView, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	lanes := d.dataWorkers()
	out := make([]WorkerView, len(d.workers))
	for i, lane := range lanes {
		out[i] = WorkerView{Name: lane.Name, Type: lane.Type, CPU: lane.CPU, Running: !d.stopped[i], ServedBy: lanes[d.served[i]].Name}
		for _, p := range d.withMembers(d.ports) {
			for _, q := range p.queues {
				if q.worker == i && q.number >= 0 {
					out[i].Queues = append(out[i].Queues, QueueView{p.facts.Name, q.number})
				}
			}
			for _, number := range p.bond.served(i) {
				out[i].Queues = append(out[i].Queues, QueueView{p.facts.Name, number})
			}
		}
	}
	err := d.ask(func(i int, w *worker.Worker) {
		v := &out[i]
		v.Stats = *w.Stats()
		for _, q := range w.AllQueues() {
			q.Counters(&v.Ports)
		}
		var twins port.Counters // of what Linux sends and receives only what is lost
		w.Twins().Each(func(q port.Queue) { q.Counters(&twins) })
		for r, n := range twins.Drops {
			v.Ports.Drops[r] += n
		}
		if i == 0 { // nobody's; somebody has to tell
			for _, p := range d.withMembers(d.ports) {
				v.Ports.Drops[packet.PortRxNoQueue] += p.unserved()
			}
			d.offloadDrops(d.ports, &v.Ports.Drops)
		}
		v.PoolFree, v.PoolTotal = w.Pool().FreeFrames(), w.Pool().Frames()
		v.Timers, v.Resting = w.Flows().Timers(), w.Flows().Resting()
		v.Held = w.Neigh().Held()
	})
	return out, err
}

// Drops sums all drops by reason: those of the walk, and those of the ports.
func (d *Director) Drops() (sum [packet.NumReasons]uint64, err error) {
	err = d.ask(func(_ int, w *worker.Worker) {
		for r, n := range w.Stats().Drops {
			sum[r] += n
		}
		var c port.Counters
		for _, q := range w.AllQueues() {
			q.Counters(&c)
		}
		w.Twins().Each(func(q port.Queue) { q.Counters(&c) })
		for r, n := range c.Drops {
			sum[r] += n
		}
	})
	for _, p := range d.devices(d.portList()) {
		sum[packet.PortRxNoQueue] += p.unserved()
	}
	d.mu.Lock()
	d.offloadDrops(d.ports, &sum)
	d.mu.Unlock()
	return sum, err
}

// Gauges are the director's bounded resources: in use and at most.
type Gauges struct {
	Conns, ConnsMax, HalfOpen, Slots uint64
	Neighbours, NeighboursMax        uint64
	Templates, TemplatesMax          uint64
	Mappings, MappingsMax            uint64
}

// Gauges returns them.
func (d *Director) Gauges() Gauges {
	f := d.shared.Flows
	g := Gauges{
		Conns: uint64(f.Len()), ConnsMax: uint64(f.Conns()), HalfOpen: uint64(max(d.shared.HalfOpen.Load(), 0)), Slots: uint64(f.Slots()),
		Neighbours: uint64(f.Hops.Len()), NeighboursMax: flow.MaxNextHops - 1,
		Templates: uint64(max(d.shared.Templates.Len(), 0)), TemplatesMax: uint64(d.shared.Templates.Cap()),
		MappingsMax: uint64(mappingsFor(f.Conns())),
	}
	if m := d.shared.Mappings.Load(); m != nil {
		g.Mappings = uint64(max(m.Len(), 0))
	}
	return g
}

// Timeouts returns those in force, and what of them was set at run time.
func (d *Director) Timeouts() (spec.Timeouts, spec.SetTimeouts) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.spec.SetTimeouts.Over(d.tunables.Timeouts), d.spec.SetTimeouts
}

// ForgetNeighbour forgets a learnt neighbour and reports whether there was one. It is for
// edits, within Change, which holds mu.
func (d *Director) ForgetNeighbour(device string, a netip.Addr) bool {
	p := d.portByName(device)
	if p == nil {
		return false
	}
	ref := d.shared.Flows.Hops.Find(p.facts.ID, a)
	if ref != 0 {
		d.shared.Flows.Hops.Free(ref)
	}
	return ref != 0
}
