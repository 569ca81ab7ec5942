package director

import (
	"maps"
	"net/netip"
	"testing"
	"time"

	"weir/internal/port"
	"weir/internal/spec"
)

// A VLAN has the speed of what it lies on, and is up when both are.
func TestLinkOver(t *testing.T) {
	up := port.Link{Up: true, Carrier: true, SpeedMbps: 10_000, FullDuplex: true, Autoneg: true, Kind: "veth", Bus: "0000:03:00.0"}
	as := func(change func(*port.Link)) *port.Link {
		l := up
		change(&l)
		return &l
	}
	want := port.Link{Up: true, Carrier: true, SpeedMbps: 10_000, FullDuplex: true, Autoneg: true}
	down, cut := want, want
	down.Up, cut.Carrier = false, false
	for _, tc := range []struct {
		name     string
		lower    PortView
		switches spec.Link
		want     *port.Link
	}{
		{"both are up", PortView{Link: &up}, spec.Link{}, &want},
		{"the VLAN is switched off", PortView{Link: &up}, spec.Link{Down: true}, &down},
		{"the bond below is switched off", PortView{Link: &up, Switches: spec.Link{Down: true}}, spec.Link{}, &down},
		{"the device below is off", PortView{Link: as(func(l *port.Link) { l.Up = false })}, spec.Link{}, &down},
		{"its cable is cut", PortView{Link: as(func(l *port.Link) { l.Carrier = false })}, spec.Link{}, &cut},
		{"in memory", PortView{}, spec.Link{}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := linkOver(&tc.lower, tc.switches)
			if (got == nil) != (tc.want == nil) || got != nil && *got != *tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

// A tunnel device has the link of the port that its packets leave by, whether that is said
// or follows from routes.
func TestLinkOfTunnel(t *testing.T) {
	b := newSmall(t, shape{})
	add := func(name, remote, dev string) func(*spec.Spec) error {
		return func(s *spec.Spec) error {
			t := spec.TunnelDevice{Name: name, Kind: spec.TunnelGRE, Link: dev}
			if remote != "" {
				t.Remote = netip.MustParseAddr(remote)
			}
			return s.AddTunnel(t)
		}
	}
	b.change(addAddr("lan", "192.168.1.1/24"), addAddr("wan", "10.0.0.1/24"), addAddr("lan", "2001:db8::1/64"),
		add("routed", "192.168.1.9", ""), add("routed6", "2001:db8::9", ""), add("routed_said", "10.0.0.9", "wan"),
		add("said", "", "lan"), add("nowhere", "172.16.0.1", ""), add("anybody", "", ""))
	b.pass(2 * time.Second) // what is probed for is not spoken from
	want := map[string]string{"lan": "", "wan": "", "routed": "lan", "routed6": "lan", "routed_said": "wan", "said": "lan", "nowhere": "", "anybody": ""}
	got := map[string]string{}
	for _, p := range b.ports {
		got[p.facts.Name] = ""
		if under := b.underTunnel(p); under != nil {
			got[p.facts.Name] = under.facts.Name
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("under tunnels are %v, want %v", got, want)
	}
}
