package bond

import "encoding/binary"

// Hashes of a frame as Linux computes them on little-endian machines, by the formulas of
// Documentation/networking/bonding.rst (xmit_hash_policy), so that a flow lies where an
// operator expects it. VLAN tags are looked through. What a policy does not find in a
// frame it does without: fragments have no ports, what is not IP has layer 2 alone.

const (
	etherHeader = 14
	tagLen      = 4

	typeIPv4 = 0x0800
	typeIPv6 = 0x86dd
)

// hash returns the hash of a frame; the member is its remainder.
func (p Policy) hash(frame []byte) uint32 {
	if len(frame) < etherHeader {
		return 0
	}
	etherType, l3 := payload(frame)
	h2 := uint32(frame[5]^frame[11]) ^ uint32(etherType)
	if p == Layer2 {
		return h2
	}
	addrs, ports, ok := flowOf(etherType, frame[l3:])
	switch {
	case !ok:
		return h2
	case p == Layer23:
		return fold(h2 ^ addrs)
	}
	return fold(ports^addrs) >> 1
}

func fold(h uint32) uint32 {
	h ^= h >> 16
	return h ^ h>>8
}

// payload returns the ethertype behind up to two VLAN tags, and where its payload begins.
func payload(frame []byte) (etherType uint16, at int) {
	at = etherHeader
	etherType = binary.BigEndian.Uint16(frame[12:])
	for range 2 {
		if etherType != 0x8100 && etherType != 0x88a8 || len(frame) < at+tagLen {
			break
		}
		etherType = binary.BigEndian.Uint16(frame[at+2:])
		at += tagLen
	}
	return etherType, at
}

// flowOf folds the addresses of an IP packet, and takes the ports if it has any.
func flowOf(etherType uint16, b []byte) (addrs, ports uint32, ok bool) {
	switch etherType {
	case typeIPv4:
		if len(b) < 20 {
			return 0, 0, false
		}
		addrs = binary.LittleEndian.Uint32(b[12:]) ^ binary.LittleEndian.Uint32(b[16:])
		if binary.BigEndian.Uint16(b[6:])&0x3fff == 0 { // no fragment: offset and MF
			ports = portsOf(b[9], b, int(b[0]&15)*4)
		}
		return addrs, ports, true
	case typeIPv6:
		if len(b) < 40 {
			return 0, 0, false
		}
		for i := 8; i < 40; i += 4 { // of each address the words folded (ipv6_addr_hash)
			addrs ^= binary.LittleEndian.Uint32(b[i:])
		}
		return addrs, portsOf6(b), true
	}
	return 0, 0, false
}

// portsOf6 looks for the ports behind extension headers that do not say otherwise.
func portsOf6(b []byte) uint32 {
	next, at := b[6], 40
	for range 8 {
		switch next {
		case 0, 43, 60: // hop-by-hop, routing, destination options
			if len(b) < at+8 {
				return 0
			}
			next, at = b[at], at+8+int(b[at+1])*8
		case 44: // a fragment
			return 0
		default:
			return portsOf(next, b, at)
		}
	}
	return 0
}

// portsOf returns the ports of TCP, UDP, DCCP, SCTP and UDP-Lite, which all begin with them.
func portsOf(proto uint8, b []byte, at int) uint32 {
	switch proto {
	case 6, 17, 33, 132, 136:
		if len(b) >= at+4 {
			return binary.LittleEndian.Uint32(b[at:])
		}
	}
	return 0
}
