package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// kill is kill -9 of the daemon, which has ended then.
func (d *director) kill() {
	d.t.Helper()
	d.killed = true
	d.daemon.Signal(syscall.SIGKILL)
	<-d.daemon.Done()
}

// echoes serves an echo of TCP and of UDP on a port of a real server.
func (d *director) echoes(server, port int) {
	d.t.Helper()
	in := d.rs(server)
	l, err := in.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		d.t.Fatal(err)
	}
	u, err := in.ListenPacket("udp", fmt.Sprintf(":%d", port))
	if err != nil {
		d.t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var taken []net.Conn // whose clients' ends may never be heard of, when no director runs any more
	d.t.Cleanup(func() {
		l.Close()
		u.Close()
		mu.Lock()
		for _, c := range taken {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			taken = append(taken, c)
			mu.Unlock()
			all.Go(func() { defer c.Close(); echo(c) })
		}
	})
	all.Go(func() {
		b := make([]byte, 2048)
		for {
			n, from, err := u.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = u.WriteTo(b[:n], from)
		}
	})
}

// echoServer is a role: an echo of TCP on a port.
func echoServer(args []string) error {
	l, err := net.Listen("tcp", ":"+args[0])
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() { defer c.Close(); echo(c) }()
	}
}

// echo is io.Copy from a connection to itself, with little memory: there may be thousands.
func echo(c net.Conn) {
	b := make([]byte, 2048)
	for {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		if _, err := c.Write(b[:n]); err != nil {
			return
		}
	}
}

// longFlows are TCP connections whose ends check every byte: each sends lines at random
// and hears them back.
type longFlows struct {
	failed  []error // by flow
	lines   []atomic.Int64
	slowest atomic.Int64 // ns for a line to come back
	late    atomic.Int64 // lines that took longer than gapBound
	stop    context.CancelFunc
	all     sync.WaitGroup
	pause   time.Duration // between the lines of a flow
}

// gapBound is how long a line may take.
const gapBound = 50 * time.Millisecond

func (d *director) longFlows(address string, n int) *longFlows {
	d.t.Helper()
	return d.longFlowsEach(address, n, 40*time.Millisecond)
}

// longFlowsEach is longFlows with a time between the lines of a flow.
func (d *director) longFlowsEach(address string, n int, pause time.Duration) *longFlows {
	d.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	f := &longFlows{failed: make([]error, n), lines: make([]atomic.Int64, n), stop: stop, pause: pause}
	d.t.Cleanup(func() { f.end() })
	var dialling sync.WaitGroup
	var next atomic.Int64
	var refused atomic.Pointer[error]
	for range min(n, 16) {
		dialling.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				c, err := d.client().Dial(within(d.t, patience), "tcp", address)
				if err != nil {
					refused.Store(&err)
					return
				}
				f.all.Go(func() { f.failed[i] = f.talk(ctx, i, c) })
			}
		})
	}
	dialling.Wait()
	if err := refused.Load(); err != nil {
		d.t.Fatalf("%d flows to %s: %v", n, address, *err)
	}
	return f
}

func (f *longFlows) talk(ctx context.Context, i int, c net.Conn) error {
	defer c.Close()
	said, heard := make([]byte, 600), make([]byte, 600)
	// Not all at once.
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(rand.N(f.pause)):
	}
	tick := time.NewTicker(f.pause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		n := 16 + rand.IntN(len(said)-16)
		for j := 0; j < n; j += 8 {
			binary.LittleEndian.PutUint64(said[min(j, n-8):], rand.Uint64())
		}
		began := time.Now()
		if err := c.SetDeadline(began.Add(patience)); err != nil {
			return err
		}
		if _, err := c.Write(said[:n]); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, heard[:n]); err != nil {
			return err
		}
		if !bytes.Equal(said[:n], heard[:n]) {
			return fmt.Errorf("heard something else than what was said")
		}
		if time.Since(began) > gapBound {
			f.late.Add(1)
		}
		for took := int64(time.Since(began)); ; {
			was := f.slowest.Load()
			if took <= was || f.slowest.CompareAndSwap(was, took) {
				break
			}
		}
		f.lines[i].Add(1)
	}
}

// move waits until every flow has carried two more lines, or has failed.
func (f *longFlows) move(t *testing.T, when string) {
	t.Helper()
	was := make([]int64, len(f.lines))
	for i := range f.lines {
		was[i] = f.lines[i].Load()
	}
	eventually(t, fmt.Sprintf("%s all %d flows go on", when, len(f.lines)), func() bool {
		for i := range f.lines {
			if f.lines[i].Load() < was[i]+2 {
				return false
			}
		}
		return true
	})
}

// end ends them, and returns how many failed.
func (f *longFlows) end() (failed int, first error) {
	f.stop()
	f.all.Wait()
	for _, err := range f.failed {
		if err != nil {
			failed++
			if first == nil {
				first = err
			}
		}
	}
	return failed, first
}

// gapMeter is a UDP flow with a datagram each millisecond; the longest time between two
// answers is the gap.
type gapMeter struct {
	conn net.Conn
	mu   sync.Mutex
	last time.Time
	most time.Duration
	stop context.CancelFunc
	all  sync.WaitGroup
}

func (d *director) gapMeter(address string) *gapMeter {
	d.t.Helper()
	c, err := d.client().Dial(within(d.t, patience), "udp", address)
	if err != nil {
		d.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	g := &gapMeter{conn: c, stop: stop, last: time.Now()}
	d.t.Cleanup(func() { stop(); c.Close(); g.all.Wait() })
	g.all.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			_, _ = c.Write([]byte("tick"))
			<-tick.C
		}
	})
	g.all.Go(func() {
		b := make([]byte, 16)
		for {
			if _, err := c.Read(b); err != nil {
				if ctx.Err() != nil {
					return
				}
				continue // ICMP said something
			}
			g.mu.Lock()
			now := time.Now()
			g.most, g.last = max(g.most, now.Sub(g.last)), now
			g.mu.Unlock()
		}
	})
	return g
}

// take waits for answers and returns the longest gap since the last call.
func (g *gapMeter) take(t *testing.T) time.Duration {
	t.Helper()
	g.mu.Lock()
	was := g.last
	g.mu.Unlock()
	eventually(t, "datagrams are answered", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.last.After(was)
	})
	g.mu.Lock()
	defer g.mu.Unlock()
	most := g.most
	g.most = 0
	return most
}

// smallTable is the smallest flow table, of 60 MiB: tests side by side have one each.
const smallTable = "ipvs_defs {\n    conn {\n        conn_pool_size 65536\n    }\n}\n"

// echoServices are services of TCP and UDP, of both families, on port 7000.
func (d *director) echoServices() {
	d.t.Helper()
	d.twoArm()
	d.echoes(1, 7000)
	d.serviceOn("t", 7000, 1)
	d.serviceOn("u", 7000, 1)
	d.script(`
./dpip addr add 2001:db8:10::100/128 dev dpdk1
./dpip route add 2001:db8:10::/64 dev dpdk1
./dpip route add 2001:db8:100::/64 dev dpdk0
./ipvsadm -A -t [2001:db8:10::100]:7000 -s rr
./ipvsadm -a -t [2001:db8:10::100]:7000 -r [2001:db8:100::2]:7000 -b
./ipvsadm --add-laddr -z 2001:db8:100::200 -t [2001:db8:10::100]:7000 -F dpdk0
`)
}
