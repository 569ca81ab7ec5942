package lb

import (
	"encoding/binary"
	"sync/atomic"

	"weir/internal/flow"
	"weir/internal/lb/forward"
	"weir/internal/packet"
	"weir/internal/wire"
)

// quote is the packet that an ICMP error quotes: places are offsets in Packet.Data.
type quote struct {
	l3, l4   int
	length   int // of what is quoted, from l4 on, as its own IP header says
	proto    uint8
	src, dst flow.Addr
	ports    uint32 // as in flow.Half.NewPorts; of an echo, see ip.Stack.keyEcho4
}

// related takes an ICMP error about a connection to the other end: the packet
// it quotes is the one we sent, and must look there like the one that was sent
// to us (RFC 5508). Other ICMP is not the balancer's.
func (b *Balancer) related(p *packet.Packet) packet.Verdict {
	var q quote
	if v := b.quoted(p, &q); v != packet.Output {
		return v
	}
	// The quoted packet went the other way: its tuple, turned round, is the
	// tuple of the half-flow this error travels with.
	f := flow.TupleOf(q.dst, q.src, uint16(q.ports>>16), uint16(q.ports), q.proto)
	h, key1 := b.flows.FindFlow(&f)
	if h == nil {
		if b.Tables.Services.HasLocal(q.src) || b.Tables.Services.HasVIP(q.src) {
			return p.PuntIf(b.twin(p), packet.ICMPUnrelated)
		}
		return packet.Continue
	}
	if !errorWhole(p) {
		return p.DropFor(packet.ICMPMalformed)
	}
	var r forward.Rewritten
	pub, ok := b.load(h, key1, &r)
	if !ok {
		return p.DropFor(packet.LBLateRewrite)
	}
	ref := pub.NextHop
	c := b.flows.Conn(pub.Conn)
	hop, current := b.flows.Hops.Current(ref)
	if !current {
		if hop, ref = b.reroute(p, h, key1, &r); hop == nil {
			return p.DropFor(b.noWay(h, key1))
		}
	}
	if v := b.fits(p, b.room(hop, &r), r.How, 0); v != packet.Continue {
		return v
	}
	p.Flags |= packet.Related
	p.NextHop = ref
	state := atomic.LoadUint32(&c.State)
	if state&flow.ConnOneWay != 0 {
		return passOn(p, &r)
	}
	reply := key1&flow.FlagReply != 0
	l4 := p.Data[q.l4:]
	was := wire.Sum(l4[:8], q.sum())
	if q.proto == protoTCP && reply {
		if s := b.streamOf(c, state); s.moves() {
			binary.BigEndian.PutUint32(l4[4:8], s.toClient(binary.BigEndian.Uint32(l4[4:8])))
		}
		leaveRoomForTOA(p, c, state, r.How)
	}
	now := quote{src: r.To(), dst: r.From()}
	switch q.proto {
	case protoICMP, protoICMPv6:
		quoteEcho(l4, uint16(pub.Ports)|uint16(pub.Ports>>16))
	case protoSCTP: // its checksum, if the quote reaches so far, is that of all that was sent
		wire.SCTP(l4).ChangePorts(pub.Ports>>16|pub.Ports<<16, q.length)
	default:
		binary.LittleEndian.PutUint16(l4[0:2], uint16(pub.Ports>>16))
		binary.LittleEndian.PutUint16(l4[2:4], uint16(pub.Ports))
	}
	if q.proto != protoICMP && q.proto != protoSCTP {
		keepSum(l4, q.proto, was, wire.Sum(l4[:8], now.sum()))
	}
	// A direction whose packets keep their source keeps that of errors too: it is
	// what traceroute shows.
	from, _ := endsOf(p)
	if r.From() != q.dst {
		from = r.From()
	}
	switch r.How {
	case forward.To4:
		return b.errorTo4(p, &q, &r)
	case forward.To6:
		return b.errorTo6(p, &q, &r)
	case forward.Same6:
		ip := wire.IPv6(p.Data[p.L3:])
		r.Dst.Put(p.Data[q.l3+8:])
		r.Src.Put(p.Data[q.l3+24:])
		from.Put(ip[8:24])
		r.Dst.Put(ip[24:40])
		ip.SetHopLimit(ip.HopLimit() - 1)
		wire.ICMPv6(p.Data[p.L4:]).ComputeChecksum(ip.Src(), ip.Dst())
		return packet.Output
	default: // IPv4 as it came
	}
	quoted, ip := wire.IPv4(p.Data[q.l3:]), wire.IPv4(p.Data[p.L3:])
	binary.LittleEndian.PutUint64(quoted[12:20], r.Addrs>>32|r.Addrs<<32)
	quoted.ComputeChecksum()
	wire.ICMPv4(p.Data[p.L4:]).ComputeChecksum()
	binary.LittleEndian.PutUint64(ip[12:20], uint64(from.V4())|r.Addrs>>32<<32)
	ip.SetTTL(ip.TTL() - 1)
	ip.ComputeChecksum()
	return packet.Output
}

// about finds the half-flow that an ICMP error travels with which was passed on as it came.
// One that was rewritten quotes what no half-flow of ours answers.
func (b *Balancer) about(p *packet.Packet) (*flow.Half, uint64) {
	var q quote
	if b.quoted(p, &q) != packet.Output {
		return nil, 0
	}
	f := flow.TupleOf(q.dst, q.src, uint16(q.ports>>16), uint16(q.ports), q.proto)
	return b.flows.FindFlow(&f)
}

// sum is that of a quoted packet's addresses, for its transport checksum.
func (q *quote) sum() uint64 {
	var b [32]byte
	if q.src.Is4() {
		binary.LittleEndian.PutUint32(b[0:4], q.src.V4())
		binary.LittleEndian.PutUint32(b[4:8], q.dst.V4())
		return wire.Sum(b[:8], 0)
	}
	q.src.Put(b[0:16])
	q.dst.Put(b[16:32])
	return wire.Sum(b[:], 0)
}

// endsOf are the addresses in a packet's header, keyed or not.
func endsOf(p *packet.Packet) (src, dst flow.Addr) {
	d := p.Data[p.L3:]
	if is6(p) {
		return flow.AddrAt(d[8:24]), flow.AddrAt(d[24:40])
	}
	return flow.V4(binary.LittleEndian.Uint32(d[12:16])), flow.V4(binary.LittleEndian.Uint32(d[16:20]))
}

// errorWhole reports whether an ICMP error's checksum is right.
func errorWhole(p *packet.Packet) bool {
	if is6(p) {
		ip := wire.IPv6(p.Data[p.L3:])
		return wire.ICMPv6(p.Data[p.L4:]).ChecksumOK(ip.Src(), ip.Dst())
	}
	return wire.ICMPv4(p.Data[p.L4:]).ChecksumOK()
}

// quoted is quoted4 or quoted6.
func (b *Balancer) quoted(p *packet.Packet, q *quote) packet.Verdict {
	if is6(p) {
		return b.quoted6(p, q)
	}
	return b.quoted4(p, q)
}

// quoted4 finds what an ICMP error quotes: Output if that may be a connection's.
func (b *Balancer) quoted4(p *packet.Packet, q *quote) packet.Verdict {
	if is6(p) || p.Proto != protoICMP {
		return packet.Continue
	}
	m := wire.ICMPv4(p.Data[p.L4:])
	if len(m) < wire.ICMPv4Len || !m.IsError() {
		return packet.Continue
	}
	ip := wire.IPv4(m[wire.ICMPv4Len:])
	if len(ip) < wire.IPv4MinLen || ip.Version() != 4 || ip.HeaderLength() < wire.IPv4MinLen || len(ip) < ip.HeaderLength()+8 {
		return p.DropFor(packet.ICMPMalformed)
	}
	q.l3 = int(p.L4) + wire.ICMPv4Len
	q.l4, q.proto = q.l3+ip.HeaderLength(), ip.Protocol()
	q.length = int(ip.TotalLength()) - ip.HeaderLength()
	q.src, q.dst = flow.V4(binary.LittleEndian.Uint32(ip[12:16])), flow.V4(binary.LittleEndian.Uint32(ip[16:20]))
	if (q.proto == protoIPIP || q.proto == protoIPv6) && ip.FragmentOffset() == 0 {
		return b.tunnelError(p, q)
	}
	if q.proto == wire.ProtoGRE && ip.FragmentOffset() == 0 {
		return b.deviceError(q)
	}
	if q.proto != protoTCP && q.proto != protoUDP && q.proto != protoSCTP && q.proto != protoICMP || ip.FragmentOffset() != 0 {
		return packet.Continue
	}
	return q.portsOf(p.Data[q.l4:], wire.ICMPv4EchoRequest, wire.ICMPv4EchoReply)
}

// quoted6 is quoted4 for ICMPv6.
func (b *Balancer) quoted6(p *packet.Packet, q *quote) packet.Verdict {
	m := wire.ICMPv6(p.Data[p.L4:])
	if p.Proto != protoICMPv6 || len(m) < wire.ICMPv6Len || !m.IsError() {
		return packet.Continue
	}
	ip := wire.IPv6(m[wire.ICMPv6Len:])
	if len(ip) < wire.IPv6Len || ip.Version() != 6 {
		return p.DropFor(packet.ICMPMalformed)
	}
	chain, fault := wire.WalkIPv6(ip)
	if fault != wire.ChainOK || len(ip) < int(chain.Offset)+8 {
		return p.DropFor(packet.ICMPMalformed)
	}
	q.l3 = int(p.L4) + wire.ICMPv6Len
	q.l4, q.proto = q.l3+int(chain.Offset), chain.Proto
	q.length = ip.TotalLength() - int(chain.Offset)
	q.src, q.dst = flow.AddrAt(ip[8:24]), flow.AddrAt(ip[24:40])
	if (q.proto == protoIPIP || q.proto == protoIPv6) && !chain.IsLater() {
		return b.tunnelError(p, q)
	}
	if q.proto == wire.ProtoGRE && !chain.IsLater() {
		return b.deviceError(q)
	}
	if q.proto != protoTCP && q.proto != protoUDP && q.proto != protoSCTP && q.proto != protoICMPv6 || chain.IsLater() {
		return packet.Continue
	}
	return q.portsOf(p.Data[q.l4:], wire.ICMPv6EchoRequest, wire.ICMPv6EchoReply)
}

// portsOf reads the ports, or what stands for those of an echo (ip.Stack.keyEcho4).
// Other ICMP has none.
func (q *quote) portsOf(l4 []byte, request, reply uint8) packet.Verdict {
	if q.proto == protoTCP || q.proto == protoUDP || q.proto == protoSCTP {
		q.ports = binary.LittleEndian.Uint32(l4[0:4])
		return packet.Output
	}
	id := uint32(binary.LittleEndian.Uint16(l4[4:6]))
	switch {
	case l4[1] != 0:
	case l4[0] == request:
		q.ports = id
		return packet.Output
	case l4[0] == reply:
		q.ports = id << 16
		return packet.Output
	}
	return packet.Continue
}

// quoteEcho gives a quoted echo another id, as on the wire read little-endian. Its
// checksum follows; that of ICMPv6 has to follow the addresses too (keepSum).
func quoteEcho(m []byte, id uint16) {
	if m[0] >= wire.ICMPv6EchoRequest {
		binary.LittleEndian.PutUint16(m[4:6], id)
		return
	}
	was := binary.BigEndian.Uint16(m[4:6])
	binary.LittleEndian.PutUint16(m[4:6], id)
	binary.BigEndian.PutUint16(m[2:4], wire.Update16(binary.BigEndian.Uint16(m[2:4]), was, binary.BigEndian.Uint16(m[4:6])))
}

// passOn sends an error about packets that the real server itself sent to its
// client (DR, Tunnel) to that server, as it came.
func passOn(p *packet.Packet, r *forward.Rewritten) packet.Verdict {
	if r.How.Tunnels() {
		return encapsulate(p, r)
	}
	if is6(p) {
		ip := wire.IPv6(p.Data[p.L3:])
		ip.SetHopLimit(ip.HopLimit() - 1)
		return packet.Output
	}
	ip := wire.IPv4(p.Data[p.L3:])
	ip.SetTTL(ip.TTL() - 1)
	ip.ComputeChecksum()
	return packet.Output
}

// keepSum lets the quoted packet's own checksum, if the quote reaches so far,
// follow what changed in the addresses and the first 8 bytes. Those of UDP and
// ICMPv6 hold the checksum itself, which cancels out.
func keepSum(l4 []byte, proto uint8, was, now uint64) {
	at := 16
	switch proto {
	case protoUDP:
		at = 6
	case protoICMPv6:
		at = 2
	}
	if len(l4) < at+2 {
		return
	}
	sum := binary.BigEndian.Uint16(l4[at:])
	if proto == protoUDP && sum == 0 {
		return // there is none
	}
	sum = wire.UpdateSum(sum, was, now)
	if proto == protoUDP && sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(l4[at:], sum)
}

// leaveRoomForTOA lowers the MTU of a message that says a packet was too big while
// the director still adds the client's address to this client's segments. A client of
// IPv6 need not go below 1280 bytes.
func leaveRoomForTOA(p *packet.Packet, c *flow.Conn, state uint32, how forward.How) {
	if state&(flow.ConnTOA|flow.ConnTold) != flow.ConnTOA {
		return
	}
	n := toaLen(c)
	if is6(p) {
		least := uint32(wire.IPv6MinMTU)
		if how == forward.To4 {
			least = 576 + grown
		}
		if m := wire.ICMPv6(p.Data[p.L4:]); m.Type() == wire.ICMPv6PacketTooBig && m.MTU() > least {
			m.SetMTU(max(m.MTU()-uint32(n), least))
		}
		return
	}
	m := wire.ICMPv4(p.Data[p.L4:])
	if m.Type() != wire.ICMPv4Unreachable || m.Code() != wire.ICMPv4FragNeeded {
		return
	}
	if mtu := m.NextHopMTU(); mtu > 576 {
		m.SetNextHopMTU(mtu - n)
	}
}
