package lb

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"weir/internal/packet"
	"weir/internal/wire"
)

// segment makes a packet with random IP options, the TCP options given and n
// bytes of data, with checksums that are right.
func segment(b *bed, rnd *rand.Rand, opts []byte, n int) *packet.Packet {
	p := b.pool.Get()
	ipOpts := 4 * rnd.IntN(11)
	size := 14 + 20 + ipOpts + 20 + len(opts) + n
	if !p.Resize(size) {
		b.t.Fatalf("no room for %d bytes", size)
	}
	for i := range p.Data {
		p.Data[i] = byte(rnd.Uint32())
	}
	p.L3, p.L4 = 14, uint16(34+ipOpts)
	ip := wire.IPv4(p.Data[14:])
	ip.SetVersionIHL(20 + ipOpts)
	ip.SetTotalLength(uint16(size - 14))
	ip.SetFlagsFragment(0)
	ip.SetProtocol(protoTCP)
	ip.ComputeChecksum()
	t := wire.TCP(p.Data[p.L4:])
	t.SetDataOffset(20 + len(opts))
	copy(t[20:], opts)
	wire.CompleteL4(ip)
	return p
}

func sums(t *testing.T, what string, p *packet.Packet) {
	t.Helper()
	ip := wire.IPv4(p.Data[p.L3:])
	if int(ip.TotalLength()) != len(ip) || !ip.ChecksumOK() || !wire.L4ChecksumOK(ip) {
		t.Fatalf("%s: length %d of %d, IP checksum right: %v, TCP checksum right: %v", what, ip.TotalLength(), len(ip), ip.ChecksumOK(), wire.L4ChecksumOK(ip))
	}
}

// randomOptions is a well-formed list with each kind in it now and then.
func randomOptions(rnd *rand.Rand, most int) (o []byte) {
	pool := [][]byte{
		{wire.OptNOP}, {wire.OptNOP}, {wire.OptMSS, 4, 5, 0xb4}, {wire.OptWScale, 3, 7}, {wire.OptSACKPermitted, 2},
		{wire.OptTimestamp, 10, 1, 2, 3, 4, 5, 6, 7, 8}, {wire.OptSACK, 10, 0, 0, 0, 1, 0, 0, 0, 2},
		{wire.OptSACK, 18, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 2, 0, 0, 1, 0, 0, 0, 2, 0}, {wire.OptTOA, 8, 1, 1, 9, 9, 9, 9}, {99, 5, 1, 2, 3},
	}
	for {
		next := pool[rnd.IntN(len(pool))]
		if len(o)+len(next) > most || rnd.IntN(8) == 0 {
			break
		}
		o = append(o, next...)
	}
	for len(o)%4 != 0 {
		o = append(o, wire.OptEnd)
	}
	return o
}

// TestEditsKeepChecksums holds each edit, which works by difference, to the full
// recomputation, for random packets at all alignments.
func TestEditsKeepChecksums(t *testing.T) {
	b := newBed(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		opts := randomOptions(rnd, 40)
		p := segment(b, rnd, opts, rnd.IntN(40))
		tcp := wire.TCP(p.Data[p.L4:])
		data := bytes.Clone(tcp[tcp.DataOffset():])
		switch rnd.IntN(5) {
		case 0:
			delta, seq := rnd.Uint32(), tcp.Seq()
			shiftSeq(p, tcp, delta)
			if tcp.Seq() != seq+delta {
				t.Fatalf("sequence number %d + %d is %d", seq, delta, tcp.Seq())
			}
		case 1:
			tcp.SetFlags(tcp.Flags() | tcpACK)
			wire.CompleteL4(wire.IPv4(p.Data[14:]))
			delta, ack := rnd.Uint32(), tcp.Ack()
			shiftAck(p, tcp, &stream{shift: -delta})
			if tcp.Ack() != ack+delta {
				t.Fatalf("acknowledgement %d + %d is %d", ack, delta, tcp.Ack())
			}
		case 2:
			lowerMSS(p, tcp, 8)
			if o, ok := wire.FindOption(tcp.Options(), wire.OptMSS); ok && (o.Raw[2] != 5 || o.Raw[3] != 0xb4-8) {
				t.Fatalf("MSS 1460 became %x", o.Raw[2:])
			}
		case 3:
			blankTimestamp(p, tcp)
		case 4:
			now := randomOptions(rnd, 40)
			if !setOptions(p, now) {
				t.Fatal("no room in a packet with the whole headroom")
			}
			tcp = wire.TCP(p.Data[p.L4:])
			if !bytes.Equal(tcp.Options(), now) {
				t.Fatalf("options %x became %x, want %x", opts, tcp.Options(), now)
			}
		}
		sums(t, "edit", p)
		if !bytes.Equal(tcp[tcp.DataOffset():], data) {
			t.Fatal("the data changed")
		}
		b.pool.Put(p)
	}
}

// TestPartialSumsAreLeftAlone: who completes the checksum later counts anew.
func TestPartialSumsAreLeftAlone(t *testing.T) {
	b := newBed(t)
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 1000 {
		p := segment(b, rnd, randomOptions(rnd, 32), 10)
		p.Flags |= packet.CsumPartial
		tcp := wire.TCP(p.Data[p.L4:])
		tcp.SetChecksum(0x1234)
		shiftSeq(p, tcp, 7)
		shiftAck(p, tcp, &stream{shift: 7})
		lowerMSS(p, tcp, 8)
		blankTimestamp(p, tcp)
		setOptions(p, randomOptions(rnd, 40))
		if got := wire.TCP(p.Data[p.L4:]).Checksum(); got != 0x1234 {
			t.Fatalf("the field became %#x", got)
		}
		b.pool.Put(p)
	}
}

func TestSACKEdgesMove(t *testing.T) {
	b := newBed(t)
	rnd := rand.New(rand.NewPCG(5, 6))
	p := segment(b, rnd, []byte{wire.OptNOP, wire.OptNOP, wire.OptSACK, 18, 0, 0, 0, 1, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, 0)
	defer b.pool.Put(p)
	tcp := wire.TCP(p.Data[p.L4:])
	shiftAck(p, tcp, &stream{shift: -0x100 & 0xffffffff})
	want := []byte{wire.OptNOP, wire.OptNOP, wire.OptSACK, 18, 0, 0, 1, 1, 0, 0, 1, 9, 0, 0, 0, 0xff, 0, 0, 1, 0}
	if !bytes.Equal(tcp.Options(), want) {
		t.Errorf("edges are %x, want %x", tcp.Options(), want)
	}
}

func TestMSSLimits(t *testing.T) {
	b := newBed(t)
	rnd := rand.New(rand.NewPCG(7, 8))
	for _, row := range []struct {
		name string
		opts []byte
		want []byte
	}{
		{"usual", []byte{2, 4, 5, 0xb4}, []byte{2, 4, 5, 0xac}},
		{"borrow", []byte{2, 4, 1, 4}, []byte{2, 4, 0, 0xfc}},
		{"at an odd offset", []byte{1, 2, 4, 5, 0xb4, 1, 1, 1}, []byte{1, 2, 4, 5, 0xac, 1, 1, 1}},
		{"too small to lower", []byte{2, 4, 0, 16}, []byte{2, 4, 0, 16}},
		{"of a wrong length", []byte{2, 6, 5, 0xb4, 0, 0, 1, 1}, []byte{2, 6, 5, 0xb4, 0, 0, 1, 1}},
		{"none", []byte{1, 1, 1, 1}, []byte{1, 1, 1, 1}},
		{"behind a lie", []byte{3, 9, 2, 4, 5, 0xb4, 1, 1}, []byte{3, 9, 2, 4, 5, 0xb4, 1, 1}},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := segment(b, rnd, row.opts, 3)
			defer b.pool.Put(p)
			lowerMSS(p, wire.TCP(p.Data[p.L4:]), 8)
			if got := wire.TCP(p.Data[p.L4:]).Options(); !bytes.Equal(got, row.want) {
				t.Errorf("%x became %x, want %x", row.opts, got, row.want)
			}
			sums(t, row.name, p)
		})
	}
}

// FuzzOptions: whatever stands in the options, edits keep checksums right and
// don't leave the header.
func FuzzOptions(f *testing.F) {
	b := newBed(f)
	f.Add([]byte{2, 4, 5, 0xb4}, []byte{1, 1, 1, 1}, uint32(7))
	f.Add([]byte{5, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1}, []byte{}, uint32(1<<31))
	f.Add([]byte{8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 254, 8}, []byte{254, 8, 0, 0, 1, 2, 3, 4}, uint32(0xffffffff))
	f.Fuzz(func(t *testing.T, opts, now []byte, delta uint32) {
		opts, now = opts[:min(len(opts), 40)&^3], now[:min(len(now), 40)&^3]
		rnd := rand.New(rand.NewPCG(uint64(delta), 1))
		p := segment(b, rnd, opts, int(delta%50))
		defer b.pool.Put(p)
		tcp := wire.TCP(p.Data[p.L4:])
		data := bytes.Clone(tcp[tcp.DataOffset():])
		shiftSeq(p, tcp, delta)
		shiftAck(p, tcp, &stream{shift: delta})
		lowerMSS(p, tcp, 8)
		blankTimestamp(p, tcp)
		sums(t, "edits", p)
		setOptions(p, now)
		sums(t, "options", p)
		if tcp = wire.TCP(p.Data[p.L4:]); !bytes.Equal(tcp[tcp.DataOffset():], data) || !bytes.Equal(tcp.Options(), now) {
			t.Fatal("options or data are not what they shall be")
		}
	})
}
