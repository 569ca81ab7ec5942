package director

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weir/internal/clock"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/port/pipe"
	"weir/internal/spec"
	"weir/internal/testkit/words"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long anything may take before a test gives up on it.
const patience = 30 * time.Second

// eventually waits for a condition.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("not after %v: %s", patience, what)
		}
		<-tick.C
	}
}

// logged is a log to look at.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// small is a director in memory between a lan and a wan.
type small struct {
	*Director
	t        testing.TB
	lan, wan *pipe.Port
	nanos    uint64
	said     logged
	closing  sync.Once
	closeErr error
}

// Close closes the director, once.
func (b *small) Close() error {
	b.closing.Do(func() { b.closeErr = b.Director.Close() })
	return b.closeErr
}

var (
	macGW  = words.MAC{2, 0, 0, 0, 1, 0xfe}
	macRS  = words.MAC{2, 0, 0, 0, 2, 0xfe}
	macLAN = port.MAC{2, 0, 0, 0, 2, 0}
	macWAN = port.MAC{2, 0, 0, 0, 1, 0}
)

// shape is how a director is made. The zero value is one worker breathed by hand.
type shape struct {
	threads  bool
	workers  int
	lan, wan []int // owners of the queues
	ipv6     spec.IPv6
	twin     func(dev string) *pipe.Port // nil: there are none
	keep     string                      // folder of what outlives it
	fresh    bool
	renamed  string    // of the port lan; "": lan
	ports    [2]uint16 // that local addresses use; 0: as ever
	pool     int       // connections; 0: 1000
	now      uint64    // 0: the clock's
	// opened, if set, sees each queue before its worker.
	opened func(dev string, q *pipe.Queue, pool *packet.Pool)
}

func boot(workers int) spec.Boot {
	b := spec.Boot{ConnPool: 1000, PktPool: 2048}
	for i := range workers {
		b.Workers = append(b.Workers, spec.Worker{Name: fmt.Sprintf("cpu%d", i+1), Type: "slave", CPU: -1})
	}
	return b
}

func newSmall(t testing.TB, s shape) *small {
	t.Helper()
	b, err := tryDirector(t, s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// tryDirector is newSmall for a director that may refuse to start.
func tryDirector(t testing.TB, s shape) (*small, error) {
	t.Helper()
	if s.renamed == "" {
		s.renamed = "lan"
	}
	if s.workers == 0 {
		s.workers = 1
	}
	if s.lan == nil {
		s.lan, s.wan = []int{0}, []int{0}
	}
	// At the same place of a second always: housekeeping is once a second (pass).
	b := &small{t: t, nanos: (clock.Nanos()/1e9+1)*1e9 + 50e6}
	if s.now != 0 {
		b.nanos = s.now
	}
	b.lan = pipe.New(0, s.renamed, macLAN, 1500).Queues(len(s.lan))
	b.wan = pipe.New(1, "wan", macWAN, 1500).Queues(len(s.wan))
	bed := Bed{Ports: []BedPort{s.onBed(b.lan, s.lan), s.onBed(b.wan, s.wan)}, ByHand: !s.threads, Seed: 1}
	if bed.ByHand {
		bed.Clock = func() uint64 { return b.nanos }
	}
	tunables := spec.Tunables{Timeouts: spec.DefaultTimeouts(), DefaultTTL: 64, NeighTimeout: 60}
	var err error
	start := boot(s.workers)
	start.IPv6, start.Keep, start.Fresh = s.ipv6, s.keep, s.fresh
	start.LocalFirst, start.LocalLast = s.ports[0], s.ports[1]
	if s.pool != 0 {
		start.ConnPool = s.pool
	}
	if b.Director, err = NewOn(bed, start, tunables, slog.New(slog.NewTextHandler(&b.said, nil))); err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		for _, w := range b.workers {
			if n := w.Pool().InUse(); n != 0 {
				t.Errorf("worker %s: %d packets are out of the pool at the end", w.Name, n)
			}
		}
	})
	return b, nil
}

func (s *shape) onBed(p *pipe.Port, owners []int) BedPort {
	b := BedPort{Facts: p.Facts(), Owners: owners, Open: func(queue int, pool *packet.Pool) (port.Queue, error) {
		q, err := p.Queue(queue, pool)
		if err == nil && s.opened != nil {
			s.opened(p.Facts().Name, q, pool)
		}
		return q, err
	}}
	if s.twin != nil {
		k := s.twin(p.Facts().Name)
		b.Twin = func(worker int, pool *packet.Pool) (port.Queue, error) { return k.Queue(worker, pool) }
	}
	return b
}

// change makes a change that must not be refused.
func (b *small) change(edits ...func(*spec.Spec) error) {
	b.t.Helper()
	if err := b.Change(all(edits...)); err != nil {
		b.t.Fatal(err)
	}
	if b.byHand() {
		b.breathe()
	}
}

// all is some edits as one.
func all(edits ...func(*spec.Spec) error) func(*spec.Spec) error {
	return func(s *spec.Spec) error {
		for _, e := range edits {
			if err := e(s); err != nil {
				return err
			}
		}
		return nil
	}
}

func addAddr(port, prefix string) func(*spec.Spec) error {
	return func(s *spec.Spec) error {
		return s.AddAddress(spec.Address{Port: port, Prefix: netip.MustParsePrefix(prefix)}, false)
	}
}

func noAddr(port, prefix string) func(*spec.Spec) error {
	return func(s *spec.Spec) error { return s.DeleteAddress(netip.MustParsePrefix(prefix), port) }
}

func addRoute(prefix, port, via string) func(*spec.Spec) error {
	return func(s *spec.Spec) error { return s.AddRoute(aRoute(prefix, port, via)) }
}

func aRoute(prefix, port, via string) spec.Route {
	r := spec.Route{Prefix: netip.MustParsePrefix(prefix), Port: port}
	if via != "" {
		r.Via = netip.MustParseAddr(via)
	}
	return r
}

func station(port, ip string, mac words.MAC) func(*spec.Spec) error {
	return func(s *spec.Spec) error {
		return s.AddNeighbour(spec.Neighbour{Port: port, Addr: netip.MustParseAddr(ip), MAC: mac})
	}
}

func noStation(port, ip string) func(*spec.Spec) error {
	return func(s *spec.Spec) error {
		_, err := s.DeleteNeighbour(netip.MustParseAddr(ip), port)
		return err
	}
}

func udp(vip string) spec.ServiceKey {
	return spec.ServiceKey{Proto: spec.UDP, Virtual: netip.MustParseAddrPort(vip)}
}

func addService(k spec.ServiceKey, scheduler string) func(*spec.Spec) error {
	return func(s *spec.Spec) error {
		return s.AddService(spec.Service{ServiceKey: k, Scheduler: scheduler, ConnTimeout: 10})
	}
}

func reschedule(k spec.ServiceKey, scheduler string) func(*spec.Spec) error {
	return func(s *spec.Spec) error {
		return s.EditService(spec.Service{ServiceKey: k, Scheduler: scheduler, ConnTimeout: 10})
	}
}

func noService(k spec.ServiceKey) func(*spec.Spec) error {
	return func(s *spec.Spec) error { return s.DeleteService(k) }
}

func aDest(a string, weight uint32) spec.Dest {
	return spec.Dest{Addr: netip.MustParseAddrPort(a), Forward: spec.FullNAT, Weight: weight}
}

func addDest(k spec.ServiceKey, a string, weight uint32) func(*spec.Spec) error {
	return func(s *spec.Spec) error { return s.AddDest(k, aDest(a, weight)) }
}

func weigh(k spec.ServiceKey, a string, weight uint32) func(*spec.Spec) error {
	return func(s *spec.Spec) error { return s.EditDest(k, aDest(a, weight)) }
}

func noDest(k spec.ServiceKey, a string) func(*spec.Spec) error {
	return func(s *spec.Spec) error { return s.DeleteDest(k, netip.MustParseAddrPort(a)) }
}

func addLocal(k spec.ServiceKey, ip string) func(*spec.Spec) error {
	return func(s *spec.Spec) error {
		_, err := s.AddLocal(k, spec.LocalAddress{Addr: netip.MustParseAddr(ip), Port: "lan"})
		return err
	}
}

func noLocal(k spec.ServiceKey, ip string) func(*spec.Spec) error {
	return func(s *spec.Spec) error {
		return s.DeleteLocal(k, spec.LocalAddress{Addr: netip.MustParseAddr(ip), Port: "lan"})
	}
}

var dns = udp("10.0.0.100:53")

// twoArm wants a DNS service with a real server, both sides known by MAC.
func twoArm() func(*spec.Spec) error {
	return all(
		addAddr("lan", "192.168.1.1/24"), addAddr("wan", "10.0.0.1/24"), addAddr("wan", "10.0.0.100/32"),
		addRoute("0.0.0.0/0", "wan", "10.0.0.254"),
		station("wan", "10.0.0.254", macGW), station("lan", "192.168.1.2", macRS),
		addService(dns, "rr"), addDest(dns, "192.168.1.2:53", 1), addLocal(dns, "192.168.1.200"),
	)
}

func (b *small) breathe() {
	for range 50 {
		busy := false
		for _, w := range b.Lanes() {
			busy = w.Breathe() || busy
		}
		if !busy {
			return
		}
	}
}

// pass lets time pass, with housekeeping once a second.
func (b *small) pass(long time.Duration) {
	for range int(long / (100 * time.Millisecond)) {
		b.nanos += 100e6
		b.breathe()
		if b.nanos/1e9 != (b.nanos-100e6)/1e9 {
			b.KeepHouse()
			b.breathe()
		}
	}
}

// frame makes a frame of words.
func frame(t testing.TB, from words.MAC, to port.MAC, line string) []byte {
	t.Helper()
	f, err := words.Parse(line, nil, from, words.MAC(to))
	if err != nil {
		t.Fatal(err)
	}
	return f.Data
}

// fromWAN and fromLAN inject a frame and return what left, in words.
func (b *small) fromWAN(line string) []string { return b.inject(b.wan, macGW, macWAN, line) }
func (b *small) fromLAN(line string) []string { return b.inject(b.lan, macRS, macLAN, line) }

func (b *small) inject(p *pipe.Port, from words.MAC, to port.MAC, line string) []string {
	b.t.Helper()
	if !p.Inject(frame(b.t, from, to, line)) {
		b.t.Fatal("the wire is full")
	}
	b.breathe()
	return b.left()
}

// left says what left the ports since the last call.
func (b *small) left() (out []string) {
	for _, p := range []*pipe.Port{b.lan, b.wan} {
		for _, f := range p.Take() {
			out = append(out, p.Facts().Name+": "+words.Print(words.Frame{Data: f}, nil))
		}
	}
	return out
}

// asked opens a connection of a client's port to a service and returns the real
// server that got it, or "".
func (b *small) asked(clientPort int, vip string) string {
	b.t.Helper()
	at := netip.MustParseAddrPort(vip)
	out := b.fromWAN(fmt.Sprintf("ip 1.2.3.4 > %s / udp %d > %d data=4", at.Addr(), clientPort, at.Port()))
	for _, l := range out {
		if f := strings.Fields(l); f[0] == "lan:" && f[1] == "ip" {
			return f[4]
		}
	}
	return ""
}

// view returns the view of one service.
func (b *small) view(k spec.ServiceKey) ServiceView {
	b.t.Helper()
	all, err := b.Services(func(o spec.ServiceKey) bool { return o == k })
	if err != nil || len(all) != 1 {
		b.t.Fatalf("%d services %s, %v", len(all), k, err)
	}
	return all[0]
}

// dropped sums what the director dropped, but for reasons that are named.
func (b *small) dropped(but ...packet.Reason) (n uint64) {
	b.t.Helper()
	sum, err := b.Drops()
	if err != nil {
		b.t.Fatal(err)
	}
	for r, c := range sum {
		if !slices.Contains(but, packet.Reason(r)) {
			n += c
		}
	}
	return n
}
