// Package laddr holds the local addresses (LIPs) of full-NAT and the pools of
// their ports.
//
// Enters: a real server's address, for which a local port is wanted.
// Leaves: a port, and whether the real server may still remember it.
// Owns: addresses are shared between workers; taking and giving back ports is
// lock-free, and without locked instructions where there is one worker. The set of
// addresses is changed by the director alone.
// Drops: nothing; it says when no port is left, and counts it (sa_miss).
// See: reference "sapool": 16 pools of ports 1025-65535 for each address, chosen
// by the real server's address and port, so 1,032,176 ports.
package laddr

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"weir/internal/flow"
	"weir/internal/pinned"
)

// Pools is how many pools of ports an address has.
const Pools = 16

// mappedPools are the further pools from which endpoint-independent mappings take
// their ports, one for each protocol that has them: such a port is its holder's
// toward every real server.
const mappedPools = 3

// MappedPool returns the pool of endpoint-independent mappings of a protocol. What
// neither TCP nor UDP has are the ids of echoes.
func MappedPool(proto uint8) uint8 {
	switch proto {
	case 6:
		return Pools
	case 17:
		return Pools + 1
	}
	return Pools + 2
}

// FirstPort and LastPort bound the ports used, unless a Set is made with others.
const (
	FirstPort = 1025
	LastPort  = 65535
)

// TimeWait is for how many seconds a port counts as recently used: a real
// server's TIME_WAIT (Linux: 60 s).
const TimeWait = 60

// never is the second of a port that was not used yet.
const never = 0

// Second turns seconds of the monotonic clock into the stamp that ports keep:
// never 0, and wrapping after 18 hours, when an old stamp may look recent; then
// a connection is made more careful than it had to be.
func Second(s uint64) uint16 { return uint16(s) | 1 }

// Address is a local address with its pools of ports.
type Address struct {
	Index uint32     // in its Set
	IP    netip.Addr // the address
	Wire  flow.Addr  // the same as on the wire

	set    *Set
	beyond atomic.Int64 // ports in use that the Set does not use any more
	miss   atomic.Int64
	pools  [Pools + mappedPools]atomic.Pointer[ring]
	wanted bool // guarded by Set.mu: configured now

	touched [Pools + mappedPools]touched

	held    [Pools + mappedPools]*ports // those that connections were found with (Hold), until Prepare
	making  sync.Mutex                  // guards what follows; never taken on the walk
	mapping []pinned.Memory             // that the pools lie in
}

// PoolOf returns the pool for a real server, given as on the wire, its port read
// little-endian.
func PoolOf(ip flow.Addr, port uint16) uint8 {
	low := uint32(ip.Lo>>56 | ip.Lo>>40&0xff00) // the last two bytes, as a number
	return uint8((low + uint32(port>>8|port<<8)) % Pools)
}

// Prepare makes the pool that Take will want, so that the walk allocates nothing. The
// director alone calls it, for one pool after the other. An error is that of memory that
// outlives the process.
func (a *Address) Prepare(pool uint8) error {
	if a.pools[pool].Load() != nil {
		return nil
	}
	s := a.set
	var m pinned.Memory
	var err error
	if s.keep == nil {
		m = pinned.Sparse(ringBytes)
	} else if m, err = s.keep.Array(a.keptAs(pool), 1, ringBytes); err != nil {
		return fmt.Errorf("ports of local address %s: %w", a.IP, err)
	}
	a.making.Lock()
	a.mapping = append(a.mapping, m)
	a.making.Unlock()
	r := ringAt(&m)
	if s.keep == nil {
		r = ringBeside(&m, a.Index)
		r.begin(s.first, s.last)
		a.pools[pool].Store(r)
		return nil
	}
	held := a.held[pool]
	if held == nil {
		held = &ports{}
	}
	r.restore(s.first, s.last, held, m.Found, s.former)
	a.beyond.Add(int64(held.len()) - r.taken(s.first, s.last))
	a.held[pool] = nil
	a.pools[pool].Store(r)
	return nil
}

// keptAs is the name that a pool's ports are kept by.
func (a *Address) keptAs(pool uint8) string { return fmt.Sprintf("%s%d-%d", keptPorts, a.Index, pool) }

const keptPorts = "ports-"

// Hold says that a connection was found that has a port. Before Prepare makes its pool.
func (a *Address) Hold(pool uint8, port uint16) {
	if int(pool) >= len(a.held) {
		return
	}
	if a.held[pool] == nil {
		a.held[pool] = &ports{}
	}
	a.held[pool].add(port)
}

// used is how many ports are taken, of all pools.
func (a *Address) used() int64 {
	n := a.beyond.Load()
	for i := range a.pools {
		if r := a.pools[i].Load(); r != nil {
			n += r.taken(a.set.first, a.set.last)
		}
	}
	return n
}

// Counts are the figures that dpip shows: ports in use, free ones over all
// pools, and how often none was left.
func (a *Address) Counts() (used, free, miss uint64) {
	u := a.used()
	return uint64(u), uint64(int64(Pools)*int64(a.set.last-a.set.first+1) - u), uint64(a.miss.Load())
}

// Max is the bound of local addresses a Set holds, those that still end included.
const Max = 1 << 16

// Set is all local addresses, by index.
type Set struct {
	first, last uint16
	alone       bool        // one worker takes and gives back
	keep        *pinned.Dir // nil: ports go with the process
	former      uint16      // second in which ports may have been used that nobody knows of; never: in none
	byIndex     [Max]atomic.Pointer[Address]

	mu   sync.Mutex // guards what follows; never taken on the walk
	byIP map[netip.Addr]*Address
	free []uint32
	next uint32
	gone []pinned.Memory // pools of addresses that were forgotten in the last Sweep
}

// NewSet makes an empty set whose addresses use the ports from first to last.
func NewSet(first, last uint16) (*Set, error) {
	if first == 0 || last < first {
		return nil, fmt.Errorf("local ports %d-%d: want 1 <= first <= last", first, last)
	}
	return &Set{first: first, last: last, byIP: map[netip.Addr]*Address{}}, nil
}

// KeepIn has the ports outlive the process, in keep. former is the second in which the
// addresses of a director before this one may have used them, and 0 if there was none.
// Before anything is added.
func (s *Set) KeepIn(keep *pinned.Dir, former uint16) { s.keep, s.former = keep, former }

// Workers says how many workers take ports and give them back: one alone needs no locked
// instructions. Each worker says the same, before any takes one.
func (s *Set) Workers(n int) {
	if alone := n == 1; s.alone != alone {
		s.alone = alone
	}
}

// Restore adds an address under the index that connections know it by. It is not configured
// until it is added.
func (s *Set) Restore(index uint32, ip netip.Addr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if index >= Max || s.byIndex[index].Load() != nil || s.byIP[ip] != nil {
		return fmt.Errorf("local address %s can't have number %d", ip, index)
	}
	s.put(index, ip)
	return nil
}

// Settle makes the pools of all ports that were held, and gives back the numbers and the
// memory of addresses that were not restored. After Restore and Hold, before anything is
// added or taken.
func (s *Set) Settle() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var pools []wantedPool
	s.next = 0
	for i := range s.byIndex {
		if s.byIndex[i].Load() != nil {
			s.next = uint32(i) + 1
		}
	}
	for i := range s.next {
		a := s.byIndex[i].Load()
		if a == nil {
			s.free = append(s.free, i)
			continue
		}
		for pool := range a.held {
			if a.held[pool] != nil {
				pools = append(pools, wantedPool{a, uint8(pool)})
			}
		}
	}
	names, err := s.keep.Names(keptPorts)
	if err != nil {
		return err
	}
	for _, name := range names {
		var i uint32
		var pool uint8
		if n, _ := fmt.Sscanf(strings.TrimPrefix(name, keptPorts), "%d-%d", &i, &pool); n == 2 && pool < Pools+mappedPools {
			if a := s.At(i); a != nil {
				if a.held[pool] == nil {
					pools = append(pools, wantedPool{a, pool})
				}
				continue
			}
		}
		if err := s.keep.Unpin(name); err != nil {
			return err
		}
	}
	return prepare(pools)
}

// wantedPool is a pool to be made.
type wantedPool struct {
	of   *Address
	pool uint8
}

// prepare makes pools, on all processors: each is a megabyte to be gone through.
func prepare(pools []wantedPool) error {
	var next atomic.Int64
	failed := make([]error, min(runtime.NumCPU(), len(pools)))
	var all sync.WaitGroup
	for i := range failed {
		all.Go(func() {
			for n := next.Add(1); n <= int64(len(pools)) && failed[i] == nil; n = next.Add(1) {
				failed[i] = pools[n-1].of.Prepare(pools[n-1].pool)
			}
		})
	}
	all.Wait()
	return errors.Join(failed...)
}

// Numbers lists all addresses with their indexes, those that were removed and are still
// in use too.
func (s *Set) Numbers() map[uint32]netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[uint32]netip.Addr, len(s.byIP))
	for ip, a := range s.byIP {
		all[a.Index] = ip
	}
	return all
}

// Close unmaps the pools. Nobody may take or give back any more.
func (s *Set) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.byIP {
		s.gone = append(s.gone, a.mapping...)
	}
	unmap(&s.gone)
}

func unmap(all *[]pinned.Memory) {
	for i := range *all {
		(*all)[i].Close()
	}
	*all = nil
}

// At returns the address with an index that a connection holds.
func (s *Set) At(i uint32) *Address {
	if i >= Max {
		return nil
	}
	return s.byIndex[i].Load()
}

// None is the index of no address.
const None = ^uint32(0)

// Find returns a configured address, or nil.
func (s *Set) Find(ip netip.Addr) *Address {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.byIP[ip]; a != nil && a.wanted {
		return a
	}
	return nil
}

// Add configures an address and returns it. One that was removed while
// connections still use it comes back as it is.
func (s *Set) Add(ip netip.Addr) (*Address, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.byIP[ip]; a != nil {
		a.wanted = true
		return a, nil
	}
	var i uint32
	switch {
	case len(s.free) > 0:
		i = s.free[len(s.free)-1]
		s.free = s.free[:len(s.free)-1]
	case s.next < Max:
		i = s.next
		s.next++
	default:
		return nil, fmt.Errorf("%d local addresses are in use: no room for %s", Max, ip)
	}
	a := s.put(i, ip)
	a.wanted = true
	return a, nil
}

func (s *Set) put(i uint32, ip netip.Addr) *Address {
	a := &Address{Index: i, IP: ip, set: s, Wire: flow.AddrOf(ip)}
	s.byIP[ip] = a
	s.byIndex[i].Store(a)
	return a
}

// Remove takes an address out of the configuration. It stays known until Sweep
// finds that no connection uses it.
func (s *Set) Remove(ip netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.byIP[ip]; a != nil {
		a.wanted = false
	}
}

// Sweep forgets removed addresses that no connection uses any more. The
// director calls it now and then, a while after the last snapshot that named them.
func (s *Set) Sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	unmap(&s.gone) // whoever may have been at it when it was forgotten is long done
	for ip, a := range s.byIP {
		if !a.wanted && a.used() == 0 {
			delete(s.byIP, ip)
			s.byIndex[a.Index].Store(nil)
			s.free = append(s.free, a.Index)
			s.gone = append(s.gone, a.mapping...)
			for pool := range a.pools {
				// What stays is found, and goes, with the next start.
				_ = s.keep.Unpin(a.keptAs(uint8(pool)))
			}
		}
	}
}

// Configured returns the addresses that are configured now.
func (s *Set) Configured() (ips []netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ip, a := range s.byIP {
		if a.wanted {
			ips = append(ips, ip)
		}
	}
	return ips
}

// InUse returns how many ports of an address are in use, of one that was removed
// too; ok is false for an address that is not known (any more).
func (s *Set) InUse(ip netip.Addr) (used int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.byIP[ip]
	if a == nil {
		return 0, false
	}
	return a.used(), true
}
