package director

import (
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"weir/internal/flow"
	"weir/internal/lb/forward"
	"weir/internal/lb/laddr"
	"weir/internal/lb/proto"
	"weir/internal/lb/service"
	"weir/internal/port/pipe"
	"weir/internal/spec"
	"weir/internal/worker"
)

// BenchmarkMillionConns measures what looks at every connection of a table of a
// million, and how long a worker is kept from its packets by it (worst/µs: the
// longest wait for the end of a breath).
func BenchmarkMillionConns(b *testing.B) {
	const conns = 1 << 20
	lan, wan := pipe.New(0, "lan", macLAN, 1500).Queues(1), pipe.New(1, "wan", macWAN, 1500).Queues(1)
	s := shape{threads: true}
	bo := boot(1)
	bo.ConnPool = conns
	d, err := NewOn(Bed{Ports: []BedPort{s.onBed(lan, []int{0}), s.onBed(wan, []int{0})}, Seed: 1}, bo,
		spec.Tunables{Timeouts: spec.DefaultTimeouts(), DefaultTTL: 64, NeighTimeout: 60, BusyPoll: true}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	if err := d.Change(twoArm()); err != nil {
		b.Fatal(err)
	}
	e := forward.Ends{
		Proto: 17, Virtual: flow.AddrOf(dns.Virtual.Addr()), VirtualPort: service.WirePort(53),
		Real: flow.AddrOf(netip.MustParseAddr("192.168.1.2")), RealPort: service.WirePort(53), Local: flow.AddrOf(netip.MustParseAddr("192.168.1.200")),
	}
	dest := d.dests.byKey[destKey{dns, netip.MustParseAddrPort("192.168.1.2:53")}]
	for from := 0; from < conns; from += 1 << 14 {
		if err := d.ask(func(_ int, w *worker.Worker) {
			w.Refresh()
			for i := from; i < from+1<<14; i++ {
				e.Client, e.ClientPort = flow.V4(uint32(i>>8)*2654435761|1), uint16(i)
				e.LocalPort, e.Real = uint16(i), flow.V4(uint32(i>>16)) // so that answers' tuples differ
				in, out := forward.FullNAT(&e)
				in.Fast = true
				if _, err := w.Flows().Insert(&in, &out, &flow.NewConn{Dest: dest.Index, Local: laddr.None, State: uint32(proto.UDPNormal), Timeout: 1 << 30}, d.now()); err != nil {
					b.Fatal(err)
				}
				dest.Load.Inactive.Add(1)
			}
		}); err != nil {
			b.Fatal(err)
		}
	}
	// watched runs f and reports how long a worker was busy with one thing meanwhile.
	watched := func(b *testing.B, f func()) {
		stop, worst := make(chan struct{}), make(chan []time.Duration)
		go func() {
			var took []time.Duration
			for {
				select {
				case <-stop:
					worst <- took
					return
				default:
				}
				begin := time.Now()
				_ = d.Alive()
				took = append(took, time.Since(begin))
			}
		}()
		for b.Loop() {
			f()
		}
		close(stop)
		took := <-worst
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)-1].Microseconds()), "worst/µs")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99/µs")
	}
	b.Run("nothing", func(b *testing.B) { watched(b, func() { time.Sleep(100 * time.Millisecond) }) })
	b.Run("list", func(b *testing.B) {
		watched(b, func() {
			n := 0
			d.Conns(func(*ConnView) bool { n++; return true })
			if n != conns {
				b.Fatalf("%d connections are listed", n)
			}
		})
	})
	b.Run("find", func(b *testing.B) {
		var client netip.AddrPort
		d.Conns(func(v *ConnView) bool { client = v.Client; return false })
		for b.Loop() {
			if _, ok := d.FindConn(spec.UDP, client, dns.Virtual); !ok {
				b.Fatal("not found")
			}
		}
	})
	b.Run("deny", func(b *testing.B) {
		if err := d.Change(listed(dns, spec.Blacklist, "1.2.3.4")); err != nil {
			b.Fatal(err)
		}
		watched(b, d.denyAtOnce)
	})
	b.Run("deny all", func(b *testing.B) {
		if err := d.Change(listed(dns, spec.Whitelist, "1.2.3.4")); err != nil {
			b.Fatal(err)
		}
		watched(b, d.denyAtOnce)
	})
}
