package rsagent

import (
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"weir/bpf"
)

// enter puts a flow's two entries into a table, used now or when the machine started.
func enter(t *testing.T, m *ebpf.Map, port uint16, now bool) {
	t.Helper()
	e := bpf.RSEntry{Used: 1}
	if now {
		var err error
		if e.Used, err = monotonic(); err != nil {
			t.Fatal(err)
		}
	}
	for _, local := range []uint32{1, 0} {
		k := bpf.RSFlowKey{PeerPort: port}
		k.Local.W[3] = local
		if err := m.Put(k, e); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSweep removes what does not answer any more, and nothing else, in a table of
// more than one batch.
func TestSweep(t *testing.T) {
	c := loadUnpinned(t, &Options{UOA: Getsockopt, Entries: 16 << 10, Timeout: DefaultTimeout}, &abilities{})
	m := c.Maps[bpf.RSMapUoaClients]
	const old, young = 3000, 2000
	const timeout = 5 * time.Second // machines run for longer
	for i := range old {
		enter(t, m, uint16(i), false)
	}
	for i := range young {
		enter(t, m, uint16(old+i), true)
	}
	flows, err := countFlows(m, timeout)
	if err != nil || flows != young {
		t.Errorf("%d flows answer (%v), want %d", flows, err, young)
	}
	swept, err := sweep[bpf.RSFlowKey](m, timeout)
	if err != nil || swept != 2*old {
		t.Errorf("swept %d entries (%v), want %d", swept, err, 2*old)
	}
	entries := 0
	if err := each(m, func(k *bpf.RSFlowKey, _ *bpf.RSEntry) error {
		entries++
		if k.PeerPort < old {
			t.Errorf("an old entry is left: %d", k.PeerPort)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if entries != 2*young {
		t.Errorf("%d entries are left, want %d", entries, 2*young)
	}
	if swept, err := sweep[bpf.RSFlowKey](m, timeout); err != nil || swept != 0 {
		t.Errorf("a second sweep took %d (%v)", swept, err)
	}
}

// TestEntriesExpire: an entry that was not used for the timeout does not answer; one
// that is asked for lives on. The agent sweeps what is left.
func TestEntriesExpire(t *testing.T) {
	b := newBed(t)
	b.agent(t, b.options(withUOA(Getsockopt), func(o *Options) { o.Timeout = 3 * time.Second }), lacks{})
	server := b.datagramServer(t, 9000)
	to := netip.AddrPortFrom(rs4.Addr(), 9000)
	idle, busy := b.director(lip4), b.director(lip4)
	for _, f := range []netip.AddrPort{idle, busy} {
		b.wire.send(t, ipo(f, to, client4, []byte("1")))
		server.line(t, "from")
	}
	ask := func(f netip.AddrPort) string {
		b.wire.send(t, plain(f, to, client4, []byte("2")))
		return fields(server.line(t, "from"))["client"]
	}
	deadline := time.Now().Add(patience)
	for b.status(t).Flows == 2 {
		if got := ask(busy); got != client4.String() {
			t.Fatalf("a flow that is asked for all the time is %s, want %s", got, client4)
		}
		if time.Now().After(deadline) {
			t.Fatal("no flow expired")
		}
		time.Sleep(20 * time.Millisecond) // what is tested is time itself
	}
	if got := ask(idle); got != unknown(t) {
		t.Errorf("a flow that was not used is %s, want %s", got, unknown(t))
	}
	if got := ask(busy); got != client4.String() {
		t.Errorf("the other is %s, want %s", got, client4)
	}
	eventually(t, "the sweep", func() bool {
		n := 0
		err := readMap(&pinDir{path: b.pin}, bpf.RSMapUoaClients, func(m *ebpf.Map) error {
			return each(m, func(*bpf.RSFlowKey, *bpf.RSEntry) error { n++; return nil })
		})
		// Of the busy flow the entry with the local address is not used: the socket is
		// bound to none.
		return err == nil && n <= 2
	})
}

// TestTheTableHasABound: at the bound, others go; nothing is refused.
func TestTheTableHasABound(t *testing.T) {
	b := newBed(t)
	b.agent(t, b.options(withUOA(Getsockopt), func(o *Options) { o.Entries = 64 }), lacks{})
	server := b.datagramServer(t, 9000)
	to := netip.AddrPortFrom(rs4.Addr(), 9000)
	const flows = 1000
	for range flows {
		b.wire.send(t, ipo(b.director(lip4), to, client4, []byte("1")))
		if got := fields(server.line(t, "from"))["client"]; got != client4.String() {
			t.Fatalf("a new flow is %s, want %s", got, client4)
		}
	}
	if n := b.counts(t); n["uoa_saved"] != flows || n["uoa_refused"] != 0 {
		t.Errorf("counted %v, want %d saved and none refused", n, flows)
	}
	if f := b.status(t).Flows; f > 2*64 {
		t.Errorf("%d flows are known in a table of 64", f)
	}
}
