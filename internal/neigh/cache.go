package neigh

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"

	"weir/internal/clock"
	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/route"
	"weir/internal/stat"
)

// The bounds of what waits, and the times of the states.
const (
	MaxHeld         = 1024 // packets of one worker that wait, for all neighbours
	DefaultQueueLen = 128  // packets that wait for one neighbour: DPVS's unres_queue_length

	DefaultReachable = 60 // seconds

	maxProbes = 3                   // requests in a round
	retry     = clock.PerSecond     // between two requests
	delay     = 3 * clock.PerSecond // in NUDDelay before the first probe
	round     = 3 * clock.PerSecond // a round older than this got no answer and nobody cared
)

// Config is what dpvs.conf says of neighbours. Zero fields mean the default.
type Config struct {
	Reachable uint32 // seconds after an answer until the neighbour is asked anew
	QueueLen  int    // packets that may wait for one neighbour, at most MaxHeld
	Router    bool   // we forward IPv6, and say so in advertisements

	// Tentative are the addresses that are tentative in the Table, so that who has
	// one can be noted.
	Tentative []*Tentative
}

// Tentative is an IPv6 address of ours that is being probed for. It is shared:
// workers note who has it, the director reads.
type Tentative struct {
	Port  uint16
	Addr  netip.Addr
	taken atomic.Uint64 // MAC, first byte lowest | 1 << 48
}

// Taken returns who else has the address, or would like to have it now as well.
func (t *Tentative) Taken() (by port.MAC, taken bool) {
	v := t.taken.Load()
	return macOf(v), v != 0
}

func (t *Tentative) take(by port.MAC) { t.taken.Store(macWord(by) | 1<<48) }

// macWord is a MAC with its first byte lowest.
func macWord(m port.MAC) (v uint64) {
	for i, b := range m {
		v |= uint64(b) << (8 * i)
	}
	return v
}

func macOf(v uint64) (m port.MAC) {
	for i := range m {
		m[i] = byte(v >> (8 * i))
	}
	return m
}

// Counters count a worker's work with ARP and neighbour discovery.
type Counters struct {
	Asked     uint64 // requests and solicitations sent
	NotAsked  uint64 // not sent: no packet memory or the outbox full; tried again a second later
	Answered  uint64 // those for our addresses
	Learnt    uint64 // messages that confirmed or changed a neighbour
	Announced uint64
	Probed    uint64 // solicitations for tentative addresses
}

// Cache is a worker's part of the neighbour table.
type Cache struct {
	// What a breath may change; the worker sets them between two breaths.
	Table  *route.Table
	Ports  *[port.Max]port.Facts
	Config Config

	Counters Counters

	hops      *flow.NextHops
	pool      *packet.Pool
	out       *packet.Outbox
	stats     *stat.Worker
	conflicts *Conflicts

	now    clock.Tick
	looked clock.Tick // when the queues were looked through
	again  bool       // look through them at the next Tick whatever the time
	held   waiting
}

// New returns a worker's cache over the shared next hops. Requests go to out,
// their memory comes from pool; packets that waited in vain are counted in stats.
// conflicts is shared by all workers. Table and Ports are to be set before use.
func New(hops *flow.NextHops, pool *packet.Pool, out *packet.Outbox, stats *stat.Worker, conflicts *Conflicts) *Cache {
	c := &Cache{hops: hops, pool: pool, out: out, stats: stats, conflicts: conflicts}
	c.held.init()
	return c
}

// Held returns how many packets wait.
func (c *Cache) Held() int { return c.held.packets }

func (c *Cache) reachable() uint32 {
	if c.Config.Reachable == 0 {
		return clock.FromSeconds(DefaultReachable)
	}
	return clock.FromSeconds(c.Config.Reachable)
}

func (c *Cache) queueLen() int {
	if c.Config.QueueLen == 0 {
		return DefaultQueueLen
	}
	return c.Config.QueueLen
}

// since returns the ticks since an instant that a next hop keeps.
func since(now clock.Tick, at *uint32) uint32 { return now.Since(clock.Tick(atomic.LoadUint32(at))) }

// Conflicts remembers that somebody else used one of our addresses, for the
// director's log. It is shared: workers write, the director reads.
type Conflicts struct {
	count  atomic.Uint64
	who    atomic.Uint64 // MAC, first byte lowest | port << 48
	hi, lo atomic.Uint64 // the address, as 16 bytes
}

// Conflict is somebody else's claim of one of our addresses.
type Conflict struct {
	Count uint64 // claims since the start; the rest is of the latest
	Addr  netip.Addr
	MAC   port.MAC
	Port  uint16
}

// Latest returns what is known. Addr and MAC may be of two claims that came at
// the same instant.
func (c *Conflicts) Latest() Conflict {
	who := c.who.Load()
	var a [16]byte
	binary.BigEndian.PutUint64(a[:8], c.hi.Load())
	binary.BigEndian.PutUint64(a[8:], c.lo.Load())
	return Conflict{Count: c.count.Load(), Addr: netip.AddrFrom16(a).Unmap(), MAC: macOf(who), Port: uint16(who >> 48)}
}

func (c *Conflicts) note(in uint16, addr netip.Addr, mac port.MAC) {
	a := addr.As16()
	c.hi.Store(binary.BigEndian.Uint64(a[:8]))
	c.lo.Store(binary.BigEndian.Uint64(a[8:]))
	c.who.Store(uint64(in)<<48 | macWord(mac))
	c.count.Add(1)
}
