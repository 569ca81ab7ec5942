// Package acl says which clients a service takes: its blacklist and whitelist,
// compiled.
//
// Enters: the lists of a spec.Service.
// Leaves: the reason for which a client is denied, or none.
// Owns: Lists are immutable once published.
// Drops: nothing itself; it names LBBlacklisted and LBNotWhitelisted.
package acl

import (
	"net/netip"

	"weir/internal/flow"
	"weir/internal/packet"
)

// Lists are the two lists of a service. A nil *Lists takes everybody.
type Lists struct {
	black, white set
}

// Compile returns the lists, or nil if both are empty.
func Compile(black, white []netip.Addr) *Lists {
	if len(black) == 0 && len(white) == 0 {
		return nil
	}
	return &Lists{black: newSet(black), white: newSet(white)}
}

// Check says why a client is denied, NoReason if it is not: the blacklist is asked
// first; then, if anybody is on the whitelist, the client must be.
func (l *Lists) Check(client flow.Addr) packet.Reason {
	switch {
	case l == nil:
		return packet.NoReason
	case l.black.has(client):
		return packet.LBBlacklisted
	case l.white.cells != nil && !l.white.has(client):
		return packet.LBNotWhitelisted
	}
	return packet.NoReason
}

// set holds addresses of both families: open addressing in one slice, at most half
// full. The zero Addr is an empty cell, since nobody is ::.
type set struct {
	cells []flow.Addr
	shift uint8 // of the hash: its upper bits choose the cell
}

func newSet(all []netip.Addr) set {
	if len(all) == 0 {
		return set{}
	}
	size, shift := 2, uint8(63)
	for size < 2*len(all) {
		size, shift = size<<1, shift-1
	}
	s := set{cells: make([]flow.Addr, size), shift: shift}
	for _, ip := range all {
		a := flow.AddrOf(ip)
		i := s.home(a)
		for s.cells[i] != (flow.Addr{}) && s.cells[i] != a {
			i = (i + 1) & (len(s.cells) - 1)
		}
		s.cells[i] = a
	}
	return s
}

func (s *set) home(a flow.Addr) int {
	const odd = 0x9E3779B97F4A7C15
	h := (a.Hi*odd ^ a.Lo) * odd
	return int((h ^ h>>32) * odd >> s.shift)
}

func (s *set) has(a flow.Addr) bool {
	if len(s.cells) == 0 {
		return false
	}
	for i := s.home(a); ; i++ {
		switch s.cells[i&(len(s.cells)-1)] {
		case a:
			return a != flow.Addr{}
		case flow.Addr{}:
			return false
		}
	}
}
