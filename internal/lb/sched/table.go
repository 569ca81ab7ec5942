package sched

import (
	"net/netip"
	"slices"
)

// Server is what a Table needs to know of a real server.
type Server struct {
	Addr   netip.AddrPort
	Weight uint32
}

// Config is what a Table is built of.
type Config struct {
	Kind Kind // one that Hashes
	// ByPort: sh and mh hash the client's port too (LVS's sh-port and mh-port).
	ByPort  bool
	Servers []Server // beside the candidates, 65536 at most
}

func (c *Config) equal(d *Config) bool {
	return c.Kind == d.Kind && c.ByPort == d.ByPort && slices.Equal(c.Servers, d.Servers)
}

// Table maps keys to candidates. It is immutable.
type Table struct {
	made  Config
	order []uint16 // candidates by address and port
	slots []uint16 // sh, dh, mh: candidates
	ring  []point  // conhash: ascending
}

// Build makes a table, or returns old if that was built of the same.
func Build(c Config, old *Table) *Table {
	if old != nil && old.made.equal(&c) {
		return old
	}
	t := &Table{made: c, order: make([]uint16, len(c.Servers))}
	for i := range t.order {
		t.order[i] = uint16(i)
	}
	slices.SortFunc(t.order, func(a, b uint16) int { return c.Servers[a].Addr.Compare(c.Servers[b].Addr) })
	switch c.Kind {
	case SH:
		t.slots = byWeight(c.Servers, t.order)
	case DH:
		t.slots = inTurn(t.order)
	case MH:
		t.slots = maglev(c.Servers, t.order, maglevSlots)
	case Conhash:
		t.ring = newRing(c.Servers, t.order)
	case RR, WRR, WLC, LC, SED, NQ, FO: // have no table
	}
	return t
}

// Pick chooses a candidate or returns None.
func (t *Table) Pick(k *Key, cs []Candidate) int {
	switch t.made.Kind {
	case SH:
		return t.sourceHash(k, cs)
	case DH:
		return t.destinationHash(k, cs)
	case MH:
		return t.maglevHash(k, cs)
	case Conhash:
		return t.consistentHash(k, cs)
	case RR, WRR, WLC, LC, SED, NQ, FO: // have no table
	}
	return None
}

// tries bounds the search for another server in a table, when the chosen one is
// full: most are met at once, and if nearly all are full firstFrom finds the rest.
const tries = 256

// port is what of the client's port is hashed.
func (t *Table) port(k *Key) uint64 {
	if t.made.ByPort {
		return uint64(k.Port)
	}
	return 0
}

// firstFrom returns the first usable candidate in order of address from a place
// that h chooses.
func (t *Table) firstFrom(h uint64, cs []Candidate) int {
	at := scale(h, len(t.order))
	for range t.order {
		if i := int(t.order[at]); cs[i].Usable() {
			return i
		}
		if at++; at == len(t.order) {
			at = 0
		}
	}
	return None
}

// heaviest returns the greatest weight, and the sum of all.
func heaviest(ss []Server) (most, sum uint64) {
	for _, s := range ss {
		most, sum = max(most, uint64(s.Weight)), sum+uint64(s.Weight)
	}
	return most, sum
}
