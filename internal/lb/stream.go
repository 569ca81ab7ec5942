package lb

import (
	"sync/atomic"

	"weir/internal/flow"
)

// stream is a client's byte stream as its real server gets it: numbered from
// somewhere else, where the local port was in use a moment ago, and with a PROXY
// header in front, where the service wants one.
//
//	client   |first            | first+strip ...
//	         | its own header  | data
//	server   | head bytes of ours | data
//	         |first            | first+head ...
//
// Numbers are counted modulo 2^32, and a stream may be longer than half of that.
// So where a byte lies is asked only until the server acknowledged the header:
// from then on every number moves by the same.
type stream struct {
	shift   uint32 // added to all of the client's numbers (flow.Conn.SeqDelta)
	first   uint32 // number of the client's first byte
	head    uint32 // bytes of the header in front, 0 while it is not known
	strip   uint32 // bytes of the client's own header, taken out
	settled bool   // strip, and head, are known for good
	acked   bool   // the server has the header
}

// The word in which the inbound half-flow keeps head, strip and the rest.
const (
	streamHeadMask   = 0xff
	streamStripShift = 8
	streamStripMask  = 0xffff
	streamSettled    = 1 << 24
	streamAcked      = 1 << 25
)

// connProxy are the flags of connections with a PROXY header.
const connProxy = flow.ConnProxyV1 | flow.ConnProxyV2

// streamOf returns the stream of a connection in state s.
func (b *Balancer) streamOf(c *flow.Conn, s uint32) (m stream) {
	m.shift = c.SeqDelta
	if s&connProxy == 0 {
		return m
	}
	in := b.flows.Half(atomic.LoadUint32(&c.In))
	m.first = atomic.LoadUint32(&in.Seq)
	w := atomic.LoadUint32(&in.Ack)
	m.head, m.strip = w&streamHeadMask, w>>streamStripShift&streamStripMask
	m.settled, m.acked = w&streamSettled != 0, w&streamAcked != 0
	return m
}

// moves reports whether any number changes.
func (m *stream) moves() bool { return m.shift != 0 || m.head != m.strip }

// steady reports whether all numbers move by the same from now on.
func (m *stream) steady() bool { return m.settled && m.acked }

// toServer returns the real server's number of what the client numbers seq.
func (m *stream) toServer(seq uint32) uint32 {
	switch at := int32(seq - m.first); {
	case m.steady():
		seq += m.head - m.strip
	case at < 0:
	case at == 0:
		if m.acked {
			seq += m.head
		}
	case at < int32(m.strip):
		seq = m.first + m.head
	default:
		seq += m.head - m.strip
	}
	return seq + m.shift
}

// toClient returns the client's number of what the real server numbers n: an
// acknowledgement, an edge of a SACK block, or a quoted segment.
func (m *stream) toClient(n uint32) uint32 {
	n -= m.shift
	switch at := int32(n - m.first); {
	case m.steady():
		n -= m.head - m.strip
	case at <= 0:
	case at < int32(m.head):
		n = m.first
	default:
		n -= m.head - m.strip
	}
	return n
}

// beginStream notes where a stream begins whose header has head bytes.
func beginStream(in *flow.Half, first uint32, head int) {
	atomic.StoreUint32(&in.Seq, first)
	atomic.StoreUint32(&in.Ack, uint32(head))
}

// settle notes what lies at the beginning. A stream without a header of ours has
// nothing that the server must acknowledge first.
func (m *stream) settle(in *flow.Half, head, strip int) {
	m.head, m.strip, m.settled = uint32(head), uint32(strip), true
	add := uint32(streamSettled)
	if head == 0 {
		m.acked = true
		add |= streamAcked
	}
	for {
		w := atomic.LoadUint32(&in.Ack)
		n := w&streamAcked | add | m.head | m.strip<<streamStripShift
		if atomic.CompareAndSwapUint32(&in.Ack, w, n) {
			return
		}
	}
}

// acknowledge takes a look at the real server's acknowledgement: does it have
// the header?
func (m *stream) acknowledge(in *flow.Half, ack uint32) {
	if m.acked || m.head == 0 || int32(ack-m.shift-m.first) < int32(m.head) {
		return
	}
	m.acked = true
	for w := atomic.LoadUint32(&in.Ack); w&streamAcked == 0 && !atomic.CompareAndSwapUint32(&in.Ack, w, w|streamAcked); w = atomic.LoadUint32(&in.Ack) {
	}
}
