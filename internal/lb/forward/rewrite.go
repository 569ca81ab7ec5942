// Package forward holds the forwarding modes: what the two half-flows of a
// connection do to packets, one file a mode, and the one rewrite all of them share.
//
// Enters: the addresses and ports a connection has on both sides.
// Leaves: flow.Flow values for the table; packets rewritten in place.
// Owns: nothing.
// Drops: nothing.
// See: RFC 1624 (incremental checksums), RFC 3022, RFC 7915 (IPv4 to IPv6 and back).
package forward

import (
	"encoding/binary"

	"weir/internal/flow"
	"weir/internal/wire"
)

// How says what becomes of a half-flow's packets.
type How uint8

// What becomes of them.
const (
	Same4 How = iota // IPv4 stays IPv4
	Same6            // IPv6 stays IPv6
	To4              // IPv6 becomes IPv4 (NAT64 inbound, NAT46 outbound)
	To6              // IPv4 becomes IPv6
	In4              // goes as it is into an IPv4 packet
	In6              // goes as it is into an IPv6 packet
)

// HowOf reads it from a half-flow's flags. six: the half-flow is of IPv6.
func HowOf(six bool, key1 uint64) How {
	out6 := six != (key1&flow.FlagCross != 0)
	switch {
	case key1&flow.FlagTunnel != 0 && out6:
		return In6
	case key1&flow.FlagTunnel != 0:
		return In4
	case six && out6:
		return Same6
	case six:
		return To4
	case out6:
		return To6
	}
	return Same4
}

// Tunnels reports whether packets go into another.
func (h How) Tunnels() bool { return h >= In4 }

// Leaves6 reports whether packets leave as IPv6.
func (h How) Leaves6() bool { return h == Same6 || h == To6 || h == In6 }

// Rewritten is what a half-flow gives a packet, copied out of the record.
type Rewritten struct {
	Addrs            uint64 // of packets that leave as IPv4; of a tunnel, the outer ones
	Ports            uint32
	DeltaIP, DeltaL4 uint16
	How              How
	Src, Dst         flow.Addr // of those that leave as IPv6; likewise
}

// To is where packets go: of a tunnel, its end.
func (r *Rewritten) To() flow.Addr {
	if r.How.Leaves6() {
		return r.Dst
	}
	return flow.V4(uint32(r.Addrs >> 32))
}

// From is where they come from: of a tunnel, its beginning.
func (r *Rewritten) From() flow.Addr {
	if r.How.Leaves6() {
		return r.Src
	}
	return flow.V4(uint32(r.Addrs))
}

// Apply rewrites an IPv4 packet in place: d begins at its header, l4 is where
// TCP, UDP, SCTP or an ICMP echo begins, of which the id is what ports are to the others.
// Addresses, ports, TTL - 1 and both checksums change, in that all sums are kept as
// they are, but for the difference. With partial the L4 checksum is left to whoever
// completes it.
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
	if proto == 132 {
		rewriteSCTP(d[l4:], partial, r.Ports)
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

// Apply6 is Apply for an IPv6 packet that stays one. There is no header checksum.
func (r *Rewritten) Apply6(d []byte, l4 int, proto uint8, partial bool) {
	ip := d[:40]
	ip[7]--
	r.Src.Put(ip[8:24])
	r.Dst.Put(ip[24:40])
	RewriteL4(d[l4:], proto, partial, r.Ports, r.DeltaL4)
}

// RewriteL4 rewrites the transport header alone, of packets that leave as IPv6 or
// become the other family's: ports, or the id of an ICMPv6 echo, and the checksum.
func RewriteL4(l4 []byte, proto uint8, partial bool, ports uint32, delta uint16) {
	if proto == 6 {
		t := (*[20]byte)(l4)
		binary.LittleEndian.PutUint32(t[0:4], ports)
		if !partial {
			s := uint32(^binary.LittleEndian.Uint16(t[16:18])) + uint32(delta)
			s = s&0xffff + s>>16
			binary.LittleEndian.PutUint16(t[16:18], ^uint16(s+s>>16))
		}
		return
	}
	u := (*[8]byte)(l4)
	if proto == 58 {
		binary.LittleEndian.PutUint16(u[4:6], uint16(ports)|uint16(ports>>16))
		s := uint32(^binary.LittleEndian.Uint16(u[2:4])) + uint32(delta)
		s = s&0xffff + s>>16
		binary.LittleEndian.PutUint16(u[2:4], ^uint16(s+s>>16))
		return
	}
	if proto == 132 {
		rewriteSCTP(l4, partial, ports)
		return
	}
	binary.LittleEndian.PutUint32(u[0:4], ports)
	old := binary.LittleEndian.Uint16(u[6:8])
	if partial || old == 0 {
		return
	}
	s := uint32(^old) + uint32(delta)
	s = s&0xffff + s>>16
	sum := ^uint16(s + s>>16)
	if sum == 0 {
		sum = 0xffff
	}
	binary.LittleEndian.PutUint16(u[6:8], sum)
}

// Moved is a TCP or UDP checksum, as on the wire read little-endian, after what it
// covers changed by delta. It never is 0, which UDP may not have and TCP need not.
func Moved(sum, delta uint16) uint16 {
	s := uint32(^sum) + uint32(delta)
	s = s&0xffff + s>>16
	if sum = ^uint16(s + s>>16); sum == 0 {
		return 0xffff
	}
	return sum
}

// rewriteSCTP rewrites the ports of an SCTP packet, of which s is the whole. Its
// checksum knows no addresses.
func rewriteSCTP(s wire.SCTP, partial bool, ports uint32) {
	if partial {
		s = s[:4]
	}
	s.ChangePorts(ports, len(s))
}

// tuple is one side of a half-flow.
type tuple struct {
	src, dst     flow.Addr
	sport, dport uint16
}

// flowOf makes one direction: packets with the tuple old get new, whichever family
// either is of.
func flowOf(proto uint8, old, new tuple) flow.Flow {
	f := flow.TupleOf(old.src, old.dst, old.sport, old.dport, proto)
	f.NewPorts = uint32(new.sport) | uint32(new.dport)<<16
	f.Cross = old.src.Is4() != new.src.Is4()
	was, is := sumAddrs(old), sumAddrs(new)
	ports := sum32(^uint32(f.Key1)) + sum32(f.NewPorts)
	switch {
	case new.src.Is4():
		f.NewAddrs = uint64(new.src.V4()) | uint64(new.dst.V4())<<32
	default:
		f.NewSrc, f.NewDst = new.src, new.dst
	}
	switch {
	case f.Wide && f.Cross:
		f.DeltaIP = Header4(proto, f.NewAddrs)
	case !f.Wide && !f.Cross:
		// TTL is the low byte of its word read little-endian: TTL - 1 is word - 1,
		// and ~m + (m-1) is 0xfffe.
		f.DeltaIP = fold(sum64(^f.Key0) + sum64(f.NewAddrs) + 0xfffe)
	}
	if proto == 1 { // ICMP's checksum knows no addresses
		f.DeltaL4 = fold(ports)
		return f
	}
	f.DeltaL4 = fold(uint64(^was) + uint64(is) + ports)
	return f
}

// Header4 is the sum of what is the same in the IPv4 headers of all packets of a
// direction: version and length, protocol, addresses.
func Header4(proto uint8, addrs uint64) uint16 {
	return fold(0x45 + uint64(proto)<<8 + sum64(addrs))
}

// sumAddrs is the sum of a pseudo-header's addresses: those of IPv4 count without
// what makes them 16 bytes here.
func sumAddrs(t tuple) uint16 {
	if t.src.Is4() {
		return fold(sum32(t.src.V4()) + sum32(t.dst.V4()))
	}
	return fold(sum64(t.src.Hi) + sum64(t.src.Lo) + sum64(t.dst.Hi) + sum64(t.dst.Lo))
}

func sum64(v uint64) uint64 { return sum32(uint32(v)) + sum32(uint32(v>>32)) }
func sum32(v uint32) uint64 { return uint64(v&0xffff) + uint64(v>>16) }

// fold is for sums of less than 2^31.
func fold(s uint64) uint16 {
	s = s&0xffff + s>>16
	return uint16(s&0xffff + s>>16)
}
