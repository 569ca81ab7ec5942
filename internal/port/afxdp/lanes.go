package afxdp

import (
	"sync/atomic"
	"unsafe"

	"weir/bpf"
	"weir/internal/pinned"
	"weir/internal/port"
)

// What the programs find without a lookup, since it is the one value of a map (bpf/express.h): the
// rules of all ports, and for each port a record of each processor. The names are those of sections.
const (
	rulesSection = ".data.rules"
	lanesSection = ".data.lanes"
)

// one makes a map that is one value of n records, mapped.
func one[T any](name string, n int) (m pinned.Memory, all []T, err error) {
	if m, err = pinned.Array(name, 1, n*int(unsafe.Sizeof(*new(T)))); err != nil {
		return m, nil, err
	}
	return m, unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(m.Bytes))), n), nil
}

// lanes is what the plain packets of a port are counted in, by processor. All programs of the
// port use the same, one after the other.
type lanes struct {
	memory pinned.Memory
	by     []bpf.ForwardLane
}

// lanesOf makes a port's lanes, if they are not there yet.
func (e *Engine) lanesOf(id uint16) (*lanes, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := &e.lanes[id%port.Max]
	if l := at.Load(); l != nil {
		return l, nil
	}
	m, by, err := one[bpf.ForwardLane]("lanes", e.cpus)
	if err != nil {
		return nil, err
	}
	for cpu := range by {
		l, h := &by[cpu], e.table.Header()
		l.Seed, l.Homes, l.WideHomes, l.Base = e.table.Seed(), h.Homes, h.WideHomes, uint32(cpu)<<16
		for out := range e.rules {
			r := &e.rules[out]
			l.To[out].Sends = sends(r.Flags&ruleSends != 0 && r.Tag == 0, r.Link)
		}
		r := &e.rules[id%port.Max]
		l.Mac, l.Tail, l.Flags = r.Mac<<16, uint32(r.Mac>>16), r.Flags
	}
	at.Store(&lanes{m, by})
	return at.Load(), nil
}

// sends says by which port's device plain packets leave.
func sends(plain bool, link uint32) uint32 {
	if !plain {
		return 0
	}
	return link + 1
}

// ruleLanes tells lanes what a port's rule is. The caller holds the lock.
func (e *Engine) ruleLanes(id uint16, r *Rule, mac uint64, flags uint32) {
	if own := e.lanes[id].Load(); own != nil {
		for cpu := range own.by {
			l := &own.by[cpu]
			if l.Mac != mac<<16 {
				atomic.StoreUint32(&l.Flags, 0) // nobody reads the rest meanwhile but who began before
				atomic.StoreUint32(&l.Tail, uint32(mac>>16))
				atomic.StoreUint64(&l.Mac, mac<<16)
			}
			atomic.StoreUint32(&l.Flags, flags)
		}
	}
	for in := range e.lanes {
		if l := e.lanes[in].Load(); l != nil {
			for cpu := range l.by {
				atomic.StoreUint32(&l.by[cpu].To[id].Sends, sends(r.Sends && r.Tag == 0, uint32(r.Link)))
			}
		}
	}
}

// plain adds to by what plain packets were, of what came in on one port and left by another.
func (e *Engine) plain(in, out uint16, by *[4]Carried) {
	l := e.lanes[in%port.Max].Load()
	if l == nil {
		return
	}
	for cpu := range l.by {
		for six, family := range [2]int{0, 3} {
			n, c := &l.by[cpu].To[out%port.Max].Was[six], &by[family]
			bytes := atomicLoad(&n.Bytes)
			c.Packets += atomicLoad(&n.Packets)
			c.RxBytes += bytes
			c.TxBytes += bytes
		}
	}
}

func (e *Engine) closeLanes() {
	for i := range e.lanes {
		if l := e.lanes[i].Swap(nil); l != nil {
			l.memory.Close()
		}
	}
}

// Express returns how many frames of a port were plain packets of their flows, and forwarded as
// such (bpf/express.h): less than all that were forwarded.
func (e *Engine) Express(id uint16) (n uint64) {
	for out := range uint16(port.Max) {
		var by [4]Carried
		e.plain(id, out, &by)
		n += by[0].Packets + by[3].Packets
	}
	return n
}
