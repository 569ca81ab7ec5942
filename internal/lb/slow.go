package lb

import (
	"sync/atomic"
	"unsafe"

	"weir/internal/flow"
	"weir/internal/lb/forward"
	"weir/internal/lb/proto"
	"weir/internal/packet"
	"weir/internal/wire"
)

// slow forwards a packet that may change its connection: handshake and close of
// TCP, all of SCTP, the packets that carry the client's address, the first answer of UDP,
// connections whose sequence numbers are moved, IP options.
func (b *Balancer) slow(p *packet.Packet, h *flow.Half, key1 uint64) packet.Verdict {
	var r forward.Rewritten
	pub, ok := b.load(h, key1, &r)
	if !ok {
		return p.DropFor(packet.LBLateRewrite)
	}
	ref, ci := pub.NextHop, pub.Conn
	c := b.flows.Conn(ci)
	if atomic.LoadUint32(&c.State)&flow.ConnDying != 0 {
		return p.DropFor(packet.LBLateRewrite)
	}
	reply := key1&flow.FlagReply != 0
	if !reply && atomic.LoadUint32(&c.State)&flow.ConnDenied != 0 {
		if why := b.denied(p, c); why != packet.NoReason {
			return p.DropFor(why)
		}
	}
	if !reply && begins(p) && b.over(c) {
		b.end(ci)
		return b.miss(p)
	}
	hop, current := b.flows.Hops.Current(ref)
	if !current {
		if hop, ref = b.reroute(p, h, key1, &r); hop == nil {
			return p.DropFor(b.noWay(h, key1))
		}
	}
	d := p.Data[p.L3:]
	if v := b.fits(p, b.room(hop, &r), r.How, b.grows(c, reply)); v != packet.Continue {
		return v
	}
	n := len(d)
	if !reply && optioned(p) {
		b.blankUOA(p)
	}
	b.src, b.dst = ends(p)
	if reply && p.Proto == protoTCP {
		b.remember(p, h, d)
	}
	v := packet.Output
	if !r.How.Tunnels() {
		// What is put into the packet below goes into what leaves.
		if v = b.become(p, &r); v != packet.Output {
			return v
		}
	}
	switch {
	case p.Proto == protoSCTP:
		b.stepSCTP(p, c, ci, reply)
	case p.Proto != protoTCP && reply:
		b.answeredUDP(c, ci)
	case p.Proto != protoTCP:
		v = b.inboundUDP(p, c, h, hop, ref)
	case reply:
		b.outboundTCP(p, c, ci)
	default:
		v = b.inboundTCP(p, c, ci, h, hop, ref)
	}
	if v == packet.Drop {
		return v
	}
	b.count(h, key1, pub.Dest, n)
	p.NextHop = ref
	if r.How.Tunnels() {
		return encapsulate(p, &r)
	}
	return v
}

// grows is by how much the director makes the segments of a direction longer.
func (b *Balancer) grows(c *flow.Conn, reply bool) uint16 {
	if reply || atomic.LoadUint32(&c.State)&(flow.ConnTOA|flow.ConnTold) != flow.ConnTOA {
		return 0
	}
	return toaLen(c)
}

// toaLen is how long the option is that tells a connection's client.
func toaLen(c *flow.Conn) uint16 {
	if atomic.LoadUint32(&c.In)&flow.WideBit != 0 {
		return wire.OptTOA6Len
	}
	return wire.OptTOA4Len
}

// answeredUDP makes a connection normal with its first answer. Outbound is fast
// from then on, inbound as soon as the real server knows the client (inboundUDP).
func (b *Balancer) answeredUDP(c *flow.Conn, ci uint32) {
	s := atomic.LoadUint32(&c.State)
	if s&flow.ConnStateMask == uint32(proto.UDPNormal) {
		return
	}
	if b.flows.Swap32(&c.State, s, s&^flow.ConnStateMask|uint32(proto.UDPNormal)) {
		b.setTimeout(ci, c, proto.UDPNormal)
		b.succeeded(c)
	}
	b.flows.SetFast(c.Out, true)
}

// outboundTCP handles a segment from the real server, as the server sees it.
func (b *Balancer) outboundTCP(p *packet.Packet, c *flow.Conn, ci uint32) {
	t := wire.TCP(p.Data[p.L4:])
	s := atomic.LoadUint32(&c.State)
	if p.TCPFlags&(tcpSYN|tcpRST) == tcpSYN {
		c.ServerISN = t.Seq()
		b.orState(&c.State, flow.ConnServerISN)
		if s&flow.ConnTOA != 0 {
			lowerMSS(p, t, toaLen(c))
			b.expectTold(c, p.TCPFlags, t.Ack())
		}
	}
	if s&connProxy != 0 || c.SeqDelta != 0 {
		m := b.streamOf(c, s)
		if s&connProxy != 0 && p.TCPFlags&tcpACK != 0 {
			m.acknowledge(b.flows.Half(atomic.LoadUint32(&c.In)), t.Ack())
		}
		if m.moves() {
			shiftAck(p, t, &m)
		}
	}
	b.stepTCP(p.TCPFlags, c, ci, proto.Outbound)
}

// inboundTCP handles a segment from the client. The real server learns the
// client's address in the segments that acknowledge its SYN and nothing more:
// the handshake's last and all that follow until the client acknowledges data, or
// the server data of the client's: then it took one of them.
// A service that speaks the PROXY protocol tells in the stream instead.
func (b *Balancer) inboundTCP(p *packet.Packet, c *flow.Conn, ci uint32, h *flow.Half, hop *flow.NextHop, ref flow.NextHopRef) packet.Verdict {
	syn := p.TCPFlags&(tcpSYN|tcpRST|tcpACK) == tcpSYN
	if syn {
		b.restart(c)
		if atomic.LoadUint32(&c.State)&flow.ConnNoTimestamp != 0 {
			blankTimestamp(p, wire.TCP(p.Data[p.L4:]))
		}
	}
	s := atomic.LoadUint32(&c.State)
	v := packet.Output
	switch {
	case s&connProxy != 0:
		if v = b.proxyTCP(p, c, h, s, hop, ref); v == packet.Drop {
			return v
		}
	case c.SeqDelta != 0:
		shiftSeq(p, wire.TCP(p.Data[p.L4:]), c.SeqDelta)
	}
	told := false
	switch t := wire.TCP(p.Data[p.L4:]); {
	case s&(flow.ConnTOA|flow.ConnTold) != flow.ConnTOA || p.TCPFlags&tcpRST != 0:
	case syn:
		told = p.Flags&packet.Plain == 0 && b.tellInSYN(p, t, hop) // a plain one has no cookie
	case s&flow.ConnServerISN == 0 || p.TCPFlags&(tcpSYN|tcpACK) != tcpACK:
	case t.Ack() == c.ServerISN+1 && b.heard(c, h, t.Seq()):
		b.orState(&c.State, flow.ConnTold)
	case t.Ack() == c.ServerISN+1:
		if told = b.addTOA(p, hop); !told {
			atomic.StoreUint32(&h.Seq, 0) // what the server acknowledges proves nothing now
		}
	case int32(t.Ack()-(c.ServerISN+1)) > 0:
		b.orState(&c.State, flow.ConnTold)
	}
	if !told && p.Flags&packet.Plain == 0 { // a plain one claims nothing
		if t := wire.TCP(p.Data[p.L4:]); t.DataOffset() > wire.TCPMinLen && blankTOA(p, t) {
			b.stats.ClaimsTaken++
		}
	}
	d := proto.Inbound
	if s&flow.ConnOneWay != 0 {
		d = proto.OneWay
	}
	b.stepTCP(p.TCPFlags, c, ci, d)
	return v
}

// over reports whether a connection is closing or closed and its real server
// gets no new ones: a SYN or INIT on it begins a connection to another.
func (b *Balancer) over(c *flow.Conn) bool {
	s := proto.State(atomic.LoadUint32(&c.State) & flow.ConnStateMask)
	return closing(s) && b.sh.Dests[c.Dest].Load().Closed.Load()
}

// closing reports whether a client may begin anew from this state.
func closing(s proto.State) bool {
	switch s {
	case proto.TCPTimeWait, proto.TCPClose, proto.TCPLastAck, proto.TCPFinWait, proto.TCPCloseWait,
		proto.SCTPClosed, proto.SCTPRejected:
		return true
	}
	return false
}

// restart makes a connection forget its former handshake when its client
// begins anew with the same ports.
func (b *Balancer) restart(c *flow.Conn) {
	if closing(proto.State(atomic.LoadUint32(&c.State) & flow.ConnStateMask)) {
		andState(&c.State, ^(flow.ConnServerISN | flow.ConnTold))
	}
}

// stepTCP moves the state machine and what depends on it: counts of the real
// server, timeout, and whether any engine may forward plain packets.
func (b *Balancer) stepTCP(flags uint8, c *flow.Conn, ci uint32, d proto.Direction) {
	var old, now uint32
	for {
		old = atomic.LoadUint32(&c.State)
		from := proto.State(old & flow.ConnStateMask)
		to := proto.NextTCP(from, flags, d)
		now = old&^flow.ConnStateMask | uint32(to)
		if to == proto.TCPEstablished {
			now = now&^flow.ConnHalfOpen | flow.ConnActive
		} else {
			now &^= flow.ConnActive
			if to == proto.TCPClose {
				now &^= flow.ConnHalfOpen
			}
		}
		if old == now || b.flows.Swap32(&c.State, old, now) {
			break
		}
	}
	if old != now {
		b.changed(c, ci, old, now)
		if d == proto.Outbound && flags&tcpRST != 0 && proto.State(old&flow.ConnStateMask) == proto.TCPSynRecv {
			b.failed(c) // it refuses connections
		}
	}
	if c.SeqDelta == 0 && now&connProxy == 0 {
		b.letPass(c, old, now, d)
	}
}

// letPass says after a segment which way plain segments need not be shown to the state
// machine: they leave the state as it is, and after the handshake that is all that it wants of
// them, until a FIN, SYN or RST comes, which no engine forwards without asking. Inbound the
// real server has to know the client, too.
func (b *Balancer) letPass(c *flow.Conn, old, now uint32, d proto.Direction) {
	from, to := proto.State(old&flow.ConnStateMask), proto.State(now&flow.ConnStateMask)
	in, out := proto.Inbound, proto.Outbound
	if d == proto.OneWay {
		in, out = d, d // of one half-flow
	}
	moved := from != to
	switch {
	case !proto.Settled(to, out):
		if moved && proto.Settled(from, out) {
			b.flows.SetFast(c.Out, false)
		}
	case d == proto.Outbound || moved && !proto.Settled(from, out): // else it is: spare its line
		b.flows.SetFast(c.Out, true)
	}
	switch {
	case proto.Settled(to, in) && now&(flow.ConnTOA|flow.ConnTold) != flow.ConnTOA:
		b.letIn(c)
	case moved && proto.Settled(from, in):
		b.flows.SetFast(c.In, false)
	}
}

// changed follows a change of state.
func (b *Balancer) changed(c *flow.Conn, ci uint32, old, now uint32) {
	load := &b.sh.Dests[c.Dest].Load().Load
	switch gone, came := old&^now, now&^old; {
	case came&flow.ConnActive != 0:
		b.add(&load.Active, 1)
		b.add(&load.Inactive, -1)
		b.succeeded(c)
	case gone&flow.ConnActive != 0:
		b.add(&load.Active, -1)
		b.add(&load.Inactive, 1)
	}
	if old&^now&flow.ConnHalfOpen != 0 {
		b.sh.HalfOpen.add(b.own.ID(), -1)
	}
	if to := proto.State(now & flow.ConnStateMask); uint32(to) != old&flow.ConnStateMask {
		b.setTimeout(ci, c, to)
	}
}

// add adds to a count that workers alone change: one worker alone needs no atomic add.
func (b *Balancer) add(count *atomic.Int32, n int32) {
	if b.flows.Workers() == 1 {
		flow.Bump32((*int32)(unsafe.Pointer(count)), n)
		return
	}
	count.Add(n)
}

// setTimeout gives the connection the timeout of a state.
func (b *Balancer) setTimeout(ci uint32, c *flow.Conn, s proto.State) {
	b.own.SetTimeout(ci, b.Tables.Timeouts.Of(s, c.Own), b.Now)
}

func (b *Balancer) orState(p *uint32, flags uint32) {
	for {
		s := atomic.LoadUint32(p)
		if s&flags == flags || b.flows.Swap32(p, s, s|flags) {
			return
		}
	}
}

func andState(p *uint32, mask uint32) {
	for {
		s := atomic.LoadUint32(p)
		if s&^mask == 0 || atomic.CompareAndSwapUint32(p, s, s&mask) {
			return
		}
	}
}
