package bond

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"weir/internal/lacp"
	"weir/internal/packet"
	"weir/internal/port"
)

var _ port.Queue = (*Queue)(nil)

// Queue is a worker's place on a bond: its queues of all members. It is worker-owned,
// but for [Queue.Slow].
type Queue struct {
	bond    *Bond
	members [MaxMembers]member
	n       int // members, with or without queues
	pool    *packet.Pool

	first  int    // the member that is received from first
	turn   uint32 // of RoundRobin
	slow   ring
	counts port.Counters // what is dropped here; all else the members count
	fd     int           // epoll over the members' receiving queues
}

// member is a member's part of a Queue.
type member struct {
	rx   []port.Queue
	tx   port.Queue // nil: another worker sends
	n    int        // on the tray
	tray [port.Burst]*packet.Packet
}

// Open makes a queue without members for the pool's worker.
func (b *Bond) Open(pool *packet.Pool) (*Queue, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("wait for several queues at once: %w", err)
	}
	return &Queue{bond: b, pool: pool, fd: fd}, nil
}

// AddRx adds a queue of a member, which is received from and sent on: with the first
// one of each member. Before the worker runs.
func (q *Queue) AddRx(i int, of port.Queue) error {
	q.AddTx(i, of)
	m := &q.members[i]
	m.rx = append(m.rx, of)
	fd := of.FD()
	if fd < 0 {
		return nil
	}
	if err := unix.EpollCtl(q.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("wait for a member's queue: %w", err)
	}
	return nil
}

// AddTx adds a queue of a member that is only sent on, if there is none yet. Before the
// worker runs.
func (q *Queue) AddTx(i int, of port.Queue) {
	if m := &q.members[i]; m.tx == nil {
		m.tx = of
	}
	q.n = max(q.n, i+1)
}

// Receives reports whether there is a queue to receive from.
func (q *Queue) Receives() bool {
	for i := range q.members[:q.n] {
		if len(q.members[i].rx) > 0 {
			return true
		}
	}
	return false
}

// Sends reports whether all of the first n members can be sent on.
func (q *Queue) Sends(n int) bool {
	for i := range q.members[:n] {
		if q.members[i].tx == nil {
			return false
		}
	}
	return true
}

// Rx receives from the members in turn, each time from another first.
func (q *Queue) Rx(burst []*packet.Packet) int {
	if len(burst) > port.Burst {
		burst = burst[:port.Burst]
	}
	t := q.bond.table.Load()
	n := 0
	for k := range q.n {
		i := q.first + k
		if i >= q.n {
			i -= q.n
		}
		for _, of := range q.members[i].rx {
			if n == len(burst) {
				break
			}
			got := of.Rx(burst[n:])
			n += q.take(t, i, burst[n:n+got])
		}
	}
	if q.first++; q.first >= q.n {
		q.first = 0
	}
	return n
}

// take makes what a member received the bond's, and returns how much of it goes on: those
// are at the front.
func (q *Queue) take(t *Table, i int, burst []*packet.Packet) (n int) {
	lacpRuns, receives, ours := t.Mode == LACP, t.Rx&(1<<i) != 0, t.RxOne&(1<<i) != 0
	for _, p := range burst {
		switch {
		case lacpRuns && slowFrame(p.Data):
			if !q.slow.put(i, p.Data) {
				q.counts.Drops[packet.BondSlowFull]++
			}
			p.Pool().Put(p)
		case !receives && !(ours && forOne(p.Data)):
			q.drop(p, packet.BondInactive)
		default:
			p.In = q.bond.id
			burst[n] = p
			n++
		}
	}
	return n
}

// forOne reports whether a frame is for one machine.
func forOne(frame []byte) bool { return len(frame) >= etherHeader && frame[0]&1 == 0 }

func slowFrame(frame []byte) bool {
	return len(frame) >= etherHeader && binary.BigEndian.Uint16(frame[12:]) == lacp.EtherType
}

// Tx sends the packets by the members that may send.
func (q *Queue) Tx(burst []*packet.Packet) {
	t := q.bond.table.Load()
	for len(burst) > port.Burst {
		q.send(t, burst[:port.Burst])
		burst = burst[port.Burst:]
	}
	q.send(t, burst)
}

func (q *Queue) send(t *Table, burst []*packet.Packet) {
	n := uint32(len(t.Tx))
	switch {
	case n == 0:
		for _, p := range burst {
			q.drop(p, packet.BondNoMember)
		}
		return
	case n == 1:
		q.members[t.Tx[0]].tx.Tx(burst)
		return
	}
	switch t.Mode {
	case RoundRobin:
		for _, p := range burst {
			q.lay(t.Tx[q.turn%n], p)
			q.turn++
		}
	case Broadcast:
		for _, p := range burst {
			for _, i := range t.Tx[1:] {
				if c := q.twin(p); c != nil {
					q.lay(i, c)
				} else {
					q.counts.Drops[packet.PoolEmpty]++
				}
			}
			q.lay(t.Tx[0], p)
		}
	default:
		for _, p := range burst {
			q.lay(t.Tx[t.Policy.hash(p.Data)%n], p)
		}
	}
	for _, i := range t.Tx {
		if m := &q.members[i]; m.n > 0 {
			m.tx.Tx(m.tray[:m.n])
			m.n = 0
		}
	}
}

// lay puts a packet on a member's tray, which has room for a burst.
func (q *Queue) lay(i uint8, p *packet.Packet) {
	m := &q.members[i]
	m.tray[m.n] = p
	m.n++
}

// twin copies a packet, with what its sending depends on; nil: no memory.
func (q *Queue) twin(p *packet.Packet) *packet.Packet {
	c := q.pool.Get()
	if c != nil && !c.Resize(len(p.Data)) {
		q.pool.Put(c)
		if c = q.pool.GetBig(); c != nil && !c.Resize(len(p.Data)) {
			q.pool.Put(c)
			c = nil
		}
	}
	if c == nil {
		return nil
	}
	copy(c.Data, p.Data)
	c.L3, c.L4, c.Proto, c.EtherType = p.L3, p.L4, p.Proto, p.EtherType
	c.Flags, c.GSOType, c.GSOSize, c.Out = p.Flags, p.GSOType, p.GSOSize, p.Out
	return c
}

func (q *Queue) drop(p *packet.Packet, why packet.Reason) {
	q.counts.Drops[why]++
	p.Pool().Put(p)
}

// Send sends a frame of the control side by a member, whether that may carry traffic or
// not, and reports whether there was memory for it. By the worker, between two breaths.
func (q *Queue) Send(i int, frame []byte) bool {
	p := q.pool.Get()
	if p == nil {
		return false
	}
	if q.members[i].tx == nil || !p.Resize(len(frame)) {
		q.pool.Put(p)
		return false
	}
	copy(p.Data, frame)
	p.Flags |= packet.Ours
	q.members[i].tx.Tx([]*packet.Packet{p})
	return true
}

// Slow calls f for each frame of LACP that came since the last call. For one goroutine,
// while the worker runs.
func (q *Queue) Slow(f func(*Slow)) { q.slow.each(f) }

// Flush flushes the members' queues.
func (q *Queue) Flush() { q.every(func(of port.Queue) { of.Flush() }) }

// FD can be polled: it is readable when one of the members' queues is.
func (q *Queue) FD() int { return q.fd }

// PreparePoll prepares all members' queues.
func (q *Queue) PreparePoll() bool {
	for i := range q.members[:q.n] {
		for _, of := range q.members[i].rx {
			if !of.PreparePoll() {
				return false
			}
		}
	}
	return true
}

// Counters adds the members' counts, and what was dropped here.
func (q *Queue) Counters(c *port.Counters) {
	c.Add(&q.counts)
	q.every(func(of port.Queue) { of.Counters(c) })
}

// Held is what the members' queues hold.
func (q *Queue) Held() (n int) {
	q.every(func(of port.Queue) { n += of.Held() })
	return n
}

// every calls f for each queue once.
func (q *Queue) every(f func(port.Queue)) {
	for i := range q.members[:q.n] {
		m := &q.members[i]
		for _, of := range m.rx {
			f(of)
		}
		if len(m.rx) == 0 && m.tx != nil {
			f(m.tx)
		}
	}
}

// Close gives up what the queue has of its own. The members' queues are closed by who
// opened them.
func (q *Queue) Close() error {
	if q.fd < 0 {
		return nil
	}
	fd := q.fd
	q.fd = -1
	if err := unix.Close(fd); err != nil && !errors.Is(err, unix.EBADF) {
		return fmt.Errorf("close a bond's queue: %w", err)
	}
	return nil
}
