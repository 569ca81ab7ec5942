package worker

import (
	"sync/atomic"

	"weir/internal/packet"
	"weir/internal/port"
)

// A worker that has no queue of its own on a port gives its packets to one that
// has: through a ring with one writer and one reader. The reader copies the
// packet into memory of its own (each worker's memory is registered with its
// own sockets) and returns the original through the ring's other half. Bound:
// handoffRing packets on the way; beyond, HandoffFull.

const handoffRing = 1024

type handoffPath struct {
	from, to *Worker
	out      uint16
	given    int  // packets of from that are not back: at most handoffRing
	give     spsc // from > to: packets to send
	back     spsc // to > from: packets to free
}

type spsc struct {
	head  atomic.Uint32
	_     [60]byte
	tail  atomic.Uint32
	_     [60]byte
	items [handoffRing]*packet.Packet
}

func (r *spsc) put(p *packet.Packet) bool {
	t := r.tail.Load()
	if t-r.head.Load() == handoffRing {
		return false
	}
	r.items[t%handoffRing] = p
	r.tail.Store(t + 1)
	return true
}

func (r *spsc) take(into []*packet.Packet) int {
	h := r.head.Load()
	n := int(min(r.tail.Load()-h, uint32(len(into))))
	for i := range n {
		slot := &r.items[(h+uint32(i))%handoffRing]
		into[i], *slot = *slot, nil
	}
	r.head.Store(h + uint32(n))
	return n
}

func (w *Worker) handoff(path *handoffPath, burst []*packet.Packet) {
	for _, p := range burst {
		if path.given == handoffRing || !path.give.put(p) {
			p.Reason = packet.HandoffFull
			w.drop(p)
			continue
		}
		path.given++
	}
	path.to.wakeIfAsleep()
}

// receiveHandoffs sends what other workers gave us and frees what they are done with.
func (w *Worker) receiveHandoffs() (came int) {
	for _, path := range w.paths {
		if path.from == w {
			for n := path.back.take(w.burst[:]); n > 0; n = path.back.take(w.burst[:]) {
				path.given -= n
				for _, p := range w.burst[:n] {
					w.pool.Put(p)
				}
			}
			continue
		}
		for range handoffRing / len(w.burst) {
			n := path.give.take(w.burst[:])
			for _, p := range w.burst[:n] {
				if path.out == fragments {
					w.gather(p)
				} else {
					w.adopt(p, path.out)
				}
				path.back.put(p) // never full: no more than handoffRing are not back
			}
			w.walkInner()
			came += n
			if n < len(w.burst) {
				break
			}
		}
	}
	return came
}

// takeBack frees what was given to others, at the end.
func (w *Worker) takeBack() {
	for _, path := range w.paths {
		if path.from != w {
			continue
		}
		for _, r := range []*spsc{&path.back, &path.give} {
			for n := r.take(w.burst[:]); n > 0; n = r.take(w.burst[:]) {
				for _, p := range w.burst[:n] {
					w.pool.Put(p)
				}
			}
		}
	}
}

// copyOf returns a copy of another worker's packet, or nil.
func (w *Worker) copyOf(p *packet.Packet) *packet.Packet {
	own := w.pool.Get()
	if own != nil && !own.Resize(len(p.Data)) {
		w.pool.Put(own)
		if own = w.pool.GetBig(); own != nil && !own.Resize(len(p.Data)) {
			w.pool.Put(own)
			own = nil
		}
	}
	if own == nil {
		w.stats.Drops[packet.PoolEmpty]++
		return nil
	}
	copy(own.Data, p.Data)
	own.L3, own.L4, own.Proto, own.Flags = p.L3, p.L4, p.Proto, p.Flags
	own.EtherType, own.GSOType, own.GSOSize = p.EtherType, p.GSOType, p.GSOSize
	own.Hash = p.Hash // a tunnel over IPv6 makes a flow label of it
	return own
}

// adopt sends a copy of another worker's packet.
func (w *Worker) adopt(p *packet.Packet, out uint16) {
	own := w.copyOf(p)
	if own == nil {
		return
	}
	own.Out = out
	t := &w.trays[out&(port.Max-1)]
	t.packets[t.n] = own
	t.n++
	if t.n == port.Burst {
		w.send(t)
	}
}
