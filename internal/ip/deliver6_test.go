package ip

import (
	"testing"

	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/wire"
)

// deliver6 takes a packet through Input and Deliver.
func (b *bed) deliver6(m made6) (packet.Verdict, *packet.Packet) {
	b.t.Helper()
	p := b.packet6(m)
	b.t.Cleanup(func() { b.pool.Put(p) })
	if v := b.Input(p); v != packet.Continue {
		b.t.Fatalf("Input: %v %v", v, p.Reason)
	}
	return b.Deliver(p), p
}

func TestDeliver6(t *testing.T) {
	syn, ping := tcp(wire.TCPSyn, nil, ""), icmp6(128, 0, "ping")
	for _, row := range []struct {
		name    string
		forward bool
		m       made6
		verdict packet.Verdict
		reason  packet.Reason
	}{
		{"TCP to us", false, made6{src: near6, dst: vip6, proto: 6, l4: syn}, packet.Drop, packet.IPNoListener},
		{"UDP to us", true, made6{src: near6, dst: own61, proto: 17, l4: udp("")}, packet.Refuse, packet.IPNoListener},
		{"another protocol to us", false, made6{src: near6, dst: vip6, proto: 89, l4: []byte{1}}, packet.Drop, packet.IPNoListener},
		{"ping", false, made6{src: near6, dst: vip6, proto: 58, l4: ping}, packet.Output, 0},
		{"ping in an atomic fragment", false, made6{src: near6, dst: vip6, ext: []ext6{atomic6}, proto: 58, l4: ping}, packet.Output, 0},
		{"ping to the link-local address", false, made6{src: link6, dst: local6, proto: 58, l4: ping}, packet.Output, 0},
		{"ping with a code", false, made6{src: near6, dst: vip6, proto: 58, l4: icmp6(128, 1, "")}, packet.Drop, packet.ICMPUnwanted},
		{"ping with hop-by-hop options", false, made6{src: near6, dst: vip6, ext: []ext6{hop6}, proto: 58, l4: ping}, packet.Drop, packet.ICMPUnwanted},
		{"ping that wants to go on", true, made6{src: near6, dst: vip6, ext: []ext6{routing6(4, 1)}, proto: 58, l4: ping}, packet.Drop, packet.IPRouting},
		{"ping reply", false, made6{src: near6, dst: vip6, proto: 58, l4: icmp6(129, 0, "")}, packet.Drop, packet.ICMPUnwanted},
		{"ping from our own address", false, made6{src: own6, dst: vip6, proto: 58, l4: ping}, packet.Drop, packet.IPSource},
		{"ping from our own link-local address", false, made6{src: local6, dst: vip6, proto: 58, l4: ping}, packet.Drop, packet.IPSource},
		{"ICMP cut short", false, made6{src: near6, dst: vip6, proto: 58, l4: ping[:7]}, packet.Drop, packet.ICMPMalformed},
		{"ICMP checksum", false, made6{src: near6, dst: vip6, proto: 58, l4: ping, spoil: func(ip wire.IPv6) { ip[44] ^= 1 }}, packet.Drop, packet.ICMPMalformed},
		{"the kernel's", false, made6{src: near6, dst: kernel6, proto: 6, l4: syn}, packet.Drop, packet.KNIAddress},
		{"for another, forwarding off", false, made6{src: near6, dst: far6, proto: 6, l4: syn}, packet.Drop, packet.IPNotOurs},
		{"for nobody, forwarding off", false, made6{src: near6, dst: nobody6, proto: 6, l4: syn}, packet.Drop, packet.IPNotOurs},
		{"link-local, forwarding off", false, made6{src: near6, dst: link6, proto: 6, l4: syn}, packet.Drop, packet.IPNotOurs},
		{"for another, forwarding on", true, made6{src: near6, dst: far6, proto: 6, l4: syn}, packet.Output, 0},
		{"for another, with segments left", true, made6{src: near6, dst: far6, ext: []ext6{routing6(4, 1)}, proto: 6, l4: syn}, packet.Output, 0},
		{"for nobody, forwarding on", true, made6{src: near6, dst: nobody6, proto: 6, l4: syn}, packet.Refuse, packet.IPNoRoute},
		{"to a link-local address", true, made6{src: near6, dst: link6, proto: 6, l4: syn}, packet.Drop, packet.IPScope},
		{"from a link-local address", true, made6{src: link6, dst: far6, proto: 6, l4: syn}, packet.Drop, packet.IPScope},
		{"hop limit 1", true, made6{src: near6, dst: far6, hops: 1, proto: 6, l4: syn}, packet.Refuse, packet.IPTTL},
		{"hop limit 2", true, made6{src: near6, dst: far6, hops: 2, proto: 6, l4: syn}, packet.Output, 0},
		{"hop limit 1 to us is fine", false, made6{src: near6, dst: vip6, hops: 1, proto: 58, l4: ping}, packet.Output, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t, 4)
			b.Forwarding, b.Forwarding6 = !row.forward, row.forward
			v, p := b.deliver6(row.m)
			if v != row.verdict || p.Reason != row.reason {
				t.Errorf("%v %v, want %v %v", v, p.Reason, row.verdict, row.reason)
			}
		})
	}
}

// On another port fe80::5 is somebody else.
func TestLinkLocalIsOfItsPort(t *testing.T) {
	b := newBed(t, 4)
	p := b.packet6(made6{src: link6, dst: local6, proto: 58, l4: icmp6(128, 0, "")})
	defer b.pool.Put(p)
	p.In = 1
	if b.Input(p) != packet.Continue {
		t.Fatal(p.Reason)
	}
	if v := b.Deliver(p); v != packet.Drop || p.Reason != packet.IPNotOurs {
		t.Errorf("%v %v", v, p.Reason)
	}
}

func TestEcho6(t *testing.T) {
	b := newBed(t, 4)
	b.TTL = 33
	v, p := b.deliver6(made6{src: near6, dst: vip6, hops: 5, proto: 58, l4: icmp6(128, 0, "0123456789"), padding: 3})
	if v != packet.Output || p.NextHop != 0 || !p.Is(packet.Ours) {
		t.Fatalf("%v %v next hop %#x flags %b", v, p.Reason, p.NextHop, p.Flags)
	}
	ip := wire.IPv6(p.Data[14:])
	m := wire.ICMPv6(ip.Payload())
	if ip.Src() != vip6.As16() || ip.Dst() != near6.As16() || ip.HopLimit() != 33 {
		t.Errorf("header %x", p.Data[14:54])
	}
	if m.Type() != wire.ICMPv6EchoReply || m.Code() != 0 || !m.ChecksumOK(ip.Src(), ip.Dst()) || m.Ident() != 7 || m.Sequence() != 8 || string(m[8:]) != "0123456789" {
		t.Errorf("message %x", []byte(m))
	}
	if v := b.Output(p); v != packet.Output || b.table.Hops.At(p.NextHop).IP() != near6 {
		t.Errorf("%v to %v", v, b.table.Hops.At(p.NextHop).IP())
	}
}

// Who asks from where no route leads, and who has a link-local address, is answered
// the way he came.
func TestEcho6GoesBack(t *testing.T) {
	for _, src := range []made6{{src: nobody6, dst: vip6}, {src: link6, dst: vip6}, {src: link6, dst: local6}} {
		b := newBed(t, 4)
		src.proto, src.l4 = 58, icmp6(128, 0, "")
		v, p := b.deliver6(src)
		h := b.table.Hops.At(p.NextHop)
		if v != packet.Output || p.NextHop == 0 || h.Flags&flow.HopBack == 0 || h.Dest() != macX || h.Port != 0 || !h.Resolved() {
			t.Errorf("%v %v to %+v", v, p.Reason, h)
		}
		if v := b.Output(p); v != packet.Output {
			t.Errorf("Output: %v %v", v, p.Reason)
		}
	}
}

func TestForward6TakesOneFromHopLimit(t *testing.T) {
	for hops := 2; hops < 256; hops++ {
		b := newBed(t, 2)
		b.Forwarding6 = true
		m := made6{src: near6, dst: far6, hops: uint8(hops), ext: []ext6{hop6}, proto: 6, l4: tcp(2, nil, "")}
		v, p := b.deliver6(m)
		m.hops--
		if v != packet.Output || string(p.Data[14:]) != string(bytes6(m)) {
			t.Fatalf("hop limit %d: %v, %x", hops, v, p.Data[14:])
		}
	}
}

func TestOutput6(t *testing.T) {
	big := string(make([]byte, 1500-48))
	udpOf := func(n int) []byte { return udp(string(make([]byte, n))) }
	for _, row := range []struct {
		name    string
		m       made6
		came    uint16 // in fragments so long
		verdict packet.Verdict
		reason  packet.Reason
		to      string
		mtu     uint16
	}{
		{"on link", made6{src: vip6, dst: near6, proto: 17, l4: udp("")}, 0, packet.Output, 0, "2001:db8::7", 1500},
		{"by gateway", made6{src: vip6, dst: far6, proto: 17, l4: udp("")}, 0, packet.Output, 0, "2001:db8:1::1", 1400},
		{"as long as the MTU", made6{src: vip6, dst: near6, proto: 17, l4: udp(big)}, 0, packet.Output, 0, "2001:db8::7", 1500},
		{"longer than the MTU", made6{src: vip6, dst: near6, proto: 17, l4: udp(big + "x")}, 0, packet.Refuse, packet.IPTooBig, "", 1500},
		{"longer than the route's MTU", made6{src: vip6, dst: far6, proto: 17, l4: udp(big)}, 0, packet.Refuse, packet.IPTooBig, "", 1400},
		{"longer, came in fragments that fit", made6{src: vip6, dst: far6, proto: 17, l4: udp(big)}, 1400, packet.Output, 0, "2001:db8:1::1", 1400},
		{"longer, came in fragments that don't", made6{src: vip6, dst: far6, proto: 17, l4: udp(big)}, 1401, packet.Refuse, packet.IPTooBig, "", 1400},
		{"GSO that fits", made6{src: vip6, dst: far6, proto: 6, l4: tcp(16, nil, string(make([]byte, 9000))), gsoType: packet.GSOTCPv6, gsoSize: 1340}, 0, packet.Output, 0, "2001:db8:1::1", 1400},
		{"GSO that does not", made6{src: vip6, dst: far6, proto: 6, l4: tcp(16, nil, string(make([]byte, 9000))), gsoType: packet.GSOTCPv6 | packet.GSOECN, gsoSize: 1341}, 0, packet.Refuse, packet.IPTooBig, "", 1400},
		{"GSO behind an extension", made6{src: vip6, dst: far6, ext: []ext6{dest6}, proto: 6, l4: tcp(16, nil, string(make([]byte, 9000))), gsoType: packet.GSOTCPv6, gsoSize: 1340}, 0, packet.Refuse, packet.IPTooBig, "", 1400},
		{"GSO of UDP that fits", made6{src: vip6, dst: far6, proto: 17, l4: udpOf(9000), gsoType: packet.GSOUDPL4, gsoSize: 1352}, 0, packet.Output, 0, "2001:db8:1::1", 1400},
		{"GSO of UDP that does not", made6{src: vip6, dst: far6, proto: 17, l4: udpOf(9000), gsoType: packet.GSOUDPL4, gsoSize: 1353}, 0, packet.Refuse, packet.IPTooBig, "", 1400},
		{"GSO of another type counts whole", made6{src: vip6, dst: far6, proto: 17, l4: udpOf(9000), gsoType: packet.GSOUDP, gsoSize: 1000}, 0, packet.Refuse, packet.IPTooBig, "", 1400},
		{"no route", made6{src: vip6, dst: nobody6, proto: 17, l4: udp("")}, 0, packet.Refuse, packet.IPNoRoute, "", 0},
		{"to ourselves", made6{src: vip6, dst: own6, proto: 17, l4: udp("")}, 0, packet.Drop, packet.IPNoListener, "", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t, 4)
			p := b.packet6(row.m)
			defer b.pool.Put(p)
			if v := b.Input(p); v != packet.Continue {
				t.Fatal(v, p.Reason)
			}
			if row.came != 0 {
				p.Flags |= packet.Cut
				p.MTU = row.came
			}
			v := b.Output(p)
			if v != row.verdict || p.Reason != row.reason {
				t.Fatalf("%v %v, want %v %v", v, p.Reason, row.verdict, row.reason)
			}
			if p.Is(packet.Cut) != (row.came != 0) {
				t.Errorf("to be cut: %v", p.Is(packet.Cut))
			}
			if v == packet.Output {
				h := b.table.Hops.At(p.NextHop)
				if h.IP().String() != row.to || h.MTU != row.mtu {
					t.Errorf("to %v MTU %d", h.IP(), h.MTU)
				}
			} else if p.Reason == packet.IPTooBig && p.MTU != row.mtu {
				t.Errorf("MTU %d is to be told, want %d", p.MTU, row.mtu)
			}
		})
	}
}

func TestOutput6WithNextHopAsksNothing(t *testing.T) {
	b := newBed(t, 4)
	p := b.packet6(made6{src: vip6, dst: nobody6, proto: 17, l4: udp("")})
	defer b.pool.Put(p)
	p.NextHop = 1<<16 | 77
	if v := b.Output(p); v != packet.Output || p.NextHop != 1<<16|77 {
		t.Errorf("%v %v", v, p.Reason)
	}
}

func TestOutput6DoesNotAllocate(t *testing.T) {
	b := newBed(t, 4)
	b.Forwarding6 = true
	p := b.packet6(made6{src: near6, dst: far6, proto: 6, l4: tcp(16, nil, "data")})
	defer b.pool.Put(p)
	if v := b.Input(p); v != packet.Continue {
		t.Fatal(v, p.Reason)
	}
	ip := wire.IPv6(p.Data[14:])
	if n := testing.AllocsPerRun(100, func() {
		ip.SetHopLimit(64)
		p.NextHop = 0
		if b.Deliver(p) != packet.Output || b.Output(p) != packet.Output {
			t.Fatal(p.Reason)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
