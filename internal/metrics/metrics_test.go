package metrics

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"weir/internal/director"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/port/pipe"
	"weir/internal/spec"
	"weir/internal/testkit/words"
)

var (
	macGW  = words.MAC{2, 0, 0, 0, 1, 0xfe}
	macWAN = port.MAC{2, 0, 0, 0, 1, 0}
)

// newBed is a director in memory with a service of each family.
func newBed(t *testing.T) (*director.Director, *pipe.Port) {
	t.Helper()
	lan, wan := pipe.New(0, "lan", port.MAC{2, 0, 0, 0, 2, 0}, 1500), pipe.New(1, "wan", macWAN, 1500)
	on := func(p *pipe.Port) director.BedPort {
		return director.BedPort{Facts: p.Facts(), Owners: []int{0}, Open: func(queue int, pool *packet.Pool) (port.Queue, error) { return p.Queue(queue, pool) }}
	}
	boot := spec.Boot{ConnPool: 1000, PktPool: 4096, IPv6: spec.IPv6{AddrGenMode: spec.AddrGenNone}, Workers: []spec.Worker{{Name: "cpu1", Type: "slave", CPU: -1}}}
	tunables := spec.Tunables{Timeouts: spec.DefaultTimeouts(), DefaultTTL: 64}
	d, err := director.NewOn(director.Bed{Ports: []director.BedPort{on(lan), on(wan)}}, boot, tunables, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	err = d.Change(func(s *spec.Spec) error {
		for _, f := range []struct{ vip, rs, lip string }{{"10.0.0.100", "192.168.1.2", "192.168.1.200"}, {"2001:db8::100", "2001:db8:1::2", "2001:db8:1::200"}} {
			k := spec.ServiceKey{Proto: spec.UDP, Virtual: netip.AddrPortFrom(netip.MustParseAddr(f.vip), 53)}
			vip := netip.MustParseAddr(f.vip)
			for _, err := range []error{
				s.AddAddress(spec.Address{Port: "wan", Prefix: netip.PrefixFrom(vip, vip.BitLen())}, false),
				s.AddService(spec.Service{ServiceKey: k, Scheduler: "rr"}),
				s.AddDest(k, spec.Dest{Addr: netip.AddrPortFrom(netip.MustParseAddr(f.rs), 53), Forward: spec.FullNAT, Weight: 7}),
			} {
				if err != nil {
					return err
				}
			}
			if _, err := s.AddLocal(k, spec.LocalAddress{Addr: netip.MustParseAddr(f.lip), Port: "lan"}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return d, wan
}

// scrape is one answer, once it has a line.
func scrape(t *testing.T, url, line string) (text string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); ; <-tick.C {
		r, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if err != nil || r.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v\n%s", r.Status, err, b)
		}
		if text = string(b); strings.Contains(text, "\n"+line+"\n") {
			return text
		}
		if time.Now().After(deadline) {
			t.Fatalf("no line %q in\n%s", line, text)
		}
	}
}

// Prometheus' own judge finds nothing wrong with names, units and texts; of every reason for
// which a packet may be lost there is a series from the beginning; and what is counted is told.
func TestScrape(t *testing.T) {
	d, wan := newBed(t)
	if problems, err := testutil.GatherAndLint(Registry(d, "1.2.3")); err != nil || len(problems) != 0 {
		t.Errorf("%v %v", problems, err)
	}
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, l, d, "1.2.3") }()
	defer func() {
		end()
		if err := <-served; err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	}()
	url := "http://" + l.Addr().String() + "/metrics"
	text := scrape(t, url, `weir_build_info{version="1.2.3"} 1`)
	for r := packet.NoReason + 1; r < packet.NumReasons; r++ {
		if n := strings.Count(text, "\n"+`weir_dropped_packets_total{reason="`+r.String()+`"} `); n != 1 {
			t.Errorf("%d series of %s", n, r)
		}
	}
	f, err := words.Parse("ip 1.2.3.4 > 10.0.0.100 / udp 5353 > 53 data=100", nil, macGW, words.MAC{2, 0, 0, 0, 9, 9})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		wan.Inject(f.Data) // for another machine
	}
	text = scrape(t, url, `weir_dropped_packets_total{reason="ether_other_host"} 3`)
	for _, want := range []string{
		`weir_device_receive_packets_total{device="wan"} 3`,
		`weir_dest_weight{dest="192.168.1.2:53",service="UDP 10.0.0.100:53"} 7`,
		`weir_dest_packets_total{dest="[2001:db8:1::2]:53",direction="in",service="UDP [2001:db8::100]:53"} 0`,
		`weir_local_ports_used{address="192.168.1.200",device="lan"} 0`,
		`weir_local_ports_missed_total{address="2001:db8:1::200",device="lan"} 0`,
		`weir_conns 0`,
		`weir_forwarded_total 0`,
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("no line %q", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

// Only /metrics is there, and only to be read; and an address that can't be is refused.
func TestRefused(t *testing.T) {
	for addr, want := range map[string]string{"9765": "want ADDRESS:PORT", "192.0.2.1:9765": "--metrics 192.0.2.1:9765: listen"} {
		if l, err := Listen(addr); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", addr, l, err)
		}
	}
}
