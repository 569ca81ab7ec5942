package director

import (
	"strings"
	"testing"

	"weir/internal/spec"
)

// TestFewFrames: what is said of a pool that is too small for the rings, and what to do; and that
// what is advised is enough.
func TestFewFrames(t *testing.T) {
	for _, row := range []struct {
		name                         string
		desc, queues, pool, sharing  int
		want                         string // part of it; "": nothing is said
		advised, advisedDescriptions int    // pktpool_size and descriptor_number that then say nothing; 0: as they were
	}{
		{"default, two ports", 4096, 1, 16384, 2, "", 0, 0},
		{"default, one port", 4096, 1, 16384, 1, "", 0, 0},
		{"default, four queues", 4096, 2, 16384, 4, "has 2048 frames to receive into for each of 2 queues, not the 4096 of rx { descriptor_number }: half of its pktpool_size of 16384 is for the 4 queues that it serves on all devices; say pktpool_size 32768", 32768, 0},
		{"one queue and a long ring", 8192, 1, 16384, 1, "has 4096 frames to receive into for each of 1 queues, not the 8192", 32768, 0},
		{"eight queues", 4096, 8, 32768, 8, "say pktpool_size 65535", 65535, 0},
		{"eight queues have all", 4096, 8, 65535, 8, "", 0, 0},
		{"more than a pool can have", 8192, 16, 16384, 16, "pktpool_size 65535, the most, makes it 2047: beyond that share the queues out among more workers, or say descriptor_number 2047", 65535, 2047},
		{"the largest pool", 8192, 16, 65535, 16, ", and more a pool can't have: share the queues out among more workers, or say descriptor_number 2047", 0, 2047},
		{"a short ring", 16, 1, 1023, 3, "", 0, 0},
		{"a worker without a queue of it", 8192, 0, 1023, 3, "", 0, 0},
		{"the least pool", 512, 1, 1023, 2, "has 255 frames", 2048, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			dev := &spec.Device{Name: "dpdk0", RxDesc: row.desc}
			got := fewFrames(dev, "cpu1", row.queues, row.pool, row.sharing)
			if row.want == "" && got != "" || !strings.Contains(got, row.want) {
				t.Errorf("it says %q, want %q", got, row.want)
			}
			if got == "" {
				return
			}
			if row.advised != 0 {
				row.pool = row.advised
			}
			if row.advisedDescriptions != 0 {
				dev.RxDesc = row.advisedDescriptions
			}
			if again := fewFrames(dev, "cpu1", row.queues, row.pool, row.sharing); again != "" {
				t.Errorf("who does as it says is told %q", again)
			}
		})
	}
}
