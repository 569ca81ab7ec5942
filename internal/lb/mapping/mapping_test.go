package mapping

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

func key(n int) *Key {
	return &Key{Address: [2]uint64{7, uint64(n)}, Service: 3, Port: uint16(n), Proto: 17}
}

// TestLife: a mapping is there from its first hold to its last, and then what it
// borrowed comes back, once.
func TestLife(t *testing.T) {
	s := New(1, 1)
	want := Mapping{Dest: 1, Local: 2, Port: 1025, Reused: 3}
	if ref, _ := s.Find(key(1)); ref != None {
		t.Fatal("an empty store has a mapping")
	}
	ref, m, made := s.Add(key(1), want)
	if ref == None || !made || m != want {
		t.Fatalf("added: %d, %+v, %v", ref, m, made)
	}
	again, m, made := s.Add(key(1), Mapping{Port: 9})
	if again != ref || made || m != want {
		t.Errorf("the same key again: %d, %+v, %v: want what there was", again, m, made)
	}
	if found, m := s.Find(key(1)); found != ref || m != want {
		t.Errorf("found %d, %+v", found, m)
	}
	for _, other := range []*Key{
		{Address: [2]uint64{8, 1}, Service: 3, Port: 1, Proto: 17},
		{Address: [2]uint64{7, 1}, Service: 4, Port: 1, Proto: 17},
		{Address: [2]uint64{7, 1}, Service: 3, Port: 2, Proto: 17},
		{Address: [2]uint64{7, 1}, Service: 3, Port: 1, Proto: 6},
	} {
		if ref, _ := s.Find(other); ref != None {
			t.Errorf("%+v has the mapping of another key", *other)
		}
	}
	for range 2 {
		if _, last := s.Release(ref); last {
			t.Fatal("the mapping ended while it was held")
		}
	}
	if m, last := s.Release(ref); !last || m != want {
		t.Errorf("last hold: %+v, %v", m, last)
	}
	if ref, _ := s.Find(key(1)); ref != None || s.Len() != 0 {
		t.Errorf("a mapping that ended is found; there are %d", s.Len())
	}
}

// TestRetired: a mapping that is not to be had any more lives until its last hold,
// and its key gets another meanwhile.
func TestRetired(t *testing.T) {
	s := New(1, 1)
	ref, _, _ := s.Add(key(1), Mapping{Port: 1025})
	s.Retire(ref)
	s.Retire(ref)
	if found, _ := s.Find(key(1)); found != None {
		t.Fatal("a retired mapping is found")
	}
	other, _, made := s.Add(key(1), Mapping{Port: 1026})
	if other == ref || !made || s.Len() != 1 {
		t.Fatalf("the key's new mapping: %d, %v; there are %d", other, made, s.Len())
	}
	if m, last := s.Release(ref); !last || m.Port != 1025 {
		t.Errorf("the retired one ended with %+v, %v", m, last)
	}
	if m, last := s.Release(other); !last || m.Port != 1026 {
		t.Errorf("the new one ended with %+v, %v", m, last)
	}
}

// TestFull: where a key's cells are all taken there is no mapping, and those that
// are there stay.
func TestFull(t *testing.T) {
	s := New(1, 1)
	var refs []uint32
	for n := range 100 * len(s.cells) {
		if ref, _, made := s.Add(key(n), Mapping{Port: uint16(n)}); made {
			refs = append(refs, ref)
		}
	}
	if len(refs) != len(s.cells) || s.Len() != len(refs) {
		t.Fatalf("%d mappings, %d counted, in %d cells", len(refs), s.Len(), len(s.cells))
	}
	if ref, _, _ := s.Add(key(1<<20), Mapping{}); ref != None {
		t.Error("a full store took another mapping")
	}
	for _, ref := range refs {
		if _, last := s.Release(ref); !last {
			t.Fatal("a mapping was held twice")
		}
	}
	if s.Len() != 0 {
		t.Errorf("%d are left", s.Len())
	}
}

// TestConcurrent: whatever workers do at once, a key has one mapping as long as
// anybody holds it, and nothing that was borrowed is lost or given back twice.
func TestConcurrent(t *testing.T) {
	const keys, rounds, workers = 8, 40_000, 4
	s := New(1, 1)
	var now [keys]atomic.Uint64 // holds << 32 | value, by key
	var out [1 << 16]atomic.Bool
	var borrowed, given atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), 1))
			type held struct {
				key int
				ref uint32
			}
			var mine []held
			free := []uint16{}
			for p := range 200 {
				free = append(free, uint16(w*1000+p+1))
			}
			release := func(h held) {
				now[h.key].Add(^uint64(1<<32 - 1)) // one hold less, before it is given back
				if m, last := s.Release(h.ref); last {
					given.Add(1)
					if !out[m.Port].CompareAndSwap(true, false) {
						t.Errorf("port %d came back twice", m.Port)
					}
				}
			}
			for range rounds {
				if len(mine) > 4 || len(mine) > 0 && rnd.IntN(2) == 0 {
					h := mine[len(mine)-1]
					mine = mine[:len(mine)-1]
					release(h)
					continue
				}
				k := rnd.IntN(keys)
				ref, m := s.Find(key(k))
				if ref == None {
					at := rnd.IntN(len(free))
					for out[free[at]].Load() {
						at = (at + 1) % len(free)
					}
					out[free[at]].Store(true)
					var made bool
					if ref, m, made = s.Add(key(k), Mapping{Port: free[at]}); made {
						borrowed.Add(1)
					} else {
						out[free[at]].Store(false)
					}
					if ref == None {
						continue
					}
				}
				// Ours is held: whoever else holds the key has the same port.
				for {
					was := now[k].Load()
					next := was + 1<<32
					if was>>32 == 0 {
						next = 1<<32 | uint64(m.Port)
					} else if uint16(was) != m.Port {
						t.Errorf("key %d has ports %d and %d at once", k, uint16(was), m.Port)
						return
					}
					if now[k].CompareAndSwap(was, next) {
						break
					}
				}
				mine = append(mine, held{k, ref})
			}
			for _, h := range mine {
				release(h)
			}
		})
	}
	wg.Wait()
	if borrowed.Load() != given.Load() || s.Len() != 0 || borrowed.Load() == 0 {
		t.Errorf("%d borrowed, %d given back, %d mappings left", borrowed.Load(), given.Load(), s.Len())
	}
}

func TestAllocatesNothing(t *testing.T) {
	s := New(16, 1)
	k := key(5)
	if n := testing.AllocsPerRun(100, func() {
		ref, _, _ := s.Add(k, Mapping{Port: 1})
		s.Find(k)
		s.Release(ref)
		s.Release(ref)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
