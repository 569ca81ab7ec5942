package weir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"weir/api/client"
	"weir/api/weirv1"
)

// fake is a director that answers with what it was given.
type fake struct {
	weirv1.UnimplementedDirectorHandler

	stats   *weirv1.GetStatsResponse
	offload *weirv1.GetOffloadResponse
	workers []*weirv1.Worker
	lots    [][]*weirv1.Connection
	broken  error // ends the stream of connections
	refusal error // of a change

	mu  sync.Mutex
	set []string // "cpu1 true"
}

func (f *fake) GetStats(context.Context, *connect.Request[weirv1.GetStatsRequest]) (*connect.Response[weirv1.GetStatsResponse], error) {
	return connect.NewResponse(f.stats), nil
}

func (f *fake) GetOffload(context.Context, *connect.Request[weirv1.GetOffloadRequest]) (*connect.Response[weirv1.GetOffloadResponse], error) {
	return connect.NewResponse(f.offload), nil
}

func (f *fake) ListWorkers(context.Context, *connect.Request[weirv1.ListWorkersRequest]) (*connect.Response[weirv1.ListWorkersResponse], error) {
	return connect.NewResponse(&weirv1.ListWorkersResponse{Workers: f.workers}), nil
}

func (f *fake) SetWorker(_ context.Context, q *connect.Request[weirv1.SetWorkerRequest]) (*connect.Response[weirv1.SetWorkerResponse], error) {
	if f.refusal != nil {
		return nil, f.refusal
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.set = append(f.set, fmt.Sprint(q.Msg.Name, " ", q.Msg.Run))
	return connect.NewResponse(&weirv1.SetWorkerResponse{}), nil
}

func (f *fake) ListConnections(_ context.Context, _ *connect.Request[weirv1.ListConnectionsRequest], s *connect.ServerStream[weirv1.ListConnectionsResponse]) error {
	for _, lot := range f.lots {
		if err := s.Send(&weirv1.ListConnectionsResponse{Connections: lot}); err != nil {
			return err
		}
	}
	return f.broken
}

func (f *fake) GetVersion(context.Context, *connect.Request[weirv1.GetVersionRequest]) (*connect.Response[weirv1.GetVersionResponse], error) {
	return connect.NewResponse(&weirv1.GetVersionResponse{Version: "1.2.3", UptimeSeconds: 3723}), nil
}

func serve(t *testing.T, d weirv1.DirectorHandler) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(weirv1.NewDirectorHandler(d))
	server := &http.Server{Handler: mux}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return socket
}

// weir runs a command line against the director on socket.
func weir(t *testing.T, socket string, line string) (stdout string, err error) {
	t.Helper()
	root := &cobra.Command{Use: "weir", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(commands("/run/weir.sock", client.New(socket))...)
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(strings.Fields(line))
	err = root.ExecuteContext(t.Context())
	return out.String(), err
}

func someDirector() *fake {
	return &fake{
		stats: &weirv1.GetStatsResponse{
			Drops: []*weirv1.Drop{
				{Reason: "neigh_failed", Text: "the neighbour did not answer ARP", Total: 12, ByWorker: []uint64{12}},
				{Reason: "lb_table_full", Text: "never", Total: 0, ByWorker: []uint64{0, 0}},
				{Reason: "lb_no_dest", Text: "no usable real server: <all> gone", Total: 1<<64 - 1, ByWorker: []uint64{3, 4}},
			},
			Ports: []*weirv1.PortStats{
				{Device: "dpdk0", RxPackets: 1, RxBytes: 64, TxPackets: 200000, TxBytes: 12800000},
				{Device: "dpdk1", RxPackets: 200000, RxBytes: 12800000, TxPackets: 1, TxBytes: 64},
			},
			Gauges: []*weirv1.Gauge{{Name: "conns", Value: 5, Text: "connections now"}, {Name: "conns_max", Value: 1048576, Text: "conn_pool_size"}},
		},
		workers: []*weirv1.Worker{
			{Name: "cpu0", Type: "master", Running: true},
			{Name: "cpu1", Type: "slave", Cpu: 1, Running: true, Ipackets: 5, Opackets: 6, Dropped: 1,
				Queues: []*weirv1.Worker_Queue{{Device: "dpdk0"}, {Device: "dpdk1"}}},
			{Name: "cpu2", Type: "slave", Cpu: 2, ServedBy: "cpu1", Queues: []*weirv1.Worker_Queue{{Device: "dpdk0", Queue: 1}}},
			{Name: "cpu3", Type: "kni", Cpu: -1, ServedBy: "cpu3"},
		},
		lots: [][]*weirv1.Connection{
			{{Worker: 1, Protocol: weirv1.Protocol_PROTOCOL_TCP, TimeoutSeconds: 900, RemainingSeconds: 898, State: "TCP_EST",
				Client: "10.0.0.48:37177", Virtual: "10.0.0.100:80", Local: "192.168.100.200:1025", Real: "192.168.100.2:80"}},
			{},
			{{Worker: 2, Protocol: weirv1.Protocol_PROTOCOL_UDP, TimeoutSeconds: 300, RemainingSeconds: 1, State: "UDP_NORM",
				Client: "255.255.255.255:65535", Virtual: "10.0.0.100:53", Local: "192.168.100.200:1026", Real: "192.168.100.3:53"}},
		},
	}
}

const connText = `PROTO   STATE        EXPIRES  CLIENT                 VIRTUAL                LOCAL                  REAL                   WORKER
TCP     TCP_EST          898  10.0.0.48:37177        10.0.0.100:80          192.168.100.200:1025   192.168.100.2:80       1
UDP     UDP_NORM           1  255.255.255.255:65535  10.0.0.100:53          192.168.100.200:1026   192.168.100.3:53       2
`

const portsAndGauges = `
PORT   RX PACKETS  RX BYTES  TX PACKETS  TX BYTES
dpdk0           1        64      200000  12800000
dpdk1      200000  12800000           1        64

GAUGE        VALUE  MEANING
conns            5  connections now
conns_max  1048576  conn_pool_size
`

// TestCommands holds what each command prints.
func TestCommands(t *testing.T) {
	for _, tc := range []struct{ line, want string }{
		{"stats", `REASON                       COUNT  MEANING
neigh_failed                    12  the neighbour did not answer ARP
lb_no_dest    18446744073709551615  no usable real server: <all> gone
` + portsAndGauges},
		{"stats -v", `REASON                       COUNT  W0  W1  MEANING
neigh_failed                    12  12   0  the neighbour did not answer ARP
lb_no_dest    18446744073709551615   3   4  no usable real server: <all> gone
` + portsAndGauges},
		{"worker show", `NAME  PLANE    CPU  STATE                    QUEUES           RX PACKETS  TX PACKETS  DROPPED
cpu0  control    0  running                  none                      0           0        0
cpu1  data       1  running                  dpdk0:0 dpdk1:0           5           6        1
cpu2  data       2  stopped, served by cpu1  dpdk0:1                   0           0        0
cpu3  kni       -1  stopped                  none                      0           0        0
`},
		{"conn", connText},
		{"conn --json", `{"protocol":"TCP","state":"TCP_EST","timeout":900,"remaining":898,"client":"10.0.0.48:37177","virtual":"10.0.0.100:80","local":"192.168.100.200:1025","real":"192.168.100.2:80","worker":1}
{"protocol":"UDP","state":"UDP_NORM","timeout":300,"remaining":1,"client":"255.255.255.255:65535","virtual":"10.0.0.100:53","local":"192.168.100.200:1026","real":"192.168.100.3:53","worker":2}
`},
		{"version", "weir      dev\ndirector  1.2.3, up 1h2m3s\n"},
	} {
		t.Run(tc.line, func(t *testing.T) {
			got, err := weir(t, serve(t, someDirector()), tc.line)
			if err != nil || got != tc.want {
				t.Errorf("error %v, got\n%s\nwant\n%s", err, got, tc.want)
			}
		})
	}
}

// TestStatsJSON: counters are numbers and lists are never null.
func TestStatsJSON(t *testing.T) {
	d := someDirector()
	d.stats.Ports, d.stats.Gauges = nil, d.stats.Gauges[:1]
	d.stats.Drops = append(d.stats.Drops[1:], &weirv1.Drop{Reason: "pool_empty", Text: "t", Total: 1})
	d.stats.Punts = []*weirv1.Drop{{Reason: "kni_address", Text: "p", Total: 2, ByWorker: []uint64{2, 0}}}
	got, err := weir(t, serve(t, d), "stats --json")
	want := `{
  "drops": [
    {
      "reason": "lb_no_dest",
      "text": "no usable real server: <all> gone",
      "total": 18446744073709551615,
      "by_worker": [
        3,
        4
      ]
    },
    {
      "reason": "pool_empty",
      "text": "t",
      "total": 1,
      "by_worker": []
    }
  ],
  "punts": [
    {
      "reason": "kni_address",
      "text": "p",
      "total": 2,
      "by_worker": [
        2,
        0
      ]
    }
  ],
  "ports": [],
  "gauges": [
    {
      "name": "conns",
      "value": 5,
      "text": "connections now"
    }
  ]
}
`
	if err != nil || got != want {
		t.Errorf("error %v, got\n%s", err, got)
	}
}

// TestWorkerShowJSON: a worker without queues has [], and the names are ours.
func TestWorkerShowJSON(t *testing.T) {
	d := someDirector()
	d.workers = d.workers[:1]
	got, err := weir(t, serve(t, d), "worker show --json")
	if err != nil || !strings.Contains(got, `"queues": [],`) || !strings.Contains(got, `"plane": "control"`) {
		t.Errorf("error %v, got\n%s", err, got)
	}
}

// TestStatsNothingDropped: a clean director says so.
func TestStatsNothingDropped(t *testing.T) {
	for name, drops := range map[string][]*weirv1.Drop{"none": nil, "only zeros": {{Reason: "lb_no_dest"}}} {
		d := &fake{stats: &weirv1.GetStatsResponse{Drops: drops}}
		got, err := weir(t, serve(t, d), "stats -v")
		if err != nil || got != "no packet was dropped\n" {
			t.Errorf("%s: error %v, got %q", name, err, got)
		}
	}
}

// TestStatsPunts: what Linux got stands behind what was dropped.
func TestStatsPunts(t *testing.T) {
	d := &fake{stats: &weirv1.GetStatsResponse{Punts: []*weirv1.Drop{
		{Reason: "ip_multicast", Text: "multicast", Total: 7, ByWorker: []uint64{3, 4}}, {Reason: "kni_address", Text: "for Linux", Total: 12, ByWorker: []uint64{12, 0}},
	}}}
	for line, want := range map[string]string{
		"stats":    "no packet was dropped\n\nPUNT          COUNT  MEANING\nip_multicast      7  multicast\nkni_address      12  for Linux\n",
		"stats -v": "no packet was dropped\n\nPUNT          COUNT  W0  W1  MEANING\nip_multicast      7   3   4  multicast\nkni_address      12  12   0  for Linux\n",
	} {
		if got, err := weir(t, serve(t, d), line); err != nil || got != want {
			t.Errorf("%s: error %v, got\n%s", line, err, got)
		}
	}
}

// TestWorkerSwitch: stop and start ask for what they say, in silence.
func TestWorkerSwitch(t *testing.T) {
	d := someDirector()
	socket := serve(t, d)
	for _, line := range []string{"worker stop cpu1", "worker start cpu1"} {
		if got, err := weir(t, socket, line); err != nil || got != "" {
			t.Errorf("%s: error %v, got %q", line, err, got)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if got := strings.Join(d.set, ", "); got != "cpu1 false, cpu1 true" {
		t.Errorf("asked for %q", got)
	}
}

// TestErrors says what each failure is called.
func TestErrors(t *testing.T) {
	refusing := someDirector()
	refusing.refusal = connect.NewError(connect.CodeNotFound, errors.New("there is no worker cpu9"))
	running := serve(t, refusing)
	nobody := filepath.Join(t.TempDir(), "none")
	const unreachable = "cannot reach weir at /run/weir.sock: no such file or directory"
	for _, tc := range []struct{ line, socket, want string }{
		{"stats", nobody, unreachable},
		{"conn", nobody, unreachable},
		{"worker show", nobody, unreachable},
		{"worker stop cpu1", nobody, unreachable},
		{"worker stop cpu9", running, "there is no worker cpu9"},
		{"worker stop", running, "name one worker: weir worker stop NAME (`weir worker show' lists them)"},
		{"worker start a b", running, "name one worker: weir worker start NAME (`weir worker show' lists them)"},
		{"worker", running, "say what: weir worker show, stop NAME or start NAME"},
		{"worker halt cpu1", running, `unknown command "halt": write weir worker show, stop NAME or start NAME`},
		{"worker show cpu1", running, `unknown command "cpu1" for "weir worker show"`},
		{"stats now", running, `unknown command "now" for "weir stats"`},
		{"stats --frob", running, "unknown flag: --frob"},
	} {
		t.Run(tc.line, func(t *testing.T) {
			got, err := weir(t, tc.socket, tc.line)
			if err == nil || err.Error() != tc.want || got != "" {
				t.Errorf("got %q, error %v\nwant error %s", got, err, tc.want)
			}
		})
	}
	refusing.mu.Lock()
	defer refusing.mu.Unlock()
	if len(refusing.set) != 0 {
		t.Errorf("a refused line changed something: %v", refusing.set)
	}
}

// TestVersionWithoutDirector: that none runs is an answer.
func TestVersionWithoutDirector(t *testing.T) {
	got, err := weir(t, filepath.Join(t.TempDir(), "none"), "version")
	if err != nil || got != "weir      dev\ndirector  not running\n" {
		t.Errorf("error %v, got %q", err, got)
	}
}

// TestConnBreaks: what came before the director broke off is printed, and the
// failure is told.
func TestConnBreaks(t *testing.T) {
	d := someDirector()
	d.broken = connect.NewError(connect.CodeAborted, errors.New("the director is stopping"))
	got, err := weir(t, serve(t, d), "conn")
	if err == nil || err.Error() != "the director is stopping" || got != connText {
		t.Errorf("error %v, got\n%s", err, got)
	}
}

// closed is a reader of our output that has gone.
type closed struct{}

var errGone = errors.New("gone")

func (closed) Write([]byte) (int, error) { return 0, errGone }

// TestOutputLost: what could not be printed is a failure.
func TestOutputLost(t *testing.T) {
	dir := client.New(serve(t, someDirector()))
	for name, run := range map[string]func() error{
		"stats":       func() error { return Stats(t.Context(), dir, closed{}, StatsOptions{}) },
		"workers":     func() error { return Workers(t.Context(), dir, closed{}, false) },
		"connections": func() error { return Connections(t.Context(), dir, closed{}, false) },
		"version":     func() error { return Version(t.Context(), dir, closed{}, "v") },
	} {
		if err := run(); !errors.Is(err, errGone) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOffload: what the XDP engine does, or why there is none.
func TestOffload(t *testing.T) {
	for name, tc := range map[string]struct {
		answer     *weirv1.GetOffloadResponse
		line, want string
	}{
		"off": {&weirv1.GetOffloadResponse{Wanted: "off", Why: "dpvs.conf says offload off", ByWorkers: 7}, "offload",
			"offload off: the XDP engine does not run: dpvs.conf says offload off\nforwarded by XDP 0, by the workers 7\n"},
		"quiet": {&weirv1.GetOffloadResponse{Wanted: "auto", Running: true, Bytes: 5 << 20, Ports: []*weirv1.OffloadPort{{Device: "dpdk0"}}}, "offload", `offload auto: the XDP engine runs, 5 MiB with the flow table
forwarded by XDP 0, by the workers 0

PORT   TAKEN  SENT  LOST  AHEAD  WHAT COMES  WHAT LEAVES
dpdk0      0     0     0      0  XDP         XDP
`},
		"busy": {someOffload(), "offload", `offload on: the XDP engine runs, 1540 MiB with the flow table
forwarded by XDP 30, by the workers 4

PORT   TAKEN  SENT  LOST  AHEAD  WHAT COMES             WHAT LEAVES
dpdk0     10    20     3      8  XDP                    workers: it is down
dpdk1     20    10     0      0  workers: it is a bond  XDP

PORT   LEFT TO WORKERS  PACKETS  MEANING
dpdk0  no_flow                4  first packets
`},
		"JSON": {someOffload(), "offload --json", `{
  "wanted": "on",
  "running": true,
  "why": "",
  "bytes": 1614807040,
  "by_xdp": 30,
  "by_workers": 4,
  "ports": [
    {
      "port": "dpdk0",
      "not_taken": "",
      "not_sent": "it is down",
      "taken": 10,
      "sent": 20,
      "full": 1,
      "refused": 2,
      "ahead": 8,
      "passed": {
        "no_flow": 4
      }
    },
    {
      "port": "dpdk1",
      "not_taken": "it is a bond",
      "not_sent": "",
      "taken": 20,
      "sent": 10,
      "full": 0,
      "refused": 0,
      "ahead": 0,
      "passed": {}
    }
  ]
}
`},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := weir(t, serve(t, &fake{offload: tc.answer}), tc.line); err != nil || got != tc.want {
				t.Errorf("error %v, got\n%s\nwant\n%s", err, got, tc.want)
			}
		})
	}
}

func someOffload() *weirv1.GetOffloadResponse {
	return &weirv1.GetOffloadResponse{Wanted: "on", Running: true, Bytes: 1540 << 20, ByXdp: 30, ByWorkers: 4, Ports: []*weirv1.OffloadPort{
		{Device: "dpdk0", NotSent: "it is down", Taken: 10, Sent: 20, Full: 1, Refused: 2, Ahead: 8, Passed: []*weirv1.Drop{{Reason: "no_flow", Text: "first packets", Total: 4}}},
		{Device: "dpdk1", NotTaken: "it is a bond", Taken: 20, Sent: 10},
	}}
}
