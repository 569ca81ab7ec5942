package ip

import (
	"net/netip"
	"testing"

	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/wire"
)

// deliver takes a packet through Input4 and Deliver4.
func (b *bed) deliver(m made) (packet.Verdict, *packet.Packet) {
	b.t.Helper()
	p := b.packet(m)
	b.t.Cleanup(func() { b.pool.Put(p) })
	if v := b.Input4(p); v != packet.Continue {
		b.t.Fatalf("Input4: %v %v", v, p.Reason)
	}
	return b.Deliver4(p), p
}

func TestDeliver4(t *testing.T) {
	a := func(s string) netip.Addr { return netip.MustParseAddr(s) }
	syn, ping := tcp(wire.TCPSyn, nil, ""), icmp(8, 0, "ping")
	for _, row := range []struct {
		name    string
		forward bool
		m       made
		verdict packet.Verdict
		reason  packet.Reason
	}{
		{"TCP to us", false, made{src: near, dst: vip, proto: 6, l4: syn}, packet.Drop, packet.IPNoListener},
		{"UDP to us", true, made{src: near, dst: own1, proto: 17, l4: udp("")}, packet.Drop, packet.IPNoListener},
		{"another protocol to us", false, made{src: near, dst: vip, proto: 89, l4: []byte{1}}, packet.Drop, packet.IPNoListener},
		{"ping", false, made{src: near, dst: vip, proto: 1, l4: ping}, packet.Output, 0},
		{"ping with a code", false, made{src: near, dst: vip, proto: 1, l4: icmp(8, 1, "")}, packet.Drop, packet.ICMPUnwanted},
		{"ping with record route", false, made{src: near, dst: vip, proto: 1, l4: ping, options: []byte{7, 3, 4, 0}}, packet.Drop, packet.ICMPUnwanted},
		{"ping reply", false, made{src: near, dst: vip, proto: 1, l4: icmp(0, 0, "")}, packet.Drop, packet.ICMPUnwanted},
		{"ping from our own address", false, made{src: own, dst: vip, proto: 1, l4: ping}, packet.Drop, packet.IPSource},
		{"ICMP cut short", false, made{src: near, dst: vip, proto: 1, l4: ping[:7]}, packet.Drop, packet.ICMPMalformed},
		{"ICMP checksum", false, made{src: near, dst: vip, proto: 1, l4: ping, spoil: func(ip wire.IPv4) { ip[24] ^= 1 }}, packet.Drop, packet.ICMPMalformed},
		{"the kernel's", false, made{src: near, dst: kernel, proto: 6, l4: syn}, packet.Drop, packet.KNIAddress},
		{"for another, forwarding off", false, made{src: near, dst: far, proto: 6, l4: syn}, packet.Drop, packet.IPNotOurs},
		{"for nobody, forwarding off", false, made{src: near, dst: nobody, proto: 6, l4: syn}, packet.Drop, packet.IPNotOurs},
		{"for another, forwarding on", true, made{src: near, dst: far, proto: 6, l4: syn}, packet.Output, 0},
		{"for nobody, forwarding on", true, made{src: near, dst: nobody, proto: 6, l4: syn}, packet.Refuse, packet.IPNoRoute},
		{"TTL 1", true, made{src: near, dst: far, ttl: 1, proto: 6, l4: syn}, packet.Refuse, packet.IPTTL},
		{"TTL 2", true, made{src: near, dst: far, ttl: 2, proto: 6, l4: syn}, packet.Output, 0},
		{"TTL 1 to us is fine", false, made{src: near, dst: vip, ttl: 1, proto: 1, l4: ping}, packet.Output, 0},
		{"multicast", true, made{src: near, dst: a("224.0.0.5"), proto: 89, l4: []byte{1}}, packet.Drop, packet.IPMulticast},
		{"broadcast", true, made{src: near, dst: a("255.255.255.255"), proto: 17, l4: udp("")}, packet.Drop, packet.IPMulticast},
		{"a link's broadcast", true, made{src: near, dst: a("192.168.0.255"), proto: 17, l4: udp("")}, packet.Drop, packet.IPMulticast},
		{"last address behind a gateway is no broadcast", true, made{src: near, dst: a("172.16.255.255"), proto: 17, l4: udp("")}, packet.Output, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t, 4)
			b.Forwarding, b.Forwarding6 = row.forward, !row.forward
			v, p := b.deliver(row.m)
			if v != row.verdict || p.Reason != row.reason {
				t.Errorf("%v %v, want %v %v", v, p.Reason, row.verdict, row.reason)
			}
			if ip := wire.IPv4(p.Data[14:]); !ip.ChecksumOK() {
				t.Error("the header checksum is wrong now")
			}
		})
	}
}

func TestEcho(t *testing.T) {
	b := newBed(t, 4)
	b.TTL = 33
	v, p := b.deliver(made{src: near, dst: vip, ttl: 5, proto: 1, l4: icmp(8, 0, "0123456789"), df: true, padding: 3})
	if v != packet.Output || p.NextHop != 0 || !p.Is(packet.Ours) {
		t.Fatalf("%v %v next hop %#x flags %b", v, p.Reason, p.NextHop, p.Flags)
	}
	ip := wire.IPv4(p.Data[14:])
	m := wire.ICMPv4(ip.Payload())
	if ip.Src() != vip.As4() || ip.Dst() != near.As4() || ip.TTL() != 33 || !ip.ChecksumOK() {
		t.Errorf("header %x", p.Data[14:34])
	}
	if m.Type() != wire.ICMPv4EchoReply || m.Code() != 0 || !m.ChecksumOK() || m.Ident() != 7 || m.Sequence() != 8 || string(m[8:]) != "0123456789" {
		t.Errorf("message %x", []byte(m))
	}
	if v := b.Output(p); v != packet.Output || b.table.Hops.At(p.NextHop).IP() != near {
		t.Errorf("%v to %v", v, b.table.Hops.At(p.NextHop).IP())
	}
}

// Who asks from where no route leads is answered the way he came.
func TestEchoGoesBackWithoutRoute(t *testing.T) {
	b := newBed(t, 4)
	v, p := b.deliver(made{src: nobody, dst: vip, proto: 1, l4: icmp(8, 0, "")})
	h := b.table.Hops.At(p.NextHop)
	if v != packet.Output || p.NextHop == 0 || h.Flags&flow.HopBack == 0 || h.Dest() != macX || h.Port != 0 || !h.Resolved() {
		t.Errorf("%v %v to %+v", v, p.Reason, h)
	}
	if v := b.Output(p); v != packet.Output {
		t.Errorf("Output: %v %v", v, p.Reason)
	}
}

func TestForwardTakesOneFromTTL(t *testing.T) {
	for ttl := 2; ttl < 256; ttl++ {
		b := newBed(t, 2)
		b.Forwarding = true
		v, p := b.deliver(made{src: near, dst: far, ttl: uint8(ttl), proto: 6, l4: tcp(2, nil, "")})
		ip := wire.IPv4(p.Data[14:])
		if v != packet.Output || int(ip.TTL()) != ttl-1 || !ip.ChecksumOK() {
			t.Fatalf("TTL %d: %v, TTL %d, checksum right %v", ttl, v, ip.TTL(), ip.ChecksumOK())
		}
	}
}

func TestOutput4(t *testing.T) {
	big := string(make([]byte, 1500-28))
	for _, row := range []struct {
		name    string
		m       made
		verdict packet.Verdict
		reason  packet.Reason
		to      string
		mtu     uint16
	}{
		{"on link", made{src: vip, dst: near, proto: 17, l4: udp("")}, packet.Output, 0, "10.0.0.7", 1500},
		{"by gateway", made{src: vip, dst: far, proto: 17, l4: udp("")}, packet.Output, 0, "192.168.0.1", 1400},
		{"as long as the MTU", made{src: vip, dst: near, proto: 17, l4: udp(big), df: true}, packet.Output, 0, "10.0.0.7", 1500},
		{"longer than the MTU", made{src: vip, dst: near, proto: 17, l4: udp(big + "x"), df: true}, packet.Refuse, packet.IPTooBig, "", 1500},
		{"longer than the route's MTU", made{src: vip, dst: far, proto: 17, l4: udp(big), df: true}, packet.Refuse, packet.IPTooBig, "", 1400},
		{"longer, and may be cut", made{src: vip, dst: far, proto: 17, l4: udp(big)}, packet.Output, 0, "192.168.0.1", 1400},
		{"GSO that fits", made{src: vip, dst: far, proto: 6, l4: tcp(16, nil, string(make([]byte, 9000))), gsoType: packet.GSOTCPv4, gsoSize: 1360}, packet.Output, 0, "192.168.0.1", 1400},
		{"GSO that does not", made{src: vip, dst: far, proto: 6, l4: tcp(16, nil, string(make([]byte, 9000))), gsoType: packet.GSOTCPv4 | packet.GSOECN, gsoSize: 1361}, packet.Refuse, packet.IPTooBig, "", 1400},
		{"GSO of UDP that fits", made{src: vip, dst: far, proto: 17, l4: udp(string(make([]byte, 9000))), gsoType: packet.GSOUDPL4, gsoSize: 1372}, packet.Output, 0, "192.168.0.1", 1400},
		{"GSO of UDP that does not", made{src: vip, dst: far, proto: 17, l4: udp(string(make([]byte, 9000))), gsoType: packet.GSOUDPL4, gsoSize: 1373}, packet.Refuse, packet.IPTooBig, "", 1400},
		{"GSO of another type counts whole", made{src: vip, dst: far, proto: 17, l4: udp(string(make([]byte, 9000))), gsoType: packet.GSOUDP, gsoSize: 1000}, packet.Refuse, packet.IPTooBig, "", 1400},
		{"no route", made{src: vip, dst: nobody, proto: 17, l4: udp("")}, packet.Refuse, packet.IPNoRoute, "", 0},
		{"to ourselves", made{src: vip, dst: own, proto: 17, l4: udp("")}, packet.Drop, packet.IPNoListener, "", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t, 4)
			p := b.packet(row.m)
			defer b.pool.Put(p)
			v := b.Output(p)
			if v != row.verdict || p.Reason != row.reason {
				t.Fatalf("%v %v, want %v %v", v, p.Reason, row.verdict, row.reason)
			}
			if cut := p.Is(packet.Cut); cut != (row.name == "longer, and may be cut") || cut && p.MTU != row.mtu {
				t.Errorf("to be cut: %v, into pieces of %d", cut, p.MTU)
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

func TestOutput4WithNextHopAsksNothing(t *testing.T) {
	b := newBed(t, 4)
	p := b.packet(made{src: vip, dst: nobody, proto: 17, l4: udp("")})
	defer b.pool.Put(p)
	p.NextHop = 1<<16 | 77
	if v := b.Output(p); v != packet.Output || p.NextHop != 1<<16|77 {
		t.Errorf("%v %v", v, p.Reason)
	}
}

// Every slot that a neighbour's hash may lead to is taken.
func TestNeighbourTableFull(t *testing.T) {
	b := newBed(t, 4)
	a := netip.MustParseAddr("10.1.0.0")
	for failed := 0; failed < 20000; a = a.Next() {
		if b.table.Hops.Get(9, a, mac0, 1500) == 0 {
			failed++
		}
	}
	p := b.packet(made{src: vip, dst: near, proto: 17, l4: udp("")})
	defer b.pool.Put(p)
	if v := b.Output(p); v != packet.Drop || p.Reason != packet.NeighTableFull {
		t.Errorf("routed: %v %v", v, p.Reason)
	}
	if v, p := b.deliver(made{src: nobody, dst: vip, proto: 1, l4: icmp(8, 0, "")}); v != packet.Drop || p.Reason != packet.NeighTableFull {
		t.Errorf("way back: %v %v", v, p.Reason)
	}
	if b.refuse(made{src: nobody, dst: far, proto: 17, l4: udp("")}, packet.IPTTL, 0) != nil || b.Counters.ErrorsNotMade != 1 {
		t.Errorf("%+v", b.Counters)
	}
}

func TestOutputDoesNotAllocate(t *testing.T) {
	b := newBed(t, 4)
	b.Forwarding = true
	p := b.packet(made{src: near, dst: far, proto: 6, l4: tcp(16, nil, "data")})
	defer b.pool.Put(p)
	ip := wire.IPv4(p.Data[14:])
	if n := testing.AllocsPerRun(100, func() {
		ip.SetTTL(64)
		p.NextHop = 0
		if b.Deliver4(p) != packet.Output || b.Output(p) != packet.Output {
			t.Fatal(p.Reason)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
