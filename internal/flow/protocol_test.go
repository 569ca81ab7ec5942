package flow

import "testing"

// The protocol of slot.go in the small, walked through in every order in which
// its atomic steps can happen. The steps carry the names of the functions.

const protoSlots = 4 // home is 0 for every key, and what lies beyond is empty

// word is a Key1: what a slot is, for whom, in which generation, with whose mark.
type word struct{ kind, key, gen, mark byte } // kind 0: empty, else D, P, V

// actor is one worker in the midst of something.
type actor struct {
	at        step
	key       byte
	n, spot   int8
	gen, mark byte
	seen      word
}

type step byte

const (
	done step = iota
	placeSearch
	placeClaim
	placeKey
	holdLook
	holdSwap
	aloneLook
	publishIt
	withdrawIt
	emptyLook
	emptyMark
	emptyBehind
	emptyBack
	emptySwap
	killIt
)

type world struct {
	slots  [protoSlots]word
	actors [4]actor
}

// move does one atomic step of an actor.
func (w *world) move(a *actor) {
	swap := func(i int8, from, to word) bool {
		if w.slots[i] != from {
			return false
		}
		w.slots[i] = to
		return true
	}
	lives := func(x word) bool { return x.kind == 'P' || x.kind == 'V' }
	switch a.at {
	case placeSearch:
		if a.n == protoSlots {
			if a.at = placeClaim; a.spot < 0 {
				a.at = done
			}
			return
		}
		x := w.slots[a.n]
		if lives(x) && x.key == a.key {
			a.at = done
			return
		}
		if !lives(x) && a.spot < 0 {
			a.spot, a.seen = a.n, x
		}
		if a.n++; x.kind == 0 {
			a.at = placeClaim
		}
	case placeClaim:
		a.gen = a.seen.gen + 1
		if swap(a.spot, a.seen, word{'P', 0, a.gen, 0}) {
			a.at = placeKey
		} else {
			a.at, a.n, a.spot, a.seen = placeSearch, 0, -1, word{}
		}
	case placeKey:
		w.slots[a.spot] = word{'P', a.key, a.gen, 0}
		a.at, a.n, a.seen = holdLook, a.spot, word{}
	case holdLook:
		if a.n == 0 {
			a.at = aloneLook
			return
		}
		x := w.slots[a.n-1]
		if x.kind == 0 || x.mark != 0 {
			a.at, a.seen = holdSwap, x
		} else {
			a.n--
		}
	case holdSwap:
		if swap(a.n-1, a.seen, word{'D', 0, a.seen.gen, 0}) {
			a.n--
		}
		a.at, a.seen = holdLook, word{}
	case aloneLook:
		if a.n == a.spot {
			a.n++
		}
		if a.n == protoSlots {
			a.at = publishIt
			return
		}
		x := w.slots[a.n]
		switch {
		case lives(x) && x.key == a.key:
			a.at = withdrawIt
		case x.kind == 0 && a.n > a.spot:
			a.at = publishIt
		default:
			a.n++
		}
	case publishIt:
		w.slots[a.spot] = word{'V', a.key, a.gen, 0}
		a.at = done
	case withdrawIt:
		w.slots[a.spot] = word{'D', 0, a.gen, 0}
		a.at = done
	case emptyLook:
		if a.at = done; a.n >= 0 && w.slots[a.n].kind == 'D' {
			a.at, a.seen = emptyMark, w.slots[a.n]
		}
	case emptyMark:
		if a.at = done; swap(a.n, a.seen, word{'D', 0, a.seen.gen, a.mark}) {
			a.at, a.spot = emptyBehind, a.n+1
		}
	case emptyBehind:
		// All homes are 0: whoever lives behind it has his path across it.
		switch {
		case a.spot == protoSlots || w.slots[a.spot].kind == 0:
			a.at = emptySwap
		case lives(w.slots[a.spot]):
			a.at = emptyBack
		default:
			a.spot++
		}
	case emptyBack:
		swap(a.n, word{'D', 0, a.seen.gen, a.mark}, word{'D', 0, a.seen.gen, 0})
		a.at = done
	case done:
	case emptySwap:
		if a.at = done; swap(a.n, word{'D', 0, a.seen.gen, a.mark}, word{}) {
			a.at, a.spot = emptyLook, 0
			a.n--
		}
	case killIt:
		if x := w.slots[a.n]; x.kind == 'V' {
			w.slots[a.n] = word{'D', 0, x.gen, 0}
		}
		a.at = done
	}
}

// explore walks through all that can follow and checks each state.
func explore(t *testing.T, start world) int {
	seen := map[world]bool{}
	todo := []world{start}
	for len(todo) > 0 {
		w := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[w] {
			continue
		}
		seen[w] = true
		valid, hole := 0, false
		for _, x := range w.slots {
			hole = hole || x.kind == 0
			if x.kind == 'V' && x.key == 'k' {
				valid++
			}
			if x.kind == 'V' && hole {
				t.Fatalf("a search does not reach a valid half-flow: %+v, after %+v", w, start)
			}
		}
		if valid > 1 {
			t.Fatalf("a tuple is valid twice: %+v, after %+v", w, start)
		}
		for i := range w.actors {
			if w.actors[i].at != done {
				v := w
				v.move(&v.actors[i])
				todo = append(todo, v)
			}
		}
	}
	return len(seen)
}

func TestEveryOrderOfSteps(t *testing.T) {
	inserter := func(key byte) actor { return actor{at: placeSearch, key: key, spot: -1} }
	emptier := func(slot int8, mark byte) actor { return actor{at: emptyLook, n: slot, mark: mark} }
	kinds := []word{{}, {kind: 'D', gen: 1}, {kind: 'V', key: 'x', gen: 1}}
	states := 0
	for i := range 27 {
		var slots [protoSlots]word
		lives := int8(-1)
		whole := true // no valid one behind an empty one
		for n, k := 0, i; n < 3; n, k = n+1, k/3 {
			slots[n] = kinds[k%3]
			if slots[n].kind == 'V' {
				slots[n].key += byte(n) // three tenants, three keys
				lives = int8(n)
				whole = whole && (n == 0 || slots[n-1].kind != 0) && (n < 2 || slots[0].kind != 0)
			}
		}
		if !whole {
			continue
		}
		for e := range int8(3) {
			third := []actor{emptier(e, 2)}
			if e > 0 && slots[e].kind == 'D' && slots[e-1].kind == 'D' {
				third = append(third, inserter('o'))
			}
			if lives >= 0 {
				third = append(third, actor{at: killIt, n: lives})
			}
			for _, a := range third {
				states += explore(t, world{slots, [4]actor{inserter('k'), inserter('k'), emptier(e, 1), a}})
			}
		}
	}
	t.Logf("%d states", states)
	if states < 500_000 {
		t.Errorf("%d states: too few, the walk is not what it was", states)
	}
}
