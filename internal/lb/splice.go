package lb

import (
	"math/bits"

	"weir/internal/packet"
	"weir/internal/wire"
)

// splice replaces n bytes of a packet, from offset at on, by add. What lies in
// front moves, so that offsets up to at stay. It reports whether there was room.
func splice(p *packet.Packet, at, n int, add []byte) bool {
	switch grow := len(add) - n; {
	case grow > 0:
		if !p.Prepend(grow) {
			return false
		}
		copy(p.Data, p.Data[grow:grow+at])
	case grow < 0:
		copy(p.Data[-grow:], p.Data[:at])
		p.TrimFront(-grow)
	}
	copy(p.Data[at:], add)
	return true
}

// spliceData replaces the first n bytes of what a TCP segment or UDP datagram
// carries by add. Lengths and checksums follow, these by the difference, so that
// damage stays damage; who completes a partial checksum counts anew anyway. It
// reports whether there was room.
func spliceData(p *packet.Packet, n int, add []byte) bool {
	head := wire.UDPLen
	if p.Proto == protoTCP {
		head = wire.TCP(p.Data[p.L4:]).DataOffset()
	}
	l4 := p.Data[p.L4:]
	data := l4[head:]
	old, now := wire.Sum(data[:n], 0), wire.Sum(add, 0)
	if (n^len(add))&1 != 0 {
		// The rest moves to the other half of its words.
		rest := wire.Fold(wire.Sum(data[n:], 0))
		if n&1 != 0 {
			old, now = old+uint64(bits.ReverseBytes16(rest)), now+uint64(rest)
		} else {
			old, now = old+uint64(rest), now+uint64(bits.ReverseBytes16(rest))
		}
	}
	was := uint16(len(l4))
	if !splice(p, int(p.L4)+head, n, add) {
		return false
	}
	is := uint16(len(p.Data) - int(p.L4))
	if p.Proto == protoUDP {
		u := wire.UDP(p.Data[p.L4:])
		was = u.Length() // what lies behind the datagram is no part of it
		is = was + uint16(len(add)-n)
		u.SetLength(is)
		old, now = old+uint64(was), now+uint64(is)
	}
	tally(p, old+uint64(was), now+uint64(is)) // the pseudo-header's length
	lengthen(p, len(add)-n)
	return true
}

// tally replaces old by new, two sums over the same place, in the checksum of
// TCP or UDP (RFC 1624), unless it is partial or there is none.
func tally(p *packet.Packet, old, new uint64) {
	if p.Proto == protoTCP {
		retally(p, wire.TCP(p.Data[p.L4:]), old, new)
		return
	}
	u := wire.UDP(p.Data[p.L4:])
	if p.Is(packet.CsumPartial) || u.Checksum() == 0 {
		return
	}
	sum := ^wire.Fold(uint64(^u.Checksum()) + uint64(^wire.Fold(old)) + uint64(wire.Fold(new)))
	if sum == 0 {
		sum = 0xffff // RFC 768: 0 would say that there is none
	}
	u.SetChecksum(sum)
}

// copyHead makes a packet with p's headers, the first n bytes, that goes to the
// same place, with size bytes of memory behind them. It returns nil if there is
// no memory, or it does not fit a small frame.
func (b *Balancer) copyHead(p *packet.Packet, n, size int) *packet.Packet {
	if b.outbox.Full() {
		return nil
	}
	q := b.pool.Get()
	if q == nil {
		return nil
	}
	if !q.Resize(n + size) {
		b.pool.Put(q)
		return nil
	}
	copy(q.Data, p.Data[:n])
	q.L3, q.L4, q.In, q.EtherType, q.Proto = p.L3, p.L4, p.In, p.EtherType, p.Proto
	q.TCPFlags = p.TCPFlags
	q.Flags = packet.Ours
	return q
}
