package ip

import (
	"net/netip"

	"weir/internal/clock"
	"weir/internal/packet"
	"weir/internal/wire"
)

// Bounds of ICMP errors, for each worker: so many a second on average, so many
// at once (RFC 1812, 4.3.2.8), and bytes of a whole error (4.3.2.3).
const (
	ErrorRate  = 1000
	ErrorBurst = 50
	errorSize  = 576
)

// A bucket holds the right to send errors, in ticks times ErrorRate: each error
// costs a second's worth of ticks, which is an ErrorRate'th of a second's credit.
type bucket struct {
	credit uint32
	filled clock.Tick
}

const (
	errorCost = clock.PerSecond
	maxCredit = ErrorBurst * errorCost
)

func (b *bucket) take(now clock.Tick) bool {
	if passed := now.Since(b.filled); passed > 0 {
		b.credit = min(maxCredit, b.credit+min(passed, maxCredit/ErrorRate+1)*ErrorRate)
		b.filled = now
	}
	if b.credit < errorCost {
		return false
	}
	b.credit -= errorCost
	return true
}

// errorFor returns the ICMP message that belongs to a reason.
func errorFor(r packet.Reason) (kind, code uint8, ok bool) {
	switch r {
	case packet.IPTTL:
		return wire.ICMPv4TimeExceeded, 0, true
	case packet.IPTooBig:
		return wire.ICMPv4Unreachable, wire.ICMPv4FragNeeded, true
	case packet.IPNoRoute:
		return wire.ICMPv4Unreachable, wire.ICMPv4NetUnreachable, true
	case packet.IPNoListener:
		return wire.ICMPv4Unreachable, wire.ICMPv4PortUnreachable, true
	}
	return 0, 0, false
}

// Refuse puts the ICMP error for p.Reason into the outbox, if the rules allow one
// and not too many were sent. The walk drops p afterwards, for its own reason.
// p's IP header must be as it came in: the sender has to recognize it.
func (s *Stack) Refuse(p *packet.Packet) {
	kind, code, ok := errorFor(p.Reason)
	if !ok || !answerable4(p) {
		return
	}
	ip := wire.IPv4(p.Data[p.L3:])
	sender := ip.Src()
	if _, ours := s.Table.Local(netip.AddrFrom4(sender)); ours {
		return
	}
	if !s.errors.take(s.now) {
		s.stats.Drops[packet.ICMPRateLimit]++
		return
	}
	if !s.makeError(p, ip, kind, code) {
		s.Counters.ErrorsNotMade++
		return
	}
	s.Counters.ErrorsSent++
}

// answerable4 reports whether an ICMP error may be sent about a packet at all
// (RFC 1122, 3.2.2; RFC 1812, 4.3.2.7).
func answerable4(p *packet.Packet) bool {
	const never = packet.Ours | packet.Broadcast | packet.Multicast
	if p.Flags&never != 0 || len(p.Data) < int(p.L3)+wire.IPv4MinLen {
		return false
	}
	ip := wire.IPv4(p.Data[p.L3:])
	src, dst := ip.Src(), ip.Dst()
	hlen := ip.HeaderLength()
	if ip.Version() != 4 || hlen < wire.IPv4MinLen || hlen > len(ip) || ip.FragmentOffset() != 0 ||
		badSource[src[0]>>6]>>(src[0]&63)&1 != 0 || dst[0] >= 224 && dst[0] < 240 || dst[0] == 255 {
		return false
	}
	if ip.Protocol() == wire.ProtoICMP {
		// One too short to tell may be an error as well.
		return len(ip) >= hlen+wire.ICMPv4Len && !wire.ICMPv4(ip[hlen:]).IsError()
	}
	return true
}

// makeError makes the message about p and reports whether it is in the outbox.
func (s *Stack) makeError(p *packet.Packet, about wire.IPv4, kind, code uint8) bool {
	sender := about.Src()
	from, ok := s.errorSource(p, about)
	if !ok || s.out.Full() {
		return false
	}
	e := s.pool.Get()
	if e == nil {
		return false
	}
	const headers = wire.IPv4MinLen + wire.ICMPv4Len
	quote := min(len(about), int(about.TotalLength()), errorSize-headers)
	e.Resize(wire.EthernetLen + headers + quote)
	e.L3, e.L4 = wire.EthernetLen, wire.EthernetLen+wire.IPv4MinLen
	e.In, e.EtherType, e.Proto = p.In, wire.EtherTypeIPv4, wire.ProtoICMP
	e.Flags = packet.Ours
	if !s.way(e, p, sender) {
		s.pool.Put(e)
		return false
	}
	m := wire.ICMPv4(e.Data[e.L4:])
	copy(m[wire.ICMPv4Len:], about[:quote])
	m.SetType(kind)
	m.SetCode(code)
	m.SetIdent(0)
	m.SetSequence(0)
	if code == wire.ICMPv4FragNeeded && kind == wire.ICMPv4Unreachable {
		m.SetNextHopMTU(p.MTU)
	}
	m.ComputeChecksum()
	s.header4(wire.IPv4(e.Data[e.L3:]), from, sender)
	return s.out.Push(e, packet.Output)
}

// header4 writes the IP header of an ICMP error: all of b is the packet.
func (s *Stack) header4(b wire.IPv4, src, dst [4]byte) {
	b.SetVersionIHL(wire.IPv4MinLen)
	b.SetTOS(0xc0) // internetwork control (RFC 1812, 4.3.2.5)
	b.SetTotalLength(uint16(len(b)))
	b.SetID(s.id)
	s.id++
	b.SetFlagsFragment(0)
	b.SetTTL(s.ttl())
	b.SetProtocol(wire.ProtoICMP)
	b.SetSrc(src)
	b.SetDst(dst)
	b.ComputeChecksum()
}

// errorSource is the address an error comes from: the one the packet was sent to
// if it is ours, else one of the port it came in on (RFC 1812, 4.3.2.4).
func (s *Stack) errorSource(p *packet.Packet, about wire.IPv4) ([4]byte, bool) {
	dst := about.Dst()
	if _, ours := s.Table.Local(netip.AddrFrom4(dst)); ours {
		return dst, true
	}
	a := s.Table.Source(p.In, netip.AddrFrom4(about.Src()))
	if !a.Is4() {
		return [4]byte{}, false
	}
	return a.As4(), true
}
