package director

import (
	"testing"

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
