package lb

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"

	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/wire"
)

const maxOptions = 40 // RFC 9293: a TCP header has at most 60 bytes

// addTOA tells the real server the client's address and port in an option right
// behind the fixed header. A client's own such option goes. Where there is no
// room, other options go first: NOPs, then all but the timestamp; where that
// does not help, the packet goes without, and is counted. It reports whether the
// option is in the packet.
func (b *Balancer) addTOA(p *packet.Packet, hop *flow.NextHop) bool {
	if p.Flags&(packet.Plain|packet.GSO|packet.Cut) == packet.Plain && b.putAhead(p, hop) {
		b.stats.TOASent++
		return true
	}
	for _, keep := range [...]func(kind uint8) bool{keepAll, keepUseful, keepTimestamp} {
		if b.tryTOA(p, hop, keep) {
			return true
		}
	}
	b.stats.TOAFailed++
	return false
}

// expectTold notes at the server's SYN-ACK where the client's bytes begin. When the server has
// acknowledged more than that it has a segment of the client's behind the SYN, and all of those
// carried the client's address.
func (b *Balancer) expectTold(c *flow.Conn, flags uint8, first uint32) {
	if flags&tcpACK == 0 {
		first = 0 // both ends began at once: nobody knows
	}
	atomic.StoreUint32(&b.flows.Half(atomic.LoadUint32(&c.In)).Seq, first)
}

// heard reports whether the server has acknowledged bytes of the client's, whose segment in hand
// begins at seq. Clients that upload hear nothing of the server but that, for as long as they
// like. The other half-flow, another processor's perhaps, is not looked at for the first bytes,
// which is all that most clients send before they are answered.
func (b *Balancer) heard(c *flow.Conn, h *flow.Half, seq uint32) bool {
	first := atomic.LoadUint32(&h.Seq)
	return first != 0 && int32(seq-first) > 0 && int32(atomic.LoadUint32(&b.flows.Half(atomic.LoadUint32(&c.Out)).Ack)-first) > 0
}

// putAhead puts the option into a segment that has none but usual ones, all of which stay:
// what tryTOA does first, of which nearly every segment is.
func (b *Balancer) putAhead(p *packet.Packet, hop *flow.NextHop) bool {
	n := wire.OptTOA4Len
	if !b.src.Is4() {
		n = wire.OptTOA6Len
	}
	had, room := wire.TCP(p.Data[p.L4:]).DataOffset()-wire.TCPMinLen, maxOptions
	if hop.MTU != 0 {
		room = min(room, int(hop.MTU)-(len(p.Data)-int(p.L3))+had)
	}
	if had+n > room || !p.Prepend(n) {
		return false
	}
	at := int(p.L4) + wire.TCPMinLen
	copy(p.Data, p.Data[n:n+at])
	// What the checksum covers grows by the option, the header's length in words, and the
	// pseudo-header's; all words here are read little-endian.
	sum := uint64(bits.ReverseBytes16(uint16(n<<10 + n)))
	if n == wire.OptTOA4Len {
		option := uint64(wire.OptTOA) | wire.OptTOA4Len<<8 | p.Key1&0xffff<<16 | uint64(b.src.V4())<<32
		binary.LittleEndian.PutUint64(p.Data[at:], option)
		sum += option&(1<<32-1) + option>>32
	} else {
		wire.PutTOA6(p.Data[at:], wirePort(uint16(p.Key1)), b.src.IP().As16())
		sum += uint64(bits.ReverseBytes16(wire.Fold(wire.Sum(p.Data[at:at+n], 0))))
	}
	t := (*[wire.TCPMinLen]byte)(p.Data[p.L4:])
	t[12] += uint8(n << 2)
	if !p.Is(packet.CsumPartial) {
		was := binary.LittleEndian.Uint16(t[16:18])
		binary.LittleEndian.PutUint16(t[16:18], ^wire.Fold(uint64(^was)+sum))
	}
	lengthen(p, n)
	return true
}

// tellInSYN puts the client's address into a SYN that has a Fast Open cookie: the
// real server may hand the connection to its program with that segment. Without
// room the cookie goes, and the connection begins as others do; the data beside
// it will come again.
func (b *Balancer) tellInSYN(p *packet.Packet, t wire.TCP, hop *flow.NextHop) bool {
	o, ok := wire.FindOption(t.Options(), wire.OptFastOpen)
	if !ok || len(o.Value()) == 0 {
		return false
	}
	if b.tryTOA(p, hop, keepAll) || b.tryTOA(p, hop, keepUseful) {
		return true
	}
	blank(p, t, wire.OptFastOpen)
	return false
}

// tryTOA puts the option into a segment if it fits with the options that keep
// wants.
func (b *Balancer) tryTOA(p *packet.Packet, hop *flow.NextHop, keep func(kind uint8) bool) bool {
	t := wire.TCP(p.Data[p.L4:])
	var opts [maxOptions]byte
	toa := b.putTOA(&opts, wirePort(uint16(p.Key1)))
	room := maxOptions
	if p.Flags&(packet.GSO|packet.Cut) == 0 && hop.MTU != 0 {
		room = min(room, int(hop.MTU)-(len(p.Data)-int(p.L3))+t.DataOffset()-20)
	}
	n, ok := gather(&opts, toa, t.Options(), keep)
	if !ok || n > room {
		return false
	}
	_, claimed := wire.FindOption(t.Options(), wire.OptTOA)
	if !setOptions(p, opts[:n]) {
		return false
	}
	if claimed {
		b.stats.ClaimsTaken++
	}
	b.stats.TOASent++
	return true
}

// putTOA writes the option for the client of the packet in hand, and returns how
// long it is.
func (b *Balancer) putTOA(into *[maxOptions]byte, port uint16) int {
	if b.src.Is4() {
		wire.PutTOA4(into[:], port, b.src.IP().As4())
		return wire.OptTOA4Len
	}
	wire.PutTOA6(into[:], port, b.src.IP().As16())
	return wire.OptTOA6Len
}

func keepAll(kind uint8) bool       { return kind != wire.OptTOA }
func keepUseful(kind uint8) bool    { return kind != wire.OptTOA && kind != wire.OptNOP }
func keepTimestamp(kind uint8) bool { return kind == wire.OptTimestamp }

// gather appends the options that keep wants behind the first n bytes of into,
// padded with NOPs to a multiple of 4. It returns the length, or false when
// they don't fit.
func gather(into *[maxOptions]byte, n int, from []byte, keep func(kind uint8) bool) (int, bool) {
	for o, rest, ok := wire.NextOption(from); ok; o, rest, ok = wire.NextOption(rest) {
		if !keep(o.Kind) {
			continue
		}
		if n+len(o.Raw) > maxOptions {
			return 0, false
		}
		n += copy(into[n:], o.Raw)
	}
	for ; n&3 != 0; n++ {
		into[n] = wire.OptNOP
	}
	return n, true
}
