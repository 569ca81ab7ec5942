package weir

import (
	"context"
	"fmt"
	"io"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"weir/api/weirv1"
)

func offloadCommand(dir weirv1.DirectorClient) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "offload",
		Short: "Show what is forwarded in the driver, by XDP, and why not",
		Long: `Show which engine forwarded how many packets, what the XDP engine does on each
port, and for what it left packets to the workers. dpvs.conf switches it:
global_defs { offload on|off|auto }.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return Offload(cmd.Context(), dir, cmd.OutOrStdout(), asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

// Offload prints what the two engines did.
func Offload(ctx context.Context, dir weirv1.DirectorClient, w io.Writer, asJSON bool) error {
	answer, err := dir.GetOffload(ctx, connect.NewRequest(&weirv1.GetOffloadRequest{}))
	if err != nil {
		return err
	}
	m := answer.Msg
	if asJSON {
		return writeJSON(w, offloadOf(m))
	}
	state := "runs, " + decimal(m.Bytes>>20) + " MiB with the flow table"
	if !m.Running {
		state = "does not run: " + m.Why
	}
	if _, err := fmt.Fprintf(w, "offload %s: the XDP engine %s\n", m.Wanted, state); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "forwarded by XDP %d, by the workers %d\n", m.ByXdp, m.ByWorkers); err != nil || !m.Running {
		return err
	}
	t := newTable("PORT", ">TAKEN", ">SENT", ">LOST", ">AHEAD", "WHAT COMES", "WHAT LEAVES")
	passed := newTable("PORT", "LEFT TO WORKERS", ">PACKETS", "MEANING")
	left := false
	for _, p := range m.Ports {
		t.row(p.Device, decimal(p.Taken), decimal(p.Sent), decimal(p.Full+p.Refused), decimal(p.Ahead), byXDP(p.NotTaken), byXDP(p.NotSent))
		for _, r := range p.Passed {
			passed.row(p.Device, r.Reason, decimal(r.Total), r.Text)
			left = true
		}
	}
	if err := t.writeAfterBlank(w); err != nil || !left {
		return err
	}
	return passed.writeAfterBlank(w)
}

// byXDP says who forwards.
func byXDP(not string) string {
	if not == "" {
		return "XDP"
	}
	return "workers: " + not
}

// offload is the JSON of `weir offload --json`.
type offload struct {
	Wanted    string        `json:"wanted"`
	Running   bool          `json:"running"`
	Why       string        `json:"why"`
	Bytes     uint64        `json:"bytes"`
	ByXDP     uint64        `json:"by_xdp"`
	ByWorkers uint64        `json:"by_workers"`
	Ports     []offloadPort `json:"ports"`
}

type offloadPort struct {
	Port     string            `json:"port"`
	NotTaken string            `json:"not_taken"`
	NotSent  string            `json:"not_sent"`
	Taken    uint64            `json:"taken"`
	Sent     uint64            `json:"sent"`
	Full     uint64            `json:"full"`
	Refused  uint64            `json:"refused"`
	Ahead    uint64            `json:"ahead"`
	Passed   map[string]uint64 `json:"passed"`
}

func offloadOf(m *weirv1.GetOffloadResponse) offload {
	o := offload{Wanted: m.Wanted, Running: m.Running, Why: m.Why, Bytes: m.Bytes, ByXDP: m.ByXdp, ByWorkers: m.ByWorkers, Ports: []offloadPort{}}
	for _, p := range m.Ports {
		v := offloadPort{p.Device, p.NotTaken, p.NotSent, p.Taken, p.Sent, p.Full, p.Refused, p.Ahead, map[string]uint64{}}
		for _, r := range p.Passed {
			v.Passed[r.Reason] = r.Total
		}
		o.Ports = append(o.Ports, v)
	}
	return o
}
