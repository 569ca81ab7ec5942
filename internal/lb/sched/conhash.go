package sched

import "slices"

// Consistent hashing, DPVS's conhash: each server has points on a ring of 2^32,
// 160 for each weight/gcd; a client, or a QUIC connection id, belongs to the next
// point from its own hash on. Where DPVS drops a client whose server is full, the
// ring goes on to the next server.

const (
	pointsPerWeight = 160
	// mostPoints bounds a ring: where weights ask for more, all get fewer in
	// proportion, but one at least.
	mostPoints = 1 << 17
)

// point is a virtual node of a ring.
type point struct {
	hash   uint32
	server uint32 // a candidate
}

// newRing makes the ring; a server of weight 0 is not on it.
func newRing(ss []Server, order []uint16) []point {
	_, sum := heaviest(ss)
	if sum == 0 {
		return nil
	}
	unit := uint64(0)
	for _, s := range ss {
		for a, b := unit, uint64(s.Weight); ; a, b = b, a%b {
			if b == 0 {
				unit = a
				break
			}
		}
	}
	all := min(sum/unit*pointsPerWeight, mostPoints)
	var points []uint64 // hash << 32 | place in order, so that equal hashes stay in order
	for rank, i := range order {
		w := uint64(ss[i].Weight)
		if w == 0 {
			continue
		}
		a, port := AddrOf(ss[i].Addr.Addr()), uint64(ss[i].Addr.Port())
		for n := range max(w*all/sum, 1) {
			points = append(points, hash(forPoint, a, port|n<<16)>>32<<32|uint64(rank))
		}
	}
	slices.Sort(points)
	ring := make([]point, len(points))
	for at, p := range points {
		ring[at] = point{uint32(p >> 32), uint32(order[uint32(p)])}
	}
	return ring
}

// consistentHash takes the server of the first point at or behind the key's hash.
func (t *Table) consistentHash(k *Key, cs []Candidate) int {
	if len(t.ring) == 0 {
		return None
	}
	h := k.ID
	if h == 0 {
		h = hash(forClient, k.Client, 0)
	}
	at := t.seek(uint32(h >> 32))
	for range min(tries, len(t.ring)) {
		if at == len(t.ring) {
			at = 0
		}
		if i := int(t.ring[at].server); cs[i].Usable() {
			return i
		}
		at++
	}
	return t.firstFrom(h, cs)
}

// seek returns the place of the first point of at least h.
func (t *Table) seek(h uint32) int {
	lo, hi := 0, len(t.ring)
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); t.ring[mid].hash < h {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}
