package worker

import (
	"weir/internal/packet"
	"weir/internal/port"
)

// All fragments of a datagram come to one worker, which the addresses and the
// identification choose, whatever queues they arrived on: a NIC that spreads first
// fragments by their ports, a bond, two uplinks. The way there is a handoff path of
// its own for each pair of workers; who gathers copies what it takes, so that the
// packet goes straight back. The whole datagram walks where it became whole.

// fragments is a handoff path's out when no port is at its end.
const fragments = port.Max

// join takes a fragment to the worker that gathers its datagram. If that is this
// one and nothing is missing any more, it returns the datagram, else nil.
func (w *Worker) join(p *packet.Packet) *packet.Packet {
	if w.ip.ForLinux(p) && !w.lb.Serves(p) {
		p.Reason = packet.KNIAddress
		w.toLinux(p) // which puts its own datagrams together
		return nil
	}
	if len(w.peers) > 0 {
		if path := w.peers[w.ip.Gatherer(p, len(w.peers))]; path != nil {
			one := [1]*packet.Packet{p}
			w.handoff(path, one[:])
			return nil
		}
	}
	whole, why := w.ip.Join(p)
	if why != packet.NoReason {
		p.Reason = why
		w.drop(p)
		return nil
	}
	w.pool.Put(p)
	return whole
}

// gather takes another worker's fragment, or what came out of a tunnel or goes into one;
// the packet stays that worker's.
func (w *Worker) gather(p *packet.Packet) {
	switch p.Verdict {
	case packet.Elsewhere:
		w.takeOver(p)
		return
	case packet.Transmit:
		w.adopt(p, p.Out)
		return
	default: // a fragment
	}
	whole, why := w.ip.Join(p)
	if why != packet.NoReason {
		w.lose(p, why)
		return
	}
	if whole == nil {
		return
	}
	w.made[0] = whole
	w.in, w.at = 1, 0 // it has arrived
	w.walkUntilFault(w.made[:1])
}
