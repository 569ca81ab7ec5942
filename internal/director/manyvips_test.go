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

// manyVIPs are addresses of both families in turn.
func manyVIPs(n int) (vips []spec.Address) {
	for i := range n {
		a := netip.AddrFrom4([4]byte{10, 1, byte(i / 200), byte(i%200 + 1)})
		if i%2 == 1 {
			a = netip.AddrFrom16([16]byte{0x20, 1, 0x0d, 0xb8, 14: byte(i >> 8), 15: byte(i)})
		}
		vips = append(vips, spec.Address{Port: "lan", Prefix: netip.PrefixFrom(a, a.BitLen())})
	}
	return vips
}

// announces is what a frame says that announces an address.
func announces(a netip.Addr) string {
	if a.Is4() {
		return "arp request who=" + a.String() + " tell=" + a.String()
	}
	return "na is=" + a.String() + " O"
}

// TestManyVIPs: 200 VIPs of both families that come as one change are each announced and answered
// for; those that leave as one are not any more, and leave nothing.
func TestManyVIPs(t *testing.T) {
	b := newSmall(t, shape{})
	b.change(addAddr("lan", "10.1.255.254/16"))
	b.left()
	empty, vips := len(b.Routes()), manyVIPs(200)
	b.change(func(s *spec.Spec) error { return s.Hold(vips) })
	announced := b.left()
	for _, v := range vips {
		if !slices.ContainsFunc(announced, func(said string) bool { return strings.Contains(said+" ", announces(v.Prefix.Addr())+" ") }) {
			t.Fatalf("%s was not announced; of %d frames the last: %q", v.Prefix, len(announced), announced[len(announced)-1])
		}
	}
	if len(announced) != len(vips) {
		t.Errorf("%d frames announced %d addresses", len(announced), len(vips))
	}
	asked := func() (answered int) {
		for _, v := range vips {
			a := v.Prefix.Addr()
			line, want := fmt.Sprintf("eth to=all / arp request who=%s tell=10.1.255.1", a), "arp reply"
			if a.Is6() {
				line, want = fmt.Sprintf("ip6 2001:db8::ffff > %s hlim=255 / ns who=%s <sll>", a, a), "na is="+a.String()
			}
			if got := b.fromLAN(line); len(got) == 1 && strings.Contains(got[0], want) {
				answered++
			}
		}
		return answered
	}
	if n := asked(); n != len(vips) {
		t.Errorf("%d of %d are answered for", n, len(vips))
	}
	b.change(func(s *spec.Spec) error { s.Release(vips); return nil })
	if said := b.left(); len(said) != 0 {
		t.Errorf("who leaves says %q", said)
	}
	if n := asked(); n != 0 {
		t.Errorf("%d of %d that left are answered for", n, len(vips))
	}
	if len(b.Spec().Addresses) != 1 || len(b.Routes()) != empty {
		t.Errorf("left: %d addresses, %d routes (%d before)", len(b.Spec().Addresses), len(b.Routes()), empty)
	}
}

// TestMoreVIPs: more than an outbox takes at once are all announced.
func TestMoreVIPs(t *testing.T) {
	b := newSmall(t, shape{threads: true})
	vips := manyVIPs(500)
	began := time.Now()
	changed := make(chan error, 1)
	go func() { changed <- b.Change(func(s *spec.Spec) error { return s.Hold(vips) }) }()
	seen := make(map[string]bool)
	eventually(t, "all are announced", func() bool {
		for _, said := range b.left() {
			said = said[max(strings.Index(said, "arp "), strings.Index(said, "na "), 0):]
			said, _, _ = strings.Cut(said, " <")
			seen[said] = true
		}
		return len(seen) >= len(vips) || strings.Contains(b.said.String(), "could not be announced")
	})
	if err := <-changed; err != nil {
		t.Fatal(err)
	}
	t.Logf("%d addresses came in %v", len(vips), time.Since(began).Round(time.Millisecond))
	for _, v := range vips {
		if !seen[announces(v.Prefix.Addr())] {
			t.Fatalf("%s was not announced, of %d; the log: %.400s", v.Prefix, len(seen), b.said.String())
		}
	}
}
