package service

import "weir/internal/clock"

// Check is how a service watches its real servers by what becomes of their
// connections (--dest-check). Times are ticks.
type Check struct {
	Down     uint8  // failures within Wait after which a real server is down
	Up       uint8  // successes after which one that came back is trusted again
	Wait     uint32 // how long failures are remembered
	Min, Max uint32 // how long one that is down gets no new connections, at first and at most
}

// Health holds, from the low end: the tick at which failures began, or at which
// the real server is back (32 bits); failures (8); successes that are still to come
// (8); how often the time was doubled (8); and whether it is down.
const (
	healthFails = 32
	healthTrial = 40
	healthLevel = 48
	healthDown  = 1 << 56
)

// maxLevel bounds the doubling: no time is longer than 2^31 ticks.
const maxLevel = 31

// inhibition is how long a real server that was down so often stays so.
func (c *Check) inhibition(level uint64) uint32 {
	return uint32(min(uint64(c.Min)<<level, uint64(c.Max)))
}

// Failed notes that a connection found the real server dead. It reports whether it
// is down from now on.
func (d *Dest) Failed(now clock.Tick) bool {
	c := d.Check.Load()
	if c == nil {
		return false
	}
	for {
		was := d.Health.Load()
		if was&healthDown != 0 {
			return false
		}
		since, fails, trial, level := clock.Tick(was), was>>healthFails&0xff, was>>healthTrial&0xff, was>>healthLevel&0xff
		if fails == 0 || now.Since(since) >= c.Wait {
			since, fails = now, 0
		}
		fails++
		down := fails >= uint64(c.Down) || trial > 0
		next := uint64(since) | fails<<healthFails | level<<healthLevel
		if down {
			next = uint64(now+clock.Tick(c.inhibition(level))) | healthDown | min(level+1, maxLevel)<<healthLevel
			if c.inhibition(level) == c.Max {
				next = next&^(0xff<<healthLevel) | level<<healthLevel // it is not doubled any more
			}
		}
		if d.Health.CompareAndSwap(was, next) {
			if down {
				d.Load.Inhibited.Store(true)
			}
			return down
		}
	}
}

// Succeeded notes that a connection found the real server alive.
func (d *Dest) Succeeded() {
	for {
		was := d.Health.Load()
		fails, trial, level := was>>healthFails&0xff, was>>healthTrial&0xff, was>>healthLevel&0xff
		if was&healthDown != 0 || fails == 0 && trial == 0 && level == 0 {
			return
		}
		switch {
		case trial > 1:
			trial--
		default:
			trial = 0
			level = max(level, 1) - 1
		}
		if d.Health.CompareAndSwap(was, trial<<healthTrial|level<<healthLevel) {
			return
		}
	}
}

// Recover ends the time that a real server is down, if it is over, or if it is not
// watched any more. It reports whether it did. The director asks once a second.
func (d *Dest) Recover(now clock.Tick) bool {
	c := d.Check.Load()
	for {
		was := d.Health.Load()
		next := uint64(0)
		switch {
		case c == nil && was == 0:
			// A worker that still saw the check may have been a moment late.
			if d.Load.Inhibited.Load() {
				d.Load.Inhibited.Store(false)
			}
			return false
		case c == nil:
		case was&healthDown == 0 || now.Before(clock.Tick(was)):
			return false
		default:
			next = uint64(c.Up)<<healthTrial | was&(0xff<<healthLevel)
		}
		// First: whoever sees the new health may find it down again at once.
		d.Load.Inhibited.Store(false)
		if d.Health.CompareAndSwap(was, next) {
			return was&healthDown != 0
		}
	}
}

// Down reports whether the passive check has found the real server down.
func (d *Dest) Down() bool { return d.Health.Load()&healthDown != 0 }
