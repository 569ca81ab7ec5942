package ip

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"weir/internal/clock"
	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/route"
	"weir/internal/wire"
)

// refuse gives a packet to Refuse and returns the ICMP error, or nil.
func (b *bed) refuse(m made, why packet.Reason, mtu uint16) *packet.Packet {
	p := b.packet(m)
	defer b.pool.Put(p)
	p.Reason, p.MTU = why, mtu
	b.Refuse(p)
	return b.pop()
}

func TestRefuse(t *testing.T) {
	long := string(bytes.Repeat([]byte("weir"), 300))
	for _, row := range []struct {
		name       string
		why        packet.Reason
		dst        netip.Addr
		kind, code uint8
		mtu        uint16
		data       string
		from       netip.Addr
	}{
		{"TTL", packet.IPTTL, far, 11, 0, 0, "abc", own},
		{"too big", packet.IPTooBig, vip, 3, 4, 1400, long, vip},
		{"no route", packet.IPNoRoute, nobody, 3, 0, 0, "", own},
		{"no listener", packet.IPNoListener, vip, 3, 3, 0, "abc", vip},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t, 4)
			m := made{src: near, dst: row.dst, proto: 17, l4: udp(row.data), df: true}
			e := b.refuse(m, row.why, row.mtu)
			if e == nil {
				t.Fatal("no error was made")
			}
			defer b.pool.Put(e)
			if e.Verdict != packet.Output || e.NextHop != 0 || !e.Is(packet.Ours) || e.L3 != 14 || e.L4 != 34 || e.Proto != 1 {
				t.Errorf("%v next hop %#x flags %b L3 %d L4 %d", e.Verdict, e.NextHop, e.Flags, e.L3, e.L4)
			}
			ip := wire.IPv4(e.Data[14:])
			icmp := wire.ICMPv4(ip.Payload())
			if ip.Src() != row.from.As4() || ip.Dst() != near.As4() || !ip.ChecksumOK() || int(ip.TotalLength()) != len(ip) || ip.TTL() != DefaultTTL {
				t.Errorf("IP header %x", e.Data[14:34])
			}
			if icmp.Type() != row.kind || icmp.Code() != row.code || icmp.NextHopMTU() != row.mtu || !icmp.ChecksumOK() {
				t.Errorf("ICMP header %x", []byte(icmp[:8]))
			}
			original := b.packet(m)
			defer b.pool.Put(original)
			if want := original.Data[14:min(len(original.Data), 14+548)]; !bytes.Equal(icmp[8:], want) || len(ip) > 576 {
				t.Errorf("quotes %d bytes, want %d; %d in all", len(icmp)-8, len(want), len(ip))
			}
			// The judge reads the same.
			g, _ := gopacket.NewPacket(e.Data[14:], layers.LayerTypeIPv4, gopacket.Default).Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
			if g == nil || g.TypeCode != layers.CreateICMPv4TypeCode(row.kind, row.code) {
				t.Errorf("gopacket reads %v", g)
			}
		})
	}
}

func TestRefuseKeepsSilent(t *testing.T) {
	a := func(s string) netip.Addr { return netip.MustParseAddr(s) }
	good := made{src: near, dst: far, proto: 17, l4: udp("abc")}
	with := func(f func(m *made)) made { m := good; f(&m); return m }
	for _, row := range []struct {
		name string
		m    made
		why  packet.Reason
	}{
		{"reasons that nobody is told", good, packet.LBNoConn},
		{"made here", with(func(m *made) { m.flags = packet.Ours }), packet.IPTTL},
		{"in a broadcast frame", with(func(m *made) { m.flags = packet.Broadcast }), packet.IPTTL},
		{"in a multicast frame", with(func(m *made) { m.flags = packet.Multicast }), packet.IPTTL},
		{"a later fragment", with(func(m *made) { m.change = func(ip wire.IPv4) { ip.SetFlagsFragment(3) } }), packet.IPTTL},
		{"to a group", with(func(m *made) { m.dst = a("224.0.0.5") }), packet.IPTTL},
		{"to everybody", with(func(m *made) { m.dst = a("255.255.255.255") }), packet.IPTTL},
		{"from nobody", with(func(m *made) { m.src = a("0.0.0.0") }), packet.IPTTL},
		{"from loopback", with(func(m *made) { m.src = a("127.0.0.1") }), packet.IPTTL},
		{"from a group", with(func(m *made) { m.src = a("224.0.0.1") }), packet.IPTTL},
		{"from ourselves", with(func(m *made) { m.src = vip }), packet.IPTTL},
		{"unreachable", with(func(m *made) { m.proto, m.l4 = 1, icmp(3, 1, "") }), packet.IPTTL},
		{"source quench", with(func(m *made) { m.proto, m.l4 = 1, icmp(4, 0, "") }), packet.IPTTL},
		{"redirect", with(func(m *made) { m.proto, m.l4 = 1, icmp(5, 0, "") }), packet.IPTTL},
		{"time exceeded", with(func(m *made) { m.proto, m.l4 = 1, icmp(11, 0, "") }), packet.IPTTL},
		{"parameter problem", with(func(m *made) { m.proto, m.l4 = 1, icmp(12, 0, "") }), packet.IPTTL},
		{"ICMP cut short", with(func(m *made) { m.proto, m.l4 = 1, []byte{8, 0} }), packet.IPTTL},
		{"no whole header", with(func(m *made) { m.beyondHeader = 19 }), packet.IPTTL},
		{"header that lies", with(func(m *made) { m.spoil = func(ip wire.IPv4) { ip[0] = 0x4f } }), packet.IPTTL},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t, 4)
			if e := b.refuse(row.m, row.why, 0); e != nil {
				t.Errorf("an error was made: %x", e.Data)
				b.pool.Put(e)
			}
			if b.stats.Drops[packet.ICMPRateLimit] != 0 || b.Counters.ErrorsNotMade != 0 {
				t.Error("an error that is not due was counted")
			}
		})
	}
	b := newBed(t, 4) // and the echo request, which is no error, is answered
	if e := b.refuse(with(func(m *made) { m.proto, m.l4 = 1, icmp(8, 0, "") }), packet.IPTTL, 0); e == nil {
		t.Error("no error about a ping")
	} else {
		b.pool.Put(e)
	}
}

// The first fragment may be told of.
func TestRefuseFirstFragment(t *testing.T) {
	b := newBed(t, 4)
	e := b.refuse(made{src: near, dst: far, proto: 17, l4: udp("abc"), change: func(ip wire.IPv4) { ip.SetFlagsFragment(0x2000) }}, packet.IPTTL, 0)
	if e == nil {
		t.Fatal("no error")
	}
	b.pool.Put(e)
}

func TestRefuseGoesBackWithoutRoute(t *testing.T) {
	b := newBed(t, 4)
	e := b.refuse(made{src: nobody, dst: vip, proto: 17, l4: udp("")}, packet.IPNoListener, 0)
	if e == nil {
		t.Fatal("no error")
	}
	defer b.pool.Put(e)
	if h := b.table.Hops.At(e.NextHop); h.Flags&flow.HopBack == 0 || h.Dest() != macX || h.Port != 0 {
		t.Errorf("to %+v", h)
	}
}

func TestRefuseRate(t *testing.T) {
	b := newBed(t, 4)
	count := func(n int) (sent int) {
		for range n {
			if e := b.refuse(made{src: near, dst: far, proto: 17, l4: udp("")}, packet.IPTTL, 0); e != nil {
				b.pool.Put(e)
				sent++
			}
		}
		return sent
	}
	if n := count(200); n != ErrorBurst {
		t.Errorf("%d at once, want %d", n, ErrorBurst)
	}
	if n := b.stats.Drops[packet.ICMPRateLimit]; n != 150 {
		t.Errorf("%d counted as too many", n)
	}
	now := clock.Tick(1 << 20)
	total := 0
	for range clock.PerSecond {
		now++
		b.Tick(now)
		total += count(3)
	}
	if total < ErrorRate-2 || total > ErrorRate+2 {
		t.Errorf("%d in a second, want %d", total, ErrorRate)
	}
	now += 1000 * clock.PerSecond
	b.Tick(now)
	if n := count(200); n != ErrorBurst {
		t.Errorf("%d at once after a pause, want %d", n, ErrorBurst)
	}
}

func TestRefuseWithoutMemoryRoomOrAddress(t *testing.T) {
	m := made{src: near, dst: far, proto: 17, l4: udp("")}
	t.Run("memory", func(t *testing.T) {
		b := newBed(t, 1)
		if b.refuse(m, packet.IPTTL, 0) != nil || b.Counters.ErrorsNotMade != 1 {
			t.Errorf("%+v", b.Counters)
		}
	})
	t.Run("room", func(t *testing.T) {
		b := newBed(t, 300)
		for !b.out.Full() {
			b.out.Push(b.pool.Get(), packet.Output)
		}
		p := b.packet(m)
		defer b.pool.Put(p)
		p.Reason = packet.IPTTL
		b.Refuse(p)
		if b.Counters.ErrorsNotMade != 1 || b.Counters.ErrorsSent != 0 {
			t.Errorf("%+v", b.Counters)
		}
	})
	t.Run("address", func(t *testing.T) {
		b := newBed(t, 4)
		var err error
		if b.Table, err = route.Build(nil, nil, nil); err != nil {
			t.Fatal(err)
		}
		if b.refuse(m, packet.IPTTL, 0) != nil || b.Counters.ErrorsNotMade != 1 {
			t.Errorf("%+v", b.Counters)
		}
	})
}

func FuzzRefuse(f *testing.F) {
	f.Add([]byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 7, 10, 0, 0, 2, 0, 1, 0, 2, 0, 8, 0, 0}, uint8(packet.IPTTL), uint8(0))
	f.Add([]byte{0x46, 0, 2, 28}, uint8(packet.IPTooBig), uint8(1))
	b := newBed(f, 4)
	f.Fuzz(func(t *testing.T, data []byte, why, in uint8) {
		if len(data) > packet.SmallFrame-packet.Headroom-14 {
			return
		}
		defer b.empty(t)
		b.errors.credit = maxCredit
		p := b.pool.Get()
		defer b.pool.Put(p)
		p.Resize(14 + len(data))
		clear(p.Data)
		copy(p.Data[14:], data)
		p.L3, p.In, p.Reason = 14, uint16(in), packet.Reason(why)
		before := bytes.Clone(p.Data)
		b.Refuse(p)
		if !bytes.Equal(before, p.Data) {
			t.Error("the packet was changed")
		}
		if e := b.pop(); e != nil {
			ip := wire.IPv4(e.Data[14:])
			if len(ip) > errorSize4 || !ip.ChecksumOK() || !wire.ICMPv4(ip.Payload()).ChecksumOK() || !wire.ICMPv4(ip.Payload()).IsError() {
				t.Errorf("error %x", e.Data)
			}
			b.pool.Put(e)
		}
	})
}
