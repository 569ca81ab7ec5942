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
	etherVLAN = 0x8100

	protoICMP = 1
	protoTCP  = 6
	protoUDP  = 17
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

// pseudo is the sum of the pseudo-header of TCP and UDP over IPv4.
func pseudo(ip []byte, proto uint8, length int) uint16 {
	h := append([]byte{}, ip[12:20]...)
	h = append(h, 0, proto)
	h = binary.BigEndian.AppendUint16(h, uint16(length))
	return sum16(h, 0)
}

func addr(b []byte) netip.Addr { return netip.AddrFrom4([4]byte(b)) }
