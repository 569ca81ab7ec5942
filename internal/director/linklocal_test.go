package director

import (
	"net/netip"
	"testing"

	"weir/internal/port"
	"weir/internal/spec"
)

func TestLinkLocal(t *testing.T) {
	f := &port.Facts{IfName: "eth0", MAC: port.MAC{0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde}}
	make1 := func(c spec.IPv6, f *port.Facts, try uint8) netip.Addr {
		a, err := linkLocal(&c, f, try)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	for _, row := range []struct {
		name string
		c    spec.IPv6
		want string
	}{
		// The example of RFC 4291, appendix A, with universal made local.
		{"of the MAC", spec.IPv6{AddrGenMode: spec.AddrGenEUI64}, "fe80::3656:78ff:fe9a:bcde"},
		{"none", spec.IPv6{AddrGenMode: spec.AddrGenNone}, "invalid IP"},
		{"nothing said", spec.IPv6{}, "invalid IP"},
		{"switched off", spec.IPv6{Disable: true, AddrGenMode: spec.AddrGenEUI64}, "invalid IP"},
	} {
		if got := make1(row.c, f, 0); got.String() != row.want {
			t.Errorf("%s: %v, want %s", row.name, got, row.want)
		}
	}

	stable := spec.IPv6{AddrGenMode: spec.AddrGenStablePrivacy, StableSecret: [16]byte{1, 2, 3}}
	other := stable
	other.StableSecret[15] = 1
	first := make1(stable, f, 0)
	if first != make1(stable, &port.Facts{IfName: "eth0"}, 0) {
		t.Error("the stable address changes with the MAC")
	}
	for name, a := range map[string]netip.Addr{
		"interface": make1(stable, &port.Facts{IfName: "eth1"}, 0), "secret": make1(other, f, 0), "try": make1(stable, f, 1),
	} {
		if a == first || !a.IsLinkLocalUnicast() || netip.PrefixFrom(a, 64).Masked() != netip.MustParsePrefix("fe80::/64") {
			t.Errorf("another %s gives %v", name, a)
		}
	}
	random := spec.IPv6{AddrGenMode: spec.AddrGenRandom}
	if a, b := make1(random, f, 0), make1(random, f, 0); a == b || !a.IsLinkLocalUnicast() {
		t.Errorf("random addresses %v and %v", a, b)
	}
}

func TestReserved(t *testing.T) {
	for id, want := range map[uint64]bool{
		0: true, 1: false,
		0x02005efffe000000: true, 0x02005efffe005213: true, 0x02005efffeffffff: true, 0x02005effff000000: false, 0x02005efffdffffff: false,
		0xfdffffffffffff7f: false, 0xfdffffffffffff80: true, 0xfdffffffffffffff: true, 0xfe00000000000000: false,
	} {
		if reserved(id) != want {
			t.Errorf("%x reserved: %v", id, !want)
		}
	}
}
