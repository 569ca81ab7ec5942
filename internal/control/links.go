package control

import (
	"context"
	"net"

	"connectrpc.com/connect"

	"weir/api/weirv1"
	"weir/internal/director"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/spec"
	"weir/internal/stat"
)

// Links and workers.

// ListLinks answers rpc ListLinks.
func (s *Server) ListLinks(_ context.Context, r *connect.Request[weirv1.ListLinksRequest]) (*connect.Response[weirv1.ListLinksResponse], error) {
	if s.director.Spec().BondOf(r.Msg.Device) == nil { // members are listed too
		if err := s.known(r.Msg.Device); err != nil {
			return nil, err
		}
	}
	ports, err := s.director.Ports()
	if err != nil {
		return nil, failure(err)
	}
	out := &weirv1.ListLinksResponse{}
	for i := range ports {
		if r.Msg.Device == "" || r.Msg.Device == ports[i].Facts.Name {
			out.Links = append(out.Links, fromPort(&ports[i]))
		}
	}
	return connect.NewResponse(out), nil
}

func fromPort(p *director.PortView) *weirv1.Link {
	f := &p.Facts
	m := &weirv1.Link{
		Number: uint32(f.ID) + 1, Name: f.Name, Interface: f.IfName, Driver: f.Driver, Addr: net.HardwareAddr(f.MAC[:]).String(),
		Mtu: uint32(f.MTU), RxQueues: uint32(f.RxQueues), TxQueues: uint32(f.TxQueues),
		Up:      !p.Switches.Down,
		Promisc: p.Switches.Promisc, Allmulticast: p.Switches.AllMulticast,
		Stats: fromCounters(&p.Counters),
	}
	m.Stats.MbufAvail, m.Stats.MbufInuse = p.Avail, p.Used
	for i := range p.Queues {
		m.Queues = append(m.Queues, &weirv1.LinkQueue{Queue: uint32(p.Queues[i].Number), Stats: fromCounters(&p.Queues[i].Counters)})
	}
	if l := p.Link; l != nil { // a port in memory has no Linux interface
		m.Up, m.Speed, m.FullDuplex, m.AutoNego, m.PciAddr = l.Up && l.Carrier, uint32(l.SpeedMbps), l.FullDuplex, l.Autoneg, l.Bus
	}
	m.Bond, m.Master = fromBond(p.Bond), p.Master
	m.Kni, m.KniUp = p.Twin.Name, p.Twin.Up
	if f.TxCsum {
		m.Offloads = []string{"OF_TX_IP_CSUM", "OF_TX_TCP_CSUM", "OF_TX_UDP_CSUM"}
	}
	return m
}

// fromCounters groups drops as DPDK's figures do.
func fromCounters(c *port.Counters) *weirv1.LinkStats {
	return &weirv1.LinkStats{
		Ipackets: c.RxPackets, Opackets: c.TxPackets, Ibytes: c.RxBytes, Obytes: c.TxBytes,
		Ierrors: c.Drops[packet.PortRxTooBig] + c.Drops[packet.PortRxTruncated] + c.Drops[packet.PortRxError],
		Oerrors: c.Drops[packet.PortTxError] + c.Drops[packet.PortTxTooBig] + c.Drops[packet.PortTxFull] + c.Drops[packet.PortDown],
		Imissed: c.Drops[packet.PortRxRingFull] + c.Drops[packet.PortRxNoQueue], RxNombuf: c.Drops[packet.PortRxNoFrame] + c.Drops[packet.PoolEmpty],
	}
}

// SetLink answers rpc SetLink.
func (s *Server) SetLink(_ context.Context, r *connect.Request[weirv1.SetLinkRequest]) (*connect.Response[weirv1.SetLinkResponse], error) {
	return change[weirv1.SetLinkResponse](s, func(c *spec.Spec) error { return c.SetLink(r.Msg.Device, r.Msg.Item, r.Msg.Value) })
}

// ListWorkers answers rpc ListWorkers.
func (s *Server) ListWorkers(context.Context, *connect.Request[weirv1.ListWorkersRequest]) (*connect.Response[weirv1.ListWorkersResponse], error) {
	workers, err := s.director.Workers()
	if err != nil {
		return nil, failure(err)
	}
	out := &weirv1.ListWorkersResponse{}
	for i := range workers {
		w := &workers[i]
		m := &weirv1.Worker{
			Index: uint32(i), Name: w.Name, Type: w.Type, Cpu: int32(w.CPU), Running: w.Running, ServedBy: w.ServedBy,
			Breaths: w.Stats.Breaths, Bursts: w.Stats.Bursts, Ipackets: w.Ports.RxPackets, Ibytes: w.Ports.RxBytes,
			Opackets: w.Ports.TxPackets, Obytes: w.Ports.TxBytes,
		}
		for r := range w.Stats.Drops {
			m.Dropped += w.Stats.Drops[r] + w.Ports.Drops[r]
		}
		for _, q := range w.Queues {
			m.Queues = append(m.Queues, &weirv1.Worker_Queue{Device: q.Port, Queue: uint32(q.Number)})
		}
		out.Workers = append(out.Workers, m)
	}
	return connect.NewResponse(out), nil
}

// SetWorker answers rpc SetWorker.
func (s *Server) SetWorker(_ context.Context, r *connect.Request[weirv1.SetWorkerRequest]) (*connect.Response[weirv1.SetWorkerResponse], error) {
	if err := s.director.SetWorker(r.Msg.Name, r.Msg.Run); err != nil {
		return nil, failure(err)
	}
	return connect.NewResponse(&weirv1.SetWorkerResponse{}), nil
}

// GetStats answers rpc GetStats.
func (s *Server) GetStats(context.Context, *connect.Request[weirv1.GetStatsRequest]) (*connect.Response[weirv1.GetStatsResponse], error) {
	workers, err := s.director.Workers()
	if err != nil {
		return nil, failure(err)
	}
	ports, err := s.director.Ports()
	if err != nil {
		return nil, failure(err)
	}
	out := &weirv1.GetStatsResponse{}
	for r := packet.NoReason; r < packet.NumReasons; r++ {
		d := &weirv1.Drop{Reason: r.String(), Text: r.Text()}
		for i := range workers {
			n := workers[i].Stats.Drops[r] + workers[i].Ports.Drops[r]
			d.Total += n
			d.ByWorker = append(d.ByWorker, n)
		}
		if d.Total > 0 {
			out.Drops = append(out.Drops, d)
		}
	}
	for r := range packet.NumReasons {
		d := &weirv1.Drop{Reason: r.String(), Text: r.PuntText()}
		for i := range workers {
			d.Total += workers[i].Stats.Punts[r]
			d.ByWorker = append(d.ByWorker, workers[i].Stats.Punts[r])
		}
		if d.Total > 0 {
			out.Punts = append(out.Punts, d)
		}
	}
	for i := range ports {
		c := &ports[i].Counters
		out.Ports = append(out.Ports, &weirv1.PortStats{
			Device: ports[i].Facts.Name, RxPackets: c.RxPackets, RxBytes: c.RxBytes, TxPackets: c.TxPackets, TxBytes: c.TxBytes,
		})
	}
	xdp, err := s.director.Offload()
	if err != nil {
		return nil, failure(err)
	}
	for _, f := range director.Figures(s.director.Gauges(), workers, xdp.Forwarded) {
		out.Gauges = append(out.Gauges, &weirv1.Gauge{Name: f.Name, Value: f.Value, Text: f.Text})
	}
	for i := range workers {
		w := &workers[i]
		out.Ipv6 = append(out.Ipv6, &weirv1.IPv6Counters{Worker: w.Name, Cpu: uint32(max(w.CPU, 0)), Counters: ipv6Counters(&w.Stats)})
	}
	if xdp.Running {
		of := stat.Worker{In6: xdp.In6.Packets, In6Bytes: xdp.In6.RxBytes, Out6: xdp.Out6.Packets, Out6Bytes: xdp.Out6.TxBytes}
		out.Ipv6 = append(out.Ipv6, &weirv1.IPv6Counters{Worker: "xdp", Cpu: ^uint32(0), Counters: ipv6Counters(&of)})
	}
	return connect.NewResponse(out), nil
}

// GetOffload answers rpc GetOffload.
func (s *Server) GetOffload(context.Context, *connect.Request[weirv1.GetOffloadRequest]) (*connect.Response[weirv1.GetOffloadResponse], error) {
	v, err := s.director.Offload()
	if err != nil {
		return nil, failure(err)
	}
	workers, err := s.director.Workers()
	if err != nil {
		return nil, failure(err)
	}
	out := &weirv1.GetOffloadResponse{Wanted: string(v.Wanted), Running: v.Running, Why: v.Why, Bytes: uint64(v.Bytes), ByXdp: v.Forwarded}
	for i := range workers {
		out.ByWorkers += workers[i].Stats.Forwarded
	}
	for i := range v.Ports {
		p := &v.Ports[i]
		o := &weirv1.OffloadPort{Device: p.Name, NotTaken: p.NotTaken, NotSent: p.NotSent, Taken: p.Taken, Sent: p.Sent, Full: p.Full, Refused: p.Refused, Ahead: p.Ahead}
		for why, n := range p.Passed {
			if n > 0 {
				name, text := director.Passed(why)
				o.Passed = append(o.Passed, &weirv1.Drop{Reason: name, Text: text, Total: n})
			}
		}
		out.Ports = append(out.Ports, o)
	}
	return connect.NewResponse(out), nil
}
