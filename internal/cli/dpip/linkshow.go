package dpip

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"connectrpc.com/connect"

	"weir/api/weirv1"
)

// showLinks prints the ports, or dev alone, once or repeatedly.
func showLinks(dev string) action {
	return func(ctx context.Context, s *session) error {
		return s.watch(ctx, func() (listing, error) {
			links, err := s.dir.ListLinks(ctx, connect.NewRequest(&weirv1.ListLinksRequest{Device: dev}))
			if err != nil {
				return nil, err
			}
			var l listing
			for _, link := range links.Msg.Links {
				l = append(l, linkEntry(link))
			}
			if !s.opts.verbose {
				return l, nil
			}
			workers, err := s.dir.ListWorkers(ctx, connect.NewRequest(&weirv1.ListWorkersRequest{}))
			if err != nil {
				return nil, err
			}
			for i, link := range links.Msg.Links {
				l[i].detail = linkDetail(link, workers.Msg.Workers)
				if s.opts.stats {
					l[i].detail += linkExtended(link)
				}
			}
			return l, nil
		})
	}
}

// linkEntry lays a link out:
//
//	1: dpdk0: socket 0 mtu 1500 rx-queue 8 tx-queue 8
//	    UP 10000 Mbps full-duplex auto-nego promisc
//	    addr A0:36:9F:74:EC:F0 OF_RX_IP_CSUM OF_TX_IP_CSUM
func linkEntry(l *weirv1.Link) entry {
	var b strings.Builder
	b.WriteString(strconv.Itoa(int(l.Number)) + ": " + l.Name + ": socket " + strconv.Itoa(int(l.Socket)) +
		" mtu " + strconv.Itoa(int(l.Mtu)) + " rx-queue " + strconv.Itoa(int(l.RxQueues)) +
		" tx-queue " + strconv.Itoa(int(l.TxQueues)) + "\n")
	b.WriteString("    " + strings.Join(linkFlags(l), " ") + "\n")
	b.WriteString("    " + strings.Join(append([]string{"addr", strings.ToUpper(l.Addr)}, l.Offloads...), " ") + "\n")

	st := l.Stats
	if st == nil {
		st = &weirv1.LinkStats{}
	}
	return entry{
		name: l.Name,
		text: b.String(),
		totals: []figures{
			{{"ipackets", st.Ipackets}, {"opackets", st.Opackets}, {"ibytes", st.Ibytes}, {"obytes", st.Obytes}},
			{{"ierrors", st.Ierrors}, {"oerrors", st.Oerrors}, {"imissed", st.Imissed}, {"rx_nombuf", st.RxNombuf}},
			{{"mbuf-avail", st.MbufAvail}, {"mbuf-inuse", st.MbufInuse}},
		},
		rates: []figures{
			{{"ipackets/pps", st.Ipackets}, {"opackets/pps", st.Opackets}, {"ibytes/Bps", st.Ibytes}, {"obytes/Bps", st.Obytes}},
			{{"ierrors/pps", st.Ierrors}, {"oerrors/pps", st.Oerrors}, {"imissed/pps", st.Imissed}, {"rx_nombuf/pps", st.RxNombuf}},
		},
	}
}

// linkFlags returns the words of a link's second line, in DPVS's order. It is
// DPVS that spells "foward2kni"; scripts look for it.
func linkFlags(l *weirv1.Link) []string {
	words := []string{
		either(l.Up, "UP", "DOWN"),
		strconv.Itoa(int(l.Speed)), "Mbps",
		either(l.FullDuplex, "full-duplex", "half-duplex"),
		either(l.AutoNego, "auto-nego", "fixed-nego"),
	}
	for _, flag := range []struct {
		on   bool
		word string
	}{
		{l.Promisc, "promisc"}, {l.Allmulticast, "allmulticast"}, {l.Forward2Kni, "foward2kni"},
		{l.TcEgress, "tc-egress"}, {l.TcIngress, "tc-ingress"}, {l.Lldp, "lldp"},
	} {
		if flag.on {
			words = append(words, flag.word)
		}
	}
	return words
}

func either(cond bool, yes, no string) string {
	if cond {
		return yes
	}
	return no
}

// linkDetail is what -v adds: what drives the port, and who serves its queues.
// DPVS's tables of DPDK's limits have no like here.
func linkDetail(l *weirv1.Link, workers []*weirv1.Worker) string {
	pci := l.PciAddr
	if pci == "" {
		pci = "none"
	}
	var b strings.Builder
	b.WriteString(row(32, []string{"pci_addr", "driver_name", "interface"}))
	b.WriteString(row(32, []string{pci, l.Driver, l.Interface}))
	if l.Kni != "" {
		b.WriteString(row(32, []string{"kni_name", "kni_state"}))
		b.WriteString(row(32, []string{l.Kni, either(l.KniUp, "UP", "DOWN")}))
	}
	if l.Master != "" {
		b.WriteString(row(32, []string{"bond"}))
		b.WriteString(row(32, []string{l.Master}))
	}
	b.WriteString("    Queue Configuration:\n")
	for _, w := range workers {
		for _, q := range w.Queues {
			if q.Device == l.Name {
				b.WriteString("        queue " + strconv.Itoa(int(q.Queue)) + ": " + w.Name + " on cpu" + strconv.Itoa(int(w.Cpu)) + "\n")
			}
		}
	}
	return b.String()
}

// linkExtended is what -s and -v together add: DPDK's extended statistics, by the names that it
// has for them, and for what each queue lost names like the port's.
func linkExtended(l *weirv1.Link) string {
	st := l.GetStats()
	all := figures{
		{"rx_good_packets", st.GetIpackets()}, {"tx_good_packets", st.GetOpackets()}, {"rx_good_bytes", st.GetIbytes()}, {"tx_good_bytes", st.GetObytes()},
		{"rx_missed_errors", st.GetImissed()}, {"rx_errors", st.GetIerrors()}, {"tx_errors", st.GetOerrors()}, {"rx_mbuf_allocation_errors", st.GetRxNombuf()},
	}
	for _, q := range l.Queues {
		n := strconv.Itoa(int(q.Queue)) + "_"
		rx, tx, st := "rx_q"+n, "tx_q"+n, q.GetStats()
		all = append(all,
			figure{rx + "packets", st.GetIpackets()}, figure{rx + "bytes", st.GetIbytes()}, figure{rx + "errors", st.GetIerrors()},
			figure{rx + "missed_errors", st.GetImissed()}, figure{rx + "mbuf_allocation_errors", st.GetRxNombuf()},
			figure{tx + "packets", st.GetOpackets()}, figure{tx + "bytes", st.GetObytes()}, figure{tx + "errors", st.GetOerrors()})
	}
	var b strings.Builder
	b.WriteString("    xstats list:\n")
	for i, f := range all {
		fmt.Fprintf(&b, "        %-6d%s: %d\n", i, f.name, f.value)
	}
	return b.String()
}
