package worker

import (
	"weir/internal/flow"
	"weir/internal/lb/forward"
	"weir/internal/packet"
	"weir/internal/wire"
)

// express6 is express4 for IPv6.
func (w *Worker) express6(p *packet.Packet, way *wayOut) bool {
	d := p.Data[l3:]
	wide, key1 := w.flows.Nearest(p.Hash)
	if addrs := (*[32]byte)(d[8:40]); !flow.Matches(key1, p.Key1) || !wide.Bears(addrs) {
		if wide, key1 = w.flows.FindWide(p.Key1, p.Hash, addrs); wide == nil {
			return false
		}
	}
	if key1&(flow.FlagFast|flow.FlagCross|flow.FlagTunnel) != flow.FlagFast {
		return false
	}
	h := &wide.Half
	pub := h.Load()
	if pub.NextHop != way.ref && !w.head(way, pub.NextHop) {
		return false
	}
	r := forward.Rewritten{Ports: pub.Ports, DeltaL4: pub.DeltaL4, How: forward.Same6}
	r.Src, r.Dst = wide.LoadNew()
	if !h.Same(key1) || d[7] <= 1 || len(d) > way.mtu {
		return false
	}
	w.lb.Note(h, key1, pub.Dest, len(d))
	if key1&flow.FlagReply != 0 && p.Proto == wire.ProtoTCP {
		w.lb.Remember(p, h, d)
	}
	r.Apply6(d, wire.IPv6Len, p.Proto, p.Flags&packet.CsumPartial != 0)
	if p.Flags&(packet.CsumPartial|packet.Cut) == 0 {
		w.stats.Out6++
		w.stats.Out6Bytes += uint64(len(d))
	}
	w.depart(p, way)
	return true
}
