package ip

import (
	"testing"

	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/wire"
)

// sctp is a packet with one chunk, whose checksum is right.
func sctp(kind uint8, data string) []byte {
	b := make([]byte, wire.SCTPMinLen+len(data))
	s := wire.SCTP(b)
	s.SetSrcPort(40000)
	s.SetDstPort(80)
	b[wire.SCTPLen], b[wire.SCTPLen+3] = kind, byte(4+len(data))
	copy(b[wire.SCTPMinLen:], data)
	s.ComputeChecksum()
	return b
}

// zero leaves the checksum at the end of a packet, which begins n bytes before it, to
// a device.
func zero(p *packet.Packet, n int) { wire.SCTP(p.Data[len(p.Data)-n:]).SetChecksum(0) }

func TestInputSCTP(t *testing.T) {
	nops := []byte{1, 1, 1, 1}
	for _, row := range []struct {
		name    string
		l4      []byte
		options bool
		open    bool // the checksum is 0
		offload bool // the port may leave checksums open
		verdict packet.Verdict
		reason  packet.Reason
		flags   packet.Flags
	}{
		{"whole", sctp(wire.SCTPData, "abc"), false, false, false, packet.Continue, 0, packet.Keyed},
		{"options or extensions", sctp(wire.SCTPData, "abc"), true, false, false, packet.Continue, 0, packet.Keyed},
		{"a chunk's header alone", sctp(wire.SCTPCookieAck, ""), false, false, true, packet.Continue, 0, packet.Keyed},
		{"open checksum", sctp(wire.SCTPData, "abc"), false, true, true, packet.Continue, 0, packet.Keyed | packet.CsumPartial},
		{"0 from a port that completes checksums", sctp(wire.SCTPData, "abc"), false, true, false, packet.Continue, 0, packet.Keyed},
		{"cut short in the chunk", sctp(wire.SCTPData, "")[:15], false, false, false, packet.Drop, packet.L4Malformed, 0},
		{"no chunk", sctp(wire.SCTPData, "")[:12], false, false, false, packet.Drop, packet.L4Malformed, 0},
		{"cut short in the header", sctp(wire.SCTPData, "")[:11], true, false, false, packet.Drop, packet.L4Malformed, 0},
		{"nothing", nil, false, false, false, packet.Drop, packet.L4Malformed, 0},
	} {
		check := func(t *testing.T, b *bed, p *packet.Packet, v packet.Verdict, key0 uint64) {
			t.Helper()
			if v != row.verdict || row.reason != 0 && p.Reason != row.reason || p.Flags != row.flags {
				t.Fatalf("%v, %v, flags %b", v, p.Reason, p.Flags)
			}
			if v != packet.Continue {
				return
			}
			want := uint64(wire.ProtoSCTP)<<32 | 0x5000<<16 | 0x409c
			if p.Key1 != want || p.Key0 != key0 || p.Hash != flow.Hash(b.seed, key0, want) {
				t.Errorf("key %x %x, hash %x", p.Key0, p.Key1, p.Hash)
			}
		}
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t, 4)
			b.rxPartial = 0
			if row.offload {
				b.rxPartial = ^uint64(0)
			}
			m := made{src: near, dst: vip, proto: wire.ProtoSCTP, l4: row.l4}
			if row.options {
				m.options = nops
			}
			p := b.packet(m)
			defer b.pool.Put(p)
			if row.open {
				zero(p, len(row.l4))
			}
			ip := wire.IPv4(p.Data[14:])
			src, dst := ip.Src(), ip.Dst()
			v := b.Input4(p)
			check(t, b, p, v, uint64(le32(src[:]))|uint64(le32(dst[:]))<<32)
		})
		t.Run(row.name+", IPv6", func(t *testing.T) {
			b := newBed(t, 4)
			b.rxPartial = 0
			if row.offload {
				b.rxPartial = ^uint64(0)
			}
			m := made6{src: near6, dst: vip6, proto: wire.ProtoSCTP, l4: row.l4}
			if row.options {
				m.ext = []ext6{dest6}
			}
			p := b.packet6(m)
			defer b.pool.Put(p)
			if row.open {
				zero(p, len(row.l4))
			}
			key0 := flow.Fold(b.seed, (*[32]byte)(p.Data[14+8:]))
			v := b.Input6(p)
			check(t, b, p, v, key0)
		})
	}
}

func le32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

// TestFinishChecksumSCTP: the CRC is computed here for every port.
func TestFinishChecksumSCTP(t *testing.T) {
	for out := range 2 { // completes nothing; completes and segments
		b := newBed(t, 4)
		four := b.packet(made{src: near, dst: vip, proto: wire.ProtoSCTP, l4: sctp(wire.SCTPData, "abcdefg")})
		six := b.packet6(made6{src: near6, dst: vip6, ext: []ext6{dest6}, proto: wire.ProtoSCTP, l4: sctp(wire.SCTPData, "abcdefg")})
		for i, p := range []*packet.Packet{four, six} {
			p.Flags |= packet.CsumPartial
			n := len(sctp(wire.SCTPData, "abcdefg"))
			zero(p, n)
			if !b.FinishChecksum(p, &facts[out]) || p.Is(packet.CsumPartial) || !wire.SCTP(p.Data[len(p.Data)-n:]).ChecksumOK() {
				t.Errorf("port %d, packet %d: %x", out, i, p.Data)
			}
			b.pool.Put(p)
		}
		if b.stats.CsumCompleted != 2 {
			t.Errorf("%d completed", b.stats.CsumCompleted)
		}
	}
}
