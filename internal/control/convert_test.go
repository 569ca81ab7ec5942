package control

import (
	"net/netip"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"weir/api/weirv1"
	"weir/internal/spec"
)

// TestConvertThereAndBack: a service of either family is the same after its way
// through the API.
func TestConvertThereAndBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		addr := func(name string, v6 bool) netip.Addr {
			if v6 {
				b := [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(rt, name))
				b[0] = 0x20
				return netip.AddrFrom16(b)
			}
			return netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(rt, name)))
		}
		v6 := rapid.Bool().Draw(rt, "v6")
		want := spec.Service{Scheduler: "rr"}
		want.Proto = rapid.SampledFrom([]spec.Proto{spec.TCP, spec.UDP, spec.ICMPv6}).Draw(rt, "proto")
		if rapid.Bool().Draw(rt, "match") {
			want.Match = spec.Match{Family: 4, Out: "wan"}
			if v6 {
				want.Match.Family = 6
			}
			want.Match.Src = spec.Range{First: addr("first", v6), Last: addr("last", v6), FirstPort: 1, LastPort: 9}
		} else {
			want.Virtual = netip.AddrPortFrom(addr("vip", v6), rapid.Uint16().Draw(rt, "port"))
			want.Persistent = 9
			want.PersistentMask = spec.Mask(want.Virtual.Addr(), rapid.IntRange(1, 32).Draw(rt, "mask"))
		}
		m := fromService(&want)
		got, err := toService(m)
		if err != nil || !proto.Equal(m, fromService(&got)) || got.ServiceKey != want.ServiceKey || got.PersistentMask != want.PersistentMask {
			rt.Errorf("%+v came back as %+v, %v", want, got, err)
		}
		d := &weirv1.Dest{Address: addr("rs", !v6).String(), Port: 80, Forward: weirv1.Forward_FORWARD_FULLNAT}
		if dest, err := toDest(d); err != nil || dest.Addr.String() != netip.AddrPortFrom(netip.MustParseAddr(d.Address), 80).String() {
			rt.Errorf("%v became %v, %v", d, dest, err)
		}
	})
}

// TestMaskWords: how masks are written in the API.
func TestMaskWords(t *testing.T) {
	v4, v6 := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1")
	for _, row := range []struct {
		vip       netip.Addr
		in, again string
	}{
		{v4, "", ""}, {v6, "", ""}, {v4, "255.255.255.0", "255.255.255.0"},
		{v6, "64", "64"}, {v6, "1", "1"}, {v6, "128", "128"}, {v6, "ffff:ffff::", "32"},
	} {
		m, err := toMask(row.vip, row.in)
		if err != nil || fromMask(m) != row.again {
			t.Errorf("%s: %q became %s, %q: %v", row.vip, row.in, m, fromMask(m), err)
		}
	}
}
