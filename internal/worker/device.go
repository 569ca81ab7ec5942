package worker

import (
	"weir/internal/ether"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/stat"
)

// VLANs and tunnels have no queues: what leaves by them lies on a tray like all else,
// and when that is emptied gets the device's header and goes on to the port below.

var _ = [1]struct{}{}[port.Max-stat.MaxPorts] // they are the same

// setDevices follows the snapshot's devices. A tray whose device is gone is empty: they
// are between two breaths.
func (w *Worker) setDevices(s *Snapshot) {
	w.devices = w.devices[:0]
	for i := range s.Ports {
		f := &s.Ports[i]
		w.trays[i].device = nil
		if f.Kind == port.Real {
			continue
		}
		w.trays[i].device = f
		w.devices = append(w.devices, f.ID)
		w.nports = max(w.nports, i+1)
	}
}

// maxNesting bounds how many devices lie on top of each other on a packet's way out.
const maxNesting = 4

// emptyDevices sends what lies on the devices' trays. One may lead to another.
func (w *Worker) emptyDevices() {
	for range maxNesting {
		more := false
		for _, id := range w.devices {
			if t := &w.trays[id]; t.n > 0 {
				more = true
				w.send(t)
			}
		}
		if !more {
			return
		}
	}
}

// sendOn gives packets the header of a device and lays them on the tray of the port
// below.
func (w *Worker) sendOn(f *port.Facts, burst []*packet.Packet) {
	if f.Down {
		w.dropAll(burst, packet.PortDown)
		return
	}
	if f.Kind == port.Tunnel {
		w.toTunnel(f.ID, burst)
		return
	}
	count := &w.stats.Virtual[f.ID%port.Max]
	for _, p := range burst {
		n := uint64(len(p.Data))
		if !ether.Tag(p, f.Tag) {
			p.Reason = packet.WalkFault
			w.drop(p)
			continue
		}
		count.TxPackets++
		count.TxBytes += n
		p.Out = f.Link
		w.lay(p)
	}
}

func (w *Worker) dropAll(burst []*packet.Packet, why packet.Reason) {
	for _, p := range burst {
		p.Reason = why
		w.drop(p)
	}
}
