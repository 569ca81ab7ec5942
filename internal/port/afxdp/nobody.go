package afxdp

import (
	"errors"
	"fmt"
	"net/netip"

	"weir/bpf"
	"weir/internal/flow"
	"weir/internal/port"
)

// What an engine's programs do while no director runs (bpf/nobody.h).

// MaxOwned is how many addresses SetOwned takes.
const MaxOwned = 1 << 16

// SetOwned says which addresses are the director's: what comes for them, while no socket is
// there to take it, is not for Linux (bpf/nobody.h).
func (e *Engine) SetOwned(addrs []netip.Addr) (err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.maps[bpf.ForwardMapOwned]
	wanted := make(map[netip.Addr]bool, len(addrs))
	for _, a := range addrs {
		wanted[a] = true
	}
	for a := range e.owned {
		if !wanted[a] {
			err = errors.Join(err, m.Delete(flow.AddrOf(a)))
			delete(e.owned, a)
		}
	}
	for a := range wanted {
		if e.owned[a] {
			continue
		}
		if failed := m.Put(flow.AddrOf(a), uint32(1)); failed != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", a, failed))
			continue
		}
		e.owned[a] = true
	}
	if err != nil {
		return fmt.Errorf("the XDP engine: addresses whose packets Linux gets while no weir runs (%d at most are kept from it): %w", MaxOwned, err)
	}
	return nil
}

// Missed is what came while no director ran.
type Missed struct {
	Dropped uint64 // for the director
	Passed  uint64 // for Linux, which got it
}

// Missed is what came on a port while no director ran, since the flow table was made.
func (e *Engine) Missed(id uint16) Missed {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.missed[id%port.Max]
}

// begin notes what a port has missed: from now on a program of this engine is there.
func (e *Engine) begin(id uint16) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := &e.nobody[id%port.Max]
	e.missed[id%port.Max] = Missed{atomicLoad(&n.Dropped), atomicLoad(&n.Passed)}
}
