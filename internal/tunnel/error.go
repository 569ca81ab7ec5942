package tunnel

import (
	"net/netip"

	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/wire"
)

// Error takes an ICMP error that quotes a packet of protocol 4, 41 or 47 from one of our
// addresses, and which the balancer knows nothing of. Where the way to a device's other
// end turns out to be narrow, the device's MTU is less for ten minutes, and who sends
// what is too long is told when the next such packet comes (RFC 2003, 5.1; RFC 2473,
// 7.1): as in Linux, the error itself goes to nobody, for what it quotes is not the
// sender's packet, and mostly not all of its headers. That the other end can't be
// reached is counted.
func (s *Stage) Error(p *packet.Packet) packet.Verdict {
	q, ok := quoted(p)
	if !ok {
		return p.DropFor(packet.ICMPMalformed)
	}
	d := s.table.sent(&q)
	switch {
	case d == nil && s.ports[p.In%port.Max].Twin:
		return p.PuntFor(packet.ICMPUnrelated) // about a tunnel of Linux's, perhaps
	case d == nil:
		return p.DropFor(packet.ICMPUnrelated)
	case q.what == tooBig:
		if q.mtu >= q.length || int(q.mtu) <= d.front.n {
			return p.DropFor(packet.ICMPUnwanted) // what was quoted would fit
		}
		s.hops.LearnPath(d.Port, q.mtu-uint16(d.front.n), s.Second)
		return p.DropFor(packet.ICMPTunnel)
	case q.what == unreachable:
		return p.DropFor(packet.TunnelUnreachable)
	}
	return p.DropFor(packet.ICMPUnwanted)
}

// What an error says.
const (
	other = iota
	tooBig
	unreachable
)

// quote is what an ICMP error says about a packet.
type quote struct {
	what     int
	mtu      uint16
	length   uint16 // of the packet that is quoted
	from, to netip.Addr
	kind     Kind
	gre      wire.GRE // of GRE, what is quoted of it: 8 bytes at least
}

// leastPath is the least that a way of IPv4 is believed to take: who forges a smaller
// one wants packets to be small, not to arrive.
const leastPath = 552

// quoted reads an ICMP error whose checksum is right.
func quoted(p *packet.Packet) (q quote, ok bool) {
	var proto uint8
	var l4 []byte
	if p.EtherType == wire.EtherTypeIPv6 {
		ip := wire.IPv6(p.Data[p.L3:])
		m := wire.ICMPv6(p.Data[p.L4:])
		if len(m) < wire.ICMPv6Len+wire.IPv6Len || !m.ChecksumOK(ip.Src(), ip.Dst()) {
			return q, false
		}
		about := wire.IPv6(m[wire.ICMPv6Len:])
		chain, fault := wire.WalkIPv6(about)
		if about.Version() != 6 || fault != wire.ChainOK || len(about) < int(chain.Offset)+8 {
			return q, false
		}
		proto, l4 = chain.Proto, about[chain.Offset:]
		q.from, q.to = netip.AddrFrom16(about.Src()), netip.AddrFrom16(about.Dst())
		q.length = uint16(min(about.TotalLength(), 65535))
		switch m.Type() {
		case wire.ICMPv6PacketTooBig:
			q.what, q.mtu = tooBig, uint16(min(max(m.MTU(), wire.IPv6MinMTU), 65535))
		case wire.ICMPv6Unreachable, wire.ICMPv6ParameterProblem:
			q.what = unreachable
		}
	} else {
		m := wire.ICMPv4(p.Data[p.L4:])
		if len(m) < wire.ICMPv4Len+wire.IPv4MinLen || !m.ChecksumOK() {
			return q, false
		}
		about := wire.IPv4(m[wire.ICMPv4Len:])
		n := about.HeaderLength()
		if about.Version() != 4 || n < wire.IPv4MinLen || len(about) < n+8 {
			return q, false
		}
		proto, l4 = about.Protocol(), about[n:]
		q.from, q.to = netip.AddrFrom4(about.Src()), netip.AddrFrom4(about.Dst())
		q.length = about.TotalLength()
		switch {
		case m.Type() == wire.ICMPv4Unreachable && m.Code() == wire.ICMPv4FragNeeded:
			q.what, q.mtu = tooBig, m.NextHopMTU()
			if q.mtu == 0 {
				q.mtu = 576 // a router from before RFC 1191 (its section 5)
			}
			q.mtu = max(q.mtu, leastPath)
		case m.Type() == wire.ICMPv4Unreachable:
			q.what = unreachable
		}
	}
	if proto == wire.ProtoGRE {
		q.kind, q.gre = GRE, wire.GRE(l4)
	}
	return q, true
}

// sent returns the device that sent what is quoted, or nil. Of several GRE tunnels
// between two machines the key says which, if the quote reaches so far.
func (t *Table) sent(q *quote) *Device {
	for i := range t.devices {
		d := &t.devices[i]
		if d.Kind != q.kind || d.Remote != q.to || d.From != q.from {
			continue
		}
		if d.Kind == GRE && (q.gre.Flags() != d.Out || d.Out&Key != 0 && len(q.gre) >= q.gre.HeaderLength() && q.gre.Key() != d.OutKey) {
			continue
		}
		return d
	}
	return nil
}
