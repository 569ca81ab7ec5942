package director

import (
	"context"
	"fmt"
)

// aheadFrom is the number of connections from which the engine's programs look ahead, where they can
// (afxdp.Program.LookAhead). With fewer the half-flows that packets ask for lie in the processor's
// cache, and to look would cost more than it saves.
const aheadFrom = 1 << 14

// manyFlows reports whether there are so many.
func (d *Director) manyFlows() bool { return d.shared.Flows.Len() >= aheadFrom }

// lookAhead has programs that look ahead put in the places of the plain ones when there are that many
// connections for the first time: what is needed for it takes a start's time, and most need it never. The
// caller holds mu.
func (d *Director) lookAhead() {
	if d.offload.looks || d.bed != nil || !d.manyFlows() {
		return
	}
	d.offload.looks = true
	ports := d.ports
	d.done.Go(func() {
		for _, p := range ports {
			if p.program == nil || !p.program.CanLookAhead() {
				continue
			}
			if err := p.program.LookAhead(); err != nil {
				d.log.Warn(fmt.Sprintf("device %s: each packet that XDP forwards waits for its flow's memory: %s", p.facts.Name, err))
				continue
			}
			d.log.Log(context.Background(), Notice, fmt.Sprintf("device %s: forwarding by XDP looks ahead in the ring of veth, while there are %d connections or more", p.facts.Name, aheadFrom))
		}
	})
}
