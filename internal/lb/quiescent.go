package lb

import (
	"sync/atomic"

	"weir/internal/flow"
	"weir/internal/lb/proto"
)

// Budgets of one breath for the sweep after connections that are to end now: looked
// at, and ended. Each may send two resets.
const (
	sweepLooks = 2048
	sweepEnds  = 64
)

// sweep is where a worker is on its way through the connections.
type sweep struct {
	round uint32 // of Shared.EndRound that it follows
	at    uint32 // connection to look at next
	going bool
}

// endQuiescent ends this worker's connections to real servers that were deleted,
// have no weight or are inhibited, where the service wants that (--expire-quiescent).
// A round goes once through the table, a little in each breath; it reports whether
// more is to be done.
func (b *Balancer) endQuiescent() bool {
	s := &b.sweep
	if r := b.sh.EndRound.Load(); r != s.round {
		*s = sweep{round: r, going: true}
	}
	if !s.going {
		return false
	}
	used := b.flows.Used()
	ends := sweepEnds
	for looks := sweepLooks; s.at < used; s.at++ {
		if looks == 0 || ends == 0 || b.outbox.Len() > outboxSpare {
			return true
		}
		looks--
		c := b.flows.Conn(s.at)
		if !b.own.Owns(c) || !b.lives(s.at, c) {
			continue
		}
		if d := b.sh.Dests[c.Dest].Load(); d != nil && d.Ending.Load() {
			b.endNow(s.at, c)
			ends--
		}
	}
	s.going = false
	return false
}

// outboxSpare is how full the outbox may be for resets to go into it.
const outboxSpare = 128

// lives reports whether a connection of ours is in the table. Its half-flow is
// published when all else of it is written.
func (b *Balancer) lives(ci uint32, c *flow.Conn) bool {
	in := atomic.LoadUint32(&c.In)
	if !b.flows.Has(in) || atomic.LoadUint32(&c.State)&flow.ConnDying != 0 {
		return false
	}
	h := b.flows.Half(in)
	key1 := atomic.LoadUint64(&h.Key1)
	return key1&flow.FlagValid != 0 && h.Load().Conn == ci && h.Same(key1) && b.own.Owns(c)
}

// endNow ends a connection whose real server is gone; both ends of TCP are told
// while they may still talk.
func (b *Balancer) endNow(ci uint32, c *flow.Conn) {
	s := atomic.LoadUint32(&c.State)
	switch proto.State(s & flow.ConnStateMask) {
	case proto.TCPEstablished, proto.TCPFinWait, proto.TCPCloseWait:
		b.resetBoth(c)
	}
	b.end(ci)
	b.stats.QuiescentEnded++
}
