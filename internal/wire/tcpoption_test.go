package wire

import (
	"bytes"
	"testing"
)

func TestNextOption(t *testing.T) {
	for _, row := range []struct {
		name  string
		in    []byte
		kinds []uint8
	}{
		{"none", nil, nil},
		{"end at once", []byte{0, 2, 4, 1, 1}, nil},
		{"NOPs count", []byte{1, 1, 4, 2}, []uint8{1, 1, 4}},
		{"MSS then end", []byte{2, 4, 5, 0xb4, 0, 1}, []uint8{2}},
		{"length 0", []byte{2, 0, 1, 1}, nil},
		{"length 1", []byte{1, 2, 1, 1}, []uint8{1}},
		{"length beyond", []byte{2, 5, 1, 1}, nil},
		{"kind alone", []byte{1, 8}, []uint8{1}},
		{"TOA", []byte{0xfe, 8, 1, 2, 3, 4, 5, 6, 1}, []uint8{254, 1}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var kinds []uint8
			for o, rest, ok := NextOption(row.in); ok; o, rest, ok = NextOption(rest) {
				kinds = append(kinds, o.Kind)
			}
			if !bytes.Equal(kinds, row.kinds) {
				t.Errorf("kinds %v, want %v", kinds, row.kinds)
			}
		})
	}
}

func TestBlankLeavesTheNeighbours(t *testing.T) {
	b := []byte{2, 4, 5, 0xb4, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 4, 2}
	o, ok := FindOption(b, OptTimestamp)
	if !ok {
		t.Fatal("timestamp not found")
	}
	o.Blank()
	want := []byte{2, 4, 5, 0xb4, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4, 2}
	if !bytes.Equal(b, want) {
		t.Errorf("%v, want %v", b, want)
	}
}

func FuzzNextOption(f *testing.F) {
	f.Add([]byte{2, 4, 5, 0xb4, 1, 3, 3, 7, 0})
	f.Add([]byte{0xfe, 8, 1, 2, 3, 4, 5, 6})
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		for o, rest, ok := NextOption(b); ok; o, rest, ok = NextOption(rest) {
			n += len(o.Raw)
			if len(o.Raw) == 0 || n+len(rest) != len(b) {
				t.Fatalf("options and rest are %d bytes of %d", n+len(rest), len(b))
			}
			_ = o.Value()
		}
	})
}

func FuzzL4Checksum(f *testing.F) {
	f.Add([]byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 1, 0, 2, 0, 8, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		// One byte less of capacity than memory: reading past the slice panics.
		ip := IPv4(bytes.Clone(b)[:len(b):len(b)])
		if CompleteL4(ip) && !L4ChecksumOK(ip) {
			t.Fatalf("completed checksum is not right: %x", []byte(ip))
		}
		if PartialL4(ip) != IsPartialL4(ip) {
			t.Fatalf("partial checksum is not seen as such: %x", []byte(ip))
		}
		_ = TCP(append(b, make([]byte, TCPMinLen)...)).Options()
	})
}
