package template

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"weir/internal/clock"
)

func key(client, service uint64) *Key {
	return &Key{Client: [2]uint64{client}, Virtual: [2]uint64{9}, Service: service}
}

// modelled is a template as the model has it: a map with expiry.
type modelled struct {
	dest, holds, timeout uint32
	last                 clock.Tick
}

// TestModel holds the store to a map with expiry, in one that always has room, and
// the counts of real servers to what the map says.
func TestModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	s := New(1<<14, 7)
	type holder struct {
		k   Key
		ref uint32
	}
	model := map[Key]*modelled{}
	var held []holder
	per := map[uint32]int{} // templates of each real server
	now := clock.Tick(1<<32 - 5000)
	dead := func(m *modelled) bool { return m.holds == 0 && now.Since(m.last) >= m.timeout }
	for range 200000 {
		switch op := r.IntN(10); {
		case op < 5:
			k := key(uint64(r.IntN(200)), uint64(r.IntN(2)))
			timeout, dest := 1+r.Uint32N(300), r.Uint32N(5)
			m := model[*k]
			ref, d := s.Find(k, timeout, now)
			if m == nil || dead(m) {
				if ref != None {
					t.Fatalf("found a template that is not there")
				}
				a := s.Add(k, dest, timeout, now)
				if !a.Made || a.Dest != dest || a.Evicted {
					t.Fatalf("added %+v", a)
				}
				if a.Gone != None {
					per[a.Gone]--
				}
				per[dest]++
				m = &modelled{dest: dest}
				model[*k], ref = m, a.Ref
			} else if ref == None || d != m.dest {
				t.Fatalf("found %d for %d, want %+v", ref, d, m)
			}
			m.holds, m.last, m.timeout = m.holds+1, now, timeout
			held = append(held, holder{*k, ref})
		case op < 8 && len(held) > 0:
			i := r.IntN(len(held))
			h := held[i]
			held[i] = held[len(held)-1]
			held = held[:len(held)-1]
			s.Release(h.ref, now)
			model[h.k].holds--
			model[h.k].last = now
		case op == 8 && len(held) > 0:
			h := held[r.IntN(len(held))]
			m := model[h.k]
			from, to := r.Uint32N(5), r.Uint32N(5)
			d, moved := s.Move(h.ref, from, to)
			if moved != (from == m.dest) || moved && d != to || !moved && d != m.dest {
				t.Fatalf("moved %v to %d, had %d", moved, d, m.dest)
			}
			if moved {
				per[from]--
				per[to]++
				m.dest = to
			}
		case r.IntN(50) == 0:
			unwanted := r.Uint32N(5)
			s.Sweep(now, func(d uint32) bool { return d == unwanted }, func(d uint32) { per[d]-- })
			n := 0
			want := map[uint32]int{}
			for k, m := range model {
				if dead(m) || m.holds == 0 && m.dest == unwanted {
					delete(model, k)
					continue
				}
				n++
				want[m.dest]++
			}
			if s.Len() != n {
				t.Fatalf("%d templates after a sweep, want %d", s.Len(), n)
			}
			for d := range uint32(5) {
				if per[d] != want[d] {
					t.Fatalf("real server %d has %d templates, want %d", d, per[d], want[d])
				}
			}
		default:
			now += clock.Tick(r.Uint32N(20))
		}
	}
}

// TestFull: a store without room lets the template go that was used least lately,
// and none that is held.
func TestFull(t *testing.T) {
	s := New(1, 1)
	var refs []uint32
	for i := range s.Cap() {
		a := s.Add(key(uint64(i), 1), uint32(i), 1000, 0)
		if a.Made {
			refs = append(refs, a.Ref)
		}
	}
	// Fill what other homes left free.
	for i := uint64(100); s.Len() < s.Cap(); i++ {
		if a := s.Add(key(i, 1), 1, 1000, 0); a.Made {
			refs = append(refs, a.Ref)
		}
	}
	if a := s.Add(key(99999, 1), 5, 1000, 1); a.Ref != None || a.Made || a.Gone != None {
		t.Fatalf("all are held, and yet %+v", a)
	}
	for i, ref := range refs {
		s.Release(ref, clock.Tick(10+i))
	}
	a := s.Add(key(99999, 1), 5, 1000, 100)
	if !a.Made || a.Gone == None || !a.Evicted || s.Len() != s.Cap() {
		t.Fatalf("%+v with %d of %d", a, s.Len(), s.Cap())
	}
	s.Release(a.Ref, 100)
	if a := s.Add(key(88888, 1), 5, 1000, 5000); !a.Made || a.Gone == None || a.Evicted {
		t.Fatalf("one that is over went as if before its time: %+v", a)
	}
}

// TestOneForAll: workers that meet a client at once agree on its real server, while
// templates expire, move and are swept; holds and counts come out even.
func TestOneForAll(t *testing.T) {
	const workers, clients, rounds = 4, 40, 20000
	s := New(1<<12, 3)
	var per [workers]atomic.Int64
	var hands [clients]atomic.Int64 // the real server that holders of a client have, and how many hold
	stop := make(chan struct{})
	var sweeper, wg sync.WaitGroup
	sweeper.Add(1)
	go func() {
		defer sweeper.Done()
		for {
			select {
			case <-stop:
				return
			default:
				s.Sweep(0, func(uint32) bool { return true }, func(d uint32) { per[d].Add(-1) })
			}
		}
	}()
	var without, split atomic.Int64
	for w := range uint32(workers) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r := rand.New(rand.NewPCG(uint64(w), 1))
			for range rounds {
				c := r.IntN(clients)
				k := key(uint64(c), 1)
				ref, dest := s.Find(k, 1000, 0)
				if ref == None {
					a := s.Add(k, w, 1000, 0)
					if a.Gone != None {
						per[a.Gone].Add(-1)
					}
					if a.Made {
						per[w].Add(1)
					}
					if ref, dest = a.Ref, a.Dest; ref == None {
						without.Add(1)
						continue
					}
				}
				// While anyone holds, all who come get the same one.
				for {
					h := hands[c].Load()
					n, d := h>>8, uint32(h&0xff)
					if n > 0 && d != dest {
						split.Add(1)
					}
					if hands[c].CompareAndSwap(h, (n+1)<<8|int64(dest)) {
						break
					}
				}
				for {
					h := hands[c].Load()
					if hands[c].CompareAndSwap(h, (h>>8-1)<<8|h&0xff) {
						break
					}
				}
				s.Release(ref, 0)
			}
		}()
	}
	wg.Wait()
	close(stop)
	sweeper.Wait()
	if n := split.Load(); n != 0 {
		t.Errorf("%d times two real servers for a client at once", n)
	}
	if n := without.Load(); n > workers*rounds/10 {
		t.Errorf("%d of %d went without", n, workers*rounds)
	}
	s.Sweep(0, func(uint32) bool { return true }, func(d uint32) { per[d].Add(-1) })
	if s.Len() != 0 {
		t.Errorf("%d templates are held by nobody", s.Len())
	}
	for d := range per {
		if n := per[d].Load(); n != 0 {
			t.Errorf("real server %d has %d templates in the end", d, n)
		}
	}
}

func TestNothingAllocated(t *testing.T) {
	s := New(1024, 1)
	i := uint64(0)
	if n := testing.AllocsPerRun(1000, func() {
		i++
		k := Key{Client: [2]uint64{i}}
		a := s.Add(&k, 1, 10, clock.Tick(i))
		s.Release(a.Ref, clock.Tick(i))
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
