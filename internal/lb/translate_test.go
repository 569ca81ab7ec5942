package lb

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"weir/internal/flow"
	"weir/internal/lb/forward"
	"weir/internal/packet"
	"weir/internal/testkit/words"
	"weir/internal/wire"
)

// spoken makes what ip.Input would hand over of a packet in words, but for its key.
func (b *bed) spoken(line string) *packet.Packet {
	b.t.Helper()
	f, err := words.Parse(line, nil, words.MAC{2}, words.MAC{2, 1})
	if err != nil {
		b.t.Fatal(err)
	}
	p := b.pool.GetBig()
	p.Resize(len(f.Data))
	copy(p.Data, f.Data)
	p.L3, p.EtherType = wire.EthernetLen, wire.EtherTypeIPv4
	if p.Data[p.L3]>>4 == 6 {
		c, fault := wire.WalkIPv6(p.Data[p.L3:])
		if fault != wire.ChainOK {
			b.t.Fatalf("%s: fault %d", line, fault)
		}
		p.EtherType, p.Proto, p.L4 = wire.EtherTypeIPv6, c.Proto, p.L3+c.Offset
		return p
	}
	ip := wire.IPv4(p.Data[p.L3:])
	p.Proto, p.L4 = ip.Protocol(), p.L3+uint16(ip.HeaderLength())
	return p
}

// rewriteOf is what a half-flow gives packets.
func rewriteOf(f *flow.Flow) *forward.Rewritten {
	key1 := f.Key1
	if f.Cross {
		key1 |= flow.FlagCross
	}
	if f.Tunnel {
		key1 |= flow.FlagTunnel
	}
	return &forward.Rewritten{Addrs: f.NewAddrs, Ports: f.NewPorts, DeltaIP: f.DeltaIP, DeltaL4: f.DeltaL4, How: forward.HowOf(f.Wide, key1), Src: f.NewSrc, Dst: f.NewDst}
}

// randomLine says a random packet of a family: extension headers or options, lengths of
// every residue, UDP of IPv4 without a checksum now and then.
func randomLine(rnd *rand.Rand, six bool, proto uint8) string {
	pick := func(s ...string) string { return s[rnd.IntN(len(s))] }
	line := fmt.Sprintf("ip 1.2.3.4 > 10.0.0.100 ttl=%d tos=%#x id=%d%s%s", 2+rnd.IntN(254), rnd.IntN(256), rnd.IntN(65536), pick("", " df"), pick("", "", " opts=01010100"))
	if six {
		line = fmt.Sprintf("ip6 2001:db8::9 > 2001:db8::100 hlim=%d tc=%#x flow=%#x%s", 2+rnd.IntN(254), rnd.IntN(256), rnd.IntN(1<<20), pick("", "", " / hop", " / dst", " / hop / dst"))
	}
	size := pick("", fmt.Sprintf(" data=%d@%d", 1+rnd.IntN(40), rnd.IntN(26)), fmt.Sprintf(" data=%d@%d", 1180+rnd.IntN(60), rnd.IntN(26)))
	if proto == protoTCP {
		return line + " / tcp 40000 > 80 PA seq=1 ack=2" + pick("", " <nop,nop,ts 1 2>") + size
	}
	if !six {
		size += pick("", "", " csum=0")
	}
	return line + " / udp 40000 > 80" + size
}

// TestTranslation: random packets of either family become the other's; what package
// words, which shares no code with this, says of them is RFC 7915, 4.1 and 5.1, and that
// their checksums are right.
func TestTranslation(t *testing.T) {
	b := newBed(t)
	rnd := rand.New(rand.NewPCG(21, 22))
	v6 := func(s string) flow.Addr { return flow.AddrOf(netip.MustParseAddr(s)) }
	for range 3000 {
		six := rnd.IntN(2) == 0
		proto := [...]uint8{protoTCP, protoUDP}[rnd.IntN(2)]
		e := &forward.Ends{
			Proto: proto, Client: flow.AddrOf(client), Virtual: flow.AddrOf(vip), Local: v6("2001:db8:1::200"), Real: v6("2001:db8:1::2"),
			ClientPort: wirePort(40000), VirtualPort: wirePort(80), LocalPort: wirePort(uint16(rnd.Uint32())), RealPort: wirePort(uint16(rnd.Uint32())),
		}
		if six {
			e.Client, e.Virtual, e.Local, e.Real = v6("2001:db8::9"), v6("2001:db8::100"), flow.AddrOf(lip), flow.AddrOf(rs)
		}
		in, _ := forward.FullNAT(e)
		line := randomLine(rnd, six, proto)
		p := b.spoken(line)
		want := translation(p, line, e)
		if v := b.become(p, rewriteOf(&in)); v != packet.Output {
			t.Fatalf("%s: verdict %v for %v", line, v, p.Reason)
		}
		p.Data[12], p.Data[13] = byte(p.EtherType>>8), byte(p.EtherType)
		got := identification.ReplaceAllString(words.Print(words.Frame{Data: p.Data}, nil), "")
		if got != want || p.L4 != p.L3+map[bool]uint16{true: 20, false: 40}[six] {
			t.Fatalf("%s became\n%s, want\n%s", line, got, want)
		}
		b.pool.Put(p)
	}
}

var identification = regexp.MustCompile(` id=\d+`)

// translation is what a packet has to become, in words.
func translation(p *packet.Packet, line string, e *forward.Ends) string {
	layers := strings.Split(line, " / ")
	l4 := strings.Replace(layers[len(layers)-1], "40000 > 80", fmt.Sprintf("%d > %d", wirePort(e.LocalPort), wirePort(e.RealPort)), 1)
	l4 = strings.Replace(l4, " csum=0", "", 1)
	if i := strings.Index(l4, "@0"); i > 0 && i+2 == len(l4) {
		l4 = l4[:i]
	}
	if is6(p) {
		ip, df := wire.IPv6(p.Data[p.L3:]), ""
		if len(p.Data)-int(p.L4)+20 > 1260 {
			df = " df"
		}
		return fmt.Sprintf("ip %s > %s ttl=%d%s%s / %s", e.Local.IP(), e.Real.IP(), ip.HopLimit()-1, classWords(" tos", ip.TrafficClass()), df, l4)
	}
	ip := wire.IPv4(p.Data[p.L3:])
	return fmt.Sprintf("ip6 %s > %s hlim=%d%s / %s", e.Local.IP(), e.Real.IP(), ip.TTL()-1, classWords(" tc", ip.TOS()), l4)
}

func classWords(name string, class uint8) string {
	if class == 0 {
		return ""
	}
	return fmt.Sprintf("%s=%#x", name, class)
}

// TestTunnels: packets of either family go into packets of either, as they are but for
// their TTL, which the outer header has as well.
func TestTunnels(t *testing.T) {
	b := newBed(t)
	rnd := rand.New(rand.NewPCG(23, 24))
	for range 2000 {
		six, outer6 := rnd.IntN(2) == 0, rnd.IntN(2) == 0
		e := &forward.Ends{Proto: protoUDP, Client: flow.AddrOf(client), Virtual: flow.AddrOf(vip), Real: flow.AddrOf(rs)}
		from := flow.AddrOf(lip)
		if six {
			e.Client, e.Virtual = flow.AddrOf(netip.MustParseAddr("2001:db8::9")), flow.AddrOf(netip.MustParseAddr("2001:db8::100"))
		}
		if outer6 {
			e.Real, from = flow.AddrOf(netip.MustParseAddr("2001:db8:1::2")), flow.AddrOf(netip.MustParseAddr("2001:db8:1::1"))
		}
		line := randomLine(rnd, six, protoUDP)
		p := b.spoken(line)
		p.Flags, p.Hash = packet.Keyed, rnd.Uint64()
		hash := p.Hash
		want := bytes.Clone(p.Data[p.L3:])
		var ttl, class uint8
		if six {
			want[7]--
			ttl, class = want[7], wire.IPv6(want).TrafficClass()
		} else {
			ip := wire.IPv4(want)
			ip.SetTTL(ip.TTL() - 1)
			ip.ComputeChecksum()
			ttl, class = ip.TTL(), ip.TOS()
		}
		f := forward.Tunnel(e, from)
		if v := b.become(p, rewriteOf(&f)); v != packet.Output || !p.Is(packet.Encapsulated) {
			t.Fatalf("%s: verdict %v for %v", line, v, p.Reason)
		}
		proto := map[bool]uint8{false: 4, true: 41}[six]
		n := 20
		var ok bool
		if d := p.Data[p.L3:]; outer6 {
			n = 40
			ip := wire.IPv6(d)
			ok = ip.NextHeader() == proto && ip.HopLimit() == ttl && ip.TrafficClass() == class && ip.TotalLength() == len(d) && ip.FlowLabel() == uint32(hash>>32)&0xfffff && p.EtherType == wire.EtherTypeIPv6
		} else {
			ip := wire.IPv4(d)
			ok = ip.Protocol() == proto && ip.TTL() == ttl && ip.TOS() == class && int(ip.TotalLength()) == len(d) && ip.ChecksumOK() && p.EtherType == wire.EtherTypeIPv4 &&
				ip.DontFragment() == (six || wire.IPv4(want).DontFragment())
		}
		if !ok || !bytes.Equal(p.Data[int(p.L3)+n:], want) {
			t.Fatalf("%s: %x, want in it %x", line, p.Data[p.L3:], want)
		}
		b.pool.Put(p)
	}
}
