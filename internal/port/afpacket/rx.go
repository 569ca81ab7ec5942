package afpacket

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"

	"weir/internal/packet"
	"weir/internal/port"
)

// Rx receives what waits in the socket.
func (q *Queue) Rx(burst []*packet.Packet) int {
	if q.receiver == nil {
		return 0
	}
	want := q.arm(min(len(burst), port.Burst))
	if want == 0 {
		return 0 // no memory: the frames wait in the socket
	}
	got, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(q.fd), uintptr(unsafe.Pointer(&q.receiver.messages[0])),
		uintptr(want), unix.MSG_DONTWAIT, 0, 0)
	switch errno {
	case 0:
	case unix.EAGAIN, unix.EINTR:
		return 0
	case unix.ENETDOWN, unix.ENXIO:
		return 0 // said once when the interface goes down; nothing is lost by it
	default:
		q.counts.Drops[packet.PortRxError]++ // a frame that can't be told in a vnet header
		return 0
	}
	n := 0
	for i := range int(got) {
		p, r := q.unpack(i)
		if p == nil {
			q.counts.Drops[r]++
			continue
		}
		burst[n] = p
		n++
		q.counts.RxBytes += uint64(len(p.Data))
	}
	q.counts.RxPackets += uint64(n)
	return n
}

// arm puts a small frame into each of the first want slots and returns how many
// have one.
func (q *Queue) arm(want int) int {
	r := q.receiver
	arena := q.pool.Arena()
	for i := range want {
		if r.frames[i] != noFrame {
			continue
		}
		f, ok := q.pool.TakeFrame()
		if !ok {
			return i
		}
		r.frames[i] = f
		r.pieces[i][1] = piece(&arena[int(f)*packet.SmallFrame+packet.Headroom], smallPart)
		q.held++
	}
	return want
}

// unpack makes a packet of message i, or says why there is none; then the small
// frame stays in its slot.
func (q *Queue) unpack(i int) (*packet.Packet, packet.Reason) {
	r := q.receiver
	m := &r.messages[i]
	n := int(m.length) - port.VnetLen
	flags, control := m.header.Flags, m.header.Controllen
	m.header.SetControllen(int(unsafe.Sizeof(r.aux[i])))
	if n < 0 || flags&unix.MSG_TRUNC != 0 {
		return nil, packet.PortRxTruncated
	}
	var p *packet.Packet
	if n <= smallPart {
		p = q.pool.Wrap(r.frames[i], packet.Headroom, n)
		r.frames[i] = noFrame
		q.held--
	} else {
		p = q.pool.GetBig()
		if p == nil {
			return nil, packet.PoolEmpty
		}
		p.Resize(n)
		small := int(r.frames[i])*packet.SmallFrame + packet.Headroom
		copy(p.Data, q.pool.Arena()[small:small+smallPart])
		copy(p.Data[smallPart:], r.spill[i*spillPart:])
	}
	p.In = q.id
	r.vnet[i].ToPacket(p)
	if control != 0 {
		r.aux[i].retag(p)
	}
	return p, packet.NoReason
}

// VLAN tag in a frame: behind the two MACs.
const (
	tagAt  = 12
	tagLen = 4
)

// retag puts a VLAN tag back into the frame that the device, or the kernel, took
// out of it.
func (a *auxdata) retag(p *packet.Packet) {
	if a.header.Type != unix.PACKET_AUXDATA || a.header.Level != unix.SOL_PACKET || a.status&unix.TP_STATUS_VLAN_VALID == 0 {
		return
	}
	if len(p.Data) < tagAt || !p.Prepend(tagLen) {
		return // a runt; the headroom is always there
	}
	tpid := uint16(unix.ETH_P_8021Q)
	if a.status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
		tpid = a.vlanTPID
	}
	copy(p.Data[:tagAt], p.Data[tagLen:])
	binary.BigEndian.PutUint16(p.Data[tagAt:], tpid)
	binary.BigEndian.PutUint16(p.Data[tagAt+2:], a.vlanTCI)
}
