package metrics

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"weir/internal/director"
	"weir/internal/packet"
	"weir/internal/spec"
)

// collector asks the director when it is asked.
type collector struct {
	d       *director.Director
	version string
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("weir_"+name, help, labels, nil)
}

var (
	build = desc("build_info", "Always 1; the version is a label.", "version")

	dropped = desc("dropped_packets_total", "Packets that were lost, by reason: docs/drops.md.", "reason")
	punted  = desc("punted_packets_total", "Packets given to the host's own kernel, by what they would have been dropped for.", "reason")

	rxPackets = desc("device_receive_packets_total", "Packets that came in.", "device")
	rxBytes   = desc("device_receive_bytes_total", "Bytes of frames that came in.", "device")
	txPackets = desc("device_transmit_packets_total", "Packets that left.", "device")
	txBytes   = desc("device_transmit_bytes_total", "Bytes of frames that left.", "device")
	linkUp    = desc("device_up", "1 if the device is up and its link has a carrier.", "device")

	weight   = desc("dest_weight", "Weight of a real server; 0: it gets no new connections.", "service", "dest")
	active   = desc("dest_active_connections", "Established connections of a real server.", "service", "dest")
	inactive = desc("dest_inactive_connections", "Its other connections.", "service", "dest")
	conns    = desc("dest_connections_total", "Connections that a real server was given.", "service", "dest")
	packets  = desc("dest_packets_total", "Packets to (in) and from (out) a real server.", "service", "dest", "direction")
	bytes    = desc("dest_bytes_total", "Bytes of IP packets to (in) and from (out) a real server.", "service", "dest", "direction")

	localUsed   = desc("local_ports_used", "Ports of a local address in use, toward all real servers.", "address", "device")
	localFree   = desc("local_ports_free", "Ports of a local address that are free.", "address", "device")
	localMissed = desc("local_ports_missed_total", "Connections for which a local address had no port.", "address", "device")
)

// Describe names what is the same for every director; the figures' names are in
// director.Figures.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		build, dropped, punted, rxPackets, rxBytes, txPackets, txBytes, linkUp,
		weight, active, inactive, conns, packets, bytes, localUsed, localFree, localMissed,
	} {
		to <- d
	}
	for _, f := range director.Figures(director.Gauges{}, nil, 0) {
		to <- figure(&f)
	}
}

// figure is the description of one of the director's figures.
func figure(f *director.Figure) *prometheus.Desc {
	name := f.Name
	if f.Grows {
		name += "_total"
	}
	return desc(name, strings.ToUpper(f.Text[:1])+f.Text[1:]+".")
}

// Collect asks the director. What it can't tell is an error of the request.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	state := func(d *prometheus.Desc, n float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, n, labels...)
	}
	state(build, 1, c.version)
	if err := c.walk(count, state); err != nil {
		to <- prometheus.NewInvalidMetric(dropped, err)
	}
	if err := c.services(count, state); err != nil {
		to <- prometheus.NewInvalidMetric(weight, err)
	}
	for _, a := range c.d.Addresses() {
		ip := a.Prefix.Addr()
		if used, free, missed, is := c.d.LocalCounts(ip); is {
			state(localUsed, float64(used), ip.String(), a.Port)
			state(localFree, float64(free), ip.String(), a.Port)
			count(localMissed, missed, ip.String(), a.Port)
		}
	}
}

type (
	counting func(d *prometheus.Desc, n uint64, labels ...string)
	stating  func(d *prometheus.Desc, n float64, labels ...string)
)

// walk tells of packets: every reason, that nothing was lost for too.
func (c *collector) walk(count counting, state stating) error {
	workers, err := c.d.Workers()
	if err != nil {
		return err
	}
	ports, err := c.d.Ports()
	if err != nil {
		return err
	}
	xdp, err := c.d.Offload()
	if err != nil {
		return err
	}
	for r := packet.NoReason; r < packet.NumReasons; r++ {
		var drops, punts uint64
		for i := range workers {
			drops += workers[i].Stats.Drops[r] + workers[i].Ports.Drops[r]
			punts += workers[i].Stats.Punts[r]
		}
		if r.Text() != "" {
			count(dropped, drops, r.String())
		}
		if punts > 0 || r.PuntText() != "" {
			count(punted, punts, r.String())
		}
	}
	for i := range ports {
		p := &ports[i]
		n := &p.Counters
		count(rxPackets, n.RxPackets, p.Facts.Name)
		count(rxBytes, n.RxBytes, p.Facts.Name)
		count(txPackets, n.TxPackets, p.Facts.Name)
		count(txBytes, n.TxBytes, p.Facts.Name)
		if p.Link == nil {
			continue // in memory
		}
		up := 0.0
		if p.Link.Carrier && !p.Switches.Down {
			up = 1
		}
		state(linkUp, up, p.Facts.Name)
	}
	for _, f := range director.Figures(c.d.Gauges(), workers, xdp.Forwarded) {
		if f.Grows {
			count(figure(&f), f.Value)
		} else {
			state(figure(&f), float64(f.Value))
		}
	}
	return nil
}

// services tells of real servers.
func (c *collector) services(count counting, state stating) error {
	all, err := c.d.Services(func(spec.ServiceKey) bool { return true })
	if err != nil {
		return err
	}
	for i := range all {
		service := all[i].ServiceKey.String()
		for j := range all[i].Dests {
			d := &all[i].Dests[j]
			dest := d.Addr.String()
			state(weight, float64(d.Weight), service, dest)
			state(active, float64(d.Active), service, dest)
			state(inactive, float64(d.Inactive), service, dest)
			count(conns, d.Count.Conns, service, dest)
			count(packets, d.Count.InPkts, service, dest, "in")
			count(packets, d.Count.OutPkts, service, dest, "out")
			count(bytes, d.Count.InBytes, service, dest, "in")
			count(bytes, d.Count.OutBytes, service, dest, "out")
		}
	}
	return nil
}
