package wire

import (
	"bytes"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// greFlags are all that a header may say.
var greFlags = []uint16{
	0, GREChecksum, GREKey, GRESequence, GREChecksum | GREKey, GREChecksum | GRESequence,
	GREKey | GRESequence, GREChecksum | GREKey | GRESequence,
}

func TestGREAgainstGopacket(t *testing.T) {
	const key, sequence = 0x01020304, 0xfffffffe
	payload := []byte("an odd number of bytes in here!")
	for _, flags := range greFlags {
		theirs := serialize(t, &layers.GRE{
			ChecksumPresent: flags&GREChecksum != 0, KeyPresent: flags&GREKey != 0, SeqPresent: flags&GRESequence != 0,
			Protocol: layers.EthernetTypeIPv6, Key: key, Seq: sequence,
		}, gopacket.Payload(payload))
		b := GRE(theirs)
		if !b.Valid() || b.Flags() != flags || b.ProtocolType() != EtherTypeIPv6 {
			t.Fatalf("flags %#x: read as valid=%v flags=%#x type=%#x", flags, b.Valid(), b.Flags(), b.ProtocolType())
		}
		if n := b.HeaderLength(); n != GRELen(flags) || !bytes.Equal(b[n:], payload) {
			t.Errorf("flags %#x: a header of %d bytes", flags, n)
		}
		if flags&GREKey != 0 && b.Key() != key {
			t.Errorf("flags %#x: key %#x", flags, b.Key())
		}
		if flags&GRESequence != 0 && b.Sequence() != sequence {
			t.Errorf("flags %#x: sequence %#x", flags, b.Sequence())
		}
		if flags&GREChecksum != 0 && !b.ChecksumOK() {
			t.Errorf("flags %#x: a right checksum counts as wrong", flags)
		}
		ours := make(GRE, len(theirs))
		for i := range ours {
			ours[i] = 0xaa // what lay there before
		}
		copy(ours[GRELen(flags):], payload)
		ours.Put(flags, EtherTypeIPv6, key, sequence)
		if !bytes.Equal(ours, theirs) {
			t.Errorf("flags %#x: wrote % x\nwant      % x", flags, ours, theirs)
		}
		ours[len(ours)-1] ^= 1
		if flags&GREChecksum != 0 && ours.ChecksumOK() {
			t.Errorf("flags %#x: damage is not seen", flags)
		}
	}
}

func TestGRERefused(t *testing.T) {
	for _, row := range []struct {
		name string
		b    GRE
		want bool
	}{
		{"least", GRE{0, 0, 8, 0}, true},
		{"short", GRE{0, 0, 8}, false},
		{"all there", GRE{0xb0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, true},
		{"sequence cut short", GRE{0xb0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, false},
		{"routing", GRE{0x40, 0, 8, 0, 0, 0, 0, 0}, false},
		{"strict source route", GRE{0x08, 0, 8, 0}, false},
		{"bit 5", GRE{0x04, 0, 8, 0}, false},
		{"reserved for the future", GRE{0x03, 0xf8, 8, 0}, true},
		{"version 1, PPTP", GRE{0x30, 1, 0x88, 0x0b, 0, 0, 0, 0, 0, 0, 0, 0}, false},
		{"version 4", GRE{0, 4, 8, 0}, false},
	} {
		if got := row.b.Valid(); got != row.want {
			t.Errorf("%s: valid = %v", row.name, got)
		}
	}
}

func FuzzGRE(f *testing.F) {
	f.Add([]byte{0xb0, 0, 8, 0, 1, 2, 0, 0, 3, 4, 5, 6, 7, 8, 9, 10, 11})
	f.Add([]byte{0x20, 0, 0x86, 0xdd, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		b := GRE(data)
		if !b.Valid() {
			return
		}
		flags := b.Flags()
		var key, sequence uint32
		if flags&GREKey != 0 {
			key = b.Key()
		}
		if flags&GRESequence != 0 {
			sequence = b.Sequence()
		}
		again := GRE(bytes.Clone(data))
		again.Put(flags, b.ProtocolType(), key, sequence)
		if !again.Valid() || again.Flags() != flags || flags&GREChecksum != 0 && !again.ChecksumOK() {
			t.Fatalf("% x became % x", data, again)
		}
		if flags&GREKey != 0 && again.Key() != key || flags&GRESequence != 0 && again.Sequence() != sequence {
			t.Fatalf("% x became % x", data, again)
		}
	})
}
