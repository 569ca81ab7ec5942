package pipe

import (
	"fmt"

	"golang.org/x/sys/unix"

	"weir/internal/packet"
	"weir/internal/port"
)

// Port is a port in memory. Its methods other than Queue are for the test and
// may be called by any goroutine.
type Port struct {
	facts port.Facts

	in    []*wire // frames on their way to Rx, by queue
	out   []*wire // frames that Tx sent, by queue; with a joined port, its in
	other *Port
}

// New makes a port with one queue pair. mtu is in bytes, without the link header.
func New(id uint16, name string, mac port.MAC, mtu int) *Port {
	p := &Port{facts: port.Facts{
		ID: id, Name: name, IfName: name, IfIndex: int(id) + 1,
		MAC: mac, MTU: mtu, Driver: "pipe",
	}}
	return p.Queues(1)
}

// Queues sets the number of queue pairs. It is called before Join and Queue.
func (p *Port) Queues(n int) *Port {
	p.facts.RxQueues, p.facts.TxQueues = n, n
	p.in, p.out = make([]*wire, n), make([]*wire, n)
	for i := range n {
		p.in[i], p.out[i] = newWire(), newWire()
	}
	return p
}

// Offloads sets whether the port completes checksums and segments GSO frames
// (as a vnet header would have the kernel do), and whether frames with partial
// checksums arrive unmarked. It is called before Queue.
func (p *Port) Offloads(txCsum, txGSO, rxPartial bool) *Port {
	p.facts.TxCsum, p.facts.TxGSO, p.facts.RxPartial = txCsum, txGSO, rxPartial
	return p
}

// Facts returns the port's facts.
func (p *Port) Facts() port.Facts { return p.facts }

// Join makes each of two ports receive what the other sends, queue i from queue
// i (modulo the number of queues). It is called before Queue. Frames of a joined
// port can still be injected, but not taken.
func Join(a, b *Port) {
	for i := range a.out {
		a.out[i] = b.in[i%len(b.in)]
	}
	for i := range b.out {
		b.out[i] = a.in[i%len(a.in)]
	}
	a.other, b.other = b, a
}

// Queue opens queue pair i for a worker, who owns it from then on. Each may be
// opened again after Close.
func (p *Port) Queue(i int, pool *packet.Pool) (*Queue, error) {
	if i < 0 || i >= len(p.in) {
		return nil, fmt.Errorf("pipe %s has no queue %d: it has %d", p.facts.Name, i, len(p.in))
	}
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("pipe %s: event fd: %w", p.facts.Name, err)
	}
	q := &Queue{id: p.facts.ID, max: maxFrame(p.facts.MTU), gso: p.facts.TxGSO, pool: pool, in: p.in[i], out: p.out[i], fd: fd}
	q.in.mu.Lock()
	q.in.waker, q.in.asleep = fd, false
	q.lost = q.in.full
	q.in.mu.Unlock()
	return q, nil
}

// Inject puts a copy of a frame before queue 0 and reports whether there was room.
func (p *Port) Inject(frame []byte) bool { return p.InjectAt(0, frame) }

// InjectAt puts a copy of a frame before a queue and reports whether there was room.
func (p *Port) InjectAt(queue int, frame []byte) bool {
	return p.in[queue].put(frame, 0, 0, 0)
}

// InjectPacket puts a copy of a packet before a queue, with its CsumPartial and
// GSO facts, and reports whether there was room. The packet stays the caller's.
func (p *Port) InjectPacket(queue int, pkt *packet.Packet) bool {
	return p.in[queue].put(pkt.Data, pkt.Flags&travels, pkt.GSOType, pkt.GSOSize)
}

// Take returns all frames sent since the last call: those of queue 0 first, each
// queue's in the order of sending. The caller owns them. Of a joined port it
// returns nil.
func (p *Port) Take() (frames [][]byte) {
	if p.other != nil {
		return nil
	}
	for _, w := range p.out {
		for _, f := range w.take() {
			frames = append(frames, f.data)
		}
	}
	return frames
}

// TakeInto moves the frames sent on a queue into packets of a pool, with their
// CsumPartial and GSO facts, at most len(burst), and returns how many. Of a joined
// port it takes nothing.
func (p *Port) TakeInto(queue int, burst []*packet.Packet, pool *packet.Pool) int {
	if p.other != nil {
		return 0
	}
	n, _ := p.out[queue].get(burst, pool, p.facts.ID)
	return n
}

// Arrived receives a token after a queue has sent frames: wait for it, then
// Take. Tokens do not add up, and one may be left over from frames taken already.
func (p *Port) Arrived(queue int) <-chan struct{} { return p.out[queue].arrived }
