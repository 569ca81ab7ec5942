package flow

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"weir/internal/clock"
)

// crowd is a table that many work on at once. Connection n has an inbound tuple
// of its own and an outbound tuple that it shares with n^1. What a packet gets
// is random for each tenant of a slot and tells by itself whether it is whole.
// Time is a counter that every breath moves, so that slots rest and come back
// thousands of times.
type crowd struct {
	tab     *Table
	now     atomic.Uint32
	in, out [crowdConns]atomic.Int32 // how often a tuple lives
	torn    atomic.Int64
	twice   atomic.Int64
	wrong   atomic.Int64 // a connection's record changed its tenant under a worker's eyes
	ended   atomic.Int64
	made    atomic.Int64
	refused [3]atomic.Int64 // exists, race, full
}

const crowdConns = 320

// flows are connection n's; r's lowest bit becomes n's, so that who finds the
// outbound half-flow knows whose it is.
func (c *crowd) flows(n, r uint32) (in, out Flow) {
	in, _ = pair(n)
	_, out = pair(n &^ 1)
	r = r&^1 | n&1
	whole(&in, &out, r)
	whole(&out, &in, r)
	return in, out
}

// look is what a reader does with one half-flow of connection n; a torn copy is
// counted.
func (c *crowd) look(n uint32, reply bool) (h *Half, conn uint32, ok bool) {
	f, back := c.flows(n, 0)
	if reply {
		f = back
	}
	h, key1 := c.tab.FindFlow(&f)
	if h == nil {
		return nil, None, false
	}
	var got copied
	got.src, got.dst = c.tab.Key(h)
	got.newSrc, got.newDst = c.tab.Gets(h, key1)
	got.p = h.Load()
	if !h.Same(key1) {
		return nil, None, false
	}
	if reply {
		n = n&^1 | got.p.Ports&1
		_, f = c.flows(n, got.p.Ports)
	} else {
		f, _ = c.flows(n, got.p.Ports)
	}
	if got.torn(&f) {
		c.torn.Add(1)
	}
	return h, got.p.Conn, true
}

func (c *crowd) end(w *Worker, i uint32, now clock.Tick) {
	conn := c.tab.Conn(i)
	if !c.tab.Claim(i) {
		return
	}
	n := conn.Template
	c.in[n].Add(-1)
	c.out[n&^1].Add(-1)
	c.ended.Add(1)
	w.Remove(i, now)
}

func (c *crowd) insert(w *Worker, n uint32, r uint64, now clock.Tick) {
	in, out := c.flows(n, uint32(r))
	_, err := w.Insert(&in, &out, &NewConn{Template: n, Timeout: uint32(r>>40)%4000 + 1}, now)
	switch err {
	case nil:
		c.made.Add(1)
		if c.in[n].Add(1) > 1 || c.out[n&^1].Add(1) > 1 {
			c.twice.Add(1)
		}
	case ErrExists:
		c.refused[0].Add(1)
	case ErrRace:
		c.refused[1].Add(1)
	case ErrFull:
		c.refused[2].Add(1)
	}
}

// breathe is one breath of a worker: some packets, then the timers.
func (c *crowd) breathe(w *Worker, r *rand.Rand) {
	now := clock.Tick(c.now.Add(r.Uint32N(160)))
	w.Begin(now)
	for range 1 + r.IntN(32) {
		n := r.Uint32N(crowdConns)
		reply := r.IntN(2) == 0
		h, i, ok := c.look(n, reply)
		if !ok {
			c.insert(w, n, r.Uint64(), now)
			continue
		}
		conn := c.tab.Conn(i)
		if s := conn.Template; s != n && (!reply || s != n^1) {
			c.wrong.Add(1)
		}
		switch r.IntN(8) {
		case 0, 1:
			c.end(w, i, now)
		case 2:
			c.tab.setFlag(&conn.State, ConnExpireNow)
			w.Kick(i)
		case 3:
			w.SetTimeout(i, r.Uint32N(4000), now)
		case 4:
			c.tab.SetFast(slotOf(c.tab, h), r.IntN(2) == 0)
		default:
			atomic.StoreUint32(&h.Last, uint32(now))
		}
		if s := conn.Template; s != n && (!reply || s != n^1) {
			c.wrong.Add(1)
		}
	}
	w.Advance(now, func(i uint32) { c.end(w, i, now) })
	if r.IntN(8) == 0 {
		w.Sleep() // who is put off the core awake lets nothing be forgotten
		runtime.Gosched()
	}
}

// Four workers insert and end overlapping tuples, each other's too, while two
// readers look on. No tuple lives twice, no read is torn, no index changes its
// tenant while somebody may hold it, and at the end nothing is lost.
func TestConcurrent(t *testing.T) {
	both(t, func(t *testing.T, b Backing) {
		const workers, breaths = 4, 20000
		c := &crowd{tab: newTable(t, Config{Conns: 384, Workers: workers, Backing: b, Seed: 11})}
		startAt(c.tab, 1<<32-500_000) // time wraps on the way
		c.now.Store(1<<32 - 500_000)
		var wg, readers sync.WaitGroup
		var done atomic.Bool
		for id := range workers {
			wg.Go(func() {
				w, r := c.tab.Worker(id), rand.New(rand.NewPCG(1, uint64(id)))
				for range breaths {
					c.breathe(w, r)
				}
				w.Sleep()
			})
		}
		var reads atomic.Int64
		for id := range 2 {
			readers.Go(func() {
				r := rand.New(rand.NewPCG(2, uint64(id)))
				for n := int64(0); ; n++ {
					if done.Load() {
						reads.Add(n)
						return
					}
					i := r.Uint32N(crowdConns)
					c.look(i, false)
					c.look(i, true)
					if n%64 == 0 {
						runtime.Gosched()
					}
				}
			})
		}
		wg.Wait()
		done.Store(true)
		readers.Wait()
		t.Logf("%d made, %d ended, %d exist, %d race, %d full; %d reads", c.made.Load(), c.ended.Load(),
			c.refused[0].Load(), c.refused[1].Load(), c.refused[2].Load(), reads.Load())
		if c.made.Load() < 10000 {
			t.Errorf("only %d connections were made: the test does not test", c.made.Load())
		}
		if c.torn.Load() != 0 || c.twice.Load() != 0 || c.wrong.Load() != 0 {
			t.Errorf("%d torn reads, %d tuples twice, %d indexes reused too early", c.torn.Load(), c.twice.Load(), c.wrong.Load())
		}
		if n := c.made.Load() - c.ended.Load(); n != int64(c.tab.Len()) {
			t.Errorf("Len %d, want %d", c.tab.Len(), n)
		}
		c.drain(t)
	})
}

// drain ends all that lives and checks that the table is as new.
func (c *crowd) drain(t *testing.T) {
	now := clock.Tick(c.now.Load())
	for range 10000/(1<<wheelShift) + 100 {
		now += 1 << wheelShift
		for _, w := range c.tab.workers[:c.tab.nwork] {
			w.Begin(now)
			w.Advance(now, func(i uint32) { c.end(w, i, now) })
			w.Sleep()
		}
	}
	for _, w := range c.tab.workers[:c.tab.nwork] {
		if !w.Drained() {
			t.Errorf("worker %d still owns %d connections, %d timers, %d resting", w.id, w.owned, w.Timers(), w.Resting())
		}
	}
	checkTable(t, c.tab, nil, pair)
	if _, valid, pending, dead := slots(c.tab); valid != 0 || pending != 0 || dead > c.tab.Slots()/50 {
		t.Errorf("%d valid, %d pending and %d dead slots are left", valid, pending, dead)
	}
}

// A connection may be ended by the first packet that finds it, while Insert has
// not returned yet.
func TestEndDuringInsert(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) { endDuringInsert(t, k.flows) })
	}
}

func endDuringInsert(t *testing.T, flows flowsOf) {
	const rounds = 3000
	tab := newTable(t, Config{Conns: 384, Workers: 2, Seed: 1})
	start := clock.Tick(1 << 20)
	startAt(tab, start)
	var now, ended atomic.Uint32
	now.Store(uint32(start))
	in, out := flows(7)
	var done atomic.Bool
	var wg sync.WaitGroup
	reply := out // Insert writes into its own
	wg.Go(func() {
		w := tab.Worker(1)
		for !done.Load() {
			at := clock.Tick(now.Load())
			w.Begin(at)
			h, key1 := tab.FindFlow(&reply)
			if h == nil {
				w.Sleep()
				runtime.Gosched()
				continue
			}
			if i := h.Conn; h.Same(key1) && tab.Claim(i) {
				w.Remove(i, at)
				ended.Add(1)
			}
		}
		w.Sleep()
	})
	w := tab.Worker(0)
	for n := range rounds {
		at := clock.Tick(now.Load())
		w.Begin(at)
		if _, err := w.Insert(&in, &out, &NewConn{Timeout: 1 << 30}, at); err != nil {
			t.Errorf("round %d: %v, though the one before has ended", n, err)
			break
		}
		for ended.Load() != uint32(n+1) || !w.Drained() {
			at := clock.Tick(now.Add(50))
			w.Begin(at)
			w.Advance(at, func(uint32) { t.Error("a connection expired before its time") })
			runtime.Gosched()
		}
	}
	done.Store(true)
	wg.Wait()
	checkTable(t, tab, nil, pair)
}

// Of two workers that insert the same tuples at the same moment one wins, or
// none; then both repeat.
func TestSameTupleRaced(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) { sameTupleRaced(t, k.flows) })
	}
}

func sameTupleRaced(t *testing.T, flows flowsOf) {
	const rounds = 6000
	tab := newTable(t, Config{Conns: 384, Workers: 2, Seed: 1})
	start := clock.Tick(1 << 20)
	startAt(tab, start)
	var errs [2]error
	var conn [2]uint32
	var met atomic.Int32
	meet := func(n int32) { // returns when both came for the n-th time
		for met.Add(1); met.Load() < 2*n; {
			runtime.Gosched()
		}
	}
	var wg sync.WaitGroup
	none := 0
	for id := range 2 {
		wg.Go(func() {
			w := tab.Worker(id)
			in, out := flows(3)
			for n := range int32(rounds) {
				now := start + clock.Tick(n)*2*Rest
				w.Begin(now)
				meet(3*n + 1)
				conn[id], errs[id] = w.Insert(&in, &out, &NewConn{Timeout: 1 << 30}, now)
				meet(3*n + 2)
				if e := errs[id]; e != nil && e != ErrExists && e != ErrRace {
					t.Errorf("round %d: %v", n, e)
				}
				if id == 0 && errs[0] == nil && errs[1] == nil {
					t.Errorf("round %d: both won", n)
				}
				if id == 0 && errs[0] != nil && errs[1] != nil {
					none++
				}
				if errs[id] == nil && tab.Claim(conn[id]) {
					w.Remove(conn[id], now)
				}
				w.Sleep()
				w.Advance(now+Rest+1, func(uint32) {})
				meet(3*n + 3)
			}
		})
	}
	wg.Wait()
	t.Logf("nobody won in %d of %d rounds", none, rounds)
	if none == rounds {
		t.Error("nobody ever won")
	}
}
