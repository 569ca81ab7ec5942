// Package forward holds the forwarding modes: what the two half-flows of a
// connection do to packets, one file a mode, and the one rewrite all of them share.
//
// Enters: the addresses and ports a connection has on both sides.
// Leaves: flow.Flow values for the table; packets rewritten in place.
// Owns: nothing.
// Drops: nothing.
// See: RFC 1624 (incremental checksums), RFC 3022.
package forward

import (
	"encoding/binary"

	"weir/internal/flow"
)

// Rewritten is what a half-flow gives a packet, copied out of the record.
type Rewritten struct {
	Addrs            uint64
	Ports            uint32
	DeltaIP, DeltaL4 uint16
}

// Apply rewrites an IPv4 packet in place: d begins at its header, l4 is where
// TCP, UDP or an ICMP echo begins, of which the id is what ports are to the others. Addresses, ports, TTL - 1 and both checksums change, in
// that all sums are kept as they are, but for the difference. With partial the
// L4 checksum is left to whoever completes it.
func (r *Rewritten) Apply(d []byte, l4 int, proto uint8, partial bool) {
	ip := d[:20]
	ip[8]--
	s := uint32(^binary.LittleEndian.Uint16(ip[10:12])) + uint32(r.DeltaIP)
	s = s&0xffff + s>>16
	binary.LittleEndian.PutUint16(ip[10:12], ^uint16(s+s>>16))
	binary.LittleEndian.PutUint64(ip[12:20], r.Addrs)
	if proto == 6 {
		t := d[l4 : l4+20]
		binary.LittleEndian.PutUint32(t[0:4], r.Ports)
		if !partial {
			s = uint32(^binary.LittleEndian.Uint16(t[16:18])) + uint32(r.DeltaL4)
			s = s&0xffff + s>>16
			binary.LittleEndian.PutUint16(t[16:18], ^uint16(s+s>>16))
		}
		return
	}
	if proto == 1 {
		m := d[l4 : l4+8]
		binary.LittleEndian.PutUint16(m[4:6], uint16(r.Ports)|uint16(r.Ports>>16))
		s = uint32(^binary.LittleEndian.Uint16(m[2:4])) + uint32(r.DeltaL4)
		s = s&0xffff + s>>16
		binary.LittleEndian.PutUint16(m[2:4], ^uint16(s+s>>16))
		return
	}
	u := d[l4 : l4+8]
	binary.LittleEndian.PutUint32(u[0:4], r.Ports)
	old := binary.LittleEndian.Uint16(u[6:8])
	if partial || old == 0 { // RFC 768: 0 means that the sender made no checksum
		return
	}
	s = uint32(^old) + uint32(r.DeltaL4)
	s = s&0xffff + s>>16
	sum := ^uint16(s + s>>16)
	if sum == 0 {
		sum = 0xffff
	}
	binary.LittleEndian.PutUint16(u[6:8], sum)
}

// flowOf makes one direction: packets with tuple (src, dst, sport, dport) get
// (nsrc, ndst, nsport, ndport). All as on the wire, read little-endian.
func flowOf(proto uint8, src, dst uint32, sport, dport uint16, nsrc, ndst uint32, nsport, ndport uint16) flow.Flow {
	k0, k1 := flow.Tuple(src, dst, sport, dport, proto)
	f := flow.Flow{
		Key0: k0, Key1: k1,
		NewAddrs: uint64(nsrc) | uint64(ndst)<<32,
		NewPorts: uint32(nsport) | uint32(ndport)<<16,
	}
	addrs := sum64(^f.Key0) + sum64(f.NewAddrs)
	// TTL is the low byte of its word read little-endian: TTL - 1 is word - 1,
	// and ~m + (m-1) is 0xfffe.
	f.DeltaIP = fold(addrs + 0xfffe)
	f.DeltaL4 = fold(addrs + sum32(^uint32(k1)) + sum32(f.NewPorts))
	if proto == 1 { // ICMP's checksum knows no addresses
		f.DeltaL4 = fold(sum32(^uint32(k1)) + sum32(f.NewPorts))
	}
	return f
}

func sum64(v uint64) uint64 { return sum32(uint32(v)) + sum32(uint32(v>>32)) }
func sum32(v uint32) uint64 { return uint64(v&0xffff) + uint64(v>>16) }

func fold(s uint64) uint16 {
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}
