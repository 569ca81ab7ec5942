package lb

import (
	"net/netip"
	"sync/atomic"

	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/wire"
)

// The PROXY protocol: the real server reads who the client is in front of the
// client's own bytes (wire/proxy.go has the header). The director puts it there
// and keeps nothing: every packet in which the header belongs gets it made anew,
// until the real server acknowledged it.

// proxyTCP gives a client's segment the place in the stream that it has for the
// real server. The header travels in whatever begins at the stream's first byte:
// data, a FIN, and already the handshake's last acknowledgement, so that servers
// that speak first are served as well. If that one is lost, the real server
// repeats its SYN-ACK and the client its acknowledgement.
//
// A header that the client sent is replaced; in an insecure service it is kept, or
// turned into the other version. Such a service has to see the client's first data
// before it knows what goes in front: no acknowledgement carries a header there.
// A client's header must come in one segment, as its specification wants it, and
// in a secure service before any other; else it stays what it then is, data behind
// our header.
func (b *Balancer) proxyTCP(p *packet.Packet, c *flow.Conn, in *flow.Half, s uint32, hop *flow.NextHop, ref flow.NextHopRef) packet.Verdict {
	t := wire.TCP(p.Data[p.L4:])
	secure := s&flow.ConnProxyInsecure == 0
	if p.TCPFlags&tcpSYN != 0 {
		b.proxySYN(p, t, in, s)
		shiftSeq(p, wire.TCP(p.Data[p.L4:]), c.SeqDelta)
		return packet.Output
	}
	m := b.streamOf(c, s)
	seq := t.Seq()
	if m.steady() || p.TCPFlags&tcpRST != 0 || s&flow.ConnServerISN == 0 {
		shiftSeq(p, t, m.toServer(seq)-seq)
		return packet.Output
	}
	data := t[t.DataOffset():]
	at := int32(seq - m.first)
	begins := at == 0 && (len(data) > 0 || p.TCPFlags&tcpFIN != 0)
	if !m.settled && (begins || at > 0) {
		switch {
		case begins:
			b.settleStream(&m, p, in, s, data)
		case secure:
			m.settle(in, int(m.head), 0)
		default:
			return p.DropFor(packet.LBProxyWait)
		}
	}
	take := 0
	if at >= 0 && at < int32(m.strip) {
		take = min(int(m.strip)-int(at), len(data))
	}
	now := m.toServer(seq)
	if at != 0 || m.acked || m.head == 0 || p.TCPFlags&tcpACK == 0 || !begins && !secure {
		if take > 0 {
			// What is left begins behind the header, whatever else moves how far.
			spliceData(p, take, nil)
			now = m.first + m.head + m.shift
		}
		shiftSeq(p, wire.TCP(p.Data[p.L4:]), now-seq)
		return packet.Output
	}
	var room [wire.ProxyMax]byte
	head, ok := b.headerOf(room[:0], p, s, &m, data)
	if !ok {
		return p.DropFor(packet.LBProxyWait)
	}
	b.stats.ProxySent++
	if fitsWith(p, len(head)-take, hop) && spliceData(p, take, head) {
		shiftSeq(p, wire.TCP(p.Data[p.L4:]), now-seq)
		return packet.Output
	}
	return b.splitTCP(p, take, head, now-seq, hop, ref)
}

// proxySYN begins the stream, unless the server answered already. Data in a SYN
// would be in the server's hands before the header: without a Fast Open cookie the
// client sends it again.
func (b *Balancer) proxySYN(p *packet.Packet, t wire.TCP, in *flow.Half, s uint32) {
	if s&flow.ConnServerISN == 0 {
		head := 0
		if s&flow.ConnProxyInsecure == 0 {
			var room [wire.ProxyMax]byte
			own := b.ownHeader(p, s)
			head = len(wire.AppendProxy(room[:0], &own))
		}
		beginStream(in, t.Seq()+1, head)
	}
	blank(p, t, wire.OptFastOpen)
	if n := len(t) - t.DataOffset(); n > 0 {
		spliceData(p, n, nil)
	}
}

// ownHeader is what the director says of a client's packet, which may be rewritten
// already.
func (b *Balancer) ownHeader(p *packet.Packet, s uint32) wire.ProxyHeader {
	version := uint8(2)
	if s&flow.ConnProxyV1 != 0 {
		version = 1
	}
	return wire.ProxyHeader{
		Version: version, Proto: p.Proto,
		Source:      netip.AddrPortFrom(b.src.IP(), wirePort(uint16(p.Key1))),
		Destination: netip.AddrPortFrom(b.dst.IP(), wirePort(uint16(p.Key1>>16))),
	}
}

// settleStream decides, at the client's first data, what goes in front and what
// of the client's goes.
func (b *Balancer) settleStream(m *stream, p *packet.Packet, in *flow.Half, s uint32, data []byte) {
	theirs, n, ok := wire.ParseProxy(data)
	own := b.ownHeader(p, s)
	if ok && s&flow.ConnProxyInsecure != 0 {
		if theirs.Version == own.Version {
			m.settle(in, 0, 0) // the stream is as it shall be
			return
		}
		own.Source, own.Destination = theirs.Source, theirs.Destination
	}
	if ok {
		b.stats.ProxyTaken++
	}
	var room [wire.ProxyMax]byte
	m.settle(in, len(wire.AppendProxy(room[:0], &own)), n)
}

// headerOf appends the header that belongs in front of a packet at the beginning
// of the stream. It is false when that says what the client's own says, and the
// packet is too short to hold that one.
func (b *Balancer) headerOf(into []byte, p *packet.Packet, s uint32, m *stream, data []byte) ([]byte, bool) {
	h := b.ownHeader(p, s)
	if s&flow.ConnProxyInsecure != 0 && m.strip > 0 {
		theirs, n, ok := wire.ParseProxy(data)
		if !ok || uint32(n) != m.strip {
			return nil, false
		}
		h.Source, h.Destination = theirs.Source, theirs.Destination
	}
	into = wire.AppendProxy(into, &h)
	return into, uint32(len(into)) == m.head
}

// fitsWith reports whether a packet that grows by n bytes still fits its way; a
// GSO frame, whether it still is an IP packet.
func fitsWith(p *packet.Packet, n int, hop *flow.NextHop) bool {
	size := len(p.Data) - int(p.L3) + n
	if p.Is(packet.GSO) || hop.MTU == 0 {
		return size <= 65535
	}
	return size <= int(hop.MTU)
}

// splitTCP sends the header, and as much of the data behind it as fits, in a
// segment of its own ahead of the rest. take bytes of the data are the client's
// own header.
func (b *Balancer) splitTCP(p *packet.Packet, take int, head []byte, shift uint32, hop *flow.NextHop, ref flow.NextHopRef) packet.Verdict {
	t := wire.TCP(p.Data[p.L4:])
	front := int(p.L4) + t.DataOffset()
	data := p.Data[front+take:]
	n := min(int(hop.MTU)-(front-int(p.L3)), packet.SmallFrame-packet.Headroom-front) - len(head)
	n = max(0, min(n, len(data)-1))
	q := b.copyHead(p, front, len(head)+n)
	if q == nil {
		return p.DropFor(packet.PoolEmpty)
	}
	copy(q.Data[front:], head)
	copy(q.Data[front+len(head):], data[:n])
	qt := wire.TCP(q.Data[q.L4:])
	qt.SetFlags(t.Flags() &^ (tcpFIN | tcpPSH))
	qt.SetSeq(t.Seq() + shift)
	b.sendAhead(q, ref)

	spliceData(p, take+n, nil)
	if p.Is(packet.GSO) && len(p.Data)-front <= int(p.GSOSize) {
		p.Flags &^= packet.GSO
	}
	shiftSeq(p, wire.TCP(p.Data[p.L4:]), shift+uint32(len(head)+n))
	return packet.Follow
}

// sendAhead completes a packet that copyHead began, and puts it on its way. It
// has its final size.
func (b *Balancer) sendAhead(q *packet.Packet, ref flow.NextHopRef) {
	measure(q)
	q.NextHop = ref
	b.outbox.Push(q, packet.Output)
	b.stats.SentAhead++
}

// proxyUDP puts the header into a connection's first datagram, or in one of its
// own ahead of it, if it has no room. Version 2 alone speaks of datagrams.
func (b *Balancer) proxyUDP(p *packet.Packet, s uint32, hop *flow.NextHop, ref flow.NextHopRef) packet.Verdict {
	n := int(wire.UDP(p.Data[p.L4:]).Length())
	theirs, take, ok := wire.ParseProxy(p.Data[int(p.L4)+wire.UDPLen : int(p.L4)+n])
	if ok = ok && theirs.Version == 2; !ok {
		take = 0
	}
	if ok && s&flow.ConnProxyInsecure != 0 {
		return packet.Output
	}
	if ok {
		b.stats.ProxyTaken++
	}
	var room [wire.ProxyMax]byte
	own := b.ownHeader(p, s)
	head := wire.AppendProxy(room[:0], &own)
	b.stats.ProxySent++
	if !p.Is(packet.GSO) && fitsWith(p, len(head)-take, hop) && spliceData(p, take, head) {
		return packet.Output
	}
	front := int(p.L4) + wire.UDPLen
	q := b.copyHead(p, front, len(head))
	if q == nil {
		return p.DropFor(packet.PoolEmpty)
	}
	copy(q.Data[front:], head)
	wire.UDP(q.Data[q.L4:]).SetLength(uint16(wire.UDPLen + len(head)))
	b.sendAhead(q, ref)
	if take > 0 {
		spliceData(p, take, nil)
	}
	return packet.Follow
}

// inboundUDP tells the real server who the client is in the first datagrams of a
// connection. After them the connection is fast.
func (b *Balancer) inboundUDP(p *packet.Packet, c *flow.Conn, in *flow.Half, hop *flow.NextHop, ref flow.NextHopRef) packet.Verdict {
	const tells = connProxy | flow.ConnUOAOption | flow.ConnUOAProtocol
	s := atomic.LoadUint32(&c.State)
	if s&tells == 0 {
		return packet.Output
	}
	most := uint32(1)
	if s&connProxy == 0 {
		most = b.Tables.UOATrail
	}
	sent := atomic.LoadUint32(&in.Seq)
	if sent+1 >= most {
		b.letIn(c)
	}
	if sent >= most {
		return packet.Output
	}
	atomic.StoreUint32(&in.Seq, sent+1)
	if s&connProxy != 0 {
		return b.proxyUDP(p, s, hop, ref)
	}
	return b.tellUOA(p, s&flow.ConnUOAProtocol != 0, hop, ref)
}
