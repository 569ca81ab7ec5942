package lb

import "weir/internal/wire"

// What an ICMP error of the one family is in the other.

// Codes of errors that have no name elsewhere.
const (
	unreachableHost       = 1 // RFC 792
	unreachableProtocol   = 2
	unreachablePort       = 3
	unreachablePrecedence = 14 // RFC 1812
	unreachableProhibited = 10 // RFC 1122
	badPointer            = 0  // RFC 792: a parameter problem where it points to
	badLength             = 2
)

// kindTo4 gives e the type, code and what else m has in ICMP (RFC 7915, 5.2), and
// reports whether there are such.
func kindTo4(e wire.ICMPv4, m wire.ICMPv6) bool {
	kind, code := wire.ICMPv4Unreachable, uint8(unreachableHost)
	switch m.Type() {
	case wire.ICMPv6Unreachable:
		switch m.Code() {
		case wire.ICMPv6NoRoute, wire.ICMPv6BeyondScope, wire.ICMPv6AddressUnreachable:
		case wire.ICMPv6Prohibited:
			code = unreachableProhibited
		case wire.ICMPv6PortUnreachable:
			code = unreachablePort
		default:
			return false
		}
	case wire.ICMPv6PacketTooBig:
		code = wire.ICMPv4FragNeeded
		e.SetNextHopMTU(uint16(min(m.MTU(), 65535) - min(m.MTU(), grown)))
	case wire.ICMPv6TimeExceeded:
		kind, code = wire.ICMPv4TimeExceeded, m.Code()
	case wire.ICMPv6ParameterProblem:
		switch m.Code() {
		case wire.ICMPv6BadField:
			to, ok := pointTo4(m.Pointer())
			if !ok {
				return false
			}
			kind, code = wire.ICMPv4ParameterProblem, badPointer
			e[4] = to
		case wire.ICMPv6UnknownNext:
			code = unreachableProtocol
		default:
			return false
		}
	default:
		return false
	}
	e.SetType(kind)
	e.SetCode(code)
	return true
}

// kindTo6 is the inverse (RFC 7915, 4.2). quoted is the packet that m is about.
func kindTo6(e wire.ICMPv6, m wire.ICMPv4, quoted wire.IPv4) bool {
	kind, code := wire.ICMPv6Unreachable, wire.ICMPv6NoRoute
	switch m.Type() {
	case wire.ICMPv4Unreachable:
		switch m.Code() {
		case 0, unreachableHost, 5, 6, 7, 8, 11, 12: // what can't be reached, for whatever reason
		case unreachableProtocol:
			const nextHeader = 6
			kind, code = wire.ICMPv6ParameterProblem, wire.ICMPv6UnknownNext
			e.SetPointer(nextHeader)
		case unreachablePort:
			code = wire.ICMPv6PortUnreachable
		case wire.ICMPv4FragNeeded:
			kind = wire.ICMPv6PacketTooBig
			e.SetMTU(max(mtuTold(m, quoted)+grown, wire.IPv6MinMTU))
		case 9, unreachableProhibited, 13, 15:
			code = wire.ICMPv6Prohibited
		default: // precedence: no such thing
			return false
		}
	case wire.ICMPv4TimeExceeded:
		kind, code = wire.ICMPv6TimeExceeded, m.Code()
	case wire.ICMPv4ParameterProblem:
		to, ok := pointTo6(m[4])
		if !ok || m.Code() != badPointer && m.Code() != badLength {
			return false
		}
		kind, code = wire.ICMPv6ParameterProblem, wire.ICMPv6BadField
		e.SetPointer(to)
	default:
		return false
	}
	e.SetType(kind)
	e.SetCode(code)
	return true
}

// plateaus are the MTUs that a router may mean which does not say one (RFC 1191, 7).
var plateaus = [...]uint16{32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68}

// mtuTold is the MTU that an error tells of.
func mtuTold(m wire.ICMPv4, quoted wire.IPv4) uint32 {
	if mtu := m.NextHopMTU(); mtu != 0 {
		return uint32(mtu)
	}
	for _, mtu := range plateaus {
		if mtu < quoted.TotalLength() {
			return uint32(mtu)
		}
	}
	return 0
}

// pointTo4 is where the field that a pointer into an IPv6 header means lies in an
// IPv4 header (RFC 7915, figure 6).
func pointTo4(at uint32) (uint8, bool) {
	switch {
	case at <= 1:
		return uint8(at), true // version, traffic class
	case at == 4 || at == 5:
		return 2, true // length
	case at == 6:
		return 9, true // protocol
	case at == 7:
		return 8, true // TTL
	case at >= 8 && at < 24:
		return 12, true
	case at >= 24 && at < 40:
		return 16, true
	}
	return 0, false
}

// pointTo6 is the inverse (RFC 7915, figure 3).
func pointTo6(at uint8) (uint32, bool) {
	switch {
	case at <= 1:
		return uint32(at), true
	case at == 2 || at == 3:
		return 4, true
	case at == 8:
		return 7, true
	case at == 9:
		return 6, true
	case at >= 12 && at < 16:
		return 8, true
	case at >= 16 && at < 20:
		return 24, true
	}
	return 0, false
}

// withoutExtensions returns how much of a quote is the packet: an error that says so
// has more behind it (RFC 4884, 4), which does not go to the other family. m says how
// much in the byte at, in units of unit bytes; the quote is long bytes in all, and its
// transport header begins at l4.
func withoutExtensions(m []byte, at, unit, long, l4 int) int {
	const least = 128 // a packet with something behind it is padded to that
	if n := int(m[at]) * unit; n >= max(least, l4+8) && n < long {
		return n
	}
	return long
}
