package control

import (
	"context"
	"net"

	"connectrpc.com/connect"

	"weir/api/weirv1"
	"weir/internal/director"
	"weir/internal/packet"
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
	f, c := &p.Facts, &p.Counters
	m := &weirv1.Link{
		Number: uint32(f.ID) + 1, Name: f.Name, Interface: f.IfName, Driver: f.Driver, Addr: net.HardwareAddr(f.MAC[:]).String(),
		Mtu: uint32(f.MTU), RxQueues: uint32(f.RxQueues), TxQueues: uint32(f.TxQueues),
		Up:      !p.Switches.Down,
		Promisc: p.Switches.Promisc, Allmulticast: p.Switches.AllMulticast,
		Stats: &weirv1.LinkStats{
			Ipackets: c.RxPackets, Opackets: c.TxPackets, Ibytes: c.RxBytes, Obytes: c.TxBytes,
			Ierrors: c.Drops[packet.PortRxTooBig] + c.Drops[packet.PortRxTruncated] + c.Drops[packet.PortRxError],
			Oerrors: c.Drops[packet.PortTxError] + c.Drops[packet.PortTxTooBig] + c.Drops[packet.PortTxFull] + c.Drops[packet.PortDown],
			Imissed: c.Drops[packet.PortRxRingFull] + c.Drops[packet.PortRxNoQueue], RxNombuf: c.Drops[packet.PortRxNoFrame] + c.Drops[packet.PoolEmpty],
			MbufAvail: p.Avail, MbufInuse: p.Used,
		},
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
	out.Gauges = gauges(s.director.Gauges(), workers, xdp.Forwarded)
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
		o := &weirv1.OffloadPort{Device: p.Name, NotTaken: p.NotTaken, NotSent: p.NotSent, Taken: p.Taken, Sent: p.Sent, Full: p.Full, Refused: p.Refused}
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

// gauges are the figures of the director and of its workers; xdp is what the second
// engine forwarded.
func gauges(g director.Gauges, workers []director.WorkerView, xdp uint64) []*weirv1.Gauge {
	var sum director.WorkerView
	for i := range workers {
		w := &workers[i]
		sum.Stats.Add(&w.Stats)
		sum.PoolFree += w.PoolFree
		sum.PoolTotal += w.PoolTotal
		sum.Held += w.Held
		sum.Resting += w.Resting
	}
	var out []*weirv1.Gauge
	for _, v := range []struct {
		name  string
		value uint64
		text  string
	}{
		{"conns", g.Conns, "connections"},
		{"conns_max", g.ConnsMax, "most connections at once (conn_pool_size)"},
		{"conns_half_open", g.HalfOpen, "connections whose handshake is not complete"},
		{"conns_new", sum.Stats.NewConns, "connections made since the start"},
		{"conns_expired", sum.Stats.Expired, "connections that ended by their timeout"},
		{"conns_resting", uint64(sum.Resting), "ended connections that wait a second to be forgotten"},
		{"conns_half_open_evicted", sum.Stats.HalfOpenEvicted, "half-open connections ended early because the table was full"},
		{"templates_made", sum.Stats.TemplatesMade, "persistence templates made"},
		{"templates_moved", sum.Stats.TemplatesMoved, "persistence templates whose real server was unavailable and that got another"},
		{"templates_evicted", sum.Stats.TemplatesEvicted, "persistence templates that went before their time to make room"},
		{"templates_full", sum.Stats.TemplatesFull, "connections made without a persistence template: the store was full"},
		{"conns_quiescent_ended", sum.Stats.QuiescentEnded, "connections ended because their real server was deleted, had no weight or was inhibited (--expire-quiescent)"},
		{"conns_taken_over", sum.Stats.TakenOver, "connections that began in their middle: DR and tunnel, a scheduler that hashes, and they came by another director before"},
		{"dests_down", sum.Stats.DestsDown, "times that a real server was found down (--dest-check)"},
		{"templates", g.Templates, "persistence templates in use"},
		{"templates_max", g.TemplatesMax, "persistence templates at most"},
		{"mappings", g.Mappings, "endpoint-independent mappings of SNAT in use"},
		{"mappings_max", g.MappingsMax, "endpoint-independent mappings of SNAT at most"},
		{"forwarded", sum.Stats.Forwarded + xdp, "packets forwarded"},
		{"forwarded_workers", sum.Stats.Forwarded, "of them, by the workers"},
		{"forwarded_xdp", xdp, "of them, in the driver, by XDP (weir offload)"},
		{"answered", sum.Stats.Answered, "packets the director made itself: ARP, neighbour discovery, ICMP, RST"},
		{"punt", sum.Stats.Punted(), "packets given to the host's own kernel, on .kni twins"},
		{"from_kni", sum.Stats.FromLinux, "packets of the host's own kernel, sent on .kni twins, that left"},
		{"arp_consumed", sum.Stats.Consumed, "ARP packets learnt from"},
		{"nd_consumed", sum.Stats.ConsumedND, "neighbour discovery (IPv6) learnt from"},
		{"toa_sent", sum.Stats.TOASent, "packets that told the real server the client's address"},
		{"toa_failed", sum.Stats.TOAFailed, "packets that had no room for the client's address"},
		{"uoa_sent", sum.Stats.UOASent, "datagrams that told the real server the client's address"},
		{"uoa_failed", sum.Stats.UOAFailed, "datagrams that should have told it and could not: out of packet memory"},
		{"proxy_sent", sum.Stats.ProxySent, "packets that carried a PROXY header"},
		{"proxy_taken", sum.Stats.ProxyTaken, "PROXY headers of clients that were taken out or replaced"},
		{"sent_ahead", sum.Stats.SentAhead, "packets made to tell the client's address ahead of one that had no room for it"},
		{"claims_taken", sum.Stats.ClaimsTaken, "TOA and UOA that clients claimed for themselves, taken out"},
		{"rst_sent", sum.Stats.RSTSent, "TCP resets sent"},
		{"express", sum.Stats.Express, "of the forwarded packets, those of established connections about which nothing was to decide"},
		{"routed_anew", sum.Stats.RoutedAnew, "flows that looked their route up again"},
		{"csum_completed", sum.Stats.CsumCompleted, "checksums completed in software"},
		{"gso_segmented", sum.Stats.GSOSegmented, "super-frames cut up in software"},
		{"reassembled", sum.Stats.Reassembled, "datagrams put together from IP fragments"},
		{"fragments_joined", sum.Stats.FragmentsJoined, "IP fragments they came in"},
		{"fragmented", sum.Stats.Fragmented, "datagrams that left in IP fragments"},
		{"fragments_made", sum.Stats.FragmentsMade, "IP fragments they left in"},
		{"neighbours", g.Neighbours, "neighbours known"},
		{"neighbours_max", g.NeighboursMax, "most neighbours"},
		{"packets_waiting", uint64(sum.Held), "packets that wait for a neighbour's answer"},
		{"frames_free", uint64(sum.PoolFree), "free packet frames (pktpool_size)"},
		{"frames", uint64(sum.PoolTotal), "packet frames in all"},
	} {
		out = append(out, &weirv1.Gauge{Name: v.name, Value: v.value, Text: v.text})
	}
	return out
}
