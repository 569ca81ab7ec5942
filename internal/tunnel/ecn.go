package tunnel

import (
	"encoding/binary"

	"weir/internal/wire"
)

// ECN over tunnels (RFC 6040): what is inside lends its mark to the outside, and gets
// back what routers on the way made of that.

// ecnMask is where ECN stands in a TOS or traffic class.
const ecnMask = 3

const (
	notECT = 0 // knows no ECN
	ect1   = 1
	ect0   = 2
	ce     = 3 // congestion experienced
)

// refused stands in ecnOut for a packet that has to be dropped.
const refused = 0xff

// ecnOut is the mark of a packet that comes out of a tunnel, by its own and the outer
// one (RFC 6040, figure 4). A packet that knows no ECN can't be told of congestion: it
// is dropped, which tells as well.
var ecnOut = [4][4]uint8{
	//       not ECT ECT(1) ECT(0) CE
	notECT: {notECT, notECT, notECT, refused},
	ect1:   {ect1, ect1, ect1, ce},
	ect0:   {ect0, ect1, ect0, ce},
	ce:     {ce, ce, ce, ce},
}

// classOf returns the TOS or traffic class of a whole IP header of either family.
func classOf(ip []byte) uint8 {
	if ip[0]>>4 == 6 {
		return wire.IPv6(ip).TrafficClass()
	}
	return wire.IPv4(ip).TOS()
}

// mark gives a packet that comes out of a tunnel the mark that it has to have, and
// reports whether it may go on.
func mark(inner []byte, outer uint8) bool {
	class := classOf(inner)
	now := ecnOut[class&ecnMask][outer&ecnMask]
	switch {
	case now == refused:
		return false
	case now == class&ecnMask:
		return true
	}
	class = class&^ecnMask | now
	if inner[0]>>4 == 6 {
		wire.IPv6(inner).SetTrafficClass(class)
		return true
	}
	ip := wire.IPv4(inner)
	was := binary.BigEndian.Uint16(ip[0:2])
	ip.SetTOS(class)
	ip.SetChecksum(wire.Update16(ip.Checksum(), was, binary.BigEndian.Uint16(ip[0:2])))
	return true
}
