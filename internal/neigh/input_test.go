package neigh

import (
	"net/netip"
	"testing"

	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/wire"
)

func TestInputAnswersForUs(t *testing.T) {
	for _, row := range []struct {
		name   string
		sender netip.Addr
		target netip.Addr
		learnt string
	}{
		{"own address", x, own, "REACHABLE 0200000000aa"},
		{"VIP", x, vip, "REACHABLE 0200000000aa"},
		{"probe", zero, vip, "unknown"},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t, 16)
			v, p := b.arp(wire.ARPRequest, macX, row.sender, row.target)
			want(t, v, p.Reason, packet.Transmit, 0)
			e, a := wire.Ethernet(p.Data), wire.ARP(p.Data[14:])
			if len(p.Data) != 42 || p.Out != 0 || !p.Is(packet.Ours) || e.Destination() != macX || e.Source() != mac0 || e.EtherType() != wire.EtherTypeARP {
				t.Errorf("out %d, frame %x", p.Out, p.Data)
			}
			if a.Operation() != wire.ARPReply || a.SenderHardware() != mac0 || a.SenderProtocol() != row.target.As4() ||
				a.TargetHardware() != macX || a.TargetProtocol() != row.sender.As4() {
				t.Errorf("answer %x", []byte(a))
			}
			b.wantState(x, row.learnt)
		})
	}
}

func TestInputLearnsAndRefuses(t *testing.T) {
	y := netip.MustParseAddr("10.0.0.8")
	foreign := netip.MustParseAddr("172.16.0.1")
	for _, row := range []struct {
		name     string
		known    bool // x is known at macY before
		op       uint16
		sha      port.MAC
		spa, tpa netip.Addr
		reason   packet.Reason
		state    string // of x
	}{
		{"reply to us for what we asked", true, wire.ARPReply, macX, x, own, packet.ARPConsumed, "REACHABLE 0200000000aa"},
		{"reply to us nobody asked for", false, wire.ARPReply, macX, x, own, packet.ARPConsumed, "unknown"},
		{"reply to another", true, wire.ARPReply, macX, x, y, packet.ARPNotOurs, "REACHABLE 0200000000bb"},
		{"gratuitous request, known", true, wire.ARPRequest, macX, x, x, packet.ARPConsumed, "REACHABLE 0200000000aa"},
		{"gratuitous reply, known", true, wire.ARPReply, macX, x, x, packet.ARPConsumed, "REACHABLE 0200000000aa"},
		{"gratuitous, unknown", false, wire.ARPRequest, macX, x, x, packet.ARPConsumed, "unknown"},
		{"request for another", true, wire.ARPRequest, macX, x, y, packet.ARPNotOurs, "REACHABLE 0200000000bb"},
		{"request for our address on another port", true, wire.ARPRequest, macX, x, own1, packet.ARPNotOurs, "REACHABLE 0200000000bb"},
		{"stranger's request is not from this link", false, wire.ARPReply, macX, foreign, own, packet.ARPConsumed, "unknown"},
		{"reverse ARP", true, 3, macX, x, own, packet.ARPMalformed, "REACHABLE 0200000000bb"},
		{"sender is a group", true, wire.ARPReply, port.MAC{1, 0, 0x5e, 0, 0, 1}, x, own, packet.ARPMalformed, "REACHABLE 0200000000bb"},
		{"sender is everybody", true, wire.ARPReply, port.Broadcast, x, own, packet.ARPMalformed, "REACHABLE 0200000000bb"},
		{"sender has no MAC", true, wire.ARPReply, port.MAC{}, x, own, packet.ARPMalformed, "REACHABLE 0200000000bb"},
		{"reply from nobody", true, wire.ARPReply, macX, zero, own, packet.ARPMalformed, "REACHABLE 0200000000bb"},
		{"sender is multicast", true, wire.ARPRequest, macX, netip.MustParseAddr("224.0.0.1"), own, packet.ARPMalformed, "REACHABLE 0200000000bb"},
		{"sender is loopback", true, wire.ARPRequest, macX, netip.MustParseAddr("127.0.0.1"), own, packet.ARPMalformed, "REACHABLE 0200000000bb"},
		{"sender is broadcast", true, wire.ARPRequest, macX, netip.MustParseAddr("255.255.255.255"), own, packet.ARPMalformed, "REACHABLE 0200000000bb"},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t, 16)
			if row.known {
				b.hop(x)
				b.learn(0, x, macY, false)
			}
			v, p := b.arp(row.op, row.sha, row.spa, row.tpa)
			want(t, v, p.Reason, packet.Drop, row.reason)
			b.wantState(x, row.state)
			b.wantOut()
		})
	}
}

// Whoever asks from outside of the link is answered, but not remembered.
func TestStrangerIsAnsweredNotLearnt(t *testing.T) {
	b := newBed(t, 16)
	stranger := netip.MustParseAddr("172.16.0.1")
	v, p := b.arp(wire.ARPRequest, macX, stranger, own)
	want(t, v, p.Reason, packet.Transmit, 0)
	b.wantState(stranger, "unknown")
}

func TestInputShortOrOfAnotherKind(t *testing.T) {
	b := newBed(t, 64)
	for n := range 42 {
		p := b.pool.Get()
		p.Resize(n)
		p.L3 = 14
		v := b.Input(p)
		want(t, v, p.Reason, packet.Drop, packet.ARPMalformed)
		b.pool.Put(p)
	}
	for i := range 6 {
		p := b.pool.Get()
		p.Resize(42)
		p.L3 = 14
		wire.ARP(p.Data[14:]).Put(wire.ARPRequest, macX, x.As4(), port.MAC{}, own.As4())
		p.Data[14+i]++
		v := b.Input(p)
		want(t, v, p.Reason, packet.Drop, packet.ARPMalformed)
		b.pool.Put(p)
	}
}

func TestConflict(t *testing.T) {
	b := newBed(t, 16)
	v, p := b.arp(wire.ARPRequest, macX, vip, vip)
	want(t, v, p.Reason, packet.Drop, packet.ARPConsumed)
	if c := b.confl.Latest(); c.Count != 1 || c.Addr != vip || c.MAC != macX || c.Port != 0 {
		t.Errorf("%+v", c)
	}
	b.wantState(vip, "unknown")
	// Another of our ports on the same link is no conflict.
	b.arp(wire.ARPRequest, mac1, own1, own)
	if c := b.confl.Latest(); c.Count != 1 {
		t.Errorf("%+v", c)
	}
}

func FuzzARPInput(f *testing.F) {
	good := make([]byte, 42)
	wire.ARP(good[14:]).Put(wire.ARPRequest, macX, x.As4(), port.MAC{}, own.As4())
	f.Add(good)
	reply := make([]byte, 60)
	wire.ARP(reply[14:]).Put(wire.ARPReply, macX, x.As4(), mac0, own.As4())
	f.Add(reply)
	f.Add([]byte{1})
	b := newBed(f, 4)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > packet.SmallFrame-packet.Headroom {
			return
		}
		b.t = t
		defer b.empty(t)
		_, h := b.hop(x)
		h.SetNUD(flow.NUDNone, false)
		b.send(x)
		p := b.pool.Get()
		p.Resize(len(data))
		copy(p.Data, data)
		p.L3 = 14
		switch v := b.Input(p); v {
		case packet.Transmit:
			if len(p.Data) != 42 || wire.Ethernet(p.Data).Source() != mac0 {
				t.Errorf("answer %x", p.Data)
			}
		case packet.Drop:
			if p.Reason == packet.NoReason {
				t.Error("dropped without a reason")
			}
		default:
			t.Errorf("verdict %v", v)
		}
		b.pool.Put(p)
		b.Tick(b.now)
	})
}
