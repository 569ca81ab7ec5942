package ether

import (
	"encoding/binary"

	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/wire"
)

// vlanHash is twice the greatest number of VLANs, so that a search ends soon.
const vlanHash = 2 * port.Max

// vlans finds a VLAN by its link and its tag: open addressing, no more than half full.
type vlans struct {
	any  bool
	keys [vlanHash]uint64 // vlanKey; 0: free
	ids  [vlanHash]uint8
}

// vlanKey is a link's ID and a tag; never 0, since no VLAN has the number 0.
func vlanKey(link uint16, tag uint32) uint64 { return uint64(link)<<32 | uint64(tag) }

func vlanPlace(key uint64) uint64 { return key * 0x9e3779b97f4a7c15 >> 57 % vlanHash }

func (v *vlans) set(ports *[port.Max]port.Facts) {
	*v = vlans{}
	for i := range ports {
		if ports[i].Kind != port.VLAN {
			continue
		}
		v.any = true
		key := vlanKey(ports[i].Link, ports[i].Tag)
		at := vlanPlace(key)
		for v.keys[at] != 0 {
			at = (at + 1) % vlanHash
		}
		v.keys[at], v.ids[at] = key, uint8(i)
	}
}

func (v *vlans) find(link uint16, tag uint32) (id uint16, ok bool) {
	key := vlanKey(link, tag)
	for at := vlanPlace(key); v.keys[at] != 0; at = (at + 1) % vlanHash {
		if v.keys[at] == key {
			return uint16(v.ids[at]), true
		}
	}
	return 0, false
}

// TagLen is the length of a VLAN tag: its protocol and its number.
const TagLen = 4

// tagged takes the tag off a frame and has it come in on the VLAN's port, untagged: what
// sees it later needs to know nothing of tags. A tag of number 0 only has a priority
// (IEEE 802.1Q, 9.6): the frame is the link's. What has a tag that nobody has a device
// for is for Linux, tag included.
func (l *Link) tagged(p *packet.Packet) packet.Verdict {
	if len(p.Data) < wire.EthernetLen+TagLen {
		return p.DropFor(packet.EtherShort)
	}
	proto, number := binary.BigEndian.Uint16(p.Data[12:]), binary.BigEndian.Uint16(p.Data[14:])&0xfff
	if number != 0 || proto != wire.EtherTypeVLAN {
		id, ok := l.vlans.find(p.In, uint32(proto)<<16|uint32(number))
		if !ok {
			return p.PuntIf(l.twin(p), packet.EtherVLAN)
		}
		if l.ports[id%port.Max].Down {
			return p.DropFor(packet.PortDown)
		}
		p.In = id
		count := &l.counts[id%port.Max]
		count.RxPackets++
		count.RxBytes += uint64(len(p.Data) - TagLen)
	}
	Untag(p)
	switch kind := binary.BigEndian.Uint16(p.Data[12:]); kind {
	case wire.EtherTypeIPv4, wire.EtherTypeIPv6:
		p.EtherType = kind
		return packet.Continue
	case wire.EtherTypeARP:
		p.EtherType = kind
		return packet.Neighbour
	case wire.EtherTypeVLAN, wire.EtherTypeQinQ:
		return p.PuntIf(l.twin(p), packet.EtherVLAN)
	}
	return p.PuntIf(l.twin(p), packet.EtherType)
}

// Untag takes the outer tag off a frame that has one: the addresses move over it.
func Untag(p *packet.Packet) {
	h := (*[wire.EthernetLen + TagLen]byte)(p.Data)
	dst, src := binary.LittleEndian.Uint64(h[0:8]), binary.LittleEndian.Uint32(h[8:12])
	binary.LittleEndian.PutUint64(h[4:12], dst)
	binary.LittleEndian.PutUint32(h[12:16], src)
	p.TrimFront(TagLen)
}

// Tag puts a tag (its protocol in the upper half, its number in the lower) onto a frame
// that is ready to leave, and reports whether there was room in front of it.
func Tag(p *packet.Packet, tag uint32) bool {
	if !p.Prepend(TagLen) {
		return false
	}
	h := (*[wire.EthernetLen + TagLen]byte)(p.Data)
	dst, src := binary.LittleEndian.Uint64(h[4:12]), binary.LittleEndian.Uint32(h[12:16])
	binary.LittleEndian.PutUint64(h[0:8], dst)
	binary.LittleEndian.PutUint32(h[8:12], src)
	binary.BigEndian.PutUint32(h[12:], tag)
	p.L3 += TagLen
	if p.L4 != 0 {
		p.L4 += TagLen
	}
	return true
}
