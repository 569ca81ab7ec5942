// Package lb is the desk of the director: it knows the connection of each
// packet, or makes one, and rewrites the packet accordingly.
//
// Enters: packets that ip.Input accepted, with their tuple in Key0, Key1 and, of
// IPv6, in their header.
// Leaves: Output with the packet rewritten, TTL lowered, MTU checked and NextHop
// set; Continue when it is nothing of ours; Punt when it is for an address of ours and
// nothing serves it; Refuse when the sender must be told.
// Owns: a Balancer is worker-owned. The flow table, real servers and local
// addresses it works on are shared (atomic); its Tables are immutable.
// Drops: the reasons LB*, IPTTL, IPTooBig, IPScope, IPRouting, L4Malformed, PoolEmpty, ICMPMalformed,
// ICMPUnrelated, ICMPUnwanted.
// See: LVS (ip_vs_core), RFC 3022, RFC 7915, and docs/flow-table.md.
package lb

import (
	"sync/atomic"

	"weir/internal/clock"
	"weir/internal/flow"
	"weir/internal/lb/laddr"
	"weir/internal/lb/mapping"
	"weir/internal/lb/proto"
	"weir/internal/lb/service"
	"weir/internal/lb/template"
	"weir/internal/packet"
	"weir/internal/pinned"
	"weir/internal/port"
	"weir/internal/route"
	"weir/internal/stat"
)

// Tables are what the control plane wants, compiled: immutable, one pointer a breath.
type Tables struct {
	Services *service.Table
	Routes   *route.Table
	Timeouts *proto.Timeouts
	// UOATrail is how many datagrams of a connection carry the client's address, if
	// the service tells it by UOA.
	UOATrail uint32
	// QuiescentTemplates: a real server of weight 0 loses its persistent clients.
	QuiescentTemplates bool
	// DefenceTCP, DefenceUDP: what a VIP gets and serves not is dropped as such.
	DefenceTCP, DefenceUDP bool
	// Tunnels: there are tunnel devices, whose errors are not the balancer's.
	Tunnels bool
}

// Shared is what all workers' balancers share.
type Shared struct {
	Flows  *flow.Table
	Locals *laddr.Set
	Dests  [service.MaxDests]atomic.Pointer[service.Dest]
	Secret [32]byte // of the sequence numbers given to reused local ports
	// HalfOpen counts connections whose handshake is not complete.
	HalfOpen perWorker
	// Templates are the persistent clients' real servers.
	Templates *template.Store
	// Mappings are the inside ends' WAN addresses and ports, of services that keep them
	// toward everybody. There is no store before there is such a service.
	Mappings atomic.Pointer[mapping.Store]
	// Paths are the path MTUs toward tunnels' real servers that are less than the link's.
	Paths paths
	// EndRound is raised when connections of some real server are to end now.
	EndRound atomic.Uint32

	accounts [flow.MaxWorkers]*accounts // by worker; nil: it has its own
	former   []*accounts                // of workers that there are no more
	kept     []pinned.Memory            // that they lie in
	heirs    *inheritance               // nil: there was nobody before us
}

// Balancer is one worker's desk.
type Balancer struct {
	Tables *Tables    // set at the start of each breath
	Now    clock.Tick // likewise
	Second uint16     // laddr's stamp of Now, likewise
	Nanos  uint64     // of the monotonic clock, likewise

	sh       *Shared
	flows    *flow.Table
	own      *flow.Worker
	ports    *[port.Max]port.Facts
	pool     *packet.Pool
	outbox   *packet.Outbox
	stats    *stat.Worker
	accounts *accounts
	half     halfOpen
	foreseen foreseen
	hops     hopMemo
	sweep    sweep

	src, dst flow.Addr // what the packet in hand (slow) bore when it came
	ident    uint16    // identification of the next packet that becomes IPv4
	outers   [outer6Size]outer6
}

// New makes the desk of worker own.
func New(sh *Shared, own *flow.Worker, ports *[port.Max]port.Facts, pool *packet.Pool, outbox *packet.Outbox, stats *stat.Worker) *Balancer {
	b := &Balancer{
		sh: sh, flows: sh.Flows, own: own, ports: ports, pool: pool, outbox: outbox, stats: stats,
		accounts: sh.accounts[own.ID()],
	}
	if b.accounts == nil {
		b.accounts = new(accounts)
	}
	if sh.Locals != nil {
		sh.Locals.Workers(sh.Flows.Workers())
	}
	b.half.init(sh.Flows.Conns())
	b.inherit(own.ID())
	return b
}

// SetTables puts a configuration in force.
func (b *Balancer) SetTables(t *Tables, ports *[port.Max]port.Facts) { b.Tables, b.ports = t, ports }

// Expire turns the timers: connections that were idle for their time end, and those
// whose real server is gone. It reports whether more are due at once.
func (b *Balancer) Expire() bool {
	ending := b.endQuiescent()
	return b.own.Advance(b.Now, b.expire) || ending
}
