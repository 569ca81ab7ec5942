package template

import (
	"fmt"
	"unsafe"

	"weir/internal/clock"
	"weir/internal/pinned"
)

// Open is New in memory that outlives the process, where the templates of one before may
// be: then TakeOver has to make it whole. With a nil keep it is New.
func Open(keep *pinned.Dir, n int, seed uint64) (*Store, error) {
	if keep == nil {
		return New(n, seed), nil
	}
	size := sizeFor(n)
	// One more than there are templates: its meta says whether there ever was any, so that
	// who goes on without need not look through all pages.
	m, err := keep.Array("templates", size+1, int(unsafe.Sizeof(cell{})))
	if err != nil {
		return nil, fmt.Errorf("persistence templates: %w", err)
	}
	cells := unsafe.Slice((*cell)(unsafe.Pointer(unsafe.SliceData(m.Bytes))), size+1)
	return &Store{cells: cells[:size], used: &cells[size].meta, seed: seed, memory: m}, nil
}

// TakeOver makes the store whole that a dead process left: templates that were there are,
// nobody holds them yet (Hold), and those that were being written are not. away is for how
// many ticks before now nobody could use one; that time does not count.
func (s *Store) TakeOver(now clock.Tick, away uint32) {
	if s.used != nil && s.used.Load() == 0 {
		return
	}
	died := now - clock.Tick(away)
	for i := range s.cells {
		c := &s.cells[i]
		m := c.meta.Load()
		if m&kind != live {
			if m&kind != empty {
				c.meta.Store(m&^(oneTag-1) + oneTag)
			}
			continue
		}
		c.meta.Store(m&^holds + oneTag)
		if last := clock.Tick(c.last.Load()); !died.Before(last) {
			c.last.Store(uint32(last) + away)
		}
		s.count.Add(1)
	}
}

// Hold gives a connection that goes on its hold back. It reports whether there is such a
// template, for that real server or, after Move, another. After TakeOver, before all else.
func (s *Store) Hold(ref uint32) bool {
	if uint64(ref) >= uint64(len(s.cells)) {
		return false
	}
	c := &s.cells[ref]
	m := c.meta.Load()
	if m&kind != live {
		return false
	}
	c.meta.Store(m + oneHold + oneTag)
	return true
}

// Each calls f with the real server of every template.
func (s *Store) Each(f func(dest uint32)) {
	if s.count.Load() == 0 {
		return
	}
	for i := range s.cells {
		if m := s.cells[i].meta.Load(); m&kind == live {
			f(destOf(m))
		}
	}
}

// Drop ends the templates of real servers that are not known. Before the workers run.
func (s *Store) Drop(unknown func(dest uint32) bool) {
	if s.count.Load() == 0 {
		return
	}
	for i := range s.cells {
		if m := s.cells[i].meta.Load(); m&kind == live && m&holds == 0 && unknown(destOf(m)) {
			s.cells[i].meta.Store(m&^(oneTag-1) + oneTag)
			s.count.Add(-1)
		}
	}
}

// Close unmaps what is kept. Nobody may use the store any more.
func (s *Store) Close() { s.memory.Close() }
