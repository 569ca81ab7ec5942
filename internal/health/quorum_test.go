package health

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestQuorumWeigh(t *testing.T) {
	for _, tc := range []struct {
		name string
		q    Quorum
		live int
		want Change
	}{
		{"one of one is enough", Quorum{Need: 1}, 1, Gained},
		{"nothing is not", Quorum{Need: 1}, 0, Unchanged},
		{"held with one", Quorum{Need: 1, Held: true}, 1, Unchanged},
		{"lost with none", Quorum{Need: 1, Held: true}, 0, Lost},
		{"a weight of 0 is none", Quorum{Need: 1, Held: true}, 0, Lost},
		{"just enough without hysteresis", Quorum{Need: 5}, 5, Gained},
		{"one short", Quorum{Need: 5}, 4, Unchanged},
		{"one short, held", Quorum{Need: 5, Held: true}, 4, Lost},
		{"hysteresis above: not yet", Quorum{Need: 5, Hysteresis: 2}, 6, Unchanged},
		{"hysteresis above: now", Quorum{Need: 5, Hysteresis: 2}, 7, Gained},
		{"hysteresis below: still", Quorum{Need: 5, Hysteresis: 2, Held: true}, 3, Unchanged},
		{"hysteresis below: lost", Quorum{Need: 5, Hysteresis: 2, Held: true}, 2, Lost},
		{"hysteresis down to one", Quorum{Need: 3, Hysteresis: 2, Held: true}, 1, Unchanged},
		{"none is lost whatever the hysteresis", Quorum{Need: 3, Hysteresis: 2, Held: true}, 0, Lost},
	} {
		next, change := tc.q.Weigh(tc.live)
		if change != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, change, tc.want)
		}
		if held := (tc.q.Held || change == Gained) && change != Lost; next.Held != held || next.Need != tc.q.Need || next.Hysteresis != tc.q.Hysteresis {
			t.Errorf("%s: became %+v", tc.name, next)
		}
	}
}

func TestQuorumFit(t *testing.T) {
	for _, tc := range []struct {
		name    string
		q, want Quorum
		weights int
		warns   bool
	}{
		{"fits", Quorum{Need: 3, Hysteresis: 1}, Quorum{Need: 3, Hysteresis: 1}, 3, false},
		{"more than all", Quorum{Need: 9}, Quorum{Need: 3}, 3, true},
		{"no servers yet", Quorum{Need: 9}, Quorum{Need: 9}, 0, false},
		{"nothing needed", Quorum{}, Quorum{Need: 1}, 3, true},
		{"hysteresis as large", Quorum{Need: 2, Hysteresis: 2}, Quorum{Need: 2, Hysteresis: 1}, 3, true},
		{"hysteresis of a quorum that shrank", Quorum{Need: 9, Hysteresis: 5}, Quorum{Need: 3, Hysteresis: 2}, 3, true},
		{"below 0", Quorum{Need: 1, Hysteresis: -1}, Quorum{Need: 1}, 3, true},
		{"held stays", Quorum{Need: 1, Held: true}, Quorum{Need: 1, Held: true}, 3, false},
	} {
		if got, warning := tc.q.Fit(tc.weights); got != tc.want || (warning != "") != tc.warns {
			t.Errorf("%s: %+v (%q), want %+v", tc.name, got, warning, tc.want)
		}
	}
}

func TestPlace(t *testing.T) {
	held, lost := Quorum{Need: 1, Held: true}, Quorum{Need: 1}
	up, down := Member{Up: true, Weight: 7}, Member{Weight: 5}
	upInhibit, downInhibit := Member{Up: true, Weight: 3, Inhibit: true}, Member{Weight: 2, Inhibit: true}
	all := []Member{up, down, upInhibit, downInhibit}
	for _, tc := range []struct {
		name    string
		q       Quorum
		sorry   Sorry
		weights []int
		at      int
	}{
		{"quorum, no sorry server", held, NoSorry, []int{7, Absent, 3, 0}, Absent},
		{"quorum: the sorry server rests", held, WithSorry, []int{7, Absent, 3, 0}, Absent},
		{"quorum: it stays with weight 0", held, WithInhibitedSorry, []int{7, Absent, 3, 0}, 0},
		{"no quorum, no sorry server: who is up serves", lost, NoSorry, []int{7, Absent, 3, 0}, Absent},
		{"no quorum: the sorry server alone", lost, WithSorry, []int{Absent, Absent, 0, 0}, 9},
		{"no quorum: the same with inhibit", lost, WithInhibitedSorry, []int{Absent, Absent, 0, 0}, 9},
	} {
		if weights, at := Place(tc.q, all, tc.sorry, 9); !slices.Equal(weights, tc.weights) || at != tc.at {
			t.Errorf("%s: %v and %d, want %v and %d", tc.name, weights, at, tc.weights, tc.at)
		}
	}
	if got := Live(all); got != 10 {
		t.Errorf("those that are up weigh %d, want 10", got)
	}
}

// A quorum changes only over its whole hysteresis, whatever the weights do.
func TestQuorumModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q, _ := Quorum{Need: rapid.IntRange(1, 9).Draw(t, "need"), Hysteresis: rapid.IntRange(0, 9).Draw(t, "hysteresis")}.Fit(12)
		for _, live := range rapid.SliceOf(rapid.IntRange(0, 20)).Draw(t, "live") {
			before := q
			q, _ = q.Weigh(live)
			if live >= q.Need+q.Hysteresis && !q.Held {
				t.Fatalf("%d is enough for %+v", live, before)
			}
			if (live == 0 || live < q.Need-q.Hysteresis) && q.Held {
				t.Fatalf("%d is too little for %+v", live, before)
			}
			between := live > 0 && live >= q.Need-q.Hysteresis && live < q.Need+q.Hysteresis
			if between && q.Held != before.Held {
				t.Fatalf("%d is between, but %+v became %+v", live, before, q)
			}
		}
	})
}
