package flow

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"

	"weir/internal/clock"
	"weir/internal/pinned"
)

// Rest is how long a slot or a connection's index lies idle before it is used
// again, in ticks: a second. What a reader saw a moment ago is still there then.
const Rest = clock.PerSecond

// MaxWorkers is the bound of workers that share a table.
const MaxWorkers = 64

// None is no connection, no slot.
const None = ^uint32(0)

// Table is the half-flow table of a director, shared by all its workers.
type Table struct {
	halves    unsafe.Pointer
	homes     uint64 // of halves; slots are ProbeMax more
	wides     unsafe.Pointer
	wideHomes uint64
	wideMost  int64 // wide half-flows at most, if they are fewer than two for each connection; else 0
	seed      uint64
	conns     unsafe.Pointer
	nconns    uint32
	chain     uint32 // see freelist.go
	Hops      NextHops

	wideUsed atomic.Int64 // wide half-flows of connections that exist or rest, if they are bounded
	crossing atomic.Bool  // there were IPv4 half-flows that become IPv6

	found  int64          // connections that there were at the beginning, made by nobody here
	fresh  *atomic.Uint32 // Header.Fresh
	spare  atomic.Uint64  // stack of chains of free indexes, see freelist.go
	newest *atomic.Uint32 // Header.Alive

	swept [2]atomic.Uint32 // pages of both arrays of half-flows that were swept, see sweep.go

	workers [MaxWorkers]*Worker
	nwork   int
	mem     *memory
	hdr     *Header
}

// Config of a new table.
type Config struct {
	// Conns is how many connections fit, 384 at least; WideConns how many of these may be
	// of IPv6 (of two families: twice as many), 0: all.
	Conns, WideConns int

	Workers int
	Backing Backing
	Seed    uint64 // of the hash; 0: a random one, which is right outside of tests
	// Keep is where the table outlives the process, as BPFArray maps all of them; nil: it
	// does not. Open finds it there.
	Keep *pinned.Dir
}

// The half-flows of a full table are in 8 of 11 slots at most, so that of ten million
// connections none is without a place. Where memory is cheaper than a packet's time there are
// more: those of IPv4 are in one of two slots until that makes half a million more slots,
// and a larger table has as many more. Those of IPv6 are twice as long, and in BPF arrays
// taken at the start, used or not: they have what is needed. docs/flow-table.md has what
// other shares cost.
const (
	slotsOf4      = 11      // for 4 connections, two half-flows each
	slotsMost     = 4       // for a connection, but
	slotsMore     = 1 << 19 // more than by slotsOf4 at most
	leastConns    = 384
	slotsTogether = 64 // they come in whole pages
)

// New makes a table. Memory is touched, and so taken, only as it fills (not so
// with BPFArray).
func New(c Config) (*Table, error) {
	z, err := c.sizes()
	if err != nil {
		return nil, err
	}
	return c.create(z)
}

// create is New with arrays of these sizes.
func (c *Config) create(z sizes) (*Table, error) {
	mem, err := mapMemory(c.Backing, c.Keep, z)
	if err != nil {
		return nil, err
	}
	seed := c.Seed
	if seed == 0 {
		var b [8]byte
		if _, err := rand.Read(b[:]); err != nil {
			mem.close()
			return nil, fmt.Errorf("flow table: %w", err)
		}
		seed = binary.LittleEndian.Uint64(b[:])
	}
	h := (*Header)(base(&mem.header))
	*h = z.header()
	h.Seed, h.Alive = seed, uint32(clock.Now())
	t := assemble(mem, c.Workers)
	atomic.StoreUint64(&h.Magic, Magic) // last: now it is a table
	return t, nil
}

// sizes are those of a table's arrays, in records.
type sizes struct{ slots, wides, conns, wideConns int }

// sizes are those that the table is to have.
func (c *Config) sizes() (z sizes, err error) {
	if c.Conns < 1 || c.Conns > 1<<27 {
		return z, fmt.Errorf("flow table: %d connections: must be 1 to %d", c.Conns, 1<<27)
	}
	if c.Workers < 1 || c.Workers > MaxWorkers {
		return z, fmt.Errorf("flow table: %d workers: must be 1 to %d", c.Workers, MaxWorkers)
	}
	z.conns = max(c.Conns, leastConns)
	z.wideConns = z.conns
	if c.WideConns != 0 {
		z.wideConns = min(max(c.WideConns, leastConns), z.conns)
	}
	z.slots = wholePages(min(slotsMost*z.conns, leastSlots(z.conns)+slotsMore))
	z.wides = wholePages(leastSlots(z.wideConns))
	return z, nil
}

// leastSlots is how many slots the half-flows of so many connections need.
func leastSlots(conns int) int { return (conns*slotsOf4 + 3) / 4 }

// wholePages is how many slots an array has where so many searches may begin at least.
func wholePages(homes int) int {
	return (ProbeMax + homes + slotsTogether - 1) / slotsTogether * slotsTogether
}

// header is what a table of these sizes says of itself, but for Magic.
func (z sizes) header() Header {
	return Header{
		Version: LayoutVersion, HalfSize: HalfSize, Homes: uint32(z.slots - ProbeMax), WideHomes: uint32(z.wides - ProbeMax),
		Conns: uint32(z.conns), WideConns: uint32(z.wideConns), ConnSize: ConnSize, NextHops: MaxNextHops, HopSize: NextHopSize,
		ProbeFast: ProbeFast, ProbeMax: ProbeMax, TickShift: clock.Shift, WideSize: WideSize,
	}
}

// assemble is the table in memory that says what it is.
func assemble(mem *memory, workers int) *Table {
	h := (*Header)(base(&mem.header))
	t := &Table{
		halves: base(&mem.halves), homes: uint64(h.Homes), wides: base(&mem.wides), wideHomes: uint64(h.WideHomes), seed: h.Seed,
		conns: base(&mem.conns), nconns: h.Conns, chain: chainLen(int(h.Conns), workers),
		mem: mem, hdr: h, nwork: workers,
		fresh: (*atomic.Uint32)(unsafe.Pointer(&h.Fresh)), newest: (*atomic.Uint32)(unsafe.Pointer(&h.Alive)),
	}
	if h.WideConns < h.Conns {
		t.wideMost = 2 * int64(h.WideConns)
	}
	t.Hops.base = base(&mem.hops)
	t.spare.Store(uint64(None))
	for i := range workers {
		t.workers[i] = newWorker(t, uint8(i))
	}
	return t
}

// Close unmaps the table. No worker may use it any more. What is kept stays as it is.
func (t *Table) Close() { t.mem.close() }

// Worker returns the part of the table that worker i owns.
func (t *Table) Worker(i int) *Worker { return t.workers[i] }

// Workers is how many workers share the table.
func (t *Table) Workers() int { return t.nwork }

// Header returns the table's description of itself.
func (t *Table) Header() *Header { return t.hdr }

// Maps returns the BPF maps of a BPFArray table, or of one that is kept (header, halves, wide
// halves, next hops), nil otherwise. They stay the table's.
func (t *Table) Maps() []*ebpf.Map {
	if t.mem.header.Map == nil {
		return nil
	}
	return []*ebpf.Map{t.mem.header.Map, t.mem.halves.Map, t.mem.wides.Map, t.mem.hops.Map}
}

// Seed of the hash.
func (t *Table) Seed() uint64 { return t.seed }

// Hash of a tuple in this table.
func (t *Table) Hash(k0, k1 uint64) uint64 { return Hash(t.seed, k0, k1) }

// Slots returns how many half-flow slots there are for IPv4.
func (t *Table) Slots() int { return int(t.homes) + ProbeMax }

// WideSlots returns how many there are for IPv6.
func (t *Table) WideSlots() int { return int(t.wideHomes) + ProbeMax }

// Conns returns how many connections may exist at once.
func (t *Table) Conns() int { return int(t.nconns) }

// WideConns returns how many of them may be of IPv6.
func (t *Table) WideConns() int { return int(t.hdr.WideConns) }

// Len returns how many connections exist.
func (t *Table) Len() int {
	n := t.found
	for _, w := range t.workers[:t.nwork] {
		n += atomic.LoadInt64(&w.live)
	}
	return int(n)
}

// Used returns how many connection indexes were ever given out: all that exist
// lie below it.
func (t *Table) Used() uint32 { return min(t.fresh.Load(), t.nconns) }

// Half returns the half-flow in a slot, which must be one that there is.
func (t *Table) Half(slot uint32) *Half {
	if slot&WideBit != 0 {
		return &t.wide(uint64(slot &^ WideBit)).Half
	}
	return (*Half)(unsafe.Add(t.halves, uintptr(slot)*HalfSize))
}

// Has reports whether there is a slot of that number: it is not None.
func (t *Table) Has(slot uint32) bool {
	if slot&WideBit != 0 {
		return uint64(slot&^WideBit) < t.wideHomes+ProbeMax
	}
	return uint64(slot) < t.homes+ProbeMax
}

// Conn returns a connection by its index.
func (t *Table) Conn(i uint32) *Conn {
	return (*Conn)(unsafe.Add(t.conns, uintptr(i)*ConnSize))
}

// Home returns the address of the slot where a search for hash begins, to be
// touched ahead of Find.
func (t *Table) Home(hash uint64) unsafe.Pointer {
	return unsafe.Add(t.halves, uintptr(Home(hash, t.homes))*HalfSize)
}

// next is the half-flow behind one of IPv4.
func (h *Half) next() *Half { return (*Half)(unsafe.Add(unsafe.Pointer(h), HalfSize)) }

// Find returns the half-flow of a tuple and its Key1 as it was found, or nil.
// The caller copies the published words it needs and then asks Same.
func (t *Table) Find(k0, k1, hash uint64) (*Half, uint64) {
	want := k1 | FlagValid
	h := (*Half)(t.Home(hash))
	for range ProbeMax {
		w := atomic.LoadUint64(&h.Key1)
		if (w^want)&matchMask == 0 && atomic.LoadUint64(&h.Key0) == k0 {
			return h, w
		}
		if w == 0 {
			return nil, 0
		}
		h = h.next()
	}
	return nil, 0
}

// Same reports whether the half-flow still is what Find saw: what was copied
// from it in between is whole.
func (h *Half) Same(key1 uint64) bool {
	return (atomic.LoadUint64(&h.Key1)^key1)&^FlagFast == 0
}

// Errors of Insert.
var (
	ErrFull   = errors.New("flow table: no free slot or connection")
	ErrExists = errors.New("flow table: the tuple is taken")
	ErrRace   = errors.New("flow table: another worker inserts the same tuple")
)

// Flow describes one direction for Insert: the tuple its packets bear and what
// they get, addresses and ports as on the wire.
type Flow struct {
	Key0, Key1       uint64 // Key1 without flags; Key0 of IPv4
	NewAddrs         uint64 // of IPv4: what it gets, or goes into
	NewPorts         uint32
	DeltaIP, DeltaL4 uint16
	NextHop          NextHopRef
	Reply            bool
	Fast             bool
	Tunnel           bool
	// Wide: its packets are IPv6, and bear Src and Dst. Cross: they become, or go
	// into, IPv4; of IPv4, IPv6. What becomes IPv6 becomes, or goes into, NewSrc and
	// NewDst. Of IPv4 they must be the addresses, turned round, of the connection's
	// other half, except in a tunnel, where they are kept for nobody.
	Wide, Cross    bool
	Src, Dst       Addr
	NewSrc, NewDst Addr
}

// SetFast lets any engine forward a half-flow's plain packets, or takes that
// back. A half-flow that lies too far from its home for the XDP engine never is
// fast. It reports whether the half-flow is fast now.
func (t *Table) SetFast(slot uint32, fast bool) bool {
	h := t.Half(slot)
	for {
		w := atomic.LoadUint64(&h.Key1)
		switch {
		case w&FlagValid == 0:
			return false
		case w&FlagFast != 0 == fast: // mostly: of those that are fast nobody asks again how far it is
			return fast
		case fast && slot-t.home(slot&WideBit != 0, atomic.LoadUint64(&h.Key0), w) >= ProbeFast:
			return false
		case t.swap(&h.Key1, w, w^FlagFast):
			return fast
		}
	}
}

// Published is what a reader takes from a half-flow between Find and Same.
type Published struct {
	Addrs            uint64
	Ports            uint32
	DeltaIP, DeltaL4 uint16
	NextHop          NextHopRef
	Conn, Dest       uint32
}

// Load copies the published words. They are whole if Same says so afterwards:
// each load is atomic, so that no processor moves one behind Same's.
func (h *Half) Load() (p Published) {
	p.Addrs = atomic.LoadUint64(&h.NewAddrs)
	w := atomic.LoadUint64((*uint64)(unsafe.Pointer(&h.NewPorts))) // and both deltas
	p.Ports, p.DeltaIP, p.DeltaL4 = uint32(w), uint16(w>>32), uint16(w>>48)
	p.NextHop = atomic.LoadUint32(&h.NextHop)
	w = atomic.LoadUint64((*uint64)(unsafe.Pointer(&h.Conn))) // and Dest
	p.Conn, p.Dest = uint32(w), uint32(w>>32)
	return p
}
