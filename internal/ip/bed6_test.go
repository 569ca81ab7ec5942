package ip

import (
	"net/netip"

	"weir/internal/packet"
	"weir/internal/wire"
)

// made6 is an IPv6 packet as a test says it.
type made6 struct {
	src, dst netip.Addr
	ext      []ext6 // extension headers in front of l4
	proto    uint8
	l4       []byte // header and data; UDP lengths and all checksums are filled in
	hops     uint8  // 0: 64
	padding  int    // bytes behind the packet
	flags    packet.Flags
	spoil    func(ip wire.IPv6) // after everything
	partial  bool               // L4 checksum
	gsoType  uint8
	gsoSize  uint16
	beyond   int // cut the frame so long after the link header; 0: not
}

// ext6 is an extension header; its first byte, what follows it, is filled in.
type ext6 struct {
	kind uint8
	body []byte
}

var (
	hop6    = ext6{wire.NextHopByHop, []byte{0, 0, 1, 4, 0, 0, 0, 0}}
	dest6   = ext6{wire.NextDestination, []byte{0, 0, 1, 4, 0, 0, 0, 0}}
	atomic6 = frag6(0, false, 7)
)

func routing6(kind, left uint8) ext6 {
	return ext6{wire.NextRouting, []byte{0, 0, kind, left, 0, 0, 0, 0}}
}

func frag6(off int, more bool, id uint32) ext6 {
	b := make([]byte, wire.IPv6FragmentLen)
	wire.IPv6Fragment(b).Put(0, uint16(off), more, id)
	return ext6{wire.NextFragment, b}
}

// bytes6 is the packet alone. Checksums are of a whole packet, whatever fragment
// header is in it.
func bytes6(m made6) wire.IPv6 {
	ip := make(wire.IPv6, wire.IPv6Len)
	ip.SetVersionClassFlow(0, 0)
	ip.SetHopLimit(m.hops)
	if m.hops == 0 {
		ip.SetHopLimit(64)
	}
	ip.SetSrc(m.src.As16())
	ip.SetDst(m.dst.As16())
	at := 6
	for _, e := range m.ext {
		ip[at] = e.kind
		at = len(ip)
		ip = append(ip, e.body...)
	}
	ip[at] = m.proto
	start := len(ip)
	ip = append(ip, m.l4...)
	ip.SetPayloadLength(uint16(len(ip) - wire.IPv6Len))
	l4 := ip[start:]
	pseudo := wire.PseudoSum6(ip.Src(), ip.Dst(), m.proto, uint32(len(l4)))
	field := map[uint8]int{wire.ProtoTCP: 16, wire.ProtoUDP: 6, wire.ProtoICMPv6: 2}[m.proto]
	if field != 0 && len(l4) >= field+2 {
		if m.proto == wire.ProtoUDP {
			wire.UDP(l4).SetLength(uint16(len(l4)))
		}
		l4[field], l4[field+1] = 0, 0
		sum := wire.Checksum(l4, pseudo)
		if m.partial {
			sum = wire.Fold(pseudo)
		}
		if sum == 0 {
			sum = 0xffff
		}
		l4[field], l4[field+1] = byte(sum>>8), byte(sum)
	}
	if m.spoil != nil {
		m.spoil(ip)
	}
	return ip
}

// packet6 makes it, on a big frame if it must, as ether.Input leaves it.
func (b *bed) packet6(m made6) *packet.Packet {
	ip := bytes6(m)
	p := b.room(wire.EthernetLen + len(ip) + m.padding)
	if p == nil {
		b.t.Fatalf("no memory for a test packet of %d bytes", len(ip))
	}
	clear(p.Data)
	e := wire.Ethernet(p.Data)
	e.SetDestination(mac0)
	e.SetSource(macX)
	e.SetEtherType(wire.EtherTypeIPv6)
	copy(p.Data[wire.EthernetLen:], ip)
	p.L3, p.EtherType, p.Flags = wire.EthernetLen, wire.EtherTypeIPv6, m.flags
	p.GSOType, p.GSOSize = m.gsoType, m.gsoSize
	if m.gsoSize != 0 {
		p.Flags |= packet.GSO
	}
	if m.beyond != 0 {
		p.Resize(wire.EthernetLen + m.beyond)
	}
	return p
}

func icmp6(kind, code uint8, data string) []byte { return icmp(kind, code, data) }

// nd6 is a neighbour solicitation or advertisement, as far as this package looks.
func nd6(kind uint8) []byte { return icmp(kind, 0, string(make([]byte, 16))) }
