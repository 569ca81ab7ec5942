package tunnel

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/stat"
	"weir/internal/wire"
)

// bed is a stage with a pool, one real port (0) and room for tunnels from 1 on.
type bed struct {
	pool   *packet.Pool
	hops   *flow.Table
	ports  [port.Max]port.Facts
	counts [stat.MaxPorts]stat.PortCount
	*Stage
}

func newBed(t testing.TB, devices ...Device) *bed {
	t.Helper()
	b := &bed{}
	var err error
	if b.hops, err = flow.New(flow.Config{Conns: 100, Workers: 1}); err != nil {
		t.Fatal(err)
	}
	if b.pool, err = packet.NewPool(16, 2); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if n := b.pool.InUse(); n != 0 {
			t.Errorf("%d packets are lost", n)
		}
		b.pool.Close()
		b.hops.Close()
	})
	b.ports[0] = port.Facts{MTU: 1500}
	for i := range devices {
		d := &devices[i]
		if d.Port == 0 {
			d.Port = uint16(i + 1)
		}
		if !d.From.IsValid() {
			d.From = d.Local
		}
		d.IsOurs, d.State = true, &State{}
		if d.Remote.IsValid() {
			d.Way = Way{Hop: d.Remote, MTU: 1500}
		}
		b.ports[d.Port] = port.Facts{ID: d.Port, Kind: port.Tunnel, PointToPoint: true, MTU: 1500 - d.Overhead()}
		b.hops.Hops.SetPointToPoint(d.Port, true)
	}
	b.Stage = New(&b.hops.Hops, &b.counts)
	b.SetTables(Build(devices), &b.ports)
	return b
}

// packet lays an IP packet behind a link header, as ip.Input leaves it.
func (b *bed) packet(ip []byte, out uint16) *packet.Packet {
	p := b.pool.GetBig()
	p.Resize(wire.EthernetLen + len(ip))
	copy(p.Data[wire.EthernetLen:], ip)
	p.L3, p.Out, p.EtherType = wire.EthernetLen, out, wire.EtherTypeIPv4
	if ip[0]>>4 == 6 {
		p.EtherType = wire.EtherTypeIPv6
	}
	b.locate(p)
	return p
}

// locate finds what follows the IP header.
func (b *bed) locate(p *packet.Packet) {
	ip := p.Data[p.L3:]
	if ip[0]>>4 == 6 {
		c, _ := wire.WalkIPv6(ip)
		p.Proto, p.L4 = c.Proto, p.L3+c.Offset
		return
	}
	p.Proto, p.L4 = ip[9], p.L3+uint16(wire.IPv4(ip).HeaderLength())
}

func ip(a string) netip.Addr { return netip.MustParseAddr(a) }

// inner4 and inner6 make packets to be carried.
func inner4(r *rand.Rand, n int) []byte {
	b := make(wire.IPv4, wire.IPv4MinLen+n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	b.SetVersionIHL(wire.IPv4MinLen)
	b.SetTotalLength(uint16(len(b)))
	b.SetTTL(byte(1 + r.IntN(255)))
	b.SetFlagsFragment(0)
	b.ComputeChecksum()
	return b
}

func inner6(r *rand.Rand, n int) []byte {
	b := make(wire.IPv6, wire.IPv6Len+n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	b.SetVersionClassFlow(byte(r.Uint32()), r.Uint32())
	b.SetPayloadLength(uint16(n))
	b.SetNextHeader(wire.ProtoUDP)
	b.SetHopLimit(byte(1 + r.IntN(255)))
	return b
}

// turned is the device at the other end.
func turned(d Device) Device {
	d.Local, d.Remote, d.From = d.Remote, d.Local, d.Remote
	d.In, d.Out, d.InKey, d.OutKey = d.Out, d.In, d.OutKey, d.InKey
	d.State, d.Way = nil, Way{}
	return d
}

// TestThereAndBack: what is put into a tunnel's packet comes out at the other end as it
// was, and gopacket reads the same in between.
func TestThereAndBack(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	for _, ends := range [][2]netip.Addr{{ip("1.1.1.1"), ip("2.2.2.2")}, {ip("2001:db8::1"), ip("2001:db8::2")}} {
		for _, kind := range []Kind{IPIP, GRE} {
			for flags := range uint16(8) {
				d := Device{Kind: kind, Local: ends[0], Remote: ends[1], TTL: uint8(flags * 9), TOS: uint8(r.IntN(256))}
				if kind == GRE {
					d.Out = flags&1*Checksum | flags>>1&1*Key | flags>>2*Sequence
					d.In = (flags ^ 5) & 1 * Checksum
					d.OutKey, d.InKey = r.Uint32()*(uint32(flags>>1&1)), 0
				}
				here, there := newBed(t, d), newBed(t, turned(d))
				for range 20 {
					in := inner4(r, r.IntN(1400))
					if r.IntN(2) == 0 {
						in = inner6(r, r.IntN(1400))
					}
					thereAndBack(t, fmt.Sprintf("%v kind %d flags %d", ends, kind, flags), here, there, d, in)
				}
			}
		}
	}
}

func thereAndBack(t *testing.T, name string, here, there *bed, d Device, in []byte) {
	t.Helper()
	p := here.packet(in, 1)
	if v := here.Output(p); v != packet.Output || p.NextHop == 0 || !p.Is(packet.Tunnelled) {
		t.Fatalf("%s: output says %v, %v", name, v, p.Reason)
	}
	wired := bytes.Clone(p.Data[p.L3:])
	here.pool.Put(p)
	judge(t, name, d, wired, in)
	q := there.packet(wired, 0)
	if v := there.Input(q); v != packet.Decapsulate || q.In != 1 || q.L3 != wire.EthernetLen {
		t.Fatalf("%s: input says %v, %v", name, v, q.Reason)
	}
	if got := q.Data[q.L3:]; !bytes.Equal(got, in) {
		t.Fatalf("%s: % x\nbecame % x", name, in, got)
	}
	there.pool.Put(q)
}

// judge has gopacket read what goes over the wire.
func judge(t *testing.T, name string, d Device, wired, in []byte) {
	t.Helper()
	first := layers.LayerTypeIPv4
	if d.Local.Is6() {
		first = layers.LayerTypeIPv6
	}
	read := gopacket.NewPacket(wired, first, gopacket.DecodeOptions{Lazy: true, NoCopy: true})
	var (
		class, ttl uint8
		proto      layers.IPProtocol
		payload    []byte
	)
	if v4, ok := read.Layers()[0].(*layers.IPv4); ok {
		class, ttl, proto, payload = v4.TOS, v4.TTL, v4.Protocol, v4.Payload
		if v4.Flags != layers.IPv4DontFragment || int(v4.Length) != len(wired) || !wire.IPv4(wired).ChecksumOK() {
			t.Errorf("%s: outer header %+v", name, v4)
		}
	} else {
		v6 := read.Layers()[0].(*layers.IPv6)
		class, ttl, proto, payload = v6.TrafficClass, v6.HopLimit, v6.NextHeader, v6.Payload
	}
	wantTTL, innerClass, wantProto := d.TTL, classOf(in), layers.IPProtocolIPv4
	if wantTTL == 0 {
		wantTTL = in[8]
	}
	if in[0]>>4 == 6 {
		wantProto = layers.IPProtocolIPv6
		if d.TTL == 0 {
			wantTTL = in[7]
		}
	}
	wantClass := d.TOS&^3 | innerClass&3
	if d.TOS&1 != 0 {
		wantClass = innerClass
	}
	if class != wantClass || ttl != wantTTL {
		t.Errorf("%s: outer TOS %#x TTL %d, want %#x and %d", name, class, ttl, wantClass, wantTTL)
	}
	if d.Kind == GRE {
		wantProto = layers.IPProtocolGRE
		var g layers.GRE
		if err := g.DecodeFromBytes(payload, gopacket.NilDecodeFeedback); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if g.ChecksumPresent != (d.Out&Checksum != 0) || g.KeyPresent != (d.Out&Key != 0) || g.SeqPresent != (d.Out&Sequence != 0) || g.KeyPresent && g.Key != d.OutKey {
			t.Errorf("%s: GRE header %+v", name, g)
		}
		payload = g.Payload
	}
	if proto != wantProto || !bytes.Equal(payload, in) {
		t.Errorf("%s: protocol %v, want %v; carried % x", name, proto, wantProto, payload)
	}
}

// TestFindAgainstScan: the table finds what a look at all devices in Linux's order does.
func TestFindAgainstScan(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	some := func() netip.Addr {
		if i := r.IntN(4); i > 0 {
			return netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
		}
		return netip.Addr{}
	}
	for range 300 {
		var devices []Device
		seen := map[string]bool{}
		for range r.IntN(63) {
			d := Device{
				Port: uint16(len(devices) + 1), Kind: Kind(r.IntN(2)), Local: some(), Remote: some(), Bound: r.IntN(2) == 0, Link: uint16(r.IntN(2)),
				In: uint16(r.IntN(2)) * Key, InKey: uint32(r.IntN(3)), IsOurs: r.IntN(9) > 0, From: ip("10.0.0.9"), State: &State{},
			}
			if !d.Bound {
				d.Link = 0
			}
			if d.In == 0 {
				d.InKey = 0
			}
			id := fmt.Sprint(d.Kind, d.Local, d.Remote, d.Bound, d.Link, d.In, d.InKey)
			if !seen[id] {
				seen[id] = true
				devices = append(devices, d)
			}
		}
		table := Build(devices)
		for range 50 {
			e := ends{kind: Kind(r.IntN(2)), keyed: r.IntN(2) == 0}
			local, remote := netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + r.IntN(4))}), netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + r.IntN(4))})
			e.local, e.remote = flow.AddrOf(local), flow.AddrOf(remote)
			if e.keyed {
				e.key = uint32(r.IntN(3))
			}
			in := uint16(r.IntN(2))
			want := scan(devices, e, local, remote, in)
			asked := e
			got := table.find(&asked, in)
			if (got == nil) != (want == nil) || got != nil && got.Port != want.Port {
				t.Fatalf("found %+v, want %+v", got, want)
			}
		}
	}
}

// scan is find, obviously.
func scan(devices []Device, e ends, local, remote netip.Addr, in uint16) (best *Device) {
	score := -1
	for i := range devices {
		d := &devices[i]
		if !d.IsOurs || d.Kind != e.kind || d.Local.IsValid() && d.Local != local || d.Remote.IsValid() && d.Remote != remote ||
			(d.In&Key != 0) != e.keyed || e.keyed && d.InKey != e.key {
			continue
		}
		s := 0
		if d.Remote.IsValid() {
			s += 20
		}
		if d.Local.IsValid() {
			s += 10
		}
		switch {
		case d.Bound && d.Link == in:
			s += 2
		case !d.Bound:
			s++
		}
		if s > score {
			best, score = d, s
		}
	}
	return best
}

func TestECN(t *testing.T) {
	// RFC 6040, figure 4, by inner and outer mark.
	want := [4][4]string{
		notECT: {notECT: "not", ect0: "not", ect1: "not", ce: "drop"},
		ect0:   {notECT: "ect0", ect0: "ect0", ect1: "ect1", ce: "ce"},
		ect1:   {notECT: "ect1", ect0: "ect1", ect1: "ect1", ce: "ce"},
		ce:     {notECT: "ce", ect0: "ce", ect1: "ce", ce: "ce"},
	}
	names := map[uint8]string{notECT: "not", ect0: "ect0", ect1: "ect1", ce: "ce"}
	r := rand.New(rand.NewPCG(3, 4))
	for in := range uint8(4) {
		for out := range uint8(4) {
			for _, b := range [][]byte{inner4(r, 8), inner6(r, 8)} {
				if b[0]>>4 == 6 {
					wire.IPv6(b).SetTrafficClass(0x28 | in)
				} else {
					wire.IPv4(b).SetTOS(0x28 | in)
					wire.IPv4(b).ComputeChecksum()
				}
				got := "drop"
				if mark(b, 0xb8|out) {
					got = names[classOf(b)&3]
				}
				if got != want[in][out] || got != "drop" && classOf(b)>>2 != 0x28>>2 {
					t.Errorf("inner %s, outer %s: %s, want %s (%#x)", names[in], names[out], got, want[in][out], classOf(b))
				}
				if b[0]>>4 == 4 && !wire.IPv4(b).ChecksumOK() {
					t.Errorf("inner %s, outer %s: the checksum is wrong now", names[in], names[out])
				}
			}
		}
	}
}

func TestSequence(t *testing.T) {
	var s State
	for _, step := range []struct {
		n    uint32
		want bool
	}{{0xfffffffd, true}, {0xfffffffe, true}, {0xfffffffe, false}, {1, true}, {0, false}, {0xffffffff, false}, {2, true}, {2, false}} {
		if got := s.inOrder(step.n); got != step.want {
			t.Errorf("number %#x: in order %v, want %v", step.n, got, step.want)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	d := Device{Kind: GRE, Local: ip("1.1.1.1"), Remote: ip("2.2.2.2"), In: Checksum | Key, Out: Checksum | Key | Sequence, InKey: 7, OutKey: 7}
	other := turned(d)
	other.In = Checksum | Key
	here, there := newBed(t, d), newBed(t, other)
	in := inner4(r, 500)
	if n := testing.AllocsPerRun(200, func() {
		p := here.packet(in, 1)
		if here.Output(p) != packet.Output {
			t.Fatal(p.Reason)
		}
		q := there.packet(p.Data[p.L3:], 0)
		if there.Input(q) != packet.Decapsulate {
			t.Fatal(q.Reason)
		}
		here.pool.Put(p)
		there.pool.Put(q)
	}); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}

// FuzzInput: whatever comes, it is taken, dropped with a reason, or left as it came.
func FuzzInput(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 5))
	for _, d := range []Device{
		{Local: ip("1.1.1.1"), Remote: ip("2.2.2.2")},
		{Kind: GRE, Local: ip("1.1.1.1"), Remote: ip("2.2.2.2"), Out: Checksum | Key, OutKey: 7},
		{Kind: GRE, Local: ip("2001:db8::1"), Remote: ip("2001:db8::2"), Out: Sequence},
	} {
		b := newBed(f, d)
		p := b.packet(inner4(r, 30), 1)
		b.Output(p)
		f.Add(bytes.Clone(p.Data[p.L3:]))
		b.pool.Put(p)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < wire.IPv6Len || len(data) > 9000 || data[0]>>4 != 4 && data[0]>>4 != 6 || data[0]>>4 == 4 && wire.IPv4(data).HeaderLength() < 20 {
			return // ip.Input let none of these come here
		}
		b := newBed(t,
			Device{Local: ip("2.2.2.2"), Remote: ip("1.1.1.1")}, Device{Kind: GRE, Local: ip("2.2.2.2"), Remote: ip("1.1.1.1"), In: Checksum | Key, InKey: 7},
			Device{Kind: GRE, Local: ip("2001:db8::2"), In: Sequence}, Device{From: ip("2.2.2.2")})
		if data[0]>>4 == 6 {
			if c, fault := wire.WalkIPv6(data); fault != wire.ChainOK || int(c.Offset) > len(data) {
				return
			}
		} else if wire.IPv4(data).HeaderLength() > len(data) {
			return
		}
		p := b.packet(data, 0)
		defer b.pool.Put(p)
		if p.Proto != wire.ProtoIPIP && p.Proto != wire.ProtoIPv6 && p.Proto != wire.ProtoGRE {
			return
		}
		before := bytes.Clone(p.Data)
		switch v := b.Input(p); v {
		case packet.Decapsulate:
			if p.In == 0 || p.L3 != wire.EthernetLen || len(p.Data) < wire.EthernetLen+wire.IPv4MinLen || len(p.Data) > len(before) {
				t.Fatalf("came out as %+v", p)
			}
		case packet.Drop:
			if p.Reason == packet.NoReason {
				t.Fatal("dropped without a reason")
			}
		case packet.Continue:
			if p.In != 0 || !bytes.Equal(p.Data, before) {
				t.Fatal("what is no device's was changed")
			}
		default:
			t.Fatalf("verdict %v", v)
		}
	})
}
