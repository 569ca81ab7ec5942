package dpip

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"connectrpc.com/connect"

	"weir/api/weirv1"
)

// allCPUs asks for the workers of all CPUs.
const allCPUs = -1

// The titles of the groups of `link show cpu`, spelt as DPVS spells them.
const (
	controlGroup = "<< Controll Plane >>"
	dataGroup    = "<< Data Plane >>"
)

// showWorkers prints the workers, or those of one CPU, once or repeatedly.
func showWorkers(cpu int32) action {
	return func(ctx context.Context, s *session) error {
		return s.watch(ctx, func() (listing, error) {
			workers, err := s.dir.ListWorkers(ctx, connect.NewRequest(&weirv1.ListWorkersRequest{}))
			if err != nil {
				return nil, err
			}
			var l listing
			for _, w := range workers.Msg.Workers {
				if cpu == allCPUs || w.Cpu == cpu {
					l = append(l, workerEntry(w))
				}
			}
			if len(l) == 0 && cpu != allCPUs {
				return nil, fmt.Errorf("no worker runs on cpu%d: `dpip link show cpu' lists the workers", cpu)
			}
			// Control before data ("C" < "D"); within a group as the director lists them.
			slices.SortStableFunc(l, func(a, b entry) int { return cmp.Compare(a.group, b.group) })
			return l, nil
		})
	}
}

// workerEntry lays a worker out:
//
//	1: cpu1: worker1
//	    queues dpdk0:0 dpdk1:0
func workerEntry(w *weirv1.Worker) entry {
	queues := "none"
	if len(w.Queues) > 0 {
		names := make([]string, len(w.Queues))
		for i, q := range w.Queues {
			names[i] = fmt.Sprintf("%s:%d", q.Device, q.Queue)
		}
		queues = strings.Join(names, " ")
	}
	text := fmt.Sprintf("%d: cpu%d: %s\n    queues %s\n", w.Index, w.Cpu, w.Name, queues)
	if !w.Running {
		text += "    stopped"
		if w.ServedBy != "" && w.ServedBy != w.Name {
			text += ", its queues are served by " + w.ServedBy
		}
		text += "\n"
	}
	group := controlGroup
	if w.Type == "slave" {
		group = dataGroup
	}
	return entry{
		group: group,
		name:  w.Name,
		text:  text,
		totals: []figures{
			{{"lcore_loop", w.Breaths}, {"pktburst", w.Bursts}, {"dropped", w.Dropped}},
			{{"ipackets", w.Ipackets}, {"ibytes", w.Ibytes}, {"opackets", w.Opackets}, {"obytes", w.Obytes}},
		},
		rates: []figures{
			{{"lcore_loop/s", w.Breaths}, {"pktburst/s", w.Bursts}, {"dropped/pps", w.Dropped}},
			{{"ipackets/pps", w.Ipackets}, {"ibytes/Bps", w.Ibytes}, {"opackets/pps", w.Opackets}, {"obytes/Bps", w.Obytes}},
		},
	}
}
