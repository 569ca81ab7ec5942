package ip

import (
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/wire"
)

// MaxSegments is the most packets that one GSO frame may become here: 64 KiB in
// segments of 536 bytes, the smallest MSS anyone should use, are 123.
const MaxSegments = 128

// FinishChecksum makes the L4 checksum of a packet what its port wants, just
// before it is sent: complete, or for a port that completes it itself the
// pseudo-header's sum of the addresses it has now; that of SCTP is a CRC, which no
// port completes. It reports false for a packet
// that claims an open checksum and has none that can be completed (L4Malformed).
// GSO frames that the port can't segment go through Segment instead.
func (s *Stack) FinishChecksum(p *packet.Packet, out *port.Facts) bool {
	if p.Flags&packet.CsumPartial == 0 {
		return true
	}
	d := p.Data[innerL3(p):]
	if out.TxCsum && !p.Is(packet.Encapsulated) && partial(d) {
		return true
	}
	if !complete(d) {
		return false
	}
	p.Flags &^= packet.CsumPartial
	s.stats.CsumCompleted++
	return true
}

// partial and complete set the transport checksum of a packet of either family.
func partial(ip []byte) bool {
	if isIPv6(ip) {
		return wire.PartialL4Over6(ip)
	}
	return wire.PartialL4(ip)
}

func complete(ip []byte) bool {
	if isIPv6(ip) {
		return wire.CompleteL4Over6(ip)
	}
	return wire.CompleteL4(ip)
}

// Segment cuts a GSO frame of TCP (GSOTCPv4, GSOTCPv6) or UDP (GSOUDPL4) into packets with
// complete checksums, made from pool, and puts them into out. All that p knew,
// its link header too, they know as well. p stays the caller's, to be put back.
//
// It reports false, having made nothing and set p.Reason, when the frame can't
// be cut (IPGSONoOffload: another type, headers that lie, more than
// len(out) pieces or a piece larger than a frame) or memory ran out (PoolEmpty).
func (s *Stack) Segment(p *packet.Packet, pool *packet.Pool, out []*packet.Packet) (n int, ok bool) {
	c, ok := newCut(p)
	if !ok || c.pieces() > len(out) {
		p.Reason = packet.IPGSONoOffload
		return 0, false
	}
	for i := range c.pieces() {
		g := pool.Get()
		if g != nil && !g.Resize(c.head+c.size) {
			// Jumbo segments don't fit a small frame.
			pool.Put(g)
			if g = pool.GetBig(); g != nil && !g.Resize(c.head+c.size) {
				pool.Put(g)
				g = nil
			}
		}
		if g == nil {
			for _, made := range out[:i] {
				pool.Put(made)
			}
			p.Reason = packet.PoolEmpty
			return 0, false
		}
		c.fill(g, i)
		out[i] = g
	}
	s.stats.GSOSegmented++
	return c.pieces(), true
}
