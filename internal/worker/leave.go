package worker

import (
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/wire"
)

// leave does what the walk's last verdict says. Every packet that does not go
// on is counted and freed here.
func (w *Worker) leave(p *packet.Packet, v packet.Verdict) {
	if v == packet.Transmit {
		if p.Flags&(packet.CsumPartial|packet.GSO|packet.Cut) == 0 || w.finish(p) {
			w.tray(p)
		}
		return
	}
	switch v {
	case packet.Stolen:
	case packet.Refuse:
		w.ip.Refuse(p)
		w.drop(p)
	case packet.Punt:
		w.toLinux(p)
	default:
		w.drop(p)
	}
}

// drop counts a packet under its reason and frees it.
func (w *Worker) drop(p *packet.Packet) {
	switch p.Reason {
	case packet.ARPConsumed:
		w.stats.Consumed++
	case packet.NDConsumed:
		w.stats.ConsumedND++
	default:
		w.lose(p, p.Reason)
	}
	p.Pool().Put(p)
}

// lose counts a packet that is lost.
func (w *Worker) lose(p *packet.Packet, why packet.Reason) {
	w.stats.Drops[why]++
	if p.EtherType == wire.EtherTypeIPv6 {
		w.stats.Drops6[why]++
	}
}

// tray lays a packet on the tray of its port, and counts it.
func (w *Worker) tray(p *packet.Packet) {
	if p.Is(packet.Linux) {
		w.stats.FromLinux++
		w.lay(p)
		return
	}
	if p.Is(packet.Ours) {
		w.stats.Answered++
		if p.EtherType == wire.EtherTypeIPv6 {
			w.stats.Made6++
		}
	} else {
		w.stats.Forwarded++
	}
	if p.EtherType == wire.EtherTypeIPv6 {
		w.stats.Out6++
		w.stats.Out6Bytes += uint64(len(p.Data) - int(p.L3))
	}
	w.lay(p)
}

// lay puts a packet onto its port's tray; a full one is sent.
func (w *Worker) lay(p *packet.Packet) {
	out := int(p.Out & (port.Max - 1))
	t := &w.trays[out]
	if out >= w.nports {
		w.nports = out + 1 // no queue leads there: exhale drops what lies on its tray
	}
	t.packets[t.n] = p
	t.n++
	if t.n == port.Burst {
		w.send(t)
	}
}

// finish does for a port what it can't do itself: complete a checksum, cut up a
// super-frame or a datagram that is longer than its way. It reports whether p itself is still to be sent.
func (w *Worker) finish(p *packet.Packet) bool {
	out := &w.snap.Ports[p.Out&(port.Max-1)]
	if p.Is(packet.GSO) && (!out.TxGSO || p.Is(packet.Encapsulated)) {
		n, ok := w.ip.Segment(p, w.pool, w.segments[:])
		if !ok {
			w.drop(p)
			return false
		}
		for _, s := range w.segments[:n] {
			w.tray(s)
		}
		w.pool.Put(p)
		return false
	}
	if p.Is(packet.Cut) && w.ip.Long(p) {
		return w.cut(p)
	}
	if !w.ip.FinishChecksum(p, out) {
		p.Reason = packet.L4Malformed
		w.drop(p)
		return false
	}
	return true
}

// cut lays a datagram's fragments on the tray. p itself is gone then.
func (w *Worker) cut(p *packet.Packet) bool {
	if !w.ip.FinishChecksum(p, &noOffload) {
		p.Reason = packet.L4Malformed
		w.drop(p)
		return false
	}
	n, ok := w.ip.Cut(p, w.segments[:])
	if !ok {
		w.drop(p)
		return false
	}
	for _, f := range w.segments[:n] {
		w.tray(f)
	}
	w.pool.Put(p)
	return false
}

// noOffload is a port that completes no checksum: fragments have none to complete.
var noOffload port.Facts

// send empties a tray onto its port: by this worker's own queue, or by that of
// the worker to whom the port's queues belong.
func (w *Worker) send(t *trayOf) {
	burst := t.packets[:t.n]
	t.n = 0
	switch {
	case t.queue != nil:
		t.queue.Tx(burst)
	case t.via != nil:
		w.handoff(t.via, burst)
	case t.device != nil:
		w.sendOn(t.device, burst)
	default:
		w.dropAll(burst, packet.PortDown)
	}
}
