package director

import (
	"fmt"
	"slices"
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

// A table of a scheduler that hashes is built anew when servers or weights change,
// and not for anything else; in whatever order the servers came, it is the same.
func TestHashTablesInForce(t *testing.T) {
	for _, scheduler := range []string{"sh", "dh", "mh", "conhash"} {
		t.Run(scheduler, func(t *testing.T) {
			servers := []string{"192.168.1.2:53", "192.168.1.3:53", "192.168.1.4:53"}
			there := map[string]bool{}
			var former []string
			for turn := range 2 {
				b := newSmall(t, shape{})
				b.change(twoArm(), noDest(dns, servers[0]), reschedule(dns, scheduler), station("lan", "192.168.1.3", macRS), station("lan", "192.168.1.4", macRS))
				for i := range servers {
					b.change(addDest(dns, servers[(turn*2+i*(1+turn))%3], 1)) // 2 3 4, then 4 3 2
				}
				var got []string
				for i := range 10 {
					got = append(got, b.asked(40000+i*7, "10.0.0.100:53"))
					there[got[i]] = true
				}
				if turn == 1 && !slices.Equal(got, former) {
					t.Errorf("one director chose %v, the other %v", former, got)
				}
				former = got
				table := b.states[dns].table
				b.change(addLocal(dns, "192.168.1.201"), addRoute("9.0.0.0/8", "lan", "192.168.1.9"))
				if table == nil || b.states[dns].table != table {
					t.Error("the table was built anew for nothing")
				}
				b.change(weigh(dns, servers[1], 0), weigh(dns, servers[2], 0))
				if b.states[dns].table == table {
					t.Error("new weights, and the old table")
				}
				if scheduler == "dh" {
					continue // has no other server if its own has weight 0
				}
				if got := b.asked(41000, "10.0.0.100:53"); got != "192.168.1.2" {
					t.Errorf("a connection went to %s, which has weight 0", got)
				}
			}
			if len(there) != 1 {
				t.Errorf("one client's connections went to %v", there)
			}
		})
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
