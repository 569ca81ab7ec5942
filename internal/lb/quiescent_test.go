package lb

import (
	"net/netip"
	"testing"

	"weir/internal/packet"
)

// TestQuiescentIsBudgeted: many connections of a real server that is gone end over
// several breaths, none of which ends more than its budget; others stay.
func TestQuiescentIsBudgeted(t *testing.T) {
	b := newBed(t)
	const n = 500
	svc := b.Tables.Services.All()[1] // UDP
	for i := range 50 {
		for j := range 10 { // ten ports toward each of the real server's places
			_ = j
		}
		if v, r := b.input(b.packet(protoUDP, netip.AddrFrom4([4]byte{1, 2, 3, byte(i)}), vip, 5000, 53, 0)); v != packet.Output && r != packet.LBNoLocalPort {
			t.Fatalf("%v for %v", v, r)
		}
	}
	made := b.flows.Len()
	if made == 0 || made > n {
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
	if b.flows.Len() != 0 || int(b.stats.QuiescentEnded) != made {
		t.Errorf("%d of %d ended in %d breaths, %d are left", b.stats.QuiescentEnded, made, breaths, b.flows.Len())
	}
	if n := svc.Dests[0].Refs(); n != 0 {
		t.Errorf("the real server still has %d", n)
	}
}
