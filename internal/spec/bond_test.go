package spec

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func withBonds() *Spec {
	b := DefaultBond("bond0")
	b.Members = []string{"dpdk0", "dpdk1"}
	c := DefaultBond("bond1")
	c.Members = []string{"dpdk2"}
	return &Spec{Ports: []string{"dpdk3", "bond0", "bond1"}, Links: map[string]Link{}, Bonds: []Bond{b, c}}
}

func TestBondSettings(t *testing.T) {
	for _, tc := range []struct {
		item, value string
		get         func(*Bond) any
		want        any
	}{
		{"bond-mode", "1", func(b *Bond) any { return b.Mode }, uint8(1)},
		{"bond-primary", "dpdk1", func(b *Bond) any { return b.Primary }, "dpdk1"},
		{"bond-primary", "none", func(b *Bond) any { return b.Primary }, ""},
		{"bond-xmit-policy", "layer2", func(b *Bond) any { return b.XmitPolicy }, "layer2"},
		{"bond-monitor-interval", "100", func(b *Bond) any { return b.MonitorInterval }, uint32(100)},
		{"bond-link-up-prop", "0", func(b *Bond) any { return b.UpDelay }, uint32(0)},
		{"bond-link-down-prop", "60000", func(b *Bond) any { return b.DownDelay }, uint32(60000)},
		{"bond-slave-del", "dpdk1", func(b *Bond) any { return strings.Join(b.Out, " ") }, "dpdk1"},
	} {
		t.Run(tc.item+" "+tc.value, func(t *testing.T) {
			s := withBonds()
			old := s.Clone()
			if err := s.SetLink("bond0", tc.item, tc.value); err != nil {
				t.Fatal(err)
			}
			if got := tc.get(s.FindBond("bond0")); got != tc.want {
				t.Errorf("it is %v, want %v", got, tc.want)
			}
			if !reflect.DeepEqual(old, withBonds()) {
				t.Error("a clone changed as well")
			}
		})
	}
	s := withBonds()
	for _, step := range []struct{ item, value string }{{"bond-slave-del", "dpdk0"}, {"bond-slave-add", "dpdk0"}, {"bond-slave-del", "dpdk1"}} {
		if err := s.SetLink("bond0", step.item, step.value); err != nil {
			t.Errorf("%s %s: %v", step.item, step.value, err)
		}
	}
	if err := s.SetLink("dpdk0", "link", "down"); err != nil || !s.Links["dpdk0"].Down {
		t.Errorf("a member is not taken down: %v", err)
	}
}

func TestBondRefusals(t *testing.T) {
	for _, tc := range []struct {
		dev, item, value string
		code             Code
		why              string
	}{
		{"dpdk3", "bond-mode", "1", Invalid, "dpdk3 is no bond"},
		{"dpdk9", "bond-mode", "1", NoDevice, "no such device: dpdk9"},
		{"dpdk0", "bond-mode", "1", Invalid, "dpdk0 is a member of bond0"},
		{"bond0", "bond-mode", "5", NotSupported, "balance-tlb"},
		{"bond0", "bond-mode", "6", NotSupported, "balance-alb"},
		{"bond0", "bond-mode", "7", NotSupported, "the modes are"},
		{"bond0", "bond-mode", "x", Invalid, "takes a number"},
		{"bond0", "bond-primary", "dpdk2", Invalid, "dpdk2 is no member of bond0"},
		{"bond0", "bond-xmit-policy", "layer4", Invalid, "takes layer2, layer23, layer34"},
		{"bond0", "bond-monitor-interval", "0", Invalid, "takes 1 to 10000 milliseconds"},
		{"bond0", "bond-link-up-prop", "60001", Invalid, "takes 0 to 60000 milliseconds"},
		{"bond0", "bond-slave-add", "dpdk0", Exists, "already exist"},
		{"bond0", "bond-slave-add", "dpdk2", NotSupported, "is a member of bond1 by dpvs.conf"},
		{"bond0", "bond-slave-add", "dpdk3", NotSupported, "dpdk3 is a port of its own"},
		{"bond0", "bond-slave-add", "dpdk9", NoDevice, "no such device"},
		{"bond0", "bond-slave-del", "dpdk2", NotExists, "not exist: dpdk2"},
		{"bond1", "bond-slave-del", "dpdk2", Busy, "the last member of bond1"},
		{"dpdk0", "promisc", "on", Invalid, "dpdk0 is a member of bond0 and no port of its own: use bond0"},
	} {
		t.Run(tc.dev+" "+tc.item+" "+tc.value, func(t *testing.T) {
			err := withBonds().SetLink(tc.dev, tc.item, tc.value)
			var r *Refusal
			if !errors.As(err, &r) || r.Code != tc.code || !strings.Contains(r.Why, tc.why) {
				t.Errorf("got %v (%+v), want %v with %q", err, r, tc.code, tc.why)
			}
		})
	}
}
