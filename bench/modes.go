package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"slices"

	"weir/internal/packet"
	"weir/internal/spec"
	"weir/internal/wire"
)

// A mode of forwarding between two families.
type mode struct {
	name             string
	forward          spec.Forward
	client6, server6 bool
	tcp              bool
}

// The first one is what the others are compared with.
var modes = []mode{
	{"full-NAT 4-4", spec.FullNAT, false, false, false},
	{"full-NAT 6-6", spec.FullNAT, true, true, false},
	{"full-NAT 4-4, TCP", spec.FullNAT, false, false, true},
	{"full-NAT 6-6, TCP", spec.FullNAT, true, true, true},
	{"NAT64", spec.FullNAT, true, false, false},
	{"NAT46", spec.FullNAT, false, true, false},
	{"NAT 4", spec.Masq, false, false, false},
	{"NAT 6", spec.Masq, true, true, false},
	{"DR 4", spec.DirectRoute, false, false, false},
	{"DR 6", spec.DirectRoute, true, true, false},
	{"Tunnel 4in4", spec.Tunnel, false, false, false},
	{"Tunnel 6in6", spec.Tunnel, true, true, false},
	{"Tunnel 6in4", spec.Tunnel, true, false, false},
	{"Tunnel 4in6", spec.Tunnel, false, true, false},
	{"SNAT 4", spec.SNAT, false, false, false},
	{"SNAT 6", spec.SNAT, true, true, false},
}

// oneWay: the real server answers past the director.
func (m mode) oneWay() bool { return m.forward == spec.DirectRoute || m.forward == spec.Tunnel }

// from is the port on which what begins a connection arrives, to the other one.
func (m mode) from() (from, to int) {
	if m.forward == spec.SNAT {
		return lan, wan
	}
	return wan, lan
}

// udpPayload makes an IPv4 frame the least there is.
const udpPayload = frameSize - wire.EthernetLen - wire.IPv4MinLen - wire.UDPLen

// compareModes measures every mode beside full-NAT 4-4.
func compareModes(args []string) error {
	c := contest{
		name: "modes", of: "mode", what: "The walk in each mode, pipe to pipe",
		columns: [4]string{"inbound", "of 4-4", "outbound", "of 4-4"},
	}
	for _, m := range modes {
		c.rows = append(c.rows, row{name: m.name, label: m.name, mode: m, on: plain})
	}
	return c.run(args)
}

// modeRun sends the datagrams of one mode's flows in a cycle.
type modeRun struct {
	*bed
	mode        mode
	on          device
	frames      [2][][]byte // by port: what arrives there, a frame for each flow
	next, off   int
	caught      [][]byte     // what left while flows were opened
	costsOf     [2][]float64 // inbound, outbound: ns a packet
	allocations float64
}

// newModeRun opens all flows. Of devices other than plain, clients' packets have to be
// what begins a connection.
func newModeRun(m mode, on device, flows int) (*modeRun, error) {
	b, err := newModeBed(m, on, flows)
	if err != nil {
		return nil, err
	}
	r := &modeRun{bed: b, mode: m, on: on}
	from, to := m.from()
	for i := range flows {
		f := m.frame(from, i)
		if m.tcp {
			f = segment(f, syn, clientISN, 0)
		}
		if from == wan {
			f = on.wrap(f)
		}
		r.frames[from] = append(r.frames[from], f)
	}
	caught, err := r.opening(from)
	if err != nil {
		return nil, err
	}
	r.collect(b.sink)
	if m.oneWay() {
		return r, nil
	}
	for _, f := range caught {
		r.frames[to] = append(r.frames[to], answer(to, f))
	}
	if m.tcp {
		if err := r.establish(from, to, caught); err != nil {
			return nil, err
		}
	}
	r.pass(flows, to)
	r.pass(flows, from)
	return r, r.lost()
}

// opening sends the first packet of each flow, and returns what left.
func (r *modeRun) opening(from int) ([][]byte, error) {
	flows := len(r.frames[from])
	r.collect(r.catch)
	r.pass(flows, from)
	if err := r.lost(); err != nil {
		return nil, err
	}
	if len(r.caught) != flows || r.shared.Flows.Len() != flows {
		return nil, fmt.Errorf("%d packets left and %d flows were made of %d", len(r.caught), r.shared.Flows.Len(), flows)
	}
	return r.caught, nil
}

// establish takes TCP connections whose SYNs left as caught through their handshake, a
// request and an answer, so that nothing is left to decide, and puts segments of data into
// frames for both ways.
func (r *modeRun) establish(from, to int, caught [][]byte) error {
	each := func(in int, f func(i int) []byte) {
		for i := range r.frames[in] {
			r.frames[in][i] = f(i)
		}
		r.pass(len(r.frames[in]), in)
	}
	isn := func(i int) uint32 { return tcpOf(caught[i]).Seq() }
	each(to, func(i int) []byte { return segment(answer(to, caught[i]), syn|ack, serverISN, isn(i)+1) })
	each(from, func(i int) []byte { return segment(r.frames[from][i], ack, clientISN+1, serverISN+1) })
	each(to, func(i int) []byte { return segment(r.frames[to][i], ack, serverISN+1, isn(i)+1) })
	const answered = serverISN + 1 + udpPayload
	each(from, func(i int) []byte { return segment(r.frames[from][i], ack, clientISN+1, answered) })
	for i, f := range r.frames[to] {
		r.frames[to][i] = segment(f, ack, answered, isn(i)+1)
	}
	return r.lost()
}

// tcpOf is the TCP header of a frame without IP options or extension headers.
func tcpOf(f []byte) wire.TCP {
	if binary.BigEndian.Uint16(f[12:]) == wire.EtherTypeIPv6 {
		return wire.TCP(f[wire.EthernetLen+wire.IPv6Len:])
	}
	return wire.TCP(f[wire.EthernetLen+wire.IPv4MinLen:])
}

// segment makes a TCP segment of a frame, with the same addresses and ports and as many
// bytes of data, or none with SYN.
func segment(f []byte, flags uint8, seq, ackn uint32) []byte {
	data := udpPayload
	if flags&syn != 0 {
		data = 0
	}
	head := len(f) - len(tcpOf(f))
	g := make([]byte, head+wire.TCPMinLen+data)
	copy(g, f[:head+4])
	t := tcpOf(g)
	t.SetSeq(seq)
	t.SetAck(ackn)
	t.SetDataOffset(wire.TCPMinLen)
	t.SetFlags(flags)
	t.SetWindow(65535)
	if binary.BigEndian.Uint16(g[12:]) == wire.EtherTypeIPv6 {
		ip := wire.IPv6(g[wire.EthernetLen:])
		ip.SetPayloadLength(uint16(len(t)))
		ip.SetNextHeader(wire.ProtoTCP)
		wire.CompleteL4Over6(ip)
		return g
	}
	ip := wire.IPv4(g[wire.EthernetLen:])
	ip.SetTotalLength(uint16(len(ip)))
	ip.SetProtocol(wire.ProtoTCP)
	ip.ComputeChecksum()
	wire.CompleteL4(ip)
	return g
}

// catch keeps what was sent.
func (r *modeRun) catch(burst []*packet.Packet) {
	for _, p := range burst {
		r.caught = append(r.caught, slices.Clone(p.Data))
		r.pool.Put(p)
	}
}

// source makes the next datagrams that arrive on a port.
func (r *modeRun) source(in int) func(burst []*packet.Packet) int {
	return func(burst []*packet.Packet) int {
		n := min(len(burst), r.off)
		frames := r.frames[in]
		for j := range burst[:n] {
			p := r.pool.Get()
			f := frames[r.next]
			p.Resize(len(f))
			copy(p.Data, f)
			burst[j] = p
			if r.next++; r.next == len(frames) {
				r.next = 0
			}
		}
		r.off -= n
		return n
	}
}

// pass sends n datagrams that arrive on a port through the worker.
func (r *modeRun) pass(n, in int) {
	r.idle()
	r.next = 0
	r.feed(in, r.source(in))
	for r.off = n; r.off > 0; {
		r.worker.Breathe()
	}
}

// dry does what pass does but for the worker.
func (r *modeRun) dry(n, in int) {
	var burst [64]*packet.Packet
	r.next = 0
	source := r.source(in)
	for r.off = n; r.off > 0; {
		k := source(burst[:])
		for _, p := range burst[:k] {
			p.In = uint16(in)
		}
		r.sink(burst[:k])
	}
}

// measure adds a repetition.
func (r *modeRun) measure(n int) {
	from, to := r.mode.from()
	var before, after runtime.MemStats
	for i, in := range []int{from, to} {
		if i == 1 && r.mode.oneWay() {
			return
		}
		r.pass(len(r.frames[in]), in) // others' packets were in the caches
		runtime.ReadMemStats(&before)
		t0 := cpuTime()
		r.pass(n, in)
		t1 := cpuTime()
		runtime.ReadMemStats(&after)
		r.dry(n, in)
		t2 := cpuTime()
		r.costsOf[i] = append(r.costsOf[i], float64(t1-t0-(t2-t1))/float64(n))
		r.allocations = max(r.allocations, float64(after.Mallocs-before.Mallocs)/float64(n))
	}
}

// costs are the medians.
func (r *modeRun) costs() (c [2]cost) {
	for i, v := range r.costsOf {
		if len(v) > 0 {
			c[i] = costOf(median(slices.Clone(v)))
		}
	}
	return c
}

// frame makes the datagram that begins flow i.
func (m mode) frame(in, i int) []byte {
	src, dst := netip.AddrFrom4([4]byte{10, byte(16 + i>>16), byte(i >> 8), byte(i)}), vip
	if m.client6 {
		src, dst = netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 4: 0xcc, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)}), vip6
	}
	if m.forward == spec.SNAT {
		dst = remote
		if m.client6 {
			dst = remote6
		}
	}
	dport := uint16(servicePort)
	if m.forward == spec.SNAT {
		dport += uint16(i / 50000) // one WAN address has so many ports toward one remote end, and a few more
	}
	// Three times: else address and port would cancel each other in a bond's hash.
	return datagram(in, src, dst, uint16(1024+3*i%50000), dport)
}

// datagram makes an Ethernet frame toward the director.
func datagram(in int, src, dst netip.Addr, sport, dport uint16) []byte {
	l4 := wire.EthernetLen + wire.IPv4MinLen
	if src.Is6() {
		l4 = wire.EthernetLen + wire.IPv6Len
	}
	f := make([]byte, l4+wire.UDPLen+udpPayload)
	e := wire.Ethernet(f)
	e.SetDestination(portMACs[in])
	e.SetSource(peerMACs[in])
	u := wire.UDP(f[l4:])
	u.SetSrcPort(sport)
	u.SetDstPort(dport)
	u.SetLength(uint16(len(u)))
	if src.Is6() {
		e.SetEtherType(wire.EtherTypeIPv6)
		ip := wire.IPv6(f[wire.EthernetLen:])
		ip.SetVersionClassFlow(0, 0)
		ip.SetPayloadLength(uint16(len(u)))
		ip.SetNextHeader(wire.ProtoUDP)
		ip.SetHopLimit(64)
		ip.SetSrc(src.As16())
		ip.SetDst(dst.As16())
		wire.CompleteL4Over6(ip)
		return f
	}
	e.SetEtherType(wire.EtherTypeIPv4)
	ip := wire.IPv4(f[wire.EthernetLen:])
	ip.SetVersionIHL(wire.IPv4MinLen)
	ip.SetTotalLength(uint16(len(ip)))
	ip.SetTTL(64)
	ip.SetProtocol(wire.ProtoUDP)
	ip.SetSrc(src.As4())
	ip.SetDst(dst.As4())
	ip.ComputeChecksum()
	wire.CompleteL4(ip)
	return f
}

// answer makes the answer to a frame that left on a port.
func answer(in int, f []byte) []byte {
	if binary.BigEndian.Uint16(f[12:]) == wire.EtherTypeIPv6 {
		ip, u := wire.IPv6(f[wire.EthernetLen:]), wire.UDP(f[wire.EthernetLen+wire.IPv6Len:])
		return datagram(in, netip.AddrFrom16(ip.Dst()), netip.AddrFrom16(ip.Src()), u.DstPort(), u.SrcPort())
	}
	ip, u := wire.IPv4(f[wire.EthernetLen:]), wire.UDP(f[wire.EthernetLen+wire.IPv4MinLen:])
	return datagram(in, netip.AddrFrom4(ip.Dst()), netip.AddrFrom4(ip.Src()), u.DstPort(), u.SrcPort())
}
