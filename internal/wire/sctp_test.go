package wire

import (
	"bytes"
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
