package tunnel

import (
	"cmp"
	"math/bits"
	"net/netip"
	"slices"
	"sync/atomic"

	"weir/internal/flow"
	"weir/internal/port"
	"weir/internal/wire"
)

// Kind is what stands between the outer and the inner IP header.
type Kind uint8

// The kinds, in dpip's words.
const (
	IPIP Kind = iota // nothing
	GRE
)

// Flags of a device's GRE header, either way: those of the header itself.
const (
	Checksum = wire.GREChecksum
	Key      = wire.GREKey
	Sequence = wire.GRESequence
)

// Device is a tunnel device, compiled: immutable but for its State.
type Device struct {
	Port          uint16 // its own ID, greater than that of any real port
	Kind          Kind
	Local, Remote netip.Addr // ends of the tunnel; zero: any
	From          netip.Addr // what packets leave from: Local, or where that is any an address of ours
	IsOurs        bool       // Local is an address of ours, or any
	Link          uint16     // the port that packets leave by, and are rather expected on, if Bound
	Bound         bool
	TTL           uint8  // of the outer header; 0: the inner packet's
	TOS           uint8  // of the outer header, without ECN; bit 0: the inner packet's
	In, Out       uint16 // Checksum, Key, Sequence: what is expected, what is sent
	InKey, OutKey uint32
	Way           Way
	State         *State

	known ends   // what its packets are known by
	front header // what goes in front of a packet
}

// Way is how packets get to the other end.
type Way struct {
	Hop   netip.Addr // the next machine on the way; zero: there is no route
	Port  uint16
	MTU   int
	Loops bool // the route leads into a tunnel
}

// State is what of a device outlives its tables. All workers share it.
type State struct {
	sent atomic.Uint32 // sequence numbers given so far
	got  atomic.Uint64 // gotAny | the least that is not old
}

const gotAny = 1 << 32

// is6 reports whether the outer header is IPv6.
func (d *Device) is6() bool { return d.From.Is6() }

// Overhead is how many bytes a packet grows by in the tunnel.
func (d *Device) Overhead() int {
	n := wire.IPv4MinLen
	if d.is6() || d.Remote.Is6() {
		n = wire.IPv6Len
	}
	if d.Kind == GRE {
		n += wire.GRELen(d.Out)
	}
	return n
}

// ends is what a packet of a tunnel is known by.
type ends struct {
	local, remote flow.Addr // zero: any
	key           uint32
	kind          Kind
	keyed         bool
}

// Table holds the devices in force. Looking up allocates nothing.
type Table struct {
	devices []Device            // in order of preference
	byPort  [port.Max]*Device   // nil: none
	slots   [2 * port.Max]uint8 // 1 + index in devices by hash of ends, open addressing
	classes [4]bool             // which of local and remote (bits 0 and 1) some device knows
}

// Build makes a table. Of devices that want the same packets, the first gets them.
func Build(devices []Device) *Table {
	t := &Table{devices: slices.Clone(devices)}
	slices.SortStableFunc(t.devices, func(a, b Device) int {
		return cmp.Or(cmp.Compare(b.class(), a.class()), compareBool(b.Bound, a.Bound))
	})
	for i := range t.devices {
		d := &t.devices[i]
		d.known = d.ends()
		d.front.make(d)
		t.byPort[d.Port%port.Max] = d
		if !d.IsOurs {
			continue // nothing that comes is for it
		}
		t.classes[d.class()] = true
		at := d.known.place()
		for t.slots[at] != 0 {
			at = (at + 1) % len(t.slots)
		}
		t.slots[at] = uint8(i + 1)
	}
	return t
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// Any reports whether there is any device.
func (t *Table) Any() bool { return t != nil && len(t.devices) > 0 }

// Of returns the device of a port, or nil.
func (t *Table) Of(id uint16) *Device { return t.byPort[id%port.Max] }

// class says what a device knows of its ends: bit 1 the remote one, bit 0 the local
// one. The greater goes first, as in Linux: both, remote, local, none.
func (d *Device) class() int {
	c := 0
	if d.Local.IsValid() {
		c |= 1
	}
	if d.Remote.IsValid() {
		c |= 2
	}
	return c
}

func (d *Device) ends() ends {
	e := ends{kind: d.Kind, keyed: d.In&Key != 0}
	if e.keyed {
		e.key = d.InKey
	}
	if d.Local.IsValid() {
		e.local = flow.AddrOf(d.Local)
	}
	if d.Remote.IsValid() {
		e.remote = flow.AddrOf(d.Remote)
	}
	return e
}

// place is where the search for ends begins.
func (e *ends) place() int {
	const c1, c2 = 0x9e3779b97f4a7c15, 0xc2b2ae3d27d4eb4f
	h := (e.local.Hi ^ bits.RotateLeft64(e.remote.Hi, 17)) * c1
	h = (h ^ e.local.Lo ^ bits.RotateLeft64(e.remote.Lo, 31)) * c2
	h = (h ^ h>>29 ^ uint64(e.key) ^ uint64(e.kind)<<40) * c1
	return int(h >> 57) // 2 * port.Max places
}

// find returns the device that a packet is for which came in on a port from remote to
// local, or nil. Of those that know as much of its ends, one that is bound to the port
// goes first, then one that is bound to none, then any.
func (t *Table) find(e *ends, in uint16) *Device {
	local, remote := e.local, e.remote
	for class := 3; class >= 0; class-- {
		if !t.classes[class] {
			continue
		}
		e.local, e.remote = flow.Addr{}, flow.Addr{}
		if class&1 != 0 {
			e.local = local
		}
		if class&2 != 0 {
			e.remote = remote
		}
		if d := t.among(e, in, remote.Is4()); d != nil {
			return d
		}
	}
	return nil
}

func (t *Table) among(e *ends, in uint16, v4 bool) (best *Device) {
	for at := e.place(); t.slots[at] != 0; at = (at + 1) % len(t.slots) {
		d := &t.devices[t.slots[at]-1]
		switch {
		case d.known != *e || d.is6() == v4: // the family: one that knows no end has either
		case d.Bound && d.Link == in:
			return d
		case best == nil || best.Bound && !d.Bound:
			best = d
		}
	}
	return best
}

// otherKey reports whether there is a device between these ends, whatever its key.
func (t *Table) otherKey(local, remote flow.Addr, kind Kind) bool {
	return slices.ContainsFunc(t.devices, func(d Device) bool {
		return d.Kind == kind && d.IsOurs && d.Remote.IsValid() && flow.AddrOf(d.Remote) == remote &&
			(!d.Local.IsValid() || flow.AddrOf(d.Local) == local)
	})
}
