package director

import (
	"context"
	"errors"
	"fmt"

	"weir/internal/port"
	"weir/internal/port/afxdp"
	"weir/internal/spec"
)

// With napi_busy_poll a device's driver is polled by the calls of the workers that serve its
// queues, and its interrupts wait for as long as they do. One without the other is worse than
// neither: interrupts that are held back while nobody polls have frames wait for a timer.

// startBusyPoll begins that on a device whose queues are open, where dpvs.conf wants it. Where it
// can't be nothing is changed; what was asked for by on is an error then.
func (d *Director) startBusyPoll(p *openPort) error {
	want := p.device.NAPI
	if want.BusyPoll != spec.NAPIOn && want.BusyPoll != spec.NAPIAuto {
		return nil
	}
	err := p.busyPoll(want.Budget)
	if err == nil {
		err = p.deferInterrupts(want)
	}
	switch {
	case err == nil:
		p.facts.Driver += ", busy polling"
		d.log.Log(context.Background(), Notice, fmt.Sprintf("device %s: busy polling: %s has %v until weir ends; before: %v", p.facts.Name, p.link.Name, p.deferred.Is(), p.deferred.Was()))
	case want.BusyPoll == spec.NAPIOn:
		return fmt.Errorf("device %s: napi_busy_poll on can't be (auto goes on without): %w", p.facts.Name, err)
	default:
		p.facts.Driver += ", no busy polling"
		d.log.Log(context.Background(), Notice, fmt.Sprintf("device %s: no busy polling, and %s keeps its interrupts: %v", p.facts.Name, p.link.Name, err))
	}
	return nil
}

// busyPoll has the calls of the workers poll the driver, for all queues or for none: their
// interface's interrupts are held back together.
func (p *openPort) busyPoll(budget int) error {
	var begun []poller
	for _, b := range p.queues {
		q, can := b.queue.(poller)
		if !can {
			return errors.New("packet sockets drive it, which can't")
		}
		if err := q.BusyPoll(budget); err != nil {
			for _, before := range begun {
				err = errors.Join(err, before.BusyPoll(0))
			}
			return err
		}
		begun = append(begun, q)
	}
	return nil
}

// poller is a queue whose calls can poll the driver.
type poller interface{ BusyPoll(budget int) error }

var _ poller = (*afxdp.Queue)(nil)

// deferInterrupts holds the interface's interrupts back; without that there is no busy polling.
func (p *openPort) deferInterrupts(want spec.NAPI) (err error) {
	p.deferred, err = p.link.Defer(port.Deferral{HardIRQs: want.DeferHardIRQs, FlushTimeout: want.FlushTimeout})
	if err != nil {
		err = errors.Join(err, p.busyPoll(0))
	}
	return err
}

// undoDeferrals gives interfaces what they had before a former weir held their interrupts back
// and was killed. The devices' own are known to be nobody else's.
func (d *Director) undoDeferrals() {
	var own []int
	for _, p := range d.withMembers(d.ports) {
		own = append(own, p.link.Index)
	}
	left, err := port.UndoLeft(own...)
	if err != nil {
		d.log.Warn("an interface's interrupts may be held back still, as a former weir had them", "err", err)
	}
	for _, l := range left {
		if !l.Held { // else it is another's, who lives
			d.log.Log(context.Background(), Notice, fmt.Sprintf("interface %s has %v again, as before a weir that was killed", l.Name, l.Was))
		}
	}
}
