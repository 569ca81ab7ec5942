package director_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"weir/internal/packet"
	"weir/internal/spec"
	"weir/internal/testkit/host"
	"weir/internal/wire"
)

// TestRealTCPWithProxy carries streams behind PROXY headers between real TCP
// stacks, over wires that reorder: the server reads one header, which
// names the client, and then the client's stream, whole.
func TestRealTCPWithProxy(t *testing.T) {
	size := 1 << 20
	if testing.Short() {
		size = 1 << 18
	}
	// What is lost is left to real kernels (e2e): the stack in memory takes up to
	// minutes to come back from some losses, though the director drops nothing.
	messy := host.Wire{Reorder: 0.05, Seed: 7}
	for _, row := range []struct {
		name  string
		proxy string
		wire  host.Wire
		own   *wire.ProxyHeader // what the client itself sends in front
		speak bool              // the server speaks first
	}{
		{name: "v1", proxy: "v1"},
		{name: "v2", proxy: "v2"},
		{name: "v1, reorder", proxy: "v1", wire: messy},
		{name: "v2, reorder", proxy: "v2", wire: messy},
		{name: "server first, reorder", proxy: "v2", wire: messy, speak: true},
		// Not with reordering: if the second segment comes first, the client's header is no
		// longer looked for, and reaches the program behind ours.
		{name: "client lies", proxy: "v1", own: said(1)},
		{name: "client lies in the other version", proxy: "v1", own: said(2)},
		{name: "insecure, reorder", proxy: "v2-insecure", wire: messy},
		{name: "insecure, same version, reorder", proxy: "v2-insecure", wire: messy, own: said(2)},
		{name: "insecure, other version, reorder", proxy: "v2-insecure", wire: messy, own: said(1)},
		{name: "insecure, the other way round", proxy: "v1-insecure", wire: messy, own: said(2)},
	} {
		t.Run(row.name, func(t *testing.T) {
			const conns = 16
			d, client, server := twoArm(t, 2, row.wire)
			err := d.Change(func(s *spec.Spec) error {
				return s.EditService(spec.Service{ServiceKey: spec.ServiceKey{Proto: spec.TCP, Virtual: vip}, Scheduler: "rr", ProxyProtocol: row.proxy})
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d.Workers(); err != nil { // each has begun a breath since
				t.Fatal(err)
			}
			l, err := server.Listen(80)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			results := make(chan error, 2*conns)
			seen := make(chan wire.ProxyHeader, conns)
			go func() {
				for range conns {
					c, err := l.Accept()
					if err != nil {
						results <- err
						return
					}
					t.Cleanup(func() { _ = c.Close() })
					go func() { results <- serveProxied(ctx, c, size/conns, row.speak, seen) }()
				}
			}()
			dialled := map[netip.AddrPort]bool{}
			for range conns {
				c, err := client.Dial(ctx, vip)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = c.Close() })
				dialled[netip.MustParseAddrPort(c.LocalAddr().String())] = true
				go func() { results <- askProxied(ctx, c, size/conns, row.speak, row.own) }()
			}
			for range 2 * conns {
				if err := <-results; err != nil {
					t.Fatal(err)
				}
			}
			for range conns {
				h := <-seen
				switch {
				case h.Version != row.proxy[1]-'0':
					t.Errorf("the server read version %d", h.Version)
				case row.own != nil && len(row.proxy) > 2:
					if h.Source != row.own.Source || h.Destination != row.own.Destination {
						t.Errorf("the server read %v > %v, the client said %v > %v", h.Source, h.Destination, row.own.Source, row.own.Destination)
					}
				case !dialled[h.Source] || h.Destination != vip:
					t.Errorf("the server read %v > %v", h.Source, h.Destination)
				default:
					delete(dialled, h.Source)
				}
			}
			if n := client.BadChecksums() + server.BadChecksums(); n != 0 {
				t.Errorf("%d packets had wrong checksums", n)
			}
			views, err := d.Workers()
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range views {
				if v.Stats.TOASent != 0 || v.Stats.Drops[packet.WalkFault] != 0 {
					t.Errorf("%s: %d segments with TOA, %d packets met a defect", v.Name, v.Stats.TOASent, v.Stats.Drops[packet.WalkFault])
				}
			}
		})
	}
}

func said(version uint8) *wire.ProxyHeader {
	return &wire.ProxyHeader{
		Version: version, Proto: wire.ProtoTCP,
		Source: netip.MustParseAddrPort("9.9.9.9:999"), Destination: netip.MustParseAddrPort("8.8.8.8:888"),
	}
}

// serveProxied reads the header, greets if the server speaks first, and then
// exchanges streams.
func serveProxied(ctx context.Context, c net.Conn, size int, speak bool, seen chan<- wire.ProxyHeader) error {
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return err
	}
	r := bufio.NewReaderSize(c, 512)
	for {
		b, err := r.Peek(r.Buffered())
		if err == nil {
			if h, n, ok := wire.ParseProxy(b); ok {
				if _, err := r.Discard(n); err != nil {
					return err
				}
				seen <- h
				break
			}
			_, err = r.Peek(r.Buffered() + 1)
		}
		if err != nil {
			return fmt.Errorf("no PROXY header in %q: %w", b, err)
		}
	}
	if speak {
		if _, err := io.WriteString(c, "220 hello\n"); err != nil {
			return err
		}
	}
	return exchange(ctx, buffered{c, r}, size, 2, 1)
}

func askProxied(ctx context.Context, c net.Conn, size int, speak bool, own *wire.ProxyHeader) error {
	r := bufio.NewReader(c)
	if speak {
		if line, err := r.ReadString('\n'); err != nil || line != "220 hello\n" {
			return fmt.Errorf("the server greets with %q: %w", line, err)
		}
	}
	if own != nil {
		if _, err := c.Write(wire.AppendProxy(nil, own)); err != nil {
			return err
		}
	}
	return exchange(ctx, buffered{c, r}, size, 1, 2)
}

// buffered is a connection of which a reader has read ahead.
type buffered struct {
	net.Conn
	r io.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.r.Read(p) }

func (b buffered) CloseWrite() error {
	return b.Conn.(interface{ CloseWrite() error }).CloseWrite()
}
