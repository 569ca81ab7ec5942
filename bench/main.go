package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"

	"golang.org/x/sys/unix"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	what := "walk"
	if len(args) > 0 {
		what, args = args[0], args[1:]
	}
	switch what {
	case "walk":
		return walk(args)
	case "new":
		return newFlows(args)
	case "modes":
		return compareModes(args)
	case "pause":
		return pause(args)
	case "scale":
		return scale(args)
	case "devices":
		return compareDevices(args)
	case "veth":
		return veth(args)
	case "idle":
		return idle(args)
	case "veth-part":
		return vethPart(args)
	case "expire":
		return expire(args)
	case "xdp":
		return xdp(args)
	case "peers":
		return peers(args)
	case "peers-part":
		return peersPart(args)
	case "rs":
		return rs(args)
	case "rs-part":
		return rsPart(args)
	}
	return fmt.Errorf("%q is no benchmark: walk, new, expire, scale, pause, modes, devices, veth, idle, peers, xdp or rs", what)
}

func walk(args []string) error {
	fs := flag.NewFlagSet("walk", flag.ContinueOnError)
	flows := fs.String("flows", "1,1000,100000,1000000,10000000", "numbers of flows; nothing: none")
	fill := fs.Int("fill", 66, "how full they make the table, in percent of the connections it has room for: 1 to 100")
	packets := fs.Int("packets", 4<<20, "packets of one repetition")
	reps := fs.Int("reps", 7, "repetitions, of which the median counts")
	seconds := fs.Float64("tcp", 20, "seconds of TCP connections; 0: none")
	profile := fs.String("cpuprofile", "", "write a CPU profile to this file")
	cpu := fs.Int("cpu", -1, "processor to run on; -1: the last")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *fill < 1 || *fill > 100 {
		return fmt.Errorf("-fill %d: want 1 to 100", *fill)
	}
	var sizes []int
	if *flows != "" {
		var err error
		if sizes, err = numbersOf("-flows", *flows, mostConns*(*fill)/100); err != nil {
			return err
		}
	}
	calm := lookForCalm(pin(*cpu))
	defer calm.close()
	debug.SetGCPercent(-1)
	stop, err := profiled(*profile)
	if err != nil {
		return err
	}
	defer stop()
	fmt.Printf("%s\n\n", machine())
	fmt.Println("The whole walk, pipe to pipe: UDP full-NAT, 60-byte frames, flows visited cyclically,")
	fmt.Printf("clients spread over a /12, one real server. They are %d %% of what the table has room for.\n", *fill)
	fmt.Println("Medians, the harness's own cost taken off; then, of calm time alone, cycles one way and both ways.")
	fmt.Println()
	fmt.Printf("%10s  %22s  %22s  %14s  %29s  %s\n", "", "one way", "both ways", "harness", "table", "calm time alone")
	fmt.Printf("%10s  %10s %11s  %10s %11s  %14s  %29s  %s\n", "flows", "cycles/pkt", "ns/pkt", "cycles/pkt", "ns/pkt", "cycles/pkt", "bytes/conn at the rated fill", "cycles/pkt")
	for _, n := range sizes {
		if err := walkRow(calm, n, *fill, max(*packets, min(2*n, 4*(*packets))), *reps); err != nil {
			return err
		}
	}
	if *seconds > 0 {
		return tcpRow(calm, seconds64(*seconds), 7, false)
	}
	return nil
}

func walkRow(c *calmness, flows, percent, packets, reps int) error {
	r, err := newUDPRun(flows, percent)
	if err != nil {
		return err
	}
	defer r.close()
	if err := r.fill(); err != nil {
		return err
	}
	one := r.measure(c, packets, reps, wan)
	both := r.measure(c, packets, reps, wan, lan)
	perConn := float64(r.shared.Flows.Bytes()) / float64(r.shared.Flows.Conns())
	fmt.Printf("%10d  %10.0f %11.1f  %10.0f %11.1f  %14.0f  %29.0f  %s, %s\n", flows, one.walk.cycles, one.walk.ns, both.walk.cycles, both.walk.ns, one.harness.cycles, perConn,
		c.cycles(&one), c.cycles(&both))
	return r.lost()
}

// profiled writes a CPU profile to a file, if it has a name, until it is stopped.
func profiled(name string) (stop func(), err error) {
	if name == "" {
		return func() {}, nil
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() { pprof.StopCPUProfile(); _ = f.Close() }, nil
}

// pin binds this goroutine to a processor, which it returns.
func pin(cpu int) int {
	if cpu < 0 {
		cpu = runtime.NumCPU() - 1
	}
	runtime.GOMAXPROCS(runtime.NumCPU() + 2)
	runtime.LockOSThread()
	bind(cpu)
	return cpu
}

// bind binds this thread to a processor.
func bind(cpu int) {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		fmt.Fprintf(os.Stderr, "bench: not bound to cpu %d: %v\n", cpu, err)
	}
}

// machine says where the figures come from.
func machine() string {
	var u unix.Utsname
	_ = unix.Uname(&u)
	model := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
				model = strings.TrimSpace(v)
				break
			}
		}
	}
	return fmt.Sprintf("%s, %d processors, TSC %.2f GHz, Linux %s, %s", model, runtime.NumCPU(), tscGHz, unix.ByteSliceToString(u.Release[:]), runtime.Version())
}
