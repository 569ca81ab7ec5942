// Package mapping is the store of endpoint-independent mappings (SNAT): which WAN
// address and port an inside host's address and port have, whoever they talk to.
//
// Enters: the Key of a new connection; what was borrowed for a new mapping.
// Leaves: the key's mapping, and a hold on it that the connection gives back when it
// ends. Who gives back the last one gets back what was borrowed.
// Owns: a fixed number of mappings, shared by all workers and all atomic.
// Drops: nothing: it says when there is no room.
// See: RFC 4787 (REQ-1), RFC 5382 (REQ-1), RFC 5508 (REQ-1).
package mapping

import (
	"sync/atomic"
	"unsafe"

	"weir/internal/pinned"
)

// Key names a mapping: an inside end, in one protocol, of one service. Address is the
// words of a flow.Addr, Port as on the wire, read little-endian (of an echo its id).
type Key struct {
	Address [2]uint64
	Service uint32
	Port    uint16
	Proto   uint8
}

// Mapping is what an inside end has. All of it was borrowed by who made the mapping.
type Mapping struct {
	Dest  uint16 // index of the real server, which is the WAN address
	Local uint16 // index of the WAN address among the local ones
	Port  uint16 // host order
	// Reused is the stamp (laddr.Second) of when the mapping was made, if others may
	// still remember its port then; 0 if not.
	Reused uint16
}

func (m Mapping) word() uint64 {
	return uint64(m.Dest) | uint64(m.Local)<<16 | uint64(m.Port)<<32 | uint64(m.Reused)<<48
}

func of(w uint64) Mapping {
	return Mapping{uint16(w), uint16(w >> 16), uint16(w >> 32), uint16(w >> 48)}
}

// Ways is how many cells a key may lie in. They follow one another.
const Ways = 32

// None is no mapping.
const None = ^uint32(0)

// cell is a mapping: one cache line. Only who claimed it writes key and value.
type cell struct {
	key   [3]atomic.Uint64
	value atomic.Uint64
	meta  atomic.Uint64
	_     [24]byte
}

// A cell's meta, from the low end: what it is (3 bits), holds (26: as many as there
// can be connections), and a tag that every change makes another, so that a stale
// compare-and-swap fails.
const (
	empty   = 0
	busy    = 1 // its key is being written
	tried   = 2 // written; whoever wrote it looks whether another has the same key
	live    = 3
	retired = 4 // nobody finds it any more; it goes with its last hold
	kind    = 7
	oneHold = 1 << 3
	holds   = (1<<26 - 1) << 3
	oneTag  = 1 << 29
)

// become is a meta with another tag, kind and holds.
func become(m, now uint64) uint64 { return m&^(oneTag-1) + oneTag | now }

// Store holds the mappings.
type Store struct {
	cells []cell
	seed  uint64
	count atomic.Int64
}

// New makes a store for n mappings: at least twice as many cells, so that a key's
// are hardly ever all taken. Memory is taken as mappings come, and stays with the process.
func New(n int, seed uint64) *Store {
	size := 2 * Ways
	for size < 2*n {
		size <<= 1
	}
	m := pinned.Sparse(size * int(unsafe.Sizeof(cell{})))
	return &Store{cells: unsafe.Slice((*cell)(unsafe.Pointer(unsafe.SliceData(m.Bytes))), size), seed: seed}
}

// Len is how many mappings there are that can be found.
func (s *Store) Len() int { return int(s.count.Load()) }

func (k *Key) words() [3]uint64 {
	return [3]uint64{k.Address[0], k.Address[1], uint64(k.Service)<<32 | uint64(k.Proto)<<16 | uint64(k.Port)}
}

// home is the first of a key's cells.
func (s *Store) home(k *[3]uint64) uint32 {
	h := s.seed
	for _, w := range k {
		h = (h ^ w) * 0x9E3779B97F4A7C15
		h ^= h >> 29
	}
	return uint32(h) & uint32(len(s.cells)-1)
}

func (s *Store) at(home, n uint32) (uint32, *cell) {
	i := (home + n) & uint32(len(s.cells)-1)
	return i, &s.cells[i]
}

func (c *cell) is(k *[3]uint64) bool {
	return c.key[0].Load() == k[0] && c.key[1].Load() == k[1] && c.key[2].Load() == k[2]
}

// Find takes hold of a key's mapping. ref is None if there is none.
func (s *Store) Find(k *Key) (ref uint32, m Mapping) {
	w := k.words()
	return s.find(s.home(&w), &w)
}

func (s *Store) find(home uint32, k *[3]uint64) (uint32, Mapping) {
	for n := range uint32(Ways) {
		i, c := s.at(home, n)
		for {
			m := c.meta.Load()
			if m&kind != live || !c.is(k) {
				break
			}
			v := c.value.Load()
			if c.meta.CompareAndSwap(m, m+oneHold+oneTag) {
				return i, of(v)
			}
		}
	}
	return None, Mapping{}
}

// Add makes a mapping for a key that has none, and takes hold of it. If another
// worker was faster it is his that is held, and made is false: the caller keeps what
// he borrowed. ref is None if all of the key's cells are taken, or being written.
func (s *Store) Add(k *Key, want Mapping) (ref uint32, m Mapping, made bool) {
	w := k.words()
	home := s.home(&w)
	// A round ends without a result only if another worker made progress.
	for range 2 * Ways {
		if ref, m = s.find(home, &w); ref != None {
			return ref, m, false
		}
		i, c, meta := s.claim(home)
		if c == nil {
			break
		}
		for n := range w {
			c.key[n].Store(w[n])
		}
		c.value.Store(want.word())
		meta = become(meta, tried|oneHold)
		c.meta.Store(meta)
		if s.alone(home, i, &w) && c.meta.CompareAndSwap(meta, become(meta, live|oneHold)) {
			s.count.Add(1)
			return i, want, true
		}
		// Another has the key; if it did not take the cell away, we do.
		c.meta.CompareAndSwap(meta, become(meta, empty))
	}
	return None, Mapping{}, false
}

// claim takes an empty one of the key's cells to write into.
func (s *Store) claim(home uint32) (uint32, *cell, uint64) {
	for n := range uint32(Ways) {
		i, c := s.at(home, n)
		m := c.meta.Load()
		if m&kind == empty && c.meta.CompareAndSwap(m, become(m, busy)) {
			return i, c, become(m, busy)
		}
	}
	return 0, nil, 0
}

// alone reports whether no other cell has the key. Of two that are tried at once,
// the one in the earlier cell takes the other's away, which its writer notices.
func (s *Store) alone(home, mine uint32, k *[3]uint64) bool {
	first := true // no cell before mine was met yet
	for n := range uint32(Ways) {
		i, c := s.at(home, n)
		if i == mine {
			first = false
			continue
		}
		m := c.meta.Load()
		if is := m & kind; is != live && is != tried || !c.is(k) {
			continue
		}
		if m&kind == live || first {
			return false
		}
		if !c.meta.CompareAndSwap(m, become(m, empty)) && c.meta.Load()&kind == live {
			return false
		}
	}
	return true
}

// Retire hides a held mapping from those to come: its key may get another one. The
// holds stay.
func (s *Store) Retire(ref uint32) {
	c := &s.cells[ref]
	for {
		m := c.meta.Load()
		if m&kind != live {
			return // another worker did
		}
		if c.meta.CompareAndSwap(m, become(m, retired|m&holds)) {
			s.count.Add(-1)
			return
		}
	}
}

// Release gives a hold back. With the last one the mapping is no more: what it
// borrowed is the caller's, who gives it back.
func (s *Store) Release(ref uint32) (m Mapping, last bool) {
	c := &s.cells[ref]
	for {
		meta := c.meta.Load()
		if meta&holds != oneHold {
			if c.meta.CompareAndSwap(meta, meta-oneHold+oneTag) {
				return m, false
			}
			continue
		}
		v := c.value.Load()
		if c.meta.CompareAndSwap(meta, become(meta, empty)) {
			if meta&kind == live {
				s.count.Add(-1)
			}
			return of(v), true
		}
	}
}

// Restore gives a connection that goes on its mapping: the one of its key, or a new one, if
// that is what it had. Else old says which mapping the key has, that others were made with
// since or before; then the caller hides that one (Retire) and asks again, or holds what he
// hid earlier (Hold). ref is None if all of the key's cells are taken.
func (s *Store) Restore(k *Key, had Mapping) (ref uint32, old bool) {
	ref, m, made := s.Add(k, had)
	if ref == None || made || m.word()&portOf == had.word()&portOf {
		return ref, false
	}
	_, _ = s.Release(ref)
	return ref, true
}

// portOf are the bits of a mapping that say what an inside end has.
const portOf = 1<<48 - 1

// Hold gives a connection that goes on a hold of a mapping that others hold. Before the
// workers run.
func (s *Store) Hold(ref uint32) { s.cells[ref].meta.Add(oneHold + oneTag) }
