package ip

import (
	"encoding/binary"
	"math/bits"

	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/wire"
)

// The header's words are read whole, little-endian, and taken apart in
// registers; these are the places in them.
const (
	fragMaskLE = 0xff3f // more fragments and offset, in a little-endian load of that word
	ipv4Plain  = 0x45   // version 4, no options
)

// badSource has a bit for every first byte that no source address has: 0
// ("this network"), 127 (loopback), 224-239 (multicast) and 255 (broadcast). See
// RFC 1812, 5.3.7, and RFC 6890; 240-254 are reserved, but clouds use them.
var badSource = [4]uint64{1 << 0, 1 << 63, 0, 0xffff<<32 | 1<<63}

// Input4 validates an IPv4 packet (RFC 1812, 5.2.2 and 5.3.7) and prepares it
// for those who come next: Data ends with the packet (padding goes), L4 and
// Proto are set, and a TCP, UDP or SCTP packet that is no fragment gets Keyed, its
// key words, Hash and TCPFlags, and Plain if no option asks for a closer look. A
// fragment is for Join4.
func (s *Stack) Input4(p *packet.Packet) packet.Verdict {
	off := int(p.L3)
	if len(p.Data) < off+wire.IPv4MinLen {
		return p.DropFor(packet.IPHeader)
	}
	d := p.Data[off:]
	h := (*[wire.IPv4MinLen]byte)(d)
	w0 := binary.LittleEndian.Uint64(h[0:8])  // version, IHL, TOS, length, id, fragment
	w1 := binary.LittleEndian.Uint64(h[8:16]) // TTL, protocol, checksum, source
	dst := binary.LittleEndian.Uint32(h[16:20])

	if byte(w0) != ipv4Plain {
		return s.options4(p)
	}
	// Right iff the ones'-complement sum is all ones, in either byte order.
	sum, carry := bits.Add64(w0, w1, 0)
	sum, carry = bits.Add64(sum, uint64(dst), carry)
	if wire.Fold(sum+carry) != 0xffff {
		return p.DropFor(packet.IPChecksum)
	}
	length := int(bits.ReverseBytes16(uint16(w0 >> 16)))
	if length < wire.IPv4MinLen || length > len(d) {
		return p.DropFor(packet.IPHeader)
	}
	if length < len(d) {
		p.Resize(off + length)
		d = p.Data[off:]
	}
	src := uint32(w1 >> 32)
	if v := s.addresses4(p, src, dst); v != packet.Continue {
		return v
	}
	p.Proto = uint8(w1 >> 8)
	p.L4 = uint16(off + wire.IPv4MinLen)
	if uint16(w0>>48)&fragMaskLE != 0 {
		return s.fragment(p)
	}
	return s.key4(p, d[wire.IPv4MinLen:], src, dst)
}

// options4 is Input4 for headers with options.
func (s *Stack) options4(p *packet.Packet) packet.Verdict {
	off := int(p.L3)
	ip := wire.IPv4(p.Data[off:])
	hlen := ip.HeaderLength()
	switch {
	case ip.Version() != 4:
		return p.DropFor(packet.IPVersion)
	case hlen < wire.IPv4MinLen || hlen > len(ip):
		return p.DropFor(packet.IPHeader)
	case !ip.ChecksumOK():
		return p.DropFor(packet.IPChecksum)
	}
	length := int(ip.TotalLength())
	if length < hlen || length > len(ip) {
		return p.DropFor(packet.IPHeader)
	}
	p.Resize(off + length)
	a, b := ip.Src(), ip.Dst()
	src, dst := binary.LittleEndian.Uint32(a[:]), binary.LittleEndian.Uint32(b[:])
	if v := s.addresses4(p, src, dst); v != packet.Continue {
		return v
	}
	p.Proto = ip.Protocol()
	p.L4 = uint16(off + hlen)
	if ip.IsFragment() {
		return s.fragment(p)
	}
	v := s.key4(p, p.Data[p.L4:], src, dst)
	p.Flags &^= packet.Plain
	return v
}

// addresses4 drops what has addresses that can't be, both as on the wire.
func (s *Stack) addresses4(p *packet.Packet, src, dst uint32) packet.Verdict {
	if badSource[uint8(src)>>6]>>(uint8(src)&63)&1 != 0 {
		if src == 0 && p.Flags&(packet.Broadcast|packet.Multicast) != 0 {
			return p.PuntIf(s.twin(p), packet.IPSource) // who has no address yet asks all (DHCP, IGMP)
		}
		return p.DropFor(packet.IPSource)
	}
	if first := uint8(dst); first == 127 || first == 0 {
		return p.DropFor(packet.IPDestination)
	}
	if p.Flags&(packet.Broadcast|packet.Multicast) != 0 {
		// To a group: nobody here wants those, and a datagram to one machine
		// must not come in such a frame (RFC 1122, 3.3.6).
		return p.PuntIf(s.twin(p), packet.IPMulticast)
	}
	return packet.Continue
}

// Usual4 reports whether addresses with these first bytes are nothing special, of a
// packet in a frame to this port alone: those that addresses4 lets pass.
func Usual4(src, dst uint8) bool {
	return badSource[src>>6]>>(src&63)&1 == 0 && dst != 127 && dst != 0
}

// MarkPartial4 looks whether a Keyed TCP or UDP packet without IP options has only its
// pseudo-header's sum, if its port may deliver such.
func (s *Stack) MarkPartial4(p *packet.Packet) {
	if s.rxPartial>>(p.In%port.Max)&1 != 0 {
		s.markPartial4(p)
	}
}

func (s *Stack) markPartial4(p *packet.Packet) {
	l4 := p.Data[p.L4:]
	at := 16
	if p.Proto == wire.ProtoUDP {
		at = 6
		l4 = l4[:binary.BigEndian.Uint16(l4[4:6])]
	}
	pseudo := uint64(uint32(p.Key0)) + p.Key0>>32 + uint64(p.Proto)<<8 + uint64(bits.ReverseBytes16(uint16(len(l4))))
	if wire.Fold(pseudo) == binary.LittleEndian.Uint16(l4[at:at+2]) {
		p.Flags |= packet.CsumPartial
	}
}

// keyEcho4 sets the key of an ICMP echo: the id is the port of who asks, and the
// other's is 0. Other ICMP has none.
func (s *Stack) keyEcho4(p *packet.Packet, m []byte, src, dst uint32) packet.Verdict {
	if len(m) < wire.ICMPv4Len || m[1] != 0 {
		return packet.Continue
	}
	id := uint64(binary.LittleEndian.Uint16(m[4:6]))
	switch m[0] {
	case wire.ICMPv4EchoRequest:
	case wire.ICMPv4EchoReply:
		id <<= 16
	default:
		return packet.Continue
	}
	p.Key0 = uint64(src) | uint64(dst)<<32
	p.Key1 = id | uint64(wire.ProtoICMP)<<32
	p.Hash = flow.Hash(s.seed, p.Key0, p.Key1)
	p.Flags |= packet.Keyed
	return packet.Continue
}

// UsualTCP reports whether a TCP header, which is longer than the shortest, has only
// usual options.
func UsualTCP(h []byte) bool { return usual(h) }

// usual reports whether a TCP header has only the options that established
// connections use, as everybody lays them out (RFC 7323, appendix A): a
// timestamp, and then SACK blocks; or those that a SYN has. Any other list may hold an
// address that the client claims to have (TOA).
func usual(h []byte) bool {
	if h[13]&wire.TCPSyn != 0 {
		return usualSYN(h[wire.TCPMinLen:])
	}
	const (
		timestamp = 0x0a080101 // NOP, NOP, kind 8, length 10, read little-endian
		sack      = 0x00050101 // NOP, NOP, kind 5
	)
	if len(h) < 32 || binary.LittleEndian.Uint32(h[20:24]) != timestamp {
		return false
	}
	if len(h) == 32 {
		return true
	}
	return binary.LittleEndian.Uint32(h[32:36])&0xffffff == sack && int(h[35]) == len(h)-34
}

// synOptions are the lengths of what the two ends of a connection agree on in their SYNs
// (RFC 9293, 3.2; RFC 2018; RFC 7323).
var synOptions = [16]uint8{
	wire.OptMSS: wire.OptMSSLen, wire.OptWScale: wire.OptWScaleLen, wire.OptSACKPermitted: 2, wire.OptTimestamp: wire.OptTimestampLen,
}

// usualSYN reports whether these are all options there are, in whichever order.
func usualSYN(o []byte) bool {
	if len(o) == 20 {
		const (
			most   = 0x0a08_0204_0000_0402 // segment size, SACK permitted, timestamp, ...
			window = 0x0003_0301           // ... NOP, window scale: those of Linux
		)
		if binary.LittleEndian.Uint64(o)&^0xffff_0000 == most && binary.LittleEndian.Uint32(o[16:])&0xffffff == window {
			return true
		}
	}
	for len(o) > 0 && o[0] != wire.OptEnd {
		n := 1
		if o[0] != wire.OptNOP {
			if len(o) < 2 || o[1] == 0 || o[1] != synOptions[o[0]%16] || o[0] >= 16 || int(o[1]) > len(o) {
				return false
			}
			n = int(o[1])
		}
		o = o[n:]
	}
	return true
}

// key4 checks the transport header, which l4 begins with, and sets the key.
func (s *Stack) key4(p *packet.Packet, l4 []byte, src, dst uint32) packet.Verdict {
	var sum uint16 // the checksum field as on the wire
	flags := packet.Keyed | packet.Plain
	switch p.Proto {
	case wire.ProtoTCP:
		if len(l4) < wire.TCPMinLen {
			return p.DropFor(packet.L4Malformed)
		}
		h := (*[wire.TCPMinLen]byte)(l4)
		n := int(h[12]>>4) << 2
		if n < wire.TCPMinLen || n > len(l4) {
			return p.DropFor(packet.L4Malformed)
		}
		if n != wire.TCPMinLen && !usual(l4[:n]) {
			flags = packet.Keyed
		}
		p.TCPFlags = h[13]
		sum = binary.LittleEndian.Uint16(h[16:18])
	case wire.ProtoUDP:
		if len(l4) < wire.UDPLen {
			return p.DropFor(packet.L4Malformed)
		}
		h := (*[wire.UDPLen]byte)(l4)
		n := int(binary.BigEndian.Uint16(h[4:6]))
		if n < wire.UDPLen || n > len(l4) {
			return p.DropFor(packet.L4Malformed)
		}
		sum = binary.LittleEndian.Uint16(h[6:8])
		l4 = l4[:n]
	case wire.ProtoSCTP:
		return s.keySCTP4(p, l4, src, dst)
	case wire.ProtoICMP:
		return s.keyEcho4(p, l4, src, dst)
	case wire.ProtoOSPF:
		return s.ospf(p)
	case wire.ProtoIPIP, wire.ProtoIPv6, wire.ProtoGRE:
		return s.carrier()
	default:
		return packet.Continue
	}
	p.Key0 = uint64(src) | uint64(dst)<<32
	p.Key1 = uint64(binary.LittleEndian.Uint32(l4[0:4])) | uint64(p.Proto)<<32
	p.Hash = flow.Hash(s.seed, p.Key0, p.Key1)
	p.Flags |= flags
	if s.rxPartial>>(p.In%port.Max)&1 != 0 {
		pseudo := uint64(src) + uint64(dst) + uint64(p.Proto)<<8 + uint64(bits.ReverseBytes16(uint16(len(l4))))
		if wire.Fold(pseudo) == sum {
			p.Flags |= packet.CsumPartial
		}
	}
	return packet.Continue
}
