package lb

import (
	"encoding/binary"

	"weir/internal/lb/forward"
	"weir/internal/packet"
	"weir/internal/wire"
)

// protoIPIP is IPv4 in IPv4 (RFC 2003).
const protoIPIP = 4

// encapsulate puts a packet into another one (RFC 2003): TTL goes down by one, as
// it does for everything that is forwarded, and TTL, TOS and DF are copied to the
// outer header. A checksum that is still open is completed, for no device would
// find it in there; a super-frame's are when it is cut up.
func encapsulate(p *packet.Packet, r *forward.Rewritten) packet.Verdict {
	if !p.Is(packet.GSO) && !completed(p) {
		return p.DropFor(packet.L4Malformed)
	}
	inner := wire.IPv4(p.Data[p.L3:])
	inner.SetTTL(inner.TTL() - 1)
	inner.ComputeChecksum()
	if !splice(p, int(p.L3), 0, blankHeader[:]) {
		return p.DropFor(packet.IPTooBig)
	}
	p.L4 += wire.IPv4MinLen
	p.Flags |= packet.Encapsulated
	outer := wire.IPv4(p.Data[p.L3:])
	inner = outer[wire.IPv4MinLen:]
	outer.SetVersionIHL(wire.IPv4MinLen)
	outer.SetTOS(inner.TOS())
	outer.SetTotalLength(uint16(min(len(outer), 65535))) // of a super-frame it counts for nothing
	outer.SetID(inner.ID())
	outer.SetFlagsFragment(inner.FlagsFragment() & wire.IPv4DontFragment)
	outer.SetTTL(inner.TTL())
	outer.SetProtocol(protoIPIP)
	binary.LittleEndian.PutUint64(outer[12:20], r.Addrs)
	outer.ComputeChecksum()
	return packet.Output
}

var blankHeader [wire.IPv4MinLen]byte
