package wire

import (
	"bytes"
	"net"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"pgregory.net/rapid"
)

var (
	ip6A = netip.MustParseAddr("2001:db8::1").As16()
	ip6B = netip.MustParseAddr("fd00:ffff:eeee::dddd:cccc").As16()
)

func judgeIP6(next layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{Version: 6, TrafficClass: 0x28, FlowLabel: 0xabcde, NextHeader: next, HopLimit: 63, SrcIP: ip6A[:], DstIP: ip6B[:]}
}

func judgeTCP6(t *testing.T, payload string) []byte {
	ip := judgeIP6(layers.IPProtocolTCP)
	tcp := &layers.TCP{SrcPort: 40000, DstPort: 80, Seq: 1, Ack: 2, ACK: true, Window: 512}
	if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	return serialize(t, ip, tcp, gopacket.Payload(payload))
}

func TestIPv6ReadWhatGopacketWrote(t *testing.T) {
	b := judgeTCP6(t, "hello")
	ip := IPv6(b)
	for _, row := range []struct {
		name      string
		got, want any
	}{
		{"version", ip.Version(), uint8(6)},
		{"traffic class", ip.TrafficClass(), uint8(0x28)},
		{"flow label", ip.FlowLabel(), uint32(0xabcde)},
		{"payload length", ip.PayloadLength(), uint16(len(b) - 40)},
		{"total length", ip.TotalLength(), len(b)},
		{"next header", ip.NextHeader(), ProtoTCP},
		{"hop limit", ip.HopLimit(), uint8(63)},
		{"source", ip.Src(), ip6A},
		{"destination", ip.Dst(), ip6B},
		{"source port", TCP(ip.Payload()).SrcPort(), uint16(40000)},
		{"L4 checksum right", L4ChecksumOKOver6(ip), true},
		{"is partial", IsPartialL4Over6(ip), false},
	} {
		if row.got != row.want {
			t.Errorf("IPv6 %s = %v, want %v", row.name, row.got, row.want)
		}
	}
}

func TestGopacketReadsTheIPv6WeWrote(t *testing.T) {
	b := make([]byte, IPv6Len+TCPMinLen+OptTOA6Len+4)
	ip := IPv6(b)
	ip.SetVersionClassFlow(0xff, 0xffffffff)
	ip.SetTrafficClass(0x10)
	ip.SetFlowLabel(0x12345)
	ip.SetPayloadLength(uint16(len(b) - IPv6Len))
	ip.SetNextHeader(ProtoTCP)
	ip.SetHopLimit(9)
	ip.SetSrc(ip6A)
	ip.SetDst(ip6B)
	tcp := TCP(ip.Payload())
	tcp.SetSrcPort(1025)
	tcp.SetDstPort(8080)
	tcp.SetDataOffset(TCPMinLen + OptTOA6Len)
	tcp.SetFlags(TCPAck)
	PutTOA6(tcp[TCPMinLen:], 0x1234, ip6B)
	copy(tcp[tcp.DataOffset():], "data")
	if !CompleteL4Over6(ip) {
		t.Fatal("CompleteL4Over6 found no TCP header")
	}
	p := gopacket.NewPacket(b, layers.LayerTypeIPv6, gopacket.Default)
	if p.ErrorLayer() != nil {
		t.Fatal(p.ErrorLayer().Error())
	}
	g := p.NetworkLayer().(*layers.IPv6)
	if !g.SrcIP.Equal(net.IP(ip6A[:])) || !g.DstIP.Equal(net.IP(ip6B[:])) || g.Version != 6 || g.HopLimit != 9 || g.TrafficClass != 0x10 || g.FlowLabel != 0x12345 {
		t.Errorf("gopacket reads %+v", g)
	}
	gtcp := p.TransportLayer().(*layers.TCP)
	if o := gtcp.Options[0]; o.OptionType != 254 || o.OptionLength != 20 || !bytes.Equal(o.OptionData, append([]byte{0x12, 0x34}, ip6B[:]...)) {
		t.Errorf("gopacket reads the TOA option as %v", o)
	}
	_ = gtcp.SetNetworkLayerForChecksum(g)
	if again := serialize(t, g, gtcp, gopacket.Payload(gtcp.Payload)); !bytes.Equal(again, b) {
		t.Errorf("gopacket writes\n%x, we wrote\n%x", again, b)
	}
}

func TestUDPOver6AndPartialChecksums(t *testing.T) {
	gip := judgeIP6(layers.IPProtocolUDP)
	gudp := &layers.UDP{SrcPort: 53, DstPort: 5353}
	_ = gudp.SetNetworkLayerForChecksum(gip)
	b := serialize(t, gip, gudp, gopacket.Payload("odd"))
	ip := IPv6(b)
	udp := UDP(ip.Payload())
	want := udp.Checksum()
	if !L4ChecksumOKOver6(ip) {
		t.Error("gopacket's checksum is refused")
	}
	if !PartialL4Over6(ip) || !IsPartialL4Over6(ip) || L4ChecksumOKOver6(ip) {
		t.Error("PartialL4Over6 did not leave the pseudo-header's sum")
	}
	if !CompleteL4Over6(ip) || udp.Checksum() != want || !L4ChecksumOKOver6(ip) {
		t.Errorf("CompleteL4Over6 = %#04x, gopacket says %#04x", udp.Checksum(), want)
	}
	udp.SetChecksum(1)
	if CompleteL4AtOver6(ip, IPv6Len, ProtoUDP); udp.Checksum() != want {
		t.Errorf("CompleteL4AtOver6 = %#04x, gopacket says %#04x", udp.Checksum(), want)
	}
	udp.SetChecksum(0)
	if L4ChecksumOKOver6(ip) {
		t.Error("a UDP packet without checksum is right over IPv6")
	}
	// A checksum that comes out as 0 is sent as 0xffff.
	udp.SetLength(10)
	udp[8], udp[9] = 0, 0
	rest := Checksum(udp[:10], PseudoSum6(ip.Src(), ip.Dst(), ProtoUDP, 10))
	udp[8], udp[9] = byte(rest>>8), byte(rest)
	if !CompleteL4Over6(ip) || udp.Checksum() != 0xffff || !L4ChecksumOKOver6(ip) {
		t.Errorf("checksum = %#04x, want 0xffff", udp.Checksum())
	}
}

// Behind extension headers the checksum is the same, and gopacket agrees.
func TestL4ChecksumBehindExtensionHeaders(t *testing.T) {
	gip := judgeIP6(layers.IPProtocolIPv6HopByHop)
	hop := &layers.IPv6HopByHop{}
	hop.NextHeader = layers.IPProtocolIPv6Destination
	hop.Options = []*layers.IPv6HopByHopOption{{OptionType: 5, OptionLength: 2, OptionData: []byte{0, 0}}, {OptionType: 1}}
	dst := &layers.IPv6Destination{}
	dst.NextHeader = layers.IPProtocolTCP
	dst.Options = []*layers.IPv6DestinationOption{{OptionType: 1, OptionLength: 12, OptionData: make([]byte, 12)}}
	tcp := &layers.TCP{SrcPort: 1, DstPort: 2, SYN: true}
	_ = tcp.SetNetworkLayerForChecksum(gip)
	ip := IPv6(serialize(t, gip, hop, dst, tcp, gopacket.Payload("hello")))
	c, fault := WalkIPv6(ip)
	if fault != ChainOK || c.Proto != ProtoTCP || c.Offset != 40+8+16 || c.NextAt != 48 || c.Extensions != 2 || c.SplitAt != 48 || c.SplitNextAt != 40 {
		t.Fatalf("chain %+v, fault %d", c, fault)
	}
	want := bytes.Clone(ip)
	if !L4ChecksumOKOver6(ip) || !PartialL4Over6(ip) || !IsPartialL4Over6(ip) || !CompleteL4Over6(ip) || !bytes.Equal(ip, want) {
		t.Errorf("we write\n%x, gopacket\n%x", []byte(ip), want)
	}
}

func TestCompleteL4Over6LeavesOthersAlone(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(ip IPv6) IPv6
	}{
		{"ICMPv6", func(ip IPv6) IPv6 { ip.SetNextHeader(ProtoICMPv6); return ip }},
		{"a later fragment", func(ip IPv6) IPv6 { return between(ip, NextFragment, []byte{0, 0, 0, 8, 0, 0, 0, 1}) }},
		{"a first fragment", func(ip IPv6) IPv6 { return between(ip, NextFragment, []byte{0, 0, 0, 1, 0, 0, 0, 1}) }},
		{"segments left", func(ip IPv6) IPv6 { return between(ip, NextRouting, []byte{0, 0, 4, 1, 0, 0, 0, 0}) }},
		{"payload length beyond the frame", func(ip IPv6) IPv6 { ip.SetPayloadLength(60000); return ip }},
		{"payload length within the header", func(ip IPv6) IPv6 { ip.SetPayloadLength(17); return ip }},
		{"a chain that is cut", func(ip IPv6) IPv6 { ip.SetNextHeader(NextDestination); ip[41] = 200; return ip }},
		{"UDP length beyond the packet", func(ip IPv6) IPv6 { ip.SetNextHeader(ProtoUDP); UDP(ip[40:]).SetLength(9999); return ip }},
		{"a header cut short", func(ip IPv6) IPv6 { return ip[:39] }},
	} {
		t.Run(row.name, func(t *testing.T) {
			ip := row.change(judgeTCP6(t, "hello"))
			before := bytes.Clone(ip)
			if CompleteL4Over6(ip) || PartialL4Over6(ip) || IsPartialL4Over6(ip) || L4ChecksumOKOver6(ip) {
				t.Error("a checksum was found")
			}
			if !bytes.Equal(before, ip) {
				t.Error("the packet was changed")
			}
		})
	}
	atomic := between(judgeTCP6(t, "hello"), NextFragment, []byte{0, 0, 0, 0, 0, 0, 0, 1})
	if !L4ChecksumOKOver6(atomic) || !CompleteL4Over6(atomic) {
		t.Error("an atomic fragment is no whole packet")
	}
	visited := between(judgeTCP6(t, "hello"), NextRouting, []byte{0, 0, 4, 0, 0, 0, 0, 0})
	if !L4ChecksumOKOver6(visited) {
		t.Error("a routing header without segments left is in the way")
	}
}

// between puts an extension header behind the fixed header.
func between(ip IPv6, kind uint8, header []byte) IPv6 {
	out := IPv6(append(append(bytes.Clone(ip[:IPv6Len]), header...), ip[IPv6Len:]...))
	out[IPv6Len] = ip.NextHeader()
	out.SetNextHeader(kind)
	out.SetPayloadLength(ip.PayloadLength() + uint16(len(header)))
	return out
}

// New addresses, of either family, by the sums of the pseudo-headers.
func TestUpdateSumAgainstRecomputing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		addr := func(name string) [16]byte {
			return [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, name))
		}
		data := rapid.SliceOfN(rapid.Byte(), 20, 60).Draw(t, "data")
		n := len(data)
		old := PseudoSum6(addr("a"), addr("b"), ProtoTCP, uint32(n))
		for _, now := range []uint64{
			PseudoSum6(addr("c"), addr("d"), ProtoTCP, uint32(n)),
			PseudoSum4(ipA, [4]byte(data[:4]), ProtoTCP, uint16(n)),
		} {
			if got, want := UpdateSum(Checksum(data, old), old, now), Checksum(data, now); got != want {
				t.Fatalf("UpdateSum = %#04x, want %#04x", got, want)
			}
		}
	})
}

func TestPseudoSum6AgainstSlowLoop(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := rapid.SliceOfN(rapid.Byte(), 40, 40).Draw(t, "pseudo-header")
		h[36], h[37], h[38] = 0, 0, 0
		n := uint32(h[32])<<24 | uint32(h[33])<<16 | uint32(h[34])<<8 | uint32(h[35])
		if got, want := Fold(PseudoSum6([16]byte(h[:16]), [16]byte(h[16:32]), h[39], n)), slowSum(h, 0); got != want {
			t.Fatalf("%#04x, want %#04x", got, want)
		}
	})
}

func TestICMPv6AgainstGopacket(t *testing.T) {
	gip := judgeIP6(layers.IPProtocolICMPv6)
	message := func(kind, code uint8, rest ...gopacket.SerializableLayer) []byte {
		g := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, code)}
		_ = g.SetNetworkLayerForChecksum(gip)
		return serialize(t, append([]gopacket.SerializableLayer{g}, rest...)...)
	}
	for _, row := range []struct {
		name string
		put  func(b ICMPv6)
		want []byte
	}{
		{
			"echo", func(b ICMPv6) { b.SetType(ICMPv6EchoRequest); b.SetIdent(5); b.SetSequence(6) },
			message(128, 0, &layers.ICMPv6Echo{Identifier: 5, SeqNumber: 6}, gopacket.Payload("quote")),
		},
		{
			"too big", func(b ICMPv6) { b.SetType(ICMPv6PacketTooBig); b.SetMTU(0x00010502) },
			message(2, 0, gopacket.Payload("\x00\x01\x05\x02quote")),
		},
		{
			"parameter problem", func(b ICMPv6) {
				b.SetType(ICMPv6ParameterProblem)
				b.SetCode(ICMPv6UnknownNext)
				b.SetPointer(40)
			},
			message(4, 1, gopacket.Payload("\x00\x00\x00\x28quote")),
		},
		{
			"port unreachable", func(b ICMPv6) { b.SetType(ICMPv6Unreachable); b.SetCode(ICMPv6PortUnreachable) },
			message(1, 4, gopacket.Payload("\x00\x00\x00\x00quote")),
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := make(ICMPv6, ICMPv6Len+5)
			row.put(b)
			copy(b[ICMPv6Len:], "quote")
			b.ComputeChecksum(ip6A, ip6B)
			if !bytes.Equal(b, row.want) || !b.ChecksumOK(ip6A, ip6B) {
				t.Errorf("we write %x, gopacket %x", []byte(b), row.want)
			}
			b = row.want
			if b.ChecksumOK(ip6A, ip6A) {
				t.Error("the addresses are not in the checksum")
			}
			row.put(b)
			b.SetChecksum(ICMPv6(row.want).Checksum())
			if !b.ChecksumOK(ip6A, ip6B) || b.MTU() != b.Pointer() || b.MTU() != uint32(b.Ident())<<16|uint32(b.Sequence()) {
				t.Error("what was set is not what is read")
			}
		})
	}
	b := make(ICMPv6, ICMPv6Len)
	for kind := range 256 {
		b.SetType(uint8(kind))
		if b.IsError() != (kind < 128) || b.Code() != 0 {
			t.Errorf("IsError of type %d = %v", kind, b.IsError())
		}
	}
}

func TestUOA6(t *testing.T) {
	b := make([]byte, OPP6Len)
	PutOPP6(b, 0x1234, ip6A)
	want := append([]byte{0x20, 17, 0, 24, 0x1f, 20, 0x12, 0x34}, ip6A[:]...)
	if !bytes.Equal(b, want) {
		t.Errorf("%x, want %x", b, want)
	}
}

func FuzzICMPv6(f *testing.F) {
	f.Add([]byte{128, 0, 0, 0, 0, 1, 0, 2, 'a'})
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) < ICMPv6Len {
			return
		}
		b := ICMPv6(bytes.Clone(in)[:len(in):len(in)])
		if b.ComputeChecksum(ip6A, ip6B); !b.ChecksumOK(ip6A, ip6B) {
			t.Fatalf("the checksum of %x is not right", []byte(b))
		}
		_ = b.IsError()
	})
}
