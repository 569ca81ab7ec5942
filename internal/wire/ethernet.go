package wire

import "encoding/binary"

// Ethernet is an Ethernet II header (IEEE 802.3, clause 3; DIX) and what follows it.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+---------------------------------------------------------------+
//	|                          Destination                          |
//	+-------------------------------+-------------------------------+
//	|                               |                               |
//	+-------------------------------+            Source             |
//	|                                                               |
//	+-------------------------------+-------------------------------+
//	|           EtherType           |            payload            |
//	+-------------------------------+-------------------------------+
type Ethernet []byte

// Offsets in an Ethernet header, and its length.
const (
	etherDst  = 0
	etherSrc  = 6
	etherType = 12

	EthernetLen = 14
)

// Ethertypes (IEEE registry).
const (
	EtherTypeIPv4 uint16 = 0x0800
	EtherTypeARP  uint16 = 0x0806
	EtherTypeVLAN uint16 = 0x8100 // 802.1Q
	EtherTypeQinQ uint16 = 0x88a8 // 802.1ad
	EtherTypeIPv6 uint16 = 0x86dd
)

// Destination returns the MAC the frame is for.
func (e Ethernet) Destination() [6]byte { return [6]byte(e[etherDst : etherDst+6]) }

// Source returns the MAC the frame is from.
func (e Ethernet) Source() [6]byte { return [6]byte(e[etherSrc : etherSrc+6]) }

// EtherType returns the type of the payload.
func (e Ethernet) EtherType() uint16 { return binary.BigEndian.Uint16(e[etherType : etherType+2]) }

// SetDestination sets the MAC the frame is for.
func (e Ethernet) SetDestination(m [6]byte) { *(*[6]byte)(e[etherDst : etherDst+6]) = m }

// SetSource sets the MAC the frame is from.
func (e Ethernet) SetSource(m [6]byte) { *(*[6]byte)(e[etherSrc : etherSrc+6]) = m }

// SetEtherType sets the type of the payload.
func (e Ethernet) SetEtherType(t uint16) { binary.BigEndian.PutUint16(e[etherType:etherType+2], t) }
