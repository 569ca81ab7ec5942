package laddr

// Lent is a port that was taken.
type Lent struct {
	Port   uint16 // host order
	Recent bool   // it was in use less than TimeWait ago
	// Seen is the sequence number that the real server expected next on the
	// port's last TCP connection, 0 if unknown.
	Seen uint32
}

// Take takes a port of a pool, the one unused for longest. Not ok: none is left,
// counted as a miss.
func (a *Address) Take(pool uint8, second uint16) (l Lent, ok bool) {
	if l, ok = a.Try(pool, second); !ok {
		a.Miss()
	}
	return l, ok
}

// Miss counts that no port was left.
func (a *Address) Miss() { a.miss.Add(1) }

// Try is Take without counting.
func (a *Address) Try(pool uint8, second uint16) (l Lent, ok bool) {
	r := a.pools[pool].Load()
	if r == nil {
		return l, false
	}
	var released uint16
	if a.set.alone {
		l.Port, released, l.Seen, ok = r.takeAlone()
	} else {
		l.Port, released, l.Seen, ok = r.take()
	}
	l.Recent = ok && released != never && second-released < TimeWait
	return l, ok
}

// Give puts a port back, with what the real server expected next on it (0 for a
// protocol that has no such thing).
func (a *Address) Give(pool uint8, port, second uint16, seen uint32) {
	switch {
	case port < a.set.first || port > a.set.last: // port_range was another when it was taken
		a.beyond.Add(-1)
	case a.set.alone:
		a.pools[pool].Load().putAlone(port, second, seen)
	default:
		a.pools[pool].Load().put(port, second, seen)
	}
}

// Return puts back what was lent and not used: as it was, so that the next one need not
// be more careful with it.
func (a *Address) Return(pool uint8, l Lent, second uint16) {
	if !l.Recent {
		second = never
	}
	a.Give(pool, l.Port, second, l.Seen)
}
