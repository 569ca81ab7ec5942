package e2e

import (
	"strings"
	"syscall"
	"testing"

	"weir/internal/testkit/netns"
)

// TestCaptureOfABusyMachine: tcpdump does not run while an upload goes by, as on a
// machine that others keep busy. Not a frame is missing.
func TestCaptureOfABusyMachine(t *testing.T) {
	t.Parallel() // it asks little of the machine
	b := newBed(t, netns.TwoArmOptions{Servers: 1})
	c := b.tcpdump(b.rs(1), "eth0")
	c.dump.Signal(syscall.SIGSTOP)
	const frames = 10_000
	marker := noiseBytes(t, 1500)
	err := b.rs(1).Do(func() error { return sendMarker("eth0", marker, frames) })
	if err != nil {
		t.Fatal(err)
	}
	c.dump.Signal(syscall.SIGCONT)
	c.stop()
	out := b.run(b.rs(1), "tshark -r "+c.file+" -Y eth.type==0x88b5&&frame.cap_len==1514 -T fields -e frame.number")
	if seen := strings.Count(out, "\n"); seen != frames {
		t.Errorf("%d of %d frames were captured", seen, frames)
	}
}
