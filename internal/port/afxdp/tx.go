package afxdp

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"weir/internal/packet"
)

const (
	// roomTries is how often a full transmit ring is pushed before a packet is
	// dropped. Each push sends up to txBudget frames, or shows that none can go.
	roomTries = 4
	// sentAtOnce is what the kernel sends at least in one call in copy mode,
	// unless something is in the way.
	sentAtOnce = 32
)

// Tx puts the packets into the transmit ring. Flush sends them.
func (q *Queue) Tx(burst []*packet.Packet) {
	for len(burst) > 0 {
		if q.trains.mayBegin(burst) {
			if n := q.sendTrain(burst); n > 0 {
				burst = burst[n:]
				continue
			}
		}
		p := burst[0]
		burst = burst[1:]
		if r := q.enqueue(p); r != packet.NoReason {
			q.counts.Drops[r]++
			p.Pool().Put(p)
		}
	}
	q.tx.publish()
}

// enqueue puts one packet into the ring. On success the packet is no more;
// otherwise it stays the caller's and the reason is returned.
func (q *Queue) enqueue(p *packet.Packet) packet.Reason {
	n := len(p.Data)
	if n < linkHeader {
		return packet.PortTxError
	}
	if n > q.maxLen && (n > q.maxLen+vlanTag || !tagged(p.Data)) {
		return packet.PortTxTooBig
	}
	if p.Flags&(packet.CsumPartial|packet.GSO) != 0 {
		// Facts say that this port completes and segments nothing; on the wire
		// the frame would be lost without anybody knowing.
		return packet.WalkFault
	}
	if q.tx.room(1) == 0 && !q.makeRoom() {
		if q.down {
			return packet.PortDown
		}
		return packet.PortTxFull
	}
	if _, small := p.Frame(); !small || p.Pool() != q.pool {
		own := q.pool.Get()
		if own == nil {
			return packet.PoolEmpty
		}
		own.Resize(n) // n is at most Room
		copy(own.Data, p.Data)
		p.Pool().Put(p)
		p = own
	}
	head := p.Head()
	frame := q.pool.Unwrap(p)
	q.toKernel(frame)
	*q.tx.desc(q.tx.prod) = desc{addr: uint64(frame)*packet.SmallFrame + uint64(head), len: uint32(n)}
	q.tx.prod++
	q.txHeld++
	q.counts.TxPackets++
	q.counts.TxBytes += uint64(n)
	return packet.NoReason
}

// tagged reports whether a frame carries an 802.1Q or 802.1ad tag.
func tagged(frame []byte) bool {
	t := binary.BigEndian.Uint16(frame[12:14])
	return t == 0x8100 || t == 0x88a8
}

// makeRoom pushes a full ring and reports whether there is room now.
func (q *Queue) makeRoom() bool {
	q.tx.publish()
	for range roomTries {
		q.wakeTx()
		q.reap()
		if q.tx.room(1) > 0 {
			return true
		}
		if q.polls {
			q.wakeDriver()
		}
	}
	return false
}

// Flush makes the kernel send what is in the transmit ring, takes back what it
// has sent, and refills for receiving.
func (q *Queue) Flush() {
	if before := q.tx.pending(); before > 0 && (q.polls || q.tx.wantsWakeup()) {
		for range 1 + before/sentAtOnce {
			q.wakeTx()
			q.reap() // a full completion ring would be in the way
			left := q.tx.pending()
			if left == before && q.polls {
				q.wakeDriver()
			}
			if left == 0 || left == before {
				break
			}
			before = left
		}
	}
	q.reap()
	q.refill()
}

// wakeTx calls the kernel to send. It never waits, so Go's scheduler is not told: told, it
// would take the processor's share of Go from us whenever a call takes longer than 20 µs,
// which one for a whole burst does, and we would have to get it back.
func (q *Queue) wakeTx() {
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(q.fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
	q.down = errno == unix.ENETDOWN || errno == unix.ENXIO
	if errno == unix.EBUSY {
		// The driver threw the last frame away: its queue is stopped or there
		// is no carrier. The other answers (EAGAIN, ENOBUFS) leave the frame
		// in the ring.
		q.counts.TxPackets--
		q.counts.Drops[packet.PortTxError]++
	}
}

// reap takes frames that were sent back into the pool.
func (q *Queue) reap() {
	n := q.completion.waiting(1)
	if n == 0 {
		return
	}
	for i := range n {
		frame := uint32(*q.completion.addr(q.completion.cons + i) / packet.SmallFrame)
		q.fromKernel(frame)
		q.pool.PutFrame(frame)
	}
	q.completion.consumed(n)
	q.txHeld -= int(n)
}
