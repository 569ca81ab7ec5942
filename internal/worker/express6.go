package worker

import (
	"encoding/binary"

	"weir/internal/flow"
	"weir/internal/ip"
	"weir/internal/lb"
	"weir/internal/lb/forward"
	"weir/internal/packet"
	"weir/internal/wire"
)

// Where things are in a plain IPv6 frame.
const (
	l46          = l3 + wire.IPv6Len
	glanceBytes6 = l46 + wire.UDPLen
	tcpBytes6    = l46 + wire.TCPMinLen
)

// glance6 is glance for what is an IPv6 packet to this port's own address.
func (w *Worker) glance6(p *packet.Packet) bool {
	if len(p.Data) < glanceBytes6 {
		return false
	}
	f := (*[glanceBytes6]byte)(p.Data)
	end := l46 + int(binary.BigEndian.Uint16(f[l3+4:l3+6]))
	// Whatever address is special begins with 0 or 255.
	if f[l3]>>4 != 6 || end > len(p.Data) || f[l3+8]-1 >= 0xfe || f[l3+24]-1 >= 0xfe {
		return false
	}
	proto := f[l3+6]
	switch proto {
	case wire.ProtoUDP:
		n := int(binary.BigEndian.Uint16(f[l46+4 : l46+6]))
		if n < wire.UDPLen || n > end-l46 || f[l46+6]|f[l46+7] == 0 { // RFC 8200, 8.1
			return false
		}
	case wire.ProtoTCP:
		if end < tcpBytes6 {
			return false
		}
		t := (*[wire.TCPMinLen]byte)(p.Data[l46:])
		if n := l46 + int(t[12]>>4)<<2; n != tcpBytes6 && (n < tcpBytes6 || n > end || !ip.UsualTCP(p.Data[l46:n])) {
			return false
		}
		p.TCPFlags = t[13]
	default:
		return false
	}
	w.stats.In6++
	w.stats.In6Bytes += uint64(len(p.Data) - l3)
	p.Data = p.Data[:end]
	k0 := w.fold.Src((*[16]byte)(f[l3+8:l3+24])) + w.fold.Dst((*[16]byte)(f[l3+24:l46]))
	k1 := uint64(binary.LittleEndian.Uint32(f[l46:l46+4])) | uint64(proto)<<32
	p.Key0, p.Key1, p.Hash = k0, k1, w.flows.Hash(k0, k1)
	p.L3, p.L4, p.EtherType, p.Proto = l3, l46, wire.EtherTypeIPv6, proto
	p.Verdict = packet.Continue
	p.Flags |= keyed
	w.ip.MarkPartial6(p)
	w.prefetch.WantWide(w.flows, p.Hash)
	return true
}

// express6 is express4 for IPv6.
func (w *Worker) express6(p *packet.Packet, way *wayOut) bool {
	f := (*[glanceBytes6]byte)(p.Data)
	wide, key1 := w.flows.Nearest(p.Hash)
	if addrs := (*[32]byte)(f[l3+8 : l46]); !flow.Matches(key1, p.Key1) || !wide.Bears(addrs) {
		if wide, key1 = w.flows.FindWide(p.Key1, p.Hash, addrs); wide == nil {
			var h *flow.Half
			if h, key1 = w.lb.Meet(p); h == nil {
				return false
			}
			wide = w.flows.Wide(h)
		}
	}
	if unsettled(p, key1) {
		return w.turn6(p, way, wide, key1)
	}
	h := &wide.Half
	_, rest, hop, dest := h.Rewrite()
	if hop != way.ref && !w.head(way, hop) {
		return false
	}
	src, dst := wide.LoadNew()
	n := len(p.Data) - l3
	if !h.Same(key1) || f[l3+7] <= 1 || n > way.mtu {
		return false
	}
	w.lb.Note(h, key1, dest, n)
	f[l3+7]--
	binary.LittleEndian.PutUint64(f[l3+8:l3+16], src.Hi)
	binary.LittleEndian.PutUint64(f[l3+16:l3+24], src.Lo)
	binary.LittleEndian.PutUint64(f[l3+24:l3+32], dst.Hi)
	binary.LittleEndian.PutUint64(f[l3+32:l46], dst.Lo)
	binary.LittleEndian.PutUint32(f[l46:l46+4], uint32(rest))
	partial := p.Flags&packet.CsumPartial != 0
	if p.Proto == wire.ProtoTCP {
		t := (*[wire.TCPMinLen]byte)(p.Data[l46:])
		if key1&flow.FlagReply != 0 {
			lb.Advance(h, binary.BigEndian.Uint32(t[4:8])+uint32(len(p.Data)-l46-int(t[12]>>4)<<2), binary.BigEndian.Uint32(t[8:12]))
		}
		if !partial {
			binary.LittleEndian.PutUint16(t[16:18], moved(binary.LittleEndian.Uint16(t[16:18]), uint16(rest>>48)))
		}
	} else if sum := f[l46+6 : l46+8]; !partial {
		binary.LittleEndian.PutUint16(sum, forward.Moved(binary.LittleEndian.Uint16(sum), uint16(rest>>48)))
	}
	w.count6(p)
	return true
}
