package neigh

import (
	"net/netip"
	"strings"
	"sync"
	"testing"

	"weir/internal/clock"
	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/stat"
	"weir/internal/testkit/words"
	"weir/internal/wire"
)

// Workers that hold packets for the same neighbour share its state: together
// they ask three times and no more, and the answer that one of them receives
// lets the packets of all go.
func TestWorkersShareTheNeighbour(t *testing.T) {
	shareTheNeighbour(t, x, func(pool *packet.Pool) *packet.Packet {
		p := pool.Get()
		p.Resize(42)
		p.L3 = 14
		wire.ARP(p.Data[14:]).Put(wire.ARPReply, macX, x.As4(), mac0, own.As4())
		return p
	})
}

func TestWorkersShareTheNeighbour6(t *testing.T) {
	shareTheNeighbour(t, x6, func(pool *packet.Pool) *packet.Packet {
		f, err := words.Parse(answer6, stations, words.MAC(macX), words.MAC(mac0))
		if err != nil {
			t.Fatal(err)
		}
		p := pool.Get()
		fill6(p, f.Data)
		return p
	})
}

func shareTheNeighbour(t *testing.T, neighbour netip.Addr, answer func(*packet.Pool) *packet.Packet) {
	const workers = 4
	b := newBed(t, 1)
	ref, h := b.hop(neighbour)

	type worker struct {
		cache *Cache
		pool  *packet.Pool
		out   packet.Outbox
		stats stat.Worker
		asked int
		freed int
	}
	var all [workers]*worker
	for i := range all {
		w := &worker{}
		var err error
		if w.pool, err = packet.NewPool(64, 0); err != nil {
			t.Fatal(err)
		}
		w.cache = New(&b.table.Hops, w.pool, &w.out, &w.stats, &b.confl)
		w.cache.Table, w.cache.Ports = b.Table, b.Ports
		all[i] = w
	}
	// Every worker breathes through the same ticks on its own goroutine.
	together := func(f func(i int, w *worker)) {
		var wg sync.WaitGroup
		for i, w := range all {
			wg.Go(func() { f(i, w) })
		}
		wg.Wait()
	}
	drain := func(w *worker) {
		var ps [64]*packet.Packet
		for _, p := range ps[:w.out.Pop(ps[:])] {
			if p.Verdict == packet.Transmit {
				w.asked++
			} else {
				w.freed++
			}
			w.pool.Put(p)
		}
	}
	together(func(_ int, w *worker) {
		for tick := range 2800 { // a round lasts 2859
			w.cache.Tick(start + 1 + 1<<10 + clock.Tick(tick))
			if tick == 0 {
				for range 3 {
					p := w.pool.Get()
					p.NextHop = ref
					if v := w.cache.Output(p); v != packet.Stolen {
						t.Errorf("%v %v", v, p.Reason)
					}
				}
			}
			drain(w)
		}
	})
	asked := 0
	for _, w := range all {
		asked += w.asked
	}
	// Workers on their own clocks run apart here by whole rounds at worst, so a
	// second may be missed, never asked twice.
	if asked < 1 || asked > maxProbes {
		t.Errorf("asked %d times, want 1 to %d", asked, maxProbes)
	}

	// One receives the answer.
	p := answer(all[0].pool)
	if h.NUD() != flow.NUDSend {
		t.Fatalf("state %d before the answer", h.NUD())
	}
	all[0].cache.Input(p)
	all[0].pool.Put(p)
	together(func(_ int, w *worker) {
		w.cache.Tick(start + 1 + 1<<10 + 2801)
		drain(w)
	})
	for i, w := range all {
		if w.freed != 3 || w.cache.Held() != 0 || w.pool.InUse() != 0 {
			t.Errorf("worker %d: %d released, %d held, %d in use", i, w.freed, w.cache.Held(), w.pool.InUse())
		}
		if err := w.pool.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A neighbour to whom the XDP engine alone sends is asked whether it is there, as one is to
// whom a worker sends; one to whom nobody sends is not.
func TestConfirmAsksForTheEngine(t *testing.T) {
	for _, row := range []struct {
		name      string
		neighbour netip.Addr
		used      bool
	}{
		{"IPv4", x, true}, {"IPv6", x6, true},
		{"IPv4, idle", x, false}, {"IPv6, idle", x6, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t, 8)
			_, h := b.hop(row.neighbour)
			h.SetDest(macX)
			h.SetNUD(flow.NUDReachable, true)
			h.Confirmed, h.Used = uint32(start), uint32(start)
			states, asked := "", 0
			for second := range 70 {
				b.pass(1)
				if row.used {
					h.Used = uint32(b.now) // as the engine does
				}
				b.Confirm(InUse(&b.table.Hops, b.now))
				asked += len(b.outbox())
				if s := b.state(row.neighbour); second == 58 && s != "REACHABLE 0200000000aa" {
					t.Errorf("after a minute less a second it is %s", s)
				} else if !strings.HasSuffix(states, s+" ") {
					states += s + " "
				}
			}
			want, most := "REACHABLE 0200000000aa DELAY 0200000000aa PROBE 0200000000aa SEND ", 4
			if !row.used {
				want, most = "REACHABLE 0200000000aa ", 0
			}
			if states != want || asked != most {
				t.Errorf("it was %sand asked %d times, want %sand %d", states, asked, want, most)
			}
		})
	}
}
