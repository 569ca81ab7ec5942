package bond

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// tagged puts VLAN tags into a frame.
func tagged(f []byte, tags ...uint16) []byte {
	out := append([]byte(nil), f[:12]...)
	for _, t := range tags {
		out = binary.BigEndian.AppendUint16(out, t)
		out = append(out, 0, 100)
	}
	return append(out, f[12:]...)
}

func change(f []byte, at int, b ...byte) []byte {
	out := append([]byte(nil), f...)
	copy(out[at:], b)
	return out
}

// TestHash has hashes that were worked out by hand from bonding.rst, with words as
// a little-endian machine reads them.
func TestHash(t *testing.T) {
	v4 := frame("10.0.0.1", "10.0.0.2", 0x1234, 0x0050)
	v6 := frame("2001:db8::1", "2001:db8::2", 0x1234, 0x0050)
	fragment := change(v4, 14+6, 0x20, 0)
	tcp6 := change(v6, 14+6, 6)
	for _, tc := range []struct {
		name  string
		frame []byte
		want  [3]uint32 // by policy
	}{
		// Layer 2: 11^22 = 33, ^0800 = 0833. Addresses 0100000a^0200000a = 03000000; with
		// layer 2 03000833, >>16 0300: 03000b33, >>8 03000b: 03030b38. Ports 50003412, ^ 03000000 =
		// 53003412, >>16: 53006712, >>8 530067: 53536775; >>1: 29a9b3ba.
		{"UDP over IPv4", v4, [3]uint32{0x0833, 0x03030b38, 0x29a9b3ba}},
		{"a fragment has no ports", fragment, [3]uint32{0x0833, 0x03030b38, fold(0x03000000) >> 1}},
		{"the last fragment", change(v4, 14+6, 0, 5), [3]uint32{0x0833, 0x03030b38, fold(0x03000000) >> 1}},
		{"don't fragment is none", change(v4, 14+6, 0x40, 0), [3]uint32{0x0833, 0x03030b38, 0x29a9b3ba}},
		{"ICMP has no ports", change(v4, 14+9, 1), [3]uint32{0x0833, 0x03030b38, fold(0x03000000) >> 1}},
		{"UDP over IPv6", v6, [3]uint32{0x86ee, fold(0x86ee ^ 0x03000000), 0x29a9b3ba}},
		{"TCP over IPv6", tcp6, [3]uint32{0x86ee, fold(0x86ee ^ 0x03000000), 0x29a9b3ba}},
		{"a fragment of IPv6", change(v6, 14+6, 44), [3]uint32{0x86ee, fold(0x86ee ^ 0x03000000), fold(0x03000000) >> 1}},
		{"ARP has layer 2", frame("", "", 0, 0), [3]uint32{0x0835, 0x0835, 0x0835}},
		{"a VLAN tag is looked through", tagged(v4, 0x8100), [3]uint32{0x0833, 0x03030b38, 0x29a9b3ba}},
		{"two tags are", tagged(v6, 0x88a8, 0x8100), [3]uint32{0x86ee, fold(0x86ee ^ 0x03000000), 0x29a9b3ba}},
		{"cut short", v4[:20], [3]uint32{0x0833, 0x0833, 0x0833}},
		{"a runt", v4[:9], [3]uint32{0, 0, 0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for p, want := range tc.want {
				if got := Policy(p).hash(tc.frame); got != want {
					t.Errorf("%s: %#x, want %#x", Policy(p), got, want)
				}
			}
		})
	}
}

func TestPortsBehindExtensionHeaders(t *testing.T) {
	// Hop-by-hop of 8 bytes, destination options of 16, then UDP.
	b := make([]byte, 40)
	b[6] = 0
	b = append(b, 60, 0, 0, 0, 0, 0, 0, 0)
	b = append(b, 17, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	b = append(b, 1, 2, 3, 4)
	if got := portsOf6(b); got != 0x04030201 {
		t.Errorf("ports %#x", got)
	}
	if got := portsOf6(b[:50]); got != 0 {
		t.Errorf("of a packet that is cut: %#x", got)
	}
}

func FuzzHash(f *testing.F) {
	f.Add(frame("10.0.0.1", "10.0.0.2", 1, 2))
	f.Add(tagged(frame("2001:db8::1", "2001:db8::2", 1, 2), 0x8100))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, p := range []Policy{Layer2, Layer23, Layer34} {
			was := bytes.Clone(b)
			first := p.hash(b)
			if again := p.hash(b); again != first || !bytes.Equal(b, was) {
				t.Error("one frame, two hashes, or a frame that was changed")
			}
		}
	})
}
