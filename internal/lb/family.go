package lb

import (
	"weir/internal/flow"
	"weir/internal/lb/forward"
	"weir/internal/packet"
	"weir/internal/wire"
)

// IPv4 and IPv6 are twins: what a connection is about (tuples, services, real
// servers, what a half-flow gives) knows addresses of either family; what a packet
// looks like is asked here and where packets are changed.

// is6 reports whether a packet is IPv6 at the moment: some become the other family's.
func is6(p *packet.Packet) bool { return p.EtherType == wire.EtherTypeIPv6 }

// ends are the addresses that a packet bears.
func ends(p *packet.Packet) (src, dst flow.Addr) {
	if d := p.Data[p.L3:]; is6(p) {
		return flow.AddrAt(d[8:24]), flow.AddrAt(d[24:40])
	}
	return flow.V4(uint32(p.Key0)), flow.V4(uint32(p.Key0 >> 32))
}

// linkLocal reports whether an address is of one link alone: fe80::/10.
func linkLocal(a flow.Addr) bool { return a.Hi&0xc0ff == 0x80fe }

// find returns the half-flow of a packet.
func (b *Balancer) find(p *packet.Packet) (*flow.Half, uint64) {
	if !is6(p) {
		return b.flows.Find(p.Key0, p.Key1, p.Hash)
	}
	w, key1 := b.flows.FindWide(p.Key1, p.Hash, addrs6(p))
	if w == nil {
		return nil, 0
	}
	return &w.Half, key1
}

// addrs6 is where the addresses of an IPv6 packet lie.
func addrs6(p *packet.Packet) *[32]byte { return (*[32]byte)(p.Data[p.L3+8:]) }

// load copies what a half-flow does to packets. It is false when the half-flow is
// another's by now.
func (b *Balancer) load(h *flow.Half, key1 uint64, r *forward.Rewritten) (pub flow.Published, ok bool) {
	pub = h.Load()
	r.How = forward.HowOf(b.flows.Wide(h) != nil, key1)
	r.Addrs, r.Ports, r.DeltaIP, r.DeltaL4 = pub.Addrs, pub.Ports, pub.DeltaIP, pub.DeltaL4
	if r.How.Leaves6() {
		r.Src, r.Dst = b.flows.Gets(h, key1)
	}
	if !h.Same(key1) {
		return pub, false
	}
	if r.How == forward.In6 && r.Dst == (flow.Addr{}) {
		// An IPv4 half-flow has no room for them.
		r.Src, r.Dst = b.outer6(pub.Dest)
	}
	return pub, true
}

// become makes of a packet what its half-flow says.
func (b *Balancer) become(p *packet.Packet, r *forward.Rewritten) packet.Verdict {
	d, l4 := p.Data[p.L3:], int(p.L4-p.L3)
	switch r.How {
	case forward.Same4:
		r.Apply(d, l4, p.Proto, p.Is(packet.CsumPartial))
	case forward.Same6:
		r.Apply6(d, l4, p.Proto, p.Is(packet.CsumPartial))
	case forward.To4:
		return b.toIPv4(p, r.Addrs, r.Ports, r.DeltaIP, r.DeltaL4)
	case forward.To6:
		return toIPv6(p, r.Src, r.Dst, r.Ports, r.DeltaL4)
	default:
		return encapsulate(p, r)
	}
	return packet.Output
}

// longer is by how many bytes a packet grows on its way, or shrinks.
func longer(p *packet.Packet, how forward.How) int {
	switch how {
	case forward.To4:
		return wire.IPv4MinLen - int(p.L4-p.L3)
	case forward.To6:
		return wire.IPv6Len - int(p.L4-p.L3)
	case forward.In4:
		return wire.IPv4MinLen
	case forward.In6:
		return wire.IPv6Len
	default: // the rewrite in place
		return 0
	}
}

// lengthen makes the IP header say that its packet is n bytes longer.
func lengthen(p *packet.Packet, n int) {
	if is6(p) {
		ip := wire.IPv6(p.Data[p.L3:])
		ip.SetPayloadLength(ip.PayloadLength() + uint16(n))
		return
	}
	ip := wire.IPv4(p.Data[p.L3:])
	was := ip.TotalLength()
	ip.SetTotalLength(was + uint16(n))
	ip.SetChecksum(wire.Update16(ip.Checksum(), was, was+uint16(n)))
}

// completed makes a partial checksum a whole one: the packet is about to become
// what a device can't complete. It reports whether the packet had what it claims.
func completed(p *packet.Packet) bool {
	if !p.Is(packet.CsumPartial) {
		return true
	}
	p.Flags &^= packet.CsumPartial
	if is6(p) {
		return wire.CompleteL4Over6(wire.IPv6(p.Data[p.L3:]))
	}
	return wire.CompleteL4(wire.IPv4(p.Data[p.L3:]))
}

// measure makes the IP header of a packet that was made here say how long it is, and
// completes its checksums.
func measure(p *packet.Packet) {
	if is6(p) {
		ip := wire.IPv6(p.Data[p.L3:])
		ip.SetPayloadLength(uint16(len(ip) - wire.IPv6Len))
		wire.CompleteL4AtOver6(ip, int(p.L4-p.L3), p.Proto)
		return
	}
	ip := wire.IPv4(p.Data[p.L3:])
	ip.SetTotalLength(uint16(len(ip)))
	ip.ComputeChecksum()
	wire.CompleteL4At(ip, int(p.L4-p.L3), p.Proto)
}

// wirePort turns a port read little-endian from the wire into its number.
func wirePort(p uint16) uint16 { return p<<8 | p>>8 }
