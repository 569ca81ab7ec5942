//go:build long

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

// smallTable is the smallest flow table, of 60 MiB: tests side by side have one each.
const smallTable = "ipvs_defs {\n    conn {\n        conn_pool_size 65536\n    }\n}\n"

// otherBuild is the daemon with another version in it.
func otherBuild(t *testing.T) string {
	t.Helper()
	other := filepath.Join(t.TempDir(), "weir")
	build := exec.Command("go", "build", "-ldflags", "-X main.version=other", "-o", other, "weir/cmd/weir")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return other
}

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

// Long connections, checked byte by byte, while the daemon is killed and started again, and
// replaced by another build: none is reset, none is lost, and new ones work.
func TestRestartLosesNoFlow(t *testing.T) {
	t.Parallel()
	other := otherBuild(t)
	for _, row := range []struct {
		setup setup
		flows int // of each family
		ways  string
	}{
		{setup{driver: "afxdp", mode: "native", workers: 1, queues: 1, keep: true, conf: smallTable}, 100, "kill kill upgrade kill restart upgrade kill"},
		{setup{driver: "afpacket", workers: 2, queues: 2, keep: true, conf: smallTable}, 20, "kill restart kill"},
	} {
		t.Run(row.setup.String(), func(t *testing.T) {
			t.Parallel()
			d := newDirector(t, row.setup)
			d.echoServices()
			all := []*longFlows{d.longFlows("10.0.0.100:7000", row.flows), d.longFlows("[2001:db8:10::100]:7000", row.flows)}
			gap := d.gapMeter("10.0.0.100:7000")
			move := func(when string) {
				t.Helper()
				for _, f := range all {
					f.move(t, when)
				}
			}
			move("at first")
			gap.take(t)
			before := d.do("./ipvsadm -ln --stats")
			for i, way := range strings.Fields(row.ways) {
				switch way {
				case "restart":
					if err := d.daemon.Stop(within(t, patience)); err != nil {
						t.Fatal(err)
					}
				case "upgrade":
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
				for _, address := range []string{"10.0.0.100:7000", "[2001:db8:10::100]:7000"} {
					c, err := d.client().Dial(within(t, patience), "tcp", address)
					if err != nil {
						t.Fatalf("a new connection to %s after %s: %v", address, way, err)
					}
					c.Close()
				}
				fresh := time.Since(began)
				move(fmt.Sprintf("%s %d:", way, i))
				t.Logf("%s: ready after %v, new connections after %v, datagrams had a gap of %v", way, ready, fresh, gap.take(t))
				if want := map[bool]string{false: "dev", true: "other"}[d.binary != ""]; !strings.Contains(d.do("./weir version"), want) {
					t.Errorf("%s: it is not version %s: %s", way, want, d.do("./weir version"))
				}
				if !strings.Contains(d.log.String(), "weir goes on with") {
					t.Errorf("%s: it does not say what it goes on with:\n%s", way, d.log)
				}
				if n := d.stat("lb_no_conn") + d.stat("lb_no_service"); n > 0 {
					t.Errorf("%s: %d packets found no connection", way, n)
				}
			}
			for _, f := range all {
				t.Logf("the slowest line took %v", time.Duration(f.slowest.Load()))
				if failed, err := f.end(); failed > 0 {
					t.Errorf("%d flows of %d failed, the first: %v", failed, row.flows, err)
				}
			}
			after := d.do("./ipvsadm -ln --stats")
			for _, service := range []string{"10.0.0.100:7000", "[2001:db8:10::100]:7000"} {
				if was, is := packets(before, service), packets(after, service); was == 0 || is < 2*was {
					t.Errorf("counters do not go on: before\n%s\nafter\n%s", before, after)
				}
			}
			if out := d.do("./ipvsadm -Sn"); strings.Count(out, "-A ") != 3 {
				t.Errorf("services are\n%s", out)
			}
		})
	}
}

// What can't be gone on with is refused in one sentence, and --fresh begins anew; two don't
// go on with the same; purge takes all of it away; and without --pin nothing is left.
func TestRestartRefused(t *testing.T) {
	t.Parallel()
	d := newDirector(t, setup{driver: "afpacket", workers: 1, queues: 1, keep: true, conf: smallTable})
	d.twoArm()
	d.echoes(1, 7000)
	d.serviceOn("t", 7000, 1)
	flows := d.longFlows("10.0.0.100:7000", 3)
	flows.move(t, "at first")
	// fails starts another daemon, which must end by itself, and returns what it said.
	fails := func(socket string, args ...string) string {
		t.Helper()
		said := &lines{}
		cmd := exec.Command(program("weir"), append([]string{"serve", "-c", d.path("dpvs.conf"), "-x", d.path(socket)}, args...)...)
		cmd.Stdout, cmd.Stderr = said, said
		p := d.startCmd(d.net.Director, cmd)
		if err := p.Wait(within(t, patience)); err == nil || p.ExitCode() != 1 {
			t.Fatalf("%v: %v\n%s", args, err, said)
		}
		return said.String()
	}
	purge := func() (string, error) {
		return d.net.Director.Run(within(t, patience), program("weir"), "purge", "--pin", d.pins)
	}
	if out := fails("weir.sock", "--pin", d.pins); !strings.Contains(out, "weir is already running") {
		t.Errorf("a second one: %s", out)
	}
	if out := fails("other.sock", "--pin", d.pins); !strings.Contains(out, "a running weir holds it") {
		t.Errorf("a second one in the same folder: %s", out)
	}
	if out, err := purge(); err == nil || !strings.Contains(out+err.Error(), "a running weir has them; stop that first") {
		t.Errorf("purge while it runs: %v\n%s", err, out)
	}
	flows.move(t, "after all that")
	d.kill()
	conf := d.conf()
	if err := os.WriteFile(d.path("dpvs.conf"), []byte(strings.Replace(conf, "65536", "200000", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if out := fails("weir.sock", "--pin", d.pins); strings.Count(out, "weir:") != 1 ||
		!strings.Contains(out, "has room for 65536 connections, and conn_pool_size wants 200000: start the former weir again to go on, or begin without its connections and services: weir serve --fresh") {
		t.Errorf("another size: %s", out)
	}
	d.serve() // as it was
	flows.move(t, "after a start that was refused")
	if failed, err := flows.end(); failed > 0 {
		t.Errorf("%d flows failed: %v", failed, err)
	}
	d.kill()
	d.setup.conf, d.args = strings.Replace(smallTable, "65536", "200000", 1), []string{"--fresh"}
	d.serve()
	if out := d.do("./ipvsadm -Sn"); strings.Contains(out, "-A") {
		t.Errorf("--fresh: %s", out)
	}
	d.kill()
	if out, err := purge(); err != nil || !strings.Contains(out, "connections and services, kept in "+d.pins+", are removed") {
		t.Errorf("purge: %v\n%s", err, out)
	}
	if _, err := os.Stat(d.pins); !os.IsNotExist(err) {
		t.Errorf("%s is there: %v", d.pins, err)
	}
	pins := d.pins
	d.pins, d.args = "", nil
	d.serve()
	d.kill()
	if left, err := os.ReadDir(filepath.Dir(pins)); err != nil || len(left) > 2 { // a bpffs has two names of its own
		t.Errorf("without --pin there is left: %v, %v", left, err)
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

// A director that goes on has keepalived's services and its VIP from the first moment; who
// holds the VIP comes again, and when he goes it goes.
func TestRestartUnderKeepalived(t *testing.T) {
	t.Parallel()
	s := drivers[0]
	s.keep, s.conf = true, smallTable
	d := newKeepalivedBed(t, s)
	for _, rs := range d.net.Servers {
		d.nginx(rs)
	}
	k := d.keepalived(keepalivedTutorial)
	hasVIP := func() bool { return strings.Contains(d.do("./dpip addr show"), "192.168.100.254/32") }
	want := fmt.Sprintf(keepalivedServices, 100, 100)
	d.lists("./ipvsadm -ln --nosort", want)
	eventually(t, "the VIP is there", hasVIP)
	for range 2 {
		d.kill()
		k.says("the director is gone")
		d.serve()
		if !hasVIP() || d.do("./ipvsadm -ln --nosort") != want {
			t.Errorf("at first there is the VIP: %v, and\n%s", hasVIP(), d.do("./ipvsadm -ln --nosort"))
		}
	}
	began := time.Now()
	eventually(t, "addresses that nobody came for have left", func() bool { return time.Since(began) > 7*time.Second })
	if !hasVIP() {
		t.Error("the VIP left, and keepalived holds it")
	}
	d.lists("./ipvsadm -ln --nosort", want)
	for line := range strings.Lines(k.log.String()) {
		// A call that a death interrupts is none that the director refused.
		if strings.Contains(line, "refused") && !strings.Contains(line, "weir.sock: ") {
			t.Errorf("keepalived says %s", line)
		}
	}
	k.process.Kill()
	eventually(t, "the VIP has left with keepalived", func() bool { return !hasVIP() })
}
