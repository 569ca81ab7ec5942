package director

import "weir/internal/stat"

// Figure is one of the director's figures about itself and its workers.
type Figure struct {
	Name  string
	Value uint64
	Text  string // what it means
	Grows bool   // it counts since the start, or since what was pinned was new; else it is a state
}

// Figures are those of `weir stats`, in its order; xdp is what the second engine forwarded.
func Figures(g Gauges, workers []WorkerView, xdp uint64) []Figure {
	var sum stat.Worker
	var free, frames, held, resting int
	for i := range workers {
		w := &workers[i]
		sum.Add(&w.Stats)
		free += w.PoolFree
		frames += w.PoolTotal
		held += w.Held
		resting += w.Resting
	}
	return []Figure{
		{"conns", g.Conns, "connections", false},
		{"conns_max", g.ConnsMax, "most connections at once (conn_pool_size)", false},
		{"conns_half_open", g.HalfOpen, "connections whose handshake is not complete", false},
		{"conns_new", sum.NewConns, "connections made since the start", true},
		{"conns_expired", sum.Expired, "connections that ended by their timeout", true},
		{"conns_resting", uint64(resting), "ended connections that wait a second to be forgotten", false},
		{"conns_half_open_evicted", sum.HalfOpenEvicted, "half-open connections ended early because the table was full", true},
		{"templates_made", sum.TemplatesMade, "persistence templates made", true},
		{"templates_moved", sum.TemplatesMoved, "persistence templates whose real server was unavailable and that got another", true},
		{"templates_evicted", sum.TemplatesEvicted, "persistence templates that went before their time to make room", true},
		{"templates_full", sum.TemplatesFull, "connections made without a persistence template: the store was full", true},
		{"conns_quiescent_ended", sum.QuiescentEnded, "connections ended because their real server was deleted, had no weight or was inhibited (--expire-quiescent)", true},
		{"conns_taken_over", sum.TakenOver, "connections that began in their middle: DR and tunnel, a scheduler that hashes, and they came by another director before", true},
		{"dests_down", sum.DestsDown, "times that a real server was found down (--dest-check)", true},
		{"templates", g.Templates, "persistence templates in use", false},
		{"templates_max", g.TemplatesMax, "persistence templates at most", false},
		{"mappings", g.Mappings, "endpoint-independent mappings of SNAT in use", false},
		{"mappings_max", g.MappingsMax, "endpoint-independent mappings of SNAT at most", false},
		{"forwarded", sum.Forwarded + xdp, "packets forwarded", true},
		{"forwarded_workers", sum.Forwarded, "of them, by the workers", true},
		{"forwarded_xdp", xdp, "of them, in the driver, by XDP (weir offload)", true},
		{"answered", sum.Answered, "packets the director made itself: ARP, neighbour discovery, ICMP, RST", true},
		{"punt", sum.Punted(), "packets given to the host's own kernel, on .kni twins", true},
		{"from_kni", sum.FromLinux, "packets of the host's own kernel, sent on .kni twins, that left", true},
		{"arp_consumed", sum.Consumed, "ARP packets learnt from", true},
		{"nd_consumed", sum.ConsumedND, "neighbour discovery (IPv6) learnt from", true},
		{"toa_sent", sum.TOASent, "packets that told the real server the client's address", true},
		{"toa_failed", sum.TOAFailed, "packets that had no room for the client's address", true},
		{"uoa_sent", sum.UOASent, "datagrams that told the real server the client's address", true},
		{"uoa_failed", sum.UOAFailed, "datagrams that should have told it and could not: out of packet memory", true},
		{"proxy_sent", sum.ProxySent, "packets that carried a PROXY header", true},
		{"proxy_taken", sum.ProxyTaken, "PROXY headers of clients that were taken out or replaced", true},
		{"sent_ahead", sum.SentAhead, "packets made to tell the client's address ahead of one that had no room for it", true},
		{"claims_taken", sum.ClaimsTaken, "TOA and UOA that clients claimed for themselves, taken out", true},
		{"rst_sent", sum.RSTSent, "TCP resets sent", true},
		{"express", sum.Express, "of the forwarded packets, those of established connections about which nothing was to decide", true},
		{"routed_anew", sum.RoutedAnew, "flows that looked their route up again", true},
		{"csum_completed", sum.CsumCompleted, "checksums completed in software", true},
		{"gso_segmented", sum.GSOSegmented, "super-frames cut up in software", true},
		{"reassembled", sum.Reassembled, "datagrams put together from IP fragments", true},
		{"fragments_joined", sum.FragmentsJoined, "IP fragments they came in", true},
		{"fragmented", sum.Fragmented, "datagrams that left in IP fragments", true},
		{"fragments_made", sum.FragmentsMade, "IP fragments they left in", true},
		{"neighbours", g.Neighbours, "neighbours known", false},
		{"neighbours_max", g.NeighboursMax, "most neighbours", false},
		{"packets_waiting", uint64(held), "packets that wait for a neighbour's answer", false},
		{"frames_free", uint64(free), "free packet frames (pktpool_size)", false},
		{"frames", uint64(frames), "packet frames in all", false},
	}
}
