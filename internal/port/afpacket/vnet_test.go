package afpacket

import (
	"bytes"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"weir/internal/packet"
)

func newPool(t testing.TB) *packet.Pool {
	t.Helper()
	pool, err := packet.NewPool(8, 1)
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

func TestLayouts(t *testing.T) {
	for _, row := range []struct {
		name      string
		got, want uintptr
	}{
		{"struct virtio_net_hdr", unsafe.Sizeof(vnetHeader{}), vnetLen},
		{"struct mmsghdr", unsafe.Sizeof(message{}), 64},
		{"cmsghdr and tpacket_auxdata", unsafe.Sizeof(auxdata{}), uintptr(unix.CmsgSpace(20))},
		{"tp_vlan_tci", unsafe.Offsetof(auxdata{}.vlanTCI), 16 + 16},
	} {
		if row.got != row.want {
			t.Errorf("%s: %d bytes, want %d", row.name, row.got, row.want)
		}
	}
}

func TestVnetHeader(t *testing.T) {
	pool := newPool(t)
	for _, row := range []struct {
		name   string
		flags  packet.Flags
		proto  uint8
		l4     uint16
		doff   byte // of TCP, in words
		length int
		gso    uint8
		size   uint16
		want   vnetHeader
		ok     bool
	}{
		{"plain", 0, 6, 34, 5, 60, 0, 0, vnetHeader{}, true},
		{"plain, never parsed", 0, 0, 0, 0, 14, 0, 0, vnetHeader{}, true},
		{"tcp checksum", packet.CsumPartial, 6, 34, 5, 60, 0, 0, vnetHeader{flags: 1, csumStart: 34, csumOffset: 16}, true},
		{"udp checksum behind a tag", packet.CsumPartial, 17, 38, 0, 60, 0, 0, vnetHeader{flags: 1, csumStart: 38, csumOffset: 6}, true},
		{"tcp gso", packet.CsumPartial | packet.GSO, 6, 34, 8, 1700, packet.GSOTCPv4 | packet.GSOECN, 1448,
			vnetHeader{flags: 1, gsoType: 0x81, hdrLen: 66, gsoSize: 1448, csumStart: 34, csumOffset: 16}, true},
		{"udp gso, whole checksum", packet.GSO, 17, 34, 0, 1700, packet.GSOUDPL4, 1400,
			vnetHeader{gsoType: 5, hdrLen: 42, gsoSize: 1400}, true},
		{"icmp", packet.CsumPartial, 1, 34, 0, 60, 0, 0, vnetHeader{}, false},
		{"never parsed", packet.CsumPartial, 6, 0, 5, 60, 0, 0, vnetHeader{}, false},
		{"tcp cut short", packet.CsumPartial, 6, 34, 15, 60, 0, 0, vnetHeader{}, false},
		{"tcp before its length", packet.CsumPartial, 6, 34, 5, 40, 0, 0, vnetHeader{}, false},
		{"udp cut short", packet.CsumPartial, 17, 34, 0, 40, 0, 0, vnetHeader{}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := pool.Get()
			defer pool.Put(p)
			p.Resize(row.length)
			clear(p.Data)
			if i := int(row.l4) + tcpOffset; i < len(p.Data) {
				p.Data[i] = row.doff << 4
			}
			p.Flags, p.Proto, p.L4, p.GSOType, p.GSOSize = row.flags, row.proto, row.l4, row.gso, row.size
			var v vnetHeader
			ok := v.fromPacket(p)
			if ok != row.ok || ok && v != row.want {
				t.Errorf("got %+v, %v\nwant %+v, %v", v, ok, row.want, row.ok)
			}
			if !ok {
				return
			}
			// What we say to the kernel is what we would understand from it.
			back := pool.Get()
			defer pool.Put(back)
			v.toPacket(back)
			if back.Flags != row.flags || back.GSOType != row.gso || back.GSOSize != row.size {
				t.Errorf("there and back: flags %x, gso %x/%d", back.Flags, back.GSOType, back.GSOSize)
			}
		})
	}
}

// No packet and no header, however odd, makes us read outside of it.
func FuzzVnetHeader(f *testing.F) {
	f.Add([]byte("\x02\x00\x00\x00\x00\x01"), uint16(3), uint16(34), uint8(6), uint8(1), uint8(1), uint32(0x10), uint16(100))
	f.Add(make([]byte, 60), uint16(1), uint16(65535), uint8(17), uint8(3), uint8(0xff), uint32(0xff), uint16(0xffff))
	pool := newPool(f)
	f.Fuzz(func(t *testing.T, data []byte, flags, l4 uint16, proto, vflags, gso uint8, status uint32, tci uint16) {
		p := pool.Get()
		defer pool.Put(p)
		if !p.Resize(len(data)) {
			return
		}
		copy(p.Data, data)
		p.Flags, p.L4, p.Proto = packet.Flags(flags), l4, proto
		var v vnetHeader
		if v.fromPacket(p) && v.flags != 0 && int(v.csumStart)+int(v.csumOffset)+2 > len(data) {
			t.Errorf("checksum at %d+%d of %d bytes", v.csumStart, v.csumOffset, len(data))
		}
		v = vnetHeader{flags: vflags, gsoType: gso}
		v.toPacket(p)
		a := auxdata{status: status, vlanTCI: tci, vlanTPID: 0x88a8}
		a.header.Level, a.header.Type = unix.SOL_PACKET, unix.PACKET_AUXDATA
		a.retag(p)
		tagged := status&unix.TP_STATUS_VLAN_VALID != 0 && len(data) >= tagAt
		if !tagged {
			if !bytes.Equal(p.Data, data) {
				t.Errorf("a frame without a tag to put back was changed")
			}
			return
		}
		whole := append(bytes.Clone(p.Data[:tagAt]), p.Data[tagAt+tagLen:]...)
		if !bytes.Equal(whole, data) || p.Data[14] != byte(tci>>8) || p.Data[15] != byte(tci) {
			t.Errorf("retagged %x to %x", data, p.Data)
		}
	})
}
