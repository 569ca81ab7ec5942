package forward

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"weir/internal/flow"
)

// addr makes a random address of a family; words of zeros and ones come often.
func addr(rnd *rand.Rand, six bool) flow.Addr {
	var b [16]byte
	for i := 0; i < 16; i += 2 {
		binary.BigEndian.PutUint16(b[i:], [...]uint16{0, 0xffff, uint16(rnd.Uint32()), uint16(rnd.Uint32())}[rnd.IntN(4)])
	}
	if !six {
		return flow.V4(binary.LittleEndian.Uint32(b[:4]))
	}
	if a := flow.AddrAt(b[:]); !a.Is4() {
		return a
	}
	return addr(rnd, six)
}

// total is the sum of a pseudo-header and what it stands before, by the book (RFC 1071,
// RFC 8200, 8.1): 0xffff if the checksum in l4 is right.
func total(src, dst flow.Addr, proto uint8, l4 []byte) uint16 {
	var b []byte
	if proto != 1 {
		for _, a := range []flow.Addr{src, dst} {
			b = append(b, a.IP().AsSlice()...)
		}
		b = binary.BigEndian.AppendUint32(b, uint32(len(l4)))
		b = append(b, 0, 0, 0, proto)
	}
	b = append(b, l4...)
	if len(b)%2 != 0 {
		b = append(b, 0)
	}
	sum := uint64(0)
	for i := 0; i < len(b); i += 2 {
		sum += uint64(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// checksumAt is where a protocol has its checksum.
func checksumAt(proto uint8) int {
	return map[uint8]int{1: 2, 6: 16, 17: 6, 58: 2}[proto]
}

// transport makes a transport header and data for a half-flow, with a right checksum.
func transport(rnd *rand.Rand, f *flow.Flow, src, dst flow.Addr, proto uint8) []byte {
	l4 := make([]byte, 20+rnd.IntN(40))
	for i := range l4 {
		l4[i] = byte(rnd.Uint32()) * byte(rnd.IntN(2))
	}
	switch ports := uint32(f.Key1); proto {
	case 1, 58:
		l4[0], l4[1] = map[uint8]byte{1: 8, 58: 128}[proto], 0
		binary.LittleEndian.PutUint16(l4[4:], uint16(ports)|uint16(ports>>16))
	default:
		binary.LittleEndian.PutUint32(l4, ports)
	}
	at := checksumAt(proto)
	binary.BigEndian.PutUint16(l4[at:], 0)
	sum := ^total(src, dst, proto, l4)
	if sum == 0 && proto == 17 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(l4[at:], sum)
	return l4
}

// TestDeltasOfAllFamilies: for random connections within and between the families,
// and random packets, the sums after the rewrite are right by full recomputation when
// they were right before, ports and ids are the new ones, and nothing else changed.
func TestDeltasOfAllFamilies(t *testing.T) {
	for _, row := range []struct {
		name string
		from6,
		to6, snat bool
		protos []uint8
	}{
		{"IPv4", false, false, false, []uint8{6, 17}},
		{"IPv6", true, true, false, []uint8{6, 17}},
		{"NAT64", true, false, false, []uint8{6, 17}},
		{"NAT46", false, true, false, []uint8{6, 17}},
		{"echo", false, false, true, []uint8{1}},
		{"echo of IPv6", true, true, true, []uint8{58}},
	} {
		t.Run(row.name, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(11, 12))
			for range 30_000 {
				proto := row.protos[rnd.IntN(len(row.protos))]
				e := &Ends{
					Proto: proto, Client: addr(rnd, row.from6), Virtual: addr(rnd, row.from6), Local: addr(rnd, row.to6), Real: addr(rnd, row.to6),
					ClientPort: uint16(rnd.Uint32()), VirtualPort: uint16(rnd.Uint32()), LocalPort: uint16(rnd.Uint32()), RealPort: uint16(rnd.Uint32()),
				}
				var f, out flow.Flow
				var src, dst, newSrc, newDst flow.Addr
				if row.snat {
					e.VirtualPort = 0
					f, out = SNAT(e)
					src, dst, newSrc, newDst = e.Client, e.Virtual, e.Local, e.Virtual
				} else {
					f, out = FullNAT(e)
					src, dst, newSrc, newDst = e.Client, e.Virtual, e.Local, e.Real
				}
				six := row.from6
				if rnd.IntN(2) == 0 {
					f, six = out, row.to6
					src, dst, newSrc, newDst = newDst, newSrc, dst, src
				}
				if err := rewritten(rnd, &f, six, src, dst, newSrc, newDst, proto); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// rewritten makes a packet of a half-flow, has it rewritten, and says what is wrong.
func rewritten(rnd *rand.Rand, f *flow.Flow, six bool, src, dst, newSrc, newDst flow.Addr, proto uint8) error {
	key1 := f.Key1
	if f.Cross {
		key1 |= flow.FlagCross
	}
	r := Rewritten{Addrs: f.NewAddrs, Ports: f.NewPorts, DeltaIP: f.DeltaIP, DeltaL4: f.DeltaL4, How: HowOf(f.Wide, key1), Src: f.NewSrc, Dst: f.NewDst}
	if f.Wide != six || r.How.Leaves6() == newSrc.Is4() || r.From() != newSrc && r.How != To6 || r.To() != newDst && r.How != To6 {
		return fmt.Errorf("%d: wide %v, %s > %s", r.How, f.Wide, r.From().IP(), r.To().IP())
	}
	l4 := transport(rnd, f, src, dst, proto)
	want := bytes.Clone(l4)
	got := l4
	switch r.How {
	case Same4:
		d := append(make([]byte, 20), l4...)
		d[0], d[8], d[9] = 0x45, 2, proto
		binary.LittleEndian.PutUint64(d[12:], f.Key0)
		binary.BigEndian.PutUint16(d[10:], ^total(flow.Addr{}, flow.Addr{}, 1, d[:20]))
		r.Apply(d, 20, proto, false)
		if total(flow.Addr{}, flow.Addr{}, 1, d[:20]) != 0xffff || d[8] != 1 {
			return fmt.Errorf("the header is %x", d[:20])
		}
		got = d[20:]
	case Same6:
		d := append(make([]byte, 40), l4...)
		d[0], d[6], d[7] = 0x60, proto, 2
		src.Put(d[8:])
		dst.Put(d[24:])
		r.Apply6(d, 40, proto, false)
		if flow.AddrAt(d[8:]) != newSrc || flow.AddrAt(d[24:]) != newDst || d[7] != 1 {
			return fmt.Errorf("the header is %x", d[:40])
		}
		got = d[40:]
	default:
		RewriteL4(got, proto, false, r.Ports, r.DeltaL4)
	}
	switch ports := f.NewPorts; proto {
	case 1, 58:
		binary.LittleEndian.PutUint16(want[4:], uint16(ports)|uint16(ports>>16))
	default:
		binary.LittleEndian.PutUint32(want, ports)
	}
	at := checksumAt(proto)
	if proto == 17 && binary.BigEndian.Uint16(got[at:]) == 0 {
		return fmt.Errorf("a UDP checksum became 0, which means that there is none")
	}
	copy(want[at:at+2], got[at:])
	if !bytes.Equal(got, want) {
		return fmt.Errorf("proto %d, %d:\n%x, want\n%x", proto, r.How, got, want)
	}
	if total(newSrc, newDst, proto, got) != 0xffff {
		return fmt.Errorf("proto %d, %d: the checksum is wrong: %x", proto, r.How, got)
	}
	return nil
}

// TestDirectAndTunnelChangeNothing: their differences are none, whatever the ends.
func TestDirectAndTunnelChangeNothing(t *testing.T) {
	rnd := rand.New(rand.NewPCG(13, 14))
	for range 1000 {
		six, to6 := rnd.IntN(2) == 0, rnd.IntN(2) == 0
		e := &Ends{Proto: 6, Client: addr(rnd, six), Virtual: addr(rnd, six), Real: addr(rnd, to6), ClientPort: 1, VirtualPort: 2}
		from := addr(rnd, to6)
		f := Tunnel(e, from)
		key1 := f.Key1 | flow.FlagTunnel
		if f.Cross {
			key1 |= flow.FlagCross
		}
		r := Rewritten{Addrs: f.NewAddrs, How: HowOf(f.Wide, key1), Src: f.NewSrc, Dst: f.NewDst}
		if f.Cross != (six != to6) || !r.How.Tunnels() || r.How.Leaves6() != to6 || r.From() != from || r.To() != e.Real {
			t.Fatalf("tunnel: %+v", f)
		}
		if d := Direct(e); d.Cross || d.Tunnel || d.Wide != six || d.NewPorts != uint32(d.Key1) || (d.DeltaL4 != 0 && d.DeltaL4 != 0xffff) {
			t.Fatalf("direct: %+v", d)
		}
	}
}

func TestWithoutChecksumStaysWithout(t *testing.T) {
	rnd := rand.New(rand.NewPCG(15, 16))
	e := &Ends{Proto: 17, Client: addr(rnd, false), Virtual: addr(rnd, false), Local: addr(rnd, true), Real: addr(rnd, true)}
	in, _ := FullNAT(e)
	l4 := make([]byte, 9)
	r := Rewritten{Ports: in.NewPorts, DeltaL4: in.DeltaL4, How: To6}
	RewriteL4(l4, 17, false, r.Ports, r.DeltaL4)
	if l4[6] != 0 || l4[7] != 0 {
		t.Errorf("the checksum is %x", l4[6:8])
	}
	l4[6] = 7
	RewriteL4(l4, 17, true, r.Ports, r.DeltaL4)
	if l4[6] != 7 || l4[7] != 0 {
		t.Errorf("an open checksum became %x", l4[6:8])
	}
}
