package ip

import (
	"net/netip"

	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/wire"
)

// route6 looks the way of an IPv6 packet up. Nobody but its sender may make
// fragments of it (RFC 8200, 4.5): if it came whole it leaves whole or not at all,
// and if it came in fragments it leaves in ones that are no longer.
func (s *Stack) route6(p *packet.Packet) packet.Verdict {
	ip := wire.IPv6(p.Data[p.L3:])
	dst := netip.AddrFrom16(ip.Dst())
	r, ok := s.Table.LookupOn(p.In, dst)
	if !ok {
		return p.RefuseFor(packet.IPNoRoute)
	}
	if r.Local() {
		return p.DropFor(packet.IPNoListener)
	}
	mtu := s.hops.Fit(r.Port, true, r.MTU)
	if size := onWire6(p, ip); size > mtu && !p.CutTo(mtu, true) {
		p.MTU = uint16(min(mtu, 65535))
		return p.RefuseFor(packet.IPTooBig)
	}
	p.NextHop = s.hops.Get(r.Port, s.Table.NextHop(r, dst), s.ports[r.Port%port.Max].MAC, uint16(min(r.MTU, 65535)))
	if p.NextHop == 0 {
		return p.DropFor(packet.NeighTableFull)
	}
	return packet.Output
}

// onWire6 returns the length of the longest IP packet that p becomes: of a GSO
// frame, that of a segment.
func onWire6(p *packet.Packet, ip wire.IPv6) int {
	if p.Flags&packet.GSO == 0 {
		return ip.TotalLength()
	}
	hlen := int(p.L4) - int(p.L3)
	l4 := p.Data[p.L4:]
	switch {
	case p.GSOType&^packet.GSOECN == packet.GSOTCPv6 && len(l4) >= wire.TCPMinLen:
		hlen += wire.TCP(l4).DataOffset()
	case p.GSOType == packet.GSOUDPL4:
		hlen += wire.UDPLen
	default:
		return ip.TotalLength()
	}
	return min(hlen+int(p.GSOSize), ip.TotalLength())
}
