package sched

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"weir/internal/flow"
)

// Addr is an IP address as 128 bits in network order, IPv4 as ::ffff:a.b.c.d.
type Addr struct{ Hi, Lo uint64 }

const mapped = 0xffff << 32

// IPv4 returns an address of four bytes in network order.
func IPv4(b [4]byte) Addr { return Addr{Lo: mapped | uint64(binary.BigEndian.Uint32(b[:]))} }

// AddrOf returns an address as schedulers see it.
func AddrOf(a netip.Addr) Addr {
	b := a.As16()
	return Addr{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// FromWire returns an address that was read from a packet.
func FromWire(a flow.Addr) Addr { return Addr{bits.ReverseBytes64(a.Hi), bits.ReverseBytes64(a.Lo)} }

// Within reports whether the address, as a number, is one of first to last.
func (a Addr) Within(first, last Addr) bool { return !a.less(first) && !last.less(a) }

func (a Addr) less(b Addr) bool { return a.Hi < b.Hi || a.Hi == b.Hi && a.Lo < b.Lo }

// fold is the 32-bit number that LVS's sh and dh hash: the IPv4 address, or the
// four words of an IPv6 address, XORed.
func (a Addr) fold() uint32 {
	if a.Hi == 0 && a.Lo>>32 == mapped>>32 {
		return uint32(a.Lo)
	}
	x := a.Hi ^ a.Lo
	return uint32(x>>32) ^ uint32(x)
}

// Key is what a scheduler may know of a new connection.
type Key struct {
	Client, Virtual Addr
	Port            uint16 // the client's
	ID              uint64 // IDOf a QUIC connection id, for conhash by qid; 0: none
}

// MaxID is the length of the longest connection id (RFC 9000, 17.2).
const MaxID = 20

// IDOf returns a number for a QUIC connection id of up to MaxID bytes; never 0.
func IDOf(id []byte) uint64 {
	var b [24]byte
	b[23] = byte(copy(b[:MaxID], id))
	h := hash(forID, Addr{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:16])}, binary.BigEndian.Uint64(b[16:]))
	return max(h, 1)
}

// purpose keeps hashes for different ends apart: it is the first half of the key.
// The numbers are arbitrary and fixed: change one and clients of running services
// change servers, and directors of two versions disagree.
type purpose uint64

const (
	forOffset purpose = 0x9E3779B97F4A7C15 + iota
	forSkip
	forClient
	forPoint
	forID
)

const secondHalf = 0xD1B54A32D192ED03

// hash is SipHash-1-3 of the 24 bytes of address and n, both big-endian, each 8
// bytes read as a number, under a fixed key: no seed, so that all directors agree.
func hash(p purpose, a Addr, n uint64) uint64 {
	return sipHash13(uint64(p), secondHalf, a.Hi, a.Lo, n)
}

// sipHash13 is SipHash-1-3 of three words.
func sipHash13(k0, k1, m0, m1, m2 uint64) uint64 {
	v0, v1, v2, v3 := k0^0x736f6d6570736575, k1^0x646f72616e646f6d, k0^0x6c7967656e657261, k1^0x7465646279746573
	for _, m := range [4]uint64{m0, m1, m2, 24 << 56} {
		v3 ^= m
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
		v0 ^= m
	}
	v2 ^= 0xff
	for range 3 {
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	}
	return v0 ^ v1 ^ v2 ^ v3
}

func sipRound(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v1
	v2 += v3
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	v0 = bits.RotateLeft64(v0, 32)
	v2 += v1
	v0 += v3
	v1 = bits.RotateLeft64(v1, 17) ^ v2
	v3 = bits.RotateLeft64(v3, 21) ^ v0
	v2 = bits.RotateLeft64(v2, 32)
	return v0, v1, v2, v3
}

// scale maps a hash evenly to 0..n-1.
func scale(h uint64, n int) int {
	hi, _ := bits.Mul64(h, uint64(n))
	return int(hi)
}
