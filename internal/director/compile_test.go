package director

import (
	"fmt"
	"testing"

	"weir/internal/spec"
)

// Round robin goes on where it was whatever else changes; another scheduler
// begins anew.
func TestCursorSurvivesOtherChanges(t *testing.T) {
	b := newSmall(t, shape{})
	b.change(twoArm(), addDest(dns, "192.168.1.3:53", 1), addDest(dns, "192.168.1.4:53", 1),
		station("lan", "192.168.1.3", macRS), station("lan", "192.168.1.4", macRS))
	want := []string{"192.168.1.2", "192.168.1.3", "192.168.1.4"}
	other := udp("10.0.0.100:54")
	for i, edit := range []func(*spec.Spec) error{
		func(*spec.Spec) error { return nil },
		addService(other, "rr"),
		addDest(other, "192.168.1.3:53", 1),
		noService(other),
		addAddr("lan", "192.168.7.1/24"),
		addRoute("9.0.0.0/8", "lan", "192.168.1.9"),
		weigh(dns, "192.168.1.3:53", 5),
		addLocal(dns, "192.168.1.201"),
		noLocal(dns, "192.168.1.200"),
		func(s *spec.Spec) error {
			return s.EditService(spec.Service{ServiceKey: dns, Scheduler: "rr", ConnTimeout: 20})
		},
	} {
		b.change(edit)
		if err := b.Reload(b.tunables); err != nil {
			t.Fatal(err)
		}
		if got := b.asked(40000+i, "10.0.0.100:53"); got != want[i%3] {
			t.Fatalf("connection %d after a change went to %s, want %s", i, got, want[i%3])
		}
	}
	// The next would be the second: with its scheduler changed and changed back it is the first.
	st := b.states[dns]
	b.change(reschedule(dns, "wlc"))
	if b.states[dns] == st {
		t.Error("another scheduler took over the former's cursor")
	}
	b.change(reschedule(dns, "rr"))
	if got := b.asked(41000, "10.0.0.100:53"); got != want[0] {
		t.Errorf("after a change of schedulers the first went to %s, want %s", got, want[0])
	}
	b.change(noService(dns))
	if len(b.states) != 0 {
		t.Errorf("states of %d services are kept, there is none", len(b.states))
	}
}

func TestGCD(t *testing.T) {
	for _, tc := range []struct {
		weights []uint32
		want    uint32
	}{
		{nil, 0},
		{[]uint32{0}, 0},
		{[]uint32{7}, 7},
		{[]uint32{1, 100}, 1},
		{[]uint32{6, 4}, 2},
		{[]uint32{4, 6, 9}, 1},
		{[]uint32{10, 0, 15}, 5},
		{[]uint32{65535, 65535}, 65535},
	} {
		t.Run(fmt.Sprint(tc.weights), func(t *testing.T) {
			b := newSmall(t, shape{})
			b.change(addService(dns, "wrr"))
			for i, w := range tc.weights {
				b.change(addDest(dns, fmt.Sprintf("192.168.1.2:%d", 53+i), w))
			}
			if got := b.snapshot.Load().LB.Services.All()[0].GCD; got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}

// Weights 3 and 1 give three of four connections to the first.
func TestWeightsAreInForce(t *testing.T) {
	b := newSmall(t, shape{})
	b.change(twoArm(), reschedule(dns, "wrr"), weigh(dns, "192.168.1.2:53", 30), addDest(dns, "192.168.1.3:53", 10), station("lan", "192.168.1.3", macRS))
	got := map[string]int{}
	for i := range 40 {
		got[b.asked(40000+i, "10.0.0.100:53")]++
	}
	if got["192.168.1.2"] != 30 || got["192.168.1.3"] != 10 {
		t.Errorf("40 connections went to %v", got)
	}
	b.change(weigh(dns, "192.168.1.2:53", 0))
	for i := range 5 {
		if a := b.asked(41000+i, "10.0.0.100:53"); a != "192.168.1.3" {
			t.Errorf("weight 0 got a connection")
		}
	}
}
