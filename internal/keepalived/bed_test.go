package keepalived

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weir/api/client"
	"weir/internal/control"
	"weir/internal/director"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/port/pipe"
	"weir/internal/spec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long anything may take before a test gives up on it.
const patience = 30 * time.Second

// eventually waits for a condition.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not after %v: %s", patience, what)
		}
	}
}

// bed is a director in memory with its API on a socket.
type bed struct {
	*director.Director
	path string
	end  func()
}

func newDirector(t testing.TB, path string) *bed {
	t.Helper()
	boot := spec.Boot{IPv6: spec.IPv6{AddrGenMode: spec.AddrGenNone}, ConnPool: 1000, PktPool: 1024, Workers: []spec.Worker{
		{Name: "cpu0", Type: "master"}, {Name: "cpu1", Type: "slave", CPU: -1},
	}}
	tunables := spec.Tunables{Timeouts: spec.DefaultTimeouts(), DefaultTTL: 64, NeighTimeout: 60}
	var ports []director.BedPort
	for i, name := range []string{"dpdk0", "dpdk1"} {
		p := pipe.New(uint16(i), name, port.MAC{2, 0, 0, 0, byte(i), 0}, 1500)
		ports = append(ports, director.BedPort{Facts: p.Facts(), Owners: []int{0}, Open: func(queue int, pool *packet.Pool) (port.Queue, error) { return p.Queue(queue, pool) }})
	}
	d, err := director.NewOn(director.Bed{Ports: ports}, boot, tunables, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l, lock, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- control.New(d, "1.2.3").Serve(ctx, l) }()
	b := &bed{Director: d, path: path}
	b.end = sync.OnceFunc(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		_ = os.Remove(path)
		_ = lock.Close()
	})
	t.Cleanup(b.end)
	return b
}

func newBed(t testing.TB) *bed { t.Helper(); return newDirector(t, filepath.Join(t.TempDir(), "s")) }

// logged is a log that tests look into.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements [io.Writer].
func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// running is a daemon at work.
type running struct {
	t        testing.TB
	d        *Daemon
	log      *logged
	signals  chan os.Signal
	reloaded chan struct{}
	stop     func()
}

// begin starts a daemon for a file.
func begin(t testing.TB, socket, path string) *running {
	t.Helper()
	f, err := Read(path, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, log: &logged{}, signals: make(chan os.Signal, 1), reloaded: make(chan struct{}, 1)}
	r.d, err = New(Options{
		Path: path, Client: client.New(socket), Socket: socket, Checks: true,
		Log: slog.New(slog.NewTextHandler(r.log, nil)), Reloaded: func() { r.reloaded <- struct{}{} },
		DataFile: filepath.Join(filepath.Dir(path), "keepalived.data"), StatsFile: filepath.Join(filepath.Dir(path), "keepalived.stats"),
	}, f)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.d.run(ctx, r.signals) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("keepalived said:\n%s", r.log)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// reload sends SIGHUP and waits until it is done.
func (r *running) reload() {
	r.t.Helper()
	r.signals <- syscall.SIGHUP
	select {
	case <-r.reloaded:
	case <-time.After(patience):
		r.t.Fatal("the reload does not end")
	}
}

// says waits for a line of the log.
func (r *running) says(text string) {
	r.t.Helper()
	eventually(r.t, "the log says "+text, func() bool { return strings.Contains(r.log.String(), text) })
}

// write writes a keepalived.conf.
func write(t testing.TB, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "keepalived.conf")
	rewrite(t, path, text)
	return path
}

func rewrite(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// shown is a director's services in words, one a line, in an order of their own.
func shown(b *bed) string {
	var lines []string
	s := b.Spec()
	for i := range s.Services {
		svc := s.Services[i]
		k := svc.ServiceKey.String()
		for _, d := range svc.Dests {
			lines = append(lines, fmt.Sprintf("%s -> %s %s %d %d %d", k, d.Addr, d.Forward, d.Weight, d.UThreshold, d.LThreshold))
		}
		for _, l := range svc.Locals {
			lines = append(lines, fmt.Sprintf("%s local %s %s", k, l.Addr, l.Port))
		}
		for _, a := range svc.Blacklist {
			lines = append(lines, fmt.Sprintf("%s not %s", k, a))
		}
		for _, a := range svc.Whitelist {
			lines = append(lines, fmt.Sprintf("%s only %s", k, a))
		}
		svc.Dests, svc.Locals, svc.Blacklist, svc.Whitelist = nil, nil, nil, nil
		options, _ := json.Marshal(svc)
		lines = append(lines, fmt.Sprintf("%s is %s", k, options))
	}
	for _, a := range s.Addresses {
		lines = append(lines, fmt.Sprintf("address %s %s %v", a.Prefix, a.Port, a.SAPool))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
