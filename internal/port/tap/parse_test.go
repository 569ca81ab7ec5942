package tap

import (
	"encoding/binary"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"weir/internal/port"
)

func TestGroupsIn(t *testing.T) {
	const text = "2    eth0            1     0     01005e000001\n" +
		"12   dpdk0.kni       2     0     01005e000005\n" +
		"12   dpdk0.kni       1     0     333300000001\n" +
		"12   dpdk0.kni       1     0     3333\n" +
		"12   dpdk0.kni       1     0     zz3300000001\n" +
		"1    dpdk0.kni       1     0     01005e000009\n"
	for _, row := range []struct {
		name  string
		index int
		want  []port.MAC
	}{
		{"two of ours", 12, []port.MAC{{1, 0, 0x5e, 0, 0, 5}, {0x33, 0x33, 0, 0, 0, 1}}},
		{"another's", 2, []port.MAC{{1, 0, 0x5e, 0, 0, 1}}},
		{"nobody's", 3, nil},
	} {
		if got := groupsIn([]byte(text), row.index); !slices.Equal(got, row.want) {
			t.Errorf("%s: %x, want %x", row.name, got, row.want)
		}
	}
}

// answer is what Linux says to RTM_GETSTATS.
func answer(kind uint16, pad bool, drops uint64) []byte {
	b := make([]byte, nlmsgLen+statsLen)
	binary.NativeEndian.PutUint16(b[4:], kind)
	if pad { // where 64-bit words have to lie at a multiple of 8
		b = append(b, make([]byte, attrLen)...)
		binary.NativeEndian.PutUint16(b[len(b)-attrLen:], attrLen)
	}
	at := len(b)
	b = append(b, make([]byte, attrLen+dropsInStats64+8)...)
	binary.NativeEndian.PutUint16(b[at:], uint16(len(b)-at))
	binary.NativeEndian.PutUint16(b[at+2:], statsLink64)
	binary.NativeEndian.PutUint64(b[len(b)-8:], drops)
	return b
}

func TestDroppedIn(t *testing.T) {
	for _, row := range []struct {
		name string
		b    []byte
		want uint64
		ok   bool
	}{
		{"plain", answer(unix.RTM_NEWSTATS, false, 7), 7, true},
		{"with padding", answer(unix.RTM_NEWSTATS, true, 1<<40), 1 << 40, true},
		{"an error", answer(unix.NLMSG_ERROR, false, 7), 0, false},
		{"cut short", answer(unix.RTM_NEWSTATS, false, 7)[:80], 0, false},
		{"nothing", nil, 0, false},
	} {
		if got, ok := droppedIn(row.b); got != row.want || ok != row.ok {
			t.Errorf("%s: %d, %v, want %d, %v", row.name, got, ok, row.want, row.ok)
		}
	}
}

// Whatever Linux says, we neither read outside of it nor go round in it.
func FuzzAnswers(f *testing.F) {
	f.Add(answer(unix.RTM_NEWSTATS, true, 7))
	f.Add(answer(unix.RTM_NEWSTATS, false, 7)[:40])
	f.Add([]byte("12   dpdk0.kni       2     0     01005e000005\n12 a 1 0 333300000001"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, ok := droppedIn(b); ok && len(b) < nlmsgLen+statsLen+attrLen+dropsInStats64+8 {
			t.Errorf("a count in %d bytes", len(b))
		}
		if macs := groupsIn(b, 12); len(macs)*12 > len(b) {
			t.Errorf("%d groups in %d bytes", len(macs), len(b))
		}
	})
}
