package wire

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

func judgeND(t *testing.T, src, dst [16]byte, kind uint8, body gopacket.SerializableLayer) []byte {
	ip := &layers.IPv6{Version: 6, NextHeader: layers.IPProtocolICMPv6, HopLimit: 255, SrcIP: src[:], DstIP: dst[:]}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, 0)}
	_ = icmp.SetNetworkLayerForChecksum(ip)
	return serialize(t, icmp, body)
}

func TestNDAgainstGopacket(t *testing.T) {
	group := SolicitedNode(ip6B)
	sll := layers.ICMPv6Options{{Type: layers.ICMPv6OptSourceAddress, Data: macA[:]}}
	tll := layers.ICMPv6Options{{Type: layers.ICMPv6OptTargetAddress, Data: macA[:]}}
	made := func(n int, put func(b []byte)) []byte {
		b := bytes.Repeat([]byte{0xee}, n+3)
		put(b)
		if !bytes.Equal(b[n:], []byte{0xee, 0xee, 0xee}) {
			t.Error("written beyond the message")
		}
		return b[:n]
	}
	for _, row := range []struct {
		name      string
		got, want []byte
	}{
		{
			"solicitation", made(NeighbourSolicitationPutLen, func(b []byte) { NeighbourSolicitation(b).Put(ip6A, group, ip6B, macA) }),
			judgeND(t, ip6A, group, 135, &layers.ICMPv6NeighborSolicitation{TargetAddress: ip6B[:], Options: sll}),
		},
		{
			"probe", made(NeighbourSolicitationLen, func(b []byte) { NeighbourSolicitation(b).PutProbe(ip6B) }),
			judgeND(t, [16]byte{}, group, 135, &layers.ICMPv6NeighborSolicitation{TargetAddress: ip6B[:]}),
		},
		{
			"advertisement", made(NeighbourAdvertisementPutLen, func(b []byte) {
				NeighbourAdvertisement(b).Put(ip6A, ip6B, ip6A, macA, NDSolicited|NDOverride)
			}),
			judgeND(t, ip6A, ip6B, 136, &layers.ICMPv6NeighborAdvertisement{Flags: 0x60, TargetAddress: ip6A[:], Options: tll}),
		},
		{
			"router solicitation", made(RouterSolicitationPutLen, func(b []byte) { RouterSolicitation(b).Put(ip6A, macA) }),
			judgeND(t, ip6A, AllRouters, 133, &layers.ICMPv6RouterSolicitation{Options: sll}),
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			if !bytes.Equal(row.got, row.want) {
				t.Errorf("we write\n%x, gopacket\n%x", row.got, row.want)
			}
		})
	}
	ns := NeighbourSolicitation(judgeND(t, ip6A, group, 135, &layers.ICMPv6NeighborSolicitation{TargetAddress: ip6B[:], Options: sll}))
	o, ok := FindNDOption(ns.Options(), NDSourceLink)
	if mac, is := o.Link(); !ok || !is || mac != macA || ns.Target() != ip6B || !ICMPv6(ns).ChecksumOK(ip6A, group) {
		t.Errorf("solicitation: %v %v", mac, ns.Target())
	}
	na := NeighbourAdvertisement(judgeND(t, ip6A, ip6B, 136, &layers.ICMPv6NeighborAdvertisement{Flags: 0xff, TargetAddress: ip6A[:], Options: tll}))
	if _, ok := FindNDOption(na.Options(), NDSourceLink); ok || na.Target() != ip6A || na.Flags() != NDRouter|NDSolicited|NDOverride {
		t.Errorf("advertisement: %v %v", na.Target(), na.Flags())
	}
	if rs := RouterSolicitation(judgeND(t, ip6A, AllRouters, 133, &layers.ICMPv6RouterSolicitation{Options: sll})); !NDOptionsOK(rs.Options()) || len(rs.Options()) != 8 {
		t.Errorf("router solicitation: %x", rs.Options())
	}
}

func TestRouterAdvertisementAgainstGopacket(t *testing.T) {
	prefix := append([]byte{64, 0xc0, 0, 0, 0x0e, 0x10, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, ip6A[:]...)
	ra := RouterAdvertisement(judgeND(t, ip6A, AllNodes, 134, &layers.ICMPv6RouterAdvertisement{
		HopLimit: 64, Flags: 0xff, RouterLifetime: 1800, ReachableTime: 30000, RetransTimer: 1000,
		Options: layers.ICMPv6Options{
			{Type: layers.ICMPv6OptSourceAddress, Data: macA[:]},
			{Type: layers.ICMPv6OptMTU, Data: []byte{0, 0, 0, 0, 0x05, 0xdc}},
			{Type: layers.ICMPv6OptPrefixInfo, Data: prefix},
		},
	}))
	if ra.CurHopLimit() != 64 || ra.Flags() != NDManaged|NDOther || ra.RouterLifetime() != 1800 || ra.ReachableTime() != 30000 || ra.RetransTimer() != 1000 || !NDOptionsOK(ra.Options()) {
		t.Errorf("advertisement: %x", []byte(ra))
	}
	o, _ := FindNDOption(ra.Options(), NDMTU)
	if mtu, ok := o.MTU(); !ok || mtu != 1500 {
		t.Errorf("MTU %d, %v", mtu, ok)
	}
	o, _ = FindNDOption(ra.Options(), NDPrefixInfo)
	want := NDPrefix{Addr: ip6A, Bits: 64, OnLink: true, Autonomous: true, Valid: 3600, Preferred: 1<<32 - 1}
	if p, ok := o.Prefix(); !ok || p != want {
		t.Errorf("prefix %+v, %v", p, ok)
	}
	o.Raw[2] = 129
	if _, ok := o.Prefix(); ok {
		t.Error("a prefix of 129 bits was read")
	}
	if _, ok := o.MTU(); ok {
		t.Error("a prefix is an MTU")
	}
	if _, ok := o.Link(); ok {
		t.Error("a prefix is a link-layer address")
	}
}

func TestNextNDOption(t *testing.T) {
	for _, row := range []struct {
		name  string
		in    []byte
		kinds []uint8
		ok    bool
	}{
		{"none", nil, nil, true},
		{"one", []byte{1, 1, 2, 0, 0, 0, 0, 0xa}, []uint8{1}, true},
		{"unknown ones are skipped", []byte{200, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0}, []uint8{200, 2}, true},
		{"length 0", []byte{1, 0, 0, 0, 0, 0, 0, 0}, nil, false},
		{"length 0 behind one", []byte{2, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}, []uint8{2}, false},
		{"length beyond", []byte{1, 2, 0, 0, 0, 0, 0, 0}, nil, false},
		{"less than an option", []byte{1, 1, 0, 0, 0, 0, 0, 0, 1, 1}, []uint8{1}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			var kinds []uint8
			for o, rest, ok := NextNDOption(row.in); ok; o, rest, ok = NextNDOption(rest) {
				kinds = append(kinds, o.Type)
			}
			if !bytes.Equal(kinds, row.kinds) || NDOptionsOK(row.in) != row.ok {
				t.Errorf("types %v, OK %v: want %v, %v", kinds, NDOptionsOK(row.in), row.kinds, row.ok)
			}
		})
	}
}

func TestGroups(t *testing.T) {
	a := netip.MustParseAddr("2001:db8::12:3456").As16()
	group := SolicitedNode(a)
	if want := netip.MustParseAddr("ff02::1:ff12:3456").As16(); group != want {
		t.Errorf("group %x, want %x", group, want)
	}
	if got, want := MulticastMAC6(group), ([6]byte{0x33, 0x33, 0xff, 0x12, 0x34, 0x56}); got != want {
		t.Errorf("MAC %x, want %x", got, want)
	}
	if netip.AddrFrom16(AllNodes).String() != "ff02::1" || netip.AddrFrom16(AllRouters).String() != "ff02::2" {
		t.Error("groups of the link")
	}
}

func FuzzNDOptions(f *testing.F) {
	f.Add([]byte{1, 1, 2, 0, 0, 0, 0, 0xa, 5, 1, 0, 0, 0, 0, 5, 0xdc})
	f.Add([]byte{3, 4, 64, 0xc0, 1, 2, 3, 4, 1, 2, 3, 4, 0, 0, 0, 0, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		b := bytes.Clone(in)[:len(in):len(in)]
		n := 0
		o, rest, ok := NextNDOption(b)
		for ; ok; o, rest, ok = NextNDOption(rest) {
			n += len(o.Raw)
			if len(o.Raw) < 8 || n+len(rest) != len(b) {
				t.Fatalf("options and rest are %d bytes of %d", n+len(rest), len(b))
			}
			_, link := o.Link()
			_, mtu := o.MTU()
			p, prefix := o.Prefix()
			if link && mtu || mtu && prefix || p.Bits > 128 {
				t.Fatalf("%x is two things", o.Raw)
			}
		}
		if NDOptionsOK(b) != (n == len(b)) {
			t.Fatalf("%d of %d bytes read, but OK is %v", n, len(b), NDOptionsOK(b))
		}
	})
}
