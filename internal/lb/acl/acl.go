// Package acl says which clients a service takes: its blacklist and whitelist,
// compiled.
//
// Enters: the lists of a spec.Service.
// Leaves: the reason for which a client is denied, or none.
// Owns: Lists are immutable once published.
// Drops: nothing itself; it names LBBlacklisted and LBNotWhitelisted.
package acl

import (
	"encoding/binary"
	"net/netip"

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
// first; then, if anybody is on the whitelist, the client must be. The address is
// as on the wire, read little-endian.
func (l *Lists) Check(client uint32) packet.Reason {
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

// set holds IPv4 addresses: open addressing in one slice, at most half full. 0 is
// an empty cell, since nobody is 0.0.0.0. IPv6 addresses will have a slice of their own.
type set struct {
	cells []uint32
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
	s := set{cells: make([]uint32, size), shift: shift}
	for _, a := range all {
		b := a.As4()
		w := binary.LittleEndian.Uint32(b[:])
		i := s.home(w)
		for s.cells[i] != 0 && s.cells[i] != w {
			i = (i + 1) & (len(s.cells) - 1)
		}
		s.cells[i] = w
	}
	return s
}

func (s *set) home(w uint32) int { return int(uint64(w) * 0x9E3779B97F4A7C15 >> s.shift) }

func (s *set) has(w uint32) bool {
	if len(s.cells) == 0 {
		return false
	}
	for i := s.home(w); ; i++ {
		switch s.cells[i&(len(s.cells)-1)] {
		case w:
			return w != 0
		case 0:
			return false
		}
	}
}
