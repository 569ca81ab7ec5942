package sched

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// sipHash is SipHash-c-d of bytes, as its paper has it.
func sipHash(c, d int, k0, k1 uint64, m []byte) uint64 {
	v := [4]uint64{k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573}
	rounds := func(n int) {
		for range n {
			v[0], v[1], v[2], v[3] = sipRound(v[0], v[1], v[2], v[3])
		}
	}
	for rest := m; ; rest = rest[8:] {
		var b [8]byte
		if copy(b[:], rest) < 8 {
			b[7] = byte(len(m))
			w := binary.LittleEndian.Uint64(b[:])
			v[3] ^= w
			rounds(c)
			v[0] ^= w
			break
		}
		w := binary.LittleEndian.Uint64(b[:])
		v[3] ^= w
		rounds(c)
		v[0] ^= w
	}
	v[2] ^= 0xff
	rounds(d)
	return v[0] ^ v[1] ^ v[2] ^ v[3]
}

func TestSipHash(t *testing.T) {
	// The example of the paper, appendix A.
	m := make([]byte, 15)
	for i := range m {
		m[i] = byte(i)
	}
	if got := sipHash(2, 4, 0x0706050403020100, 0x0f0e0d0c0b0a0908, m); got != 0xa129ca6149be45e5 {
		t.Fatalf("the model is wrong: %#x", got)
	}
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		k0, k1, a, b, c := rnd.Uint64(), rnd.Uint64(), rnd.Uint64(), rnd.Uint64(), rnd.Uint64()
		m := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, a), b), c)
		if got, want := sipHash13(k0, k1, a, b, c), sipHash(1, 3, k0, k1, m); got != want {
			t.Fatalf("%#x, want %#x", got, want)
		}
	}
}

func TestAddr(t *testing.T) {
	for _, row := range []struct {
		addr string
		want Addr
		fold uint32
	}{
		{"1.2.3.4", Addr{0, 0xffff_0102_0304}, 0x01020304},
		{"::ffff:1.2.3.4", Addr{0, 0xffff_0102_0304}, 0x01020304},
		{"2001:db8::1", Addr{0x20010db8_00000000, 1}, 0x20010db9},
		{"2001:db8:1:2:3:4:5:6", Addr{0x20010db8_00010002, 0x00030004_00050006}, 0x20010db8 ^ 0x10002 ^ 0x30004 ^ 0x50006},
	} {
		a := AddrOf(netip.MustParseAddr(row.addr))
		if a != row.want || a.fold() != row.fold {
			t.Errorf("%s is %x, folded %#x", row.addr, a, a.fold())
		}
	}
	if IPv4([4]byte{1, 2, 3, 4}) != AddrOf(netip.MustParseAddr("1.2.3.4")) {
		t.Error("an IPv4 address is two")
	}
}

func TestIDOf(t *testing.T) {
	seen := map[uint64]string{}
	for _, id := range []string{"", "\x00", "\x00\x00", "12345678", "123456789", "12345678901234567890", "1234567890123456789", "12345678901234567891"} {
		h := IDOf([]byte(id))
		if other, ok := seen[h]; ok || h == 0 {
			t.Errorf("%q hashes to %#x, as %q", id, h, other)
		}
		seen[h] = id
	}
	if IDOf([]byte("123456789012345678901")) != IDOf([]byte("12345678901234567890")) {
		t.Error("more than the longest id is looked at")
	}
}
