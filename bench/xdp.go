package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"weir/bpf"
	"weir/internal/clock"
	"weir/internal/flow"
	"weir/internal/lb/forward"
	"weir/internal/port"
	"weir/internal/port/afxdp"
	"weir/internal/wire"
)

// xdp measures the forwarding program alone (BPF_PROG_RUN): UDP full-NAT, one way. There
// is one packet, so that each pass waits for the memory that it misses.
func xdp(args []string) error {
	fs := flag.NewFlagSet("xdp", flag.ContinueOnError)
	counts := fs.String("flows", "1,1024,131072,1048576", "numbers of flows, powers of two")
	packets := fs.Int("packets", 4<<20, "packets of one repetition")
	reps := fs.Int("reps", 7, "repetitions, of which the median counts")
	cpu := fs.Int("cpu", -1, "processor to run on; -1: the last")
	if err := fs.Parse(args); err != nil {
		return err
	}
	// A half more than there are flows is what the table has room for.
	sizes, err := powersOf("-flows", *counts, mostConns/2)
	if err != nil {
		return err
	}
	pin(*cpu)
	if err := rlimit.RemoveMemlock(); err != nil {
		return err
	}
	fmt.Printf("%s\n\n", machine())
	fmt.Println("The forwarding program alone, by BPF_PROG_RUN: UDP full-NAT, 60-byte frames, one way, the packet made anew")
	fmt.Println("each time. Medians of ns of processor time a packet (least, most), the harness taken off.")
	fmt.Println()
	fmt.Printf("%10s  %24s  %24s  %10s\n", "flows", "in a cycle", "in a random order", "harness")
	for _, n := range sizes {
		if err := xdpRow(n, *packets, *reps); err != nil {
			return err
		}
	}
	return nil
}

// xdpRun is a table with flows, and the programs.
type xdpRun struct {
	table  *flow.Table
	engine *afxdp.Engine
	trial  *afxdp.Trial
	cycle  bpf.CycleObjects
	frame  []byte
}

func xdpRow(flows, packets, reps int) error {
	r, err := newXDPRun(flows)
	if err != nil {
		return err
	}
	defer r.close()
	var sum, harness [2]laps
	for range reps {
		for order := range 2 {
			with, err := r.time(flows, order, r.trial.Program(), packets)
			if err != nil {
				return err
			}
			without, err := r.time(flows, order, r.cycle.Nothing, packets)
			if err != nil {
				return err
			}
			sum[order].add(with - without)
			harness[order].add(without)
		}
	}
	// One flow in some thousand lies too far from its home for the engine.
	if n := r.engine.Way(0, 1)[0].Packets; n < uint64(2*reps*packets)/100*99 {
		return fmt.Errorf("%d packets were forwarded of %d", n, 2*reps*packets)
	}
	fmt.Printf("%10d  %24s  %24s  %10.1f\n", flows, &sum[0], &sum[1], harness[0].median())
	return nil
}

// laps are measurements of one thing.
type laps []float64

func (s *laps) add(v float64) { *s = append(*s, v); slices.Sort(*s) }

func (s laps) median() float64 { return s[len(s)/2] }

// String is the median, and what was least and most.
func (s laps) String() string {
	return fmt.Sprintf("%.1f (%.1f, %.1f)", s.median(), s[0], s[len(s)-1])
}

func newXDPRun(flows int) (_ *xdpRun, err error) {
	r := &xdpRun{frame: frame(wan, wire.ProtoUDP, vip, vip, 1, servicePort, frameSize)}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if r.table, err = flow.New(flow.Config{Conns: flows + flows/2, Workers: 1, Backing: flow.BPFArray}); err != nil {
		return nil, err
	}
	if err := r.fill(flows); err != nil {
		return nil, err
	}
	if r.engine, err = afxdp.NewEngine(r.table, nil); err != nil {
		return nil, err
	}
	var rules [port.Max]afxdp.Rule
	rules[0] = afxdp.Rule{MAC: port.MAC(r.frame[0:6]), Takes: true, Sends: true}
	rules[1] = afxdp.Rule{MAC: port.MAC{2, 0, 0, 0, 9, 1}, Takes: true, Sends: true, Link: 1}
	if err := r.engine.SetRules(&rules); err != nil {
		return nil, err
	}
	if err := r.engine.AddDevice(1, 1); err != nil { // the loopback interface: nothing is sent
		return nil, err
	}
	if r.trial, err = r.engine.Try(0); err != nil {
		return nil, err
	}
	spec, err := bpf.LoadCycle()
	if err != nil {
		return nil, err
	}
	var model [8]uint64
	for i := range model[:7] {
		model[i] = binary.LittleEndian.Uint64(r.frame[8*i:])
	}
	bare := append([]byte(nil), r.frame...)
	copy(bare[26:30], []byte{0, 0, 0, 0})
	copy(bare[34:36], []byte{0, 0})
	ip := wire.IPv4(bare[14:])
	ip.ComputeChecksum()
	wire.UDP(bare[34:]).SetChecksum(0)
	wire.CompleteL4(ip)
	for name, v := range map[string]any{
		bpf.CycleVarModel: model, bpf.CycleVarFlows: uint32(flows),
		bpf.CycleVarBareIp: uint32(^binary.LittleEndian.Uint16(bare[24:])), bpf.CycleVarBareL4: uint32(^binary.LittleEndian.Uint16(bare[40:])),
	} {
		if err := spec.Variables[name].Set(v); err != nil {
			return nil, err
		}
	}
	return r, spec.LoadAndAssign(&r.cycle, nil)
}

// fill makes the flows.
func (r *xdpRun) fill(flows int) error {
	w, now := r.table.Worker(0), clock.Now()
	w.Begin(now)
	hop := r.table.Hops.Back(1, port.MAC{2, 0, 0, 0, 9, 9}, port.MAC{2, 0, 0, 0, 9, 1}, 1500)
	lip := local
	for i := range flows {
		if i > 0 && i%masqueraded == 0 {
			lip = lip.Next()
		}
		c := clientOf(i)
		ends := forward.Ends{
			Proto: wire.ProtoUDP, Client: flow.V4(c.src), Virtual: flow.V4(c.dst), Local: flow.AddrOf(lip), Real: flow.AddrOf(rip),
			ClientPort: c.sport, VirtualPort: c.dport, LocalPort: binary.LittleEndian.Uint16(binary.BigEndian.AppendUint16(nil, uint16(1025+i%masqueraded))), RealPort: c.dport,
		}
		in, out := forward.FullNAT(&ends)
		in.NextHop, out.NextHop, in.Fast, out.Fast = hop, hop, true, true
		if _, err := w.Insert(&in, &out, &flow.NewConn{Timeout: 1 << 20}, now); err != nil {
			return fmt.Errorf("flow %d: %w", i, err)
		}
	}
	return nil
}

// time runs a program so often and returns ns of processor time a packet.
func (r *xdpRun) time(flows, order int, p *ebpf.Program, packets int) (float64, error) {
	if err := r.cycle.Next.Put(uint32(0), p); err != nil {
		return 0, err
	}
	if err := r.cycle.Random.Set(uint32(order)); err != nil {
		return 0, err
	}
	if err := r.cycle.Flow.Set(uint32(0)); err != nil {
		return 0, err
	}
	began, err := ownTime()
	if err != nil {
		return 0, err
	}
	action, _, err := r.cycle.Cycle.Benchmark(r.frame, packets, nil)
	if err != nil {
		return 0, err
	}
	ended, err := ownTime()
	if err != nil {
		return 0, err
	}
	if action != 4 { // XDP_REDIRECT
		return 0, fmt.Errorf("the program says %d: %w", action, errNotForwarded)
	}
	return float64(ended-began) / float64(packets), nil
}

// ownTime is how long the thread has had its processor, in ns: what others do there meanwhile is
// no part of it.
func ownTime() (int64, error) {
	var t unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t)
	return t.Nano(), err
}

var errNotForwarded = fmt.Errorf("the last packet was not forwarded")

func (r *xdpRun) close() {
	_ = r.cycle.Close()
	if r.trial != nil {
		_ = r.trial.Close()
	}
	if r.engine != nil {
		_ = r.engine.Close()
	}
	if r.table != nil {
		r.table.Close()
	}
}
