package ip

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/route"
	"weir/internal/wire"
)

// refuse6of gives a packet to Refuse and returns the ICMP error, or nil.
func (b *bed) refuse6of(m made6, why packet.Reason, mtu uint16) *packet.Packet {
	p := b.packet6(m)
	defer b.pool.Put(p)
	p.Reason, p.MTU = why, mtu
	b.Refuse(p)
	return b.pop()
}

func TestRefuse6(t *testing.T) {
	long := string(bytes.Repeat([]byte("weir"), 350))
	for _, row := range []struct {
		name       string
		why        packet.Reason
		src, dst   netip.Addr
		ext        []ext6
		kind, code uint8
		mtu, told  uint16
		data       string
		from       netip.Addr
	}{
		{"hop limit", packet.IPTTL, near6, far6, nil, 3, 0, 0, 0, "abc", own6},
		{"too big", packet.IPTooBig, near6, vip6, nil, 2, 0, 1400, 1400, long, vip6},
		{"too big for what no link may be", packet.IPTooBig, near6, vip6, []ext6{hop6}, 2, 0, 600, 1280, long, vip6},
		{"no route", packet.IPNoRoute, near6, nobody6, nil, 1, 0, 0, 0, "", own6},
		{"no listener", packet.IPNoListener, near6, vip6, nil, 1, 4, 0, 0, "abc", vip6},
		{"behind extensions", packet.IPTTL, near6, far6, []ext6{hop6, dest6}, 3, 0, 0, 0, "abc", own6},
		{"first fragment", packet.IPTTL, near6, far6, []ext6{frag6(0, true, 7)}, 3, 0, 0, 0, "abcdefgh", own6},
		{"from a link-local address", packet.IPTTL, link6, far6, nil, 3, 0, 0, 0, "abc", local6},
		{"to a link-local address", packet.IPNoListener, link6, local6, nil, 1, 4, 0, 0, "abc", local6},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t, 4)
			m := made6{src: row.src, dst: row.dst, ext: row.ext, proto: 17, l4: udp(row.data)}
			e := b.refuse6of(m, row.why, row.mtu)
			if e == nil {
				t.Fatal("no error was made")
			}
			defer b.pool.Put(e)
			if back := row.src == link6; e.Verdict != packet.Output || e.NextHop != 0 != back || !e.Is(packet.Ours) || e.L3 != 14 || e.L4 != 54 || e.Proto != 58 || e.EtherType != wire.EtherTypeIPv6 {
				t.Errorf("%v next hop %#x flags %b L3 %d L4 %d", e.Verdict, e.NextHop, e.Flags, e.L3, e.L4)
			}
			ip := wire.IPv6(e.Data[14:])
			icmp := wire.ICMPv6(ip.Payload())
			if ip.Src() != row.from.As16() || ip.Dst() != row.src.As16() || ip.TotalLength() != len(ip) || ip.HopLimit() != DefaultTTL || ip.Version() != 6 {
				t.Errorf("IP header %x", e.Data[14:54])
			}
			if icmp.Type() != row.kind || icmp.Code() != row.code || icmp.MTU() != uint32(row.told) || !icmp.ChecksumOK(ip.Src(), ip.Dst()) {
				t.Errorf("ICMP header %x", []byte(icmp[:8]))
			}
			original := bytes6(m)
			if want := original[:min(len(original), 1232)]; !bytes.Equal(icmp[8:], want) || len(ip) > 1280 {
				t.Errorf("quotes %d bytes, want %d; %d in all", len(icmp)-8, len(want), len(ip))
			}
			// The judge reads the same.
			g, _ := gopacket.NewPacket(e.Data[14:], layers.LayerTypeIPv6, gopacket.Default).Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
			if g == nil || g.TypeCode != layers.CreateICMPv6TypeCode(row.kind, row.code) {
				t.Errorf("gopacket reads %v", g)
			}
		})
	}
}

func TestRefuse6KeepsSilent(t *testing.T) {
	a := netip.MustParseAddr
	good := made6{src: near6, dst: far6, proto: 17, l4: udp("abc")}
	with := func(f func(m *made6)) made6 { m := good; f(&m); return m }
	icmpOf := func(kind uint8) made6 { return with(func(m *made6) { m.proto, m.l4 = 58, icmp6(kind, 0, "") }) }
	for _, row := range []struct {
		name string
		m    made6
		why  packet.Reason
	}{
		{"reasons that nobody is told", good, packet.LBNoConn},
		{"made here", with(func(m *made6) { m.flags = packet.Ours }), packet.IPTTL},
		{"in a broadcast frame", with(func(m *made6) { m.flags = packet.Broadcast }), packet.IPTTL},
		{"in a multicast frame", with(func(m *made6) { m.flags = packet.Multicast }), packet.IPTTL},
		{"a later fragment", with(func(m *made6) { m.ext = []ext6{frag6(8, false, 7)} }), packet.IPTTL},
		{"to a group", with(func(m *made6) { m.dst = a("ff02::5") }), packet.IPTTL},
		{"from nobody", with(func(m *made6) { m.src = a("::") }), packet.IPTTL},
		{"from a group", with(func(m *made6) { m.src = a("ff02::1") }), packet.IPTTL},
		{"from ourselves", with(func(m *made6) { m.src = vip6 }), packet.IPTTL},
		{"from our link-local address", with(func(m *made6) { m.src = local6 }), packet.IPTTL},
		{"unreachable", icmpOf(1), packet.IPTTL},
		{"an error not invented yet", icmpOf(127), packet.IPTTL},
		{"an error behind extensions", with(func(m *made6) { m.ext, m.proto, m.l4 = []ext6{hop6, dest6}, 58, icmp6(3, 0, "") }), packet.IPTTL},
		{"redirect", icmpOf(137), packet.IPTTL},
		{"ICMP cut short", with(func(m *made6) { m.proto, m.l4 = 58, []byte{128, 0} }), packet.IPTTL},
		{"no whole header", with(func(m *made6) { m.beyond = 39 }), packet.IPTTL},
		{"headers in disorder", with(func(m *made6) { m.ext = []ext6{dest6, hop6} }), packet.IPTTL},
		{"another version", with(func(m *made6) { m.spoil = func(ip wire.IPv6) { ip[0] = 0x45 } }), packet.IPTTL},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t, 4)
			if e := b.refuse6of(row.m, row.why, 0); e != nil {
				t.Errorf("an error was made: %x", e.Data)
				b.pool.Put(e)
			}
			if b.stats.Drops[packet.ICMPRateLimit] != 0 || b.Counters.ErrorsNotMade != 0 {
				t.Error("an error that is not due was counted")
			}
		})
	}
	b := newBed(t, 4) // and the echo request, which is no error, is answered
	if e := b.refuse6of(icmpOf(128), packet.IPTTL, 0); e == nil {
		t.Error("no error about a ping")
	} else {
		b.pool.Put(e)
	}
}

func TestRefuse6GoesBackWithoutRoute(t *testing.T) {
	b := newBed(t, 4)
	e := b.refuse6of(made6{src: nobody6, dst: vip6, proto: 17, l4: udp("")}, packet.IPNoListener, 0)
	if e == nil {
		t.Fatal("no error")
	}
	defer b.pool.Put(e)
	if h := b.table.Hops.At(e.NextHop); h.Flags&flow.HopBack == 0 || h.Dest() != macX || h.Port != 0 {
		t.Errorf("to %+v", h)
	}
}

// Both families share one rate.
func TestRefuseRateOfBoth(t *testing.T) {
	b := newBed(t, 4)
	sent := 0
	for range 100 {
		for _, e := range []*packet.Packet{
			b.refuse(made{src: near, dst: far, proto: 17, l4: udp("")}, packet.IPTTL, 0),
			b.refuse6of(made6{src: near6, dst: far6, proto: 17, l4: udp("")}, packet.IPTTL, 0),
		} {
			if e != nil {
				b.pool.Put(e)
				sent++
			}
		}
	}
	if sent != ErrorBurst || b.stats.Drops[packet.ICMPRateLimit] != 200-ErrorBurst {
		t.Errorf("%d at once, %d counted as too many", sent, b.stats.Drops[packet.ICMPRateLimit])
	}
}

func TestRefuse6WithoutMemoryOrAddress(t *testing.T) {
	m := made6{src: near6, dst: far6, proto: 17, l4: udp("")}
	t.Run("memory", func(t *testing.T) {
		b := newBed(t, 1)
		if b.refuse6of(m, packet.IPTTL, 0) != nil || b.Counters.ErrorsNotMade != 1 {
			t.Errorf("%+v", b.Counters)
		}
	})
	t.Run("address", func(t *testing.T) {
		b := newBed(t, 4)
		var err error
		if b.Table, err = route.Build(nil, nil, nil); err != nil {
			t.Fatal(err)
		}
		if b.refuse6of(m, packet.IPTTL, 0) != nil || b.Counters.ErrorsNotMade != 1 {
			t.Errorf("%+v", b.Counters)
		}
	})
}

func FuzzRefuse6(f *testing.F) {
	f.Add([]byte(bytes6(made6{src: near6, dst: far6, proto: 17, l4: udp("abc")})), uint8(packet.IPTTL), uint8(0))
	f.Add([]byte(bytes6(made6{src: link6, dst: local6, ext: []ext6{hop6, atomic6}, proto: 58, l4: icmp6(128, 0, "")})), uint8(packet.IPTooBig), uint8(0))
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
		p.L3, p.In, p.EtherType, p.Reason = 14, uint16(in), wire.EtherTypeIPv6, packet.Reason(why)
		before := bytes.Clone(p.Data)
		b.Refuse(p)
		if !bytes.Equal(before, p.Data) {
			t.Error("the packet was changed")
		}
		if e := b.pop(); e != nil {
			ip := wire.IPv6(e.Data[14:])
			if m := wire.ICMPv6(ip.Payload()); len(ip) > 1280 || !m.ChecksumOK(ip.Src(), ip.Dst()) || !m.IsError() {
				t.Errorf("error %x", e.Data)
			}
			b.pool.Put(e)
		}
	})
}
