package pipe

import (
	"golang.org/x/sys/unix"

	"weir/internal/packet"
	"weir/internal/port"
)

var _ port.Queue = (*Queue)(nil)

// Queue is one queue pair of a Port. It is worker-owned.
type Queue struct {
	// Source, if set before the first Rx, makes the packets that Rx returns and
	// says how many. It costs nothing beside: no wire, no lock, no copy.
	Source func(burst []*packet.Packet) int
	// Sink, if set before the first Tx, takes the packets that Tx is given: it
	// owns them now, and puts them back into their pool.
	Sink func(burst []*packet.Packet)

	id     uint16
	max    int  // longest frame without segmenting
	gso    bool // longer ones are somebody else's to segment
	pool   *packet.Pool
	in     *wire
	out    *wire
	fd     int
	woken  bool // PreparePoll was called and fd may have been written
	wakes  [8]byte
	lost   uint64 // in.full when the queue was opened
	counts port.Counters
}

// Rx takes what waits on the wire, or what Source makes.
func (q *Queue) Rx(burst []*packet.Packet) int {
	if len(burst) > port.Burst {
		burst = burst[:port.Burst]
	}
	if q.Source != nil {
		n := q.Source(burst)
		bytes := uint64(0)
		for _, p := range burst[:n] {
			p.In = q.id
			bytes += uint64(len(p.Data))
		}
		q.counts.RxPackets += uint64(n)
		q.counts.RxBytes += bytes
		return n
	}
	if q.woken {
		q.woken = false
		_, _ = unix.Read(q.fd, q.wakes[:]) // EAGAIN when nobody woke us
	}
	n, bytes := q.in.get(burst, q.pool, q.id)
	q.counts.RxPackets += uint64(n)
	q.counts.RxBytes += bytes
	return n
}

// Tx puts a burst on the wire, or gives it to Sink.
func (q *Queue) Tx(burst []*packet.Packet) {
	bytes := uint64(0)
	for _, p := range burst {
		bytes += uint64(len(p.Data))
	}
	q.counts.TxPackets += uint64(len(burst))
	q.counts.TxBytes += bytes
	if q.Sink != nil {
		q.Sink(burst)
		return
	}
	good := 0
	for i, p := range burst {
		if len(p.Data) > q.max && !(q.gso && p.Is(packet.GSO)) {
			q.refuse(p, packet.PortTxTooBig)
			p.Pool().Put(p)
			continue
		}
		burst[good], burst[i] = p, burst[good]
		good++
	}
	burst = burst[:good]
	if dropped := q.out.putBurst(burst); dropped > 0 {
		// The wire takes the first ones, in order.
		for _, p := range burst[good-dropped:] {
			q.refuse(p, packet.PortTxFull)
		}
	}
	for _, p := range burst {
		p.Pool().Put(p)
	}
}

// refuse takes a packet out of the sent ones and counts it as dropped.
func (q *Queue) refuse(p *packet.Packet, r packet.Reason) {
	q.counts.TxPackets--
	q.counts.TxBytes -= uint64(len(p.Data))
	q.counts.Drops[r]++
}

// Flush does nothing: Tx has sent everything.
func (q *Queue) Flush() {}

// FD becomes readable when a frame arrives after PreparePoll; -1 with a Source.
func (q *Queue) FD() int {
	if q.Source != nil {
		return -1
	}
	return q.fd
}

// PreparePoll asks to be woken and reports whether nothing waits yet.
func (q *Queue) PreparePoll() bool {
	if q.Source != nil {
		return false
	}
	q.in.mu.Lock()
	defer q.in.mu.Unlock()
	if q.in.n > 0 {
		return false
	}
	q.in.asleep, q.woken = true, true
	return true
}

// Counters adds the queue's counts to c.
func (q *Queue) Counters(c *port.Counters) {
	c.Add(&q.counts)
	c.Drops[packet.PortRxRingFull] += q.in.drops() - q.lost
}

// Held is always 0: frames on the wire are copies.
func (q *Queue) Held() int { return 0 }

// Close gives the queue back. What waits on the wire stays there for the next
// who opens it.
func (q *Queue) Close() error {
	q.in.mu.Lock()
	q.in.waker, q.in.asleep = -1, false
	q.in.mu.Unlock()
	return unix.Close(q.fd)
}
