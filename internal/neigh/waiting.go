package neigh

import (
	"weir/internal/flow"
	"weir/internal/packet"
)

// waiting holds the packets of a worker that wait for neighbours: one queue, in
// order, for each neighbour. Everything lies in arrays of fixed size.
type waiting struct {
	packets int             // in all queues
	queues  [MaxHeld]queue  // the first n are in use; a queue has one packet at least
	n       int             //
	nodes   [MaxHeld]node   //
	free    int16           // first free node
	queueOf [1 << 16]uint16 // by index of the next hop: 1 + its queue, 0 none
}

type queue struct {
	hop        flow.NextHopRef // of the first packet
	head, tail int16
	len        int
}

type node struct {
	p    *packet.Packet
	next int16 // of the queue, or of the free list; -1 ends
}

func (w *waiting) init() {
	for i := range w.nodes {
		w.nodes[i].next = int16(i) + 1
	}
	w.nodes[MaxHeld-1].next = -1
}

// push puts p at the end of its next hop's queue, which may hold limit packets,
// and reports whether there was room there and in all.
func (w *waiting) push(p *packet.Packet, limit int) bool {
	if w.free < 0 || limit <= 0 {
		return false
	}
	slot := &w.queueOf[uint16(p.NextHop)]
	if *slot == 0 {
		w.queues[w.n] = queue{hop: p.NextHop, head: -1, tail: -1}
		w.n++
		*slot = uint16(w.n)
	}
	q := &w.queues[*slot-1]
	if q.len >= limit {
		return false
	}
	i := w.free
	w.free = w.nodes[i].next
	w.nodes[i] = node{p, -1}
	if q.head < 0 {
		q.head = i
	} else {
		w.nodes[q.tail].next = i
	}
	q.tail = i
	q.len++
	w.packets++
	return true
}

// pop takes the oldest packet of queue i; the queue is closed with the last,
// and another may then lie under its number.
func (w *waiting) pop(i int) *packet.Packet {
	q := &w.queues[i]
	at := q.head
	p, next := w.nodes[at].p, w.nodes[at].next
	w.nodes[at] = node{nil, w.free}
	w.free = at
	q.head = next
	q.len--
	w.packets--
	if q.len == 0 {
		w.queueOf[uint16(q.hop)] = 0
		w.n--
		if i != w.n {
			w.queues[i] = w.queues[w.n]
			w.queueOf[uint16(w.queues[i].hop)] = uint16(i) + 1
		}
	}
	return p
}
