package worker

import (
	"weir/internal/packet"
	"weir/internal/wire"
)

// All packets of a tunnel have the same two addresses, so that a NIC gives them to one
// queue, and one worker receives them. What is inside is spread: the inner flow says who
// goes on with it, over the path that fragments take as well. All packets of a flow come
// to the same worker by the same path, and so stay in order.

// decapsulate takes a packet that carries another. If it is a tunnel device's, p is what
// was inside now, come in by that device, and the verdict is about that.
func (w *Worker) decapsulate(p *packet.Packet) packet.Verdict {
	v := w.tunnel.Input(p)
	if v == packet.Decapsulate {
		if v = w.ip.Input(p); v == packet.Decapsulate {
			v = w.tunnel.Input(p) // which unpacks one level only
		}
		if v == packet.Continue && p.Is(packet.Keyed) {
			if len(w.peers) > 0 && w.peers[w.share(p)] != nil {
				return packet.Elsewhere
			}
			w.want(p)
		}
	}
	return v
}

// share is the worker that goes on with what came out of a tunnel. Flows that differ in
// little must not all go to one: the hash is mixed once more.
func (w *Worker) share(p *packet.Packet) int {
	return int(p.Hash * 0x9e3779b97f4a7c15 >> 32 * uint64(len(w.peers)) >> 32)
}

// want calls a packet's place in the flow table in.
func (w *Worker) want(p *packet.Packet) {
	if p.EtherType == wire.EtherTypeIPv4 {
		w.prefetch.Want(w.flows, p.Key1, p.Hash)
	} else {
		w.prefetch.WantWide(w.flows, p.Hash)
	}
}

// unpacked returns the packet that fragments make or that was in another, or nil if it is
// not whole yet, or another worker's.
func (w *Worker) unpacked(p *packet.Packet) *packet.Packet {
	for {
		switch p.Verdict {
		case packet.Fragment:
			if p = w.join(p); p == nil {
				return nil
			}
		case packet.Decapsulate: // it came in fragments
			p.Verdict = w.decapsulate(p)
		case packet.Elsewhere:
			one := [1]*packet.Packet{p}
			w.handoff(w.peers[w.share(p)], one[:])
			return nil
		default:
			return p
		}
	}
}

// takeOver takes a copy of what came out of a tunnel at another worker; walkInner walks it.
func (w *Worker) takeOver(p *packet.Packet) {
	own := w.copyOf(p)
	if own == nil {
		return
	}
	own.Key0, own.Key1, own.Hash, own.TCPFlags = p.Key0, p.Key1, p.Hash, p.TCPFlags
	own.In, own.Verdict = p.In, packet.Continue
	w.inner[w.ninner] = own
	w.ninner++
	w.want(own)
}

// walkInner walks what takeOver took, of one burst.
func (w *Worker) walkInner() {
	burst := w.inner[:w.ninner]
	w.ninner = 0
	w.in, w.at = len(burst), 0 // they have arrived
	for w.at < len(burst) {
		w.walkUntilFault(burst)
	}
}

// toTunnel sends by a tunnel device, or has the first worker do so, if packets are
// numbered: two workers, each with a burst under way, would overtake each other, and the
// other end drops what comes late.
func (w *Worker) toTunnel(id uint16, burst []*packet.Packet) {
	if len(w.peers) == 0 || w.peers[0] == nil || !w.tunnel.Numbers(id) {
		w.sendInTunnel(burst)
		return
	}
	for _, p := range burst {
		p.Verdict = packet.Transmit
	}
	w.handoff(w.peers[0], burst)
}

// sendInTunnel puts packets that lie on a tunnel's tray into the tunnel's packets, which
// go on from there like others. A defect met there costs the packet that met it.
func (w *Worker) sendInTunnel(burst []*packet.Packet) {
	for at := 0; at < len(burst); {
		at = w.encapsulate(burst, at)
	}
}

func (w *Worker) encapsulate(burst []*packet.Packet, from int) (at int) {
	defer func() {
		if faulty(recover()) {
			burst[at].Reason = packet.WalkFault
			w.drop(burst[at])
			at++
		}
	}()
	for at = from; at < len(burst); at++ {
		p := burst[at]
		p.Verdict = w.tunnel.Output(p)
		w.proceed(p)
	}
	return at
}
