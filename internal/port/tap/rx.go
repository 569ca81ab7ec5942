package tap

import (
	"golang.org/x/sys/unix"

	"weir/internal/packet"
	"weir/internal/port"
)

// Rx receives what Linux has sent.
func (q *Queue) Rx(burst []*packet.Packet) int {
	if q.gone {
		return 0
	}
	n := 0
	for range min(len(burst), port.Burst) {
		if !q.arm() {
			break // no memory: the frames wait in the queue
		}
		got, errno := q.io(unix.SYS_READV, len(q.pieces))
		switch errno {
		case 0:
		case unix.EAGAIN, unix.EINTR:
			return n
		case unix.EBADFD:
			q.gone = true // somebody removed the device; a poll would never sleep
			return n
		default:
			q.counts.Drops[packet.PortRxError]++ // a frame that can't be told in a vnet header
			continue
		}
		p, r := q.unpack(got - port.VnetLen)
		if p == nil {
			q.counts.Drops[r]++
			continue
		}
		burst[n] = p
		n++
		q.counts.RxPackets++
		q.counts.RxBytes += uint64(len(p.Data))
	}
	return n
}

// arm has the next frame received into a small frame, and reports whether there
// was one.
func (q *Queue) arm() bool {
	if q.frame == noFrame {
		f, ok := q.pool.TakeFrame()
		if !ok {
			return false
		}
		q.frame = f
	}
	q.pieces[0] = q.vnetPiece()
	q.pieces[1] = piece(&q.pool.Arena()[q.small()], smallPart)
	q.pieces[2] = piece(&q.spill[0], spillPart)
	return true
}

// small is where the frame to receive into begins in the arena.
func (q *Queue) small() int { return int(q.frame)*packet.SmallFrame + packet.Headroom }

// unpack makes a packet of the n bytes that were received, or says why there is
// none; then the small frame is kept.
func (q *Queue) unpack(n int) (*packet.Packet, packet.Reason) {
	if n < 0 || n >= smallPart+spillPart {
		return nil, packet.PortRxTruncated
	}
	var p *packet.Packet
	if n <= smallPart {
		p = q.pool.Wrap(q.frame, packet.Headroom, n)
		q.frame = noFrame
	} else {
		p = q.pool.GetBig()
		if p == nil {
			return nil, packet.PoolEmpty
		}
		p.Resize(n)
		copy(p.Data, q.pool.Arena()[q.small():][:smallPart])
		copy(p.Data[smallPart:], q.spill)
	}
	p.In = q.id
	q.vnet.ToPacket(p)
	return p, packet.NoReason
}
