package lb

import (
	"sync/atomic"

	"weir/internal/flow"
	"weir/internal/packet"
)

// The worker's express forwards plain packets without Input. Some of them change their
// connection: its first packet makes it, its handshake and its close move its state, and
// until its real server knows the client, segments carry the client's address. What Input
// does about that, by way of miss and slow, the express asks for here.

// Meet makes the connection of a plain packet that is of none, and returns its inbound
// half-flow, which has not seen the packet yet. If it is nil, the packet's verdict says what
// becomes of it, which is Continue if nothing was done and Input has to see to it.
func (b *Balancer) Meet(p *packet.Packet) (h *flow.Half, key1 uint64) {
	if b.flows.Workers() > 1 {
		if h, key1 = b.find(p); h != nil {
			return h, key1 // as in miss
		}
	}
	if p.Proto == protoTCP && !begins(p) {
		return nil, 0
	}
	client, vip := ends(p)
	svc := b.Tables.Services.Lookup(p.Proto, vip, uint16(p.Key1>>16))
	if svc == nil || svc.OnePacket || svc.Lists.Check(client) != packet.NoReason {
		return nil, 0
	}
	h, key1, p.Verdict = b.open(p, svc)
	return h, key1
}

// Turn takes a plain TCP segment, which fits its way and is about to be forwarded by a
// half-flow, through what it means to the connection, and the connection to it: state,
// timeout and counts; numbers, and the client's address. The segment is not rewritten yet,
// and its Data may be another afterwards. It reports false, and has changed nothing, if that
// takes Input: a connection that ends or whose client was denied, one that begins anew, and
// all with a PROXY header.
func (b *Balancer) Turn(p *packet.Packet, h *flow.Half, key1 uint64, ref flow.NextHopRef) bool {
	ci := atomic.LoadUint32(&h.Conn)
	if !h.Same(key1) {
		return false
	}
	c := b.flows.Conn(ci)
	s := atomic.LoadUint32(&c.State)
	if s&(flow.ConnDying|flow.ConnDenied|connProxy) != 0 {
		return false
	}
	if key1&flow.FlagReply != 0 {
		b.remember(p, h, p.Data[p.L3:])
		b.outboundTCP(p, c, ci)
		return true
	}
	if begins(p) && closing(uint8(s)) {
		return false
	}
	b.src, b.dst = ends(p)
	b.inboundTCP(p, c, ci, h, b.flows.Hops.At(ref), ref)
	return true
}
