package weir

import (
	"context"
	"fmt"
	"io"
	"strings"

	"connectrpc.com/connect"

	"weir/api/weirv1"
)

// Workers lists the workers with their queues and counters.
func Workers(ctx context.Context, dir weirv1.DirectorClient, w io.Writer, asJSON bool) error {
	answer, err := dir.ListWorkers(ctx, connect.NewRequest(&weirv1.ListWorkersRequest{}))
	if err != nil {
		return err
	}
	if asJSON {
		list := []worker{}
		for _, m := range answer.Msg.Workers {
			list = append(list, workerOf(m))
		}
		return writeJSON(w, list)
	}
	t := newTable("NAME", "PLANE", ">CPU", "STATE", "QUEUES", ">RX PACKETS", ">TX PACKETS", ">DROPPED")
	for _, m := range answer.Msg.Workers {
		v := workerOf(m)
		queues := strings.Join(v.Queues, " ")
		if queues == "" {
			queues = "none"
		}
		t.row(v.Name, v.Plane, decimal(v.CPU), v.state(), queues,
			decimal(v.RxPackets), decimal(v.TxPackets), decimal(v.Dropped))
	}
	return t.write(w)
}

// SetWorker starts (run) or stops the worker called name.
func SetWorker(ctx context.Context, dir weirv1.DirectorClient, name string, run bool) error {
	_, err := dir.SetWorker(ctx, connect.NewRequest(&weirv1.SetWorkerRequest{Name: name, Run: run}))
	return err
}

// worker is a worker as it is listed, and its JSON.
type worker struct {
	Name      string   `json:"name"`
	Plane     string   `json:"plane"` // "control", "data", or dpvs.conf's own word
	CPU       int32    `json:"cpu"`
	Running   bool     `json:"running"`
	ServedBy  string   `json:"served_by"`
	Queues    []string `json:"queues"` // "dpdk0:0"
	Breaths   uint64   `json:"breaths"`
	Bursts    uint64   `json:"bursts"`
	RxPackets uint64   `json:"rx_packets"`
	RxBytes   uint64   `json:"rx_bytes"`
	TxPackets uint64   `json:"tx_packets"`
	TxBytes   uint64   `json:"tx_bytes"`
	Dropped   uint64   `json:"dropped"`
}

func workerOf(m *weirv1.Worker) worker {
	v := worker{
		Name: m.Name, Plane: m.Type, CPU: m.Cpu, Running: m.Running, ServedBy: m.ServedBy,
		Queues: []string{}, Breaths: m.Breaths, Bursts: m.Bursts, RxPackets: m.Ipackets, RxBytes: m.Ibytes,
		TxPackets: m.Opackets, TxBytes: m.Obytes, Dropped: m.Dropped,
	}
	switch m.Type {
	case "master":
		v.Plane = "control"
	case "slave":
		v.Plane = "data"
	}
	for _, q := range m.Queues {
		v.Queues = append(v.Queues, fmt.Sprintf("%s:%d", q.Device, q.Queue))
	}
	return v
}

// state says whether the worker runs, and who does its work if it does not.
func (v worker) state() string {
	switch {
	case v.Running:
		return "running"
	case v.ServedBy == "" || v.ServedBy == v.Name:
		return "stopped"
	}
	return "stopped, served by " + v.ServedBy
}
