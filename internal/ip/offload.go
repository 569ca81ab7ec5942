package ip

import (
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/wire"
)

// MaxSegments is the most packets that one GSO frame may become here: 64 KiB in
// segments of 536 bytes, the smallest MSS anyone should use, are 123.
const MaxSegments = 128

// FinishChecksum makes the L4 checksum of a packet what its port wants, just
// before it is sent: complete, or for a port that completes it itself the
// pseudo-header's sum of the addresses it has now. It reports false for a packet
// that claims an open checksum and has none that can be completed (L4Malformed).
// GSO frames that the port can't segment go through Segment instead.
func (s *Stack) FinishChecksum(p *packet.Packet, out *port.Facts) bool {
	if p.Flags&packet.CsumPartial == 0 {
		return true
	}
	ip := wire.IPv4(p.Data[p.L3:])
	if out.TxCsum {
		return wire.PartialL4(ip)
	}
	if !wire.CompleteL4(ip) {
		return false
	}
	p.Flags &^= packet.CsumPartial
	s.stats.CsumCompleted++
	return true
}

// Segment cuts a GSO frame of TCP (GSOTCPv4) or UDP (GSOUDPL4) into packets with
// complete checksums, made from pool, and puts them into out. All that p knew,
// its link header too, they know as well. p stays the caller's, to be put back.
//
// It reports false, having made nothing and set p.Reason, when the frame can't
// be cut (IPGSONoOffload: another type, headers that lie, more than
// len(out) pieces or a piece larger than a frame) or memory ran out (PoolEmpty).
func (s *Stack) Segment(p *packet.Packet, pool *packet.Pool, out []*packet.Packet) (n int, ok bool) {
	c, ok := newCut(p)
	if !ok || c.pieces() > len(out) {
		p.Reason = packet.IPGSONoOffload
		return 0, false
	}
	for i := range c.pieces() {
		g := pool.Get()
		if g != nil && !g.Resize(c.head+c.size) {
			// Jumbo segments don't fit a small frame.
			pool.Put(g)
			if g = pool.GetBig(); g != nil && !g.Resize(c.head+c.size) {
				pool.Put(g)
				g = nil
			}
		}
		if g == nil {
			for _, made := range out[:i] {
				pool.Put(made)
			}
			p.Reason = packet.PoolEmpty
			return 0, false
		}
		c.fill(g, i)
		out[i] = g
	}
	s.stats.GSOSegmented++
	return c.pieces(), true
}

// cut is the plan by which a frame is cut.
type cut struct {
	p        *packet.Packet
	l3, l4   int // of the packet that is cut up: in a tunnel, the inner one
	head     int // link, IP and L4 header
	payload  []byte
	size     int // payload of a piece but the last
	id       uint16
	seq      uint32
	tcpFlags uint8
}

func newCut(p *packet.Packet) (cut, bool) {
	c := cut{p: p, l3: int(p.L3), size: int(p.GSOSize)}
	if p.Is(packet.Encapsulated) {
		c.l3 += wire.IPv4MinLen
	}
	if c.size == 0 || len(p.Data) < c.l3+wire.IPv4MinLen {
		return c, false
	}
	ip := wire.IPv4(p.Data[c.l3:])
	hlen, end := ip.HeaderLength(), int(ip.TotalLength())
	if ip.Version() != 4 || hlen < wire.IPv4MinLen || end > len(ip) || ip.IsFragment() {
		return c, false
	}
	c.l4 = c.l3 + hlen
	c.id = ip.ID()
	room := end - hlen
	switch {
	case p.GSOType&^packet.GSOECN == packet.GSOTCPv4 && ip.Protocol() == wire.ProtoTCP && room >= wire.TCPMinLen:
		t := wire.TCP(p.Data[c.l4:])
		n := t.DataOffset()
		if n < wire.TCPMinLen {
			return c, false
		}
		c.head = c.l4 + n
		c.seq, c.tcpFlags = t.Seq(), t.Flags()
	case p.GSOType == packet.GSOUDPL4 && ip.Protocol() == wire.ProtoUDP && room >= wire.UDPLen:
		c.head = c.l4 + wire.UDPLen
	default:
		return c, false
	}
	if c.l3+end <= c.head {
		return c, false // no payload to cut
	}
	c.payload = p.Data[c.head : c.l3+end]
	return c, true
}

func (c *cut) pieces() int { return (len(c.payload) + c.size - 1) / c.size }

// fill makes g piece i.
func (c *cut) fill(g *packet.Packet, i int) {
	data := c.payload[i*c.size : min((i+1)*c.size, len(c.payload))]
	last := (i+1)*c.size >= len(c.payload)
	p := c.p
	g.Resize(c.head + len(data))
	copy(g.Data, p.Data[:c.head])
	copy(g.Data[c.head:], data)
	g.L3, g.L4, g.In, g.Out = p.L3, uint16(c.l4), p.In, p.Out
	g.EtherType, g.Proto, g.Verdict, g.NextHop, g.MTU = p.EtherType, p.Proto, p.Verdict, p.NextHop, p.MTU
	g.Key0, g.Key1, g.Hash = p.Key0, p.Key1, p.Hash
	g.Flags = p.Flags &^ (packet.GSO | packet.CsumPartial)

	ip := wire.IPv4(g.Data[c.l3:])
	ip.SetTotalLength(uint16(len(ip)))
	ip.SetID(c.id + uint16(i))
	ip.ComputeChecksum()
	if ip.Protocol() == wire.ProtoTCP {
		t := wire.TCP(g.Data[c.l4:])
		t.SetSeq(c.seq + uint32(i*c.size))
		flags := c.tcpFlags
		if !last {
			flags &^= wire.TCPFin | wire.TCPPsh
		}
		if i > 0 {
			flags &^= wire.TCPCwr // said once per window (RFC 3168, 6.1.2)
		}
		t.SetFlags(flags)
		g.TCPFlags = flags
	} else {
		wire.UDP(g.Data[c.l4:]).SetLength(uint16(len(g.Data) - c.l4))
	}
	wire.CompleteL4(ip)
	if outer := wire.IPv4(g.Data[p.L3:]); p.Is(packet.Encapsulated) {
		outer.SetTotalLength(uint16(len(outer)))
		outer.SetID(ip.ID())
		outer.ComputeChecksum()
	}
}
