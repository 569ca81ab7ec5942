package flow

import (
	"testing"

	"pgregory.net/rapid"

	"weir/internal/clock"
)

// model is the slow obvious table: which connection has which index, who owns
// it, and when it was last seen.
type model struct {
	tab     *Table
	flows   flowsOf
	now     clock.Tick
	live    map[uint32]uint32 // connection number to index
	seen    map[uint32]clock.Tick
	timeout map[uint32]uint32
	fast    map[uint32]bool // inbound half
	expired int
}

func newModel(t testing.TB, b Backing, now clock.Tick, flows flowsOf) *model {
	m := &model{
		tab: newTable(t, Config{Conns: 384, Workers: 3, Backing: b, Seed: 5}), flows: flows, now: now,
		live: map[uint32]uint32{}, seen: map[uint32]clock.Tick{}, timeout: map[uint32]uint32{}, fast: map[uint32]bool{},
	}
	startAt(m.tab, now)
	return m
}

func (m *model) insert(t testing.TB, worker int, n, timeout uint32) {
	in, out := m.flows(n)
	i, err := m.tab.Worker(worker).Insert(&in, &out, &NewConn{Timeout: timeout, Template: n}, m.now)
	_, there := m.live[n]
	switch {
	case there && err != ErrExists && err != ErrFull:
		t.Fatalf("insert of %d, which exists: %v", n, err)
	case !there && err != nil && err != ErrFull:
		t.Fatalf("insert of %d: %v", n, err)
	case err == ErrFull && m.owned() < m.tab.Conns()-12 && m.free(worker) == 0:
		t.Fatalf("full with %d of %d connections", m.owned(), m.tab.Conns())
	case err == nil:
		for other, j := range m.live {
			if i == j {
				t.Fatalf("index %d of connection %d given out again", i, other)
			}
		}
		m.live[n], m.seen[n], m.timeout[n], m.fast[n] = i, m.now, timeout, false
	}
}

// owned counts the connections that live, ended or rest.
func (m *model) owned() (n int) {
	for _, w := range m.tab.workers[:m.tab.nwork] {
		n += w.owned
	}
	return n
}

func (m *model) free(worker int) int { return m.tab.Worker(worker).free.n }

func (m *model) forget(n uint32) {
	delete(m.live, n)
	delete(m.seen, n)
	delete(m.timeout, n)
	delete(m.fast, n)
}

// remove ends connection n on a worker that need not be its owner.
func (m *model) remove(t testing.TB, worker int, n uint32) {
	i, ok := m.live[n]
	if !ok {
		return
	}
	if !m.tab.Claim(i) {
		t.Fatalf("claim of connection %d failed", n)
	}
	if m.tab.Claim(i) {
		t.Fatalf("connection %d was claimed twice", n)
	}
	m.tab.Worker(worker).Remove(i, m.now)
	m.forget(n)
	in, out := m.flows(n)
	for _, f := range []*Flow{&in, &out} {
		if h, _, _, _ := find(m.tab, f); h != nil {
			t.Fatalf("connection %d is found after its removal", n)
		}
	}
}

func (m *model) packet(t testing.TB, n uint32, reply bool) {
	in, out := m.flows(n)
	f := &in
	if reply {
		f = &out
	}
	h, conn, ok, torn := find(m.tab, f)
	i, there := m.live[n]
	if ok != there || torn || ok && conn != i {
		t.Fatalf("connection %d: found %t, torn %t, index %d; the model: %t, %d", n, ok, torn, conn, there, i)
	}
	if ok {
		h.Last = uint32(m.now)
		m.seen[n] = m.now
	}
}

func (m *model) setFast(t testing.TB, n uint32, fast bool) {
	i, ok := m.live[n]
	if !ok {
		return
	}
	slot := m.tab.Conn(i).In
	h := m.tab.Half(slot)
	near := far(m.tab, slot) < ProbeFast
	if got := m.tab.SetFast(slot, fast); got != (fast && near) || (h.Key1&FlagFast != 0) != got {
		t.Fatalf("SetFast(%t) says %t, near home: %t", fast, got, near)
	}
}

// advance lets time pass in steps of a unit at most, as workers breathe, and
// checks that what ends has been idle for its timeout, and that what has been
// so for long enough ends.
func (m *model) advance(t testing.TB, ticks uint32) {
	for ticks > 0 {
		step := min(ticks, 1<<wheelShift)
		ticks -= step
		m.now += clock.Tick(step)
		for id, w := range m.tab.workers[:m.tab.nwork] {
			w.Begin(m.now)
			expire := func(i uint32) {
				c := m.tab.Conn(i)
				n := c.Template
				if int(c.Owner) != id || m.live[n] != i {
					t.Fatalf("worker %d is to expire index %d of connection %d", id, i, n)
				}
				if idle := m.now.Since(m.seen[n]); idle < m.timeout[n] && c.State&ConnExpireNow == 0 {
					t.Fatalf("connection %d expires after %d idle ticks of %d", n, idle, m.timeout[n])
				}
				m.expired++
				m.remove(t, id, n)
			}
			for w.Advance(m.now, expire) {
			}
			w.Sleep()
		}
		for n, last := range m.seen {
			if idle := m.now.Since(last); idle > m.timeout[n]+2<<wheelShift {
				t.Fatalf("connection %d lives after %d idle ticks of %d", n, idle, m.timeout[n])
			}
		}
	}
}

func (m *model) setTimeout(worker int, n, timeout uint32) {
	if i, ok := m.live[n]; ok {
		m.tab.Worker(worker).SetTimeout(i, timeout, m.now)
		m.timeout[n] = timeout
		// The new state began with a packet.
		m.tab.Half(m.tab.Conn(i).In).Last = uint32(m.now)
		m.seen[n] = m.now
	}
}

func (m *model) expireNow(worker int, n uint32) {
	if i, ok := m.live[n]; ok {
		m.tab.setFlag(&m.tab.Conn(i).State, ConnExpireNow)
		m.tab.Worker(worker).Kick(i)
		m.tab.Worker(worker).Kick(i)
	}
}

// drain ends everything and checks that the table is as new.
func (m *model) drain(t testing.TB) {
	for n := range m.live {
		m.expireNow(0, n)
	}
	m.advance(t, 1)
	if len(m.live) != 0 || m.tab.Len() != 0 {
		t.Fatalf("%d connections live, %d in the model", m.tab.Len(), len(m.live))
	}
	m.advance(t, 2*Rest)
	for id, w := range m.tab.workers[:m.tab.nwork] {
		if !w.Drained() || w.Timers() != 0 || w.Resting() != 0 {
			t.Fatalf("worker %d: %d timers, %d resting, %d owned", id, w.Timers(), w.Resting(), w.owned)
		}
	}
	checkTable(t, m.tab, m.live, m.flows)
	empty, valid, pending, dead := slots(m.tab)
	if valid != 0 || pending != 0 || empty+dead != m.tab.Slots()+m.tab.WideSlots() {
		t.Fatalf("%d empty, %d valid, %d pending, %d dead slots of %d after all expired", empty, valid, pending, dead, m.tab.Slots())
	}
	// Searches are short again: hardly a mark is left.
	if dead > m.tab.Slots()/100 {
		t.Fatalf("%d slots of %d stay dead", dead, m.tab.Slots())
	}
}

// Random operations on a small table at up to its rated fill do what a map does.
func TestAgainstMap(t *testing.T) {
	both(t, func(t *testing.T, b Backing) {
		rapid.Check(t, func(rt *rapid.T) {
			tb := rapidTB{t, rt}
			start := clock.Tick(rapid.SampledFrom([]uint32{1 << 20, 1<<31 - 3000, 1<<32 - 3000}).Draw(rt, "start"))
			// All of one array fill it; mixed ones leave both half empty.
			m := newModel(tb, b, start, []flowsOf{pair, narrow, broad}[rapid.IntRange(0, 2).Draw(rt, "kinds")])
			defer m.tab.Close()
			conn := rapid.Uint32Range(0, 600)
			worker := rapid.IntRange(0, 2)
			rt.Repeat(map[string]func(*rapid.T){
				"insert": func(rt *rapid.T) {
					m.insert(tb, worker.Draw(rt, "worker"), conn.Draw(rt, "conn"), rapid.Uint32Range(1, 20000).Draw(rt, "timeout"))
				},
				"fill": func(rt *rapid.T) {
					from, w := conn.Draw(rt, "from"), worker.Draw(rt, "worker")
					for n := range rapid.Uint32Range(1, 200).Draw(rt, "n") {
						m.insert(tb, w, from+n, 3000+n)
					}
				},
				"remove": func(rt *rapid.T) { m.remove(tb, worker.Draw(rt, "worker"), conn.Draw(rt, "conn")) },
				"packet": func(rt *rapid.T) { m.packet(tb, conn.Draw(rt, "conn"), rapid.Bool().Draw(rt, "reply")) },
				"fast":   func(rt *rapid.T) { m.setFast(tb, conn.Draw(rt, "conn"), rapid.Bool().Draw(rt, "fast")) },
				"timeout": func(rt *rapid.T) {
					m.setTimeout(worker.Draw(rt, "worker"), conn.Draw(rt, "conn"), rapid.Uint32Range(1, 20000).Draw(rt, "timeout"))
				},
				"expire": func(rt *rapid.T) { m.expireNow(worker.Draw(rt, "worker"), conn.Draw(rt, "conn")) },
				"time":   func(rt *rapid.T) { m.advance(tb, rapid.Uint32Range(1, 2500).Draw(rt, "ticks")) },
				"":       func(rt *rapid.T) { checkTable(tb, m.tab, m.live, m.flows) },
			})
			m.drain(tb)
		})
	})
}

// rapidTB fails through rapid, so that it can shrink, and is a testing.TB for
// the rest.
type rapidTB struct {
	testing.TB
	rt *rapid.T
}

func (r rapidTB) Fatalf(f string, args ...any) { r.rt.Fatalf(f, args...) }
func (r rapidTB) Fatal(args ...any)            { r.rt.Fatal(args...) }
func (r rapidTB) Helper()                      {}

// Cleanup does nothing: each check closes its own table.
func (r rapidTB) Cleanup(func()) {}

// FuzzTable is TestAgainstMap with the operations from bytes.
func FuzzTable(f *testing.F) {
	f.Add([]byte{0, 1, 2, 0, 2, 2, 1, 1, 0, 6, 9, 9})
	f.Add([]byte{7, 0, 200, 6, 255, 255, 7, 1, 200, 2, 1, 7, 6, 40, 0})
	f.Fuzz(func(t *testing.T, ops []byte) {
		m := newModel(t, Anonymous, 1<<32-2000, pair)
		ops = ops[:min(len(ops), 600)]
		for ; len(ops) >= 3; ops = ops[3:] {
			a, b := uint32(ops[1]), uint32(ops[2])
			w, n := int(a%3), b+a>>7<<8
			switch ops[0] % 8 {
			case 0:
				m.insert(t, w, n, 1+a*70)
			case 1:
				m.remove(t, w, n)
			case 2:
				m.packet(t, n, a&1 != 0)
			case 3:
				m.setFast(t, n, a&1 != 0)
			case 4:
				m.setTimeout(w, n, 1+a*70)
			case 5:
				m.expireNow(w, n)
			case 6:
				m.advance(t, 1+a*8)
			case 7:
				for i := range b {
					m.insert(t, w, n+i, 2000)
				}
			}
		}
		checkTable(t, m.tab, m.live, m.flows)
		m.drain(t)
	})
}

// A tuple whose hash is the greatest number there is has slots like any other.
func TestHashAtTheEnd(t *testing.T) {
	tab := newTable(t, Config{Conns: 1, Workers: 1, Seed: 3})
	// Hash backwards: each step can be undone.
	unshift := func(h uint64, by uint) uint64 {
		for s := by; s < 64; s *= 2 {
			h ^= h >> s
		}
		return h
	}
	inverse := func(c uint64) uint64 {
		x := c
		for range 6 {
			x *= 2 - c*x
		}
		return x
	}
	k1 := uint64(6)<<32 | 80
	c1, c2 := uint64(hashC1), uint64(hashC2)
	h := unshift(unshift(^uint64(0), 15), 32) * inverse(c2)
	k0 := unshift(h^k1, 32)*inverse(c1) ^ tab.Seed()
	if got := tab.Hash(k0, k1); got != ^uint64(0) {
		t.Fatalf("hash %#x: the test does not undo Hash any more", got)
	}
	in, out := narrow(1)
	in.Key0, in.Key1 = k0, k1
	if _, err := tab.Worker(0).Insert(&in, &out, &NewConn{Timeout: 1}, clock.Now()); err != nil {
		t.Fatal(err)
	}
	if h, _ := tab.Find(k0, k1, tab.Hash(k0, k1)); h == nil {
		t.Error("inserted and not found")
	}
}
