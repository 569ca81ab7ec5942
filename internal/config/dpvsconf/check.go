package dpvsconf

import (
	"weir/internal/config/block"
	"weir/internal/spec"
)

// check looks at what no block can know alone, and adds the workers when the
// file names none.
func (r *reader) check() {
	r.checkDevices()
	r.checkBonds()
	r.checkSecret()
	if b := &r.cfg.Boot; b.ConnPool6 > b.ConnPool {
		r.errorf(*r.pool6, "conn_pool_ipv6 %d is more than conn_pool_size, which is %d: it is how many of these may be of IPv6", b.ConnPool6, b.ConnPool)
	}
	if len(r.cfg.Boot.Workers) == 0 && len(r.errors) == 0 {
		r.cfg.Boot.Workers = r.defaultWorkers()
		return
	}
	r.checkWorkers()
	r.checkQueues()
}

func (r *reader) checkDevices() {
	b := &r.cfg.Boot
	if len(b.Devices) == 0 && len(r.errors) == 0 {
		r.errorf(r.whole, "no device: add \"device NAME { ... }\" to netif_defs for each interface that weir is to drive")
	}
	if n := maxDevices - len(b.Bonds); len(b.Devices) > n {
		r.errorf(r.devices[b.Devices[n].Name].pos, "more than %d devices: a director has no more ports", maxDevices)
	}
	driven := make(map[string]string)
	for i := range b.Devices {
		d := &b.Devices[i]
		at := r.devices[d.Name].pos
		if other, taken := driven[d.Interface]; taken {
			r.errorf(at, "device %s drives interface %s, which device %s drives already: give each device an interface of its own", d.Name, d.Interface, other)
		}
		driven[d.Interface] = d.Name
		if d.Driver == spec.DriverAFPacket && d.XDPMode != spec.XDPAuto {
			r.errorf(at, "device %s: xdp_mode %s needs driver afxdp, not afpacket: remove one of them", d.Name, d.XDPMode)
		}
		if d.Driver == spec.DriverAFPacket && d.NAPI.BusyPoll == spec.NAPIOn {
			r.errorf(at, "device %s: napi_busy_poll on needs driver afxdp, not afpacket: remove one of them", d.Name)
		}
	}
	if b.KNI {
		r.checkTwins(driven)
	}
}

// checkSecret looks whether the secret of stable-privacy is there when it is needed,
// and only then.
func (r *reader) checkSecret() {
	switch mode := r.cfg.Boot.IPv6.AddrGenMode; {
	case mode == spec.AddrGenStablePrivacy && r.secret == nil:
		r.errorf(r.whole, "addr_gen_mode stable-privacy needs a secret: add \"stable_secret\" with 32 hexadecimal digits to ipv6_defs, as openssl rand -hex 16 makes them")
	case mode != spec.AddrGenStablePrivacy && r.secret != nil:
		r.warnf(*r.secret, "stable_secret is ignored: addr_gen_mode is %s, not stable-privacy", mode)
	}
}

// checkTwins looks at the names of the .kni twins, which are interfaces of the
// host as well.
func (r *reader) checkTwins(driven map[string]string) {
	twins := make(map[string]string)
	check := func(at block.Pos, what, kni string) {
		switch {
		case len(kni) > maxName:
			r.errorf(at, "%s: %s is longer than %d bytes: give it a shorter kni_name", what, kni, maxName)
		case driven[kni] != "":
			r.errorf(at, "%s: kni_name %s is the interface that device %s drives", what, kni, driven[kni])
		case twins[kni] != "":
			r.errorf(at, "%s: kni_name %s is that of %s as well", what, kni, twins[kni])
		}
		twins[kni] = what
	}
	for i := range r.cfg.Boot.Devices {
		if d := &r.cfg.Boot.Devices[i]; r.bondOf(d.Name) == nil { // a slave has no twin
			check(r.devices[d.Name].pos, "device "+d.Name, d.KNIName)
		}
	}
	for i := range r.cfg.Boot.Bonds {
		b := &r.cfg.Boot.Bonds[i]
		check(r.bonds[b.Name].pos, "bonding "+b.Name, b.KNIName)
	}
}

// defaultWorkers are those of a file without worker blocks: the control side on
// CPU 0 and one worker on CPU 1 that serves every queue of every device. Where
// there is no CPU 1, the director warns and lets that worker run on any.
func (r *reader) defaultWorkers() []spec.Worker {
	w := spec.Worker{Name: "cpu1", Type: typeSlave, CPU: 1}
	for _, d := range r.cfg.Boot.Devices {
		if r.bondOf(d.Name) == nil {
			w.Ports = append(w.Ports, spec.WorkerPort{Port: d.Name})
		}
	}
	for _, b := range r.cfg.Boot.Bonds {
		w.Ports = append(w.Ports, spec.WorkerPort{Port: b.Name})
	}
	return []spec.Worker{{Name: "cpu0", Type: typeMaster, CPU: 0}, w}
}

func (r *reader) checkWorkers() {
	onCPU := make(map[int]string)
	master, forwarding := "", 0
	for _, w := range r.cfg.Boot.Workers {
		at := r.workers[w.Name].pos
		if other, taken := onCPU[w.CPU]; taken {
			r.errorf(at, "worker %s has cpu_id %d, which worker %s has already: give each worker a CPU of its own", shown(w.Name), w.CPU, shown(other))
		}
		onCPU[w.CPU] = w.Name
		switch {
		case w.Type == typeSlave:
			forwarding++
		case master == "":
			master = w.Name
		default:
			r.errorf(at, "worker %s is a second master beside %s: make it a slave", shown(w.Name), shown(master))
		}
		if forwarding == maxWorkers+1 {
			r.errorf(at, "worker %s is one too many: at most %d workers forward packets", shown(w.Name), maxWorkers)
		}
	}
	if len(r.errors) > 0 {
		return // a worker whose block is wrong may be the one that is missed
	}
	if master == "" {
		r.errorf(r.whole, "no worker is of type master: add \"worker cpu0 { type master cpu_id 0 }\", each keyword on a line of its own")
	}
	if forwarding == 0 {
		r.errorf(r.whole, "no worker is of type slave, so none would forward packets: add one with its ports")
	}
}

// queue is a receive queue of a port.
type queue struct {
	port string
	id   int
}

// checkQueues looks at the ports of the workers: each exists, and each queue is
// served by one worker at most. What no worker lists is left to the director, and
// so is whether the interface has the queue.
func (r *reader) checkQueues() {
	b := &r.cfg.Boot
	served := make(map[queue]string)
	for i := range b.Workers {
		w := &b.Workers[i]
		listed := make(map[string]bool)
		for j := range w.Ports {
			p, at := &w.Ports[j], r.ports[i][j]
			if listed[p.Port] {
				r.errorf(at, "worker %s has port %s twice: put all its queues into one block", shown(w.Name), shown(p.Port))
				continue
			}
			listed[p.Port] = true
			_, device := r.devices[p.Port]
			_, bond := r.bonds[p.Port]
			switch b := r.bondOf(p.Port); {
			case !device && !bond:
				r.noSuchPort(at, w.Name, p.Port)
				continue
			case b != nil:
				r.errorf(at, "worker %s serves %s, which is a slave of %s: name %s here, and the worker serves that queue of all its slaves", shown(w.Name), p.Port, b.Name, b.Name)
				continue
			}
			r.serve(at, w.Name, served, p)
		}
	}
}

func (r *reader) noSuchPort(at block.Pos, worker, port string) {
	names := make([]string, 0, len(r.devices))
	for _, d := range r.cfg.Boot.Devices {
		names = append(names, d.Name)
	}
	for name := range r.bonds {
		names = append(names, name)
	}
	if near := block.Nearest(port, names); near != "" {
		r.errorf(at, "worker %s serves %s, but there is no such device: did you mean %s?", shown(worker), shown(port), near)
		return
	}
	r.errorf(at, "worker %s serves %s, but there is no such device: add \"device %s { ... }\" to netif_defs", shown(worker), shown(port), shown(port))
}

// serve notes that a worker serves queues of a port.
func (r *reader) serve(at block.Pos, worker string, served map[queue]string, p *spec.WorkerPort) {
	for _, id := range p.RxQueues {
		q := queue{p.Port, id}
		if other, taken := served[q]; taken {
			r.errorf(at, "worker %s serves rx queue %d of %s, which worker %s serves already: give each queue to one worker", shown(worker), id, p.Port, shown(other))
		}
		served[q] = worker
	}
}
