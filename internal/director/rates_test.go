package director

import (
	"math"
	"testing"
	"time"

	"weir/internal/spec"
)

func near(a, b float64) bool { return math.Abs(a-b) <= 0.02*math.Max(a, b) }

// TestEstimate: a quarter of the way every two seconds, so that nearly all of a
// steady rate is there after half a minute.
func TestEstimate(t *testing.T) {
	var e estimate
	var c Count
	want := 0.0
	for i := range 16 {
		c.Conns += 20
		c.InPkts += 2000
		c.OutBytes += 3000000
		e.step(c, 2)
		want += (1000 - want) / 4
		if !near(e.InPkts, want) {
			t.Fatalf("after %d steps: %v, want %v", i+1, e.InPkts, want)
		}
	}
	if !near(e.Conns, 10) || !near(e.InPkts, 1000) || !near(e.OutBytes, 1500000) || e.OutPkts != 0 {
		t.Errorf("after 32 s: %+v", e.Rates)
	}
	for range 16 {
		e.step(c, 2)
	}
	if e.InPkts > 20 {
		t.Errorf("after 32 s of silence: %+v", e.Rates)
	}
	if e.step(Count{InPkts: 8}, 2); e.InPkts < 0 {
		t.Errorf("after the counts were zeroed: %+v", e.Rates)
	}
}

// TestRates sends ten datagrams a second, five of them on new connections.
func TestRates(t *testing.T) {
	b := newSmall(t, shape{})
	b.change(twoArm())
	b.KeepHouse()
	port := 1000
	for range 30 {
		for range 5 {
			port++
			for range 2 {
				if b.asked(port, "10.0.0.100:53") == "" {
					t.Fatal("a datagram did not get through")
				}
			}
		}
		b.pass(time.Second)
	}
	r := b.view(dns).Dests[0].Rates
	if !near(r.Conns, 5) || !near(r.InPkts, 10) || !near(r.InBytes, 320) || r.OutPkts != 0 {
		t.Errorf("after 30 s: %+v, want 5 connections, 10 packets, 320 bytes a second", r)
	}
	if err := b.Zero(func(spec.ServiceKey) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if r := b.view(dns).Dests[0].Rates; r != (Rates{}) {
		t.Errorf("zeroed: %+v", r)
	}
	b.pass(3 * time.Second)
	if r := b.view(dns).Dests[0].Rates; r != (Rates{}) {
		t.Errorf("silent since it was zeroed: %+v", r)
	}
	b.change(noDest(dns, "192.168.1.2:53"), addDest(dns, "192.168.1.2:53", 1))
	b.pass(3 * time.Second)
	if n := len(b.rates.of); n != 1 {
		t.Errorf("rates of %d real servers are kept, there is one", n)
	}
}
