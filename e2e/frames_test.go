package e2e

import (
	"strings"
	"testing"
)

// TestFewFrames: the director says at its start where a pool is too small for the rings, and that
// what it advises is enough.
func TestFewFrames(t *testing.T) {
	s := one
	s.conf = "netif_defs {\n    pktpool_size 4096\n}\n"
	d := newDirector(t, s)
	const says = "device dpdk0: worker worker0 has 1024 frames to receive into for each of 1 queues, not the 4096 of rx { descriptor_number }"
	if log := d.log.String(); !strings.Contains(log, "level=NOTICE msg=\""+says) || !strings.Contains(log, "; say pktpool_size 16384\"") {
		t.Errorf("the log does not say %q:\n%s", says, log)
	}
	d.end()
	d.setup.conf = "netif_defs {\n    pktpool_size 16384\n}\n"
	d.serve()
	if log := d.log.String(); strings.Contains(log, "frames to receive into") {
		t.Errorf("with what it advised it says\n%s", log)
	}
}
