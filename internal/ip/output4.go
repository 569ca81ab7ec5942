package ip

import (
	"net/netip"

	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/route"
	"weir/internal/spec"
	"weir/internal/wire"
)

func isHost(r *route.Route) bool { return r.Scope == spec.ScopeHost }

// route4 looks the way of an IPv4 packet up.
func (s *Stack) route4(p *packet.Packet) packet.Verdict {
	ip := wire.IPv4(p.Data[p.L3:])
	dst := netip.AddrFrom4(ip.Dst())
	r, ok := s.Table.Lookup(dst)
	if !ok {
		return p.RefuseFor(packet.IPNoRoute)
	}
	if r.Local() {
		return p.DropFor(packet.IPNoListener)
	}
	mtu := s.hops.Fit(r.Port, false, r.MTU)
	if size := onWire4(p, ip); size > mtu && !p.CutTo(mtu, ip.DontFragment()) {
		p.MTU = uint16(min(mtu, 65535))
		return p.RefuseFor(packet.IPTooBig)
	}
	p.NextHop = s.hops.Get(r.Port, s.Table.NextHop(r, dst), s.ports[r.Port%port.Max].MAC, uint16(min(r.MTU, 65535)))
	if p.NextHop == 0 {
		return p.DropFor(packet.NeighTableFull)
	}
	return packet.Output
}

// onWire4 returns the length of the longest IP packet that p becomes: of a GSO
// frame, that of a segment.
func onWire4(p *packet.Packet, ip wire.IPv4) int {
	if p.Flags&packet.GSO == 0 {
		return int(ip.TotalLength())
	}
	hlen := ip.HeaderLength()
	l4 := p.Data[int(p.L3)+hlen:]
	switch {
	case p.GSOType&^packet.GSOECN == packet.GSOTCPv4 && len(l4) >= wire.TCPMinLen:
		hlen += wire.TCP(l4).DataOffset()
	case p.GSOType == packet.GSOUDPL4:
		hlen += wire.UDPLen
	default:
		return int(ip.TotalLength())
	}
	return min(hlen+int(p.GSOSize), int(ip.TotalLength()))
}
