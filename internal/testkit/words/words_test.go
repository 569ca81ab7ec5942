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

func TestWhatIsWrongIsNamed(t *testing.T) {
	for line, says := range map[string]string{
		"ip 1.2.3.4": "the destination", "ip 1.2.3.4 > x / udp 1 > 2": `"x"`, "ip 1.2.3.4 > 1.1.1.1 colour=red": "colour",
		"tea": "tea", "ip 1.2.3.4 > 1.1.1.1 / tcp 1 > 2 Q": "Q", "ip 1.2.3.4 > 1.1.1.1 / tcp 1 > 2 S <lunch 5>": "lunch",
		"arp request tell=1.2.3.4": "whose", "ip 1.2.3.4 > 1.1.1.1 / icmp hello": "hello", "eth to=nobody / data=1": "nobody",
		"ip 1.2.3.4 > 1.1.1.1 / udp 1 > 2 csum=good": "good", "ip 1.2.3.4 > 1.1.1.1 ttl=x": "ttl=x",
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
