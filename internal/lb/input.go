package lb

import (
	"encoding/binary"
	"sync/atomic"

	"weir/internal/flow"
	"weir/internal/lb/forward"
	"weir/internal/packet"
	"weir/internal/wire"
)

const (
	protoICMP = 1
	protoTCP  = 6
	protoUDP  = 17

	protoICMPv6 = 58
	protoSCTP   = 132
)

// TCP flag bits.
const (
	tcpFIN = 1 << iota
	tcpSYN
	tcpRST
	tcpPSH
	tcpACK
)

// Input takes a packet to its connection. What follows here is the way of a plain packet
// of an established connection that changes its family, or goes into another packet; of
// those that do neither, the worker's express took nearly all. All else turns off to
// slow, open, miss or related.
func (b *Balancer) Input(p *packet.Packet) packet.Verdict {
	if !p.Is(packet.Keyed) {
		if p.Proto == protoICMP || p.Proto == protoICMPv6 {
			return b.related(p)
		}
		return packet.Continue
	}
	if is6(p) {
		return b.input6(p)
	}
	h, key1 := b.flows.Find(p.Key0, p.Key1, p.Hash)
	if h == nil {
		return b.miss(p)
	}
	if key1&flow.FlagFast == 0 || p.TCPFlags&(tcpSYN|tcpFIN|tcpRST) != 0 || p.Flags&packet.Plain == 0 {
		return b.slow(p, h, key1)
	}
	switch key1 & (flow.FlagCross | flow.FlagTunnel) {
	case 0:
		return b.slow(p, h, key1) // what the worker's express left
	case flow.FlagCross:
		return b.fast46(p, h, key1)
	}
	return b.fastTunnel(p, h, key1)
}

// input6 is Input for IPv6.
func (b *Balancer) input6(p *packet.Packet) packet.Verdict {
	w, key1 := b.flows.Nearest(p.Hash)
	if addrs := addrs6(p); !flow.Matches(key1, p.Key1) || !w.Bears(addrs) {
		if w, key1 = b.flows.FindWide(p.Key1, p.Hash, addrs); w == nil {
			return b.miss(p)
		}
	}
	if key1&flow.FlagFast == 0 || p.TCPFlags&(tcpSYN|tcpFIN|tcpRST) != 0 || p.Flags&packet.Plain == 0 {
		return b.slow(p, &w.Half, key1)
	}
	switch key1 & (flow.FlagCross | flow.FlagTunnel) {
	case 0:
		return b.slow(p, &w.Half, key1)
	case flow.FlagCross:
		return b.fast64(p, w, key1)
	}
	return b.fastTunnel(p, &w.Half, key1)
}

// fastTunnel forwards a packet of which nothing is asked but that it goes into another.
func (b *Balancer) fastTunnel(p *packet.Packet, h *flow.Half, key1 uint64) packet.Verdict {
	var r forward.Rewritten
	pub, ok := b.load(h, key1, &r)
	if !ok {
		return p.DropFor(packet.LBLateRewrite)
	}
	ref := pub.NextHop
	hop, current := b.flows.Hops.Current(ref)
	if !current {
		if hop, ref = b.reroute(p, h, key1, &r); hop == nil {
			return p.DropFor(b.noWay(h, key1))
		}
	}
	if v := b.fits(p, b.room(hop, &r), r.How, 0); v != packet.Continue {
		return v
	}
	b.count(h, key1, pub.Dest, len(p.Data)-int(p.L3))
	p.NextHop = ref
	return encapsulate(p, &r)
}

// room is how long a half-flow's packets may be when they leave; 0: as long as they
// are. That of a tunnel is its path's, which others are told of by their own routers.
func (b *Balancer) room(hop *flow.NextHop, r *forward.Rewritten) int {
	if r.How.Tunnels() {
		return b.pathTo(r.To(), int(hop.MTU))
	}
	return int(hop.MTU)
}

// fits checks what must be told to the sender before the packet changes: TTL, and
// size if its way has room for so many bytes, other than 0. What grows on its way has less room; a client whose segments still grow
// by its address is told of grow bytes less.
func (b *Balancer) fits(p *packet.Packet, mtu int, how forward.How, grow uint16) packet.Verdict {
	d := p.Data[p.L3:]
	if ttl(p) <= 1 {
		return p.RefuseFor(packet.IPTTL)
	}
	if room := mtu - longer(p, how); len(d) > room && mtu != 0 {
		return b.tooBig(p, d, room, grow, how)
	}
	return packet.Continue
}

// ttl is a packet's TTL or hop limit.
func ttl(p *packet.Packet) uint8 {
	if is6(p) {
		return p.Data[p.L3+7]
	}
	return p.Data[p.L3+8]
}

// tooBig refuses a packet larger than its way out, unless it may leave in
// fragments. A GSO frame is as large as the segments it will be cut into. Nobody who
// sends IPv6 has to make packets shorter than 1280 bytes: what becomes IPv4, or goes
// into another packet, is fragmented if it is no longer than that (RFC 7915, 5.1;
// RFC 2473, 7.1; RFC 4213, 3.2).
func (b *Balancer) tooBig(p *packet.Packet, d []byte, room int, grow uint16, how forward.How) packet.Verdict {
	if p.Is(packet.GSO) {
		head := int(p.L4-p.L3) + 8
		if p.Proto == protoTCP {
			head = int(p.L4-p.L3) + int(p.Data[p.L4+12]>>4)<<2
		}
		if head+int(p.GSOSize) <= room {
			return packet.Continue
		}
	}
	if p.CutTo(room, is6(p) || wire.IPv4(d).DontFragment()) {
		return packet.Continue
	}
	if is6(p) && how != forward.Same6 && shortest(p, d) && p.CutTo(room, false) {
		return packet.Continue
	}
	if room = max(room, 0) - int(grow); is6(p) {
		room = max(room, wire.IPv6MinMTU) // nobody goes below (RFC 8200, 5)
	}
	p.MTU = uint16(min(max(room, 0), 65535))
	return p.RefuseFor(packet.IPTooBig)
}

// shortest reports whether an IPv6 packet, or the longest of the fragments in which it
// came, is as short as its sender need make it.
func shortest(p *packet.Packet, d []byte) bool {
	return len(d) <= wire.IPv6MinMTU || p.Is(packet.Cut) && p.MTU <= wire.IPv6MinMTU
}

// Advance is remember for who forwards a plain segment, which is neither first nor last,
// without Input: its data ends before end, and it acknowledges what is before ack.
// A retransmission does not turn them back.
func Advance(h *flow.Half, end, ack uint32) {
	if int32(end-h.Seq) > 0 {
		h.Seq = end
	}
	if int32(ack-h.Ack) > 0 {
		h.Ack = ack
	}
}

// remember keeps what a reset at expiry needs: the sequence number the real
// server will send next, and what it expects.
func (b *Balancer) remember(p *packet.Packet, h *flow.Half, d []byte) {
	t := d[p.L4-p.L3:]
	if p.TCPFlags&tcpRST != 0 {
		return // its numbers need not fit
	}
	end := binary.BigEndian.Uint32(t[4:8]) + uint32(len(t)-int(t[12]>>4)<<2)
	ack := binary.BigEndian.Uint32(t[8:12])
	if p.TCPFlags&(tcpSYN|tcpFIN) != 0 {
		end++ // each takes a number (RFC 9293, 3.4)
	}
	if p.TCPFlags&tcpSYN != 0 {
		h.Seq, h.Ack = end, ack
		return
	}
	Advance(h, end, ack)
}

// reroute looks a half-flow's route up again after routes changed: inbound to the
// real server, outbound to the client.
func (b *Balancer) reroute(p *packet.Packet, h *flow.Half, key1 uint64, r *forward.Rewritten) (*flow.NextHop, flow.NextHopRef) {
	to := r.To()
	if !r.How.Tunnels() && atomic.LoadUint32(&b.flows.Conn(h.Conn).State)&flow.ConnOneWay != 0 {
		// DR: the packet's destination is the VIP, and a MAC reaches no further than the link.
		d := b.sh.Dests[h.Dest].Load()
		if d == nil || !b.onLink(d.Wire) {
			return nil, 0
		}
		to = d.Wire
	}
	ref := b.hopTo(to)
	if ref == 0 {
		return nil, 0
	}
	b.stats.RoutedAnew++
	atomic.StoreUint32(&h.NextHop, ref)
	return b.flows.Hops.At(ref), ref
}

// Anew looks for the way of a packet that waited for a neighbour until routes changed. Its
// destination says where it goes, but for DR, where that is the VIP.
func (b *Balancer) Anew(p *packet.Packet) packet.Verdict {
	p.NextHop = 0
	if p.Flags&(packet.Keyed|packet.Related) == 0 || p.Is(packet.Encapsulated) {
		return packet.Output
	}
	var h *flow.Half
	var key1 uint64
	if p.Is(packet.Related) {
		h, key1 = b.about(p)
	} else {
		h, key1 = b.find(p)
	}
	if h == nil || key1&(flow.FlagReply|flow.FlagTunnel) != 0 {
		return packet.Output
	}
	var r forward.Rewritten
	pub, ok := b.load(h, key1, &r)
	if !ok {
		return p.DropFor(packet.LBLateRewrite)
	}
	if atomic.LoadUint32(&b.flows.Conn(pub.Conn).State)&flow.ConnOneWay == 0 {
		return packet.Output
	}
	hop, ref := b.reroute(p, h, key1, &r)
	if hop == nil {
		return p.DropFor(b.noWay(h, key1))
	}
	p.NextHop = ref
	if d, room := p.Data[p.L3:], int(hop.MTU); room != 0 && len(d) > room {
		if v := b.tooBig(p, d, room, 0, r.How); v != packet.Continue {
			return v
		}
	}
	return packet.Output
}

// noWay is the reason when reroute found no way. Of DR, what is missing may be a link
// that the real server is on, not a route to it.
func (b *Balancer) noWay(h *flow.Half, key1 uint64) packet.Reason {
	if key1&flow.FlagReply != 0 {
		return packet.LBNoRouteBack
	}
	if key1&flow.FlagTunnel == 0 && atomic.LoadUint32(&b.flows.Conn(h.Conn).State)&flow.ConnOneWay != 0 {
		if d := b.sh.Dests[h.Dest].Load(); d != nil && b.hopTo(d.Wire) != 0 && !b.onLink(d.Wire) {
			return packet.LBDestNotOnLink
		}
	}
	return packet.LBNoRouteToDest
}
