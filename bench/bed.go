package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"weir/internal/clock"
	"weir/internal/flow"
	"weir/internal/lb"
	"weir/internal/lb/laddr"
	"weir/internal/lb/proto"
	"weir/internal/lb/sched"
	"weir/internal/lb/service"
	"weir/internal/neigh"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/port/pipe"
	"weir/internal/route"
	"weir/internal/spec"
	"weir/internal/wire"
	"weir/internal/worker"
)

const (
	lan = 0
	wan = 1
)

var (
	vip      = netip.MustParseAddr("10.0.0.100")
	rip      = netip.MustParseAddr("192.168.100.2")
	gateway  = netip.MustParseAddr("10.0.0.1")
	portMACs = [2]port.MAC{{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}}
	peerMACs = [2]port.MAC{{2, 0, 0, 0, 1, 1}, {2, 0, 0, 0, 1, 2}}
)

const servicePort = 80

// bed is a worker of a director between two pipes, with one service and one real
// server.
type bed struct {
	shared   *lb.Shared
	worker   *worker.Worker
	pool     *packet.Pool
	snapshot *atomic.Pointer[worker.Snapshot]
	queues   [2][]*pipe.Queue // of each side: of a bond, its members'
	closers  []io.Closer      // of these, and of bonds
	locals   []netip.Addr
	guest    bool          // the flow table is another bed's
	away     time.Duration // in which time stood still for the worker
	clock    func() uint64 // ns; nil: the monotonic clock
}

// now is the worker's clock.
func (b *bed) now() uint64 {
	if b.clock != nil {
		return b.clock()
	}
	return clock.Nanos() - uint64(b.away)
}

// since is how much of the worker's time went by.
func (b *bed) since(from uint64) time.Duration { return time.Duration(b.now() - from) }

// keepHouse does what the director does on another processor meanwhile: it takes the pages
// that local ports will come back to. For the worker no time goes by.
func (b *bed) keepHouse() {
	begin := time.Now()
	b.shared.Locals.Populate(1 << 20)
	b.away += time.Since(begin)
}

// newBed makes room for conns connections and gives the service locals local
// addresses.
func newBed(conns, locals int) (*bed, error) { return newBedIn(flow.Anonymous, conns, locals) }

// newBedIn has the flow table in memory of a kind.
func newBedIn(memory flow.Backing, conns, locals int) (*bed, error) {
	beds, err := newBeds(memory, conns, locals, 1)
	if err != nil {
		return nil, err
	}
	return beds[0], nil
}

// newBeds makes a director of several workers, each between two pipes of its own.
func newBeds(memory flow.Backing, conns, locals, workers int) ([]*bed, error) {
	flows, err := flow.New(flow.Config{Conns: conns, Workers: workers, Backing: memory})
	if err != nil {
		return nil, err
	}
	// As the director does when it starts; memory of its own kernel's making is
	// no part of a packet's cost.
	if err := flows.Populate(nil); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	shared := &lb.Shared{Flows: flows}
	if shared.Locals, err = laddr.NewSet(laddr.FirstPort, laddr.LastPort); err != nil {
		return nil, err
	}
	first := &bed{shared: shared, snapshot: new(atomic.Pointer[worker.Snapshot])}
	facts := &[port.Max]port.Facts{}
	var named []route.Port
	for i, name := range []string{"dpdk0", "dpdk1"} {
		facts[i] = port.Facts{ID: uint16(i), Name: name, MAC: portMACs[i], MTU: 1500}
		named = append(named, route.Port{ID: uint16(i), Name: name, MTU: 1500})
	}
	snap, err := first.compile(facts, named, locals)
	if err != nil {
		return nil, err
	}
	first.snapshot.Store(snap)
	var beds []*bed
	for i := range workers {
		b := &bed{shared: shared, snapshot: first.snapshot, locals: first.locals, guest: i > 0}
		if b.pool, err = packet.NewPool(4096, 0); err != nil {
			return nil, err
		}
		b.worker = worker.New(worker.Config{Name: "bench", ID: i, Pool: b.pool, Shared: shared, Snapshot: b.snapshot, Conflicts: &neigh.Conflicts{}, Clock: b.now})
		for side := range b.queues {
			if err := b.open(uint16(side), nil); err != nil {
				return nil, err
			}
		}
		beds = append(beds, b)
	}
	for i, a := range []netip.Addr{rip, gateway} {
		if err := neigh.AddStatic(&flows.Hops, uint16(i), a, peerMACs[i], portMACs[i], 1500); err != nil {
			return nil, err
		}
	}
	return beds, nil
}

func (b *bed) compile(facts *[port.Max]port.Facts, named []route.Port, locals int) (*worker.Snapshot, error) {
	addrs := []spec.Address{
		{Port: "dpdk1", Prefix: netip.PrefixFrom(vip, 16)},
		{Port: "dpdk0", Prefix: netip.MustParsePrefix("192.168.100.1/16")},
	}
	dest := &service.Dest{Addr: netip.AddrPortFrom(rip, servicePort), Wire: flow.AddrOf(rip), Port: servicePort}
	b.shared.Dests[0].Store(dest)
	var all []*service.Service
	for _, p := range []spec.Proto{spec.UDP, spec.TCP} {
		all = append(all, &service.Service{
			Key: spec.ServiceKey{Proto: p, Virtual: netip.AddrPortFrom(vip, servicePort)}, Scheduler: sched.RR, GCD: 1,
			Candidates: []sched.Candidate{{Weight: 1, Load: &dest.Load}}, Dests: []*service.Dest{dest}, Modes: []spec.Forward{spec.FullNAT}, State: &service.State{},
			Tell: service.TellOf(p == spec.TCP, "", ""),
		})
	}
	for i := range locals {
		ip := netip.AddrFrom4([4]byte{192, 168, byte(101 + i/250), byte(1 + i%250)})
		a, err := b.shared.Locals.Add(ip)
		if err != nil {
			return nil, err
		}
		a.Prepare(laddr.PoolOf(dest.Wire, service.WirePort(dest.Port)))
		b.locals = append(b.locals, ip)
		addrs = append(addrs, spec.Address{Port: "dpdk0", Prefix: netip.PrefixFrom(ip, 32), SAPool: true})
		for _, s := range all {
			s.Locals[0] = append(s.Locals[0], a)
		}
	}
	routes, err := route.Build(named, addrs, []spec.Route{{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Via: gateway, Port: "dpdk1"}})
	if err != nil {
		return nil, err
	}
	return &worker.Snapshot{
		Ports: facts, Routes: routes, TTL: 64,
		LB: lb.Tables{Services: service.NewTable(all), Routes: routes, Timeouts: proto.NewTimeouts(spec.DefaultTimeouts())},
	}, nil
}

// setTimeouts puts other timeouts in force.
func (b *bed) setTimeouts(t *spec.Timeouts) {
	s := *b.snapshot.Load()
	s.LB.Timeouts = proto.NewTimeouts(*t)
	b.snapshot.Store(&s)
}

func (b *bed) close() {
	b.worker.Close()
	for _, c := range b.closers {
		_ = c.Close()
	}
	if !b.guest {
		b.shared.Flows.Close()
	}
	_ = b.pool.Close()
}

// feed says what arrives on a side: of a bond, by its members in turn.
func (b *bed) feed(side int, source func(burst []*packet.Packet) int) {
	for _, q := range b.queues[side] {
		q.Source = source
	}
}

// collect says who takes what leaves on both sides.
func (b *bed) collect(sink func(burst []*packet.Packet)) {
	for _, side := range b.queues {
		for _, q := range side {
			q.Sink = sink
		}
	}
}

// idle has nothing arrive.
func (b *bed) idle() {
	for side := range b.queues {
		b.feed(side, nothing)
	}
}

// lost returns an error if the worker dropped anything.
func (b *bed) lost() error {
	for r, n := range b.worker.Stats().Drops {
		if n != 0 {
			return fmt.Errorf("%d packets were dropped: %s", n, packet.Reason(r))
		}
	}
	return nil
}

// frame makes an Ethernet frame of n bytes toward the director with a valid
// TCP or UDP packet. Addresses and ports are stamped on copies of it.
func frame(in int, protocol uint8, src, dst netip.Addr, sport, dport uint16, n int) []byte {
	f := make([]byte, n)
	e := wire.Ethernet(f)
	e.SetDestination(portMACs[in])
	e.SetSource(peerMACs[in])
	e.SetEtherType(wire.EtherTypeIPv4)
	ip := wire.IPv4(f[14:])
	ip.SetVersionIHL(20)
	ip.SetTotalLength(uint16(n - 14))
	ip.SetTTL(64)
	ip.SetProtocol(protocol)
	ip.SetSrc(src.As4())
	ip.SetDst(dst.As4())
	ip.ComputeChecksum()
	l4 := f[34:]
	binary.BigEndian.PutUint16(l4[0:], sport)
	binary.BigEndian.PutUint16(l4[2:], dport)
	if protocol == wire.ProtoUDP {
		wire.UDP(l4).SetLength(uint16(n - 34))
	} else {
		wire.TCP(l4).SetDataOffset(20)
		wire.TCP(l4).SetWindow(65535)
	}
	wire.CompleteL4(ip)
	return f
}
