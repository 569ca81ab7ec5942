package ip

import (
	"encoding/binary"

	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/wire"
)

// SCTP of both families. Its packets are Keyed like others, and never Plain: every
// one says by its chunks what becomes of its association, and a CRC over all of it
// has to follow its ports.

// keySCTP4 sets the key of an SCTP packet, which has a header and a chunk at least.
func (s *Stack) keySCTP4(p *packet.Packet, l4 []byte, src, dst uint32) packet.Verdict {
	if len(l4) < wire.SCTPMinLen {
		return p.DropFor(packet.L4Malformed)
	}
	p.Key0 = uint64(src) | uint64(dst)<<32
	p.Key1 = uint64(binary.LittleEndian.Uint32(l4[0:4])) | uint64(wire.ProtoSCTP)<<32
	p.Hash = flow.Hash(s.seed, p.Key0, p.Key1)
	p.Flags |= packet.Keyed
	s.openSCTP(p, l4)
	return packet.Continue
}

// keySCTP6 is keySCTP4 for IPv6.
func (s *Stack) keySCTP6(p *packet.Packet, h *[wire.IPv6Len]byte, l4 []byte) packet.Verdict {
	if len(l4) < wire.SCTPMinLen {
		return p.DropFor(packet.L4Malformed)
	}
	s.setKey6(p, h, uint64(binary.LittleEndian.Uint32(l4[0:4])))
	p.Flags |= packet.Keyed
	s.openSCTP(p, l4)
	return packet.Continue
}

// openSCTP notes a checksum that Linux left to its device: there is no pseudo-header
// whose sum it would hold, it is 0. One right checksum in 2^32 is 0 too, and is
// computed anew to the same effect.
func (s *Stack) openSCTP(p *packet.Packet, l4 []byte) {
	if s.rxPartial>>(p.In%port.Max)&1 != 0 && wire.SCTP(l4).Checksum() == 0 {
		p.Flags |= packet.CsumPartial
	}
}
