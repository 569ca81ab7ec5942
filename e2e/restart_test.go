package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// pins mounts a bpffs for the bed's director.
func (b *bed) pins() string {
	b.t.Helper()
	dir, err := b.net.World.Pins("pins")
	if err != nil {
		b.t.Fatal(err)
	}
	return filepath.Join(dir, "weir")
}

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
	d.t.Cleanup(func() { l.Close(); u.Close(); all.Wait() })
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { defer c.Close(); _, _ = io.Copy(c, c) })
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

// longFlows are TCP connections whose ends check every byte: each sends lines at random
// and hears them back.
type longFlows struct {
	conns    []net.Conn
	failed   []error // by flow
	lines    []atomic.Int64
	slowest  atomic.Int64 // ns for a line to come back
	stop     context.CancelFunc
	all      sync.WaitGroup
	pause    time.Duration
	deadline time.Time
}

func (d *director) longFlows(address string, n int) *longFlows {
	d.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	f := &longFlows{failed: make([]error, n), lines: make([]atomic.Int64, n), stop: stop, pause: 40 * time.Millisecond, deadline: time.Now().Add(5 * time.Minute)}
	d.t.Cleanup(func() { f.end() })
	for i := range n {
		c, err := d.client().Dial(within(d.t, patience), "tcp", address)
		if err != nil {
			d.t.Fatalf("flow %d: %v", i, err)
		}
		f.conns = append(f.conns, c)
		f.all.Go(func() { f.failed[i] = f.talk(ctx, i, c) })
	}
	return f
}

func (f *longFlows) talk(ctx context.Context, i int, c net.Conn) error {
	defer c.Close()
	r := bufio.NewReader(c)
	said, heard := make([]byte, 600), make([]byte, 600)
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
		if _, err := io.ReadFull(r, heard[:n]); err != nil {
			return err
		}
		if !bytes.Equal(said[:n], heard[:n]) {
			return fmt.Errorf("heard something else than what was said")
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

// Long connections, checked byte by byte, while the daemon is killed and started again, and
// replaced by another build: none is reset, none is lost, and new ones work.
func TestRestartLosesNoFlow(t *testing.T) {
	t.Parallel()
	other := filepath.Join(t.TempDir(), "weir")
	build := exec.Command("go", "build", "-ldflags", "-X main.version=other", "-o", other, "weir/cmd/weir")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	d := newDirector(t, setup{driver: "afxdp", mode: "native", workers: 1, queues: 1, keep: true})
	d.twoArm()
	d.echoes(1, 7000)
	d.serviceOn("t", 7000, 1)
	d.serviceOn("u", 7000, 1)
	flows := d.longFlows("10.0.0.100:7000", 200)
	gap := d.gapMeter("10.0.0.100:7000")
	flows.move(t, "at first")
	gap.take(t)
	before := d.do("./ipvsadm -ln --stats")
	for i, way := range []string{"kill", "kill", "another build", "kill", "restart", "another build", "kill"} {
		switch way {
		case "restart":
			if err := d.daemon.Stop(within(t, patience)); err != nil {
				t.Fatal(err)
			}
		case "another build":
			if d.binary == "" {
				d.binary = other
			} else {
				d.binary = ""
			}
			fallthrough
		default:
			d.kill()
		}
		began := time.Now()
		d.serve()
		ready := time.Since(began)
		c, err := d.client().Dial(within(t, patience), "tcp", "10.0.0.100:7000")
		if err != nil {
			t.Fatalf("a new connection after %s: %v", way, err)
		}
		fresh := time.Since(began)
		c.Close()
		flows.move(t, fmt.Sprintf("%s %d:", way, i))
		t.Logf("%s: ready after %v, a new connection after %v, datagrams had a gap of %v", way, ready, fresh, gap.take(t))
	}
	t.Logf("the slowest line took %v", time.Duration(flows.slowest.Load()))
	if failed, err := flows.end(); failed > 0 {
		t.Errorf("%d flows of 200 failed, the first: %v", failed, err)
	}
	after := d.do("./ipvsadm -ln --stats")
	if packets(before, "10.0.0.100:7000") == 0 || packets(after, "10.0.0.100:7000") < 2*packets(before, "10.0.0.100:7000") {
		t.Errorf("counters do not go on: before\n%s\nafter\n%s", before, after)
	}
	if v := strings.Fields(d.do("./weir version")); len(v) == 0 {
		t.Error("no version")
	}
	if n := d.stat("lb_no_conn"); n > 0 {
		t.Errorf("%d packets found no connection", n)
	}
}

// packets reads InPkts of a service of TCP out of ipvsadm's statistics.
func packets(list, service string) (n int) {
	m := regexp.MustCompile(`(?m)^TCP\s+` + regexp.QuoteMeta(service) + `\s+\d+\s+(\d+)`).FindStringSubmatch(list)
	if m != nil {
		_, _ = fmt.Sscan(m[1], &n)
	}
	return n
}
