package director

import (
	"fmt"

	"weir/internal/clock"
	"weir/internal/lb/service"
	"weir/internal/spec"
)

// What the director does about real servers that are to get no connections: it
// tells the workers that flows end (--expire-quiescent), and gives those that the
// passive check found down another chance.

// maxTemplates bounds the persistence templates: 64 MiB of them.
const maxTemplates = 1 << 20

// templatesFor is how many persistence templates there may be beside so many
// connections: a quarter.
func templatesFor(conns int) int { return min(max(conns/4, 1024), maxTemplates) }

// toCheck turns a service's check into ticks.
func toCheck(c spec.DestCheck) *service.Check {
	if c == (spec.DestCheck{}) {
		return nil
	}
	return &service.Check{
		Down: c.Down, Up: c.Up, Wait: clock.FromSeconds(c.Wait),
		Min: clock.FromSeconds(c.Min), Max: clock.FromSeconds(c.Max),
	}
}

// watch says what happens to the connections of every real server in a spec, after
// the workers got their tables: those that begin to end, end in a round of all
// workers.
func (d *Director) watch(s *spec.Spec) {
	ends := d.dests.ends
	d.dests.ends = false
	for i := range s.Services {
		svc := &s.Services[i]
		c, _ := svc.PassiveCheck() // spec has seen to it
		for _, sd := range svc.Dests {
			dest := d.dests.byKey[destKey{svc.ServiceKey, sd.Addr}]
			dest.Closed.Store(sd.Weight == 0)
			dest.Quiescent.Store(svc.ExpireQuiescent)
			// The same check goes on; what was seen with another one counts no more.
			if now := toCheck(c); now == nil || dest.Check.Load() == nil || *now != *dest.Check.Load() {
				dest.Check.Store(now)
			}
			if dest.Check.Load() == nil {
				dest.Recover(d.now())
				delete(d.dests.down, dest)
			}
			if d.setEnding(dest, sd.Weight) {
				ends = true
			}
		}
	}
	if ends {
		d.shared.EndRound.Add(1)
	}
}

// setEnding says whether a real server's connections end, and reports whether they
// begin to.
func (d *Director) setEnding(dest *service.Dest, weight uint32) bool {
	end := dest.Quiescent.Load() && (weight == 0 || dest.Load.Inhibited.Load())
	return !dest.Ending.Swap(end) && end
}

// recoverDests gives real servers that were down for their time another chance, and
// tells the operator what the workers found.
func (d *Director) recoverDests() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.spec.Services {
		svc := &d.spec.Services[i]
		for _, sd := range svc.Dests {
			dest := d.dests.byKey[destKey{svc.ServiceKey, sd.Addr}]
			if dest.Check.Load() != nil && dest.Load.Inhibited.Load() && !d.dests.down[dest] {
				d.dests.down[dest] = true
				d.log.Warn(fmt.Sprintf("real server %s of %s is down: its connections fail; it gets no new ones for a while", sd.Addr, svc.ServiceKey))
			}
			if dest.Recover(d.now()) {
				delete(d.dests.down, dest)
				d.log.Info(fmt.Sprintf("real server %s of %s gets connections again", sd.Addr, svc.ServiceKey))
			}
			// A worker that judged at the same moment may have been a moment late.
			if d.setEnding(dest, sd.Weight) {
				d.shared.EndRound.Add(1)
			}
		}
	}
}

// forgetTemplates ends the templates that are over, or whose real server was removed.
func (d *Director) forgetTemplates() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shared.Templates.Sweep(d.now(), func(i uint32) bool {
		dest := d.shared.Dests[i].Load()
		return dest == nil || d.dests.byKey[destKey{dest.Service, dest.Addr}] != dest
	}, func(i uint32) {
		if dest := d.shared.Dests[i].Load(); dest != nil {
			dest.Load.Templates.Add(-1)
		}
	})
}
