package neigh

import (
	"fmt"
	"strings"

	"weir/internal/packet"
	"weir/internal/testkit/words"
	"weir/internal/wire"
)

var stations = words.Stations{"p0": words.MAC(mac0), "p1": words.MAC(mac1), "x": words.MAC(macX), "y": words.MAC(macY)}

// say6 tells a message of ours in words, and whether what stages and ports read of
// the packet is right.
func (b *bed) say6(p *packet.Packet) string {
	e := wire.Ethernet(p.Data)
	if !p.Is(packet.Ours) || p.L3 != 14 || p.L4 != 54 || p.Proto != wire.ProtoICMPv6 || e.Source() != b.Ports[p.Out].MAC {
		return fmt.Sprintf("not a good message: %x", p.Data)
	}
	return fmt.Sprintf("%v port %d to %x: %s", p.Verdict, p.Out, e.Destination(), b.words(p))
}

// words tells a frame without its link header.
func (b *bed) words(p *packet.Packet) string {
	s := words.Print(words.Frame{Data: p.Data}, stations)
	if i := strings.Index(s, "ip6 "); i > 0 {
		s = s[i:]
	}
	return s
}

// nd gives a message that came in on port 0 from x to Input, as ip.Input6 would;
// the packet comes back for inspection and is put back at the end of the test.
func (b *bed) nd(line string) (packet.Verdict, *packet.Packet) {
	b.t.Helper()
	f, err := words.Parse(line, stations, words.MAC(macX), words.MAC(mac0))
	if err != nil {
		b.t.Fatal(err)
	}
	p := b.raw6(f.Data)
	b.t.Cleanup(func() { b.pool.Put(p) })
	v := b.Input(p)
	p.Verdict = v
	return v, p
}

// raw6 makes a packet of a frame with ICMPv6 in IPv6 without extension headers.
func (b *bed) raw6(data []byte) *packet.Packet {
	p := b.pool.Get()
	fill6(p, data)
	return p
}

func fill6(p *packet.Packet, data []byte) {
	p.Resize(len(data))
	copy(p.Data, data)
	p.L3, p.L4, p.EtherType, p.Proto = 14, 54, wire.EtherTypeIPv6, wire.ProtoICMPv6
}
