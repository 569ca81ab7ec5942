package sched

// Maglev hashing, LVS's mh. Each server has a permutation of the table's slots;
// in turns each takes its next slot that is free. A server that goes leaves its
// slots to the others, and few slots that are not its own change hands.
//
// As in LVS, permutation and client are hashed with fixed keys, and there is
// another choice when the chosen server is full (LVS's mh-fallback, here always
// on). The table is LVS's for CONFIG_IP_VS_MH_TAB_INDEX=16; its default, 4093, is
// too small to keep shares of 100 servers within 1 %. A server of half the weight
// takes a slot in every second turn. LVS's takes weight/gcd slots in a row, at
// most 255, which gives who comes first in the last turn too many.

// maglevSlots is prime.
const maglevSlots = 65521

// maglev fills a table of m slots, a prime; none if all weights are 0.
func maglev(ss []Server, order []uint16, m uint32) []uint16 {
	most, _ := heaviest(ss)
	if most == 0 {
		return nil
	}
	type turn struct {
		at, skip uint32 // the next slot of the permutation, and the step
		taken    uint64
	}
	turns := make([]turn, len(order))
	// A heap of who takes a slot next: turn << 16 | place in order, least first.
	next := make([]uint64, 0, len(order))
	for rank, i := range order {
		if ss[i].Weight == 0 {
			continue
		}
		a, port := AddrOf(ss[i].Addr.Addr()), uint64(ss[i].Addr.Port())
		turns[rank] = turn{at: uint32(scale(hash(forOffset, a, port), int(m))), skip: 1 + uint32(scale(hash(forSkip, a, port), int(m-1)))}
		next = append(next, uint64(rank)) // ascending: a heap already
	}
	slots, full := make([]uint16, m), make([]bool, m)
	for range m {
		rank := uint16(next[0])
		i, t := order[rank], &turns[rank]
		for full[t.at] {
			if t.at += t.skip; t.at >= m {
				t.at -= m
			}
		}
		slots[t.at], full[t.at] = i, true
		t.taken++
		next[0] = t.taken*most/uint64(ss[i].Weight)<<16 | uint64(rank)
		sink(next)
	}
	return slots
}

// sink restores a heap whose first may have become greater.
func sink(heap []uint64) {
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(heap); c++ {
			if heap[c] < heap[least] {
				least = c
			}
		}
		if least == i {
			return
		}
		heap[i], heap[least] = heap[least], heap[i]
		i = least
	}
}

// maglevHash takes the client's slot; if its server is full, the slots that other
// hashes of the client name.
func (t *Table) maglevHash(k *Key, cs []Candidate) int {
	if len(t.slots) == 0 {
		return None
	}
	port := t.port(k)
	first := hash(forClient, k.Client, port)
	if i := int(t.slots[scale(first, len(t.slots))]); cs[i].Usable() {
		return i
	}
	for n := range uint64(tries) {
		if i := int(t.slots[scale(hash(forClient, k.Client, port|(n+1)<<16), len(t.slots))]); cs[i].Usable() {
			return i
		}
	}
	return t.firstFrom(first, cs)
}
