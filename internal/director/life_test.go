package director

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/port/pipe"
	"weir/internal/spec"
	"weir/internal/worker"
)

// descriptors are the files that the process has open.
func descriptors(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		// The one that reads the directory is gone by now.
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err == nil {
			out = append(out, e.Name()+" "+to)
		}
	}
	slices.Sort(out)
	return out
}

// Close gives back all that was taken, with connections open, packets waiting
// for neighbours and packets on the way.
func TestCloseGivesBackAll(t *testing.T) {
	before, goroutines := descriptors(t), goleak.IgnoreCurrent()
	for round := range 12 {
		s := shape{threads: true, workers: 2, lan: []int{1, 0}, wan: []int{0, 1}}
		b := newSmall(t, s)
		b.change(twoArm(), addDest(dns, "192.168.1.3:53", 1)) // whose MAC nobody knows
		for i := range 200 {
			b.wan.Inject(frame(t, macGW, macWAN, fmt.Sprintf("ip 1.2.3.4 > 10.0.0.100 / udp %d > 53 data=4", 20000+i)))
		}
		if round%2 == 0 {
			eventually(t, "packets wait for the neighbour", func() bool {
				ns, err := b.Neighbours()
				return err == nil && slices.ContainsFunc(ns, func(n NeighbourView) bool { return n.Queued > 0 })
			})
		}
		if round%4 == 0 {
			if err := b.SetWorker("cpu2", false); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		for _, w := range b.workers {
			if n := w.Pool().InUse(); n != 0 {
				t.Errorf("round %d: %d packets of worker %s are out", round, n, w.Name)
			}
			if w.Pool().Arena() != nil {
				t.Errorf("round %d: the memory of worker %s is still mapped", round, w.Name)
			}
		}
		goleak.VerifyNone(t, goroutines)
		if now := descriptors(t); !slices.Equal(now, before) {
			t.Fatalf("round %d: open files are\n%s\nwere\n%s", round, strings.Join(now, "\n"), strings.Join(before, "\n"))
		}
	}
}

// A director that can't be made leaves nothing either.
func TestFailureAtStartLeavesNothing(t *testing.T) {
	good := func() (Bed, spec.Boot) {
		p := pipe.New(0, "lan", macLAN, 1500).Queues(2)
		s := shape{}
		return Bed{Ports: []BedPort{s.onBed(p, []int{0, 1})}}, boot(2)
	}
	for _, tc := range []struct {
		name string
		edit func(*Bed, *spec.Boot)
		want string
	}{
		{"no worker", func(_ *Bed, b *spec.Boot) { b.Workers = []spec.Worker{{Name: "cpu0", Type: "master"}} }, "workers"},
		{"no connections", func(_ *Bed, b *spec.Boot) { b.ConnPool = 0 }, "0 connections"},
		{"no packets", func(_ *Bed, b *spec.Boot) { b.PktPool = 0 }, "at least one small frame"},
		{"local ports the wrong way round", func(_ *Bed, b *spec.Boot) { b.LocalFirst, b.LocalLast = 9, 8 }, "local ports 9-8"},
		{"second queue can't be opened", func(bed *Bed, _ *spec.Boot) {
			open := bed.Ports[0].Open
			bed.Ports[0].Open = func(queue int, pool *packet.Pool) (port.Queue, error) {
				if queue == 1 {
					return nil, errors.New("no luck")
				}
				return open(queue, pool)
			}
		}, "device lan: no luck"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before, goroutines := descriptors(t), goleak.IgnoreCurrent()
			bed, boot := good()
			tc.edit(&bed, &boot)
			d, err := NewOn(bed, boot, spec.Tunables{Timeouts: spec.DefaultTimeouts()}, slog.New(slog.DiscardHandler))
			if err == nil || d != nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("made %v, %v; want an error with %q", d, err, tc.want)
			}
			goleak.VerifyNone(t, goroutines)
			if now := descriptors(t); !slices.Equal(now, before) {
				t.Errorf("open files are %q, were %q", now, before)
			}
		})
	}
}

// Who asks for connections while the director closes gets them whole or not at
// all: the table stays until nobody reads it.
func TestCloseWaitsForReaders(t *testing.T) {
	b := newSmall(t, shape{})
	b.change(twoArm())
	for i := range 100 {
		b.asked(40000+i, "10.0.0.100:53")
	}
	reading, goOn, seen := make(chan struct{}), make(chan struct{}), make(chan int)
	go func() {
		n := 0
		b.Conns(func(v *ConnView) bool {
			if n++; n == 1 {
				close(reading)
				<-goOn
			}
			return v.Real == netip.MustParseAddrPort("192.168.1.2:53")
		})
		seen <- n
	}()
	<-reading
	closed := make(chan error, 1)
	go func() { closed <- b.Close() }()
	eventually(t, "Close waits for the reader, or is through", func() bool {
		if !b.reading.TryRLock() {
			return true // no reader gets in any more
		}
		b.reading.RUnlock()
		return len(closed) > 0
	})
	if len(closed) > 0 {
		t.Fatal("closed while connections are read")
	}
	close(goOn)
	if n := <-seen; n != 100 {
		t.Errorf("%d connections were seen, want 100", n)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	b.Conns(func(*ConnView) bool { t.Error("a closed director has a connection"); return false })
}

// After the end everything is refused, and nothing touches what is gone.
func TestAfterClose(t *testing.T) {
	for _, s := range []shape{{}, {threads: true}} {
		b := newSmall(t, s)
		b.change(twoArm())
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		everything := func(spec.ServiceKey) bool { return true }
		for name, f := range map[string]func() error{
			"Change":     func() error { return b.Change(twoArm()) },
			"Reload":     func() error { return b.Reload(b.tunables) },
			"SetWorker":  func() error { return b.SetWorker("cpu1", false) },
			"Neighbours": func() error { _, err := b.Neighbours(); return err },
		} {
			if err := f(); !errors.Is(err, ErrClosed) {
				t.Errorf("%s: %v, want ErrClosed", name, err)
			}
		}
		if !s.threads {
			continue // by hand nobody asks a worker that is gone
		}
		for name, f := range map[string]func() error{
			"Services": func() error { _, err := b.Services(everything); return err },
			"Zero":     func() error { return b.Zero(everything) },
			"Workers":  func() error { _, err := b.Workers(); return err },
			"Ports":    func() error { _, err := b.Ports(); return err },
			"Drops":    func() error { _, err := b.Drops(); return err },
			"Alive":    b.Alive,
			"Do":       func() error { return b.workers[0].Do(context.Background(), func(*worker.Worker) {}) },
		} {
			if err := f(); !errors.Is(err, worker.ErrStopped) {
				t.Errorf("%s: %v, want ErrStopped", name, err)
			}
		}
		b.Conns(func(*ConnView) bool { t.Error("a closed director has a connection"); return false })
		_, _ = b.Gauges(), b.Routes()
	}
}
