package wire

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// slowSum is RFC 1071 as one would say it: big-endian 16-bit words, an odd byte
// padded with zero, carries go round.
func slowSum(b []byte, start uint16) uint16 {
	s := uint32(start)
	for i := 0; i < len(b); i += 2 {
		w := uint32(b[i]) << 8
		if i+1 < len(b) {
			w |= uint32(b[i+1])
		}
		s += w
		for s > 0xffff {
			s = s&0xffff + s>>16
		}
	}
	return uint16(s)
}

func TestSumAgainstSlowLoop(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "bytes")
		b := all[rapid.IntRange(0, len(all)).Draw(t, "from"):]
		start := rapid.Uint16().Draw(t, "start")
		if got, want := Fold(Sum(b, uint64(start))), slowSum(b, start); got != want {
			t.Fatalf("sum of %d bytes from %#04x = %#04x, want %#04x", len(b), start, got, want)
		}
	})
}

func TestSumOfAllOnesAndZeros(t *testing.T) {
	for n := range 200 {
		zeros, ones := make([]byte, n), make([]byte, n)
		for i := range ones {
			ones[i] = 0xff
		}
		if got := Fold(Sum(zeros, 0)); got != 0 {
			t.Errorf("%d zeros sum to %#04x, want 0: only nothing is zero", n, got)
		}
		if got, want := Fold(Sum(ones, 0)), slowSum(ones, 0); got != want {
			t.Errorf("%d ones sum to %#04x, want %#04x", n, got, want)
		}
		if got := Fold(Sum(ones, 1<<64-1)); got != slowSum(ones, 0xffff) {
			t.Errorf("%d ones and a full accumulator sum to %#04x", n, got)
		}
	}
}

func TestFoldOfLargeAccumulators(t *testing.T) {
	for _, acc := range []uint64{0, 1, 0xffff, 0x10000, 0x1ffff, 0xffff_ffff, 1 << 32, 0xffff_ffff_0000_0001, 1<<64 - 1, 1<<64 - 2} {
		want := acc % 0xffff
		if want == 0 && acc != 0 {
			want = 0xffff
		}
		if got := Fold(acc); uint64(got) != want {
			t.Errorf("Fold(%#x) = %#04x, want %#04x", acc, got, want)
		}
	}
}

// In parts: what checksum code does with a pseudo-header, a header and data.
func TestSumInParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "bytes")
		cut := rapid.IntRange(0, len(b)/2).Draw(t, "cut") * 2
		if got, want := Fold(Sum(b[cut:], Sum(b[:cut], 0))), slowSum(b, 0); got != want {
			t.Fatalf("cut at %d: %#04x, want %#04x", cut, got, want)
		}
	})
}

func TestUpdateAgainstRecomputing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 8, 64).Draw(t, "bytes")
		b[0] |= 1 // a header is never all zero: there RFC 1624 and a fresh sum may differ in the sign of 0
		at := rapid.IntRange(1, len(b)/2-2).Draw(t, "at") * 2
		before := Checksum(b, 0)

		old16, new16 := binary.BigEndian.Uint16(b[at:]), rapid.Uint16().Draw(t, "word")
		binary.BigEndian.PutUint16(b[at:], new16)
		if got, want := Update16(before, old16, new16), Checksum(b, 0); got != want {
			t.Fatalf("Update16(%#04x, %#04x, %#04x) = %#04x, want %#04x", before, old16, new16, got, want)
		}
		before = Checksum(b, 0)
		old32, new32 := binary.BigEndian.Uint32(b[at:]), rapid.Uint32().Draw(t, "dword")
		binary.BigEndian.PutUint32(b[at:], new32)
		if got, want := Update32(before, old32, new32), Checksum(b, 0); got != want {
			t.Fatalf("Update32(%#04x, %#08x, %#08x) = %#04x, want %#04x", before, old32, new32, got, want)
		}
	})
}

// The example of RFC 1624, section 4, which equation 2 gets wrong.
func TestUpdate16RFC1624Example(t *testing.T) {
	if got := Update16(0xdd2f, 0x5555, 0x3285); got != 0x0000 {
		t.Errorf("Update16 = %#04x, want 0x0000", got)
	}
}

func BenchmarkSum(b *testing.B) {
	for _, size := range []int{20, 40, 1460, 65000} {
		buf := make([]byte, size)
		for i := range buf {
			buf[i] = byte(rand.Uint32())
		}
		b.Run(map[int]string{20: "20", 40: "40", 1460: "1460", 65000: "65000"}[size], func(b *testing.B) {
			b.SetBytes(int64(size))
			var acc uint16
			for b.Loop() {
				acc += Checksum(buf, 0)
			}
			sink = acc
		})
	}
}

var sink uint16
