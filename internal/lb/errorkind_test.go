package lb

import (
	"testing"

	"weir/internal/wire"
)

// TestKindsTo4 is RFC 7915, 5.2.
func TestKindsTo4(t *testing.T) {
	for _, row := range []struct {
		name              string
		kind, code        uint8
		word              uint32
		toKind, toCode    uint8
		toByte4, toByte67 int // the pointer, and the MTU
		none              bool
	}{
		{name: "no route", kind: 1, code: 0, toKind: 3, toCode: 1},
		{name: "prohibited", kind: 1, code: 1, toKind: 3, toCode: 10},
		{name: "beyond scope", kind: 1, code: 2, toKind: 3, toCode: 1},
		{name: "address", kind: 1, code: 3, toKind: 3, toCode: 1},
		{name: "port", kind: 1, code: 4, toKind: 3, toCode: 3},
		{name: "policy", kind: 1, code: 5, none: true},
		{name: "too big", kind: 2, word: 1500, toKind: 3, toCode: 4, toByte67: 1480},
		{name: "too big for IPv4", kind: 2, word: 1 << 20, toKind: 3, toCode: 4, toByte67: 65515},
		{name: "too big for nothing", kind: 2, word: 7, toKind: 3, toCode: 4},
		{name: "hop limit", kind: 3, code: 0, toKind: 11, toCode: 0},
		{name: "reassembly", kind: 3, code: 1, toKind: 11, toCode: 1},
		{name: "traffic class", kind: 4, word: 1, toKind: 12, toByte4: 1},
		{name: "flow label", kind: 4, word: 3, none: true},
		{name: "length", kind: 4, word: 5, toKind: 12, toByte4: 2},
		{name: "next header", kind: 4, word: 6, toKind: 12, toByte4: 9},
		{name: "hop limit as such", kind: 4, word: 7, toKind: 12, toByte4: 8},
		{name: "source", kind: 4, word: 23, toKind: 12, toByte4: 12},
		{name: "destination", kind: 4, word: 24, toKind: 12, toByte4: 16},
		{name: "an extension header", kind: 4, word: 40, none: true},
		{name: "unknown next header", kind: 4, code: 1, word: 40, toKind: 3, toCode: 2},
		{name: "unknown option", kind: 4, code: 2, word: 42, none: true},
		{name: "unknown error", kind: 100, none: true},
	} {
		t.Run(row.name, func(t *testing.T) {
			m, e := wire.ICMPv6(make([]byte, 8)), wire.ICMPv4(make([]byte, 8))
			m.SetType(row.kind)
			m.SetCode(row.code)
			m.SetMTU(row.word)
			switch ok := kindTo4(e, m); {
			case ok == row.none:
				t.Errorf("translated: %v", ok)
			case row.none:
			case e.Type() != row.toKind || e.Code() != row.toCode || int(e[4]) != row.toByte4 || int(e.NextHopMTU()) != row.toByte67:
				t.Errorf("it is %x", []byte(e))
			}
		})
	}
}

// TestKindsTo6 is RFC 7915, 4.2.
func TestKindsTo6(t *testing.T) {
	for _, row := range []struct {
		name           string
		kind, code     uint8
		byte4          uint8
		mtu, total     uint16
		toKind, toCode uint8
		word           uint32
		none           bool
	}{
		{name: "net", kind: 3, code: 0, toKind: 1},
		{name: "host", kind: 3, code: 1, toKind: 1},
		{name: "protocol", kind: 3, code: 2, toKind: 4, toCode: 1, word: 6},
		{name: "port", kind: 3, code: 3, toKind: 1, toCode: 4},
		{name: "too big", kind: 3, code: 4, mtu: 1400, toKind: 2, word: 1420},
		{name: "too big for little", kind: 3, code: 4, mtu: 500, toKind: 2, word: 1280},
		{name: "too big, a plateau", kind: 3, code: 4, total: 4000, toKind: 2, word: 2022},
		{name: "too big, a plateau itself", kind: 3, code: 4, total: 1492, toKind: 2, word: 1280},
		{name: "too big, no plateau", kind: 3, code: 4, total: 60, toKind: 2, word: 1280},
		{name: "source route", kind: 3, code: 5, toKind: 1},
		{name: "net prohibited", kind: 3, code: 9, toKind: 1, toCode: 1},
		{name: "TOS", kind: 3, code: 12, toKind: 1},
		{name: "prohibited", kind: 3, code: 13, toKind: 1, toCode: 1},
		{name: "precedence", kind: 3, code: 14, none: true},
		{name: "precedence cutoff", kind: 3, code: 15, toKind: 1, toCode: 1},
		{name: "no such code", kind: 3, code: 16, none: true},
		{name: "TTL", kind: 11, toKind: 3},
		{name: "reassembly", kind: 11, code: 1, toKind: 3, toCode: 1},
		{name: "TOS pointed to", kind: 12, byte4: 1, toKind: 4, word: 1},
		{name: "length pointed to", kind: 12, byte4: 3, toKind: 4, word: 4},
		{name: "identification", kind: 12, byte4: 4, none: true},
		{name: "TTL pointed to", kind: 12, byte4: 8, toKind: 4, word: 7},
		{name: "protocol pointed to", kind: 12, byte4: 9, toKind: 4, word: 6},
		{name: "source", kind: 12, byte4: 15, toKind: 4, word: 8},
		{name: "destination, bad length", kind: 12, code: 2, byte4: 16, toKind: 4, word: 24},
		{name: "an option", kind: 12, byte4: 20, none: true},
		{name: "an option is missing", kind: 12, code: 1, none: true},
		{name: "quench", kind: 4, none: true},
		{name: "redirect", kind: 5, none: true},
	} {
		t.Run(row.name, func(t *testing.T) {
			m, e, quoted := wire.ICMPv4(make([]byte, 8)), wire.ICMPv6(make([]byte, 8)), wire.IPv4(make([]byte, 20))
			m.SetType(row.kind)
			m.SetCode(row.code)
			m.SetNextHopMTU(row.mtu)
			m[4] = row.byte4
			quoted.SetTotalLength(row.total)
			switch ok := kindTo6(e, m, quoted); {
			case ok == row.none:
				t.Errorf("translated: %v", ok)
			case row.none:
			case e.Type() != row.toKind || e.Code() != row.toCode || e.MTU() != row.word:
				t.Errorf("it is %x", []byte(e))
			}
		})
	}
}

func TestQuoteWithoutExtensions(t *testing.T) {
	for _, row := range []struct {
		name            string
		units, unit, l4 int
		long, want      int
	}{
		{"none", 0, 4, 20, 300, 300},
		{"128 bytes of ICMP", 32, 4, 20, 300, 128},
		{"136 bytes of ICMPv6", 17, 8, 40, 300, 136},
		{"too few to have any", 31, 4, 20, 300, 300},
		{"into the transport header", 16, 8, 121, 300, 300},
		{"more than there is", 255, 8, 40, 300, 300},
	} {
		m := make([]byte, 8)
		m[5] = byte(row.units)
		if got := withoutExtensions(m, 5, row.unit, row.long, row.l4); got != row.want {
			t.Errorf("%s: %d bytes, want %d", row.name, got, row.want)
		}
	}
}
