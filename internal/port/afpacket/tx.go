package afpacket

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"weir/internal/packet"
	"weir/internal/port"
)

// sendTries is how often, within one Tx, a kernel without room is asked again
// before the rest of the burst is dropped.
const sendTries = 4

// sender is what sendmmsg reads: slot i of each array is message i's.
type sender struct {
	messages [port.Burst]message
	pieces   [port.Burst][2]unix.Iovec
	vnet     [port.Burst]port.VnetHeader
	packets  [port.Burst]*packet.Packet
}

// Tx sends the packets and frees them.
func (q *Queue) Tx(burst []*packet.Packet) {
	for len(burst) > port.Burst {
		q.send(burst[:port.Burst])
		burst = burst[port.Burst:]
	}
	q.send(burst)
}

func (q *Queue) send(burst []*packet.Packet) {
	n := 0
	for _, p := range burst {
		if len(p.Data) == 0 {
			q.drop(p, packet.PortTxError)
			continue
		}
		if !q.sender.vnet[n].FromPacket(p) {
			q.drop(p, packet.WalkFault)
			continue
		}
		q.sender.pack(n, p)
		n++
	}
	tries := 0
	for i := 0; i < n; {
		sent, errno := q.sendmmsg(i, n)
		if errno == 0 {
			for _, p := range q.sender.packets[i : i+sent] {
				q.counts.TxPackets++
				q.counts.TxBytes += uint64(len(p.Data))
				p.Pool().Put(p)
			}
			i += sent
			continue
		}
		// The errno is message i's; those behind it were not looked at.
		rest := n
		var why packet.Reason
		switch errno {
		case unix.EAGAIN, unix.ENOBUFS, unix.EINTR:
			if tries++; tries < sendTries {
				continue
			}
			why = packet.PortTxFull
		case unix.ENETDOWN, unix.ENXIO, unix.ENODEV:
			why = packet.PortDown
		case unix.EMSGSIZE:
			why, rest = packet.PortTxTooBig, i+1
		default:
			why, rest = packet.PortTxError, i+1
		}
		for ; i < rest; i++ {
			q.drop(q.sender.packets[i], why)
		}
	}
}

// pack makes message i of a packet; its vnet header is there already.
func (s *sender) pack(i int, p *packet.Packet) {
	s.packets[i] = p
	s.pieces[i][0] = piece((*byte)(unsafe.Pointer(&s.vnet[i])), port.VnetLen)
	s.pieces[i][1] = piece(&p.Data[0], len(p.Data))
	h := &s.messages[i].header
	h.Iov = &s.pieces[i][0]
	h.SetIovlen(len(s.pieces[i]))
}

// sendmmsg sends messages i to n and returns how many the kernel took. It never waits, and
// neither does receiving, so Go's scheduler is not told: told, it would take the processor's
// share of Go from us whenever a call takes longer than 20 µs, which one for a whole burst does.
func (q *Queue) sendmmsg(i, n int) (int, unix.Errno) {
	sent, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(q.fd), uintptr(unsafe.Pointer(&q.sender.messages[i])),
		uintptr(n-i), unix.MSG_DONTWAIT, 0, 0)
	return int(sent), errno
}

func (q *Queue) drop(p *packet.Packet, r packet.Reason) {
	q.counts.Drops[r]++
	p.Pool().Put(p)
}
