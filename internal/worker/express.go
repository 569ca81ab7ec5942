package worker

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"

	"weir/internal/flow"
	"weir/internal/ip"
	"weir/internal/lb"
	"weir/internal/lb/forward"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/wire"
)

// The express is the whole walk of the packet that most packets are: a plain one of a
// connection that goes out as what it came in, to a neighbour that is there. It does in one
// piece what the stages do one after the other (and the XDP engine in the driver), at two
// thirds of their price: docs/performance.md. A packet that begins its connection, or moves
// its state, goes by the desk (lb.Meet, lb.Turn) on its way. Where a stage would do anything
// but pass the packet on, the express leaves it as it came, and the stages do it: they are
// what is right, and a test has both forward the same packets.

// stagesOnly is set by the test that compares the two.
var stagesOnly bool

// What a plain frame's words say, read little-endian.
const (
	leIPv4      = wire.EtherTypeIPv4>>8 | wire.EtherTypeIPv4&0xff<<8
	leIPv6      = wire.EtherTypeIPv6>>8 | wire.EtherTypeIPv6&0xff<<8
	ipv4Plain   = 0x45   // version 4, no options
	fragMaskLE  = 0xff3f // more fragments, and the offset
	tcpTurns    = 1<<0 | 1<<1 | 1<<2
	l3          = wire.EthernetLen
	l4          = l3 + wire.IPv4MinLen
	glanceBytes = l4 + wire.TCPMinLen
	keyed       = packet.Keyed | packet.Plain
)

// glance is arrive for a frame to this port's own address with nothing special about
// it. It reports false, and has changed nothing, if it is not sure of that.
func (w *Worker) glance(p *packet.Packet) bool {
	if len(p.Data) < glanceBytes || p.Flags&packet.GSO != 0 {
		return false
	}
	f := (*[glanceBytes]byte)(p.Data)
	own := w.ether.Own(p.In)
	dst, src := binary.LittleEndian.Uint64(f[0:8]), binary.LittleEndian.Uint64(f[6:14])
	if (dst^own)<<16 != 0 || (src^own)<<16 == 0 {
		return false
	}
	if kind := uint16(src >> 48); kind != leIPv4 {
		return kind == leIPv6 && w.glance6(p)
	}
	w0 := binary.LittleEndian.Uint64(f[l3 : l3+8])    // version, IHL, TOS, length, id, fragment
	w1 := binary.LittleEndian.Uint64(f[l3+8 : l3+16]) // TTL, protocol, checksum, source
	to := binary.LittleEndian.Uint32(f[l3+16 : l3+20])
	if byte(w0) != ipv4Plain || w0>>48&fragMaskLE != 0 {
		return false
	}
	sum, carry := bits.Add64(w0, w1, 0)
	sum, carry = bits.Add64(sum, uint64(to), carry)
	if wire.Fold(sum+carry) != 0xffff {
		return false
	}
	end := l3 + int(bits.ReverseBytes16(uint16(w0>>16)))
	if end > len(p.Data) || !ip.Usual4(uint8(w1>>32), uint8(to)) {
		return false
	}
	proto := uint8(w1 >> 8)
	switch proto {
	case wire.ProtoUDP:
		if n := int(binary.BigEndian.Uint16(f[l4+4 : l4+6])); n < wire.UDPLen || n > end-l4 {
			return false
		}
	case wire.ProtoTCP:
		if end < glanceBytes {
			return false
		}
		if n := l4 + int(f[l4+12]>>4)<<2; n != glanceBytes && (n < glanceBytes || n > end || !ip.UsualTCP(p.Data[l4:n])) {
			return false
		}
		p.TCPFlags = f[l4+13]
	default:
		return false
	}
	p.Data = p.Data[:end]
	k0 := w1>>32 | uint64(to)<<32
	k1 := uint64(binary.LittleEndian.Uint32(f[l4:l4+4])) | uint64(proto)<<32
	p.Key0, p.Key1, p.Hash = k0, k1, w.flows.Hash(k0, k1)
	p.L3, p.L4, p.EtherType, p.Proto = l3, l4, wire.EtherTypeIPv4, proto
	p.Verdict = packet.Continue
	p.Flags |= keyed
	w.ip.MarkPartial4(p)
	w.prefetch.Want(w.flows, k1, p.Hash)
	return true
}

// boards reports, as 1, whether a packet that arrived may take the express.
func boards(p *packet.Packet) uint64 {
	if p.Verdict == packet.Continue && p.Flags&(keyed|packet.GSO) == keyed && p.L3 == l3 {
		return 1
	}
	return 0
}

// wayOut is where the last packet of the express went, for the next ones mostly go there
// too: a next hop as it was in this burst.
type wayOut struct {
	ref     flow.NextHopRef
	srcRest uint32
	dstSrc  uint64
	mtu     int
	out     uint16
	tray    *trayOf
}

// head makes ref the way, and reports false if it needs a stage: the route has changed,
// or the neighbour is to be asked.
func (w *Worker) head(way *wayOut, ref flow.NextHopRef) bool {
	hop, current := w.flows.Hops.Current(ref)
	if !current || !w.neigh.Ready(hop) {
		return false
	}
	mtu := int(hop.MTU)
	if mtu == 0 {
		mtu = 1 << 16
	}
	*way = wayOut{ref, hop.SrcRest, atomic.LoadUint64(&hop.DstSrc), mtu, hop.Port, &w.trays[hop.Port%port.Max]}
	return true
}

// express4 takes a packet that boards through its connection, and finds the way out. It
// reports false, and has changed nothing, if the stages have to.
func (w *Worker) express4(p *packet.Packet, way *wayOut) bool {
	h, key1 := w.flows.Here(p.Hash)
	if !flow.Matches(key1, p.Key1) || !h.Bears(p.Key0) {
		if h, key1 = w.flows.Find(p.Key0, p.Key1, p.Hash); h == nil {
			if h, key1 = w.lb.Meet(p); h == nil {
				return false
			}
		}
	}
	if unsettled(p, key1) {
		return w.turn4(p, way, h, key1)
	}
	addrs, rest, hop, dest := h.Rewrite()
	if hop != way.ref && !w.head(way, hop) {
		return false
	}
	n := len(p.Data) - l3
	f := (*[glanceBytes]byte)(p.Data[:glanceBytes]) // a datagram may be shorter: its memory is not
	if !h.Same(key1) || f[l3+8] <= 1 || n > way.mtu {
		return false
	}
	w.lb.Note(h, key1, dest, n)
	f[l3+8]--
	ipSum := f[l3+10 : l3+12]
	binary.LittleEndian.PutUint16(ipSum, moved(binary.LittleEndian.Uint16(ipSum), uint16(rest>>32)))
	binary.LittleEndian.PutUint64(f[l3+12:l4], addrs)
	binary.LittleEndian.PutUint32(f[l4:l4+4], uint32(rest))
	partial := p.Flags&packet.CsumPartial != 0
	if p.Proto == wire.ProtoTCP {
		if key1&flow.FlagReply != 0 {
			t := f[l4:glanceBytes]
			lb.Advance(h, binary.BigEndian.Uint32(t[4:8])+uint32(len(p.Data)-l4-int(t[12]>>4)<<2), binary.BigEndian.Uint32(t[8:12]))
		}
		if sum := f[l4+16 : l4+18]; !partial {
			binary.LittleEndian.PutUint16(sum, moved(binary.LittleEndian.Uint16(sum), uint16(rest>>48)))
		}
	} else if sum := f[l4+6 : l4+8]; !partial && binary.LittleEndian.Uint16(sum) != 0 {
		binary.LittleEndian.PutUint16(sum, forward.Moved(binary.LittleEndian.Uint16(sum), uint16(rest>>48)))
	}
	return true
}

// moved is a checksum after what it covers changed by delta (RFC 1624, eqn 3).
func moved(sum, delta uint16) uint16 {
	s := uint32(^sum) + uint32(delta)
	return ^uint16(s + s>>16)
}
