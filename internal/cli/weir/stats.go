package weir

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"connectrpc.com/connect"

	"weir/api/weirv1"
)

// StatsOptions says how Stats prints.
type StatsOptions struct {
	Verbose bool // a column for each worker
	JSON    bool // one JSON object; Verbose changes nothing then
}

// Stats prints the drop reasons that are not zero, in the order of the walk, then
// what was given to Linux, the counters of the ports and the gauges.
func Stats(ctx context.Context, dir weirv1.DirectorClient, w io.Writer, o StatsOptions) error {
	answer, err := dir.GetStats(ctx, connect.NewRequest(&weirv1.GetStatsRequest{}))
	if err != nil {
		return err
	}
	answer.Msg.Drops = slices.DeleteFunc(answer.Msg.Drops, func(d *weirv1.Drop) bool { return d.Total == 0 })
	if o.JSON {
		return writeJSON(w, statsOf(answer.Msg))
	}
	if err := writeDrops(w, answer.Msg.Drops, o.Verbose); err != nil {
		return err
	}
	if len(answer.Msg.Punts) > 0 {
		if err := countTable("PUNT", answer.Msg.Punts, o.Verbose).writeAfterBlank(w); err != nil {
			return err
		}
	}
	if err := writePorts(w, answer.Msg.Ports); err != nil {
		return err
	}
	return writeGauges(w, answer.Msg.Gauges)
}

func writeDrops(w io.Writer, drops []*weirv1.Drop, perWorker bool) error {
	if len(drops) == 0 {
		_, err := fmt.Fprintln(w, "no packet was dropped")
		return err
	}
	return countTable("REASON", drops, perWorker).write(w)
}

// countTable is a table of counters, with a column for each worker if wanted.
func countTable(head string, drops []*weirv1.Drop, perWorker bool) *table {
	workers := 0
	if perWorker {
		for _, d := range drops {
			workers = max(workers, len(d.ByWorker))
		}
	}
	heading := []string{head, ">COUNT"}
	for i := range workers {
		heading = append(heading, fmt.Sprintf(">W%d", i))
	}
	t := newTable(append(heading, "MEANING")...)
	for _, d := range drops {
		cells := []string{d.Reason, decimal(d.Total)}
		for i := range workers {
			n := uint64(0)
			if i < len(d.ByWorker) {
				n = d.ByWorker[i]
			}
			cells = append(cells, decimal(n))
		}
		t.row(append(cells, d.Text)...)
	}
	return t
}

func writePorts(w io.Writer, ports []*weirv1.PortStats) error {
	if len(ports) == 0 {
		return nil
	}
	t := newTable("PORT", ">RX PACKETS", ">RX BYTES", ">TX PACKETS", ">TX BYTES")
	for _, p := range ports {
		t.row(p.Device, decimal(p.RxPackets), decimal(p.RxBytes), decimal(p.TxPackets), decimal(p.TxBytes))
	}
	return t.writeAfterBlank(w)
}

func writeGauges(w io.Writer, gauges []*weirv1.Gauge) error {
	if len(gauges) == 0 {
		return nil
	}
	t := newTable("GAUGE", ">VALUE", "MEANING")
	for _, g := range gauges {
		t.row(g.Name, decimal(g.Value), g.Text)
	}
	return t.writeAfterBlank(w)
}

// stats is the JSON of `weir stats --json`. Protobuf's own JSON would make
// strings of the counters.
type stats struct {
	Drops  []drop      `json:"drops"`
	Punts  []drop      `json:"punts"`
	Ports  []portStats `json:"ports"`
	Gauges []gauge     `json:"gauges"`
}

type drop struct {
	Reason   string   `json:"reason"`
	Text     string   `json:"text"`
	Total    uint64   `json:"total"`
	ByWorker []uint64 `json:"by_worker"`
}

type portStats struct {
	Port      string `json:"port"`
	RxPackets uint64 `json:"rx_packets"`
	RxBytes   uint64 `json:"rx_bytes"`
	TxPackets uint64 `json:"tx_packets"`
	TxBytes   uint64 `json:"tx_bytes"`
}

type gauge struct {
	Name  string `json:"name"`
	Value uint64 `json:"value"`
	Text  string `json:"text"`
}

// statsOf converts the answer; a list without entries is [] and not null.
func statsOf(m *weirv1.GetStatsResponse) stats {
	s := stats{Drops: []drop{}, Punts: []drop{}, Ports: []portStats{}, Gauges: []gauge{}}
	for _, d := range m.Drops {
		s.Drops = append(s.Drops, drop{d.Reason, d.Text, d.Total, append([]uint64{}, d.ByWorker...)})
	}
	for _, p := range m.Punts {
		s.Punts = append(s.Punts, drop{p.Reason, p.Text, p.Total, append([]uint64{}, p.ByWorker...)})
	}
	for _, p := range m.Ports {
		s.Ports = append(s.Ports, portStats{p.Device, p.RxPackets, p.RxBytes, p.TxPackets, p.TxBytes})
	}
	for _, g := range m.Gauges {
		s.Gauges = append(s.Gauges, gauge{g.Name, g.Value, g.Text})
	}
	return s
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
