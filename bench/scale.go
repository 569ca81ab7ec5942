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
	flows := fs.Int("flows", 1000, "flows of each worker")
	packets := fs.Int("packets", 4<<20, "packets of one repetition")
	reps := fs.Int("reps", 9, "repetitions, of which the median counts")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *flows < 1 || *flows > 4<<20 {
		return fmt.Errorf("-flows: %d: 1 to %d", *flows, 4<<20)
	}
	workers := runtime.NumCPU()
	if workers < 2 {
		return fmt.Errorf("there is one processor, and two workers need two")
	}
	workers = 2
	debug.SetGCPercent(-1)
	beds, err := newBeds(flow.Anonymous, workers*(*flows+*flows/2+4096), workers*(*flows)/60000+1, workers)
	if err != nil {
		return err
	}
	var lanes []*lane
	for i, b := range beds {
		defer b.close()
		lanes = append(lanes, &lane{newUDPRunOn(b, *flows, i*(*flows)), i})
	}
	for _, l := range lanes {
		if err := l.fill(); err != nil {
			return err
		}
	}
	var walks, dries []float64
	for range *reps {
		walks = append(walks, together(lanes, func(l *lane) { l.pass(*packets, wan, lan) }))
		dries = append(dries, together(lanes, func(l *lane) { l.dry(*packets, wan, lan) }))
	}
	fmt.Printf("%s\n\n", machine())
	fmt.Printf("Two workers on one table, %d flows each, both ways, pipe to pipe, do %.2f times the packets of one.\n", *flows, median(walks))
	fmt.Printf("Two harnesses without a worker, which share nothing, do %.2f times those of one. Medians of %d.\n", median(dries), *reps)
	for _, l := range lanes {
		if err := l.lost(); err != nil {
			return err
		}
	}
	return nil
}
