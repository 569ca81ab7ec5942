package director_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"weir/internal/director"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/port/pipe"
	"weir/internal/spec"
	"weir/internal/testkit/host"
)

var vip = netip.MustParseAddrPort("10.0.0.100:80")

// twoArm is a director in memory with running workers, a client on wan and a
// real server on lan.
func twoArm(t *testing.T, workers int, wire host.Wire) (d *director.Director, client, server *host.Host) {
	t.Helper()
	owners := make([]int, workers)
	boot := spec.Boot{ConnPool: 1000, PktPool: 4096}
	for i := range owners {
		owners[i] = i
		boot.Workers = append(boot.Workers, spec.Worker{Name: fmt.Sprintf("cpu%d", i+1), Type: "slave", CPU: -1})
	}
	lan := pipe.New(0, "lan", port.MAC{2, 0, 0, 0, 2, 0}, 1500).Queues(workers)
	wan := pipe.New(1, "wan", port.MAC{2, 0, 0, 0, 1, 0}, 1500).Queues(workers)
	var bed director.Bed
	for _, p := range []*pipe.Port{lan, wan} {
		bed.Ports = append(bed.Ports, director.BedPort{
			Facts: p.Facts(), Owners: owners,
			Open: func(queue int, pool *packet.Pool) (port.Queue, error) { return p.Queue(queue, pool) },
		})
	}
	d, err := director.NewOn(bed, boot, spec.Tunables{Timeouts: spec.DefaultTimeouts(), DefaultTTL: 64}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	k := spec.ServiceKey{Proto: spec.TCP, Virtual: vip}
	err = d.Change(func(s *spec.Spec) error {
		for _, err := range []error{
			s.AddAddress(spec.Address{Port: "lan", Prefix: netip.MustParsePrefix("192.168.1.1/24")}, false),
			s.AddAddress(spec.Address{Port: "wan", Prefix: netip.MustParsePrefix("10.0.0.1/24")}, false),
			s.AddAddress(spec.Address{Port: "wan", Prefix: netip.MustParsePrefix("10.0.0.100/32")}, false),
			s.AddService(spec.Service{ServiceKey: k, Scheduler: "rr"}),
			s.AddDest(k, spec.Dest{Addr: netip.MustParseAddrPort("192.168.1.2:80"), Forward: spec.FullNAT, Weight: 1}),
		} {
			if err != nil {
				return err
			}
		}
		_, err := s.AddLocal(k, spec.LocalAddress{Addr: netip.MustParseAddr("192.168.1.200"), Port: "lan"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	attach := func(c host.Config) *host.Host {
		c.Wire = wire
		h, err := host.New(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.Close)
		return h
	}
	client = attach(host.Config{Port: wan, MAC: [6]byte{2, 0, 0, 0, 1, 9}, Addr: netip.MustParsePrefix("10.0.0.9/24")})
	server = attach(host.Config{Port: lan, MAC: [6]byte{2, 0, 0, 0, 2, 2}, Addr: netip.MustParsePrefix("192.168.1.2/24")})
	return d, client, server
}

// TestRealTCP carries streams both ways at once between real TCP stacks, over
// wires that lose and reorder, on one worker and on two.
func TestRealTCP(t *testing.T) {
	size := 8 << 20
	if testing.Short() {
		size = 1 << 20
	}
	for _, row := range []struct {
		name    string
		workers int
		conns   int
		wire    host.Wire
	}{
		{"clean wire", 1, 1, host.Wire{}},
		{"clean wire, two workers", 2, 4, host.Wire{}},
		{"loss and reorder", 1, 2, host.Wire{Loss: 0.01, Reorder: 0.01, Seed: 1}},
		{"loss and reorder, two workers", 2, 4, host.Wire{Loss: 0.01, Reorder: 0.01, Seed: 2}},
	} {
		t.Run(row.name, func(t *testing.T) {
			d, client, server := twoArm(t, row.workers, row.wire)
			l, err := server.Listen(80)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			each := size / row.conns
			results := make(chan error, 2*row.conns)
			go func() {
				for range row.conns {
					c, err := l.Accept()
					if err != nil {
						results <- err
						return
					}
					t.Cleanup(func() { _ = c.Close() })
					go func() { results <- exchange(ctx, c, each, 2, 1) }()
				}
			}()
			for range row.conns {
				go func() {
					c, err := client.Dial(ctx, vip)
					if err == nil {
						t.Cleanup(func() { _ = c.Close() })
						err = exchange(ctx, c, each, 1, 2)
					}
					results <- err
				}()
			}
			for range 2 * row.conns {
				if err := <-results; err != nil {
					t.Fatal(err)
				}
			}
			if n := client.BadChecksums() + server.BadChecksums(); n != 0 {
				t.Errorf("%d packets had wrong checksums", n)
			}
			views, err := d.Workers()
			if err != nil {
				t.Fatal(err)
			}
			toa, made := uint64(0), uint64(0)
			for _, v := range views {
				toa += v.Stats.TOASent
				made += v.Stats.NewConns
				if n := v.Stats.Drops[packet.WalkFault]; n != 0 {
					t.Errorf("%s: %d packets met a defect", v.Name, n)
				}
			}
			if made != uint64(row.conns) || toa < made {
				t.Errorf("%d connections for %d dials; %d segments told the client's address", made, row.conns, toa)
			}
		})
	}
}

// exchange sends a stream and reads the other's at the same time, until both
// have ended. Who closes the connection at once would leave the other's stack
// without what it still has to repeat.
func exchange(ctx context.Context, c net.Conn, size int, mine, theirs uint64) error {
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(deadline); err != nil {
			return err
		}
	}
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(c, stream(mine, size))
		if half, ok := c.(interface{ CloseWrite() error }); ok && err == nil {
			err = half.CloseWrite()
		}
		sent <- err
	}()
	got, want := sha256.New(), sha256.New()
	n, err := io.Copy(got, c)
	if err != nil {
		return fmt.Errorf("after %d bytes: %w", n, err)
	}
	if _, err := io.Copy(want, stream(theirs, size)); err != nil {
		return err
	}
	if n != int64(size) || !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		return fmt.Errorf("%d of %d bytes came, or other ones", n, size)
	}
	return <-sent
}

// stream is size bytes that depend on the seed.
func stream(seed uint64, size int) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{byte(seed)}), int64(size))
}
