package wire

import (
	"bytes"
	"encoding/hex"
	"slices"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// chain makes a packet of next header values and headers; the last value is
// the transport's. The first byte of each header is set here.
func chain(payload int, first uint8, headers ...[]byte) IPv6 {
	ip := make(IPv6, IPv6Len)
	ip.SetVersionClassFlow(0, 0)
	ip.SetNextHeader(first)
	for _, h := range headers {
		ip = append(ip, h...)
	}
	ip = append(ip, make([]byte, payload)...)
	ip.SetPayloadLength(uint16(len(ip) - IPv6Len))
	return ip
}

func TestWalkIPv6(t *testing.T) {
	ext := func(next uint8) []byte { return []byte{next, 0, 1, 4, 0, 0, 0, 0} }
	frag := func(next uint8, word byte) []byte { return []byte{next, 0, 0, word, 0, 0, 0, 9} }
	long := func(next uint8, units int) []byte {
		b := make([]byte, units*8)
		b[0], b[1] = next, byte(units-1)
		return b
	}
	ah := func(next, words uint8) []byte {
		b := make([]byte, (int(words)+2)*4)
		b[0], b[1] = next, words
		return b
	}
	var nine [][]byte
	for range 9 {
		nine = append(nine, ext(NextDestination))
	}
	eight := append(bytes.Clone(bytes.Join(nine[:7], nil)), ext(ProtoTCP)...)
	for _, row := range []struct {
		name  string
		ip    IPv6
		want  Chain
		fault ChainFault
	}{
		{"no extension", chain(20, ProtoTCP), Chain{Proto: ProtoTCP, Offset: 40, NextAt: 6, SplitAt: 40, SplitNextAt: 6}, ChainOK},
		{"no payload", chain(0, ProtoTCP), Chain{Proto: ProtoTCP, Offset: 40, NextAt: 6, SplitAt: 40, SplitNextAt: 6}, ChainOK},
		{"nothing follows", chain(3, NextNone), Chain{Proto: NextNone, Offset: 40, NextAt: 6, SplitAt: 40, SplitNextAt: 6}, ChainOK},
		{"an unknown header", chain(3, 253), Chain{Proto: 253, Offset: 40, NextAt: 6, SplitAt: 40, SplitNextAt: 6}, ChainOK},
		{"ESP hides the rest", chain(8, 50), Chain{Proto: 50, Offset: 40, NextAt: 6, SplitAt: 40, SplitNextAt: 6}, ChainOK},
		{"hop-by-hop", chain(8, NextHopByHop, ext(ProtoUDP)), Chain{Proto: ProtoUDP, Offset: 48, NextAt: 40, SplitAt: 48, SplitNextAt: 40, Extensions: 1}, ChainOK},
		{
			"routing with segments left", chain(8, NextRouting, []byte{ProtoUDP, 0, 4, 3, 0, 0, 0, 0}),
			Chain{Proto: ProtoUDP, Offset: 48, NextAt: 40, SplitAt: 48, SplitNextAt: 40, Extensions: 1, SegmentsLeft: 3},
			ChainOK,
		},
		{
			"routing behind destination", chain(8, NextDestination, ext(NextRouting), []byte{ProtoUDP, 0, 4, 0, 0, 0, 0, 0}),
			Chain{Proto: ProtoUDP, Offset: 56, NextAt: 48, SplitAt: 56, SplitNextAt: 48, Extensions: 2},
			ChainOK,
		},
		{
			"source route", chain(8, NextRouting, []byte{NextRouting, 0, 0, 0, 0, 0, 0, 0}, []byte{ProtoUDP, 0, 4, 0, 0, 0, 0, 0}),
			Chain{Proto: ProtoUDP, Offset: 56, NextAt: 48, SplitAt: 56, SplitNextAt: 48, Extensions: 2, SourceRoute: true},
			ChainOK,
		},
		{"destination is fragmented", chain(8, NextDestination, ext(ProtoUDP)), Chain{Proto: ProtoUDP, Offset: 48, NextAt: 40, SplitAt: 40, SplitNextAt: 6, Extensions: 1}, ChainOK},
		{"AH with a check value of 12", chain(8, NextAH, ah(ProtoTCP, 4)), Chain{Proto: ProtoTCP, Offset: 64, NextAt: 40, SplitAt: 40, SplitNextAt: 6, Extensions: 1}, ChainOK},
		{"AH without a check value", chain(8, NextAH, ah(ProtoTCP, 1)), Chain{Proto: ProtoTCP, Offset: 52, NextAt: 40, SplitAt: 40, SplitNextAt: 6, Extensions: 1}, ChainOK},
		{
			"first fragment", chain(8, NextHopByHop, ext(NextFragment), frag(ProtoUDP, 1)),
			Chain{Proto: ProtoUDP, Offset: 56, NextAt: 48, Fragment: 48, FragmentWord: 1, FragmentNextAt: 40, SplitAt: 48, SplitNextAt: 40, Extensions: 2},
			ChainOK,
		},
		{
			"atomic fragment", chain(8, NextFragment, frag(NextDestination, 6), ext(ProtoUDP)),
			Chain{Proto: ProtoUDP, Offset: 56, NextAt: 48, Fragment: 40, FragmentWord: 6, FragmentNextAt: 6, SplitAt: 40, SplitNextAt: 6, Extensions: 2},
			ChainOK,
		},
		{
			"later fragment: what follows is no header", chain(8, NextFragment, frag(NextDestination, 8)),
			Chain{Proto: NextDestination, Offset: 48, NextAt: 40, Fragment: 40, FragmentWord: 8, FragmentNextAt: 6, SplitAt: 40, SplitNextAt: 6, Extensions: 1},
			ChainOK,
		},
		{"eight headers", chain(0, NextDestination, eight), Chain{Proto: ProtoTCP, Offset: 104, NextAt: 96, SplitAt: 40, SplitNextAt: 6, Extensions: 8}, ChainOK},
		{"512 bytes", chain(0, NextDestination, long(ProtoTCP, 64)), Chain{Proto: ProtoTCP, Offset: 552, NextAt: 40, SplitAt: 40, SplitNextAt: 6, Extensions: 1}, ChainOK},

		{"nine headers", chain(0, NextDestination, nine...), Chain{}, ChainTooLong},
		{"520 bytes", chain(0, NextDestination, long(ProtoTCP, 65)), Chain{}, ChainTooLong},
		{"hop-by-hop second", chain(0, NextDestination, ext(NextHopByHop), ext(ProtoTCP)), Chain{}, ChainDisorder},
		{"hop-by-hop twice", chain(0, NextHopByHop, ext(NextHopByHop), ext(ProtoTCP)), Chain{}, ChainDisorder},
		{"two fragment headers", chain(0, NextFragment, frag(NextFragment, 0), frag(ProtoTCP, 0)), Chain{}, ChainDisorder},
		{"AH of 8 bytes", chain(0, NextAH, ah(ProtoTCP, 0)), Chain{}, ChainBadAH},
		{"AH beyond the end", chain(0, NextAH, ah(ProtoTCP, 4)[:20]), Chain{}, ChainCut},
		{"header beyond the end", chain(0, NextHopByHop, ext(NextDestination), []byte{ProtoTCP, 1, 0, 0, 0, 0, 0, 0}), Chain{}, ChainCut},
		{"header not there", chain(0, NextHopByHop, ext(NextDestination)), Chain{}, ChainCut},
		{"fragment header cut", chain(0, NextFragment, frag(ProtoTCP, 0)[:7]), Chain{}, ChainCut},
		{"first fragment without the chain's end", chain(0, NextFragment, frag(NextDestination, 1)), Chain{}, ChainCut},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, fault := WalkIPv6(row.ip)
			if got != row.want || fault != row.fault {
				t.Errorf("%+v, fault %d: want\n%+v, fault %d", got, fault, row.want, row.fault)
			}
			if want := row.want.FragmentWord&1 != 0 || row.want.FragmentWord > 7; got.IsFragment() != want {
				t.Errorf("IsFragment = %v", !want)
			}
		})
	}
	cut := chain(8, NextHopByHop, ext(ProtoUDP))
	cut.SetPayloadLength(7)
	if _, f := WalkIPv6(cut); f != ChainCut {
		t.Error("the payload length is no bound")
	}
	cut.SetPayloadLength(1400)
	if c, f := WalkIPv6(cut); f != ChainOK || c.Offset != 48 {
		t.Error("a quoted packet that is cut can't be walked")
	}
}

func TestFragmentHeaderAgainstGopacket(t *testing.T) {
	// gopacket reads fragment headers and writes none.
	b := make(IPv6Fragment, IPv6FragmentLen)
	b.Put(ProtoUDP, 1232, true, 0xdeadbeef)
	p := gopacket.NewPacket(b, layers.LayerTypeIPv6Fragment, gopacket.Default)
	g, _ := p.Layer(layers.LayerTypeIPv6Fragment).(*layers.IPv6Fragment)
	if g == nil || g.NextHeader != layers.IPProtocolUDP || g.FragmentOffset != 1232/8 || !g.MoreFragments || g.Identification != 0xdeadbeef {
		t.Errorf("gopacket reads %+v", g)
	}
	if b.NextHeader() != ProtoUDP || b.Offset() != 1232 || !b.MoreFragments() || b.ID() != 0xdeadbeef {
		t.Errorf("we read %d %d %v %#x", b.NextHeader(), b.Offset(), b.MoreFragments(), b.ID())
	}
	b.Put(ProtoUDP, 65528, false, 1)
	if b.Offset() != 65528 || b.MoreFragments() || b.OffsetFlags() != 65528 {
		t.Errorf("we read %d %v", b.Offset(), b.MoreFragments())
	}
}

// FuzzWalkIPv6: what is found lies in the packet, the next header byte in front of
// it says so, and taking the walk's own steps gets there.
func FuzzWalkIPv6(f *testing.F) {
	f.Add([]byte(chain(8, NextHopByHop, []byte{NextFragment, 0, 1, 4, 0, 0, 0, 0}, []byte{ProtoUDP, 0, 0, 1, 0, 0, 0, 1})))
	f.Add([]byte(chain(20, NextAH, []byte{ProtoTCP, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})))
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) < IPv6Len {
			return
		}
		ip := IPv6(bytes.Clone(in)[:len(in):len(in)])
		c, fault := WalkIPv6(ip)
		if fault != ChainOK {
			if c != (Chain{}) {
				t.Fatalf("fault %d, but %+v", fault, c)
			}
			return
		}
		n := int(c.Offset)
		if n > len(ip) || n > ip.TotalLength() || n < IPv6Len || n > IPv6Len+IPv6MaxChain || c.Extensions > IPv6MaxExtensions || ip[c.NextAt] != c.Proto {
			t.Fatalf("%+v of %x", c, in)
		}
		if c.SplitAt > c.Offset || c.Fragment != 0 && c.SplitAt != c.Fragment && c.SplitAt > c.Fragment || (c.SplitAt == IPv6Len) != (c.SplitNextAt == ipv6Next) {
			t.Fatalf("fragments are made at %d: %+v", c.SplitAt, c)
		}
		// The whole chain behind a fixed header of its own is the same chain.
		short := bytes.Clone(ip[:n])
		IPv6(short).SetPayloadLength(uint16(n - IPv6Len))
		if again, fault := WalkIPv6(short); fault != ChainOK || again != c {
			t.Fatalf("%+v became %+v, fault %d", c, again, fault)
		}
	})
}

func FuzzL4ChecksumOver6(f *testing.F) {
	f.Add([]byte(chain(8, NextHopByHop, []byte{ProtoUDP, 0, 1, 4, 0, 0, 0, 0})))
	f.Fuzz(func(t *testing.T, b []byte) {
		ip := IPv6(bytes.Clone(b)[:len(b):len(b)])
		if CompleteL4Over6(ip) && !L4ChecksumOKOver6(ip) {
			t.Fatalf("completed checksum is not right: %x", []byte(ip))
		}
		if PartialL4Over6(ip) != IsPartialL4Over6(ip) {
			t.Fatalf("partial checksum is not seen as such: %x", []byte(ip))
		}
	})
}

func TestIPv6AllocatesNothing(t *testing.T) {
	ip := chain(20, NextHopByHop, []byte{ProtoTCP, 0, 1, 4, 0, 0, 0, 0})
	sctp := make(SCTP, SCTPLen+8)
	if n := testing.AllocsPerRun(100, func() {
		CompleteL4Over6(ip)
		L4ChecksumOKOver6(ip)
		sctp.ComputeChecksum()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestIPv6Options(t *testing.T) {
	for _, tt := range []struct {
		name, list string
		want       []string
	}{
		{"none", "", nil},
		{"padding alone", "01020000", []string{"01020000"}},
		{"Pad1 has no length", "000000", []string{"00", "00", "00"}},
		{"options among padding", "0005020000c20400001000", []string{"00", "05020000", "c20400001000"}},
		{"an empty one", "3e003e00", []string{"3e00", "3e00"}},
		{"a type without length", "05020000c2", []string{"05020000"}},
		{"one byte too long", "050200001e03aabb", []string{"05020000"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := hex.DecodeString(tt.list)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for o, rest, ok := NextIPv6Option(b); ok; o, rest, ok = NextIPv6Option(rest) {
				if o.Type != o.Raw[0] || len(o.Raw) > 1 && len(o.Value()) != len(o.Raw)-2 || len(o.Raw) == 1 && o.Value() != nil {
					t.Errorf("type %#x and value %x of %x", o.Type, o.Value(), o.Raw)
				}
				got = append(got, hex.EncodeToString(o.Raw))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("the options are %q, want %q", got, tt.want)
			}
		})
	}
}

func TestCutExtension(t *testing.T) {
	for _, tt := range []struct {
		name string
		kind uint8
		text string
		want string // the header; "" where there is none
	}{
		{"destination", NextDestination, "1100010400000000" + "aa", "1100010400000000"},
		{"hop-by-hop of 16 bytes", NextHopByHop, "1101010c000000000000000000000000", "1101010c000000000000000000000000"},
		{"routing", NextRouting, "1100000000000000", "1100000000000000"},
		{"fragment, whatever the second byte says", NextFragment, "11ff000000000001" + "aa", "11ff000000000001"},
		{"AH", NextAH, "110100000000000000000001" + "aa", "110100000000000000000001"},
		{"UDP", ProtoUDP, "0fa0003600090000", ""},
		{"no more", NextNone, "0000000000000000", ""},
		{"cut", NextDestination, "11000104000000", ""},
		{"longer than what is left", NextDestination, "1101010400000000", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := hex.DecodeString(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			h, rest, ok := CutExtension(tt.kind, b)
			if ok != (tt.want != "") || hex.EncodeToString(h) != tt.want || ok && len(h)+len(rest) != len(b) {
				t.Errorf("cut %x and %x, %v; want %s", h, rest, ok, tt.want)
			}
		})
	}
}
