package lb

import (
	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/wire"
)

// tellUOA puts the client's address into a datagram, which is rewritten already: as
// an IP option behind the fixed header, or as the header of a protocol of its own in
// front of UDP. The option is for IPv4 in IPv4: others get the protocol. Where there
// is no room, in the IP header or on the way, an empty datagram with the address goes
// ahead. Without memory for that one the datagram goes alone: the next ones of the
// trail tell.
func (b *Balancer) tellUOA(p *packet.Packet, asProtocol bool, hop *flow.NextHop, ref flow.NextHopRef) packet.Verdict {
	asProtocol = asProtocol || is6(p) || !b.src.Is4()
	var room [wire.OPP6Len]byte
	uoa := b.putUOA(&room, asProtocol, is6(p), wirePort(uint16(p.Key1)))
	n, fixed := len(uoa), wire.IPv4MinLen
	if is6(p) {
		fixed = wire.IPv6Len
	}
	options := int(p.L4-p.L3) - fixed
	// A super-frame is cut up by devices that know neither of the two, the readers
	// don't put fragments together, and a protocol behind other options is more than
	// they expect.
	fits := p.Flags&(packet.GSO|packet.Cut) == 0 && fitsWith(p, n, hop) && (options == 0 || !asProtocol && options+n <= wire.IPv4MaxOptions)
	if fits && completed(p) && insertUOA(p, uoa, asProtocol) {
		b.stats.UOASent++
		return packet.Output
	}
	front := int(p.L3) + fixed
	q := b.copyHead(p, front, n+wire.UDPLen)
	if q == nil {
		b.stats.UOAFailed++
		return packet.Output
	}
	copy(q.Data[front:], uoa)
	q.L4 = uint16(front + n)
	headerUOA(q, fixed, n, asProtocol)
	u := wire.UDP(q.Data[q.L4:])
	copy(u, p.Data[p.L4:p.L4+4]) // ports
	u.SetLength(wire.UDPLen)
	b.sendAhead(q, ref)
	b.stats.UOASent++
	return packet.Follow
}

// putUOA writes what tells of the client of the packet in hand.
func (b *Balancer) putUOA(into *[wire.OPP6Len]byte, asProtocol, six bool, port uint16) []byte {
	switch {
	case !b.src.Is4() || six:
		// Over IPv6 the header has to be as long as an extension header may be: there
		// an IPv4 client is ::ffff:a.b.c.d.
		wire.PutOPP6(into[:], port, b.src.IP().As16())
		return into[:wire.OPP6Len]
	case asProtocol:
		wire.PutOPP4(into[:], port, b.src.IP().As4())
		return into[:wire.OPP4Len]
	}
	wire.PutUOA4(into[:], port, b.src.IP().As4())
	return into[:wire.OptUOA4Len]
}

// insertUOA makes room for the option or the protocol's header and puts it there.
func insertUOA(p *packet.Packet, uoa []byte, asProtocol bool) bool {
	at := int(p.L4)
	if !asProtocol {
		at = int(p.L3) + wire.IPv4MinLen
	}
	hlen := int(p.L4 - p.L3)
	if !splice(p, at, 0, uoa) {
		return false
	}
	p.L4 += uint16(len(uoa))
	headerUOA(p, hlen, len(uoa), asProtocol)
	if is6(p) {
		lengthen(p, len(uoa))
		return true
	}
	ip := wire.IPv4(p.Data[p.L3:])
	ip.SetTotalLength(uint16(len(ip)))
	ip.ComputeChecksum()
	return true
}

// headerUOA makes an IP header of hlen bytes, with n bytes of UOA in it or behind
// it, say so.
func headerUOA(p *packet.Packet, hlen, n int, asProtocol bool) {
	if is6(p) {
		wire.IPv6(p.Data[p.L3:]).SetNextHeader(wire.ProtoOPP)
		return
	}
	ip := wire.IPv4(p.Data[p.L3:])
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
	if is6(p) {
		b.blankUOA6(p)
		return
	}
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

// blankUOA6 is blankUOA for IPv6: what weir-rs makes of the protocol that carries UOA
// is a destination option on the real server, and must not come from a client. What it
// says becomes zeros: of padding, Linux takes 7 bytes at most. Others' experiments under
// that number (RFC 4727) stay, unless they look like UOA.
func (b *Balancer) blankUOA6(p *packet.Packet) {
	const number = 0x1f
	found := false
	kind := wire.IPv6(p.Data[p.L3:]).NextHeader()
	for h, rest, ok := wire.CutExtension(kind, p.Data[int(p.L3)+wire.IPv6Len:p.L4]); ok; h, rest, ok = wire.CutExtension(kind, rest) {
		if kind == wire.NextDestination || kind == wire.NextHopByHop {
			for o, more, ok := wire.NextIPv6Option(h[2:]); ok; o, more, ok = wire.NextIPv6Option(more) {
				if v := o.Value(); o.Type&number == wire.OptUOADestination && len(v) > 0 && v[0] == wire.OptUOA {
					clear(v)
					found = true
				}
			}
		}
		kind = h[0]
	}
	if found {
		b.stats.ClaimsTaken++
	}
}

// optioned reports whether something stands between the fixed IP header and the
// transport's.
func optioned(p *packet.Packet) bool {
	if is6(p) {
		return p.L4-p.L3 > wire.IPv6Len
	}
	return p.L4-p.L3 > wire.IPv4MinLen
}
