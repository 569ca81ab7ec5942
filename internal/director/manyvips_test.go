package director

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/spec"
)

// TestManyVIPs: VIPs of both families that come as one change are each announced, answered for
// and pinged; those that leave as one are neither, and leave nothing. As many as one holder of
// keepalived's may have is more than a worker's outbox takes.
func TestManyVIPs(t *testing.T) {
	for _, n := range []int{200, spec.MaxHeld} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			b := newSmall(t, shape{})
			b.change(addAddr("lan", "10.1.255.254/16"))
			b.left()
			empty := len(b.Routes())
			var vips []spec.Address
			for i := range n {
				a := netip.AddrFrom4([4]byte{10, 1, byte(i / 200), byte(i%200 + 1)})
				if i%2 == 1 {
					a = netip.AddrFrom16([16]byte{0x20, 1, 0x0d, 0xb8, 14: byte(i >> 8), 15: byte(i)})
				}
				vips = append(vips, spec.Address{Port: "lan", Prefix: netip.PrefixFrom(a, a.BitLen())})
			}
			began := time.Now()
			b.change(func(s *spec.Spec) error { return s.Hold(vips) })
			t.Logf("%d came in %v", n, time.Since(began).Round(time.Millisecond))
			announced := b.left()
			slices.Sort(announced)
			for _, v := range vips {
				a := v.Prefix.Addr().String()
				want := "tell=" + a
				if v.Prefix.Addr().Is6() {
					want = "advert for=" + a
				}
				if !slices.ContainsFunc(announced, func(said string) bool { return strings.Contains(said+" ", want+" ") }) {
					t.Fatalf("%s was not announced; the first of %d frames: %q; the log: %.300q", a, len(announced), announced[:min(2, len(announced))], b.said.String())
				}
			}
			if len(announced) != n {
				t.Errorf("%d frames announced %d addresses", len(announced), n)
			}
			answers := func(v spec.Address) bool {
				a := v.Prefix.Addr()
				if a.Is4() {
					return len(b.fromLAN("eth to=all / arp request who="+a.String()+" tell=10.1.255.1")) == 1
				}
				return len(b.fromLAN("ip6 2001:db8::ffff > "+a.String()+" hlim=255 / icmp6 solicit for="+a.String()+" lladdr=host")) == 1
			}
			for _, v := range vips {
				if !answers(v) {
					t.Fatalf("%s is not answered for", v.Prefix)
				}
			}
			began = time.Now()
			b.change(func(s *spec.Spec) error { s.Release(vips); return nil })
			t.Logf("%d left in %v", n, time.Since(began).Round(time.Millisecond))
			if said := b.left(); len(said) != 0 {
				t.Errorf("who leaves says %q", said)
			}
			for _, v := range vips {
				if answers(v) {
					t.Fatalf("%s is answered for", v.Prefix)
				}
			}
			if len(b.Spec().Addresses) != 1 || len(b.Routes()) != empty || strings.Contains(b.said.String(), "could not") {
				t.Errorf("left: %d addresses, %d routes (%d before); the log: %.300s", len(b.Spec().Addresses), len(b.Routes()), empty, b.said.String())
			}
		})
	}
}
