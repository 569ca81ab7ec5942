// Package service is the table of services in force: immutable, built by the
// director, read by all workers.
//
// Enters: spec.Service values.
// Leaves: the service of a packet, its candidates, its local addresses.
// Owns: a Table is immutable once published. What outlives a Table (a real
// server's load, a service's cursors) is shared and atomic.
// Drops: nothing.
package service

import (
	"net/netip"
	"slices"
	"sync/atomic"

	"weir/internal/flow"
	"weir/internal/lb/acl"
	"weir/internal/lb/laddr"
	"weir/internal/lb/sched"
	"weir/internal/spec"
)

// MaxDests bounds the real servers of all services, removed ones that still
// have connections included.
const MaxDests = 1 << 16

// Dest is a real server as the walk knows it. It outlives its entry in the
// service as long as connections use it.
type Dest struct {
	Index   uint32
	Service spec.ServiceKey
	Addr    netip.AddrPort
	Wire    flow.Addr // the address as on the wire
	Port    uint16    // host order; 0: asked at the client's
	Load    sched.Load
	// WAN is the address itself, where the real server is one of ours that inside
	// hosts go out with (SNAT).
	WAN atomic.Pointer[laddr.Address]
	// Closed: it is to get no new connections (weight 0, or removed). A client
	// that begins anew with the ports of a former connection goes elsewhere.
	Closed atomic.Bool
	// Quiescent: its service wants connections to end when it takes no new ones.
	Quiescent atomic.Bool
	// Ending: its connections are to end now (--expire-quiescent).
	Ending atomic.Bool
	// Check is how its service watches it, nil for not at all; Health is what was seen.
	Check  atomic.Pointer[Check]
	Health atomic.Uint64
	// Place is where it stood in the latest table of its service: a guess for IndexOf.
	Place atomic.Uint32
}

// Refs returns how many connections use the real server.
func (d *Dest) Refs() int32 { return d.Load.Active.Load() + d.Load.Inactive.Load() }

// State is what of a service outlives its tables.
type State struct {
	Index  uint32        // no two services have the same
	Cursor atomic.Uint64 // of the scheduler
	Local  atomic.Uint32 // of the local addresses
}

// Service is one service in force.
type Service struct {
	Key         spec.ServiceKey
	Scheduler   sched.Kind
	GCD         uint32 // of the weights
	Candidates  []sched.Candidate
	Table       *sched.Table        // of the schedulers that hash, beside Candidates
	Dests       []*Dest             // beside Candidates
	Modes       []spec.Forward      // beside Dests
	Locals      [2][]*laddr.Address // for real servers of IPv4, of IPv6
	ConnTimeout uint32              // ticks; 0: the protocol's
	Tell        Tell
	Match       Matcher    // of a service without virtual address
	Mapped      bool       // its mappings are endpoint-independent
	Lists       *acl.Lists // nil: everybody may come
	QUIC        bool       // a connection id that names a real server chooses it
	HashID      bool       // the scheduler hashes the QUIC connection id
	Persistent  uint32     // ticks a client keeps its real server; 0: not persistent
	Mask        flow.Addr  // of the client's address, as on the wire
	OnePacket   bool       // every datagram is scheduled anew
	Quiescent   bool       // connections of a real server without weight end
	TakesOver   bool       // flows that come in their middle find their real server: the scheduler hashes, and all modes are one-way
	State       *State
}

// Pick chooses a real server for a new connection and says how packets get there,
// or returns nil. Without a Table k is not looked at.
func (s *Service) Pick(k *sched.Key) (*Dest, spec.Forward) {
	if len(s.Candidates) == 0 {
		return nil, 0
	}
	var i int
	if s.Table != nil {
		i = s.Table.Pick(k, s.Candidates)
	} else {
		i = s.Scheduler.Pick(&s.State.Cursor, s.Candidates, s.GCD)
	}
	if i == sched.None {
		return nil, 0
	}
	return s.Dests[i], s.Modes[i]
}

// IndexOf returns the place of a real server in Dests, or -1 if it is not there
// any more.
func (s *Service) IndexOf(d *Dest) int {
	if d == nil {
		return -1
	}
	if i := int(d.Place.Load()); i < len(s.Dests) && s.Dests[i] == d {
		return i
	}
	return slices.Index(s.Dests, d)
}

// Family is the place of an address's family in Service.Locals.
func Family(a flow.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// Table finds services by protocol, address and port: open addressing in one
// slice, at most half full.
type Table struct {
	cells    []cell
	mask     uint64
	all      []*Service
	matches  []*Service // without virtual address, the newest first
	allPorts bool       // there are services for all ports of their VIP
}

type cell struct {
	addr flow.Addr
	key  uint64   // 0: empty
	svc  *Service // nil: a mere address, see HasVIP, HasLocal, HasTunnel
}

// Kinds of keys: a service's has protocol and port in it, the others are alone.
const (
	keyService = 1 << 56
	keyVIP     = 2 << 56
	keyLocal   = 3 << 56
	keyTunnel  = 4 << 56
)

func mix(a flow.Addr, k uint64) uint64 {
	const odd = 0x9E3779B97F4A7C15
	k = ((a.Hi*odd^a.Lo)*odd ^ k) * odd
	return k ^ k>>29
}

// NewTable builds the table.
func NewTable(all []*Service) *Table {
	n := 16
	for _, s := range all {
		n += 4 + 2*(len(s.Locals[0])+len(s.Locals[1])) + 2*len(s.Dests)
	}
	size := 1
	for size < 2*n {
		size <<= 1
	}
	t := &Table{cells: make([]cell, size), mask: uint64(size - 1), all: all}
	for _, s := range all {
		if s.Key.IsMatch() {
			t.matches = append([]*Service{s}, t.matches...)
			continue
		}
		vip := flow.AddrOf(s.Key.Virtual.Addr())
		t.put(vip, serviceKey(uint8(s.Key.Proto), WirePort(s.Key.Virtual.Port())), s)
		t.put(vip, keyVIP, nil)
		t.allPorts = t.allPorts || s.Key.Virtual.Port() == 0
		for i, mode := range s.Modes {
			if mode == spec.Tunnel {
				t.put(s.Dests[i].Wire, keyTunnel, nil)
			}
		}
		for _, locals := range s.Locals {
			for _, l := range locals {
				t.put(l.Wire, keyLocal, nil)
			}
		}
	}
	return t
}

func serviceKey(proto uint8, port uint16) uint64 {
	return keyService | uint64(proto)<<16 | uint64(port)
}

func (t *Table) put(a flow.Addr, key uint64, s *Service) {
	for i := mix(a, key); ; i++ {
		c := &t.cells[i&t.mask]
		if c.key == key && c.addr == a {
			return
		}
		if c.key == 0 {
			*c = cell{a, key, s}
			return
		}
	}
}

func (t *Table) find(a flow.Addr, key uint64) (*Service, bool) {
	for i := mix(a, key); ; i++ {
		c := &t.cells[i&t.mask]
		if c.key == key && c.addr == a {
			return c.svc, true
		}
		if c.key == 0 {
			return nil, false
		}
	}
}

// Lookup returns the service of a destination given as on the wire, or nil: the one
// of that port, else the one of all ports.
func (t *Table) Lookup(proto uint8, vip flow.Addr, port uint16) *Service {
	s, _ := t.find(vip, serviceKey(proto, port))
	if s == nil && t.allPorts {
		s, _ = t.find(vip, serviceKey(proto, 0))
	}
	return s
}

// HasVIP reports whether any service has this virtual address.
func (t *Table) HasVIP(ip flow.Addr) bool { _, ok := t.find(ip, keyVIP); return ok }

// HasLocal reports whether any service has this local address.
func (t *Table) HasLocal(ip flow.Addr) bool { _, ok := t.find(ip, keyLocal); return ok }

// HasTunnel reports whether any service has a real server of this address that is
// reached through a tunnel.
func (t *Table) HasTunnel(ip flow.Addr) bool { _, ok := t.find(ip, keyTunnel); return ok }

// All returns the services in order of insertion.
func (t *Table) All() []*Service { return t.all }

// WirePort returns a port as it lies in a packet, read little-endian.
func WirePort(p uint16) uint16 { return p>>8 | p<<8 }
