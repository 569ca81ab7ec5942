package director

import (
	"context"
	"fmt"
	"log/slog"

	"weir/internal/port/afxdp"
	"weir/internal/spec"
)

// maxPktPool is the most that pktpool_size means: frames have 16 bits.
const maxPktPool = 65535

// tellFrames says, for each port and worker, where queues have fewer frames to receive into than
// the port's descriptor_number: the worker's pool is too small for all of its queues. Nothing is
// wrong then until a worker is late, and frames are lost that a longer ring would have kept.
func (d *Director) tellFrames(lanes []spec.Worker, sharing []int) {
	for _, p := range d.devices(d.ports) {
		if p.program == nil {
			continue // packet sockets have no such ring
		}
		for i, lane := range lanes {
			queues := 0
			for _, q := range p.queues {
				if q.worker == i && q.number >= 0 {
					queues++
				}
			}
			if text := fewFrames(&p.device, lane.Name, queues, d.workers[i].Pool().Frames(), sharing[i]); text != "" {
				level := Notice
				if p.device.RxSaid {
					level = slog.LevelWarn
				}
				d.log.Log(context.Background(), level, text)
			}
		}
	}
}

// fewFrames is what there is to say about a worker that serves so many queues of a port, and
// whose pool of so many frames the queues of all ports share; "": they have what was asked for.
func fewFrames(dev *spec.Device, worker string, queues, pool, sharing int) string {
	asked := ring(dev.RxDesc)
	// One less is no less: the largest pool is one frame short of a power of two.
	enough := func(frames int) bool { return afxdp.Share(frames, sharing) >= asked-1 }
	if queues == 0 || enough(pool) {
		return ""
	}
	text := fmt.Sprintf("device %s: worker %s has %d frames to receive into for each of %d queues, not the %d of rx { descriptor_number }: half of its pktpool_size of %d is for the %d queues that it serves on all devices",
		dev.Name, worker, afxdp.Share(pool, sharing), queues, asked, pool, sharing)
	if enough(maxPktPool) {
		return text + fmt.Sprintf("; say pktpool_size %d", min(2*max(sharing, 2)*asked, maxPktPool))
	}
	most := afxdp.Share(maxPktPool, sharing)
	if pool < maxPktPool {
		return text + fmt.Sprintf("; pktpool_size %d, the most, makes it %d: beyond that share the queues out among more workers, or say descriptor_number %d", maxPktPool, most, most)
	}
	return text + fmt.Sprintf(", and more a pool can't have: share the queues out among more workers, or say descriptor_number %d", most)
}
