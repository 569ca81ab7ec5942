package director

import (
	"slices"

	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/spec"
	"weir/internal/stat"
	"weir/internal/worker"
)

// Views of ports: what each is and counts.

// PortView is a port with its counts.
type PortView struct {
	Facts       port.Facts
	Link        *port.Link
	Switches    spec.Link
	Counters    port.Counters
	Queues      []QueueCount // by number
	Avail, Used uint64       // packet frames of the workers that serve it
	Twin        TwinView
	Bond        *BondView // of a bond
	Master      string    // of a member: its bond
}

// QueueCount is what a queue of a port that receives has received, sent and lost.
type QueueCount struct {
	Number   int
	Counters port.Counters
}

// Ports lists the ports in the order of dpvs.conf.
func (d *Director) Ports() ([]PortView, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ports := d.withMembers(d.ports)
	out := make([]PortView, len(ports))
	for i, p := range ports {
		l := p.link
		if l != nil {
			var err error
			if l, err = port.FindLink(l.Name); err != nil {
				return nil, err
			}
		}
		facts := p.facts
		if facts.Kind == port.Tunnel {
			facts.MTU = d.snapshot.Load().Ports[facts.ID].MTU
		}
		out[i] = PortView{Facts: facts, Link: l, Switches: d.spec.Links[p.facts.Name], Bond: d.viewOf(p)}
		if v := out[i].Bond; v != nil {
			out[i].Link = &port.Link{Up: !out[i].Switches.Down, Carrier: v.Carries, SpeedMbps: v.Mbps, FullDuplex: true}
		}
		if p.master != nil {
			out[i].Master = p.master.port.facts.Name
			out[i].Switches = p.switches(d.spec)
		}
		if p.twin != nil {
			out[i].Twin = TwinView{p.facts.Name, p.twin.name, p.twin.TwinState}
		}
	}
	for i, p := range ports {
		if p.over != nil {
			out[i].Link = linkOver(&out[slices.Index(ports, p.over)], out[i].Switches)
		}
	}
	for i, p := range ports { // what a tunnel goes by is before it in the list, or another tunnel
		if under := d.underTunnel(p); under != nil {
			out[i].Link = linkOver(&out[slices.Index(ports, under)], out[i].Switches)
		}
	}
	err := d.ask(func(i int, w *worker.Worker) {
		for j, p := range ports {
			for _, q := range p.queues {
				if q.worker != i {
					continue
				}
				n := QueueCount{Number: q.number}
				q.queue.Counters(&n.Counters)
				out[j].Counters.Add(&n.Counters)
				if n.Number >= 0 {
					out[j].Queues = append(out[j].Queues, n)
				}
			}
			if p.facts.Kind != port.Real {
				addVirtual(&out[j].Counters, &w.Stats().Virtual[p.facts.ID])
			}
			if i == 0 {
				out[j].Counters.Drops[packet.PortRxNoQueue] = p.unserved()
			}
			out[j].Avail += uint64(w.Pool().FreeFrames())
			out[j].Used += uint64(w.Pool().Frames() - w.Pool().FreeFrames())
		}
	})
	for i, p := range ports {
		d.carried(p, d.ports, &out[i].Counters)
		slices.SortFunc(out[i].Queues, func(a, b QueueCount) int { return a.Number - b.Number })
	}
	return out, err
}

// linkOver is the link of a VLAN or a tunnel on a port: that port's, unless the device itself is
// off. nil: the port is in memory.
func linkOver(lower *PortView, s spec.Link) *port.Link {
	l := lower.Link
	if l == nil {
		return nil
	}
	return &port.Link{
		Up: !s.Down && !lower.Switches.Down && l.Up, Carrier: l.Carrier,
		SpeedMbps: l.SpeedMbps, FullDuplex: l.FullDuplex, Autoneg: l.Autoneg,
	}
}

// addVirtual adds what went through a port without queues of its own.
func addVirtual(c *port.Counters, n *stat.PortCount) {
	c.RxPackets += n.RxPackets
	c.RxBytes += n.RxBytes
	c.TxPackets += n.TxPackets
	c.TxBytes += n.TxBytes
}

// unserved is how many frames came on queues without a socket.
func (p *openPort) unserved() uint64 {
	if p.program == nil {
		return 0
	}
	return p.program.Unserved()
}
