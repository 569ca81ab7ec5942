package lb

import (
	"testing"

	"weir/internal/packet"
	"weir/internal/spec"
)

// TestQuiescentIsBudgeted: many connections of a real server that is gone end over
// several breaths, none of which ends more than its budget; others stay.
func TestQuiescentIsBudgeted(t *testing.T) {
	b := newBed(t)
	const n = 200
	svc := b.Tables.Services.All()[1] // UDP
	svc.Modes[0] = spec.DirectRoute   // which borrows no ports
	for i := range uint16(n) {
		if v, r := b.input(b.packet(protoUDP, client, vip, 5000+i, 53, 0)); v != packet.Output {
			t.Fatalf("%v for %v", v, r)
		}
	}
	made := b.flows.Len()
	if made != n {
		t.Fatalf("%d connections", made)
	}
	if b.endQuiescent() || b.stats.QuiescentEnded != 0 {
		t.Fatal("ended without being asked")
	}
	b.sh.EndRound.Add(1)
	for b.endQuiescent() {
	}
	if b.stats.QuiescentEnded != 0 {
		t.Fatal("ended what is to stay")
	}
	svc.Dests[0].Ending.Store(true)
	b.sh.EndRound.Add(1)
	breaths := 0
	for more := true; more; breaths++ {
		was := b.stats.QuiescentEnded
		more = b.endQuiescent()
		if got := b.stats.QuiescentEnded - was; got > sweepEnds {
			t.Fatalf("%d ended in a breath", got)
		}
	}
	if breaths < n/sweepEnds {
		t.Errorf("%d breaths", breaths)
	}
	if b.flows.Len() != 0 || int(b.stats.QuiescentEnded) != made {
		t.Errorf("%d of %d ended in %d breaths, %d are left", b.stats.QuiescentEnded, made, breaths, b.flows.Len())
	}
	if n := svc.Dests[0].Refs(); n != 0 {
		t.Errorf("the real server still has %d", n)
	}
}
