package port

import (
	"bytes"
	"encoding/binary"

	"weir/internal/packet"
	"weir/internal/wire"
)

// A Train is what a burst begins with if that is TCP segments of which each goes on where the one
// before ends: a bulk stream. Linux takes them as one super-frame, the train, and what leaves the
// last device is what they were, byte for byte: Linux cuts a super-frame into the very segments,
// or gives it to who can do with the whole. It is worker-owned.
type Train struct {
	Packets int    // how many of the burst; 0: no train
	Head    []byte // the headers of them all, of the super-frame
	Vnet    VnetHeader

	head [trainHead]byte
}

const (
	// TrainLeast is the least payload of a segment that begins a train: of smaller ones none is
	// looked at twice.
	TrainLeast = 512

	trainHead  = etherLen + ipv6Len + 60
	trainBytes = 65535 // of an IP packet

	tcpACK, tcpPSH = 0x10, 0x18
	tcpFlags       = 13
)

// Payload is what packet i of the train carries.
func (t *Train) Payload(p *packet.Packet) []byte { return p.Data[len(t.Head):] }

// Couple looks how much of a burst is one train, of as many packets at least.
func (t *Train) Couple(burst []*packet.Packet, least int) {
	t.Packets = 0
	l4, head := beginsTrain(burst[0])
	if head == 0 {
		return
	}
	n := coupled(burst, l4, head)
	if n < least {
		return
	}
	total := 0
	for i, p := range burst[:n] {
		if !intact(p.Data, l4) {
			n = i
			break
		}
		total += len(p.Data) - head
	}
	if n < least {
		return
	}
	t.Packets = n
	t.lead(burst[0].Data, l4, head, total)
	t.Head[l4+tcpFlags] = burst[n-1].Data[l4+tcpFlags]
}

// coupled is how many packets of a burst follow one another, the first of them included, whose
// headers are so long.
func coupled(burst []*packet.Packet, l4, head int) int {
	first := burst[0].Data
	total := len(first) - head
	for n := 1; n < len(burst); n++ {
		p := burst[n]
		d := p.Data
		if p.Flags&(packet.CsumPartial|packet.GSO) != 0 || len(d) <= head || len(d) > len(first) ||
			len(d)-etherLen+total > trainBytes || !follows(first, d, l4, head, n, total) {
			return n
		}
		total += len(d) - head
		if len(d) < len(first) || d[l4+tcpFlags] != tcpACK {
			return n + 1 // the last of any train
		}
	}
	return len(burst)
}

// lead writes the train's own headers: the first segment's, for so many bytes. Of the checksum
// only the pseudo-header's sum is there.
func (t *Train) lead(first []byte, l4, head, total int) {
	t.Head = t.head[:head]
	copy(t.Head, first)
	length := head - l4 + total
	var pseudo uint64
	if l4 == etherLen+ipv4Least {
		t.Vnet.gsoType = packet.GSOTCPv4
		ip := wire.IPv4(t.Head[etherLen:])
		ip.SetTotalLength(uint16(head - etherLen + total))
		ip.ComputeChecksum()
		pseudo = wire.PseudoSum4(ip.Src(), ip.Dst(), protoTCP, uint16(length))
	} else {
		t.Vnet.gsoType = packet.GSOTCPv6
		ip := wire.IPv6(t.Head[etherLen:])
		ip.SetPayloadLength(uint16(length))
		pseudo = wire.PseudoSum6(ip.Src(), ip.Dst(), protoTCP, uint32(length))
	}
	binary.BigEndian.PutUint16(t.Head[l4+tcpChecksum:], wire.Fold(pseudo))
	t.Vnet.flags, t.Vnet.csumStart, t.Vnet.csumOffset = vnetNeedsCsum, uint16(l4), tcpChecksum
	t.Vnet.hdrLen, t.Vnet.gsoSize = uint16(head), uint16(len(first)-head)
}

// beginsTrain returns where a segment's TCP header begins and ends if others may follow it in a
// train: one that says ACK and nothing else, untagged, without IP options or extension headers,
// as long as its IP header says.
func beginsTrain(p *packet.Packet) (l4, head int) {
	d := p.Data
	if len(d) < etherLen+ipv4Least+tcpHeader+TrainLeast || p.Flags&(packet.CsumPartial|packet.GSO) != 0 {
		return 0, 0
	}
	switch kind := binary.BigEndian.Uint16(d[typeAt:]); {
	case kind == typeIPv4 && d[etherLen] == 0x45 && d[etherLen+9] == protoTCP &&
		int(binary.BigEndian.Uint16(d[etherLen+2:])) == len(d)-etherLen && binary.BigEndian.Uint16(d[etherLen+6:])&0x3fff == 0:
		l4 = etherLen + ipv4Least
	case kind == typeIPv6 && d[etherLen+6] == protoTCP && int(binary.BigEndian.Uint16(d[etherLen+4:])) == len(d)-etherLen-ipv6Len:
		l4 = etherLen + ipv6Len
	default:
		return 0, 0
	}
	head = l4 + int(d[l4+tcpOffset]>>4)*4
	if d[l4+tcpFlags] != tcpACK || head < l4+tcpHeader || len(d) < head+TrainLeast {
		return 0, 0
	}
	return l4, head
}

// follows reports whether d is the n-th segment behind the first, after so many bytes, and says
// in its headers what Linux would write there: only lengths, identifications, numbers and
// checksums differ, and PSH in the last.
func follows(first, d []byte, l4, head, n, bytesBefore int) bool {
	const ip = etherLen
	f, g := first[:head:head], d[:head:head]
	if l4 == ip+ipv4Least {
		id, was := binary.BigEndian.Uint16(g[ip+4:]), binary.BigEndian.Uint16(f[ip+4:])
		if !bytes.Equal(f[:ip+2], g[:ip+2]) || id-was != uint16(n) || int(binary.BigEndian.Uint16(g[ip+2:])) != len(d)-ip ||
			!bytes.Equal(f[ip+6:ip+10], g[ip+6:ip+10]) || !bytes.Equal(f[ip+12:l4+4], g[ip+12:l4+4]) {
			return false
		}
	} else if !bytes.Equal(f[:ip+4], g[:ip+4]) || int(binary.BigEndian.Uint16(g[ip+4:])) != len(d)-ip-ipv6Len ||
		!bytes.Equal(f[ip+6:l4+4], g[ip+6:l4+4]) {
		return false
	}
	flags := g[l4+tcpFlags]
	return binary.BigEndian.Uint32(g[l4+4:])-binary.BigEndian.Uint32(f[l4+4:]) == uint32(bytesBefore) &&
		bytes.Equal(f[l4+8:l4+tcpFlags], g[l4+8:l4+tcpFlags]) && (flags == tcpACK || flags == tcpPSH) &&
		bytes.Equal(f[l4+14:l4+tcpChecksum], g[l4+14:l4+tcpChecksum]) && bytes.Equal(f[l4+18:], g[l4+18:])
}

// intact reports whether a segment's checksum is right. Linux computes a train's anew, so that
// what was damaged before would look right.
func intact(d []byte, l4 int) bool {
	length := len(d) - l4
	var pseudo uint64
	if l4 == etherLen+ipv4Least {
		ip := wire.IPv4(d[etherLen:])
		pseudo = wire.PseudoSum4(ip.Src(), ip.Dst(), protoTCP, uint16(length))
	} else {
		ip := wire.IPv6(d[etherLen:])
		pseudo = wire.PseudoSum6(ip.Src(), ip.Dst(), protoTCP, uint32(length))
	}
	return wire.Fold(wire.Sum(d[l4:], pseudo)) == 0xffff
}
