// Package template is the store of persistence: which real server the clients of a
// network have with a service.
//
// Enters: the Key of a new connection; the real server that was scheduled for it.
// Leaves: the real server of the key's template, and a hold on the template that
// the connection gives back when it ends.
// Owns: a fixed number of templates, shared by all workers and all atomic.
// Drops: nothing: where there is no room, a connection goes without a template.
// See: LVS (ip_vs_sched_persist).
package template

import (
	"sync/atomic"
	"unsafe"

	"weir/internal/clock"
	"weir/internal/pinned"
)

// Key names a template. Addresses are the words of a flow.Addr; the client's is
// masked. Service is protocol << 16 | port, 0 for all ports of a VIP.
type Key struct {
	Client, Virtual [2]uint64
	Service         uint64
}

// Ways is how many cells a key may lie in. They follow one another; if all are
// taken, the template that was used least lately and is not held goes.
const Ways = 8

// None is no template, or no real server.
const None = ^uint32(0)

// cell is a template: one cache line. Only who claimed it writes its key.
type cell struct {
	key     [5]atomic.Uint64
	meta    atomic.Uint64
	last    atomic.Uint32 // tick at which it was last used or given back
	timeout atomic.Uint32 // ticks it lives after that
	_       [8]byte
}

// A cell's meta, from the low end: what it is (2 bits), holds (26: as many as there
// can be connections), real server (16), and a tag (20) that every change makes
// another, so that a stale compare-and-swap fails.
const (
	empty   = 0
	busy    = 1 // its key is being written
	tried   = 2 // written; whoever wrote it looks whether another has the same key
	live    = 3
	kind    = 3
	oneHold = 1 << 2
	holds   = (1<<26 - 1) << 2
	destAt  = 28
	dests   = (1<<16 - 1) << destAt
	oneTag  = 1 << 44
)

func destOf(m uint64) uint32 { return uint32(m & dests >> destAt) }

// Store holds the templates.
type Store struct {
	cells  []cell
	seed   uint64
	count  atomic.Int64
	memory pinned.Memory  // that the cells lie in
	used   *atomic.Uint64 // there, whether there ever was a template; else nil
}

// New makes a store of at least n templates: of the next power of two. Memory is taken as they
// come.
func New(n int, seed uint64) *Store {
	size := sizeFor(n)
	m := pinned.Sparse(size * int(unsafe.Sizeof(cell{})))
	return &Store{cells: unsafe.Slice((*cell)(unsafe.Pointer(unsafe.SliceData(m.Bytes))), size), seed: seed, memory: m}
}

func sizeFor(n int) int {
	size := 2 * Ways
	for size < n {
		size <<= 1
	}
	return size
}

// Len is how many templates there are, Cap how many there can be.
func (s *Store) Len() int { return int(s.count.Load()) }

// Cap returns the bound.
func (s *Store) Cap() int { return len(s.cells) }

// home is the first of a key's cells.
func (s *Store) home(k *Key) uint32 {
	h := s.seed
	for _, w := range [5]uint64{k.Client[0], k.Client[1], k.Virtual[0], k.Virtual[1], k.Service} {
		h = (h ^ w) * 0x9E3779B97F4A7C15
		h ^= h >> 29
	}
	return uint32(h) & uint32(len(s.cells)-1)
}

func (s *Store) at(home, n uint32) (uint32, *cell) {
	i := (home + n) & uint32(len(s.cells)-1)
	return i, &s.cells[i]
}

func (c *cell) is(k *Key) bool {
	return c.key[0].Load() == k.Client[0] && c.key[1].Load() == k.Client[1] &&
		c.key[2].Load() == k.Virtual[0] && c.key[3].Load() == k.Virtual[1] && c.key[4].Load() == k.Service
}

// over reports whether nobody holds the template and its time has passed. An idle
// template is looked at within half the range of a tick: the director sweeps.
func (c *cell) over(m uint64, now clock.Tick) bool {
	return m&holds == 0 && now.Since(clock.Tick(c.last.Load())) >= c.timeout.Load()
}

// Find takes hold of a key's template and says which real server it is for. ref is
// None if there is none.
func (s *Store) Find(k *Key, timeout uint32, now clock.Tick) (ref, dest uint32) {
	home := s.home(k)
	for n := range uint32(Ways) {
		i, c := s.at(home, n)
		for {
			m := c.meta.Load()
			if m&kind != live || !c.is(k) || c.over(m, now) {
				break
			}
			if c.meta.CompareAndSwap(m, m+oneHold+oneTag) {
				c.last.Store(uint32(now))
				c.timeout.Store(timeout)
				return i, destOf(m)
			}
		}
	}
	return None, None
}

// Added is what came of Add.
type Added struct {
	Ref, Dest uint32 // as Find's; another worker may have been faster with another real server
	Made      bool   // a template was made, for the real server that was given
	Gone      uint32 // real server of a template that went for it, or None
	Evicted   bool   // it went before its time
}

// Add makes a template for a key that has none and takes hold of it. Ref is None if
// all of the key's cells are held, or being written.
func (s *Store) Add(k *Key, dest, timeout uint32, now clock.Tick) (a Added) {
	a.Gone = None
	home := s.home(k)
	if s.used != nil && s.used.Load() == 0 {
		s.used.Store(1)
	}
	// A round ends without a result only if another worker made progress.
	for range 4 * Ways {
		if a.Ref, a.Dest = s.Find(k, timeout, now); a.Ref != None {
			return a
		}
		i, c, m, old := s.claim(home, now)
		if c == nil {
			break
		}
		if old != None {
			a.Gone, a.Evicted = old, a.Evicted || !c.over(m&^kind|live, now)
		}
		c.key[0].Store(k.Client[0])
		c.key[1].Store(k.Client[1])
		c.key[2].Store(k.Virtual[0])
		c.key[3].Store(k.Virtual[1])
		c.key[4].Store(k.Service)
		c.last.Store(uint32(now))
		c.timeout.Store(timeout)
		m = m&^(oneTag-1) + oneTag | uint64(dest)<<destAt&dests | oneHold | tried
		c.meta.Store(m)
		if s.alone(home, i, k, now) && c.meta.CompareAndSwap(m, m+oneTag|live) {
			s.count.Add(1)
			a.Ref, a.Dest, a.Made = i, dest, true
			return a
		}
		// Another has the key; if it did not take the cell away, we do.
		c.meta.CompareAndSwap(m, m&^(oneTag-1)+oneTag)
		if a.Gone != None {
			// What the caller has to know must not be forgotten in another round.
			if a.Ref, a.Dest = s.Find(k, timeout, now); a.Ref == None {
				a.Dest = None
			}
			return a
		}
	}
	a.Ref, a.Dest = None, None
	return a
}

// claim takes one of the key's cells to write into: an empty one, one that is over,
// or the one used least lately. old is the real server of the template that went.
func (s *Store) claim(home uint32, now clock.Tick) (at uint32, c *cell, m uint64, old uint32) {
	for range Ways {
		var best *cell
		var bestAt uint32
		var was uint64
		most := uint64(0)
		for n := range uint32(Ways) {
			i, c := s.at(home, n)
			m := c.meta.Load()
			want := uint64(0)
			switch {
			case m&kind == empty:
				want = 1 << 33
			case m&kind != live || m&holds != 0:
			case c.over(m, now):
				want = 1 << 32
			default:
				want = 1 + uint64(now.Since(clock.Tick(c.last.Load())))
			}
			if want > most {
				best, bestAt, was, most = c, i, m, want
			}
		}
		if best == nil {
			return 0, nil, 0, None
		}
		m := was&^(oneTag-1) + oneTag | was&dests | busy
		if !best.meta.CompareAndSwap(was, m) {
			continue
		}
		if was&kind == live {
			s.count.Add(-1)
			return bestAt, best, m, destOf(was)
		}
		return bestAt, best, m, None
	}
	return 0, nil, 0, None
}

// alone reports whether no other cell has the key. Of two that are tried at once,
// the one in the earlier cell takes the other's away, which its writer notices.
func (s *Store) alone(home, mine uint32, k *Key, now clock.Tick) bool {
	first := true // no cell before mine was met yet
	for n := range uint32(Ways) {
		i, c := s.at(home, n)
		if i == mine {
			first = false
			continue
		}
		m := c.meta.Load()
		if k := m & kind; k != live && k != tried {
			continue
		}
		if !c.is(k) || m&kind == live && c.over(m, now) {
			continue
		}
		if m&kind == live || first {
			return false
		}
		if !c.meta.CompareAndSwap(m, m&^(oneTag-1)+oneTag) && c.meta.Load()&kind == live {
			return false
		}
	}
	return true
}

// Move makes a held template one for another real server, unless it is no more for
// the one it was for. It reports whether it did, and whose the template is now.
func (s *Store) Move(ref, from, to uint32) (dest uint32, moved bool) {
	c := &s.cells[ref]
	for {
		m := c.meta.Load()
		if d := destOf(m); d != from {
			return d, false
		}
		if c.meta.CompareAndSwap(m, m&^dests+oneTag|uint64(to)<<destAt) {
			return to, true
		}
	}
}

// Release gives a hold back: the template lives its timeout from now on.
func (s *Store) Release(ref uint32, now clock.Tick) {
	c := &s.cells[ref]
	c.last.Store(uint32(now))
	for {
		m := c.meta.Load()
		if c.meta.CompareAndSwap(m, m-oneHold+oneTag) {
			return
		}
	}
}

// Sweep ends templates that nobody holds and that are over, or whose real server is
// unwanted, and calls gone with the real server of each. Any goroutine may.
func (s *Store) Sweep(now clock.Tick, unwanted func(dest uint32) bool, gone func(dest uint32)) {
	if s.count.Load() == 0 {
		return
	}
	for i := range s.cells {
		c := &s.cells[i]
		m := c.meta.Load()
		if m&kind != live || m&holds != 0 || !c.over(m, now) && !unwanted(destOf(m)) {
			continue
		}
		if c.meta.CompareAndSwap(m, m&^(oneTag-1)+oneTag) {
			s.count.Add(-1)
			gone(destOf(m))
		}
	}
}
