package worker_test

import (
	"net/netip"
	"sync/atomic"
	"testing"

	"weir/internal/flow"
	"weir/internal/lb"
	"weir/internal/lb/laddr"
	"weir/internal/lb/proto"
	"weir/internal/lb/service"
	"weir/internal/lb/template"
	"weir/internal/neigh"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/port/pipe"
	"weir/internal/route"
	"weir/internal/spec"
	"weir/internal/testkit/words"
	"weir/internal/worker"
)

// bare makes a worker of its parts, on one port without queue, with these routes.
func bare(t *testing.T, routes *route.Table) (*worker.Worker, *pipe.Port) {
	t.Helper()
	flows, err := flow.New(flow.Config{Conns: 1, Workers: 1, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(flows.Close)
	locals, err := laddr.NewSet(1025, 1030)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := packet.NewPool(128, 1)
	if err != nil {
		t.Fatal(err)
	}
	p := pipe.New(0, "wan", macWan, 1500)
	ports := &[port.Max]port.Facts{0: p.Facts()}
	var snapshot atomic.Pointer[worker.Snapshot]
	snapshot.Store(&worker.Snapshot{
		Ports: ports, Routes: routes,
		LB: lb.Tables{Services: service.NewTable(nil), Routes: routes, Timeouts: proto.NewTimeouts(spec.DefaultTimeouts())},
	})
	w := worker.New(worker.Config{
		Name: "bare", Pool: pool, Shared: &lb.Shared{Flows: flows, Locals: locals, Templates: template.New(1, 1)}, Snapshot: &snapshot, Conflicts: &neigh.Conflicts{},
	})
	t.Cleanup(func() {
		w.Close()
		if n := pool.InUse(); n != 0 {
			t.Errorf("%d packets are lost", n)
		}
		_ = pool.Close()
	})
	return w, p
}

// TestPortWithoutQueue: a packet for a port that nobody sends on.
func TestPortWithoutQueue(t *testing.T) {
	routes, err := route.Build([]route.Port{{ID: 0, Name: "wan", MTU: 1500}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	w, _ := bare(t, routes)
	w.Refresh()
	if !w.Neigh().Announce(0, netip.MustParseAddr("10.0.0.1")) {
		t.Fatal("nothing announced")
	}
	w.Breathe()
	// The tray is emptied only for ports that have a way out; the packet must
	// not stay on it for ever.
	for range 100 {
		w.Refresh()
		w.Neigh().Announce(0, netip.MustParseAddr("10.0.0.1"))
		w.Breathe()
	}
	if n := w.Stats().Drops[packet.PortDown]; n != 101 || w.Pool().InUse() != 0 {
		t.Errorf("%d of 101 are counted as dropped for %s, %d are out of the pool", n, packet.PortDown, w.Pool().InUse())
	}
}

// TestDefect: a worker whose routes are missing, which can't be, loses the packet
// that meets the defect and nothing else.
func TestDefect(t *testing.T) {
	w, p := bare(t, nil)
	q, err := p.Queue(0, w.Pool())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = q.Close() }()
	w.AddQueue(0, q)
	for _, line := range []string{
		"eth type=0x1234 / data=50",
		"ip 1.2.3.4 > 10.0.0.1 / udp 1 > 2",
		"eth type=0x1234 / data=50",
		"ip 1.2.3.4 > 10.0.0.1 / udp 1 > 3",
		"eth type=0x1234 / data=50",
	} {
		f, err := words.Parse(line, nil, macGW, words.MAC(macWan))
		if err != nil {
			t.Fatal(err)
		}
		p.Inject(f.Data)
	}
	for range 5 {
		w.Breathe()
	}
	if d := &w.Stats().Drops; d[packet.WalkFault] != 2 || d[packet.EtherType] != 3 {
		t.Errorf("%d packets met the defect and %d others were judged, want 2 and 3", d[packet.WalkFault], d[packet.EtherType])
	}
}

// TestHandoffFull: the worker that sends on a port does not come to its turn, and
// the other has more for it than the ring between them holds.
func TestHandoffFull(t *testing.T) {
	w := newWorld(t, 2, 2048, 100, nil)
	sender, slow := w.Lanes()[1], w.Lanes()[0]
	f, err := words.Parse("ip 192.168.1.2 > 1.2.3.4 / udp 1 > 2", nil, macRS, words.MAC(macLan))
	if err != nil {
		t.Fatal(err)
	}
	const extra = 10
	for range 1024 + extra {
		w.put(w.lan, 1, f)
		sender.Breathe()
	}
	if n := sender.Stats().Drops[packet.HandoffFull]; n != extra {
		t.Errorf("%d packets found the ring full, want %d", n, extra)
	}
	sent := 0
	for range 100 {
		slow.Breathe()
		sender.Breathe()
		sent += len(w.wan.Take())
	}
	if sent != 1024 {
		t.Errorf("%d of 1024 packets were sent in the end", sent)
	}
	w.check()
}
