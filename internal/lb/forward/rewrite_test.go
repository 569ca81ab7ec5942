package forward

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"weir/internal/flow"
	"weir/internal/wire"
)

// ends makes random ends of a connection; special words come often, because
// that is where ones'-complement sums go wrong.
func ends(rnd *rand.Rand, proto uint8) *Ends {
	u32 := func() uint32 {
		switch rnd.IntN(6) {
		case 0:
			return 0
		case 1:
			return 0xffffffff
		case 2:
			return 0xffff
		}
		return rnd.Uint32()
	}
	u16 := func() uint16 { return uint16(u32()) }
	return &Ends{
		Proto: proto, Client: flow.V4(u32()), Virtual: flow.V4(u32()), Local: flow.V4(u32()), Real: flow.V4(u32()),
		ClientPort: u16(), VirtualPort: u16(), LocalPort: u16(), RealPort: u16(),
	}
}

// packetOf makes the packet whose tuple a half-flow is for.
func packetOf(rnd *rand.Rand, f *flow.Flow, proto uint8, n int) wire.IPv4 {
	options := 4 * rnd.IntN(11)
	l4 := 20 + options
	head := 20
	if proto == wire.ProtoUDP {
		head = 8
	}
	d := make([]byte, l4+head+n)
	for i := range d {
		d[i] = byte(rnd.Uint32()) * byte(rnd.IntN(2))
	}
	ip := wire.IPv4(d)
	ip.SetVersionIHL(l4)
	ip.SetTotalLength(uint16(len(d)))
	ip.SetFlagsFragment(0)
	ip.SetTTL(uint8(1 + rnd.IntN(255)))
	ip.SetProtocol(proto)
	binary.LittleEndian.PutUint64(d[12:], f.Key0)
	binary.LittleEndian.PutUint32(d[l4:], uint32(f.Key1))
	if proto == wire.ProtoTCP {
		wire.TCP(d[l4:]).SetDataOffset(20)
	} else {
		wire.UDP(d[l4:]).SetLength(uint16(head + n))
	}
	ip.ComputeChecksum()
	wire.CompleteL4(ip)
	return ip
}

// TestDeltasAgainstRecomputation: for random connections and packets the sums
// after Apply are right when they were right before, and what must change does,
// and nothing else.
func TestDeltasAgainstRecomputation(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		proto := wire.ProtoTCP
		if rnd.IntN(2) == 0 {
			proto = wire.ProtoUDP
		}
		in, out := FullNAT(ends(rnd, proto))
		f := in
		if rnd.IntN(2) == 0 {
			f = out
		}
		ip := packetOf(rnd, &f, proto, rnd.IntN(40))
		want := bytes.Clone(ip)
		l4 := ip.HeaderLength()
		r := Rewritten{Addrs: f.NewAddrs, Ports: f.NewPorts, DeltaIP: f.DeltaIP, DeltaL4: f.DeltaL4}
		r.Apply(ip, l4, proto, false)

		w := wire.IPv4(want)
		w.SetTTL(w.TTL() - 1)
		binary.LittleEndian.PutUint64(want[12:], f.NewAddrs)
		binary.LittleEndian.PutUint32(want[l4:], f.NewPorts)
		w.ComputeChecksum()
		wire.CompleteL4(w)
		if !bytes.Equal(ip, want) && !equalButSums(ip, want, l4, proto) {
			t.Fatalf("proto %d:\n%x, want\n%x", proto, []byte(ip), want)
		}
		if !ip.ChecksumOK() || !wire.L4ChecksumOK(ip) {
			t.Fatalf("proto %d: sums are wrong: %x", proto, []byte(ip))
		}
		if proto == wire.ProtoUDP && wire.UDP(ip[l4:]).Checksum() == 0 {
			t.Fatal("a UDP checksum became 0, which means that there is none")
		}
	}
}

// equalButSums: a sum of zero has two forms, 0 and 0xffff, and both are right.
func equalButSums(a, b []byte, l4 int, proto uint8) bool {
	at := l4 + 16
	if proto == wire.ProtoUDP {
		at = l4 + 6
	}
	a, b = bytes.Clone(a), bytes.Clone(b)
	for _, i := range []int{10, at} {
		binary.BigEndian.PutUint16(a[i:], 0)
		binary.BigEndian.PutUint16(b[i:], 0)
	}
	return bytes.Equal(a, b)
}

func TestUDPWithoutChecksumStaysWithout(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	in, _ := FullNAT(ends(rnd, wire.ProtoUDP))
	ip := packetOf(rnd, &in, wire.ProtoUDP, 7)
	l4 := ip.HeaderLength()
	wire.UDP(ip[l4:]).SetChecksum(0)
	r := Rewritten{Addrs: in.NewAddrs, Ports: in.NewPorts, DeltaIP: in.DeltaIP, DeltaL4: in.DeltaL4}
	r.Apply(ip, l4, wire.ProtoUDP, false)
	if got := wire.UDP(ip[l4:]).Checksum(); got != 0 {
		t.Errorf("the checksum is %#x", got)
	}
}

func TestPartialChecksumIsLeftAlone(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for _, proto := range []uint8{wire.ProtoTCP, wire.ProtoUDP} {
		in, _ := FullNAT(ends(rnd, proto))
		ip := packetOf(rnd, &in, proto, 7)
		l4 := ip.HeaderLength()
		wire.PartialL4(ip)
		at := l4 + 16
		if proto == wire.ProtoUDP {
			at = l4 + 6
		}
		before := binary.BigEndian.Uint16(ip[at:])
		r := Rewritten{Addrs: in.NewAddrs, Ports: in.NewPorts, DeltaIP: in.DeltaIP, DeltaL4: in.DeltaL4}
		r.Apply(ip, l4, proto, true)
		if got := binary.BigEndian.Uint16(ip[at:]); got != before || !ip.ChecksumOK() {
			t.Errorf("proto %d: the field was %#x and is %#x; IP checksum right: %v", proto, before, got, ip.ChecksumOK())
		}
	}
}

// TestDamageStays: a wrong checksum is wrong by the same difference afterwards.
func TestDamageStays(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	for range 1000 {
		in, _ := FullNAT(ends(rnd, wire.ProtoTCP))
		ip := packetOf(rnd, &in, wire.ProtoTCP, 20)
		l4 := ip.HeaderLength()
		ip[l4+25] ^= 1 << rnd.IntN(8)
		r := Rewritten{Addrs: in.NewAddrs, Ports: in.NewPorts, DeltaIP: in.DeltaIP, DeltaL4: in.DeltaL4}
		r.Apply(ip, l4, wire.ProtoTCP, false)
		if wire.L4ChecksumOK(ip) {
			t.Fatal("damage looks right")
		}
	}
}

// TestFullNATTuples: what goes in as client > VIP goes out as LIP > RS, and the
// answer back.
func TestFullNATTuples(t *testing.T) {
	e := &Ends{Proto: 6, Client: flow.V4(1), Virtual: flow.V4(2), Local: flow.V4(3), Real: flow.V4(4), ClientPort: 11, VirtualPort: 12, LocalPort: 13, RealPort: 14}
	in, out := FullNAT(e)
	for _, row := range []struct {
		name         string
		f            flow.Flow
		key0         uint64
		key1         uint64
		addrs, ports uint64
		reply        bool
	}{
		{"in", in, 1 | 2<<32, 11 | 12<<16 | 6<<32, 3 | 4<<32, 13 | 14<<16, false},
		{"out", out, 4 | 3<<32, 14 | 13<<16 | 6<<32, 2 | 1<<32, 12 | 11<<16, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := row.f
			if f.Key0 != row.key0 || f.Key1 != row.key1 || f.NewAddrs != row.addrs || uint64(f.NewPorts) != row.ports || f.Reply != row.reply || f.Fast {
				t.Errorf("%+v", f)
			}
		})
	}
}

func TestApplyAllocatesNothing(t *testing.T) {
	rnd := rand.New(rand.NewPCG(9, 9))
	in, _ := FullNAT(ends(rnd, wire.ProtoTCP))
	ip := packetOf(rnd, &in, wire.ProtoTCP, 7)
	l4 := ip.HeaderLength()
	r := Rewritten{Addrs: in.NewAddrs, Ports: in.NewPorts, DeltaIP: in.DeltaIP, DeltaL4: in.DeltaL4}
	if n := testing.AllocsPerRun(100, func() { r.Apply(ip, l4, wire.ProtoTCP, false) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestSCTP: ports and checksum follow in every form of the rewrite, an open checksum
// is left alone, damage stays.
func TestSCTP(t *testing.T) {
	rnd := rand.New(rand.NewPCG(11, 12))
	for range 2000 {
		in, out := FullNAT(ends(rnd, wire.ProtoSCTP))
		if rnd.IntN(2) == 0 {
			in = out
		}
		r := Rewritten{Addrs: in.NewAddrs, Ports: in.NewPorts, DeltaIP: in.DeltaIP, DeltaL4: in.DeltaL4}
		l4 := 20 + 4*rnd.IntN(11)
		d := make([]byte, l4+wire.SCTPMinLen+rnd.IntN(100))
		for i := range d {
			d[i] = byte(rnd.Uint32())
		}
		ip, s := wire.IPv4(d), wire.SCTP(d[l4:])
		ip.SetVersionIHL(l4)
		ip.SetTTL(64)
		binary.LittleEndian.PutUint64(d[12:], in.Key0)
		binary.LittleEndian.PutUint32(s, uint32(in.Key1))
		ip.ComputeChecksum()
		s.ComputeChecksum()
		damage := uint32(0)
		if rnd.IntN(3) == 0 {
			damage = rnd.Uint32()
			s.SetChecksum(s.Checksum() ^ damage)
		}
		alone, six, open := bytes.Clone(s), append(make([]byte, 40), s...), bytes.Clone(s)
		was := wire.SCTP(open).Checksum()

		r.Apply(d, l4, wire.ProtoSCTP, false)
		sum := s.Checksum()
		if s.ComputeChecksum(); sum^damage != s.Checksum() || !ip.ChecksumOK() || binary.LittleEndian.Uint32(s) != in.NewPorts {
			t.Fatalf("%x, damaged by %#x", d, damage)
		}
		s.SetChecksum(sum)
		RewriteL4(alone, wire.ProtoSCTP, false, r.Ports, r.DeltaL4)
		r.Apply6(six, 40, wire.ProtoSCTP, false)
		if !bytes.Equal(alone, s) || !bytes.Equal(six[40:], s) {
			t.Fatalf("alone %x, over IPv6 %x, want %x", alone, six[40:], []byte(s))
		}
		RewriteL4(open, wire.ProtoSCTP, true, r.Ports, r.DeltaL4)
		if o := wire.SCTP(open); o.Checksum() != was || binary.LittleEndian.Uint32(o) != in.NewPorts {
			t.Fatalf("with an open checksum %x", open)
		}
	}
}
