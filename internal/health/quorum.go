package health

import "fmt"

// Quorum is what a service needs to be worth announcing: the weights of its live
// servers add up to enough. It is a value; [Quorum.Weigh] returns the next.
type Quorum struct {
	// Need is the keyword quorum: 1 if nothing is said.
	Need int
	// Hysteresis is how far beyond Need the weights have to come for the quorum to
	// be gained, and how far below for it to be lost. Less than Need.
	Hysteresis int
	// Held tells whether the service has its quorum. Without alpha it begins with it.
	Held bool
}

// Change is what became of a quorum.
type Change uint8

// The changes: none; gained, which runs quorum_up; lost, which runs quorum_down.
const (
	Unchanged Change = iota
	Gained
	Lost
)

// Fit makes a quorum possible that could never be reached with the weights of all
// servers, and a hysteresis that leaves nothing of it. warning says what was
// changed, for the log; "" if nothing was.
func (q Quorum) Fit(weights int) (fitted Quorum, warning string) {
	if q.Need < 1 {
		warning = fmt.Sprintf("quorum %d is less than 1: taken as 1", q.Need)
		q.Need = 1
	}
	if weights > 0 && q.Need > weights {
		warning = fmt.Sprintf("quorum %d is more than all weights together: taken as %d", q.Need, weights)
		q.Need = weights
	}
	if q.Hysteresis >= q.Need || q.Hysteresis < 0 {
		warning = fmt.Sprintf("hysteresis %d is not from 0 to less than the quorum %d: taken as %d", q.Hysteresis, q.Need, q.Need-1)
		q.Hysteresis = q.Need - 1
	}
	return q, warning
}

// Weigh says what becomes of the quorum when the live servers weigh so much
// together. It is gained at Need + Hysteresis, and lost below Need - Hysteresis or
// when nothing is left.
func (q Quorum) Weigh(live int) (Quorum, Change) {
	switch {
	case !q.Held && live >= q.Need+q.Hysteresis:
		q.Held = true
		return q, Gained
	case q.Held && (live <= 0 || live < q.Need-q.Hysteresis):
		q.Held = false
		return q, Lost
	}
	return q, Unchanged
}

// Member is a real server of a service.
type Member struct {
	Up bool
	// Weight as configured, or as a MISC_CHECK has it.
	Weight int
	// Inhibit is inhibit_on_failure: when it is down it stays in the list, with
	// weight 0, and keeps its connections.
	Inhibit bool
}

// Live is what the servers that are up weigh together.
func Live(members []Member) (weight int) {
	for _, m := range members {
		if m.Up {
			weight += m.Weight
		}
	}
	return weight
}

// Sorry is what a service has for when it has no quorum.
type Sorry uint8

// A service has no sorry server, or one, or one with sorry_server_inhibit: that
// stays in the list with weight 0 while it is not needed.
const (
	NoSorry Sorry = iota
	WithSorry
	WithInhibitedSorry
)

// Absent is the weight of a server that is not in the list.
const Absent = -1

// Place says what weight each member has in the service's list of destinations, or
// [Absent]. With a quorum, or without a sorry server, those that are up serve. With
// neither, the sorry server does and the members are withdrawn: sorry is its
// weight, the configured one of sorryWeight.
func Place(q Quorum, members []Member, has Sorry, sorryWeight int) (weights []int, sorry int) {
	serve := q.Held || has == NoSorry
	weights = make([]int, len(members))
	for i, m := range members {
		switch {
		case serve && m.Up:
			weights[i] = m.Weight
		case m.Inhibit:
			weights[i] = 0
		default:
			weights[i] = Absent
		}
	}
	switch {
	case has != NoSorry && !q.Held:
		return weights, sorryWeight
	case has == WithInhibitedSorry:
		return weights, 0
	}
	return weights, Absent
}
