package tap

import (
	"golang.org/x/sys/unix"

	"weir/internal/packet"
)

// Tx gives the packets to Linux and frees them. Linux receives a frame, up to the
// socket it is for, within the call.
func (q *Queue) Tx(burst []*packet.Packet) {
	for i, p := range burst {
		if r := q.send(p); r != packet.NoReason {
			q.drop(p, r)
			if r == packet.PortTxFull || r == packet.PortDown {
				// The rest would fare no better, and a worker is not held up by Linux.
				for _, p := range burst[i+1:] {
					q.drop(p, r)
				}
				return
			}
			continue
		}
		q.counts.TxPackets++
		q.counts.TxBytes += uint64(len(p.Data))
		p.Pool().Put(p)
	}
}

// send gives one packet to Linux, or says why that can't be.
func (q *Queue) send(p *packet.Packet) packet.Reason {
	if len(p.Data) == 0 {
		return packet.PortTxError
	}
	if !q.vnet.FromPacket(p) {
		return packet.WalkFault
	}
	q.pieces[0] = q.vnetPiece()
	q.pieces[1] = piece(&p.Data[0], len(p.Data))
	_, errno := q.io(unix.SYS_WRITEV, 2)
	switch errno {
	case 0:
		return packet.NoReason
	case unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM:
		return packet.PortTxFull
	case unix.EIO, unix.EBADFD, unix.EBADF, unix.ENODEV: // down, removed, closed
		return packet.PortDown
	}
	return packet.PortTxError
}
