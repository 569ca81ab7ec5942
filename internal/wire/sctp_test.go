package wire

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

func judgeInit(t *testing.T) SCTP {
	return serialize(t, &layers.SCTP{SrcPort: 40000, DstPort: 80},
		&layers.SCTPInit{SCTPChunk: layers.SCTPChunk{Type: layers.SCTPChunkTypeInit}, InitiateTag: 0x01020304, AdvertisedReceiverWindowCredit: 65535, OutboundStreams: 1, InboundStreams: 1, InitialTSN: 7})
}

func TestSCTPAgainstGopacket(t *testing.T) {
	b := judgeInit(t)
	c, rest, ok := NextSCTPChunk(b.Chunks())
	tag, tagged := c.InitiateTag()
	for _, row := range []struct {
		name      string
		got, want any
	}{
		{"source port", b.SrcPort(), uint16(40000)},
		{"destination port", b.DstPort(), uint16(80)},
		{"verification tag", b.VerificationTag(), uint32(0)},
		{"checksum right", b.ChecksumOK(), true},
		{"a chunk", ok, true},
		{"its type", c.Type, SCTPInit},
		{"its length", len(c.Raw), 20},
		{"its value", len(c.Value()), 16},
		{"initiate tag", tag, uint32(0x01020304)},
		{"it has one", tagged, true},
		{"the rest", len(rest), 0},
	} {
		if row.got != row.want {
			t.Errorf("%s = %v, want %v", row.name, row.got, row.want)
		}
	}
	// We change all of the header, gopacket reads it and makes the same checksum.
	b.SetSrcPort(1)
	if b.ChecksumOK() {
		t.Error("the ports are not in the checksum")
	}
	b.SetDstPort(2)
	b.SetVerificationTag(0xa0b0c0d0)
	b.ComputeChecksum()
	p := gopacket.NewPacket(b, layers.LayerTypeSCTP, gopacket.Default)
	g, _ := p.TransportLayer().(*layers.SCTP)
	if g == nil || g.SrcPort != 1 || g.DstPort != 2 || g.VerificationTag != 0xa0b0c0d0 {
		t.Fatalf("gopacket reads %+v", g)
	}
	want := serialize(t, &layers.SCTP{SrcPort: 1, DstPort: 2, VerificationTag: 0xa0b0c0d0}, gopacket.Payload(b.Chunks()))
	if !bytes.Equal(b, want) || b.Checksum() != SCTP(want).Checksum() {
		t.Errorf("we write\n%x, gopacket\n%x", []byte(b), want)
	}
}

func TestNextSCTPChunk(t *testing.T) {
	for _, row := range []struct {
		name  string
		in    []byte
		kinds []uint8
		whole bool
	}{
		{"none", nil, nil, true},
		{"shutdown complete", []byte{14, 1, 0, 4}, []uint8{14}, true},
		{"padding belongs to the chunk", []byte{10, 0, 0, 5, 1, 0, 0, 0, 0, 0, 0, 4}, []uint8{10, 0}, true},
		{"the last padding may lack", []byte{11, 0, 0, 4, 6, 0, 0, 6, 1, 2}, []uint8{11, 6}, true},
		{"length 0", []byte{1, 0, 0, 0}, nil, false},
		{"length 3", []byte{11, 0, 0, 4, 1, 0, 0, 3}, []uint8{11}, false},
		{"length beyond", []byte{1, 0, 0, 20, 0, 0, 0, 1}, nil, false},
		{"less than a chunk", []byte{11, 0, 0, 4, 1, 0}, []uint8{11}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			var kinds []uint8
			c, rest, ok := NextSCTPChunk(row.in)
			for ; ok; c, rest, ok = NextSCTPChunk(rest) {
				kinds = append(kinds, c.Type)
			}
			if !bytes.Equal(kinds, row.kinds) || (len(rest) == 0) != row.whole {
				t.Errorf("types %v and %d bytes, want %v", kinds, len(rest), row.kinds)
			}
		})
	}
	for _, row := range []struct {
		name string
		in   []byte
	}{
		{"too short", append([]byte{1, 0, 0, 8}, 0, 0, 0, 1)},
		{"of another chunk", append([]byte{7, 0, 0, 20}, bytes.Repeat([]byte{1}, 16)...)},
		{"0", append([]byte{1, 0, 0, 20}, make([]byte, 16)...)},
	} {
		c, _, ok := NextSCTPChunk(row.in)
		if tag, is := c.InitiateTag(); !ok || is {
			t.Errorf("an initiate tag %s: %d", row.name, tag)
		}
	}
	abort, _, _ := NextSCTPChunk([]byte{6, SCTPReflected, 0, 4})
	if abort.Type != SCTPAbort || abort.Flags&SCTPReflected == 0 {
		t.Error("the flag T is not seen")
	}
}

func FuzzSCTPChunks(f *testing.F) {
	f.Add([]byte{0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 5, 1, 0, 0, 0, 0, 3, 0, 4})
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) < SCTPLen {
			return
		}
		b := SCTP(bytes.Clone(in)[:len(in):len(in)])
		n := 0
		for c, rest, ok := NextSCTPChunk(b.Chunks()); ok; c, rest, ok = NextSCTPChunk(rest) {
			if n += len(c.Raw); len(c.Raw) < 4 || n+len(rest) > len(b)-SCTPLen || len(c.Value()) != len(c.Raw)-4 {
				t.Fatalf("%d bytes of chunks and %d of rest", n, len(rest))
			}
			_, _ = c.InitiateTag()
		}
		if b.ComputeChecksum(); !b.ChecksumOK() {
			t.Fatalf("the checksum of %x is not right", []byte(b))
		}
	})
}

// TestSCTPChangePorts: the checksum follows new ports as if it were computed anew, for
// packets of all lengths; one that was wrong is wrong by the same bits; and who has
// but a beginning gets the same result.
func TestSCTPChangePorts(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	lengths := []int{16, 17, 1500, 4096, 4099, 4100, 4101, 8196, 65515}
	for n := SCTPLen; n < 120; n++ {
		lengths = append(lengths, n)
	}
	for _, n := range lengths {
		b := make(SCTP, n)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		b.ComputeChecksum()
		ports := rnd.Uint32()
		head := bytes.Clone(b[:SCTPLen])
		least := bytes.Clone(b[:4])
		b.ChangePorts(ports, n)
		if b.SrcPort() != uint16(ports)>>8|uint16(ports)<<8 || b.DstPort() != uint16(ports>>16)>>8|uint16(ports>>16)<<8 {
			t.Fatalf("%d bytes: ports %#x became %d > %d", n, ports, b.SrcPort(), b.DstPort())
		}
		if !b.ChecksumOK() {
			t.Errorf("%d bytes: the checksum did not follow", n)
		}
		SCTP(head).ChangePorts(ports, n)
		SCTP(least).ChangePorts(ports, n)
		if !bytes.Equal(head, b[:SCTPLen]) || !bytes.Equal(least, b[:4]) {
			t.Errorf("%d bytes: of the beginning alone %x, of all %x", n, head, []byte(b[:SCTPLen]))
		}
		before := b.Checksum()
		b.ChangePorts(ports, n)
		if b.Checksum() != before {
			t.Errorf("%d bytes: the same ports changed it", n)
		}
		const damage = 0x00210000
		b.SetChecksum(b.Checksum() ^ damage)
		b.ChangePorts(rnd.Uint32(), n)
		if b.Checksum()^damage != b.crc() {
			t.Errorf("%d bytes: damage did not stay what it was", n)
		}
	}
}

func TestSCTPChangePortsAllocatesNothing(t *testing.T) {
	b := make(SCTP, 1480)
	ports := uint32(0)
	if n := testing.AllocsPerRun(100, func() { ports++; b.ChangePorts(ports, len(b)) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSCTPChangePorts(b *testing.B) {
	p := make(SCTP, 1480)
	for i := range b.N {
		p.ChangePorts(uint32(i), len(p))
	}
}

// TestCompleteSCTP: of both families, behind options and extension headers; not of
// fragments or of headers that don't fit.
func TestCompleteSCTP(t *testing.T) {
	four := func(options, n int) IPv4 {
		ip := make(IPv4, IPv4MinLen+options+n)
		ip.SetVersionIHL(IPv4MinLen + options)
		ip.SetTotalLength(uint16(len(ip)))
		ip.SetProtocol(ProtoSCTP)
		return ip
	}
	six := func(n int) IPv6 {
		ip := make(IPv6, IPv6Len+8+n)
		ip.SetVersionClassFlow(0, 0)
		ip.SetPayloadLength(uint16(8 + n))
		ip.SetNextHeader(60) // destination options
		ip[IPv6Len] = ProtoSCTP
		ip[IPv6Len+2], ip[IPv6Len+3] = 1, 4 // PadN
		return ip
	}
	for _, n := range []int{SCTPMinLen, 100} {
		for _, options := range []int{0, 8} {
			ip := four(options, n)
			if !CompleteL4(ip) || !SCTP(ip[IPv4MinLen+options:]).ChecksumOK() {
				t.Errorf("IPv4, %d bytes of options, %d bytes: %x", options, n, []byte(ip))
			}
		}
		if ip := six(n); !CompleteL4Over6(ip) || !SCTP(ip[IPv6Len+8:]).ChecksumOK() {
			t.Errorf("IPv6, %d bytes: %x", n, []byte(ip))
		}
	}
	fragment, lies, short := four(0, 16), four(0, 16), four(0, SCTPLen-1)
	fragment.SetFlagsFragment(IPv4MoreFragments)
	lies.SetTotalLength(uint16(len(lies) + 1))
	for name, ip := range map[string]IPv4{"a fragment": fragment, "too long": lies, "too short": short} {
		if CompleteL4(ip) {
			t.Errorf("IPv4, %s: completed", name)
		}
	}
	lies6 := six(16)
	lies6.SetPayloadLength(25)
	for name, ip := range map[string]IPv6{"too long": lies6, "too short": six(SCTPLen - 1), "no header": lies6[:39]} {
		if CompleteL4Over6(ip) {
			t.Errorf("IPv6, %s: completed", name)
		}
	}
}
