package lb

import (
	"sync/atomic"

	"weir/internal/flow"
	"weir/internal/lb/proto"
)

// The passive check of real servers (--dest-check): what becomes of connections says
// whether their real server is there. The judgement is service.Dest's; here is what
// counts for what.

// failed notes that a connection met a dead real server.
func (b *Balancer) failed(c *flow.Conn) {
	d := b.sh.Dests[c.Dest].Load()
	if d == nil || !d.Failed(b.Now) {
		return
	}
	b.stats.DestsDown++
	if d.Quiescent.Load() {
		d.Ending.Store(true)
		b.sh.EndRound.Add(1)
	}
}

// succeeded notes that a connection met a real server alive.
func (b *Balancer) succeeded(c *flow.Conn) {
	if d := b.sh.Dests[c.Dest].Load(); d != nil {
		d.Succeeded()
	}
}

// unanswered judges a connection that expired: its real server is dead if it never
// answered. A client that never acknowledged the answer it got (a SYN flood) says
// nothing about it. With DR and Tunnel answers are not seen: of TCP and SCTP the
// client's silence has to do, and of UDP nothing is known.
func (b *Balancer) unanswered(c *flow.Conn) {
	s := atomic.LoadUint32(&c.State)
	switch proto.State(s & flow.ConnStateMask) {
	case proto.TCPSynSent, proto.TCPSynRecv:
		if s&flow.ConnServerISN == 0 {
			b.failed(c)
		}
	case proto.SCTPInit1, proto.SCTPInit:
		b.failed(c)
	case proto.UDPOneWay:
		if s&flow.ConnOneWay == 0 {
			b.failed(c)
		}
	}
}
