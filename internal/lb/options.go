package lb

import (
	"encoding/binary"
	"math/bits"

	"weir/internal/packet"
	"weir/internal/wire"
)

// Edits of TCP headers. Each keeps the checksum right by the difference (RFC
// 1624), unless it is partial: then whoever sends the packet completes it.

// retally replaces old by new, two sums over the same place, in the checksum.
func retally(p *packet.Packet, t wire.TCP, old, new uint64) {
	if p.Is(packet.CsumPartial) {
		return
	}
	acc := uint64(^t.Checksum()) + uint64(^wire.Fold(old)) + uint64(wire.Fold(new))
	t.SetChecksum(^wire.Fold(acc))
}

// shiftSeq adds delta to the sequence number.
func shiftSeq(p *packet.Packet, t wire.TCP, delta uint32) {
	old := wire.Sum(t[4:8], 0)
	t.SetSeq(t.Seq() + delta)
	retally(p, t, old, wire.Sum(t[4:8], 0))
}

// shiftAck takes the acknowledgement and the edges of SACK blocks (RFC 2018)
// back to the numbers of the client's stream.
func shiftAck(p *packet.Packet, t wire.TCP, m *stream) {
	head := t[:t.DataOffset()]
	old := wire.Sum(head[8:12], wire.Sum(head[20:], 0))
	if t.Flags()&tcpACK != 0 {
		t.SetAck(m.toClient(t.Ack()))
	}
	for o, rest, ok := wire.NextOption(t.Options()); ok; o, rest, ok = wire.NextOption(rest) {
		if o.Kind != wire.OptSACK {
			continue
		}
		for v := o.Value(); len(v) >= 4; v = v[4:] {
			binary.BigEndian.PutUint32(v, m.toClient(binary.BigEndian.Uint32(v)))
		}
	}
	retally(p, t, old, wire.Sum(head[8:12], wire.Sum(head[20:], 0)))
}

// lowerMSS makes the sender of the other side leave room for n bytes of option.
func lowerMSS(p *packet.Packet, t wire.TCP, n uint16) {
	options := t.Options()
	o, rest, ok := wire.NextOption(options)
	for ok && o.Kind != wire.OptMSS {
		o, rest, ok = wire.NextOption(rest)
	}
	if !ok || len(o.Raw) != wire.OptMSSLen {
		return
	}
	mss := binary.BigEndian.Uint16(o.Raw[2:4])
	if mss <= 2*n { // no sane value: leave it to the ends
		return
	}
	binary.BigEndian.PutUint16(o.Raw[2:4], mss-n)
	old, now := mss, mss-n
	if (len(options)-len(rest))&1 != 0 { // it lies across two words
		old, now = bits.ReverseBytes16(old), bits.ReverseBytes16(now)
	}
	retally(p, t, uint64(old), uint64(now))
}

// blankTimestamp takes the timestamp option out of a SYN, so that neither side
// uses it: the real server may remember another clock under this local port
// (PAWS, RFC 7323 section 5).
func blankTimestamp(p *packet.Packet, t wire.TCP) { blank(p, t, wire.OptTimestamp) }

// blankTOA takes a client's own claim of an address out, and reports whether
// there was one.
func blankTOA(p *packet.Packet, t wire.TCP) bool { return blank(p, t, wire.OptTOA) }

// blank overwrites all options of a kind with NOPs.
func blank(p *packet.Packet, t wire.TCP, kind uint8) (found bool) {
	for o, rest, ok := wire.NextOption(t.Options()); ok; o, rest, ok = wire.NextOption(rest) {
		if o.Kind != kind {
			continue
		}
		head := t[:t.DataOffset()]
		old := wire.Sum(head[20:], 0)
		o.Blank()
		retally(p, t, old, wire.Sum(head[20:], 0))
		found = true
	}
	return found
}

// setOptions replaces a segment's TCP options by opts, whose length is a
// multiple of 4 up to 40, and reports whether the packet's memory had room.
// What lies in front moves; offsets stay.
func setOptions(p *packet.Packet, opts []byte) bool {
	t := wire.TCP(p.Data[p.L4:])
	had := t.DataOffset() - 20
	old := wire.Sum(t[12:14], wire.Sum(t[20:20+had], 0))
	segment := len(t)
	if !splice(p, int(p.L4)+20, had, opts) {
		return false
	}
	grow := len(opts) - had
	t = wire.TCP(p.Data[p.L4:])
	t.SetDataOffset(20 + len(opts))
	sum := wire.Sum(t[12:14], wire.Sum(t[20:20+len(opts)], 0))
	// The pseudo-header's length changes as well.
	retally(p, t, old+uint64(uint16(segment)), sum+uint64(uint16(segment+grow)))
	lengthen(p, grow)
	return true
}
