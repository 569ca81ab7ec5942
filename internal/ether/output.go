package ether

import (
	"encoding/binary"
	"sync/atomic"

	"weir/internal/packet"
	"weir/internal/wire"
)

// Output writes the header toward p.NextHop, which is resolved, in front of the
// network header and sets Out. The ethertype follows the version of the IP
// header, which is what the receiver will read.
func (l *Link) Output(p *packet.Packet) packet.Verdict {
	if p.L3 != wire.EthernetLen && !moveL3(p) || len(p.Data) <= wire.EthernetLen {
		return p.DropFor(packet.WalkFault)
	}
	hop := l.hops.At(p.NextHop)
	h := (*[wire.EthernetLen + 1]byte)(p.Data)
	binary.LittleEndian.PutUint64(h[0:8], atomic.LoadUint64(&hop.DstSrc))
	binary.LittleEndian.PutUint32(h[8:12], hop.SrcRest)
	kind := leIPv4
	if h[wire.EthernetLen]>>4 == 6 {
		kind = leIPv6
	}
	binary.LittleEndian.PutUint16(h[12:14], kind)
	p.Out = hop.Port
	return packet.Transmit
}

// moveL3 makes the space in front of the network header exactly one Ethernet
// header: it came in with a longer one, or was made without. It reports whether
// the headroom was enough.
func moveL3(p *packet.Packet) bool {
	n := wire.EthernetLen - int(p.L3)
	if n < 0 {
		p.TrimFront(-n)
	} else if !p.Prepend(n) {
		return false
	}
	if p.L4 != 0 {
		p.L4 = uint16(int(p.L4) + n)
	}
	p.L3 = wire.EthernetLen
	return true
}
