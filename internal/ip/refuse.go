package ip

import (
	"net/netip"

	"weir/internal/clock"
	"weir/internal/packet"
	"weir/internal/wire"
)

// Bounds of ICMP errors, of both families together, for each worker: so many a
// second on average, so many at once (RFC 1812, 4.3.2.8; RFC 4443, 2.4 f).
const (
	ErrorRate  = 1000
	ErrorBurst = 50
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

// Refuse puts the ICMP error for p.Reason into the outbox, if the rules allow one
// and not too many were sent. The walk drops p afterwards, for its own reason.
// p's IP header must be as it came in: the sender has to recognize it.
func (s *Stack) Refuse(p *packet.Packet) {
	if p.EtherType == wire.EtherTypeIPv6 {
		s.refuse6(p)
	} else {
		s.refuse4(p)
	}
}

func (s *Stack) refuse4(p *packet.Packet) {
	kind, code, ok := errorFor4(p.Reason)
	if !ok || !answerable4(p) || !s.mayTell(p, netip.AddrFrom4(wire.IPv4(p.Data[p.L3:]).Src())) {
		return
	}
	s.told(s.makeError4(p, kind, code))
}

func (s *Stack) refuse6(p *packet.Packet) {
	kind, code, ok := errorFor6(p.Reason)
	if !ok || !answerable6(p) || !s.mayTell(p, netip.AddrFrom16(wire.IPv6(p.Data[p.L3:]).Src())) {
		return
	}
	s.told(s.makeError6(p, kind, code))
}

// mayTell reports whether p's sender is another than us, and the rate leaves room.
func (s *Stack) mayTell(p *packet.Packet, sender netip.Addr) bool {
	if s.ours(p, sender) {
		return false
	}
	if !s.errors.take(s.now) {
		s.stats.Drops[packet.ICMPRateLimit]++
		return false
	}
	return true
}

func (s *Stack) told(made bool) {
	if made {
		s.Counters.ErrorsSent++
	} else {
		s.Counters.ErrorsNotMade++
	}
}
