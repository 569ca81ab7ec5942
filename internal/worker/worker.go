package worker

import (
	"sync/atomic"

	"weir/internal/clock"
	"weir/internal/ether"
	"weir/internal/flow"
	"weir/internal/ip"
	"weir/internal/lb"
	"weir/internal/lb/laddr"
	"weir/internal/neigh"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/punt"
	"weir/internal/spec"
	"weir/internal/stat"
	"weir/internal/tunnel"
)

// Worker is one lane of the director: queues, packet memory, the stages with
// all they own. One Thread at a time breathes it.
type Worker struct {
	Name string
	id   int

	pool     *packet.Pool
	outbox   packet.Outbox
	stats    stat.Worker
	queues   []port.Queue // received from, in turn
	sendOnly []port.Queue
	trays    [port.Max]trayOf
	paths    []*handoffPath

	ether *ether.Link
	ip    *ip.Stack
	neigh *neigh.Cache
	lb    *lb.Balancer
	twins *punt.Twins

	tunnel *tunnel.Stage

	flows    *flow.Table
	own      *flow.Worker
	shared   *atomic.Pointer[Snapshot]
	snap     *Snapshot
	clock    func() uint64 // nanoseconds
	now      clock.Tick
	prefetch flow.Prefetcher
	fold     flow.Folder
	burst    [port.Burst]*packet.Packet
	made     [port.Burst]*packet.Packet // out of the outbox
	segments [ip.MaxSegments]*packet.Packet
	outer    [ip.MaxSegments]*packet.Packet // pieces of what carries one of the segments in a tunnel
	inner    [port.Burst]*packet.Packet     // out of tunnels that other workers received, to be walked
	ninner   int
	leading  *packet.Packet // goes ahead of the one in hand (lead)
	peers    []*handoffPath // by worker: the way to give it fragments; nil at our own place
	nports   int            // trays in use
	devices  []uint16       // VLANs and tunnels, by port
	in, at   int            // index in the burst of the packet that arrives, and that proceeds
	mail     mailbox
	alarm    atomic.Pointer[alarm] // of the thread that breathes us
	beats    atomic.Uint64         // breaths, for the watchdog
}

type trayOf struct {
	n       int
	queue   port.Queue   // this worker's own, or
	via     *handoffPath // the way to another worker's, or
	device  *port.Facts  // a VLAN, or a tunnel: what lies here leaves by another port
	packets [port.Burst]*packet.Packet
}

// Config of a worker.
type Config struct {
	Name      string
	ID        int
	Pool      *packet.Pool // becomes the worker's
	Shared    *lb.Shared
	Snapshot  *atomic.Pointer[Snapshot] // never nil inside
	Conflicts *neigh.Conflicts
	Fragments spec.Fragments
	Clock     func() uint64 // nanoseconds; nil: clock.Nanos
}

// New makes a worker without queues.
func New(c Config) *Worker {
	w := &Worker{Name: c.Name, id: c.ID, pool: c.Pool, shared: c.Snapshot, flows: c.Shared.Flows, own: c.Shared.Flows.Worker(c.ID), clock: c.Clock}
	if w.clock == nil {
		w.clock = clock.Nanos
	}
	w.fold = flow.NewFolder(w.flows.Seed())
	w.snap = c.Snapshot.Load()
	hops := &c.Shared.Flows.Hops
	w.ether = ether.New(hops, w.snap.Ports, &w.stats.Virtual)
	w.ip = ip.New(hops, c.Shared.Flows.Seed(), w.snap.Ports, w.pool, &w.outbox, &w.stats)
	w.ip.SetFragments(c.Fragments, new(ip.IDs))
	w.neigh = neigh.New(hops, w.pool, &w.outbox, &w.stats, c.Conflicts)
	w.devices = make([]uint16, 0, port.Max)
	w.twins = punt.New(&w.stats)
	w.tunnel = tunnel.New(hops, &w.stats.Virtual)
	w.lb = lb.New(c.Shared, w.own, w.snap.Ports, w.pool, &w.outbox, &w.stats)
	return w
}

// AddQueue gives the worker a queue of a port: it receives from it, and sends
// by the first it has of each port. Before the worker runs, or by Do.
func (w *Worker) AddQueue(id uint16, q port.Queue) {
	w.queues = append(w.queues, q)
	if t := &w.trays[id]; t.queue == nil {
		t.queue = q
	}
	w.nports = max(w.nports, int(id)+1)
}

// AddRx gives the worker a queue that it only receives from. Before the worker runs.
func (w *Worker) AddRx(q port.Queue) { w.queues = append(w.queues, q) }

// AddTx gives the worker a queue that it only sends on. Before the worker runs.
func (w *Worker) AddTx(id uint16, q port.Queue) {
	w.trays[id].queue = q
	w.sendOnly = append(w.sendOnly, q)
	w.nports = max(w.nports, int(id)+1)
}

// AddTwin gives the worker a queue of a port's .kni twin: what Linux is to have goes
// there, and what it sends comes from there. Before the worker runs, or by Do.
func (w *Worker) AddTwin(id uint16, q port.Queue) { w.twins.Add(id, q) }

// RemoveTwin takes it away again and returns it, nil if there is none. By Do.
func (w *Worker) RemoveTwin(id uint16) port.Queue { return w.twins.Remove(id) }

// SendVia makes w give its packets for a port to another worker. Before both run.
func (w *Worker) SendVia(out uint16, to *Worker) {
	path := &handoffPath{from: w, to: to, out: out}
	w.trays[out].via = path
	w.nports, to.nports = max(w.nports, int(out)+1), max(to.nports, int(out)+1)
	w.paths = append(w.paths, path)
	to.paths = append(to.paths, path)
}

// GatherWith makes all workers put fragments together, each the datagrams that fall
// to it. Before they run.
func GatherWith(all []*Worker) {
	if len(all) < 2 {
		return
	}
	for _, w := range all {
		w.peers = make([]*handoffPath, len(all))
		w.ip.ShareIDs(all[0].ip)
	}
	for i, w := range all {
		for j, to := range all {
			if i == j {
				continue
			}
			path := &handoffPath{from: w, to: to, out: fragments}
			w.peers[j] = path
			w.paths = append(w.paths, path)
			to.paths = append(to.paths, path)
		}
	}
}

// HasTx reports whether the worker has a queue of its own to send on a port.
func (w *Worker) HasTx(id uint16) bool { return w.trays[id].queue != nil }

// What the control plane asks, by Do only.

// Stats returns the worker's counters.
func (w *Worker) Stats() *stat.Worker { return &w.stats }

// LB returns the worker's balancer.
func (w *Worker) LB() *lb.Balancer { return w.lb }

// Neigh returns the worker's neighbour cache.
func (w *Worker) Neigh() *neigh.Cache { return w.neigh }

// Pool returns the worker's packet memory.
func (w *Worker) Pool() *packet.Pool { return w.pool }

// Flows returns what the worker owns of the flow table.
func (w *Worker) Flows() *flow.Worker { return w.own }

// Queues returns the worker's queues.
func (w *Worker) Queues() []port.Queue { return w.queues }

// AllQueues returns the queues that the worker receives from and those it only
// sends on.
func (w *Worker) AllQueues() []port.Queue {
	return append(w.queues[:len(w.queues):len(w.queues)], w.sendOnly...)
}

// Twins returns the worker's queues of the ports' .kni twins, and the packets that wait
// for them.
func (w *Worker) Twins() *punt.Twins { return w.twins }

// Refresh makes the stages see the newest configuration before the next breath.
func (w *Worker) Refresh() { w.begin(w.clock()) }

// Close gives back what is on its way and answers no more questions. No worker
// may be breathed any more.
func (w *Worker) Close() {
	w.mail.close()
	w.neigh.Flush()
	w.ip.DropFragments()
	w.twins.Close()
	w.drainOutboxInto(w.pool)
	w.takeBack()
}

// Beats returns how many breaths the worker drew. From any goroutine.
func (w *Worker) Beats() uint64 { return w.beats.Load() }

// HeldFragments returns how many fragments wait for others.
func (w *Worker) HeldFragments() int { return w.ip.HeldFragments() }

// Held returns how many packets of the pool are on their way in the worker.
func (w *Worker) Held() int { return w.pool.InUse() }

// begin tells the stages the time and the configuration of this breath.
func (w *Worker) begin(nanos uint64) {
	w.now = clock.Tick(nanos >> clock.Shift)
	w.own.Begin(w.now)
	if snap := w.shared.Load(); snap != w.snap || w.lb.Tables == nil {
		w.snap = snap
		w.setDevices(snap)
		w.ether.SetPorts(snap.Ports)
		w.ip.SetPorts(snap.Ports)
		w.ip.Table, w.ip.TTL = snap.Routes, snap.TTL
		w.ip.Tunnels = snap.Tunnels.Any()
		w.tunnel.SetTables(snap.Tunnels, snap.Ports)
		w.ip.Forwarding, w.ip.Forwarding6 = snap.Forwarding, snap.Forwarding6
		w.neigh.Ports, w.neigh.Table, w.neigh.Config = snap.Ports, snap.Routes, snap.Neigh
		w.lb.SetTables(&snap.LB, snap.Ports)
	}
	w.ip.Tick(w.now)
	w.tunnel.Second = laddr.Second(nanos / 1e9)
	w.lb.Now, w.lb.Nanos, w.lb.Second = w.now, nanos, laddr.Second(nanos/1e9)
}
