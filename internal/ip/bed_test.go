package ip

import (
	"net/netip"
	"testing"

	"weir/internal/clock"
	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/route"
	"weir/internal/spec"
	"weir/internal/stat"
	"weir/internal/wire"
)

// The network of the tests: port 0 (RxPartial) has 10.0.0.5/24 and the VIP
// 10.0.0.100, port 1 has 192.168.0.5/24 with MTU 1400 behind a gateway to
// 172.16.0.0/16; 172.17.0.1 is the kernel's. Of IPv6, port 0 has 2001:db8::5/64, the
// VIP 2001:db8::100 and fe80::5, port 1 2001:db8:1::5/64 with MTU 1400 behind a
// gateway to 2001:db8:f::/48.
var (
	mac0   = port.MAC{2, 0, 0, 0, 0, 0x10}
	mac1   = port.MAC{2, 0, 0, 0, 0, 0x11}
	macX   = port.MAC{2, 0, 0, 0, 0, 0xaa}
	own    = netip.MustParseAddr("10.0.0.5")
	vip    = netip.MustParseAddr("10.0.0.100")
	own1   = netip.MustParseAddr("192.168.0.5")
	near   = netip.MustParseAddr("10.0.0.7")
	far    = netip.MustParseAddr("172.16.3.4")
	kernel = netip.MustParseAddr("172.17.0.1")
	nobody = netip.MustParseAddr("8.8.8.8") // no route leads there

	own6    = netip.MustParseAddr("2001:db8::5")
	local6  = netip.MustParseAddr("fe80::5")
	vip6    = netip.MustParseAddr("2001:db8::100")
	own61   = netip.MustParseAddr("2001:db8:1::5")
	near6   = netip.MustParseAddr("2001:db8::7")
	link6   = netip.MustParseAddr("fe80::7")
	far6    = netip.MustParseAddr("2001:db8:f::4")
	kernel6 = netip.MustParseAddr("2001:db8:e::1")
	nobody6 = netip.MustParseAddr("2001:4860::8")

	facts = [port.Max]port.Facts{
		0: {ID: 0, Name: "dpdk0", MAC: mac0, MTU: 1500, RxPartial: true},
		1: {ID: 1, Name: "dpdk1", MAC: mac1, MTU: 1500, TxCsum: true, TxGSO: true},
	}
)

const seed = 0x1234567

type bed struct {
	t     testing.TB
	table *flow.Table
	pool  *packet.Pool
	out   packet.Outbox
	stats stat.Worker
	*Stack
}

func newBed(t testing.TB, frames int) *bed {
	t.Helper()
	table, err := flow.New(flow.Config{Conns: 1, Workers: 1, Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{t: t, table: table}
	if b.pool, err = packet.NewPool(frames, 2); err != nil {
		t.Fatal(err)
	}
	b.Stack = New(&table.Hops, seed, &facts, b.pool, &b.out, &b.stats)
	b.Table, err = route.Build([]route.Port{{ID: 0, Name: "dpdk0", MTU: 1500}, {ID: 1, Name: "dpdk1", MTU: 1500}},
		[]spec.Address{
			{Port: "dpdk0", Prefix: netip.PrefixFrom(own, 24)}, {Port: "dpdk0", Prefix: netip.PrefixFrom(vip, 32)},
			{Port: "dpdk1", Prefix: netip.PrefixFrom(own1, 24)},
			{Port: "dpdk0", Prefix: netip.PrefixFrom(own6, 64)}, {Port: "dpdk0", Prefix: netip.PrefixFrom(vip6, 128)},
			{Port: "dpdk0", Prefix: netip.PrefixFrom(local6, 64)}, {Port: "dpdk1", Prefix: netip.PrefixFrom(own61, 64)},
		},
		[]spec.Route{
			{Prefix: netip.MustParsePrefix("172.16.0.0/16"), Port: "dpdk1", Via: netip.MustParseAddr("192.168.0.1"), MTU: 1400},
			{Prefix: netip.PrefixFrom(kernel, 32), Port: "dpdk1", Scope: spec.ScopeKNIHost},
			{Prefix: netip.MustParsePrefix("2001:db8:f::/48"), Port: "dpdk1", Via: netip.MustParseAddr("2001:db8:1::1"), MTU: 1400},
			{Prefix: netip.PrefixFrom(kernel6, 128), Port: "dpdk1", Scope: spec.ScopeKNIHost},
		})
	if err != nil {
		t.Fatal(err)
	}
	b.Tick(clock.Tick(1 << 20))
	t.Cleanup(func() {
		b.empty(t)
		table.Close()
		if err := b.pool.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// empty puts back what is in the outbox; then nothing may be in use.
func (b *bed) empty(t testing.TB) {
	t.Helper()
	for p := b.pop(); p != nil; p = b.pop() {
		b.pool.Put(p)
	}
	if n := b.pool.InUse(); n != 0 {
		t.Errorf("%d packets leaked", n)
	}
}

// pop takes one packet out of the outbox, or nil.
func (b *bed) pop() *packet.Packet {
	var one [1]*packet.Packet
	b.out.Pop(one[:])
	return one[0]
}

// made is a packet as a test says it.
type made struct {
	src, dst     netip.Addr
	proto        uint8
	l4           []byte // header and data; UDP and TCP lengths and checksums are filled in
	ttl          uint8  // 0: 64
	df           bool
	options      []byte // of IP
	padding      int    // bytes behind the packet
	flags        packet.Flags
	change       func(ip wire.IPv4) // before the header checksum
	spoil        func(ip wire.IPv4) // after everything
	partial      bool               // L4 checksum
	gsoType      uint8
	gsoSize      uint16
	beyondHeader int // cut the frame so long after the link header; 0: not
}

// packet makes it, on a big frame if it must, as ether.Input leaves it.
func (b *bed) packet(m made) *packet.Packet {
	hlen := wire.IPv4MinLen + len(m.options)
	size := wire.EthernetLen + hlen + len(m.l4) + m.padding
	p := b.pool.Get()
	if size > packet.SmallFrame-packet.Headroom {
		b.pool.Put(p)
		p = b.pool.GetBig()
	}
	if p == nil || !p.Resize(size) {
		b.t.Fatalf("no memory for a test packet of %d bytes", size)
	}
	clear(p.Data)
	e := wire.Ethernet(p.Data)
	e.SetDestination(mac0)
	e.SetSource(macX)
	e.SetEtherType(wire.EtherTypeIPv4)
	ip := wire.IPv4(p.Data[wire.EthernetLen : size-m.padding])
	ip.SetVersionIHL(hlen)
	ip.SetTotalLength(uint16(len(ip)))
	ip.SetID(0x1000)
	if m.df {
		ip.SetFlagsFragment(wire.IPv4DontFragment)
	}
	ip.SetTTL(m.ttl)
	if m.ttl == 0 {
		ip.SetTTL(64)
	}
	ip.SetProtocol(m.proto)
	ip.SetSrc(m.src.As4())
	ip.SetDst(m.dst.As4())
	copy(ip[wire.IPv4MinLen:], m.options)
	copy(ip[hlen:], m.l4)
	if m.proto == wire.ProtoUDP && len(m.l4) >= wire.UDPLen {
		wire.UDP(ip[hlen:]).SetLength(uint16(len(m.l4)))
	}
	if m.partial {
		wire.PartialL4(ip)
	} else {
		wire.CompleteL4(ip)
	}
	if m.proto == wire.ProtoICMP && len(m.l4) >= wire.ICMPv4Len {
		wire.ICMPv4(ip[hlen:]).ComputeChecksum()
	}
	if m.change != nil {
		m.change(ip)
	}
	ip.ComputeChecksum()
	if m.spoil != nil {
		m.spoil(ip)
	}
	p.L3, p.EtherType, p.Flags = wire.EthernetLen, wire.EtherTypeIPv4, m.flags
	p.GSOType, p.GSOSize = m.gsoType, m.gsoSize
	if m.gsoSize != 0 {
		p.Flags |= packet.GSO
	}
	if m.beyondHeader != 0 {
		p.Resize(wire.EthernetLen + m.beyondHeader)
	}
	return p
}

func tcp(flags uint8, options []byte, data string) []byte {
	b := make([]byte, wire.TCPMinLen+len(options)+len(data))
	t := wire.TCP(b)
	t.SetSrcPort(40000)
	t.SetDstPort(80)
	t.SetSeq(1000)
	t.SetAck(2000)
	t.SetDataOffset(wire.TCPMinLen + len(options))
	t.SetFlags(flags)
	t.SetWindow(512)
	copy(b[wire.TCPMinLen:], options)
	copy(b[wire.TCPMinLen+len(options):], data)
	return b
}

func udp(data string) []byte {
	b := make([]byte, wire.UDPLen+len(data))
	u := wire.UDP(b)
	u.SetSrcPort(5000)
	u.SetDstPort(53)
	u.SetLength(uint16(len(b)))
	copy(b[wire.UDPLen:], data)
	return b
}

func icmp(kind, code uint8, data string) []byte {
	b := make([]byte, wire.ICMPv4Len+len(data))
	m := wire.ICMPv4(b)
	m.SetType(kind)
	m.SetCode(code)
	m.SetIdent(7)
	m.SetSequence(8)
	copy(b[wire.ICMPv4Len:], data)
	return b
}
