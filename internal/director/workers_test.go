package director

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/port/afpacket"
	"weir/internal/port/afxdp"
	"weir/internal/spec"
	"weir/internal/worker"
)

// running says which worker's thread serves whom.
func (b *small) running() string {
	b.t.Helper()
	ws, err := b.Workers()
	if err != nil {
		b.t.Fatal(err)
	}
	var out []string
	for _, w := range ws {
		state := "off"
		if w.Running {
			state = "on"
		}
		out = append(out, w.Name+" "+state+" by "+w.ServedBy)
	}
	return strings.Join(out, ", ")
}

func TestSetWorker(t *testing.T) {
	b := newSmall(t, shape{threads: true, workers: 3, lan: []int{0, 1, 2}, wan: []int{0, 1, 2}})
	for _, step := range []struct {
		name string
		run  bool
		code spec.Code // 0: not refused
		want string    // state; or a word of the sentence
	}{
		{"cpu9", false, spec.NotExists, "no such worker: cpu9"},
		{"cpu1", true, spec.Exists, "cpu1 is running already"},
		{"cpu1", false, 0, "cpu1 off by cpu2, cpu2 on by cpu2, cpu3 on by cpu3"},
		{"cpu1", false, spec.Exists, "cpu1 is stopped already"},
		// What it carried for others goes with its own.
		{"cpu2", false, 0, "cpu1 off by cpu3, cpu2 off by cpu3, cpu3 on by cpu3"},
		{"cpu3", false, spec.Busy, "cpu3 is the last one running"},
		{"cpu1", true, 0, "cpu1 on by cpu1, cpu2 off by cpu3, cpu3 on by cpu3"},
		{"cpu3", false, 0, "cpu1 on by cpu1, cpu2 off by cpu1, cpu3 off by cpu1"},
		{"cpu2", true, 0, "cpu1 on by cpu1, cpu2 on by cpu2, cpu3 off by cpu1"},
		{"cpu3", true, 0, "cpu1 on by cpu1, cpu2 on by cpu2, cpu3 on by cpu3"},
	} {
		before := b.running()
		err := b.SetWorker(step.name, step.run)
		var r *spec.Refusal
		switch {
		case step.code == 0 && err != nil:
			t.Fatalf("%s to %v: %v", step.name, step.run, err)
		case step.code == 0:
			if got := b.running(); got != step.want {
				t.Errorf("%s to %v: %s, want %s", step.name, step.run, got, step.want)
			}
		default:
			if !errors.As(err, &r) || r.Code != step.code || r.Object != "worker" || !strings.Contains(r.Why, step.want) {
				t.Errorf("%s to %v: %#v, want code %d and %q", step.name, step.run, err, step.code, step.want)
			}
			if got := b.running(); got != before {
				t.Errorf("a refusal changed %s to %s", before, got)
			}
		}
	}
}

func TestSetOnlyWorker(t *testing.T) {
	b := newSmall(t, shape{threads: true})
	var r *spec.Refusal
	if err := b.SetWorker("cpu1", false); !errors.As(err, &r) || r.Code != spec.Busy {
		t.Errorf("the only worker: %v", err)
	}
}

// Workers that start and stop lose no packet: as many leave as come, whether
// workers send themselves or give their packets to others.
func TestSetWorkerUnderTraffic(t *testing.T) {
	for _, tc := range []struct {
		name     string
		lan, wan []int
	}{
		{"a queue of each port for each worker", []int{0, 1}, []int{0, 1}},
		{"a port for each worker", []int{1}, []int{0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newSmall(t, shape{threads: true, workers: 2, lan: tc.lan, wan: tc.wan})
			b.change(twoArm())
			b.lan.Take()
			b.wan.Take()
			const total, window = 6000, 200
			sent, came := 0, 0
			collect := func() {
				for _, f := range b.lan.Take() {
					if f[12] == 8 && f[13] == 0 {
						came++
					}
				}
			}
			swaps := []struct {
				name string
				run  bool
			}{{"cpu1", false}, {"cpu1", true}, {"cpu2", false}, {"cpu2", true}}
			for step := 0; came < total; step++ {
				for ; sent < total && sent < came+window; sent++ {
					f := frame(t, macGW, macWAN, fmt.Sprintf("ip 1.2.3.4 > 10.0.0.100 / udp %d > 53 data=4", 20000+sent%300))
					if !b.wan.InjectAt(sent%len(tc.wan), f) {
						t.Fatal("the wire is full")
					}
				}
				if s := swaps[step%4]; sent < total {
					if err := b.SetWorker(s.name, s.run); err != nil {
						t.Fatal(err)
					}
					collect()
					continue
				}
				before := came
				eventually(t, fmt.Sprintf("%d of %d packets have come", came, total), func() bool { collect(); return came > before || came == total })
			}
			if n := b.dropped(packet.EtherOtherHost); came != total || n != 0 {
				t.Errorf("%d of %d packets came, %d were dropped", came, total, n)
			}
		})
	}
}

// A worker that hangs is found out by whoever asks; the others go on.
func TestHungWorker(t *testing.T) {
	b := newSmall(t, shape{threads: true, workers: 2, lan: []int{0, 1}, wan: []int{0, 1}})
	if err := b.Alive(); err != nil {
		t.Fatal(err)
	}
	hung, goOn := make(chan struct{}), make(chan struct{})
	go func() {
		_ = b.workers[1].Do(context.Background(), func(*worker.Worker) { close(hung); <-goOn })
	}()
	<-hung
	err := b.Alive()
	if err == nil || !strings.Contains(err.Error(), "worker cpu2 does not answer") || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a hung worker: %v", err)
	}
	close(goOn)
	if err := b.Alive(); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// The queues of an interface are shared out as the worker blocks say, and what
// they leave open goes round.
func TestShare(t *testing.T) {
	on := func(dev string, queues ...int) []spec.WorkerPort {
		return []spec.WorkerPort{{Port: dev, RxQueues: queues}}
	}
	none := []spec.WorkerPort{}
	const xdp, packets = "afxdp", "afpacket"
	for _, tc := range []struct {
		name   string
		driver string
		queues int
		lanes  [][]spec.WorkerPort
		want   []int
		wrong  string
	}{
		{"one queue, one worker", xdp, 1, [][]spec.WorkerPort{none}, []int{0}, ""},
		{"one queue, two workers", xdp, 1, [][]spec.WorkerPort{none, none}, []int{0}, ""},
		{"nobody names the port: all share", xdp, 5, [][]spec.WorkerPort{none, none}, []int{0, 1, 0, 1, 0}, ""},
		{"two name the port without queues", xdp, 4, [][]spec.WorkerPort{on("p"), none, on("p")}, []int{0, 2, 0, 2}, ""},
		{"all named", xdp, 2, [][]spec.WorkerPort{on("p", 1), on("p", 0)}, []int{1, 0}, ""},
		{"some named, the rest goes round who names the port", xdp, 4, [][]spec.WorkerPort{on("p", 2), on("p"), none}, []int{0, 1, 0, 0}, ""},
		{"another port's queues", xdp, 2, [][]spec.WorkerPort{on("other", 0, 1), none}, []int{0, 1}, ""},
		{"one worker for all", xdp, 3, [][]spec.WorkerPort{none, on("p")}, []int{1, 1, 1}, ""},
		{"one queue to two workers: the later one", xdp, 1, [][]spec.WorkerPort{on("p", 0), on("p", 0)}, []int{1}, ""},
		{"a queue that is not there", xdp, 2, [][]spec.WorkerPort{on("p", 2)}, nil, "worker w0 serves queue 2 of p, but eth9 has 2 (ethtool -l eth9)"},
		{"packet sockets: as many as workers", packets, 1, [][]spec.WorkerPort{none, none, none}, []int{0, 1, 2}, ""},
		{"packet sockets: more queues than workers", packets, 4, [][]spec.WorkerPort{none, none}, []int{0, 1, 0, 1}, ""},
		{"packet sockets: those that name the port", packets, 1, [][]spec.WorkerPort{on("p"), none, on("p")}, []int{0, 2}, ""},
		{"packet sockets: numbers beyond the interface's", packets, 1, [][]spec.WorkerPort{on("p", 0), on("p", 1)}, []int{0, 1}, ""},
		{"packet sockets: a gap in the numbers", packets, 1, [][]spec.WorkerPort{on("p", 3), none}, []int{0, 0, 0, 0}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := &openPort{device: spec.Device{Name: "p"}, link: &port.Link{Name: "eth9"}, facts: port.Facts{Name: "p", RxQueues: tc.queues}}
			if tc.driver == xdp {
				p.program = &afxdp.Program{}
			} else {
				p.group = &afpacket.Group{}
			}
			var lanes []spec.Worker
			for i, ports := range tc.lanes {
				lanes = append(lanes, spec.Worker{Name: fmt.Sprintf("w%d", i), Type: "slave", Ports: ports})
			}
			got, err := p.share(lanes)
			if tc.wrong != "" {
				if err == nil || err.Error() != tc.wrong {
					t.Errorf("%v, want %q", err, tc.wrong)
				}
				return
			}
			if err != nil || !slices.Equal(got, tc.want) {
				t.Errorf("%v, %v, want %v", got, err, tc.want)
			}
		})
	}
}

// What each worker serves is what the view says.
func TestWorkersView(t *testing.T) {
	b := newSmall(t, shape{workers: 2, lan: []int{0, 1, 1}, wan: []int{1}})
	ws, err := b.Workers()
	if err != nil {
		t.Fatal(err)
	}
	want := [][]QueueView{{{"lan", 0}}, {{"lan", 1}, {"lan", 2}, {"wan", 0}}}
	for i, w := range ws {
		if !slices.Equal(w.Queues, want[i]) || w.PoolTotal != 2048 || w.PoolFree != 2048 || w.Type != "slave" {
			t.Errorf("worker %s: %+v", w.Name, w)
		}
	}
}
