package port

import (
	"bytes"
	"encoding/binary"
	"testing"
	"unsafe"

	"weir/internal/packet"
)

// poolOf is a pool of so many frames, all of which must be back at the end.
func poolOf(t testing.TB, small, big int) *packet.Pool {
	t.Helper()
	pool, err := packet.NewPool(small, big)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if pool.InUse() != 0 {
			t.Errorf("%d packets are out", pool.InUse())
		}
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
	return pool
}

// frameWith makes a frame of n bytes whose transport header is at l4: behind IPv4
// with 34 and, with a tag, 38; behind IPv6 with 54.
func frameWith(proto uint8, l4 uint16, n int) []byte {
	f := make([]byte, max(n, 64))
	kind := uint16(typeIPv4)
	if l4 == 54 {
		kind = typeIPv6
	}
	binary.BigEndian.PutUint16(f[12:], kind)
	ip := f[14:]
	if l4 == 38 {
		binary.BigEndian.PutUint16(f[12:], typeVLAN)
		binary.BigEndian.PutUint16(f[16:], kind)
		ip = f[18:]
	}
	if kind == typeIPv6 {
		ip[0], ip[6] = 0x60, proto
	} else {
		ip[0], ip[9] = 0x45, proto
	}
	return f[:n]
}

func TestVnetHeader(t *testing.T) {
	if n := unsafe.Sizeof(VnetHeader{}); n != VnetLen {
		t.Errorf("struct virtio_net_hdr has %d bytes, want %d", n, VnetLen)
	}
	pool := poolOf(t, 8, 1)
	for _, row := range []struct {
		name   string
		flags  packet.Flags
		proto  uint8
		l4     uint16
		doff   byte // of TCP, in words
		length int
		gso    uint8
		size   uint16
		want   VnetHeader
		ok     bool
	}{
		{"plain", 0, 6, 34, 5, 60, 0, 0, VnetHeader{}, true},
		{"plain, never parsed", 0, 0, 0, 0, 14, 0, 0, VnetHeader{}, true},
		{"tcp checksum", packet.CsumPartial, 6, 34, 5, 60, 0, 0, VnetHeader{flags: 1, csumStart: 34, csumOffset: 16}, true},
		{"tcp checksum, ipv6", packet.CsumPartial, 6, 54, 5, 80, 0, 0, VnetHeader{flags: 1, csumStart: 54, csumOffset: 16}, true},
		{"udp checksum behind a tag", packet.CsumPartial, 17, 38, 0, 60, 0, 0, VnetHeader{flags: 1, csumStart: 38, csumOffset: 6}, true},
		{"tcp gso", packet.CsumPartial | packet.GSO, 6, 34, 8, 1700, packet.GSOTCPv4 | packet.GSOECN, 1448,
			VnetHeader{flags: 1, gsoType: 0x81, hdrLen: 66, gsoSize: 1448, csumStart: 34, csumOffset: 16}, true},
		{"tcp gso, ipv6", packet.CsumPartial | packet.GSO, 6, 54, 8, 1700, packet.GSOTCPv6, 1428,
			VnetHeader{flags: 1, gsoType: 4, hdrLen: 86, gsoSize: 1428, csumStart: 54, csumOffset: 16}, true},
		{"udp gso, whole checksum", packet.GSO, 17, 34, 0, 1700, packet.GSOUDPL4, 1400,
			VnetHeader{gsoType: 5, hdrLen: 42, gsoSize: 1400}, true},
		{"icmp", packet.CsumPartial, 1, 34, 0, 60, 0, 0, VnetHeader{}, false},
		{"never parsed", packet.CsumPartial, 6, 0, 5, 60, 0, 0, VnetHeader{}, false},
		{"tcp cut short", packet.CsumPartial, 6, 34, 15, 60, 0, 0, VnetHeader{}, false},
		{"tcp before its length", packet.CsumPartial, 6, 34, 5, 40, 0, 0, VnetHeader{}, false},
		{"udp cut short", packet.CsumPartial, 17, 34, 0, 40, 0, 0, VnetHeader{}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := pool.Get()
			defer pool.Put(p)
			p.Resize(row.length)
			copy(p.Data, frameWith(row.proto, row.l4, row.length))
			if i := int(row.l4) + tcpOffset; i < len(p.Data) && row.proto == protoTCP {
				p.Data[i] = row.doff << 4
			}
			p.Flags, p.Proto, p.L4, p.GSOType, p.GSOSize = row.flags, row.proto, row.l4, row.gso, row.size
			var v VnetHeader
			ok := v.FromPacket(p)
			if ok != row.ok || ok && v != row.want {
				t.Errorf("got %+v, %v\nwant %+v, %v", v, ok, row.want, row.ok)
			}
			if !ok {
				return
			}
			// What we say to the kernel is what we would understand from it.
			back := pool.Get()
			defer pool.Put(back)
			back.Resize(row.length)
			copy(back.Data, p.Data)
			v.ToPacket(back)
			if back.Flags != row.flags || back.GSOType != row.gso || back.GSOSize != row.size || !bytes.Equal(back.Data, p.Data) {
				t.Errorf("there and back: flags %x, gso %x/%d", back.Flags, back.GSOType, back.GSOSize)
			}
		})
	}
}

// A checksum that no flag can tell of is whole when the packet comes in.
func TestInnerChecksum(t *testing.T) {
	pool := poolOf(t, 8, 1)
	for _, row := range []struct {
		name          string
		proto         uint8
		l4            uint16
		start, offset uint16
		payload       []byte // from start
		want          uint16
	}{
		{"udp in ipip", 4, 34, 54, 6, []byte{0, 1, 0, 2, 0, 10, 0x12, 0x34, 0xab, 0xcd}, 0x41f1},
		{"sum of zero", 4, 34, 54, 6, []byte{0, 0, 0, 0, 0, 0, 0xff, 0xff}, 0xffff},
		{"tcp behind an ipv6 extension header", 0, 54, 62, 16, make([]byte, 20), 0xffff},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := pool.Get()
			defer pool.Put(p)
			p.Resize(int(row.start) + len(row.payload))
			copy(p.Data, frameWith(row.proto, row.l4, len(p.Data)))
			copy(p.Data[row.start:], row.payload)
			before := bytes.Clone(p.Data)
			v := VnetHeader{flags: vnetNeedsCsum, csumStart: row.start, csumOffset: row.offset}
			v.ToPacket(p)
			field := row.start + row.offset
			if got := binary.BigEndian.Uint16(p.Data[field:]); got != row.want || p.Flags != 0 {
				t.Errorf("checksum %04x, flags %x, want %04x and no flag", got, p.Flags, row.want)
			}
			copy(p.Data[field:], before[field:field+2])
			if !bytes.Equal(p.Data, before) {
				t.Error("more than the checksum was changed")
			}
		})
	}
}

// No packet and no header, however odd, makes us read or write outside of it.
func FuzzVnetHeader(f *testing.F) {
	f.Add([]byte("\x02\x00\x00\x00\x00\x01"), uint16(3), uint16(34), uint8(6), uint8(1), uint8(1), uint16(34), uint16(16))
	f.Add(make([]byte, 60), uint16(1), uint16(65535), uint8(17), uint8(3), uint8(0xff), uint16(65535), uint16(65535))
	f.Add(frameWith(6, 38, 80), uint16(1), uint16(38), uint8(6), uint8(1), uint8(0), uint16(38), uint16(16))
	f.Add(frameWith(17, 54, 80), uint16(1), uint16(54), uint8(17), uint8(1), uint8(0), uint16(62), uint16(6))
	f.Add(frameWith(4, 34, 80), uint16(1), uint16(54), uint8(17), uint8(1), uint8(0), uint16(54), uint16(6))
	pool := poolOf(f, 8, 1)
	f.Fuzz(func(t *testing.T, data []byte, flags, l4 uint16, proto, vflags, gso uint8, start, offset uint16) {
		p := pool.Get()
		defer pool.Put(p)
		if !p.Resize(len(data)) {
			return
		}
		copy(p.Data, data)
		p.Flags, p.L4, p.Proto = packet.Flags(flags), l4, proto
		var v VnetHeader
		if v.FromPacket(p) && v.flags != 0 && int(v.csumStart)+int(v.csumOffset)+2 > len(data) {
			t.Errorf("checksum at %d+%d of %d bytes", v.csumStart, v.csumOffset, len(data))
		}
		p.Flags = 0
		v = VnetHeader{flags: vflags, gsoType: gso, csumStart: start, csumOffset: offset}
		v.ToPacket(p)
		if p.Is(packet.GSO) != (gso&^packet.GSOECN != 0) {
			t.Errorf("gso type %x made flags %x", gso, p.Flags)
		}
		field := int(start) + int(offset)
		if vflags&vnetNeedsCsum == 0 || p.Is(packet.CsumPartial) || field+2 > len(data) {
			if !bytes.Equal(p.Data, data) {
				t.Error("a frame without a checksum to complete was changed")
			}
			return
		}
		// The completed checksum's region adds up, and nothing else was touched.
		copied := bytes.Clone(p.Data)
		copy(copied[field:], data[field:field+2])
		if !bytes.Equal(copied, data) {
			t.Errorf("completing at %d changed %x to %x", field, data, p.Data)
		}
	})
}
