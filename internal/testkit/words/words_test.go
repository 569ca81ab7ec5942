package words

import (
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

var (
	from     = MAC{2, 0, 0, 0, 0, 1}
	to       = MAC{2, 0, 0, 0, 0, 2}
	stations = Stations{"gw": {2, 0, 0, 0, 0, 9}}
)

// lines are words that a frame is made of and that are made of it again.
var lines = []string{
	"ip 1.2.3.4 > 10.0.0.100 ttl=64 df / tcp 40000 > 80 S seq=1 <mss 1460,sackok,ts 7 0,nop,wscale 7>",
	"ip 1.2.3.4 > 10.0.0.100 ttl=1 tos=0x10 id=7 / tcp 1 > 65535 FSRPAUEC seq=4294967295 ack=1 win=0 data=3",
	"ip 1.2.3.4 > 10.0.0.100 ttl=64 / tcp 40000 > 80 A seq=1 ack=2 <toa 9.8.7.6:54,nop,nop,sack 1-2 4294967295-0> data=100@3",
	"ip 1.2.3.4 > 10.0.0.100 ttl=64 / tcp 40000 > 80 - seq=0 data=0x00ff csum=bad",
	"ip 1.2.3.4 > 10.0.0.100 ttl=64 opts=94040000 / udp 53 > 5353 data=31",
	"ip 1.2.3.4 > 10.0.0.100 ttl=64 / udp 53 > 5353 data=31 csum=0",
	"ip 1.2.3.4 > 10.0.0.100 ttl=64 / udp 53 > 5353 data=31 csum=partial",
	"ip 1.2.3.4 > 10.0.0.100 ttl=64 / tcp 53 > 5353 A seq=1 ack=1 gso=1000 data=2000 csum=partial",
	"ip 1.2.3.4 > 10.0.0.100 ttl=64 csum=bad / udp 53 > 5353",
	"ip 1.2.3.4 > 10.0.0.100 ttl=9 / icmp echo id=1 seq=2 data=56",
	"ip 1.2.3.4 > 10.0.0.100 ttl=9 / icmp port-unreachable / ip 10.0.0.100 > 1.2.3.4 ttl=3 / udp 1 > 2 data=4",
	"arp request who=10.0.0.1 tell=10.0.0.9",
	"arp reply is=10.0.0.1 for=10.0.0.9 mac=gw",
	"vlan 7 / ip 1.2.3.4 > 10.0.0.100 ttl=64 / udp 1 > 2",
	"eth type=0x88cc / data=40",
	"ip 1.2.3.4 > 10.0.0.100 ttl=64 / proto=50 data=9",
	"ip 1.2.3.4 > 10.0.0.100 ttl=64 / gre / ip 1.2.3.4 > 10.0.0.100 ttl=63 / udp 1 > 2 data=4",
	"ip6 2001:db8::1 > 2001:db8::2 hlim=64 / gre csum key=7 seq=1 / ip6 2001:db8::9 > 2001:db8::2 hlim=63 / udp 1 > 2 data=4",
	"ip 1.2.3.4 > 10.0.0.100 ttl=64 / gre csum=bad key=4294967295 flags=0x4001 type=0x6558 data=9",
	"ip 1.2.3.4 > 10.0.0.100 ttl=9 / icmp frag-needed mtu=1400 / ip 10.0.0.100 > 1.2.3.4 ttl=3 df / gre key=7 type=0x800",
	"ip 1.2.3.4 > 10.0.0.100 ttl=64 / sctp 40000 > 80 tag=0 <init 7>",
	"ip 1.2.3.4 > 10.0.0.100 ttl=64 / sctp 40000 > 80 tag=7 <data 5> csum=partial",
	"ip 1.2.3.4 > 10.0.0.100 ttl=64 / sctp 40000 > 80 tag=7 <data 5> csum=0",
	"ip 1.2.3.4 > 10.0.0.100 ttl=64 / icmp port-unreachable / ip 10.0.0.100 > 1.2.3.4 ttl=64 / sctp 80 > 40000 tag=7 cut=8",
	"ip 1.2.3.4 > 10.0.0.100 ttl=64 / opp 9.8.7.6:54 / udp 1 > 2 data=4",
	"ip 1.2.3.4 > 10.0.0.100 ttl=64 / tcp 40000 > 80 A seq=1 ack=2 <mss 1460> proxy=1:1.2.3.4:5>10.0.0.100:80 data=7",

	"ip6 2001:db8::1 > 2001:db8::2 hlim=64 / tcp 40000 > 80 S seq=1 <mss 1440,sackok,ts 7 0,nop,wscale 7>",
	"ip6 2001:db8::1 > 2001:db8::2 hlim=1 tc=0x10 flow=0xabcde / tcp 1 > 65535 FSRPAUEC seq=4294967295 ack=1 win=0 data=3",
	"ip6 2001:db8::1 > ::ffff:1.2.3.4 hlim=64 / tcp 40000 > 80 A seq=1 ack=2 <toa [2001:db8::9]:54,nop,nop> data=100@3",
	"ip6 2001:db8::1 > 2001:db8::2 hlim=64 / tcp 1 > 2 - seq=0 data=0x00ff csum=bad",
	"ip6 2001:db8::1 > 2001:db8::2 hlim=64 / udp 9 > 5353 data=31",
	"ip6 2001:db8::1 > 2001:db8::2 hlim=64 / sctp 40000 > 80 tag=7 <cookie-ack,data 101,abort.1>",
	"ip6 2001:db8::1 > 2001:db8::2 hlim=64 / udp 53 > 5353 data=31 csum=0",
	"ip6 2001:db8::1 > 2001:db8::2 hlim=64 / udp 53 > 5353 data=31 csum=partial",
	"ip6 2001:db8::1 > 2001:db8::2 hlim=64 / tcp 53 > 5353 A seq=1 ack=1 gso=1000 data=2000 csum=partial",
	"ip6 2001:db8::1 > 2001:db8::2 hlim=64 / udp 1 > 2 proxy=2:[2001:db8::1]:5>[2001:db8::2]:80 data=7",
	"ip6 2001:db8::1 > 2001:db8::2 hlim=64 / tcp 1 > 2 A seq=1 ack=1 proxy=1:[2001:db8::1]:5>[2001:db8::2]:80 data=7",
	"ip6 2001:db8::1 > 2001:db8::2 hlim=64 / opp [2001:db8::9]:54 / udp 1 > 2 data=4",
	"ip6 2001:db8::1 > 2001:db8::2 hlim=64 / ip6 2001:db8::9 > 2001:db8::2 hlim=63 / udp 1 > 2 data=4",
	"ip6 2001:db8::1 > 2001:db8::2 hlim=64 / ip 1.2.3.4 > 10.0.0.100 ttl=63 / udp 1 > 2 data=4",
	"ip 10.0.0.1 > 10.0.0.100 ttl=64 / ip6 2001:db8::9 > 2001:db8::2 hlim=63 / dst / udp 1 > 2 data=4",
	"ip6 2001:db8::1 > 2001:db8::2 hlim=64 / sctp 40000 > 80 tag=7 <cookie-echo 0x010203,data 100,abort.1,type99 0xff,hex 0000>",
	"ip6 2001:db8::1 > 2001:db8::2 hlim=64 / sctp 40000 > 80 tag=7 <shutdown 0x00000005> csum=bad",
	"ip6 2001:db8::1 > 2001:db8::2 hlim=64 / hop / dst opts=0104000000000106000000000000 / udp 1 > 2",
	"ip6 2001:db8::1 > 2001:db8::2 hlim=64 / hop opts=050200000100 / routing type=4 left=1 / dst / ah spi=1 seq=2 / tcp 1 > 2 S seq=1",
	"ip6 2001:db8::1 > 2001:db8::2 hlim=64 / hop / frag id=7 mf / udp 1 > 2 data=1224",
	"ip6 2001:db8::1 > 2001:db8::2 hlim=64 / frag id=7 off=1232 nh=17 / data=100",
	"ip6 2001:db8::1 > 2001:db8::2 hlim=64 / frag id=7 res=3 / udp 1 > 2 data=4",
	"ip6 2001:db8::1 > 2001:db8::2 hlim=64",
	"ip6 2001:db8::1 > 2001:db8::2 hlim=64 / hop / none data=5",
	"ip6 2001:db8::1 > 2001:db8::2 hlim=64 / proto=253 data=5",
	"ip6 2001:db8::1 > 2001:db8::2 hlim=9 / icmp6 echo id=1 seq=2 data=56",
	"ip6 2001:db8::1 > 2001:db8::2 hlim=9 / icmp6 echo-reply id=1 seq=2 data=56 csum=bad",
	"ip6 2001:db8::1 > 2001:db8::2 hlim=9 / icmp6 port-unreachable / ip6 2001:db8::2 > 2001:db8::1 hlim=3 / udp 1 > 2 data=4",
	"ip6 2001:db8::1 > 2001:db8::2 hlim=9 / icmp6 too-big mtu=1280 / ip6 2001:db8::2 > 2001:db8::1 hlim=3 / hop / tcp 1 > 2 A seq=7 ack=0",
	"ip6 2001:db8::1 > 2001:db8::2 hlim=9 / icmp6 time-exceeded / ip6 2001:db8::2 > 2001:db8::1 hlim=1 / icmp6 echo id=1 seq=2 data=5",
	"ip6 2001:db8::1 > 2001:db8::2 hlim=9 / icmp6 next-header ptr=6 / ip6 2001:db8::2 > 2001:db8::1 hlim=1 / proto=253 data=5",
	"ip6 fe80::1 > ff02::16 hlim=1 / icmp6 type=143 code=0 data=0x00000000",
	"ip6 fe80::1 > ff02::1:ff00:2 hlim=255 / ns who=2001:db8::2 <sll>",
	"ip6 :: > ff02::1:ff00:2 hlim=255 / ns who=2001:db8::2",
	"ip6 fe80::2 > fe80::1 hlim=255 / na is=2001:db8::2 SO <tll gw>",
	"ip6 fe80::2 > ff02::1 hlim=255 / na is=2001:db8::2 - <tll,hex 0100>",
	"ip6 fe80::2 > ff02::2 hlim=255 / rs <sll 02:00:00:00:00:07> csum=bad",
	"ip6 fe80::2 > ff02::1 hlim=255 / ra life=1800 hlim=0 reach=30000 retrans=1000 managed other <sll,mtu 1500,prefix 2001:db8::/64 LA 3600 4294967295>",
}

func TestThereAndBack(t *testing.T) {
	for _, line := range lines {
		f, err := Parse(line, stations, from, to)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if got := Print(f, stations); got != line {
			t.Errorf("%s\nbecame\n%s", line, got)
		}
	}
}

// TestIndependentJudge: another's decoder finds in the bytes what the words say,
// and makes the same checksums.
func TestIndependentJudge(t *testing.T) {
	f, err := Parse("ip 1.2.3.4 > 10.0.0.100 ttl=7 df id=9 / tcp 40000 > 80 SA seq=5 ack=6 win=7 <mss 1460> data=33", stations, from, to)
	if err != nil {
		t.Fatal(err)
	}
	p := gopacket.NewPacket(f.Data, layers.LayerTypeEthernet, gopacket.Default)
	ip, _ := p.NetworkLayer().(*layers.IPv4)
	tcp, _ := p.TransportLayer().(*layers.TCP)
	if ip == nil || tcp == nil {
		t.Fatalf("no IP or no TCP: %v", p)
	}
	if ip.SrcIP.String() != "1.2.3.4" || ip.DstIP.String() != "10.0.0.100" || ip.TTL != 7 || ip.Id != 9 || ip.Flags != layers.IPv4DontFragment {
		t.Errorf("IP: %+v", ip)
	}
	if tcp.SrcPort != 40000 || tcp.DstPort != 80 || !tcp.SYN || !tcp.ACK || tcp.FIN || tcp.Seq != 5 || tcp.Ack != 6 || tcp.Window != 7 || len(tcp.Payload) != 33 {
		t.Errorf("TCP: %+v", tcp)
	}
	ipSum, tcpSum := ip.Checksum, tcp.Checksum
	if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{ComputeChecksums: true}, ip, tcp, gopacket.Payload(tcp.Payload)); err != nil {
		t.Fatal(err)
	}
	if ip.Checksum != ipSum || tcp.Checksum != tcpSum {
		t.Errorf("checksums %#x and %#x, the other's are %#x and %#x", ipSum, tcpSum, ip.Checksum, tcp.Checksum)
	}
}

// TestIndependentJudgeOf6: another's decoder reads each packet of IPv6 to its end
// and finds its checksums right, unless the words say otherwise.
func TestIndependentJudgeOf6(t *testing.T) {
	judged := map[gopacket.LayerType]int{}
	for _, line := range lines {
		f, err := Parse(line, stations, from, to)
		if err != nil {
			t.Fatal(err)
		}
		p := gopacket.NewPacket(f.Data, layers.LayerTypeEthernet, gopacket.Default)
		ip, _ := p.NetworkLayer().(*layers.IPv6)
		// What it can't read: protocols without a decoder, and what is to be odd.
		if ip == nil || strings.Contains(line, "csum=") || strings.Contains(line, "hex ") || strings.Contains(line, "ah ") {
			continue
		}
		if e := p.ErrorLayer(); e != nil && !strings.Contains(line, "opp") && !strings.Contains(line, "proto=253") && ip.Length > 0 {
			t.Errorf("%s: %v", line, e.Error())
		}
		var under gopacket.NetworkLayer = ip
		for _, l := range p.Layers() {
			if n, ok := l.(gopacket.NetworkLayer); ok {
				under = n // in a tunnel, the inner one
			}
			if c, ok := l.(interface {
				SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
			}); ok {
				_ = c.SetNetworkLayerForChecksum(under)
			}
			if sctp, ok := l.(*layers.SCTP); ok {
				b := gopacket.NewSerializeBuffer()
				if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{ComputeChecksums: true}, sctp, gopacket.Payload(sctp.Payload)); err != nil || string(b.Bytes()[:12]) != string(sctp.Contents) {
					t.Errorf("%s: the other's header is %x, %v", line, b.Bytes()[:12], err)
				}
			}
		}
		if !strings.Contains(line, "left=1") {
			if err, bad := p.VerifyChecksums(); err != nil || len(bad) != 0 {
				t.Errorf("%s: checksums: %v %v", line, err, bad)
			}
		}
		for _, l := range p.Layers() {
			judged[l.LayerType()]++
		}
	}
	for _, kind := range []gopacket.LayerType{
		layers.LayerTypeTCP, layers.LayerTypeUDP, layers.LayerTypeSCTP, layers.LayerTypeICMPv6, layers.LayerTypeICMPv6Echo,
		layers.LayerTypeIPv6HopByHop, layers.LayerTypeIPv6Destination, layers.LayerTypeIPv6Fragment,
		layers.LayerTypeICMPv6NeighborSolicitation, layers.LayerTypeICMPv6NeighborAdvertisement, layers.LayerTypeICMPv6RouterAdvertisement,
	} {
		if judged[kind] == 0 {
			t.Errorf("nobody looked at %v", kind)
		}
	}
}

// TestJudgeOf6ReadsTheSame: what the words say is what another's decoder reads.
func TestJudgeOf6ReadsTheSame(t *testing.T) {
	read := func(line string) gopacket.Packet {
		f, err := Parse(line, stations, from, to)
		if err != nil {
			t.Fatal(err)
		}
		return gopacket.NewPacket(f.Data, layers.LayerTypeEthernet, gopacket.Default)
	}
	p := read("ip6 2001:db8::1 > 2001:db8::2 hlim=7 tc=0x12 flow=0xabcde / hop / frag id=9 off=0 / dst / udp 53 > 5353 data=33")
	ip, _ := p.NetworkLayer().(*layers.IPv6)
	frag, _ := p.Layer(layers.LayerTypeIPv6Fragment).(*layers.IPv6Fragment)
	if ip == nil || frag == nil {
		t.Fatalf("no IP or no fragment header: %v", p)
	}
	if ip.SrcIP.String() != "2001:db8::1" || ip.DstIP.String() != "2001:db8::2" || ip.HopLimit != 7 || ip.TrafficClass != 0x12 || ip.FlowLabel != 0xabcde || ip.Length != 8+8+8+41 {
		t.Errorf("IP: %+v", ip)
	}
	if frag.Identification != 9 || frag.FragmentOffset != 0 || frag.MoreFragments || frag.NextHeader != layers.IPProtocolIPv6Destination {
		t.Errorf("fragment: %+v", frag)
	}
	p = read("ip6 fe80::1 > ff02::1:ff00:2 hlim=255 / ns who=2001:db8::2 <sll>")
	eth, _ := p.LinkLayer().(*layers.Ethernet)
	ns, _ := p.Layer(layers.LayerTypeICMPv6NeighborSolicitation).(*layers.ICMPv6NeighborSolicitation)
	if eth == nil || eth.DstMAC.String() != "33:33:ff:00:00:02" {
		t.Errorf("a group's link-layer address: %v", eth)
	}
	if ns == nil || ns.TargetAddress.String() != "2001:db8::2" || len(ns.Options) != 1 || ns.Options[0].Type != layers.ICMPv6OptSourceAddress || MAC(ns.Options[0].Data) != from {
		t.Errorf("solicitation: %+v", ns)
	}
	p = read("ip6 fe80::1 > fe80::2 hlim=255 / na is=2001:db8::2 RO <tll gw>")
	na, _ := p.Layer(layers.LayerTypeICMPv6NeighborAdvertisement).(*layers.ICMPv6NeighborAdvertisement)
	if na == nil || !na.Router() || na.Solicited() || !na.Override() || MAC(na.Options[0].Data) != stations["gw"] {
		t.Errorf("advertisement: %+v", na)
	}
	p = read("ip6 ::1 > ::2 / icmp6 too-big mtu=1400 / ip6 ::2 > ::1 / udp 1 > 2")
	if m, _ := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6); m == nil || m.TypeCode.Type() != 2 || string(m.Payload[:4]) != "\x00\x00\x05\x78" || len(m.Payload) != 4+48 {
		t.Errorf("too big: %+v", m)
	}
	p = read("ip6 ::1 > ::2 / sctp 1 > 2 tag=0 <init 7>")
	if c, _ := p.Layer(layers.LayerTypeSCTPInit).(*layers.SCTPInit); c == nil || c.InitiateTag != 7 || c.InboundStreams != 1 {
		t.Errorf("init: %+v", c)
	}
}

// TestCutQuote: routers quote what fits; what is left is said, and how much.
func TestCutQuote(t *testing.T) {
	for line, want := range map[string]string{
		"ip6 ::1 > ::2 / icmp6 no-route cut=60 / ip6 ::2 > ::1 / tcp 1 > 2 A seq=7 data=99": "ip6 ::1 > ::2 hlim=64 / icmp6 no-route cut=60 / ip6 ::2 > ::1 hlim=64 / tcp 1 > 2 A seq=7 ack=0",
		"ip6 ::1 > ::2 / icmp6 no-route cut=48 / ip6 ::2 > ::1 / tcp 1 > 2 A seq=7 data=99": "ip6 ::1 > ::2 hlim=64 / icmp6 no-route cut=48 / ip6 ::2 > ::1 hlim=64 / tcp 1 > 2 seq=7 cut=8",
		"ip6 ::1 > ::2 len=4 / udp 1 > 2 data=99":                                           "ip6 ::1 > ::2 hlim=64 len=4 of 107 / proto=17 data=0x00010002",
	} {
		f, err := Parse(line, stations, from, to)
		if err != nil {
			t.Fatal(err)
		}
		if got := Print(f, stations); got != want {
			t.Errorf("%s\nis\n%s, want\n%s", line, got, want)
		}
	}
}

func TestWhatIsWrongIsNamed(t *testing.T) {
	for line, says := range map[string]string{
		"ip 1.2.3.4": "the destination", "ip 1.2.3.4 > x / udp 1 > 2": `"x"`, "ip 1.2.3.4 > 1.1.1.1 colour=red": "colour",
		"tea": "tea", "ip 1.2.3.4 > 1.1.1.1 / tcp 1 > 2 Q": "Q", "ip 1.2.3.4 > 1.1.1.1 / tcp 1 > 2 S <lunch 5>": "lunch",
		"arp request tell=1.2.3.4": "whose", "ip 1.2.3.4 > 1.1.1.1 / icmp hello": "hello", "eth to=nobody / data=1": "nobody",
		"ip 1.2.3.4 > 1.1.1.1 / udp 1 > 2 csum=good": "good", "ip 1.2.3.4 > 1.1.1.1 ttl=x": "ttl=x",
		"ip 1.2.3.4 > 1.1.1.1 / sctp 1 > 2 <tea>": "tea", "ip 1.2.3.4 > 1.1.1.1 / sctp 1 > 2 csum=open": "open", "ip 1.2.3.4 > 1.1.1.1 / sctp 1 > 2 <init x>": `"x"`,
		"ip6 1.2.3.4 > ::1": "no IPv6", "ip6 ::1": "the destination", "ip6 fe80::1%eth0 > ::1": "no IPv6", "ip6 ::1 > ::2 ttl=3": "ttl",
		"ip6 ::1 > ::2 / hop opts=01": "multiple of 8", "ip6 ::1 > ::2 / icmp6 hello": "hello", "ip6 ::1 > ::2 / ns": "whose",
		"ip6 ::1 > ::2 / na is=::1 X": "X", "ip6 ::1 > ::2 / na is=::1 S <lunch>": "lunch", "ip6 ::1 > ::2 / ns who=::1 <sll bob>": "bob",
		"ip6 ::1 > ::2 / ra <prefix x>": "prefix x", "ip6 ::1 > ::2 / frag colour=red": "colour", "ip6 ::1 > ::2 / opp x / udp 1 > 2": "opp x",
	} {
		if _, err := Parse(line, stations, from, to); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want a word about %s", line, err, says)
		}
	}
}

// FuzzPrint: any bytes can be shown.
func FuzzPrint(f *testing.F) {
	for _, line := range lines {
		frame, err := Parse(line, stations, from, to)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(frame.Data, frame.Partial)
	}
	f.Fuzz(func(t *testing.T, data []byte, partial bool) {
		if Print(Frame{Data: data, Partial: partial}, stations) == "" {
			t.Error("nothing to say")
		}
	})
}
