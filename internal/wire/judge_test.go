package wire

import (
	"bytes"
	"net"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// gopacket is the judge: it wrote none of our code and reads and writes the same
// headers.

var (
	macA = [6]byte{2, 0, 0, 0, 0, 0xa}
	macB = [6]byte{2, 0, 0, 0, 0, 0xb}
	ipA  = [4]byte{10, 0, 0, 1}
	ipB  = [4]byte{192, 168, 100, 200}
)

func serialize(t *testing.T, ls ...gopacket.SerializableLayer) []byte {
	t.Helper()
	buf := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ls...)
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func judgeIP(proto layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, TOS: 0x28, Id: 0xbeef, Flags: layers.IPv4DontFragment, TTL: 63, Protocol: proto, SrcIP: ipA[:], DstIP: ipB[:]}
}

func judgeTCP(t *testing.T, payload string) []byte {
	ip := judgeIP(layers.IPProtocolTCP)
	tcp := &layers.TCP{SrcPort: 40000, DstPort: 80, Seq: 0x01020304, Ack: 0x0a0b0c0d, SYN: true, ACK: true, ECE: true, Window: 512, Urgent: 7,
		Options: []layers.TCPOption{
			{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{0x05, 0xb4}},
			{OptionType: layers.TCPOptionKindNop},
			{OptionType: layers.TCPOptionKindWindowScale, OptionLength: 3, OptionData: []byte{7}},
			{OptionType: layers.TCPOptionKindTimestamps, OptionLength: 10, OptionData: []byte("abcdefgh")},
		}}
	if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	return serialize(t, ip, tcp, gopacket.Payload(payload))
}

func TestReadWhatGopacketWrote(t *testing.T) {
	eth := Ethernet(serialize(t, &layers.Ethernet{SrcMAC: macA[:], DstMAC: macB[:], EthernetType: layers.EthernetTypeARP}))
	if eth.Source() != macA || eth.Destination() != macB || eth.EtherType() != EtherTypeARP {
		t.Errorf("ethernet: %v %v %#x", eth.Source(), eth.Destination(), eth.EtherType())
	}

	b := judgeTCP(t, "hello")
	ip := IPv4(b)
	for _, row := range []struct {
		name      string
		got, want any
	}{
		{"version", ip.Version(), uint8(4)},
		{"header length", ip.HeaderLength(), 20},
		{"TOS", ip.TOS(), uint8(0x28)},
		{"total length", ip.TotalLength(), uint16(len(b))},
		{"id", ip.ID(), uint16(0xbeef)},
		{"DF", ip.DontFragment(), true},
		{"fragment", ip.IsFragment(), false},
		{"TTL", ip.TTL(), uint8(63)},
		{"protocol", ip.Protocol(), ProtoTCP},
		{"source", ip.Src(), ipA},
		{"destination", ip.Dst(), ipB},
		{"checksum right", ip.ChecksumOK(), true},
		{"L4 checksum right", L4ChecksumOK(ip), true},
		{"is partial", IsPartialL4(ip), false},
	} {
		if row.got != row.want {
			t.Errorf("IPv4 %s = %v, want %v", row.name, row.got, row.want)
		}
	}
	tcp := TCP(ip.Payload())
	for _, row := range []struct {
		name      string
		got, want any
	}{
		{"source port", tcp.SrcPort(), uint16(40000)},
		{"destination port", tcp.DstPort(), uint16(80)},
		{"seq", tcp.Seq(), uint32(0x01020304)},
		{"ack", tcp.Ack(), uint32(0x0a0b0c0d)},
		{"data offset", tcp.DataOffset(), 40},
		{"flags", tcp.Flags(), TCPSyn | TCPAck | TCPEce},
		{"window", tcp.Window(), uint16(512)},
		{"urgent", tcp.UrgentPointer(), uint16(7)},
		{"payload", string(tcp[tcp.DataOffset():]), "hello"},
	} {
		if row.got != row.want {
			t.Errorf("TCP %s = %v, want %v", row.name, row.got, row.want)
		}
	}
	ts, ok := FindOption(tcp.Options(), OptTimestamp)
	if !ok || string(ts.Value()) != "abcdefgh" {
		t.Errorf("timestamp option = %q, %v", ts.Value(), ok)
	}
	if _, ok := FindOption(tcp.Options(), OptTOA); ok {
		t.Error("a TOA option that is not there was found")
	}
}

func TestGopacketReadsWhatWeWrote(t *testing.T) {
	b := make([]byte, EthernetLen+IPv4MinLen+TCPMinLen+OptTOA4Len+4)
	eth := Ethernet(b)
	eth.SetDestination(macB)
	eth.SetSource(macA)
	eth.SetEtherType(EtherTypeIPv4)
	ip := IPv4(b[EthernetLen:])
	ip.SetVersionIHL(IPv4MinLen)
	ip.SetTOS(0x10)
	ip.SetTotalLength(uint16(len(ip)))
	ip.SetID(77)
	ip.SetFlagsFragment(IPv4DontFragment)
	ip.SetTTL(9)
	ip.SetProtocol(ProtoTCP)
	ip.SetSrc(ipA)
	ip.SetDst(ipB)
	ip.ComputeChecksum()
	tcp := TCP(ip.Payload())
	tcp.SetSrcPort(1025)
	tcp.SetDstPort(8080)
	tcp.SetSeq(1)
	tcp.SetAck(2)
	tcp.SetDataOffset(TCPMinLen + OptTOA4Len)
	tcp.SetFlags(TCPAck | TCPPsh)
	tcp.SetWindow(3)
	tcp.SetUrgentPointer(4)
	PutTOA4(tcp[TCPMinLen:], 0x1234, [4]byte{1, 2, 3, 4})
	copy(tcp[tcp.DataOffset():], "data")
	if !CompleteL4(ip) {
		t.Fatal("CompleteL4 found no TCP header")
	}

	p := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Default)
	if p.ErrorLayer() != nil {
		t.Fatal(p.ErrorLayer().Error())
	}
	gip := p.NetworkLayer().(*layers.IPv4)
	if !gip.SrcIP.Equal(net.IP(ipA[:])) || !gip.DstIP.Equal(net.IP(ipB[:])) || gip.TTL != 9 || gip.Id != 77 || gip.TOS != 0x10 || gip.Flags != layers.IPv4DontFragment {
		t.Errorf("gopacket reads %+v", gip)
	}
	gtcp := p.TransportLayer().(*layers.TCP)
	if gtcp.SrcPort != 1025 || gtcp.DstPort != 8080 || gtcp.Seq != 1 || gtcp.Ack != 2 || !gtcp.ACK || !gtcp.PSH || gtcp.SYN || gtcp.Window != 3 || gtcp.Urgent != 4 {
		t.Errorf("gopacket reads %+v", gtcp)
	}
	if o := gtcp.Options[0]; o.OptionType != 254 || !bytes.Equal(o.OptionData, []byte{0x12, 0x34, 1, 2, 3, 4}) {
		t.Errorf("gopacket reads the TOA option as %v", o)
	}
	checksumsAgree(t, b)
}

// checksumsAgree lets gopacket compute the checksums anew.
func checksumsAgree(t *testing.T, frame []byte) {
	t.Helper()
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
	ip := p.NetworkLayer().(*layers.IPv4)
	switch l4 := p.TransportLayer().(type) {
	case *layers.TCP:
		_ = l4.SetNetworkLayerForChecksum(ip)
	case *layers.UDP:
		_ = l4.SetNetworkLayerForChecksum(ip)
	}
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializePacket(buf, gopacket.SerializeOptions{ComputeChecksums: true}, p); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(buf.Bytes(), frame) {
		t.Errorf("gopacket writes\n%x, we wrote\n%x", buf.Bytes(), frame)
	}
}

func TestUDPAndPartialChecksums(t *testing.T) {
	gip := judgeIP(layers.IPProtocolUDP)
	gudp := &layers.UDP{SrcPort: 53, DstPort: 5353}
	_ = gudp.SetNetworkLayerForChecksum(gip)
	b := serialize(t, gip, gudp, gopacket.Payload("odd"))
	ip := IPv4(b)
	udp := UDP(ip.Payload())
	want := udp.Checksum()
	if udp.SrcPort() != 53 || udp.DstPort() != 5353 || udp.Length() != 11 || !L4ChecksumOK(ip) {
		t.Errorf("UDP %d %d %d", udp.SrcPort(), udp.DstPort(), udp.Length())
	}
	if !PartialL4(ip) || !IsPartialL4(ip) || L4ChecksumOK(ip) {
		t.Error("PartialL4 did not leave the pseudo-header's sum")
	}
	if !CompleteL4(ip) || udp.Checksum() != want || !L4ChecksumOK(ip) {
		t.Errorf("CompleteL4 = %#04x, gopacket says %#04x", udp.Checksum(), want)
	}
	udp.SetChecksum(0)
	if !L4ChecksumOK(ip) {
		t.Error("a UDP packet without checksum is refused")
	}
}

// A UDP checksum that comes out as 0 is sent as 0xffff.
func TestUDPZeroChecksumIsSentAsOnes(t *testing.T) {
	gip, gudp := judgeIP(layers.IPProtocolUDP), &layers.UDP{SrcPort: 1, DstPort: 2}
	_ = gudp.SetNetworkLayerForChecksum(gip)
	b := serialize(t, gip, gudp, gopacket.Payload("\x00\x00"))
	ip := IPv4(b)
	udp := UDP(ip.Payload())
	udp.SetChecksum(0)
	rest := Checksum(udp, PseudoSum4(ip.Src(), ip.Dst(), ProtoUDP, 10))
	udp[8], udp[9] = byte(rest>>8), byte(rest) // now everything sums to all ones
	if !CompleteL4(ip) || udp.Checksum() != 0xffff {
		t.Errorf("checksum = %#04x, want 0xffff", udp.Checksum())
	}
}

func TestCompleteL4LeavesOthersAlone(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(ip IPv4)
	}{
		{"ICMP", func(ip IPv4) { ip.SetProtocol(ProtoICMP) }},
		{"a later fragment", func(ip IPv4) { ip.SetFlagsFragment(100) }},
		{"a first fragment", func(ip IPv4) { ip.SetFlagsFragment(IPv4MoreFragments) }},
		{"total length beyond the frame", func(ip IPv4) { ip.SetTotalLength(60000) }},
		{"total length within the header", func(ip IPv4) { ip.SetTotalLength(30) }},
		{"header length below 20", func(ip IPv4) { ip[0] = 0x44 }},
		{"UDP length beyond the packet", func(ip IPv4) { ip.SetProtocol(ProtoUDP); UDP(ip[20:]).SetLength(9999) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			ip := IPv4(judgeTCP(t, "hello"))
			row.change(ip)
			before := bytes.Clone(ip)
			if CompleteL4(ip) || PartialL4(ip) || IsPartialL4(ip) || L4ChecksumOK(ip) {
				t.Error("a checksum was found")
			}
			if !bytes.Equal(before, ip) {
				t.Error("the packet was changed")
			}
		})
	}
}

func TestARPAgainstGopacket(t *testing.T) {
	b := make(ARP, ARPLen)
	b.Put(ARPReply, macA, ipA, macB, ipB)
	want := serialize(t, &layers.ARP{AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
		Operation: layers.ARPReply, SourceHwAddress: macA[:], SourceProtAddress: ipA[:], DstHwAddress: macB[:], DstProtAddress: ipB[:]})
	if !bytes.Equal(b, want) {
		t.Errorf("we write\n%x, gopacket\n%x", []byte(b), want)
	}
	if !b.IsEthernetIPv4() || b.Operation() != ARPReply || b.SenderHardware() != macA || b.SenderProtocol() != ipA || b.TargetHardware() != macB || b.TargetProtocol() != ipB {
		t.Errorf("read back: %v %v %v %v %v", b.Operation(), b.SenderHardware(), b.SenderProtocol(), b.TargetHardware(), b.TargetProtocol())
	}
	for i := range 6 {
		c := ARP(bytes.Clone(b))
		c[i] ^= 1
		if c.IsEthernetIPv4() {
			t.Errorf("byte %d changed and it still is Ethernet and IPv4", i)
		}
	}
}

func TestICMPv4AgainstGopacket(t *testing.T) {
	want := serialize(t, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: 5, Seq: 6}, gopacket.Payload("ping"))
	b := make(ICMPv4, ICMPv4Len+4)
	b.SetType(ICMPv4EchoRequest)
	b.SetCode(0)
	b.SetIdent(5)
	b.SetSequence(6)
	copy(b[ICMPv4Len:], "ping")
	b.ComputeChecksum()
	if !bytes.Equal(b, want) || !b.ChecksumOK() {
		t.Errorf("we write %x, gopacket %x", []byte(b), want)
	}
	for kind := range 256 {
		b.SetType(uint8(kind))
		want := kind == 3 || kind == 4 || kind == 5 || kind == 11 || kind == 12
		if b.IsError() != want {
			t.Errorf("IsError of type %d = %v", kind, !want)
		}
	}
}
