package punt

import (
	"slices"

	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/stat"
	"weir/internal/wire"
)

// A frame for Linux costs a system call in which Linux takes it as far as the socket,
// 5 to 12 µs: as much as forwarding thirty. So a worker gives PerBreath at most in a
// breath, some 40 µs, and keeps Room of each kind for the next ones: what comes in one
// burst is not lost, and a flood of packets that nobody listens to takes no more than
// that from the connections. In breaths that long a worker still gives 60,000 in a
// second, 700 Mbit/s in frames of 1500 bytes; with little else to do its breaths are
// shorter.
const (
	PerBreath = 4
	Room      = 256
)

// The kinds take turns, so that neither a flood to a closed port nor one to an address
// of Linux's keeps a routing daemon from hearing its neighbours.
const (
	control   = iota // what keeps networks together: routing protocols, groups, neighbours
	addressed        // for addresses of Linux's
	rest             // for addresses of Weir's or nobody's, which Linux may have a use for
	kinds
)

// kindOf tells a packet's kind by what it would be dropped for.
func kindOf(p *packet.Packet) int {
	switch p.Reason {
	case packet.PuntNoTwin:
		return addressed
	case packet.IPNoListener:
		if p.Proto == wire.ProtoOSPF {
			return control
		}
	case packet.ICMPUnwanted:
		if p.Is(packet.Multicast) { // of routers
			return control
		}
	case packet.IPNoRoute, packet.ICMPUnrelated, packet.LBNoService, packet.LBNoConn:
	default:
		return control
	}
	return rest
}

// To ask a twin for what Linux sent is a system call as well. A worker that found
// something else to do asks LookEvery nanoseconds; one that has time asks at once, and
// sleeps with the twins in its poll set. It takes PerLook frames each time.
const (
	LookEvery = 100_000
	PerLook   = 16
)

// Twins are a worker's queues of the ports' twins, and the packets that wait for them.
type Twins struct {
	stats   *stat.Worker
	queues  [port.Max]port.Queue // by the port that the twin is of
	ids     []uint16             // of ports that have one
	waiting [kinds]line
	held    int // in all lines
	one     [1]*packet.Packet

	looked uint64 // nanoseconds, when Linux was last asked
	more   bool   // it had something then
}

// line is packets in the order in which they came: n from head on, in a ring.
type line struct {
	packets [Room]*packet.Packet
	head, n int
}

func (l *line) push(p *packet.Packet) {
	l.packets[(l.head+l.n)%Room] = p
	l.n++
}

func (l *line) pop() *packet.Packet {
	p := l.packets[l.head]
	l.packets[l.head] = nil
	l.head = (l.head + 1) % Room
	l.n--
	return p
}

// New returns a worker's twins, of which there are none yet. What is given to Linux is
// counted in stats.
func New(stats *stat.Worker) *Twins { return &Twins{stats: stats} }

// Add gives the worker its queue of a port's twin.
func (t *Twins) Add(id uint16, q port.Queue) {
	t.queues[id] = q
	t.ids = append(t.ids, id)
}

// Remove takes the worker's queue of a port's twin away and returns it, nil if it has
// none. What waits for it is dropped: its device is no more.
func (t *Twins) Remove(id uint16) port.Queue {
	q := t.queues[id]
	if q == nil {
		return nil
	}
	for kind := range t.waiting {
		l := &t.waiting[kind]
		for range l.n {
			p := l.pop()
			if p.In%port.Max != id {
				l.push(p)
				continue
			}
			t.held--
			t.stats.Drops[packet.PortDown]++
			p.Pool().Put(p)
		}
	}
	t.queues[id] = nil
	t.ids = slices.DeleteFunc(t.ids, func(i uint16) bool { return i == id })
	return q
}

// Each calls f for each queue.
func (t *Twins) Each(f func(port.Queue)) {
	for _, id := range t.ids {
		f(t.queues[id])
	}
}

// Held is how many packets wait to be given to Linux.
func (t *Twins) Held() int { return t.held }

// Give takes a packet for the twin of the port that it came in on, or says why that
// can't be; then the packet stays the caller's. in is what is known of the port.
func (t *Twins) Give(p *packet.Packet, in *port.Facts) packet.Reason {
	l := &t.waiting[kindOf(p)]
	switch {
	case !in.Twin || t.queues[p.In%port.Max] == nil:
		return packet.PuntNoTwin
	case l.n == Room:
		return packet.PuntFull
	case !settle(p, in.RxPartial):
		return packet.L4Malformed
	}
	l.push(p)
	t.held++
	t.stats.Punts[p.Reason]++
	return packet.NoReason
}

// Send gives Linux some of what waits, one of each kind in turn, and reports whether
// there is more.
func (t *Twins) Send() (more bool) {
	for left := min(PerBreath, t.held); left > 0; {
		for kind := range t.waiting {
			l := &t.waiting[kind]
			if l.n == 0 || left == 0 {
				continue
			}
			p := l.pop()
			t.one[0] = p
			t.queues[p.In%port.Max].Tx(t.one[:])
			t.held--
			left--
		}
	}
	return t.held > 0
}

// Due reports whether it is time to ask what Linux sent; idle: there is nothing else
// to do.
func (t *Twins) Due(nanos uint64, idle bool) bool {
	if len(t.ids) == 0 || !idle && !t.more && nanos-t.looked < LookEvery {
		return false
	}
	t.looked, t.more = nanos, false
	return true
}

// Wake makes the next breath ask what Linux sent: a sleeping worker heard of something.
func (t *Twins) Wake() { t.more = true }

// Receive fills burst with what Linux sent on the i-th twin; false: there is none.
func (t *Twins) Receive(i int, burst []*packet.Packet) (n int, ok bool) {
	if i >= len(t.ids) {
		return 0, false
	}
	n = t.queues[t.ids[i]].Rx(burst[:min(len(burst), PerLook)])
	t.more = t.more || n > 0
	return n, true
}

// Close gives back what waits.
func (t *Twins) Close() {
	for kind := range t.waiting {
		for l := &t.waiting[kind]; l.n > 0; {
			p := l.pop()
			t.held--
			t.stats.Drops[packet.PortDown]++
			p.Pool().Put(p)
		}
	}
}
