package sched

// Source and destination hashing, LVS's sh and dh: a table of buckets of servers.
// It has LVS's 256, and twice as many as often as servers (dh) or the sum of
// weights (sh) need it, up to 65536. A change of servers moves most clients: mh
// does not.

const (
	fewestBuckets = 256
	mostBuckets   = 1 << 16
)

func buckets(need uint64) int {
	n := fewestBuckets
	for uint64(n) < need && n < mostBuckets {
		n *= 2
	}
	return n
}

// byWeight gives each server as many buckets in a row as its weight says, and
// begins anew until the table is full. One of weight 0 has a bucket as well, as in
// LVS: from weight 1 to 0 and back, other servers' clients stay where they are.
func byWeight(ss []Server, order []uint16) []uint16 {
	if len(order) == 0 {
		return nil
	}
	share := make([]uint64, len(ss))
	need := uint64(0)
	for i, s := range ss {
		share[i] = max(uint64(s.Weight), 1)
		need += share[i]
	}
	if need > mostBuckets {
		for i := range share {
			share[i] = max(share[i]*mostBuckets/need, 1)
		}
	}
	slots := make([]uint16, 0, buckets(need))
	for {
		for _, i := range order {
			for range share[i] {
				if len(slots) == cap(slots) {
					return slots
				}
				slots = append(slots, i)
			}
		}
	}
}

// inTurn gives the buckets to the servers in turn, whatever their weight.
func inTurn(order []uint16) []uint16 {
	if len(order) == 0 {
		return nil
	}
	slots := make([]uint16, buckets(uint64(len(order))))
	for i := range slots {
		slots[i] = order[i%len(order)]
	}
	return slots
}

// golden is the multiplier of Linux's hash_32.
const golden = 0x61C88647

// bucket is Linux's hash_32: the upper bits of a product. The tables' lengths are
// powers of two.
func bucket(v uint32, buckets int) int {
	return int(uint64(v*golden) * uint64(buckets) >> 32)
}

// sourceHash takes the client's bucket; if its server is full or has weight 0,
// the buckets that LVS tries with sh-fallback, which is always on here.
func (t *Table) sourceHash(k *Key, cs []Candidate) int {
	n := len(t.slots)
	if n == 0 {
		return None
	}
	h := bucket(k.Client.fold()+uint32(t.port(k)), n)
	if i := int(t.slots[h]); cs[i].Usable() {
		return i
	}
	for off := range min(n, tries) {
		if i := int(t.slots[((off+h)%n+h)%n]); cs[i].Usable() {
			return i
		}
	}
	return t.firstFrom(hash(forClient, k.Client, t.port(k)), cs)
}

// destinationHash takes the bucket of the virtual address. If its server is full
// or has weight 0 there is no other, as in LVS.
func (t *Table) destinationHash(k *Key, cs []Candidate) int {
	if len(t.slots) == 0 {
		return None
	}
	if i := int(t.slots[bucket(k.Virtual.fold(), len(t.slots))]); cs[i].Usable() {
		return i
	}
	return None
}
