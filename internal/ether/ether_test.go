package ether

import (
	"bytes"
	"net/netip"
	"testing"

	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/stat"
	"weir/internal/wire"
)

var (
	own    = port.MAC{2, 0x11, 0x22, 0x33, 0x44, 0x55}
	own2   = port.MAC{2, 0x11, 0x22, 0x33, 0x44, 0x66}
	far    = port.MAC{2, 0xaa, 0xbb, 0xcc, 0xdd, 0xee}
	facts  = [port.Max]port.Facts{3: {ID: 3, MAC: own, MTU: 1500}, 4: {ID: 4, MAC: own2, MTU: 1500}}
	gwAddr = netip.AddrFrom4([4]byte{10, 0, 0, 1})
)

type bench struct {
	link *Link
	hops *flow.NextHops
	pool *packet.Pool
}

func newBench(t testing.TB) *bench {
	t.Helper()
	table, err := flow.New(flow.Config{Conns: 1, Workers: 1, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	pool, err := packet.NewPool(4, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if n := pool.InUse(); n != 0 {
			t.Errorf("%d packets leaked", n)
		}
		table.Close()
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
	return &bench{New(&table.Hops, &facts, new([stat.MaxPorts]stat.PortCount)), &table.Hops, pool}
}

func (b *bench) frame(dst, src port.MAC, kind uint16, payload ...byte) *packet.Packet {
	p := b.pool.Get()
	p.Resize(wire.EthernetLen + len(payload))
	e := wire.Ethernet(p.Data)
	e.SetDestination(dst)
	e.SetSource(src)
	e.SetEtherType(kind)
	copy(p.Data[wire.EthernetLen:], payload)
	p.In = 3
	return p
}

func TestInput(t *testing.T) {
	for _, row := range []struct {
		name     string
		dst, src port.MAC
		kind     uint16
		verdict  packet.Verdict
		reason   packet.Reason
		flags    packet.Flags
	}{
		{"IPv4 for us", own, far, wire.EtherTypeIPv4, packet.Continue, 0, 0},
		{"IPv4 to everybody", port.Broadcast, far, wire.EtherTypeIPv4, packet.Continue, 0, packet.Broadcast},
		{"IPv4 to a group", port.MAC{1, 0, 0x5e, 0, 0, 5}, far, wire.EtherTypeIPv4, packet.Continue, 0, packet.Multicast},
		{"ARP for us", own, far, wire.EtherTypeARP, packet.Neighbour, 0, 0},
		{"ARP to everybody", port.Broadcast, far, wire.EtherTypeARP, packet.Neighbour, 0, packet.Broadcast},
		{"for another machine", far, port.MAC{2, 9, 9, 9, 9, 9}, wire.EtherTypeIPv4, packet.Drop, packet.EtherOtherHost, 0},
		{"for another of our ports", own2, far, wire.EtherTypeIPv4, packet.Drop, packet.EtherOtherHost, 0},
		{"last byte differs", port.MAC{2, 0x11, 0x22, 0x33, 0x44, 0x54}, far, wire.EtherTypeIPv4, packet.Drop, packet.EtherOtherHost, 0},
		{"our own came back", port.Broadcast, own, wire.EtherTypeARP, packet.Drop, packet.EtherLoop, packet.Broadcast},
		{"our own to us", own, own, wire.EtherTypeIPv4, packet.Drop, packet.EtherLoop, 0},
		{"VLAN", own, far, wire.EtherTypeVLAN, packet.Drop, packet.EtherVLAN, 0},
		{"VLAN in VLAN", own, far, wire.EtherTypeQinQ, packet.Drop, packet.EtherVLAN, 0},
		{"IPv6", own, far, wire.EtherTypeIPv6, packet.Continue, 0, 0},
		{"LLDP", own, far, 0x88cc, packet.Drop, packet.EtherType, 0},
		{"802.3 length", own, far, 60, packet.Drop, packet.EtherType, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBench(t)
			p := b.frame(row.dst, row.src, row.kind, 1, 2, 3, 4)
			defer b.pool.Put(p)
			v := b.link.Input(p)
			if v != row.verdict || p.Reason != row.reason || p.Flags != row.flags {
				t.Errorf("%v %v flags %b, want %v %v %b", v, p.Reason, p.Flags, row.verdict, row.reason, row.flags)
			}
			if (v == packet.Continue || v == packet.Neighbour) && (p.L3 != 14 || p.EtherType != row.kind) {
				t.Errorf("L3 %d, EtherType %#x", p.L3, p.EtherType)
			}
		})
	}
}

func TestInputShort(t *testing.T) {
	for n := range wire.EthernetLen {
		b := newBench(t)
		p := b.frame(own, far, wire.EtherTypeIPv4)
		p.Resize(n)
		if v := b.link.Input(p); v != packet.Drop || p.Reason != packet.EtherShort {
			t.Errorf("%d bytes: %v %v", n, v, p.Reason)
		}
		b.pool.Put(p)
	}
}

func TestOutput(t *testing.T) {
	for _, row := range []struct {
		name  string
		first byte // of the network header
		l3    int
		kind  uint16
	}{
		{"IPv4 as it came", 0x45, 14, wire.EtherTypeIPv4},
		{"IPv6 as it came", 0x60, 14, wire.EtherTypeIPv6},
		{"made without link header", 0x45, 0, wire.EtherTypeIPv4},
		{"came with a longer one", 0x45, 18, wire.EtherTypeIPv4},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBench(t)
			p := b.pool.Get()
			defer b.pool.Put(p)
			p.Resize(row.l3 + 24)
			p.Data[row.l3] = row.first
			p.Data[row.l3+20] = 0x77
			p.L3, p.L4 = uint16(row.l3), uint16(row.l3+20)
			p.NextHop = b.hops.Get(4, gwAddr, own2, 1500)
			b.hops.At(p.NextHop).SetDest(far)

			if v := b.link.Output(p); v != packet.Transmit || p.Out != 4 {
				t.Fatalf("%v out %d (%v)", v, p.Out, p.Reason)
			}
			e := wire.Ethernet(p.Data)
			if e.Destination() != far || e.Source() != own2 || e.EtherType() != row.kind {
				t.Errorf("header %x", p.Data[:14])
			}
			if len(p.Data) != 14+24 || p.L3 != 14 || p.L4 != 34 || p.Data[14] != row.first || p.Data[34] != 0x77 {
				t.Errorf("L3 %d L4 %d, %x", p.L3, p.L4, p.Data)
			}
		})
	}
}

func TestOutputToAWayBack(t *testing.T) {
	b := newBench(t)
	p := b.frame(own, far, wire.EtherTypeIPv4, 0x45)
	defer b.pool.Put(p)
	p.L3 = 14
	p.NextHop = b.hops.Back(3, far, own, 1500)
	if v := b.link.Output(p); v != packet.Transmit || p.Out != 3 {
		t.Fatalf("%v out %d", v, p.Out)
	}
	if e := wire.Ethernet(p.Data); e.Destination() != far || e.Source() != own {
		t.Errorf("header %x", p.Data[:14])
	}
}

func TestOutputWithoutRoom(t *testing.T) {
	b := newBench(t)
	p := b.pool.Get()
	defer b.pool.Put(p)
	p.Reset(4)
	p.Resize(20)
	before := bytes.Clone(p.Data)
	p.NextHop = b.hops.Get(4, gwAddr, own2, 1500)
	if v := b.link.Output(p); v != packet.Drop || p.Reason != packet.WalkFault || !bytes.Equal(before, p.Data) {
		t.Errorf("%v %v", v, p.Reason)
	}
}

func TestAllocations(t *testing.T) {
	b := newBench(t)
	p := b.frame(own, far, wire.EtherTypeIPv4, 0x45)
	defer b.pool.Put(p)
	ref := b.hops.Get(4, gwAddr, own2, 1500)
	if n := testing.AllocsPerRun(100, func() {
		wire.Ethernet(p.Data).SetDestination(own)
		wire.Ethernet(p.Data).SetSource(far)
		p.In = 3
		if b.link.Input(p) != packet.Continue {
			t.Fatal(p.Reason)
		}
		p.NextHop = ref
		if b.link.Output(p) != packet.Transmit {
			t.Fatal(p.Reason)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzInput(f *testing.F) {
	f.Add(append(append(append([]byte{}, own[:]...), far[:]...), 8, 0, 0x45))
	b := newBench(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > packet.SmallFrame-packet.Headroom {
			return
		}
		p := b.pool.Get()
		defer b.pool.Put(p)
		p.Resize(len(data))
		copy(p.Data, data)
		p.In = 3
		if v := b.link.Input(p); v == packet.Drop && p.Reason == packet.NoReason {
			t.Fatal("dropped without a reason")
		} else if v != packet.Drop && int(p.L3) > len(p.Data) {
			t.Fatalf("L3 %d of %d bytes", p.L3, len(p.Data))
		}
	})
}

func BenchmarkInput(b *testing.B) {
	n := newBench(b)
	p := n.frame(own, far, wire.EtherTypeIPv4, 0x45)
	defer n.pool.Put(p)
	for b.Loop() {
		n.link.Input(p)
	}
}

func BenchmarkOutput(b *testing.B) {
	n := newBench(b)
	p := n.frame(own, far, wire.EtherTypeIPv4, 0x45)
	defer n.pool.Put(p)
	p.L3 = wire.EthernetLen
	p.NextHop = n.hops.Get(4, gwAddr, own2, 1500)
	for b.Loop() {
		n.link.Output(p)
	}
}
