package worker

import (
	"encoding/binary"

	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/wire"
)

// walk takes a burst from the wire to the wire. The first pass finds out what
// each packet is and calls its connection's memory in; the second takes each
// through the rest of the house, from top to bottom. Of fragments, the one that
// makes a datagram whole goes on as that datagram; what comes out of a tunnel goes on
// where its flow's worker is.
//
// w.in and w.at say how far the passes came, so that a walk that met a defect
// goes on behind it (walkSafely).
func (w *Worker) walk(burst []*packet.Packet) {
	express := !stagesOnly
	var plain uint64 // the packets of the burst that may take the express
	for i := w.in; i < len(burst); i++ {
		w.in = i
		p := burst[i]
		if express && w.glance(p) {
			plain |= 1 << i
			continue
		}
		p.Verdict = w.arrive(p)
		if express {
			plain |= boards(p) << i
		}
	}
	w.in = len(burst)
	w.prefetch.Fetch(w.flows)
	w.lb.Expect(burst)
	var way wayOut
	for i := w.at; i < len(burst); i++ {
		w.at = i
		if p := burst[i]; plain>>i&1 != 0 && w.express(p, &way) {
			// leave, for all packets of the express: a call saved is a tenth of their price.
			f := (*[12]byte)(p.Data)
			binary.LittleEndian.PutUint64(f[0:8], way.dstSrc)
			binary.LittleEndian.PutUint32(f[8:12], way.srcRest)
			p.Out, p.NextHop = way.out, way.ref
			w.stats.Express++
			if p.Flags&(packet.CsumPartial|packet.Cut) != 0 {
				w.leave(p, packet.Transmit)
				continue
			}
			w.stats.Forwarded++
			t := way.tray
			t.packets[t.n%port.Burst] = p
			if t.n++; t.n == port.Burst {
				w.send(t)
			}
			continue
		}
		if v := burst[i].Verdict; v >= packet.Fragment && v <= packet.Elsewhere {
			if burst[i] = w.unpacked(burst[i]); burst[i] == nil {
				continue // the datagram is not whole yet, or another worker's
			}
		}
		w.proceed(burst[i])
	}
	w.at = len(burst)
	w.lb.Expect(nil)
}

// arrive is the way in: link layer, then IP.
func (w *Worker) arrive(p *packet.Packet) packet.Verdict {
	on := p.In
	v := w.ether.Input(p) // MAC, ethertype, tag
	if v == packet.Continue && p.In != on && !stagesOnly && w.glance(p) {
		return v // it was its tag alone that was special
	}
	if v == packet.Continue {
		v = w.ip.Input(p) // header, tuple
		if v == packet.Continue && p.Is(packet.Keyed) {
			if p.EtherType == wire.EtherTypeIPv4 {
				w.prefetch.Want(w.flows, p.Key1, p.Hash)
			} else {
				w.prefetch.WantWide(w.flows, p.Hash)
			}
		} else if v == packet.Decapsulate {
			v = w.decapsulate(p) // and what was inside
		}
	}
	return v
}

// express is the way through of most packets, which then leave; proceed is the way of all others.
func (w *Worker) express(p *packet.Packet, way *wayOut) bool {
	if p.EtherType == wire.EtherTypeIPv4 {
		return w.express4(p, way)
	}
	return w.express6(p, way)
}

// proceed is the way through, and out.
func (w *Worker) proceed(p *packet.Packet) {
	v := p.Verdict
	if v == packet.Continue {
		v = w.lb.Input(p) // connection, or service and scheduler; rewrite
	}
	if v == packet.Continue {
		v = w.ip.Deliver(p) // ours? answer; else forward or refuse
	}
	if v == packet.Follow {
		v = w.lead() // the balancer made a packet that goes ahead of this one
	}
	if v == packet.Neighbour {
		v = w.neigh.Input(p) // ARP, neighbour discovery: learn, answer
		w.lead()             // what waited for this goes before what comes next
	}
	if v == packet.Anew {
		v = w.lb.Anew(p) // a way by its connection
	}
	if v == packet.Output {
		v = w.ip.Output(p) // route, MTU
	}
	if v == packet.Output {
		v = w.neigh.Output(p) // next hop to MAC, or wait for the answer
	}
	if v == packet.Output {
		v = w.ether.Output(p) // link header
	}
	w.leave(p, v)
}
