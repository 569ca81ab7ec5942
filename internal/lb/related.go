package lb

import (
	"encoding/binary"
	"sync/atomic"

	"weir/internal/flow"
	"weir/internal/lb/forward"
	"weir/internal/packet"
	"weir/internal/wire"
)

// related takes an ICMP error about a connection to the other end: the packet
// it quotes is the one we sent, and must look there like the one that was sent
// to us (RFC 5508). Other ICMP is not the balancer's.
func (b *Balancer) related(p *packet.Packet) packet.Verdict {
	m := wire.ICMPv4(p.Data[p.L4:])
	if len(m) < wire.ICMPv4Len || !m.IsError() {
		return packet.Continue
	}
	quoted := wire.IPv4(m[wire.ICMPv4Len:])
	if len(quoted) < wire.IPv4MinLen || quoted.Version() != 4 || quoted.HeaderLength() < wire.IPv4MinLen || len(quoted) < quoted.HeaderLength()+8 {
		return p.DropFor(packet.ICMPMalformed)
	}
	proto := quoted.Protocol()
	if proto != protoTCP && proto != protoUDP && proto != protoICMP || quoted.FragmentOffset() != 0 {
		return packet.Continue
	}
	l4 := quoted[quoted.HeaderLength():]
	ports := binary.LittleEndian.Uint32(l4[0:4])
	if proto == protoICMP {
		var echo bool
		if ports, echo = echoPorts(l4); !echo {
			return packet.Continue
		}
	}
	// The quoted packet went the other way: its tuple, turned round, is the
	// tuple of the half-flow this error travels with.
	src := binary.LittleEndian.Uint32(quoted[12:16])
	dst := binary.LittleEndian.Uint32(quoted[16:20])
	k0, k1 := flow.Tuple(dst, src, uint16(ports>>16), uint16(ports), proto)
	h, key1 := b.flows.Find(k0, k1, b.flows.Hash(k0, k1))
	if h == nil {
		ours := uint32(k0 >> 32)
		if b.Tables.Services.HasLocal(ours) || b.Tables.Services.HasVIP(ours) {
			return p.DropFor(packet.ICMPUnrelated)
		}
		return packet.Continue
	}
	if !m.ChecksumOK() {
		return p.DropFor(packet.ICMPMalformed)
	}
	pub := h.Load()
	if !h.Same(key1) {
		return p.DropFor(packet.LBLateRewrite)
	}
	addrs, now, ref := pub.Addrs, pub.Ports, pub.NextHop
	c := b.flows.Conn(pub.Conn)
	hop, current := b.flows.Hops.Current(ref)
	if !current {
		r := forward.Rewritten{Addrs: addrs}
		if hop, ref = b.reroute(p, h, key1, &r); hop == nil {
			return p.DropFor(noWay(key1))
		}
	}
	if v := b.fits(p, p.Data[p.L3:], hop, key1, 0); v != packet.Continue {
		return v
	}
	if atomic.LoadUint32(&c.State)&flow.ConnOneWay != 0 {
		return passOn(p, ref, key1, addrs)
	}
	reply := key1&flow.FlagReply != 0
	was := wire.Sum(quoted[12:20], wire.Sum(l4[:8], 0))
	if proto == protoTCP && reply {
		state := atomic.LoadUint32(&c.State)
		if s := b.streamOf(c, state); s.moves() {
			binary.BigEndian.PutUint32(l4[4:8], s.toClient(binary.BigEndian.Uint32(l4[4:8])))
		}
		b.leaveRoomForTOA(m, state)
	}
	binary.LittleEndian.PutUint32(quoted[12:16], uint32(addrs>>32))
	binary.LittleEndian.PutUint32(quoted[16:20], uint32(addrs))
	if proto == protoICMP {
		quoteEcho(l4, uint16(now)|uint16(now>>16))
	} else {
		binary.LittleEndian.PutUint16(l4[0:2], uint16(now>>16))
		binary.LittleEndian.PutUint16(l4[2:4], uint16(now))
		keepSum(l4, proto, was, wire.Sum(quoted[12:20], wire.Sum(l4[:8], 0)))
	}
	quoted.ComputeChecksum()
	m.ComputeChecksum()
	ip := wire.IPv4(p.Data[p.L3:])
	from := binary.LittleEndian.Uint32(ip[12:16])
	binary.LittleEndian.PutUint64(ip[12:20], addrs)
	if uint32(addrs) == uint32(k0) {
		// This direction's packets keep their source, so the error keeps its own: it
		// is what traceroute shows.
		binary.LittleEndian.PutUint32(ip[12:16], from)
	}
	ip.SetTTL(ip.TTL() - 1)
	ip.ComputeChecksum()
	p.Flags |= packet.Related
	p.NextHop = ref
	return packet.Output
}

// echoPorts returns what stands for the ports of a quoted ICMP echo: see
// ip.Stack.keyEcho4. Other ICMP has none.
func echoPorts(m []byte) (ports uint32, ok bool) {
	id := uint32(binary.LittleEndian.Uint16(m[4:6]))
	switch {
	case m[1] != 0:
	case m[0] == wire.ICMPv4EchoRequest:
		return id, true
	case m[0] == wire.ICMPv4EchoReply:
		return id << 16, true
	}
	return 0, false
}

// quoteEcho gives a quoted echo another id, as on the wire read little-endian.
func quoteEcho(m []byte, id uint16) {
	was := binary.BigEndian.Uint16(m[4:6])
	binary.LittleEndian.PutUint16(m[4:6], id)
	binary.BigEndian.PutUint16(m[2:4], wire.Update16(binary.BigEndian.Uint16(m[2:4]), was, binary.BigEndian.Uint16(m[4:6])))
}

// passOn sends an error about packets that the real server itself sent to its
// client (DR, Tunnel) to that server, as it came.
func passOn(p *packet.Packet, ref flow.NextHopRef, key1, addrs uint64) packet.Verdict {
	p.Flags |= packet.Related
	p.NextHop = ref
	if key1&flow.FlagTunnel != 0 {
		return encapsulate(p, &forward.Rewritten{Addrs: addrs})
	}
	ip := wire.IPv4(p.Data[p.L3:])
	ip.SetTTL(ip.TTL() - 1)
	ip.ComputeChecksum()
	return packet.Output
}

// keepSum lets the quoted packet's own checksum, if the quote reaches so far,
// follow what changed in the addresses and the first 8 bytes. Those of UDP hold
// the checksum itself, which cancels out.
func keepSum(l4 []byte, proto uint8, was, now uint64) {
	at := 16
	if proto == protoUDP {
		at = 6
	}
	if len(l4) < at+2 {
		return
	}
	sum := binary.BigEndian.Uint16(l4[at:])
	if proto == protoUDP && sum == 0 {
		return // there is none
	}
	sum = ^wire.Fold(uint64(^sum) + uint64(^wire.Fold(was)) + uint64(wire.Fold(now)))
	if proto == protoUDP && sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(l4[at:], sum)
}

// leaveRoomForTOA lowers the MTU of a frag-needed message while the director
// still adds the client's address to this client's segments.
func (b *Balancer) leaveRoomForTOA(m wire.ICMPv4, state uint32) {
	const unreachable, fragNeeded = 3, 4
	if m.Type() != unreachable || m.Code() != fragNeeded || state&(flow.ConnTOA|flow.ConnTold) != flow.ConnTOA {
		return
	}
	if mtu := m.NextHopMTU(); mtu > 576 {
		m.SetNextHopMTU(mtu - wire.OptTOA4Len)
	}
}
