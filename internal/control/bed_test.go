package control

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"go.uber.org/goleak"

	"weir/api/client"
	"weir/api/weirv1"
	"weir/internal/director"
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
	for deadline := time.Now().Add(patience); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not after %v: %s", patience, what)
		}
	}
}

var (
	macGW  = words.MAC{2, 0, 0, 0, 1, 0xfe}
	macRS  = words.MAC{2, 0, 0, 0, 2, 0xfe}
	macLAN = port.MAC{2, 0, 0, 0, 2, 0}
	macWAN = port.MAC{2, 0, 0, 0, 1, 0}
)

// bed is a director in memory between a lan and a wan, with two workers. Its
// housekeeping and its threads run unless it is breathed by hand.
type bed struct {
	*director.Director
	t        testing.TB
	lan, wan *pipe.Port
}

func newBed(t testing.TB, byHand bool) *bed {
	t.Helper()
	return newBedOf(t, byHand, spec.IPv6{AddrGenMode: spec.AddrGenNone})
}

// newBedOf is newBed with what dpvs.conf says of IPv6.
func newBedOf(t testing.TB, byHand bool, ipv6 spec.IPv6) *bed {
	t.Helper()
	b := &bed{t: t, lan: pipe.New(0, "lan", macLAN, 1500).Queues(2), wan: pipe.New(1, "wan", macWAN, 1500).Queues(2)}
	on := func(p *pipe.Port) director.BedPort {
		return director.BedPort{Facts: p.Facts(), Owners: []int{0, 1}, Open: func(queue int, pool *packet.Pool) (port.Queue, error) { return p.Queue(queue, pool) }}
	}
	boot := spec.Boot{IPv6: ipv6, ConnPool: 10000, PktPool: 4096, Workers: []spec.Worker{
		{Name: "cpu0", Type: "master"}, {Name: "cpu1", Type: "slave", CPU: -1}, {Name: "cpu2", Type: "slave", CPU: -1},
	}}
	tunables := spec.Tunables{Timeouts: spec.DefaultTimeouts(), DefaultTTL: 64, NeighTimeout: 60}
	tunables.Timeouts.TCP.SynSent, tunables.Timeouts.TCP.SynRecv = 2, 2 // who waits for the end of one waits no longer
	var err error
	b.Director, err = director.NewOn(director.Bed{Ports: []director.BedPort{on(b.lan), on(b.wan)}, ByHand: byHand}, boot, tunables, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// serve serves the API of a director on a socket until the test ends.
func serve(t testing.TB, b *bed) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "s")
	l, lock, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- New(b.Director, "1.2.3").Serve(ctx, l) }()
	t.Cleanup(func() {
		end()
		if err := <-served; err != nil {
			t.Error(err)
		}
		_ = lock.Close()
	})
	return path
}

// newAPI is a director, its socket and a client.
func newAPI(t testing.TB) (*bed, string, weirv1.DirectorClient) {
	t.Helper()
	b := newBed(t, false)
	path := serve(t, b)
	return b, path, client.New(path)
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

// must unpacks an answer that has to come.
func must[T any](r *connect.Response[T], err error) func(testing.TB) *T {
	return func(t testing.TB) *T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return r.Msg
	}
}

func tcpKey(p uint32) *weirv1.ServiceKey {
	return &weirv1.ServiceKey{Protocol: weirv1.Protocol_PROTOCOL_TCP, Address: "10.0.0.100", Port: p}
}

func udpKey(p uint32) *weirv1.ServiceKey {
	return &weirv1.ServiceKey{Protocol: weirv1.Protocol_PROTOCOL_UDP, Address: "10.0.0.100", Port: p}
}

func fullNAT(address string, p, weight uint32) *weirv1.Dest {
	return &weirv1.Dest{Address: address, Port: p, Forward: weirv1.Forward_FORWARD_FULLNAT, Weight: weight}
}

// twoArm wants both sides of the network, and a UDP service at port 53 with a
// real server.
func twoArm(t testing.TB, c weirv1.DirectorClient) {
	t.Helper()
	ctx := t.Context()
	for prefix, dev := range map[string]string{"192.168.1.1/24": "lan", "10.0.0.1/24": "wan"} {
		_, err := c.AddAddress(ctx, connect.NewRequest(&weirv1.AddAddressRequest{Address: &weirv1.Address{Prefix: prefix, Device: dev}}))
		ok(t, err)
	}
	_, err := c.AddAddress(ctx, connect.NewRequest(&weirv1.AddAddressRequest{Address: &weirv1.Address{Prefix: "10.0.0.100/32", Device: "wan"}}))
	ok(t, err)
	_, err = c.AddRoute(ctx, connect.NewRequest(&weirv1.AddRouteRequest{Route: &weirv1.Route{Prefix: "0.0.0.0/0", Via: "10.0.0.254", Device: "wan"}}))
	ok(t, err)
	for _, n := range []*weirv1.Neighbour{
		{Address: "10.0.0.254", Lladdr: "02:00:00:00:01:fe", Device: "wan"}, {Address: "192.168.1.2", Lladdr: "02:00:00:00:02:fe", Device: "lan"},
	} {
		_, err := c.AddNeighbour(ctx, connect.NewRequest(&weirv1.AddNeighbourRequest{Neighbour: n}))
		ok(t, err)
	}
	_, err = c.AddService(ctx, connect.NewRequest(&weirv1.AddServiceRequest{Service: &weirv1.Service{Key: udpKey(53), Scheduler: "rr"}}))
	ok(t, err)
	_, err = c.AddDest(ctx, connect.NewRequest(&weirv1.AddDestRequest{Key: udpKey(53), Dest: fullNAT("192.168.1.2", 53, 1)}))
	ok(t, err)
	_, err = c.AddLocalAddress(ctx, connect.NewRequest(&weirv1.AddLocalAddressRequest{Key: udpKey(53), Local: &weirv1.LocalAddress{Address: "192.168.1.200", Device: "lan"}}))
	ok(t, err)
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused checks a refusal: the protocol's code, DPVS's, the object, a word of
// the sentence.
func refused(t testing.TB, err error, code connect.Code, dpvs spec.Code, object, word string) {
	t.Helper()
	var e *connect.Error
	if !errors.As(err, &e) {
		t.Errorf("%v is no refusal", err)
		return
	}
	if e.Code() != code || !strings.Contains(e.Message(), word) {
		t.Errorf("refused with %v: %q, want %v and %q", e.Code(), e.Message(), code, word)
	}
	d, there := client.Detail(err)
	if !there || d.Code != int32(dpvs) || d.Text != dpvs.String() || d.Text == "" || d.Object != object {
		t.Errorf("the detail is %v, want code %d (%s) of %s", d, dpvs, dpvs, object)
	}
}
