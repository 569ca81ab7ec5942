package worker

import (
	"weir/internal/flow"
	"weir/internal/lb/forward"
	"weir/internal/packet"
	"weir/internal/wire"
)

// The express of a TCP segment that may move its connection's state, or is to tell who the
// client is: it goes by the desk (lb.Turn) on its way. All else is as in express4 and express6,
// which hold nothing for it, so that they have all registers for the segments that are most:
// whatever the profile says that they are built by, turn4 and turn6 stay functions of their own.

// unsettled reports whether a packet of a half-flow with this Key1 is not for express4 and
// express6: it may change something, or leaves as another family's or in a tunnel.
func unsettled(p *packet.Packet, key1 uint64) bool {
	return key1&(flow.FlagFast|flow.FlagCross|flow.FlagTunnel) != flow.FlagFast || p.TCPFlags&tcpTurns != 0
}

// turn4 is express4 for such a segment.
//
//go:noinline
func (w *Worker) turn4(p *packet.Packet, way *wayOut, h *flow.Half, key1 uint64) bool {
	if p.Proto != wire.ProtoTCP || key1&(flow.FlagCross|flow.FlagTunnel) != 0 {
		return false
	}
	addrs, rest, hop, dest := h.Rewrite()
	if hop != way.ref && !w.head(way, hop) {
		return false
	}
	n := len(p.Data) - l3
	if !h.Same(key1) || p.Data[l3+8] <= 1 || n > way.mtu || !w.lb.Turn(p, h, key1, hop) {
		return false
	}
	w.lb.Note(h, key1, dest, n)
	r := forward.Rewritten{Addrs: addrs, Ports: uint32(rest), DeltaIP: uint16(rest >> 32), DeltaL4: uint16(rest >> 48)}
	r.Apply(p.Data[l3:], wire.IPv4MinLen, wire.ProtoTCP, p.Is(packet.CsumPartial))
	return true
}

// turn6 is turn4 for IPv6.
//
//go:noinline
func (w *Worker) turn6(p *packet.Packet, way *wayOut, wide *flow.Wide, key1 uint64) bool {
	if p.Proto != wire.ProtoTCP || key1&(flow.FlagCross|flow.FlagTunnel) != 0 {
		return false
	}
	h := &wide.Half
	_, rest, hop, dest := h.Rewrite()
	if hop != way.ref && !w.head(way, hop) {
		return false
	}
	src, dst := wide.LoadNew()
	n := len(p.Data) - l3
	if !h.Same(key1) || p.Data[l3+7] <= 1 || n > way.mtu || !w.lb.Turn(p, h, key1, hop) {
		return false
	}
	w.lb.Note(h, key1, dest, n)
	r := forward.Rewritten{Src: src, Dst: dst, Ports: uint32(rest), DeltaL4: uint16(rest >> 48)}
	r.Apply6(p.Data[l3:], wire.IPv6Len, wire.ProtoTCP, p.Is(packet.CsumPartial))
	w.count6(p)
	return true
}

// count6 counts a packet of IPv6 that leaves, unless it is finished first and counted there.
func (w *Worker) count6(p *packet.Packet) {
	if p.Flags&(packet.CsumPartial|packet.Cut) == 0 {
		w.stats.Out6++
		w.stats.Out6Bytes += uint64(len(p.Data) - l3)
	}
}
