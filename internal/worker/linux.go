package worker

import (
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/punt"
)

// toLinux gives a packet to the .kni twin of the port that it came in on, or drops it.
func (w *Worker) toLinux(p *packet.Packet) {
	if why := w.twins.Give(p, &w.snap.Ports[p.In%port.Max]); why != packet.NoReason {
		p.Reason = why
		w.drop(p)
	}
}

// fromLinux lets leave what Linux sent on the twins.
func (w *Worker) fromLinux() (busy bool) {
	for i := 0; ; i++ {
		n, ok := w.twins.Receive(i, w.burst[:])
		if !ok {
			return busy
		}
		busy = busy || n > 0
		w.in, w.at = n, 0 // they have arrived
		for w.at < n {
			w.leaveForLinux(w.burst[:n])
		}
	}
}

// leaveForLinux takes packets of Linux's to their ports. A defect costs the packet that
// met it, as on the walk.
func (w *Worker) leaveForLinux(burst []*packet.Packet) {
	defer w.survive(burst)
	for i := w.at; i < len(burst); i++ {
		w.at = i
		if why := punt.Sent(burst[i]); why != packet.NoReason {
			burst[i].Reason = why
			w.drop(burst[i])
			continue
		}
		w.leave(burst[i], packet.Transmit)
	}
	w.at = len(burst)
}
