package lb

import (
	"sync/atomic"

	"weir/internal/clock"
	"weir/internal/flow"
	"weir/internal/lb/forward"
	"weir/internal/lb/laddr"
	"weir/internal/lb/proto"
	"weir/internal/packet"
	"weir/internal/wire"
)

// expire ends a connection whose time is over. An established TCP connection is
// reset on both sides, so that nobody waits for a connection that is gone.
func (b *Balancer) expire(ci uint32) {
	c := b.flows.Conn(ci)
	if proto.State(atomic.LoadUint32(&c.State)&flow.ConnStateMask) == proto.TCPEstablished {
		b.resetBoth(c)
	}
	b.unanswered(c)
	b.end(ci)
	b.stats.Expired++
}

// end gives back what a connection borrowed and takes it out of the table.
func (b *Balancer) end(ci uint32) {
	if !b.flows.Claim(ci) {
		return
	}
	c := b.flows.Conn(ci)
	s := atomic.LoadUint32(&c.State)
	if d := b.sh.Dests[c.Dest].Load(); d != nil {
		if s&flow.ConnActive != 0 {
			b.add(&d.Load.Active, -1)
		} else {
			b.add(&d.Load.Inactive, -1)
		}
	}
	if s&flow.ConnHalfOpen != 0 {
		b.sh.HalfOpen.add(b.own.ID(), -1)
	}
	local, pool, port, held := c.Local, c.Pool, c.LocalPort, c.Template
	if pool < laddr.Pools {
		b.letGo(held)
	}
	expected := uint32(0)
	if local != laddr.None && proto.State(s&flow.ConnStateMask) < proto.UDPOneWay {
		expected = b.flows.Half(c.Out).Ack
	}
	b.own.Remove(ci, b.Now)
	// Last: who takes the port next must find the tuple free.
	if pool >= laddr.Pools {
		b.unmap(held, pool, expected)
		return
	}
	if a := b.sh.Locals.At(local); a != nil {
		a.Give(pool, port, b.Second, expected)
	}
}

// End ends a connection on behalf of the control plane, with resets if it is
// established. Only between bursts.
func (b *Balancer) End(ci uint32) {
	c := b.flows.Conn(ci)
	if proto.State(atomic.LoadUint32(&c.State)&flow.ConnStateMask) == proto.TCPEstablished {
		b.resetBoth(c)
	}
	b.end(ci)
}

// resetBoth sends RST to client and real server with the numbers that their
// windows expect, as seen in the real server's last segment.
func (b *Balancer) resetBoth(c *flow.Conn) {
	in, out := atomic.LoadUint32(&c.In), atomic.LoadUint32(&c.Out)
	if in == flow.None || out == flow.None || in == out {
		return // in == out: the real server's numbers were never seen (ConnOneWay)
	}
	hin, hout := b.flows.Half(in), b.flows.Half(out)
	b.resetAlong(hin, hout.Ack)
	b.resetAlong(hout, hout.Seq)
}

// resetAlong sends a RST to where a half-flow's packets go.
func (b *Balancer) resetAlong(h *flow.Half, seq uint32) {
	var r forward.Rewritten
	if pub, ok := b.load(h, atomic.LoadUint64(&h.Key1), &r); ok {
		b.sendReset(r.From(), r.To(), pub.Ports, seq, 0, false, pub.NextHop)
	}
}

// resetSender answers a segment of no known connection (RFC 9293, 3.10.7.1).
func (b *Balancer) resetSender(p *packet.Packet) {
	t := wire.TCP(p.Data[p.L4:])
	src, dst := ends(p)
	ports := uint32(p.Key1)>>16 | uint32(p.Key1)<<16
	if ref := b.hopBack(p); ref != 0 {
		b.sendReset(dst, src, ports, t.Ack(), 0, false, ref)
	}
}

// sendReset makes a RST segment. ports are as in flow.Half.NewPorts.
func (b *Balancer) sendReset(from, to flow.Addr, ports uint32, seq, ack uint32, withAck bool, hop flow.NextHopRef) {
	if b.outbox.Full() {
		return
	}
	r := b.pool.Get()
	if r == nil {
		return
	}
	r.L3, r.EtherType, r.Proto, r.L4 = wire.EthernetLen, wire.EtherTypeIPv4, protoTCP, wire.EthernetLen+wire.IPv4MinLen
	if !from.Is4() {
		r.EtherType, r.L4 = wire.EtherTypeIPv6, wire.EthernetLen+wire.IPv6Len
	}
	r.Resize(int(r.L4) + wire.TCPMinLen)
	clear(r.Data)
	r.Flags = packet.Ours
	if is6(r) {
		ip := wire.IPv6(r.Data[r.L3:])
		ip.SetVersionClassFlow(0, 0)
		ip.SetNextHeader(protoTCP)
		ip.SetHopLimit(64)
		from.Put(ip[8:24])
		to.Put(ip[24:40])
	} else {
		ip := wire.IPv4(r.Data[r.L3:])
		ip.SetVersionIHL(wire.IPv4MinLen)
		ip.SetFlagsFragment(wire.IPv4DontFragment)
		ip.SetTTL(64)
		ip.SetProtocol(protoTCP)
		ip.SetSrc(from.IP().As4())
		ip.SetDst(to.IP().As4())
	}
	t := wire.TCP(r.Data[r.L4:])
	t.SetSrcPort(wirePort(uint16(ports)))
	t.SetDstPort(wirePort(uint16(ports >> 16)))
	t.SetSeq(seq)
	t.SetDataOffset(20)
	flags := uint8(tcpRST)
	if withAck {
		t.SetAck(ack)
		flags |= tcpACK
	}
	t.SetFlags(flags)
	measure(r)
	if _, current := b.flows.Hops.Current(hop); current {
		r.NextHop = hop
	}
	b.outbox.Push(r, packet.Output)
	b.stats.RSTSent++
}

// halfOpen remembers the latest half-open connections in order, so that the
// oldest can go first when the table is nearly full. It is worker-owned; what
// falls out of it lives until its timeout.
type halfOpen struct {
	ring       []counted // a power of two
	head, tail uint32
	slack      int        // new connections until makeRoom has to look
	seen       clock.Tick // when it looked
}

// maxHalfOpenRing bounds it: the half-open connections of a second and more.
const maxHalfOpenRing = 1 << 18

func (h *halfOpen) init(conns int) {
	n := 1 << 10
	for n < conns/4 && n < maxHalfOpenRing {
		n <<= 1
	}
	h.ring = make([]counted, n)
}

func (h *halfOpen) push(conn, born uint32) {
	if h.tail-h.head == uint32(len(h.ring)) {
		h.head++
	}
	e := &h.ring[h.tail%uint32(len(h.ring))]
	e.conn, e.born = conn, born
	h.tail++
}

// makeRoom ends the oldest half-open connection for each new one while half-open
// ones are more than a quarter of the table, or less than an eighth is free, or of
// its part for IPv6. An
// ended connection rests for a second before its place is used again, so that a
// flood has to be met early.
func (b *Balancer) makeRoom() {
	if b.half.slack > 0 && b.half.seen == b.Now {
		b.half.slack-- // only new connections lead there, and each by one
		return
	}
	conns := b.flows.Conns()
	free := conns - b.flows.Len() - b.own.Resting()
	slack := min(free-conns/8, conns/4-int(b.sh.HalfOpen.Load())-1)
	if slack < 0 || b.flows.WideScarce() {
		b.evictHalfOpen()
		return
	}
	b.half.slack, b.half.seen = slack/b.flows.Workers(), b.Now
}

// perWorker is a count to which each worker adds on a line of its own.
type perWorker [flow.MaxWorkers]struct {
	n int64
	_ [56]byte
}

func (t *perWorker) add(worker int, n int64) { flow.Bump(&t[worker].n, n) }

// Load returns the sum.
func (t *perWorker) Load() (n int64) {
	for i := range t {
		n += atomic.LoadInt64(&t[i].n)
	}
	return n
}

// evictHalfOpen ends the oldest half-open connection this worker made.
func (b *Balancer) evictHalfOpen() {
	for b.half.head != b.half.tail {
		e := b.half.ring[b.half.head%uint32(len(b.half.ring))]
		b.half.head++
		c := b.flows.Conn(e.conn)
		s := atomic.LoadUint32(&c.State)
		if c.Born == e.born && s&(flow.ConnHalfOpen|flow.ConnDying) == flow.ConnHalfOpen {
			b.end(e.conn)
			b.stats.HalfOpenEvicted++
			return
		}
	}
}
