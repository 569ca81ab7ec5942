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
		{"struct mmsghdr", unsafe.Sizeof(message{}), 64},
		{"cmsghdr and tpacket_auxdata", unsafe.Sizeof(auxdata{}), uintptr(unix.CmsgSpace(20))},
		{"tp_vlan_tci", unsafe.Offsetof(auxdata{}.vlanTCI), 16 + 16},
	} {
		if row.got != row.want {
			t.Errorf("%s: %d bytes, want %d", row.name, row.got, row.want)
		}
	}
}

// A tag that is put back leaves the rest of the frame as it was.
func FuzzRetag(f *testing.F) {
	f.Add([]byte("\x02\x00\x00\x00\x00\x01"), uint32(0x10), uint16(100))
	f.Add(make([]byte, 60), uint32(0xff), uint16(0xffff))
	pool := newPool(f)
	f.Fuzz(func(t *testing.T, data []byte, status uint32, tci uint16) {
		p := pool.Get()
		defer pool.Put(p)
		if !p.Resize(len(data)) {
			return
		}
		copy(p.Data, data)
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
