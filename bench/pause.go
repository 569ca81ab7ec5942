package main

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"weir/api/client"
	"weir/api/weirv1"
	"weir/internal/clock"
	"weir/internal/control"
	"weir/internal/director"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/port/pipe"
	"weir/internal/spec"
	"weir/internal/wire"
)

// How long a packet waits because of all that the process does beside: a whole director
// in memory, its housekeeping, its API and Go's collector, full of connections, and calls
// to the API beside it.

// pauseRun is the director's surroundings. Its Source and Sink are the worker's.
type pauseRun struct {
	d     *director.Director
	flows int
	frame []byte
	bare  [2]uint32

	fill    atomic.Int64 // flows that are still to be opened
	opened  int
	every   atomic.Int64 // nanoseconds from packet to packet; 0: none is sent
	due     uint64
	next    int
	waits   atomic.Pointer[delays]
	longest atomic.Uint64
}

// source makes what arrives on the wan: first a packet of each flow, later packets that
// are due. Each bears the time when it was.
func (r *pauseRun) source(pool *packet.Pool) func(burst []*packet.Packet) int {
	return func(burst []*packet.Packet) (n int) {
		if left := r.fill.Load(); left > 0 {
			for n < len(burst) && int64(n) < left {
				burst[n] = r.packet(pool, r.opened, 0)
				r.opened++
				n++
			}
			r.fill.Add(-int64(n))
			return n
		}
		every := uint64(r.every.Load())
		if every == 0 {
			r.due = 0
			return 0
		}
		now := clock.Nanos()
		if r.due == 0 {
			r.due = now
		}
		for n < len(burst) && r.due <= now {
			burst[n] = r.packet(pool, r.next, r.due)
			r.due += every
			// A prime: unless flows is a multiple of it, all are met, in no order of memory.
			r.next = (r.next + 7919) % r.flows
			n++
		}
		return n
	}
}

const stampedAt = wire.EthernetLen + wire.IPv4MinLen + wire.UDPLen

func (r *pauseRun) packet(pool *packet.Pool, flow int, due uint64) *packet.Packet {
	p := pool.Get()
	stamp(p, r.frame, &r.bare, clientOf(flow))
	binary.LittleEndian.PutUint64(p.Data[stampedAt:], due)
	return p
}

// sink takes what leaves, and counts how long it was under way since it was due.
func (r *pauseRun) sink(pool *packet.Pool) func(burst []*packet.Packet) {
	return func(burst []*packet.Packet) {
		now := clock.Nanos()
		waits := r.waits.Load()
		for _, p := range burst {
			if len(p.Data) == frameSize && waits != nil { // the others are the director's own, ARP
				due := binary.LittleEndian.Uint64(p.Data[stampedAt:])
				(*waits)[classOf(time.Duration(now-due))]++
				if now-due > r.longest.Load() {
					r.longest.Store(now - due)
				}
			}
			pool.Put(p)
		}
	}
}

func pause(args []string) error {
	fs := flag.NewFlagSet("pause", flag.ContinueOnError)
	flows := fs.Int("flows", 10_000_000, "connections")
	rate := fs.Int("pps", 200_000, "packets a second")
	calls := fs.Int("calls", 100, "calls to the API a second")
	seconds := fs.Int("seconds", 10, "seconds of each measurement")
	reps := fs.Int("reps", 3, "repetitions")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *flows < 1 || *flows > 16<<20 || *rate < 1 || *rate > 2_000_000 || *calls < 1 || *seconds < 1 || *reps < 1 {
		return fmt.Errorf("1 to %d flows, 1 to 2000000 packets a second, a call, a second and a repetition at least", 16<<20)
	}
	debug.SetGCPercent(100) // as weir's
	r := &pauseRun{flows: *flows, frame: frame(wan, wire.ProtoUDP, vip, vip, 1, servicePort, frameSize)}
	r.bare = bareSums(r.frame)
	if err := r.start(); err != nil {
		return err
	}
	defer func() { _ = r.d.Close() }()
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, end := context.WithCancel(context.Background())
	l, lock, err := control.Listen(filepath.Join(dir, "s"))
	if err != nil {
		end()
		return err
	}
	served := make(chan error, 1)
	go func() { served <- control.New(r.d, "bench").Serve(ctx, l) }()
	defer func() { end(); <-served; _ = lock.Close() }()

	fmt.Printf("%s\n\n", machine())
	r.fill.Store(int64(*flows))
	for r.fill.Load() > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond)
	if n := r.d.Flows().Len(); n != *flows {
		return fmt.Errorf("%d flows were made of %d", n, *flows)
	}
	fmt.Printf("A director in memory with %d connections and one worker; %d packets a second, evenly, of all of them in turn.\n", *flows, *rate)
	fmt.Println("From when a packet was due until it was sent; all repetitions together.")
	fmt.Printf("\n%-34s %10s %10s %10s %10s   %s\n", "", "p50", "p99", "p99.9", "longest", "collections, their longest stop")
	beside := []struct {
		name  string
		waits delays
		calls int
		gc    debug.GCStats
		n     int64
		stop  time.Duration
		long  time.Duration
	}{{name: "nothing beside", waits: make(delays, classes)}, {name: fmt.Sprintf("%d API calls a second", *calls), calls: *calls, waits: make(delays, classes)}}
	for range *reps {
		for i := range beside {
			b := &beside[i]
			var before, after debug.GCStats
			runtime.GC()
			debug.ReadGCStats(&before)
			r.longest.Store(0)
			r.waits.Store(&b.waits)
			r.every.Store(int64(time.Second) / int64(*rate))
			if err := call(client.New(filepath.Join(dir, "s")), b.calls, time.Duration(*seconds)*time.Second); err != nil {
				return err
			}
			r.every.Store(0)
			time.Sleep(20 * time.Millisecond)
			r.waits.Store(nil)
			debug.ReadGCStats(&after)
			b.n += after.NumGC - before.NumGC
			for _, p := range after.Pause[:min(int(after.NumGC-before.NumGC), len(after.Pause))] {
				b.stop = max(b.stop, p)
			}
			b.long = max(b.long, time.Duration(r.longest.Load()))
		}
	}
	for i := range beside {
		b := &beside[i]
		fmt.Printf("%-34s", b.name)
		for _, part := range []float64{0.5, 0.99, 0.999} {
			at, err := b.waits.at(part)
			if err != nil {
				return err
			}
			fmt.Printf(" %10v", at.Round(100*time.Nanosecond))
		}
		fmt.Printf(" %10v   %d, %v\n", b.long.Round(time.Microsecond), b.n, b.stop.Round(time.Microsecond))
	}
	return nil
}

// call makes so many calls a second for a time, each of the kind that a command makes.
func call(c weirv1.DirectorClient, rate int, d time.Duration) error {
	if rate == 0 {
		time.Sleep(d)
		return nil
	}
	ctx := context.Background()
	kinds := []func() error{
		func() error {
			_, err := c.ListServices(ctx, connect.NewRequest(&weirv1.ListServicesRequest{}))
			return err
		},
		func() error {
			_, err := c.GetStats(ctx, connect.NewRequest(&weirv1.GetStatsRequest{}))
			return err
		},
		func() error {
			_, err := c.ListAddresses(ctx, connect.NewRequest(&weirv1.ListAddressesRequest{}))
			return err
		},
		func() error {
			_, err := c.ListLinks(ctx, connect.NewRequest(&weirv1.ListLinksRequest{}))
			return err
		},
	}
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	var all sync.WaitGroup
	var failed atomic.Pointer[error]
	for i := range int(d.Seconds() * float64(rate)) {
		<-tick.C
		all.Go(func() {
			if err := kinds[i%len(kinds)](); err != nil {
				failed.Store(&err)
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// start makes the director, its service, and as many local addresses as its flows need.
func (r *pauseRun) start() error {
	open := func(id int, name string) director.BedPort {
		p := pipe.New(uint16(id), name, portMACs[id], 1500)
		return director.BedPort{Facts: p.Facts(), Owners: []int{0}, Open: func(queue int, pool *packet.Pool) (port.Queue, error) {
			q, err := p.Queue(queue, pool)
			if err != nil {
				return nil, err
			}
			q.Source, q.Sink = nothing, r.sink(pool)
			if id == wan {
				q.Source = r.source(pool)
			}
			return q, nil
		}}
	}
	boot := spec.Boot{ConnPool: r.flows + 1000, PktPool: 8192, IPv6: spec.IPv6{AddrGenMode: spec.AddrGenNone}, Workers: []spec.Worker{
		{Name: "cpu0", Type: "master"}, {Name: "cpu1", Type: "slave", CPU: runtime.NumCPU() - 1},
	}}
	tunables := spec.Tunables{Timeouts: spec.DefaultTimeouts(), DefaultTTL: 64, NeighTimeout: 60}
	tunables.Timeouts.UDP.Normal, tunables.Timeouts.UDP.OneWay = 86400, 86400
	var err error
	r.d, err = director.NewOn(director.Bed{Ports: []director.BedPort{open(lan, "dpdk0"), open(wan, "dpdk1")}}, boot, tunables, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	k := spec.ServiceKey{Proto: spec.UDP, Virtual: netip.AddrPortFrom(vip, servicePort)}
	return r.d.Change(func(s *spec.Spec) error {
		for _, err := range []error{
			s.AddAddress(spec.Address{Port: "dpdk1", Prefix: netip.PrefixFrom(vip, 16)}, false),
			s.AddAddress(spec.Address{Port: "dpdk0", Prefix: netip.MustParsePrefix("192.168.100.1/16")}, false),
			s.AddRoute(spec.Route{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Via: gateway, Port: "dpdk1"}),
			s.AddNeighbour(spec.Neighbour{Addr: rip, Port: "dpdk0", MAC: peerMACs[lan]}),
			s.AddNeighbour(spec.Neighbour{Addr: gateway, Port: "dpdk1", MAC: peerMACs[wan]}),
			s.AddService(spec.Service{ServiceKey: k, Scheduler: "rr"}),
			s.AddDest(k, spec.Dest{Addr: netip.AddrPortFrom(rip, servicePort), Forward: spec.FullNAT, Weight: 1}),
		} {
			if err != nil {
				return err
			}
		}
		for i := range r.flows/60000 + 1 {
			local := netip.AddrFrom4([4]byte{192, 168, byte(101 + i/250), byte(1 + i%250)})
			if _, err := s.AddLocal(k, spec.LocalAddress{Addr: local, Port: "dpdk0"}); err != nil {
				return err
			}
		}
		return nil
	})
}
