package lb

import (
	"sync/atomic"

	"weir/internal/flow"
	"weir/internal/lb/proto"
	"weir/internal/packet"
	"weir/internal/wire"
)

// SCTP (RFC 9260). An association is a connection by its ports, and moves by the
// chunks of every packet, so none of its half-flows is fast. Addresses that INIT and
// INIT ACK name (multi-homing) stay as they are: only the ends that talk through the
// director are known here.

// beginsSCTP reports whether an SCTP packet may begin an association: it is an INIT,
// which has no verification tag and offers one (RFC 9260, 8.5.1 and 3.3.2).
func beginsSCTP(p *packet.Packet) bool {
	s := wire.SCTP(p.Data[p.L4:])
	c, _, ok := wire.NextSCTPChunk(s.Chunks())
	if !ok || c.Type != wire.SCTPInit || s.VerificationTag() != 0 {
		return false
	}
	_, offers := c.InitiateTag()
	return offers
}

// stepSCTP moves the state machine and what depends on it.
func (b *Balancer) stepSCTP(p *packet.Packet, c *flow.Conn, ci uint32, reply bool) {
	e := proto.SCTPEventOf(wire.SCTP(p.Data[p.L4:]))
	var d proto.Direction
	var old, now uint32
	for {
		old = atomic.LoadUint32(&c.State)
		switch {
		case reply:
			d = proto.Outbound
		case old&flow.ConnOneWay != 0:
			d = proto.OneWay
		default:
			d = proto.Inbound
		}
		to := proto.NextSCTP(proto.State(old&flow.ConnStateMask), e, d)
		now = old&^(flow.ConnStateMask|flow.ConnActive) | uint32(to)
		switch to {
		case proto.SCTPEstablished:
			now = now&^flow.ConnHalfOpen | flow.ConnActive
		case proto.SCTPClosed, proto.SCTPRejected:
			now &^= flow.ConnHalfOpen
		}
		if old == now {
			return
		}
		if atomic.CompareAndSwapUint32(&c.State, old, now) {
			break
		}
	}
	b.changed(c, ci, old, now)
	if proto.State(now&flow.ConnStateMask) == proto.SCTPRejected && reply {
		b.failed(c) // it refuses associations
	}
}
