package ip

import (
	"weir/internal/packet"
	"weir/internal/wire"
)

// cut is the plan by which a frame is cut.
type cut struct {
	p        *packet.Packet
	l3, l4   int // of the packet that is cut up: in a tunnel, the inner one
	proto    uint8
	six      bool // it is of IPv6
	head     int  // link, IP and L4 header
	payload  []byte
	size     int // payload of a piece but the last
	id       uint16
	seq      uint32
	tcpFlags uint8
}

func newCut(p *packet.Packet) (c cut, ok bool) {
	c = cut{p: p, l3: innerL3(p), size: int(p.GSOSize)}
	if c.size == 0 || len(p.Data) <= c.l3 {
		return c, false
	}
	if c.six = isIPv6(p.Data[c.l3:]); c.six {
		end := c.network6()
		return c, end != 0 && c.transport(end, packet.GSOTCPv6)
	}
	end := c.network4()
	return c, end != 0 && c.transport(end, packet.GSOTCPv4)
}

// network4 reads an IPv4 header and returns where its packet ends; 0 if it can't
// be cut.
func (c *cut) network4() (end int) {
	ip := wire.IPv4(c.p.Data[c.l3:])
	if len(ip) < wire.IPv4MinLen {
		return 0
	}
	hlen, length := ip.HeaderLength(), int(ip.TotalLength())
	if ip.Version() != 4 || hlen < wire.IPv4MinLen || length > len(ip) || ip.IsFragment() {
		return 0
	}
	c.l4, c.proto, c.id = c.l3+hlen, ip.Protocol(), ip.ID()
	return c.l3 + length
}

// network6 is network4 for an IPv6 header and its extensions. With segments left
// the checksum would be about another address.
func (c *cut) network6() (end int) {
	ip := wire.IPv6(c.p.Data[c.l3:])
	if len(ip) < wire.IPv6Len || ip.TotalLength() > len(ip) {
		return 0
	}
	chain, fault := wire.WalkIPv6(ip)
	if fault != wire.ChainOK || chain.IsFragment() || chain.SegmentsLeft != 0 {
		return 0
	}
	c.l4, c.proto = c.l3+int(chain.Offset), chain.Proto
	return c.l3 + ip.TotalLength()
}

// transport reads the transport header of a packet that ends at end, and reports
// whether it can be cut; tcp is the family's GSO type.
func (c *cut) transport(end int, tcp uint8) bool {
	p, room := c.p, end-c.l4
	switch {
	case p.GSOType&^packet.GSOECN == tcp && c.proto == wire.ProtoTCP && room >= wire.TCPMinLen:
		t := wire.TCP(p.Data[c.l4:])
		n := t.DataOffset()
		if n < wire.TCPMinLen {
			return false
		}
		c.head = c.l4 + n
		c.seq, c.tcpFlags = t.Seq(), t.Flags()
	case p.GSOType == packet.GSOUDPL4 && c.proto == wire.ProtoUDP && room >= wire.UDPLen:
		c.head = c.l4 + wire.UDPLen
	default:
		return false
	}
	if end <= c.head {
		return false // no payload to cut
	}
	c.payload = p.Data[c.head:end]
	return true
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

	if c.proto == wire.ProtoTCP {
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
	d := g.Data[c.l3:]
	if c.six {
		ip := wire.IPv6(d)
		ip.SetPayloadLength(uint16(len(ip) - wire.IPv6Len))
		wire.CompleteL4AtOver6(ip, c.l4-c.l3, c.proto)
	} else {
		ip := wire.IPv4(d)
		ip.SetTotalLength(uint16(len(ip)))
		ip.SetID(c.id + uint16(i))
		ip.ComputeChecksum()
		wire.CompleteL4At(ip, c.l4-c.l3, c.proto)
	}
	fitOuter(g, uint16(i))
}
