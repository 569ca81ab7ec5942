package words

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
)

// MAC is an Ethernet address.
type MAC = [6]byte

// All is the Ethernet broadcast address, "all" in words.
var All = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// GSO types of a vnet header (struct virtio_net_hdr).
const (
	gsoTCPv4 = 1
	gsoTCPv6 = 4
	gsoUDPL4 = 5
)

// Frame is a frame with what travels beside it in a vnet header.
type Frame struct {
	Data    []byte
	Partial bool // the L4 checksum is only the pseudo-header's sum
	GSOType uint8
	GSOSize uint16
}

// Stations names the machines of a story.
type Stations map[string]MAC

// Name returns the name of a MAC, or its digits.
func (s Stations) Name(m MAC) string {
	if m == All {
		return "all"
	}
	for name, mac := range s {
		if mac == m {
			return name
		}
	}
	return net.HardwareAddr(m[:]).String()
}

// MAC is the inverse of Name.
func (s Stations) MAC(word string) (MAC, error) {
	if word == "all" {
		return All, nil
	}
	if m, ok := s[word]; ok {
		return m, nil
	}
	hw, err := net.ParseMAC(word)
	if err != nil || len(hw) != 6 {
		return MAC{}, fmt.Errorf("%q is no station's name and no MAC address", word)
	}
	return MAC(hw), nil
}

const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherVLAN = 0x8100 // 802.1Q
	etherQinQ = 0x88a8 // 802.1ad
	etherIPv6 = 0x86dd

	protoICMP  = 1
	protoTCP   = 6
	protoUDP   = 17
	protoICMP6 = 58
	protoSCTP  = 132
)

// pattern fills b with letters in turn.
func pattern(b []byte, phase int) {
	for i := range b {
		b[i] = 'a' + byte((i+phase)%26)
	}
}

// dataWords says what payload is: its length, at which letter it begins, or that
// it is none of ours.
func dataWords(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if proxy, rest := proxyWords(b); proxy != "" {
		return proxy + dataWords(rest)
	}
	phase := int(b[0]) - 'a'
	if phase >= 0 && phase < 26 {
		want := make([]byte, len(b))
		pattern(want, phase)
		if string(want) == string(b) {
			if phase == 0 {
				return fmt.Sprintf(" data=%d", len(b))
			}
			return fmt.Sprintf(" data=%d@%d", len(b), phase)
		}
	}
	return fmt.Sprintf(" data=0x%x", b)
}

// sum16 is the ones'-complement sum of RFC 1071, the slow and obvious way.
func sum16(b []byte, acc uint32) uint16 {
	for i := 0; i < len(b); i += 2 {
		w := uint32(b[i]) << 8
		if i+1 < len(b) {
			w |= uint32(b[i+1])
		}
		acc += w
		acc = acc>>16 + acc&0xffff
	}
	return uint16(acc>>16 + acc&0xffff)
}

// below is what a transport header's checksum takes from the header below it:
// both addresses, of 4 or 16 bytes.
type below struct{ src, dst []byte }

// over4 and over6 read a fixed header.
func over4(ip []byte) below { return below{ip[12:16], ip[16:20]} }
func over6(ip []byte) below { return below{ip[8:24], ip[24:40]} }

func (b below) is6() bool { return len(b.src) == 16 }

// pseudo is the sum of the pseudo-header of TCP, UDP and ICMPv6.
func (b below) pseudo(proto uint8, length int) uint16 {
	h := append(append([]byte{}, b.src...), b.dst...)
	if b.is6() { // RFC 8200, 8.1
		h = binary.BigEndian.AppendUint32(h, uint32(length))
		return sum16(append(h, 0, 0, 0, proto), 0)
	}
	h = append(h, 0, proto)
	return sum16(binary.BigEndian.AppendUint16(h, uint16(length)), 0)
}

// addr is the address that b, of 4 or 16 bytes, is.
func addr(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a
}
