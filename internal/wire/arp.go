package wire

import "encoding/binary"

// ARP is an ARP packet for IPv4 over Ethernet (RFC 826).
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-------------------------------+-------------------------------+
//	|     Hardware type (ar$hrd)    |     Protocol type (ar$pro)    |
//	+---------------+---------------+-------------------------------+
//	| hw len ar$hln | pr len ar$pln |       Operation (ar$op)       |
//	+---------------+---------------+-------------------------------+
//	|               Sender hardware address (ar$sha)                |
//	+                               +-------------------------------+
//	|                               |     Sender protocol (ar$spa)  |
//	+-------------------------------+-------------------------------+
//	|    Sender protocol (cont.)    |                               |
//	+-------------------------------+  Target hardware (ar$tha)     +
//	|                                                               |
//	+---------------------------------------------------------------+
//	|               Target protocol address (ar$tpa)                |
//	+---------------------------------------------------------------+
type ARP []byte

// Offsets in an ARP packet, and its length.
const (
	arpHardwareType   = 0
	arpProtocolType   = 2
	arpHardwareLength = 4
	arpProtocolLength = 5
	arpOperation      = 6
	arpSHA            = 8
	arpSPA            = 14
	arpTHA            = 18
	arpTPA            = 24

	ARPLen = 28
)

// Operations of ARP.
const (
	ARPRequest uint16 = 1
	ARPReply   uint16 = 2
)

// arpEthernetIPv4 is the first six bytes of every packet that speaks of IPv4
// over Ethernet: types 1 and 0x0800, lengths 6 and 4.
const arpEthernetIPv4 = 0x0001_0800_06_04

// IsEthernetIPv4 reports whether hardware and protocol types and lengths are
// those of IPv4 over Ethernet. The other methods make sense only then.
func (a ARP) IsEthernetIPv4() bool {
	return binary.BigEndian.Uint64(a[0:8])>>16 == arpEthernetIPv4
}

// Operation returns ARPRequest, ARPReply or what else stands there.
func (a ARP) Operation() uint16 { return binary.BigEndian.Uint16(a[arpOperation : arpOperation+2]) }

// SenderHardware returns ar$sha.
func (a ARP) SenderHardware() [6]byte { return [6]byte(a[arpSHA : arpSHA+6]) }

// SenderProtocol returns ar$spa.
func (a ARP) SenderProtocol() [4]byte { return [4]byte(a[arpSPA : arpSPA+4]) }

// TargetHardware returns ar$tha.
func (a ARP) TargetHardware() [6]byte { return [6]byte(a[arpTHA : arpTHA+6]) }

// TargetProtocol returns ar$tpa.
func (a ARP) TargetProtocol() [4]byte { return [4]byte(a[arpTPA : arpTPA+4]) }

// Put writes a whole packet.
func (a ARP) Put(op uint16, sha [6]byte, spa [4]byte, tha [6]byte, tpa [4]byte) {
	binary.BigEndian.PutUint64(a[0:8], arpEthernetIPv4<<16|uint64(op))
	*(*[6]byte)(a[arpSHA : arpSHA+6]) = sha
	*(*[4]byte)(a[arpSPA : arpSPA+4]) = spa
	*(*[6]byte)(a[arpTHA : arpTHA+6]) = tha
	*(*[4]byte)(a[arpTPA : arpTPA+4]) = tpa
}
