package flow

import (
	"testing"

	"weir/internal/clock"
)

// BenchmarkSweep is what a slot costs the sweep, in a table that no cache holds: with all
// half-flows dead, with half of them, and with one in sixteen.
func BenchmarkSweep(b *testing.B) {
	for _, r := range []struct {
		name string
		live func(i uint32) bool
	}{
		{"all dead", func(uint32) bool { return false }},
		{"half dead", func(i uint32) bool { return i%2 == 0 }},
		{"a sixteenth dead", func(i uint32) bool { return i%16 != 0 }},
	} {
		b.Run(r.name, func(b *testing.B) {
			const conns = 1_000_000
			now := clock.Tick(1 << 20)
			tab := filled(b, conns, now, narrow)
			w := tab.Worker(0)
			for slot := range uint32(tab.Slots()) {
				if h := tab.Half(slot); h.Key1 != 0 && !r.live(h.Conn) {
					h.Key1, h.Last = h.Key1&^(genOne-1)|FlagDead, uint32(now-2*Rest)
				}
			}
			was := make([]uint64, tab.Slots())
			for slot := range was {
				was[slot] = tab.Half(uint32(slot)).Key1
			}
			pages := tab.Slots() / sweepPage
			b.ResetTimer()
			swept := 0
			for b.Loop() {
				for range pages {
					w.sweepPage(0, tab.Slots(), &tab.swept[0], now)
				}
				swept += tab.Slots()
				b.StopTimer()
				for slot, k := range was {
					if h := tab.Half(uint32(slot)); h.Key1 != k {
						h.Key1 = k
					}
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(swept), "ns/slot")
		})
	}
}
