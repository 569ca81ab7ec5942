package main

import (
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"

	"weir/internal/flow"
)

// What a second worker adds: two on one flow table, one service, one real server and the
// same local addresses, each with flows of its own.

// lane is a worker on a processor of its own.
type lane struct {
	*udpRun
	cpu int
}

// timed runs f on the lane's processor and returns its processor time in ns.
func (l *lane) timed(f func()) (ns float64) {
	var done sync.WaitGroup
	done.Go(func() {
		runtime.LockOSThread() // the thread ends with us: it stays bound
		bind(l.cpu)
		t0 := cpuTime()
		f()
		ns = float64(cpuTime() - t0)
	})
	done.Wait()
	return ns
}

// together runs f on all lanes at once, and returns by how much more they do than the
// lanes do on average one after the other.
func together(lanes []*lane, f func(l *lane)) float64 {
	alone, rate := 0.0, 0.0
	for _, l := range lanes {
		alone += 1 / l.timed(func() { f(l) }) / float64(len(lanes))
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, l := range lanes {
		all.Go(func() {
			ns := l.timed(func() { f(l) })
			mu.Lock()
			rate += 1 / ns
			mu.Unlock()
		})
	}
	all.Wait()
	return rate / alone
}

func scale(args []string) error {
	fs := flag.NewFlagSet("scale", flag.ContinueOnError)
	list := fs.String("flows", "1000,100000", "numbers of flows of each worker")
	conns := fs.Int("conns", usualConns, "connections that the table has room for")
	packets := fs.Int("packets", 4<<20, "packets of one repetition")
	reps := fs.Int("reps", 9, "repetitions, of which the median counts")
	if err := fs.Parse(args); err != nil {
		return err
	}
	flows, err := numbersOf("-flows", *list, mostFlows)
	if err != nil {
		return err
	}
	for _, n := range flows {
		if scaled*n > *conns {
			return fmt.Errorf("-flows: %d of each of %d workers don't fit into a table of %d connections: see -conns", n, scaled, *conns)
		}
	}
	if runtime.NumCPU() < scaled {
		return fmt.Errorf("there is one processor, and two workers need two")
	}
	debug.SetGCPercent(-1)
	fmt.Printf("%s\n\nTwo workers on one table with room for %d connections, UDP both ways, pipe to pipe; medians of %d.\n\n", machine(), *conns, *reps)
	fmt.Printf("%15s %28s %28s\n", "flows of each", "times the packets of one", "two harnesses, nothing shared")
	for _, n := range flows {
		walk, dry, err := scaleRow(n, *conns, *packets, *reps)
		if err != nil {
			return err
		}
		fmt.Printf("%15d %28.2f %28.2f\n", n, walk, dry)
	}
	return nil
}

// usualConns is the size of a director's table if nothing is said, scaled how many workers
// are compared with one.
const usualConns, scaled = 2097151, 2

// scaleRow returns what two workers do as a multiple of one, and what two harnesses do
// without a worker, which share nothing.
func scaleRow(flows, conns, packets, reps int) (walk, dry float64, err error) {
	beds, err := newBeds(flow.Anonymous, conns, scaled*flows/60000+1, scaled)
	if err != nil {
		return 0, 0, err
	}
	var lanes []*lane
	for i := len(beds) - 1; i >= 0; i-- {
		defer beds[i].close()
	}
	for i, b := range beds {
		lanes = append(lanes, &lane{newUDPRunOn(b, flows, i*flows), i})
	}
	for _, l := range lanes {
		if err := l.fill(); err != nil {
			return 0, 0, err
		}
	}
	var walks, dries []float64
	for range reps {
		walks = append(walks, together(lanes, func(l *lane) { l.pass(packets, wan, lan) }))
		dries = append(dries, together(lanes, func(l *lane) { l.dry(packets, wan, lan) }))
	}
	for _, l := range lanes {
		if err := l.lost(); err != nil {
			return 0, 0, err
		}
	}
	return median(walks), median(dries), nil
}
