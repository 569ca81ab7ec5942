package dpvsconf

import (
	"slices"
	"strings"

	"weir/internal/config/block"
	"weir/internal/spec"
)

// Types of a worker, in the words of the file.
const (
	typeMaster = "master" // the control side
	typeSlave  = "slave"  // forwards packets
	typeKNI    = "kni"
)

// Bounds of a worker block.
const (
	maxWorkers = 64   // that forward packets
	maxCPU     = 1023 // what a CPU mask of the kernel holds
)

// inWorker are the keywords of a worker block, at any depth.
var inWorker = []string{"type", "cpu_id", "icmp_redirect_core", "port",
	"rx_queue_ids", "tx_queue_ids", "isol_rx_cpu_ids", "isol_rxq_ring_sz"}

// worker reads a worker block.
func (r *reader) worker(n *block.Node, name string) {
	if before, again := r.workers[name]; again {
		r.errorf(n.Pos, "worker %s is already at %s: give each worker a name of its own", shown(name), before.pos)
		return
	}
	if strings.EqualFold(lastSaid(n, "type"), typeKNI) {
		r.warnf(n.Pos, "worker %s of type kni is not needed by weir and is ignored: every worker passes packets to the host", shown(name))
		r.strange(n, inWorker)
		return
	}
	w := spec.Worker{Name: name, CPU: -1}
	var ports []block.Pos
	r.read("worker "+shown(name), n.Block, rules{
		"type":               choice(r, &w.Type, typeMaster, typeSlave, typeKNI),
		"cpu_id":             number(r, &w.CPU, 0, maxCPU, "none"),
		"icmp_redirect_core": r.unused("all workers share one connection table"),
		"port": r.named(func(n *block.Node, port string) {
			w.Ports = append(w.Ports, r.workerPort(n, port))
			ports = append(ports, n.Pos)
		}),
	})
	switch {
	case w.Type == "" || w.CPU < 0:
		r.incomplete(n, &w)
		return
	case w.Type == typeMaster && len(w.Ports) > 0:
		r.errorf(ports[0], "worker %s is the master, which serves no port: move the port to a worker of type slave", shown(name))
	case w.Type == typeSlave && len(w.Ports) == 0:
		r.errorf(n.Pos, "worker %s has no port: add \"port NAME { }\" for each device it serves", shown(name))
	}
	if r.workers == nil {
		r.workers = make(map[string]place)
	}
	r.workers[name] = place{len(r.cfg.Boot.Workers), n.Pos}
	r.cfg.Boot.Workers = append(r.cfg.Boot.Workers, w)
	r.ports = append(r.ports, ports)
}

// incomplete says what a worker block lacks, unless a bad value was said already.
func (r *reader) incomplete(n *block.Node, w *spec.Worker) {
	has := func(keyword string) bool {
		return slices.ContainsFunc(n.Block, func(c block.Node) bool { return c.Keyword == keyword })
	}
	if w.Type == "" && !has("type") {
		r.errorf(n.Pos, "worker %s has no type: add \"type master\" or \"type slave\"", shown(w.Name))
	}
	if w.CPU < 0 && !has("cpu_id") {
		r.errorf(n.Pos, "worker %s has no cpu_id: add \"cpu_id N\", the CPU it runs on", shown(w.Name))
	}
}

// workerPort reads which queues of a port the worker serves.
func (r *reader) workerPort(n *block.Node, port string) spec.WorkerPort {
	p := spec.WorkerPort{Port: port}
	r.read("port "+shown(port), n.Block, rules{
		"rx_queue_ids":     r.queues(&p.RxQueues),
		"tx_queue_ids":     r.without(r.queues(new([]int)), "transmit queues go with the receive queues"),
		"isol_rx_cpu_ids":  r.unused("a worker receives and forwards on one CPU"),
		"isol_rxq_ring_sz": r.unused("a worker receives and forwards on one CPU"),
	})
	return p
}

// queues reads a list of queue numbers.
func (r *reader) queues(dst *[]int) rule {
	return func(n *block.Node) {
		if n.IsBlock() || len(n.Args) == 0 {
			r.errorf(n.Pos, "%s needs one or more queue numbers from 0 to %d", n.Keyword, maxQueues-1)
			return
		}
		var ids []int
		for _, v := range n.Args {
			id, ok := r.integer(n, v, 0, maxQueues-1, "queues that no worker lists")
			if !ok {
				return
			}
			if slices.Contains(ids, id) {
				r.errorf(n.Pos, "%s lists queue %d twice", n.Keyword, id)
				return
			}
			ids = append(ids, id)
		}
		*dst = ids
	}
}
