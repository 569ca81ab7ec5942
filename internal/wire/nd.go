package wire

import "encoding/binary"

// Neighbour discovery (RFC 4861): ARP's twin. A receiver checks, beside what
// these views read, that the hop limit is NDHopLimit, the code 0, the checksum
// right and the target no multicast address (6.1 and 7.1).

// NDHopLimit is the hop limit of every message: it came over no router.
const NDHopLimit uint8 = 255

// Offsets in the messages, lengths of their fixed parts, and of the messages
// that Put makes, which have a link-layer address option always.
const (
	ndFlags       = 4 // neighbour advertisement
	ndTarget      = 8 // neighbour solicitation and advertisement
	ndRAHopLimit  = 4
	ndRAFlags     = 5
	ndRALifetime  = 6
	ndRAReachable = 8
	ndRARetrans   = 12

	NeighbourSolicitationLen  = 24
	NeighbourAdvertisementLen = 24
	RouterSolicitationLen     = 8
	RouterAdvertisementLen    = 16

	NeighbourSolicitationPutLen  = NeighbourSolicitationLen + ndLinkOptionLen
	NeighbourAdvertisementPutLen = NeighbourAdvertisementLen + ndLinkOptionLen
	RouterSolicitationPutLen     = RouterSolicitationLen + ndLinkOptionLen
)

// Flags of a neighbour advertisement.
const (
	NDRouter    uint8 = 0x80 // the sender is a router
	NDSolicited uint8 = 0x40 // an answer to a solicitation
	NDOverride  uint8 = 0x20 // takes the place of an address that is known
)

// Flags of a router advertisement.
const (
	NDManaged uint8 = 0x80 // addresses come from DHCPv6
	NDOther   uint8 = 0x40 // the rest comes from DHCPv6
)

// AllNodes and AllRouters are the link's groups (RFC 4291, 2.7.1).
var (
	AllNodes   = [16]byte{0: 0xff, 1: 0x02, 15: 1}
	AllRouters = [16]byte{0: 0xff, 1: 0x02, 15: 2}
)

// SolicitedNode returns the group in which a neighbour with an address listens:
// ff02::1:ff and the last three bytes (RFC 4291, 2.7.1).
func SolicitedNode(a [16]byte) [16]byte {
	return [16]byte{0: 0xff, 1: 0x02, 11: 1, 12: 0xff, 13: a[13], 14: a[14], 15: a[15]}
}

// MulticastMAC6 returns the Ethernet address of an IPv6 group (RFC 2464, 7).
func MulticastMAC6(group [16]byte) [6]byte {
	return [6]byte{0x33, 0x33, group[12], group[13], group[14], group[15]}
}

// NeighbourSolicitation asks who has an address (RFC 4861, 4.3).
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+---------------+---------------+-------------------------------+
//	|   Type 135    |    Code 0     |           Checksum            |
//	+---------------+---------------+-------------------------------+
//	|                           Reserved                            |
//	+---------------------------------------------------------------+
//	|                                                               |
//	+                                                               +
//	|                        Target Address                         |
//	+                                                               +
//	|                                                               |
//	+                                                               +
//	|                                                               |
//	+---------------------------------------------------------------+
//	|  Options: source link-layer address                           |
//	+---------------------------------------------------------------+
type NeighbourSolicitation []byte

// Target returns the address that is asked for.
func (b NeighbourSolicitation) Target() [16]byte { return [16]byte(b[ndTarget : ndTarget+16]) }

// Options returns what follows the fixed part (see NextNDOption).
func (b NeighbourSolicitation) Options() []byte { return b[NeighbourSolicitationLen:] }

// Put writes a whole message of NeighbourSolicitationPutLen bytes, with the
// asker's link-layer address and the checksum. dst is SolicitedNode(target), or
// target itself to see whether it is still there. src may not be the unspecified
// address: see PutProbe.
func (b NeighbourSolicitation) Put(src, dst, target [16]byte, mac [6]byte) {
	b = b[:NeighbourSolicitationPutLen]
	putNeighbour(ICMPv6(b), ICMPv6NeighbourSolicitation, 0, target)
	putNDLink(b[NeighbourSolicitationLen:], NDSourceLink, mac)
	ICMPv6(b).ComputeChecksum(src, dst)
}

// PutProbe writes a whole message of NeighbourSolicitationLen bytes that asks
// whether somebody has an address that we would like to have (RFC 4862, 5.4.2).
// It goes from the unspecified address to SolicitedNode(target), and alone of
// all messages may not have the option (RFC 4861, 7.1.1).
func (b NeighbourSolicitation) PutProbe(target [16]byte) {
	b = b[:NeighbourSolicitationLen]
	putNeighbour(ICMPv6(b), ICMPv6NeighbourSolicitation, 0, target)
	ICMPv6(b).ComputeChecksum([16]byte{}, SolicitedNode(target))
}

// NeighbourAdvertisement says who has an address (RFC 4861, 4.4).
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+---------------+---------------+-------------------------------+
//	|   Type 136    |    Code 0     |           Checksum            |
//	+-+-+-+---------+---------------+-------------------------------+
//	|R|S|O|                        Reserved                         |
//	+-+-+-+---------------------------------------------------------+
//	|                                                               |
//	+                                                               +
//	|                        Target Address                         |
//	+                                                               +
//	|                                                               |
//	+                                                               +
//	|                                                               |
//	+---------------------------------------------------------------+
//	|  Options: target link-layer address                           |
//	+---------------------------------------------------------------+
type NeighbourAdvertisement []byte

// Flags returns NDRouter, NDSolicited and NDOverride.
func (b NeighbourAdvertisement) Flags() uint8 {
	return b[ndFlags] & (NDRouter | NDSolicited | NDOverride)
}

// Target returns the address that is spoken of.
func (b NeighbourAdvertisement) Target() [16]byte { return [16]byte(b[ndTarget : ndTarget+16]) }

// Options returns what follows the fixed part (see NextNDOption).
func (b NeighbourAdvertisement) Options() []byte { return b[NeighbourAdvertisementLen:] }

// Put writes a whole message of NeighbourAdvertisementPutLen bytes, with the
// target's link-layer address and the checksum. dst is the asker, or AllNodes if the
// asker was the unspecified address or nobody asked; then flags have no NDSolicited.
func (b NeighbourAdvertisement) Put(src, dst, target [16]byte, mac [6]byte, flags uint8) {
	b = b[:NeighbourAdvertisementPutLen]
	putNeighbour(ICMPv6(b), ICMPv6NeighbourAdvertisement, flags, target)
	putNDLink(b[NeighbourAdvertisementLen:], NDTargetLink, mac)
	ICMPv6(b).ComputeChecksum(src, dst)
}

func putNeighbour(b ICMPv6, kind, flags uint8, target [16]byte) {
	b.SetType(kind)
	b.SetCode(0)
	b.SetMTU(uint32(flags) << 24)
	*(*[16]byte)(b[ndTarget : ndTarget+16]) = target
}

// RouterSolicitation asks for router advertisements (RFC 4861, 4.1).
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+---------------+---------------+-------------------------------+
//	|   Type 133    |    Code 0     |           Checksum            |
//	+---------------+---------------+-------------------------------+
//	|                           Reserved                            |
//	+---------------------------------------------------------------+
//	|  Options: source link-layer address                           |
//	+---------------------------------------------------------------+
type RouterSolicitation []byte

// Options returns what follows the fixed part (see NextNDOption).
func (b RouterSolicitation) Options() []byte { return b[RouterSolicitationLen:] }

// Put writes a whole message of RouterSolicitationPutLen bytes to AllRouters,
// with the asker's link-layer address and the checksum. src may not be the
// unspecified address.
func (b RouterSolicitation) Put(src [16]byte, mac [6]byte) {
	b = b[:RouterSolicitationPutLen]
	ICMPv6(b).SetType(ICMPv6RouterSolicitation)
	ICMPv6(b).SetCode(0)
	ICMPv6(b).SetMTU(0)
	putNDLink(b[RouterSolicitationLen:], NDSourceLink, mac)
	ICMPv6(b).ComputeChecksum(src, AllRouters)
}

// RouterAdvertisement says how to use a link and a router (RFC 4861, 4.2). The
// director reads them and sends none.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+---------------+---------------+-------------------------------+
//	|   Type 134    |    Code 0     |           Checksum            |
//	+---------------+-+-+-----------+-------------------------------+
//	| Cur Hop Limit |M|O|  Reserved |        Router Lifetime        |
//	+---------------+-+-+-----------+-------------------------------+
//	|                        Reachable Time                         |
//	+---------------------------------------------------------------+
//	|                         Retrans Timer                         |
//	+---------------------------------------------------------------+
//	|  Options: source link-layer address, MTU, prefixes            |
//	+---------------------------------------------------------------+
type RouterAdvertisement []byte

// CurHopLimit returns the hop limit for packets of this link; 0: not said.
func (b RouterAdvertisement) CurHopLimit() uint8 { return b[ndRAHopLimit] }

// Flags returns NDManaged and NDOther.
func (b RouterAdvertisement) Flags() uint8 { return b[ndRAFlags] & (NDManaged | NDOther) }

// RouterLifetime returns for how many seconds the sender is a default router; 0:
// it is none.
func (b RouterAdvertisement) RouterLifetime() uint16 {
	return binary.BigEndian.Uint16(b[ndRALifetime : ndRALifetime+2])
}

// ReachableTime returns for how many milliseconds a neighbour is reachable after
// it was heard; 0: not said.
func (b RouterAdvertisement) ReachableTime() uint32 {
	return binary.BigEndian.Uint32(b[ndRAReachable : ndRAReachable+4])
}

// RetransTimer returns the milliseconds between two solicitations; 0: not said.
func (b RouterAdvertisement) RetransTimer() uint32 {
	return binary.BigEndian.Uint32(b[ndRARetrans : ndRARetrans+4])
}

// Options returns what follows the fixed part (see NextNDOption).
func (b RouterAdvertisement) Options() []byte { return b[RouterAdvertisementLen:] }
