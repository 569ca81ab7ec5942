package director

import (
	"log/slog"
	"strings"
	"testing"

	"weir/internal/spec"
)

// TestOffloadOnNeedsAPort: who insists on the engine is told what keeps it away, and
// nothing starts.
func TestOffloadOnNeedsAPort(t *testing.T) {
	for _, row := range []struct {
		name   string
		device spec.Device
		bonds  []spec.Bond
		want   string
	}{
		{"packet sockets", spec.Device{Driver: spec.DriverAFPacket}, nil, "device dpdk0: it is driven by packet sockets"},
		{"generic", spec.Device{Driver: spec.DriverAFXDP, XDPMode: spec.XDPGeneric}, nil, "device dpdk0: xdp_mode generic"},
		{"a member", spec.Device{}, []spec.Bond{{Name: "bond0", Members: []string{"dpdk0"}}}, "device dpdk0: it is a member of a bond"},
		{"no such interface", spec.Device{Interface: "nowhere0"}, nil, `there is no interface "nowhere0"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := boot(1)
			b.Offload = spec.OffloadOn
			b.Bonds = row.bonds
			row.device.Name = "dpdk0"
			b.Devices = []spec.Device{row.device}
			_, err := New(b, spec.Tunables{}, slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), "offload on, but no device can") {
				t.Errorf("the error is %v, want one about %q", err, row.want)
			}
		})
	}
}

// TestOffloadOnABed: with an engine the views have what it says, and its part of the
// counts of real servers begins at 0 again when they are cleared.
func TestOffloadOnABed(t *testing.T) {
	b := newSmall(t, shape{})
	if v, err := b.Offload(); err != nil || v.Running || v.Wanted != spec.OffloadOff || v.Why == "" {
		t.Errorf("without an engine: %+v, %v", v, err)
	}
}
