package lb

import (
	"weir/internal/flow"
	"weir/internal/lb/forward"
	"weir/internal/packet"
	"weir/internal/wire"
)

// tellUOA puts the client's address into a datagram: as an IP option behind the
// fixed header, or as the header of a protocol of its own in front of UDP. Where
// there is no room, in the IP header or on the way, an empty datagram with the
// address goes ahead. Without memory for that one the datagram goes alone: the
// next ones of the trail tell.
func (b *Balancer) tellUOA(p *packet.Packet, asProtocol bool, r *forward.Rewritten, hop *flow.NextHop, ref flow.NextHopRef) packet.Verdict {
	var uoa [wire.OPP4Len]byte
	n := wire.OptUOA4Len
	if asProtocol {
		n = wire.OPP4Len
		wire.PutOPP4(uoa[:], wirePort(uint16(p.Key1)), be32(uint32(p.Key0)))
	} else {
		wire.PutUOA4(uoa[:], wirePort(uint16(p.Key1)), be32(uint32(p.Key0)))
	}
	options := int(p.L4-p.L3) - wire.IPv4MinLen
	// A super-frame is cut up by devices that know neither of the two, the readers
	// don't put fragments together, and a protocol behind other options is more than
	// they expect.
	room := p.Flags&(packet.GSO|packet.Cut) == 0 && fitsWith(p, n, hop) && (options == 0 || !asProtocol && options+n <= wire.IPv4MaxOptions)
	if room && completed(p) && insertUOA(p, uoa[:n], asProtocol) {
		b.stats.UOASent++
		return packet.Output
	}
	front := int(p.L3) + wire.IPv4MinLen
	q := b.copyHead(p, front, n+wire.UDPLen)
	if q == nil {
		b.stats.UOAFailed++
		return packet.Output
	}
	copy(q.Data[front:], uoa[:n])
	q.L4 = uint16(front + n)
	headerUOA(wire.IPv4(q.Data[q.L3:]), wire.IPv4MinLen, n, asProtocol)
	u := wire.UDP(q.Data[q.L4:])
	copy(u, p.Data[p.L4:p.L4+4]) // ports
	u.SetLength(wire.UDPLen)
	b.sendAhead(q, r, ref)
	b.stats.UOASent++
	return packet.Follow
}

// insertUOA makes room for the option or the protocol's header and puts it there.
func insertUOA(p *packet.Packet, uoa []byte, asProtocol bool) bool {
	at := int(p.L3) + wire.IPv4MinLen
	if asProtocol {
		at = int(p.L4)
	}
	hlen := int(p.L4 - p.L3)
	if !splice(p, at, 0, uoa) {
		return false
	}
	p.L4 += uint16(len(uoa))
	ip := wire.IPv4(p.Data[p.L3:])
	headerUOA(ip, hlen, len(uoa), asProtocol)
	ip.SetTotalLength(uint16(len(ip)))
	ip.ComputeChecksum()
	return true
}

// headerUOA makes an IP header of hlen bytes, with n bytes of UOA in it or behind
// it, say so.
func headerUOA(ip wire.IPv4, hlen, n int, asProtocol bool) {
	if asProtocol {
		ip.SetVersionIHL(hlen)
		ip.SetProtocol(wire.ProtoOPP)
		return
	}
	ip.SetVersionIHL(hlen + n)
}

// blankUOA takes a client's own claim of an address out of the IP options: it is
// the number that counts, whatever the class and copy bits say.
func (b *Balancer) blankUOA(p *packet.Packet) {
	const number = 0x1f
	ip := wire.IPv4(p.Data[p.L3:])
	found := false
	for o, rest, ok := wire.NextOption(ip.Options()); ok; o, rest, ok = wire.NextOption(rest) {
		if o.Kind&number == wire.OptUOA&number {
			o.Blank()
			found = true
		}
	}
	if found {
		ip.ComputeChecksum()
		b.stats.ClaimsTaken++
	}
}
