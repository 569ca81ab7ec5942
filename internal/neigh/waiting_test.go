package neigh

import (
	"testing"

	"pgregory.net/rapid"

	"weir/internal/flow"
	"weir/internal/packet"
)

// The queues against a map of slices.
func TestWaitingAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w waiting
		w.init()
		model := map[uint16][]*packet.Packet{}
		total := 0
		limit := rapid.SampledFrom([]int{0, 1, 3, 400, MaxHeld}).Draw(t, "limit")
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "push") {
				hop := rapid.SampledFrom([]flow.NextHopRef{1, 2, 3, 0xffff, 0x1_0001}).Draw(t, "hop")
				for range rapid.SampledFrom([]int{1, 1, 2, 300}).Draw(t, "times") {
					p := &packet.Packet{Learnt: packet.Learnt{NextHop: hop}}
					room := total < MaxHeld && len(model[uint16(hop)]) < limit
					if w.push(p, limit) != room {
						t.Fatalf("push says %v with %d held, %d of this one", !room, total, len(model[uint16(hop)]))
					}
					if room {
						model[uint16(hop)] = append(model[uint16(hop)], p)
						total++
					}
				}
			} else if w.n > 0 {
				i := rapid.IntRange(0, w.n-1).Draw(t, "queue")
				q := w.queues[i]
				idx := uint16(q.hop)
				for range rapid.IntRange(1, q.len).Draw(t, "pops") {
					if got := w.pop(i); got != model[idx][0] {
						t.Fatalf("not the oldest packet of queue %d", idx)
					}
					model[idx] = model[idx][1:]
					total--
				}
				if len(model[idx]) == 0 {
					delete(model, idx)
				}
			}
			if w.packets != total || w.n != len(model) {
				t.Fatalf("%d packets in %d queues, want %d in %d", w.packets, w.n, total, len(model))
			}
			for i, q := range w.queues[:w.n] {
				if q.len != len(model[uint16(q.hop)]) || w.queueOf[uint16(q.hop)] != uint16(i)+1 {
					t.Fatalf("queue %d of hop %d has %d packets, want %d", i, uint16(q.hop), q.len, len(model[uint16(q.hop)]))
				}
			}
		}
	})
}
